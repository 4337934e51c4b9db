//! Phrases that may be explained in parentheses: institutions, people, things, groups; and the explanations.

use super::labels::Col;
use super::lexicon::hosts::{CITATIONS, GROUPS, OF_GROUPS, OF_ITEMS, OF_MANY, OF_PEOPLE};
use super::lexicon::phrases;
use super::pen::Pen;
use super::phenomena::code;
use super::slot::Slot;
use super::{people, words};

/// Writes a phrase that may be explained. An unknown slot is written as it is, which a test finds.
pub fn write(pen: &mut Pen, name: &str) {
    match name {
        "org" => institution(pen),
        "someone" => person(pen),
        "item" => item(pen),
        "items" => items(pen),
        "group" => group(pen),
        "claim" => {
            pen.out.push(" ");
            note(pen, &CITATIONS);
        }
        "call" => code::call_in_text(pen),
        unknown => ["{", unknown, "}"].iter().for_each(|part| pen.out.push(part)),
    }
}

/// Writes one of these explanations.
fn note(pen: &mut Pen, notes: &[&'static str]) {
    let template = pen.own(notes);
    let modern = template.contains("citation");
    let year = if modern { 1880 + pen.below(140) } else { 1500 + pen.below(440) };
    let later = year + 20 + pen.below(70);
    let institution = phrase(pen);
    let slots = [
        Slot::new("year", year.to_string()),
        Slot::new("later", later.to_string()),
        Slot::new("letters", words::initials(&institution)).mark(Col::Acronym, 2),
        Slot::new("phrase", institution).mark(Col::Acronym, 1),
        Slot::new("given", people::any_given(pen)),
        Slot::new("other", people::surname(pen)),
    ];
    pen.fill(template, &slots);
}

/// Returns the name of an institution; its words begin with capitals.
pub fn phrase(pen: &mut Pen) -> String {
    loop {
        let head = pen.word(&phrases::BODY_HEADS);
        let matter = pen.word(&phrases::BODY_MATTERS);
        let more = pen.word(&phrases::BODY_MATTERS);
        let kind = pen.word(&phrases::BODY_KINDS);
        if matter == more || matter == kind || more == kind || !pen.allowed(&[head, matter, kind]) {
            continue;
        }
        return match pen.below(10) {
            0..5 => [head, matter, kind].join(" "),
            5..7 => [head, kind, "of", matter, "and", more].join(" "),
            7 => [matter, kind].join(" "),
            _ => [head, matter, more, kind].join(" "),
        };
    }
}

/// Writes an institution: one that the document has introduced, by its initials, or a new one, with or without them.
fn institution(pen: &mut Pen) {
    if !pen.introduced.is_empty() && pen.chance(40) {
        let at = pen.below(pen.introduced.len());
        if let Some(letters) = pen.introduced.get(at).cloned() {
            pen.fill("the {letters}", &[Slot::new("letters", letters).mark(Col::Acronym, 2)]);
        }
        return;
    }
    let institution = phrase(pen);
    let letters = words::initials(&institution);
    let explain = pen.chance(pen.explained.max(30));
    let slots = [
        Slot::new("letters", letters.clone()).mark(Col::Acronym, 2),
        Slot::new("phrase", institution).mark(Col::Acronym, 1),
    ];
    if explain {
        pen.introduced.push(letters);
    }
    pen.fill(if explain { "the {phrase} (acronym:{letters}~)" } else { "the {phrase}" }, &slots);
}

fn person(pen: &mut Pen) {
    let given = people::any_given(pen);
    let surname = people::surname(pen);
    pen.fill("{given} {surname}", &[Slot::new("given", given), Slot::new("surname", surname)]);
    explain(pen, &OF_PEOPLE);
}

fn explain(pen: &mut Pen, notes: &[&'static str]) {
    if pen.chance(pen.explained) {
        pen.out.push(" ");
        note(pen, notes);
    }
}

fn item(pen: &mut Pen) {
    if !pen.chance(35) {
        pen.fill("the {noun}", &[]);
        return explain(pen, &OF_ITEMS);
    }
    let Some((rare, kind)) = pen.any(&pen.topic.kinds) else { return };
    let slots = [Slot::new("rare", rare), Slot::new("kind", kind)];
    pen.fill("the {rare}", &slots);
    if pen.chance(pen.explained) {
        let template =
            pen.word(&[" (gloss:a kind of {kind}~)", " (gloss:a sort of {kind}~)", " (gloss:a {adj} {kind}~)"]);
        let adjective = pen.word(&["small", "large", "rare", "common", "strange", "simple"]);
        pen.fill(template, &[slots.as_slice(), &[Slot::new("adj", adjective)]].concat());
    }
}

fn items(pen: &mut Pen) {
    let template = pen.word(&["{nouns}", "the {nouns}", "{adj} {nouns}", "the {adj} {nouns}"]);
    pen.fill(template, &[]);
    explain(pen, &OF_MANY);
}

fn group(pen: &mut Pen) {
    let name = pen.fresh(&GROUPS);
    pen.fill("the {group}", &[Slot::new("group", name)]);
    explain(pen, &OF_GROUPS);
}
