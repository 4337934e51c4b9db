//! Sentences whose phrases are explained in parentheses.

use crate::data::grammar::pen::Pen;

/// How many of a hundred phrases are explained here, and elsewhere.
const EXPLAINED: usize = 85;

const TEMPLATES: [&str; 42] = [
    "{org} asked {someone} for a report about {items}",
    "{group} voted for the plan {time}",
    "{someone} carried {item} to the {place}",
    "{item} was shown to the {people} {time}",
    "in {city} {items} are sold at every corner",
    "{someone} was a member of {org}",
    "the {people} put {item} next to {item}",
    "{items} are rare nowadays{claim}",
    "{group} decided that {item} was worth the money",
    "it is said that {someone} never saw {item}",
    "{org} and the {people} of {city} signed an agreement {time}",
    "nobody had told {group} about {items}",
    "{item} is often mistaken for {item}",
    "{someone} studied {items} {duration}",
    "the {event} was described by {someone} and by {someone}",
    "{org} was founded by {someone}",
    "near the {place} stood {item}, and behind it {item}",
    "the price of {items} fell {time}",
    "{group} refused to pay for {item}",
    "the {adj} {noun} is heavier than the {noun}{claim}",
    "{org} replaced {items} with new ones",
    "{someone} and {someone} met in {city} {time}",
    "most {people} had never heard of {org}",
    "there is no proof that {someone} wrote the letter{claim}",
    "the list names {items} and {items}",
    "{item} was a gift from {someone}",
    "{group} met {org} in {city}",
    "the work of {someone} is known to few {people}{claim}",
    "with the help of {org} {group} bought {item}",
    "the {people} of {city} prefer {items}",
    "the {event} cost more than a {noun}{claim}",
    "{someone} sold {item} and left the country",
    "according to {org} there are {count} {nouns} in the {place}",
    "the chairs were taken by {group}",
    "{items} were found under the floor{claim}",
    "{org} thanked {someone} for {item}",
    "for {someone} the {event} was a surprise",
    "{group} was older than {org}",
    "a picture of {item} hangs in the {place}",
    "the {one} sent {items} to {org}",
    "the {event} ended badly{claim}",
    "{someone} worked for {org} {duration}",
];

pub fn clause(pen: &mut Pen) {
    let usual = std::mem::replace(&mut pen.explained, EXPLAINED);
    let template = pen.own(&TEMPLATES);
    pen.fill(template, &[]);
    pen.explained = usual;
}
