//! Sentences of the topic, so that the language is not made of phenomena alone.

use crate::data::grammar::pen::Pen;

/// Sentences that fit every topic.
const GENERAL: [&str; 36] = [
    "the {people} had other things to do",
    "nothing of the kind was found in {city}",
    "the {event} was the subject of many songs",
    "most of the {nouns} came from {city}",
    "the {one} closed the door and said nothing",
    "there is more than one {place} in {city}",
    "the story has been told many times",
    "the {people} were paid by the day",
    "a {adj} {noun} costs more than a {adj} one",
    "it took the {people} {count} days to find the {noun}",
    "the {place} was empty {time}",
    "what the {one} did next is not recorded",
    "the {noun} stood in the {place} {duration}",
    "several {people} were seen near the {place} {time}",
    "{item} cost as much as {count} {nouns}",
    "the {event} changed the life of the {people}",
    "no two {nouns} are the same",
    "{name} visited the {place} {time}",
    "some {people} prefer {adj} {nouns}",
    "{group} had not expected so many {people}",
    "the work was hard, but the {people} were cheerful",
    "the first {noun} was made in {city}",
    "{someone} told the story in a letter",
    "the {people} went home {time}",
    "at the {place} a {one} sold {nouns} and {nouns}",
    "the price of a {noun} has doubled",
    "{org} keeps a list of such {nouns}",
    "few {people} can afford a {noun} like this",
    "{name} agreed with the {one}, and the matter was closed",
    "the {nouns} arrived in {city} {time}",
    "this was the end of the {event}",
    "the {one} left {city} in {month}",
    "half of the {nouns} were broken",
    "every {place} has its own rules",
    "it is easy to lose a {noun} in the dark",
    "the {people} knew every {noun} by its number",
];

pub fn clause(pen: &mut Pen) {
    let list: &'static [&'static str] = if pen.chance(55) { pen.topic.sentences } else { &GENERAL };
    let template = pen.own(list);
    pen.fill(template, &[]);
}
