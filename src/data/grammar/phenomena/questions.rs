//! Questions, and now and then an answer.

use crate::data::grammar::labels::Col;
use crate::data::grammar::pen::Pen;

const TEMPLATES: [&str; 30] = [
    "is the {noun} in the {place}",
    "where did {name} leave the {noun}",
    "who sold the {nouns} to the {people}",
    "why was the {place} closed {time}",
    "did the {one} see the {noun}",
    "how many {nouns} are there in {city}",
    "are the {people} ready for the {event}",
    "what happened to the {adj} {noun}",
    "has {name} been to {city} before",
    "when will the {people} open the {place}",
    "can a {one} repair a {noun}",
    "which of the {nouns} is {adj}",
    "does {item} belong to {name}",
    "what is a {noun} for",
    "have you seen the {nouns} near the {place}",
    "who was {someone}",
    "was the {event} really necessary",
    "how did the {noun} get into the {place}",
    "should the {people} sell {items}",
    "do {people} need {nouns}",
    "isn't the {noun} too heavy for {name}",
    "where is the {place}",
    "why doesn't {name} ask {org}",
    "what did {name} say about the {event}",
    "will {group} vote for it",
    "is there a {adj} {noun} in the {place}",
    "who would want a {adj} {noun}",
    "how old is the {noun}",
    "were the {nouns} made in {city}",
    "could {name} have taken the {noun}",
];

const ANSWERS: [&str; 12] = [
    "nobody knows",
    "the {people} cannot say",
    "the {one} has forgotten",
    "that is a good question",
    "it depends on the {one}",
    "{name} does not know, either",
    "{name} would like to know, too",
    "only the {one} could tell",
    "ask the {people}",
    "the papers did not say",
    "the answer is not clear",
    "that remains to be seen",
];

/// Writes a question, and in a third of the cases an answer to it.
pub fn sentence(pen: &mut Pen) {
    let start = pen.out.len();
    let template = pen.own(&TEMPLATES);
    pen.fill(template, &[]);
    pen.out.push("?");
    pen.out.mark_since(Col::Question, start, 1);
    if pen.chance(35) {
        pen.out.push(" ");
        pen.out.capital();
        let answer = pen.own(&ANSWERS);
        pen.fill(answer, &[]);
        pen.out.push(".");
    }
}
