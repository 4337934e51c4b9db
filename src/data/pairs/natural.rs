//! Pairs for models of real text, with the templates of the literature.

use rand_chacha::ChaCha8Rng;

use super::Pair;
use super::frame::{below, filled, numbered, pick, spaced, without_parenthesis, years_about};
use super::words;

/// After Wang et al. 2022 (indirect object identification): two names, then the giver again.
const IOI: [&str; 16] = [
    "When {a} and {b} went to the {place}, {giver} gave a {gift} to",
    "Then, {a} and {b} went to the {place}. {giver} gave a {gift} to",
    "Then, {a} and {b} had a lot of fun at the {place}. {giver} gave a {gift} to",
    "Then, {a} and {b} were working at the {place}. {giver} decided to give a {gift} to",
    "After {a} and {b} went to the {place}, {giver} gave a {gift} to",
    "While {a} and {b} were at the {place}, {giver} handed a {gift} to",
    "Friends {a} and {b} met at the {place}, where {giver} gave a {gift} to",
    "The {place} that {a} and {b} went to had a {gift}. {giver} gave it to",
    "When {a} and {b} got a {gift} at the {place}, {giver} decided to give it to",
    "{a} and {b} were walking to the {place}. Then {giver} passed the {gift} to",
    "Today {a} and {b} met at the {place}, and {giver} sold a {gift} to",
    "Then, {a} and {b} had a long argument, and afterwards {giver} said to",
    "As soon as {a} and {b} reached the {place}, {giver} showed a {gift} to",
    "Last week {a} and {b} found a {gift} at the {place}. {giver} left it to",
    "{a} wanted to meet {b} at the {place}, because {giver} owed a {gift} to",
    "It was late when {a} and {b} came home from the {place}, and {giver} brought a {gift} to",
];

pub fn ioi(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &IOI)?;
    let (giver, other) = (pick(rng, &words::NAMES), pick(rng, &words::NAMES));
    let giver_first = below(rng, 2) == 0;
    let (a, b) = if giver_first { (giver, other) } else { (other, giver) };
    let (place, gift) = (pick(rng, &words::PLACES), pick(rng, &words::GIFTS));
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

/// After Hanna et al. 2023 (greater-than); the corrupt prompt has the year 01, after which nearly every year may
/// follow.
const SPANS: [&str; 6] = [
    "The {event} lasted from the year {from} to the year {century}",
    "The {event} lasted from {from} to {century}",
    "The {event} began in the year {from} and ended in the year {century}",
    "The {event} went on from the year {from} until the year {century}",
    "The first {event} lasted from the year {from} to the year {century}",
    "In this country the {event} lasted from the year {from} to the year {century}",
];

pub fn greater_than(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &SPANS)?;
    let event = pick(rng, &words::EVENTS);
    let (century, year) = ((11 + below(rng, 8)).to_string(), 2 + below(rng, 97));
    let prompt = |year: usize| {
        let from = format!("{century}{year:02}");
        filled(template, &[("event", event), ("from", &from), ("century", &century)])
    };
    let (answers, wrong) = years_about(year);
    Some(Pair { clean: prompt(year), corrupt: prompt(1), answers, wrong, kind: "", template: Some(at) })
}

const INTRODUCED: [&str; 6] = [
    "The {name} ({note}",
    "Yesterday the {name} ({note}",
    "A report by the {name} ({note}",
    "He works for the {name} ({note}",
    "According to the {name} ({note}",
    "In a letter to the {name} ({note}",
];

const REMEMBERED: [&str; 5] = [
    "{name} ({note}",
    "The life of {name} ({note}",
    "A letter by {name} ({note}",
    "She admired {name} ({note}",
    "The works of {name} ({note}",
];

const CITED: [&str; 6] = [
    "This has been shown before ({name}, {year}",
    "The results were confirmed later ({name}, {year}",
    "Most of them are small ({name} et al., {year}",
    "As others have found (see {name}, {year}",
    "The method is well known ({name}, {year}",
    "The effect is weak, however ({name} and {other}, {year}",
];

const CALLED: [&str; 6] = [
    "x = max({a}, {b}",
    "print(len({a}",
    "y = min({a}, {b}",
    "return max({a}, {b}",
    "print(max({a}, {b}",
    "for i in range(len({a}",
];

/// Prompts that end within a parenthesis whose words are complete.
pub fn parenthesis(rng: &mut ChaCha8Rng) -> Option<Pair> {
    match below(rng, 4) {
        0 => {
            let (name, note) = pick(rng, &words::INSTITUTIONS);
            without_parenthesis(&filled(pick(rng, &INTRODUCED), &[("name", name), ("note", note)]), "acronym")
        }
        1 => {
            let (name, note) = pick(rng, &words::LIVES);
            without_parenthesis(&filled(pick(rng, &REMEMBERED), &[("name", name), ("note", note)]), "span")
        }
        2 => {
            let (name, other) = (pick(rng, &words::AUTHORS), pick(rng, &words::AUTHORS));
            let year = (1950 + below(rng, 70)).to_string();
            let slots = [("name", name), ("other", other), ("year", year.as_str())];
            without_parenthesis(&filled(pick(rng, &CITED), &slots), "citation")
        }
        _ => {
            let (a, b) = (pick(rng, &["a", "x", "first", "left"]), pick(rng, &["b", "y", "last", "right"]));
            without_parenthesis(&filled(pick(rng, &CALLED), &[("a", a), ("b", b)]), "call")
        }
    }
}

