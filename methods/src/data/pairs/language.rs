//! Pairs of the labelled language: its held-out templates, names and combinations, by the code that writes its texts.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::Pair;
use super::frame::{below, pick, spaced, without_parenthesis, years_about};
use super::words::templates::BEFORE;
use crate::base::random::stream;
use crate::data::grammar::Split;
use crate::data::grammar::labels::{Col, NAME_ROLES, PAREN_KINDS, value};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;
use crate::data::grammar::phenomena as of;
use crate::data::grammar::topics::TOPICS;
use crate::data::grammar::words::begins_with_vowel;
use crate::data::grammar::world::{self, Fact, RELATIONS};

/// Two sentences with the same random words wherever they are not fixed.
struct Twins {
    seed: u64,
    topic: usize,
}

impl Twins {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        Self { seed: rng.next_u64(), topic: below(rng, TOPICS.len()) }
    }

    fn pen(&self, purpose: &str) -> Pen {
        let topic = TOPICS.get(self.topic).unwrap_or(&TOPICS[0]);
        Pen::new(stream(self.seed, purpose, 0), Split::Held, topic)
    }

    /// Returns the pen that draws the content of both sentences.
    fn chooser(&self) -> Pen {
        self.pen("pair, choice")
    }

    /// Returns a sentence up to the first mark of a column about the next token: of any kind, or of a given one.
    fn prompt(&self, column: Col, kind: Option<u32>, write: impl FnOnce(&mut Pen)) -> Option<String> {
        let mut pen = self.pen("pair, words");
        pen.out.capital();
        write(&mut pen);
        let mark = pen.out.marks_of(column).find(|mark| kind.is_none_or(|kind| mark.value == kind))?;
        pen.out.text().get(..mark.end as usize).map(String::from)
    }
}

pub fn ioi(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut chooser = twins.chooser();
    let at = chooser.index(&of::ioi::TEMPLATES);
    let template = of::ioi::TEMPLATES.get(at)?;
    let cast = of::ioi::cast(&mut chooser, at);
    let receiver = Some(value(&NAME_ROLES, "io_again"));
    let clean = twins.prompt(Col::NameNext, receiver, |pen| of::ioi::write(pen, template, &cast))?;
    // The other one is the giver, and the order of the names stays.
    let turned = of::ioi::Cast { giver: cast.other, other: cast.giver, giver_first: !cast.giver_first };
    let corrupt = twins.prompt(Col::NameNext, receiver, |pen| of::ioi::write(pen, template, &turned))?;
    let kind = if cast.giver_first { "BABA" } else { "ABBA" };
    Some(Pair {
        clean,
        corrupt,
        answers: spaced(&[turned.giver]),
        wrong: spaced(&[turned.other]),
        kind,
        template: Some(at),
    })
}

/// The earliest first year of a span, after which nearly every year may follow.
const EARLIEST: usize = 2;

pub fn greater_than(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut chooser = twins.chooser();
    let at = chooser.index(&of::years::TEMPLATES);
    let template = of::years::TEMPLATES.get(at)?;
    let (century, from) = of::years::start(&mut chooser);
    let prompt = |from| twins.prompt(Col::Year, None, |pen| of::years::write(pen, template, century, from, 99));
    let (answers, wrong) = years_about(from);
    let clean = prompt(from)?;
    let corrupt = prompt(EARLIEST)?;
    (from > EARLIEST).then_some(Pair { clean, corrupt, answers, wrong, kind: "", template: Some(at) })
}

pub fn parenthesis(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let code = below(rng, 100) < 15;
    let twins = Twins::new(rng);
    let mut pen = twins.chooser();
    if code {
        of::code::assignment(&mut pen);
    } else {
        pen.out.capital();
        of::parentheses::clause(&mut pen);
    }
    // In prose, text within two parentheses would still close the outer one.
    let closes = |at: u32| code || pen.out.value_at(Col::Depth, at) == 1;
    let due: Vec<u32> = pen.out.marks_of(Col::Due).map(|mark| mark.end).filter(|end| closes(*end)).collect();
    let end = *due.get(below(rng, due.len()))?;
    let kind = pen.out.value_at(Col::ParenKind, end) as usize;
    without_parenthesis(pen.out.text().get(..end as usize)?, PAREN_KINDS.get(kind.checked_sub(1)?)?)
}

