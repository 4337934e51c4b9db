//! What people say, in quotation marks, and quotations within.

use crate::data::grammar::pen::Pen;
use crate::data::grammar::{clauses, people};

/// Short things to say, with a word in single quotation marks at times.
const SAYINGS: [&str; 24] = [
    "the {noun} is not for sale",
    "we never asked for a {adj} {noun}",
    "nobody told the {people}",
    "this {noun} belongs in the {place}",
    "I have seen enough {nouns}",
    "go to {city} and ask the {one}",
    "don't touch the {noun}",
    "the sign says ‘{adj}~’, not ‘{adj}~’",
    "there is no {noun} in the {place}",
    "that was the best {event} of all",
    "give the {gift} back to the {one}",
    "it's too late for the {people}",
    "the {one} only said ‘perhaps~’",
    "we are leaving {time}",
    "the {nouns} are in the {place}",
    "I don't believe in {nouns}",
    "my {noun} is older than yours",
    "you call that a {adj} {noun}",
    "a {noun} is a {noun}",
    "the letter began with the word ‘{noun}~’",
    "you will like {city}",
    "nothing is as {adj} as a {noun}",
    "bring me the {adj} {noun}",
    "the {place} will be closed {time}",
];

const SAYS: [&str; 12] = [
    "said",
    "answered",
    "replied",
    "shouted",
    "whispered",
    "added",
    "wrote",
    "repeated",
    "explained",
    "cried",
    "declared",
    "murmured",
];

/// What the quotation is of: a saying, or a whole clause of another phenomenon.
fn quoted(pen: &mut Pen) {
    pen.out.capital();
    if pen.chance(55) {
        let saying = pen.own(&SAYINGS);
        pen.fill(saying, &[]);
    } else {
        clauses::any(pen);
    }
}

/// Writes a sentence with a quotation, its stop included.
pub fn sentence(pen: &mut Pen) {
    let speaker =
        if pen.chance(70) { people::given(pen).0.to_string() } else { format!("the {}", pen.word(pen.topic.people)) };
    let says = pen.word(&SAYS);
    if pen.chance(60) {
        pen.out.open_double();
        quoted(pen);
        pen.out.push(",");
        pen.out.close();
        for part in [" ", says, " ", &speaker, "."] {
            pen.out.push(part);
        }
    } else {
        for part in [speaker.as_str(), " ", says, ", "] {
            pen.out.push(part);
        }
        pen.out.open_double();
        quoted(pen);
        pen.out.push(".");
        pen.out.close();
    }
}
