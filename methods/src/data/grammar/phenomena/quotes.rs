//! Direct speech in quotation marks, and quotations within it.

use crate::data::grammar::lexicon::quotes::{SAYINGS, SAYS};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::{clauses, people};

/// Writes the quoted text: a saying, or a clause of another phenomenon.
fn quoted(pen: &mut Pen) {
    pen.out.capital();
    if pen.chance(55) {
        let saying = pen.own(&SAYINGS);
        pen.fill(saying, &[]);
    } else {
        clauses::any(pen);
    }
}

/// Writes a sentence with a quotation and its full stop.
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
