//! Sentences of the topic, so that the language does not consist of phenomena only.

use crate::data::grammar::lexicon::filler::GENERAL;
use crate::data::grammar::pen::Pen;

pub fn clause(pen: &mut Pen) {
    let list: &'static [&'static str] = if pen.chance(55) { pen.topic.sentences } else { &GENERAL };
    let template = pen.own(list);
    pen.fill(template, &[]);
}
