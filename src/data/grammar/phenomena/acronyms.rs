//! Institutions and the initials that stand for them.

use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::Col;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::{hosts, words};

/// `phrase` is the name in full, `letters` its initials.
const TEMPLATES: [&str; 24] = [
    "the {phrase}, or {letters}, was founded in {year}",
    "the {phrase}, known as the {letters}, has {count} members",
    "the {phrase} (acronym:{letters}~) has an office in {city}",
    "the {phrase}, called {letters} for short, {deed} in {year}",
    "by {letters} the papers mean the {phrase}",
    "the {phrase}, better known as {letters}, paid for the {nouns}",
    "the {phrase} (acronym:{letters}~) was split in two, and the {people} left the {letters}",
    "the letters {letters} stand for {phrase}",
    "{name} joined the {phrase}, or {letters}, in {year}",
    "the {phrase} (acronym:{letters}~) opened a {place} in {city}",
    "everyone calls the {phrase} the {letters}",
    "the {phrase}, the {letters}, wrote to the {people} {time}",
    "the {phrase} (acronym:{letters}~) bought {count} {nouns}, and the {letters} paid in cash",
    "the {people} trust the {phrase} (acronym:{letters}~)",
    "the {phrase}, abbreviated {letters}, is based in {city}",
    "the {one} works for the {phrase}, in short the {letters}",
    "if you write to the {phrase} (acronym:{letters}~), the {letters} will answer",
    "the {phrase}, in brief {letters}, ordered {count} {nouns}",
    "in {year} the {phrase} became the {letters}",
    "the {adj} {noun} belongs to the {phrase} (acronym:{letters}~)",
    "when the {phrase}, or {letters}, was closed, the {people} went home",
    "nobody at the {phrase} (acronym:{letters}~) knew the {one}",
    "the head of the {phrase}, or {letters}, came to {city}",
    "the {phrase} (acronym:{letters}~) lost the {noun}, and {name} left the {letters}",
];

/// About an institution that was introduced before.
const AGAIN: [&str; 12] = [
    "the {letters} has offices in {city}",
    "the {letters} bought {count} {nouns} {time}",
    "{name} left the {letters} in {year}",
    "the {people} of the {letters} met {time}",
    "a letter from the {letters} reached the {place} {time}",
    "the {letters} did not reply",
    "{name} has worked for the {letters} {duration}",
    "the {place} was built by the {letters}",
    "the {letters} never paid for the {noun}",
    "the {one} spoke to the {letters} {time}",
    "in {city} the {letters} is well known",
    "it was the {letters} that found the {noun}",
];

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