pub fn apostrophe(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut pen = twins.chooser();
    let before = pick(rng, &BEFORE);
    let cut = pick(rng, &["didn", "couldn", "wouldn", "don", "hadn", "weren"]);
    let plural = pick(rng, &["they", "we", "you"]);
    pen.out.capital();
    pen.fill(before, &[]);
    let stem = pen.out.text().to_string();
    let (kind, owner) = if below(rng, 2) == 0 {
        ("person", ["the ", pen.word(pen.topic.people)].concat())
    } else {
        let name = people::given(&mut pen).0;
        ("name", ["old ", name].concat())
    };
    let comma = if before.ends_with("that") { " " } else { ", " };
    let possessive = [&stem, comma, &owner, "'"].concat();
    let contraction = [&stem, comma, plural, " ", cut, "'"].concat();
    let s = vec!["s".to_string()];
    let t = vec!["t".to_string()];
    Some(if below(rng, 2) == 0 {
        Pair { clean: possessive, corrupt: contraction, answers: s, wrong: t, kind, template: None }
    } else {
        Pair { clean: contraction, corrupt: possessive, answers: t, wrong: s, kind: "contraction", template: None }
    })
}

pub fn agreement(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut chooser = twins.chooser();
    let at = chooser.index(&of::agreement::TEMPLATES);
    let template = of::agreement::TEMPLATES.get(at)?;
    let mut nouns = of::agreement::nouns(&mut chooser, at);
    let one = nouns.one;
    let kind = if one == nouns.attractors { "same" } else { "attractor" };
    let clean = twins.prompt(Col::NumberNext, None, |pen| of::agreement::write(pen, template, &nouns))?;
    nouns.one = !one;
    let corrupt = twins.prompt(Col::NumberNext, None, |pen| of::agreement::write(pen, template, &nouns))?;
    let singular = spaced(&["is", "was", "has", "seems"]);
    let plural = spaced(&["are", "were", "have", "seem"]);
    let (answers, wrong) = if one { (singular, plural) } else { (plural, singular) };
    Some(Pair { clean, corrupt, answers, wrong, kind, template: Some(at) })
}

pub fn gender(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut chooser = twins.chooser();
    let at = chooser.index(&of::gender::TEMPLATES);
    let template = of::gender::TEMPLATES.get(at)?;
    // The split allows both people in this sentence, and both are given by name, or both by role.
    let person = of::gender::person(&mut chooser, at);
    let other = loop {
        let other = of::gender::person(&mut chooser, at);
        if other.female != person.female && other.role == person.role {
            break other;
        }
    };
    let prompt = |person| twins.prompt(Col::PronounNext, None, |pen| of::gender::write(pen, template, person));
    let clean = prompt(&person)?;
    let corrupt = prompt(&other)?;
    let pronouns = of::gender::first_pronouns(template);
    let kind = if person.role { "role" } else { "name" };
    let [right, wrong] = if person.female { pronouns } else { [pronouns[1], pronouns[0]] };
    Some(Pair { clean, corrupt, answers: spaced(&[right]), wrong: spaced(&[wrong]), kind, template: Some(at) })
}

pub fn facts(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let twins = Twins::new(rng);
    let mut chooser = twins.chooser();
    let (fact, at) = of::facts::any(&mut chooser)?;
    let template = of::facts::TEMPLATES.get(fact.relation)?.get(at)?;
    let others: Vec<&Fact> = world::of_relation(fact.relation).filter(|other| differs(fact, other)).collect();
    let other = *others.get(below(rng, others.len()))?;
    let prompt = |fact| twins.prompt(Col::FactNext, None, |pen| of::facts::write(pen, template, fact));
    let kind = RELATIONS.get(fact.relation)?;
    let answers = |fact: &Fact| spaced(&[&fact.answer]);
    Some(Pair {
        clean: prompt(fact)?,
        corrupt: prompt(other)?,
        answers: answers(fact),
        wrong: answers(other),
        kind,
        template: Some(at),
    })
}

/// Returns whether two facts have different answers that take the same article.
fn differs(fact: &Fact, other: &Fact) -> bool {
    fact.answer != other.answer && begins_with_vowel(&fact.answer) == begins_with_vowel(&other.answer)
}
