//! Spans of years: the second is later, and in the same century (greater-than).

use crate::data::grammar::labels::Col;
pub use crate::data::grammar::lexicon::years::TEMPLATES;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::slot::Slot;

/// Returns a century, and the first year of a span in it, which the split allows.
pub fn start(pen: &mut Pen) -> (usize, usize) {
    loop {
        let century = if pen.chance(60) { 16 + pen.below(4) } else { 11 + pen.below(9) };
        // The later of two draws: comparison is learned from late years, which few years can follow.
        let year = 2 + pen.below(96).max(pen.below(96));
        if pen.allowed(&[&century.to_string(), &year.to_string()]) {
            return (century, year);
        }
    }
}

/// Returns a number as two digits.
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
