//! Two names and a gift: who gives is named twice, so it is the other one who receives (indirect object identification).

use super::gifts;
use crate::data::grammar::Split;
use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::{Col, NAME_ROLES, value};
pub use crate::data::grammar::lexicon::ioi::TEMPLATES;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;

/// Who plays which part.
pub struct Cast {
    pub giver: String,
    pub other: String,
    /// Whether the giver is named before the other one.
    pub giver_first: bool,
}

/// How many of a hundred names are invented. In training they are many: with three in ten, a model learned which names
/// there are, and never handed anything to a name of the other split.
fn invented(split: Split) -> usize {
    match split {
        Split::Train => 60,
        Split::Held => 30,
    }
}

/// A cast that the split may have.
pub fn cast(pen: &mut Pen, template: usize) -> Cast {
    let percent = invented(pen.split);
    loop {
        let (giver, other) = (people::given_or_invented(pen, percent), people::given_or_invented(pen, percent));
        // Names that begin alike would make the first letters ambiguous.
        let alike = giver.bytes().take(2).eq(other.bytes().take(2));
        if !alike && pen.allowed(&[&giver, &other, &template.to_string()]) {
            return Cast { giver, other, giver_first: pen.chance(50) };
        }
    }
}

/// Writes the sentence.
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

/// How many of a hundred sentences are put together of two halves.
const IN_HALVES: usize = 70;

pub fn clause(pen: &mut Pen) {
    let (number, template) = match pen.chance(IN_HALVES) {
        true => {
            let (opening, template) = gifts::sentence(pen);
            (TEMPLATES.len() + opening, template)
        }
        false => {
            let template = pen.index(&TEMPLATES);
            (template, TEMPLATES.get(template).copied().unwrap_or_default().to_string())
        }
    };
    let cast = cast(pen, number);
    write(pen, &template, &cast);
}
