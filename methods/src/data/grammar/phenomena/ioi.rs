//! Indirect object identification: two names and a gift. The giver is named twice, so the other one receives it.

use super::gifts;
use crate::data::grammar::Split;
use crate::data::grammar::labels::{Col, NAME_ROLES, value};
pub use crate::data::grammar::lexicon::ioi::TEMPLATES;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;
use crate::data::grammar::shapes;
use crate::data::grammar::slot::Slot;

/// The people of a sentence.
pub struct Cast {
    pub giver: String,
    pub other: String,
    /// Whether the giver is named first.
    pub giver_first: bool,
}

/// Returns the percentage of names that are invented. In training there are many: with 30 %, a model learned which
/// names exist, and never predicted a held-out name.
fn invented(split: Split) -> usize {
    match split {
        Split::Train => 60,
        Split::Held => 30,
    }
}

/// Draws a cast that the split allows.
pub fn cast(pen: &mut Pen, template: usize) -> Cast {
    let percent = invented(pen.split);
    loop {
        let giver = people::given_or_invented(pen, percent);
        let other = people::given_or_invented(pen, percent);
        // Names with the same beginning would make the first letters ambiguous.
        let alike = giver.bytes().take(2).eq(other.bytes().take(2));
        if !alike && pen.allowed(&[&giver, &other, &template.to_string()]) {
            return Cast { giver, other, giver_first: pen.chance(50) };
        }
    }
}

/// Writes a sentence with its cast.
pub fn write(pen: &mut Pen, template: &str, cast: &Cast) {
    let role = |kind| value(&NAME_ROLES, kind);
    let giver = (&cast.giver, role("subject"));
    let other = (&cast.other, role("io"));
    let (first, second) = if cast.giver_first { (giver, other) } else { (other, giver) };
    let slots = [
        Slot::new("a", first.0).mark(Col::NameRole, first.1),
        Slot::new("b", second.0).mark(Col::NameRole, second.1),
        Slot::new("giver", &cast.giver)
            .mark(Col::NameRole, role("subject_again"))
            .next(Col::NameNext, role("subject_again")),
        Slot::new("other", &cast.other).mark(Col::NameRole, role("io_again")).next(Col::NameNext, role("io_again")),
    ];
    pen.fill(template, &slots);
}

/// Percentage of sentences that are combined from two halves.
const IN_HALVES: usize = 70;

pub fn clause(pen: &mut Pen) {
    let (number, template) = if pen.is_shaped() {
        (shapes::NUMBER, shapes::template(pen, "ioi"))
    } else if pen.chance(IN_HALVES) {
        let (opening, template) = gifts::sentence(pen);
        (TEMPLATES.len() + opening, template)
    } else {
        let template = pen.index(&TEMPLATES);
        (template, TEMPLATES.get(template).copied().unwrap_or_default().to_string())
    };
    let cast = cast(pen, number);
    write(pen, &template, &cast);
}
