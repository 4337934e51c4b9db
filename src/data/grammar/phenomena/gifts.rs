//! Sentences of gifts in two halves, any of which may follow any: how two people come together, and what is given.
//!
//! Whole templates are learned by heart. Of a model that had read 70 of them for thousands of steps, those it had never
//! read got 93 % where they were like others and a guess where they were not; what thousands of combinations have in
//! common is the mechanism.

use crate::data::grammar::lexicon::gifts::{BETWEEN, CLOSINGS, OPENINGS};
use crate::data::grammar::pen::Pen;

/// A sentence that two halves make, and a number that stands for how it begins.
pub fn sentence(pen: &mut Pen) -> (usize, String) {
    let opening = pen.index(&OPENINGS);
    let between = if pen.chance(35) { pen.own(&BETWEEN) } else { "" };
    let (first, last) = (OPENINGS.get(opening).copied().unwrap_or_default(), pen.own(&CLOSINGS));
    (opening, format!("{first}{between}{last}"))
}
