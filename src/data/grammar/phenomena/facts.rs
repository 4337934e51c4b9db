//! What is known of the world, in many phrasings.

use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::{Col, ENTITIES, value};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::world::{self, Fact, RELATIONS};

/// Phrasings by relation: `x` is what the fact is about, `y` the answer, which stands last.
pub const TEMPLATES: [&[&str]; RELATIONS.len()] = [
    &[
        "the capital of {x} is {y}",
        "the capital city of {x} is {y}",
        "the parliament of {x} is in the capital, {y}",
        "{x} is a country whose capital is {y}",
        "everybody knows that the capital of {x} is {y}",
        "the capital of {x}, of course, is {y}",
        "if you ask for the capital of {x}, the answer is {y}",
        "the government of {x} sits in {y}",
        "in {x} the capital is called {y}",
        "{name} went to the capital of {x}, {y}",
        "as its capital {x} has {y}",
        "on the map of {x} the capital is marked as {y}",
        "the embassy in the capital of {x} stands in the middle of {y}",
        "the {people} of {x} govern their country from {y}",
        "the train to the capital of {x} stops in {y}",
        "the king of {x} came home to his capital, {y}",
        "the biggest embassy in {x} is in the capital, {y}",
        "they moved to the capital of {x}, that is, to {y}",
    ],
    &[
        "{x} is a city in {y}",
        "{x} is in {y}",
        "the city of {x} is in {y}",
        "{x} lies in {y}",
        "the country in which {x} lies is {y}",
        "{x} belongs to the country of {y}",
        "{name} was born in {x}, a city in {y}",
        "you can find {x} on a map of {y}",
        "whoever goes to {x} goes to {y}",
        "the {people} of {x} live in {y}",
        "like other cities of the country, {x} pays its taxes to {y}",
        "the town of {x} is a town in {y}",
        "a letter to {x} is a letter to {y}",
        "the mayor of {x} is well known in {y}",
        "the museum in {x} is the best in {y}",
        "{x} is one of the cities of {y}",
        "to visit {x}, buy a ticket to {y}",
        "the country around {x} is called {y}",
    ],
    &[
        "the language of {x} is {y}",
        "in {x} people speak {y}",
        "the people of {x} speak {y}",
        "whoever lives in {x} should learn {y}",
        "most books in {x} are written in {y}",
        "the official language of {x} is {y}",
        "children in {x} grow up with {y}",
        "{name} went to {x} to learn {y}",
        "the newspapers of {x} are printed in {y}",
        "signs in {x} are written in {y}",
        "the main language in {x} is {y}",
        "what is spoken in {x} is {y}",
    ],
    &[
        "the river in {x} is the {y}",
        "{x} lies on the {y}",
        "the city of {x} stands on the {y}",
        "the river that flows through {x} is the {y}",
        "boats in {x} sail on the {y}",
        "the bridges of {x} cross the {y}",
        "in {x} {name} swam in the {y}",
        "through {x} flows the {y}",
        "the water of {x} comes from the {y}",
        "{x} was built on the {y}",
        "fish in {x} are caught in the {y}",
        "the river of {x} is called the {y}",
    ],
    &[
        "{x} is a {y}",
        "{x} works as a {y}",
        "{x} earns a living as a {y}",
        "by trade {x} is a {y}",
        "{x} has always been a {y}",
        "the trade of {x} is that of a {y}",
        "everybody knows {x}, the {y}",
        "{x} learned the trade of a {y}",
        "the letter calls {x} a {y}",
        "if you need {x}, ask for the {y}",
        "it was {x} who became a {y}",
        "for many years {x} has worked as a {y}",
        "{x} is known as a {y}",
        "in the register {x} is listed as a {y}",
        "after school {x} became a {y}",
        "the sign over the door of {x} shows a {y}",
        "nobody knew that {x} was a {y}",
        "{x} makes a good {y}",
    ],
    &[
        "{x} lives in {y}",
        "the home of {x} is in {y}",
        "{x} has a house in {y}",
        "letters to {x} are sent to {y}",
        "{x} comes from {y}",
        "you can meet {x} in {y}",
        "{x} has never left {y}",
        "the house of {x} stands in {y}",
        "{x} was born in {y}",
        "{x} pays the rent for a room in {y}",
        "if you look for {x}, go to {y}",
        "every winter {x} stays at home in {y}",
        "{x} grew up in {y}",
        "we visited {x} in {y}",
        "{x} is at home in {y}",
        "the family of {x} lives in {y}",
        "the garden of {x} is in {y}",
        "{x} walks every day through the streets of {y}",
    ],
    &[
        "the best friend of {x} is {y}",
        "{x} is a good friend of {y}",
        "{x} often writes to {y}",
        "{x} has a friend called {y}",
        "for years {x} has known {y}",
        "every week {x} visits {y}",
        "the oldest friend of {x} is {y}",
        "{x} tells everything to {y}",
        "when in doubt {x} asks {y}",
        "{x} would do anything for {y}",
        "the person that {x} knows best is {y}",
        "{x} was at school with {y}",
        "nobody is closer to {x} than {y}",
        "{x} plays chess with {y}",
        "{x} shares an office with {y}",
        "the friend whom {x} trusts is {y}",
        "{x} has dinner with {y}",
        "on holidays {x} travels with {y}",
    ],
    &[
        "a {x} works with {y}",
        "the work of a {x} is all about {y}",
        "what a {x} needs is {y}",
        "every {x} knows about {y}",
        "the {x} came back with {y}",
        "you go to a {x} for {y}",
        "ask the {x} for {y}",
        "a {x} spends the day with {y}",
        "a {x} talks of nothing but {y}",
        "the {x} was surrounded by {y}",
        "the shop of a {x} is full of {y}",
        "without a {x} there would be no {y}",
    ],
];

/// Writes a fact in one of its phrasings.
pub fn write(pen: &mut Pen, template: &str, fact: &Fact) {
    let relation = fact.relation as u32 + 1;
    let entity = |at: usize| value(&ENTITIES, fact.kinds[at]);
    let slots = [
        Slot::new("x", fact.about.as_str()).mark(Col::Entity, entity(0)),
        Slot::new("y", fact.answer.as_str())
            .mark(Col::Fact, relation)
            .mark(Col::Entity, entity(1))
            .next(Col::FactNext, relation),
    ];
    pen.fill(template, &slots);
}

/// A fact, and the index of a phrasing. Four times in ten the relation is drawn first, so that those of few facts are
/// not drowned by those of people.
pub fn any(pen: &mut Pen) -> Option<(&'static Fact, usize)> {
    let fact = if pen.below(10) < 6 {
        world::facts().get(pen.below(world::facts().len()))
    } else {
        let relation = pen.below(RELATIONS.len());
        let count = world::of_relation(relation).count();
        world::of_relation(relation).nth(pen.below(count))
    }?;
    let phrasing = pen.index(TEMPLATES.get(fact.relation)?);
    Some((fact, phrasing))
}

pub fn clause(pen: &mut Pen) {
    if let Some((fact, template)) = any(pen)
        && let Some(template) = TEMPLATES.get(fact.relation).and_then(|list| list.get(template))
    {
        write(pen, template, fact);
    }
}
