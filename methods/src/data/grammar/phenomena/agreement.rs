//! Subject-verb agreement across attractors: nouns between subject and verb, of either number.

use crate::data::grammar::labels::{Col, NUMBERS, value};
use crate::data::grammar::lexicon::agreement::NEAR;
pub use crate::data::grammar::lexicon::agreement::TEMPLATES;
use crate::data::grammar::lexicon::phrases;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::shapes;
use crate::data::grammar::slot::Slot;
use crate::data::grammar::words;
use crate::data::lists::List;

/// Verbs in singular and plural, and what may follow them.
pub static VERBS: [(&str, &str, &List); 8] = [
    ("is", "are", &phrases::STATES),
    ("was", "were", &phrases::STATES),
    ("is", "are", &phrases::STATES),
    ("was", "were", &phrases::STATES),
    ("has", "have", &phrases::HAPPENINGS),
    ("seems", "seem", &phrases::SEEMINGS),
    ("remains", "remain", &phrases::SEEMINGS),
    ("looks", "look", &phrases::SEEMINGS),
];

/// The nouns of one sentence.
pub struct Nouns {
    pub subject: &'static str,
    pub second: &'static str,
    pub third: &'static str,
    pub person: &'static str,
    pub near: &'static str,
    /// Whether the subject is singular; `attractors` tells whether the attractors are.
    pub one: bool,
    pub attractors: bool,
    pub verb: usize,
}

pub fn nouns(pen: &mut Pen, template: usize) -> Nouns {
    loop {
        pen.forget_words();
        let nouns = Nouns {
            subject: pen.fresh(pen.topic.nouns),
            second: pen.fresh(pen.topic.nouns),
            third: pen.fresh(pen.topic.nouns),
            person: pen.fresh(pen.topic.people),
            near: pen.word(&NEAR),
            one: pen.chance(50),
            attractors: pen.chance(50),
            verb: pen.below(VERBS.len()),
        };
        if pen.allowed(&[nouns.subject, nouns.second, nouns.person, &template.to_string()]) {
            return nouns;
        }
    }
}

fn number(one: bool) -> u32 {
    value(&NUMBERS, if one { "singular" } else { "plural" })
}

fn form(noun: &str, one: bool) -> String {
    if one { noun.into() } else { words::plural(noun) }
}

/// Writes the sentence up to its verb, which is included.
pub fn write(pen: &mut Pen, template: &str, nouns: &Nouns) {
    let (singular, plural) = VERBS.get(nouns.verb).map(|verb| (verb.0, verb.1)).unwrap_or_default();
    let subject = number(nouns.one);
    let attractor =
        |name, noun| Slot::new(name, form(noun, nouns.attractors)).mark(Col::Attractor, number(nouns.attractors));
    let slots = [
        Slot::new("subject", form(nouns.subject, nouns.one)).mark(Col::Number, subject),
        attractor("second", nouns.second),
        attractor("third", nouns.third),
        attractor("person", nouns.person),
        Slot::new("near", nouns.near),
        Slot::new("verb", if nouns.one { singular } else { plural })
            .mark(Col::Number, subject)
            .next(Col::NumberNext, subject),
    ];
    pen.fill(template, &slots);
}

pub fn clause(pen: &mut Pen) {
    let (number, template) = shapes::drawn(pen, "agreement", &TEMPLATES);
    let nouns = nouns(pen, number);
    write(pen, &template, &nouns);
    let rest = VERBS.get(nouns.verb).map_or("", |verb| pen.word(verb.2));
    pen.out.push(" ");
    pen.out.push(rest);
}
