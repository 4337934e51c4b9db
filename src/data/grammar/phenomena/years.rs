//! Spans of years: the second is later, and in the same century (greater-than).

use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::Col;
use crate::data::grammar::pen::Pen;

/// `from` is the first year; `century` and `year` are the halves of the second, which is written as one number.
pub const TEMPLATES: [&str; 30] = [
    "the {event} lasted from the year {from} to the year {century}{year}",
    "the {event} lasted from {from} to {century}{year}",
    "from {from} to {century}{year} the {place} was closed",
    "the {event} went on from the year {from} until the year {century}{year}",
    "{name} lived in {city} from {from} to {century}{year}",
    "between {from} and {century}{year} nobody sold a {noun} in {city}",
    "the {event} began in the year {from} and ended in the year {century}{year}",
    "the {event} began in {from} and ended in {century}{year}",
    "the {one} worked at the {place} from the year {from} to the year {century}{year}",
    "the {nouns} were made between {from} and {century}{year}",
    "the {place} was rebuilt between the year {from} and the year {century}{year}",
    "the {event} ran from {from} to {century}{year}",
    "from the year {from} to the year {century}{year} there was no {noun} in {city}",
    "the {event} started in {from} and was over by {century}{year}",
    "the {event}, which began in {from}, lasted until {century}{year}",
    "the {people} kept the {noun} from {from} until {century}{year}",
    "during the {event}, from {from} to {century}{year}, prices rose",
    "the old {noun} was in use from the year {from} to the year {century}{year}",
    "{name} went to {city} in {from} and came back in {century}{year}",
    "a {noun} of {from} was lost in {century}{year}",
    "the letters cover the years from {from} to {century}{year}",
    "the {place}, opened in {from}, was sold in {century}{year}",
    "the {adj} {noun} was built in {from} and destroyed in {century}{year}",
    "the first {event} lasted from the year {from} until the year {century}{year}",
    "the {event} occupied the {people} from {from} to {century}{year}",
    "the {noun} was bought in {from} and sold in {century}{year}",
    "the {event} was planned in {from} and abandoned in {century}{year}",
    "the {event} dragged on from {from} to {century}{year}",
    "the {nouns} of {from} were replaced in {century}{year}",
    "the {event} is dated from the year {from} to the year {century}{year}",
];

/// A century, and a year in it that later ones follow, as the split may have them.
pub fn start(pen: &mut Pen) -> (usize, usize) {
    loop {
        let century = if pen.chance(60) { 16 + pen.below(4) } else { 11 + pen.below(9) };
        // The later of two draws: late years, which few can follow, are what teaches to compare.
        let year = 2 + pen.below(96).max(pen.below(96));
        if pen.allowed(&[&century.to_string(), &year.to_string()]) {
            return (century, year);
        }
    }
}

/// Two digits, whatever the number.
pub fn digits(number: usize) -> String {
    [number / 10 % 10, number % 10].map(|digit| digit.to_string()).concat()
}

/// Writes the sentence: the span from one year of a century to another.
pub fn write(pen: &mut Pen, template: &str, century: usize, from: usize, to: usize) {
    let slots = [
        Slot::new("from", [digits(century), digits(from)].concat()),
        Slot::new("century", digits(century)).mark(Col::Year, from as u32),
        Slot::new("year", digits(to)),
    ];
    pen.fill(template, &slots);
}

pub fn clause(pen: &mut Pen) {
    let template = pen.own(&TEMPLATES);
    let (century, from) = start(pen);
    let to = from + 1 + pen.below(99 - from);
    write(pen, template, century, from, to);
}