const REPORTED: [&str; 16] = [
    "I know that",
    "It seems that",
    "She said that",
    "He thinks that",
    "We heard that",
    "They say that",
    "It is true that",
    "I was told that",
    "Everybody knows that",
    "The truth is that",
    "It turned out that",
    "You can see that",
    "Nobody knew that",
    "He forgot that",
    "She was sure that",
    "I am afraid that",
];

/// A possessive, or a contraction that is cut before its "t".
pub fn apostrophe(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let before = pick(rng, &REPORTED);
    let cut = pick(rng, &["didn", "don", "wouldn", "couldn", "weren", "hadn"]);
    let (kind, owner) = match below(rng, 2) {
        0 => ("person", ["the ", pick(rng, &words::PEOPLE).0].concat()),
        _ => ("name", ["poor ", pick(rng, &words::NAMES)].concat()),
    };
    let possessive = [before, " ", &owner, "'"].concat();
    let contraction = [before, " ", pick(rng, &["they", "we", "you"]), " ", cut, "'"].concat();
    let (s, t) = (vec!["s".to_string()], vec!["t".to_string()]);
    Some(match below(rng, 2) {
        0 => Pair { clean: possessive, corrupt: contraction, answers: s, wrong: t, kind, template: None },
        _ => {
            Pair { clean: contraction, corrupt: possessive, answers: t, wrong: s, kind: "contraction", template: None }
        }
    })
}

/// After Linzen et al. 2016: a subject, and a noun between it and its verb.
const AGREEING: [&str; 12] = [
    "The {subject} near the {second}",
    "The {subject} behind the {second}",
    "The {subject} next to the {second}",
    "The {subject} on the {second}",
    "The {subject} of the {person}",
    "The {subject} that the {person} bought",
    "The {subject} which belonged to the {person}",
    "The {subject} beside the {second}",
    "The {subject} in front of the {second}",
    "The {subject} from the {second}",
    "I think that the {subject} near the {second}",
    "The {subject} with the {second}",
];

pub fn agreement(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, template) = numbered(rng, &AGREEING)?;
    let (subject, second) = if below(rng, 20) == 0 {
        // The usual example.
        (("key", "keys"), ("cabinet", "cabinets"))
    } else {
        (pick(rng, &words::THINGS), pick(rng, &words::THINGS))
    };
    let person = pick(rng, &words::PEOPLE);
    let (one, attractor) = (below(rng, 2) == 0, below(rng, 2) == 0);
    let form = |noun: (&'static str, &'static str), one| if one { noun.0 } else { noun.1 };
    let prompt = |one| {
        let slots =
            [("subject", form(subject, one)), ("second", form(second, attractor)), ("person", form(person, attractor))];
        filled(template, &slots)
    };
    let (singular, plural) = (spaced(&["is", "was", "has"]), spaced(&["are", "were", "have"]));
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

/// After Vig et al. 2020 (gender bias), with the pronouns of women and of men.
const GENDERED: [(&str, [&str; 2]); 14] = [
    ("{who} said that", ["she", "he"]),
    ("{who} was late because", ["she", "he"]),
    ("{who} smiled because", ["she", "he"]),
    ("{who} told us that", ["she", "he"]),
    ("{who} looked in the mirror and saw", ["herself", "himself"]),
    ("{who} was tired, but", ["she", "he"]),
    ("When {who} came home,", ["she", "he"]),
    ("{who} did not know what", ["she", "he"]),
    ("{who} cried because", ["she", "he"]),
    ("After {who} had left, everybody talked about", ["her", "him"]),
    ("I met {who} and gave the book to", ["her", "him"]),
    ("{who} put on", ["her", "his"]),
    ("{who} forgot where", ["she", "he"]),
    ("{who} promised that", ["she", "he"]),
];

pub fn gender(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let (at, (template, pronouns)) = numbered(rng, &GENDERED)?;
    let role = below(rng, 2) == 0;
    let [women, men] = if role { [&words::HER_ROLES[..], &words::HIS_ROLES] } else { [&words::WOMEN[..], &words::MEN] };
    let (woman, man) = (pick(rng, women), pick(rng, men));
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

const CAPITALS: [&str; 5] = [
    "The capital of {x} is",
    "The capital city of {x} is",
    "The capital of {x} is the city of",
    "Everybody knows that the capital of {x} is",
    "If you travel to the capital of {x}, you arrive in",
];

const LANGUAGES: [&str; 5] = [
    "In {x} people speak",
    "The official language of {x} is",
    "The people of {x} speak",
    "Most people in {x} speak",
    "Most books in {x} are written in",
];

const LOCATED: [&str; 5] = [
    "{x} is in the city of",
    "{x} is located in the city of",
    "{x} can be visited in",
    "{x} stands in the middle of",
    "{x} is one of the sights of",
];

/// Facts of the real world, and the same phrase about another thing.
pub fn facts(rng: &mut ChaCha8Rng) -> Option<Pair> {
    let languages = || words::COUNTRIES.iter().filter_map(|(country, _, language)| Some((*country, (*language)?)));
    let (kind, templates, known): (_, _, Vec<(&str, &str)>) = match below(rng, 3) {
        0 => ("capital", CAPITALS, words::COUNTRIES.iter().map(|(country, capital, _)| (*country, *capital)).collect()),
        1 => ("language", LANGUAGES, languages().collect()),
        _ => ("city", LOCATED, words::LANDMARKS.to_vec()),
    };
    let (at, template) = numbered(rng, &templates)?;
    let (one, other) = (pick(rng, &known), pick(rng, &known));
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
