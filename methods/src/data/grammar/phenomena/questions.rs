//! Questions, some with answers.

use crate::data::grammar::labels::Col;
use crate::data::grammar::lexicon::questions::{ANSWERS, TEMPLATES};
use crate::data::grammar::pen::Pen;

/// Writes a question, and in a third of the cases an answer to it.
pub fn sentence(pen: &mut Pen) {
    let start = pen.out.len();
    let template = pen.own(&TEMPLATES);
    pen.fill(template, &[]);
    pen.out.push("?");
    pen.out.mark_since(Col::Question, start, 1);
    if pen.chance(35) {
        pen.out.push(" ");
        pen.out.capital();
        let answer = pen.own(&ANSWERS);
        pen.fill(answer, &[]);
        pen.out.push(".");
    }
}
