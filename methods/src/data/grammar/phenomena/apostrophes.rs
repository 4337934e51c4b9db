//! Possessives, contractions, plural possessives, and single quotation marks.

use crate::data::grammar::lexicon::apostrophes::TEMPLATES;
use crate::data::grammar::pen::Pen;

pub fn clause(pen: &mut Pen) {
    let template = pen.own(&TEMPLATES);
    pen.fill(template, &[]);
}
