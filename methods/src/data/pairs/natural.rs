//! Pairs for models of real text, with the templates of the literature.

use rand_chacha::ChaCha8Rng;

use super::Pair;
use super::frame::{below, filled, numbered, pick, spaced, without_parenthesis, years_about};
use super::words::templates::{
    AGREEING, CALLED, CAPITALS, CITED, INTRODUCED, IOI, LANGUAGES, LOCATED, REMEMBERED, REPORTED, SPANS,
};
use super::words::vocabulary::{AUTHORS, EVENTS, GIFTS, HER_ROLES, HIS_ROLES, MEN, NAMES, PLACES, WOMEN};
use super::words::{CAPITALS_OF, GENDERED, INSTITUTIONS, LANDMARKS, LANGUAGES_OF, LIVES, PEOPLE, THINGS};

/// Draws a pair of indirect object identification, after Wang et al. 2022.
pub fn ioi(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &IOI)?;
    let giver = pick(rng, &NAMES);
    let other = pick(rng, &NAMES);
    let giver_first = below(rng, 2) == 0;
    let (a, b) = if giver_first { (giver, other) } else { (other, giver) };
    let place = pick(rng, &PLACES);
    let gift = pick(rng, &GIFTS);
    let prompt = |giver| filled(template, &[("a", a), ("b", b), ("giver", giver), ("place", place), ("gift", gift)]);
    let kind = if giver_first { "BABA" } else { "ABBA" };
    let pair = || Pair {
        clean: prompt(giver),
        corrupt: prompt(other),
        answers: spaced(&[other]),
        wrong: spaced(&[giver]),
        kind,
        template: Some(at),
    };
    (giver != other).then(pair)
}

/// Draws a pair of greater-than, after Hanna et al. 2023; the corrupt prompt has the year 01, after which nearly every
/// year may follow.
pub fn greater_than(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &SPANS)?;
    let event = pick(rng, &EVENTS);
    let century = (11 + below(rng, 8)).to_string();
    let year = 2 + below(rng, 97);
    let prompt = |year: usize| {
        let from = format!("{century}{year:02}");
        filled(template, &[("event", event), ("from", &from), ("century", &century)])
    };
    let (answers, wrong) = years_about(year);
    Some(Pair { clean: prompt(year), corrupt: prompt(1), answers, wrong, kind: "", template: Some(at) })
}

/// Draws a prompt that ends within a parenthesis whose words are complete.
pub fn parenthesis(rng: &mut ChaCha8Rng) -> Option<Pair> {
    match below(rng, 4) {
        0 => {
            let (name, note) = pick(rng, &INSTITUTIONS);
            without_parenthesis(&filled(pick(rng, &INTRODUCED), &[("name", name), ("note", note)]), "acronym")
        }
        1 => {
            let (name, note) = pick(rng, &LIVES);
            without_parenthesis(&filled(pick(rng, &REMEMBERED), &[("name", name), ("note", note)]), "span")
        }
        2 => {
            let name = pick(rng, &AUTHORS);
            let other = pick(rng, &AUTHORS);
            let year = (1950 + below(rng, 70)).to_string();
            let slots = [("name", name), ("other", other), ("year", year.as_str())];
            without_parenthesis(&filled(pick(rng, &CITED), &slots), "citation")
        }
        _ => {
            let a = pick(rng, &["a", "x", "first", "left"]);
            let b = pick(rng, &["b", "y", "last", "right"]);
            without_parenthesis(&filled(pick(rng, &CALLED), &[("a", a), ("b", b)]), "call")
        }
    }
}

/// Draws a possessive, or a contraction that is cut before its "t".
pub fn apostrophe(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let before = pick(rng, &REPORTED);
    let cut = pick(rng, &["didn", "don", "wouldn", "couldn", "weren", "hadn"]);
    let (kind, owner) = match below(rng, 2) {
        0 => ("person", ["the ", pick(rng, &PEOPLE).0].concat()),
        _ => ("name", ["poor ", pick(rng, &NAMES)].concat()),
    };
    let possessive = [before, " ", &owner, "'"].concat();
    let contraction = [before, " ", pick(rng, &["they", "we", "you"]), " ", cut, "'"].concat();
    let s = vec!["s".to_string()];
    let t = vec!["t".to_string()];
    Some(match below(rng, 2) {
        0 => Pair { clean: possessive, corrupt: contraction, answers: s, wrong: t, kind, template: None },
        _ => {
            Pair { clean: contraction, corrupt: possessive, answers: t, wrong: s, kind: "contraction", template: None }
        }
    })
}

/// Draws a pair of subject-verb agreement, after Linzen et al. 2016.
pub fn agreement(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &AGREEING)?;
    let (subject, second) = if below(rng, 20) == 0 {
        // The usual example.
        (("key", "keys"), ("cabinet", "cabinets"))
    } else {
        (pick(rng, &THINGS), pick(rng, &THINGS))
    };
    let person = pick(rng, &PEOPLE);
    let one = below(rng, 2) == 0;
    let attractor = below(rng, 2) == 0;
    let form = |noun: (&'static str, &'static str), one| if one { noun.0 } else { noun.1 };
    let prompt = |one| {
        let slots =
            [("subject", form(subject, one)), ("second", form(second, attractor)), ("person", form(person, attractor))];
        filled(template, &slots)
    };
    let singular = spaced(&["is", "was", "has"]);
    let plural = spaced(&["are", "were", "have"]);
    let (answers, wrong) = if one { (singular, plural) } else { (plural, singular) };
    let kind = if one == attractor { "same" } else { "attractor" };
    (subject != second).then(|| Pair {
        clean: prompt(one),
        corrupt: prompt(!one),
        answers,
        wrong,
        kind,
        template: Some(at),
    })
}

/// Draws a pair of gender bias, after Vig et al. 2020.
pub fn gender(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, (template, pronouns)) = numbered(rng, &GENDERED)?;
    let role = below(rng, 2) == 0;
    let [women, men] = if role { [*HER_ROLES, *HIS_ROLES] } else { [*WOMEN, *MEN] };
    let woman = pick(rng, women);
    let man = pick(rng, men);
    let prompt = |person: &str| {
        let article = if template.starts_with('{') { "The " } else { "the " };
        let who = if role { [article, person].concat() } else { person.into() };
        filled(template, &[("who", &who)])
    };
    let female = below(rng, 2) == 0;
    let [clean, corrupt] = if female { [woman, man] } else { [man, woman] };
    let [right, wrong] = if female { pronouns } else { [pronouns[1], pronouns[0]] };
    let kind = if role { "role" } else { "name" };
    Some(Pair {
        clean: prompt(clean),
        corrupt: prompt(corrupt),
        answers: spaced(&[right]),
        wrong: spaced(&[wrong]),
        kind,
        template: Some(at),
    })
}

/// Draws a fact of the real world, and the same phrase about another thing.
pub fn facts(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (kind, templates, known) = match below(rng, 3) {
        0 => ("capital", *CAPITALS, &CAPITALS_OF),
        1 => ("language", *LANGUAGES, &LANGUAGES_OF),
        _ => ("city", *LOCATED, &LANDMARKS),
    };
    let (at, template) = numbered(rng, templates)?;
    let one = pick(rng, known);
    let other = pick(rng, known);
    let prompt = |about| filled(template, &[("x", about)]);
    (one.1 != other.1).then(|| Pair {
        clean: prompt(one.0),
        corrupt: prompt(other.0),
        answers: spaced(&[one.1]),
        wrong: spaced(&[other.1]),
        kind,
        template: Some(at),
    })
}
