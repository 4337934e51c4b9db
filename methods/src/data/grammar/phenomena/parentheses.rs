//! Sentences whose phrases are explained in parentheses.

use crate::data::grammar::lexicon::parentheses::TEMPLATES;
use crate::data::grammar::pen::Pen;

/// Percentage of phrases that are explained in sentences of this phenomenon.
const EXPLAINED: usize = 85;

pub fn clause(pen: &mut Pen) {
    let usual = std::mem::replace(&mut pen.explained, EXPLAINED);
    let template = pen.own(&TEMPLATES);
    pen.fill(template, &[]);
    pen.explained = usual;
}
