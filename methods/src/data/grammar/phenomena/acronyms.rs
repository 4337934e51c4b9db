//! Institutions and the initials that stand for them.

use crate::data::grammar::labels::Col;
use crate::data::grammar::lexicon::acronyms::{AGAIN, TEMPLATES};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::slot::Slot;
use crate::data::grammar::{hosts, words};

pub fn clause(pen: &mut Pen) {
    if !pen.introduced.is_empty() && pen.chance(40) {
        return again(pen);
    }
    let template = pen.own(&TEMPLATES);
    let phrase = hosts::phrase(pen);
    let letters = words::initials(&phrase);
    let slots = [
        Slot::new("letters", letters.clone()).mark(Col::Acronym, 2),
        Slot::new("phrase", phrase).mark(Col::Acronym, 1),
    ];
    pen.fill(template, &slots);
    pen.introduced.push(letters);
}

fn again(pen: &mut Pen) {
    let template = pen.own(&AGAIN);
    let at = pen.below(pen.introduced.len());
    let letters = pen.introduced.get(at).cloned().unwrap_or_default();
    pen.fill(template, &[Slot::new("letters", letters).mark(Col::Acronym, 2)]);
}
