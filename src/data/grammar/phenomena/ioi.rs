//! Two names and a gift: who gives is named twice, so it is the other one who receives (indirect object identification).

use crate::data::grammar::Split;
use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::{Col, NAME_ROLES, value};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;

/// The first two slots are the two people in either order, then the giver again, then the other one.
pub const TEMPLATES: [&str; 42] = [
    "when {a} and {b} went to the {place}, {giver} gave a {gift} to {other}",
    "after {a} and {b} had met at the {place}, {giver} handed a {gift} to {other}",
    "while {a} and {b} were working at the {place}, {giver} sent a {gift} to {other}",
    "{a} and {b} went to the {place}, where {giver} gave the {gift} to {other}",
    "{a} and {b} had a long talk, and then {giver} offered a {gift} to {other}",
    "as {a} and {b} left the {place}, {giver} passed the {gift} to {other}",
    "friends since school, {a} and {b} met at the {place}, and {giver} sold a {gift} to {other}",
    "{a} was alone with {b} in the {place} when {giver} showed the {gift} to {other}",
    "because {a} and {b} were old friends, {giver} lent the {gift} to {other}",
    "on {day} {a} and {b} walked to the {place}, and {giver} brought a {gift} to {other}",
    "once {a} had found {b} at the {place}, {giver} returned the {gift} to {other}",
    "soon after {a} and {b} came to {city}, {giver} mailed a {gift} to {other}",
    "{a} and {b} shared a desk in the {place}, so {giver} left the {gift} to {other}",
    "at the {place} {a} waited for {b}, and at last {giver} gave a {gift} to {other}",
    "before {a} and {b} parted, {giver} promised a {gift} to {other}",
    "the {one} had invited {a} and {b}, but only {giver} gave a {gift} to {other}",
    "{a} sat down beside {b}, and {giver} threw the {gift} to {other}",
    "since {a} and {b} lived near the {place}, {giver} took the {gift} to {other}",
    "{a} and {b} argued about the {noun} until {giver} gave the {gift} to {other}",
    "{a} knew {b} well, and so {giver} trusted the {gift} to {other}",
    "when {a} saw {b} at the {place}, {giver} handed the {adj} {gift} to {other}",
    "in the {place} {a} and {b} looked at the {nouns}, and {giver} gave a {gift} to {other}",
    "{a} and {b} had bought two tickets, and {giver} gave one of them to {other}",
    "between {a} and {b} lay the {gift}, which {giver} then pushed over to {other}",
    "{a} and {b} left the {place} {time}, and {giver} owed a {gift} to {other}",
    "though {a} and {b} had quarreled, {giver} sent the {gift} to {other}",
    "{a} wrote to {b} {time}, and {giver} enclosed a {gift} for {other}",
    "in {city} {a} ran into {b}, and {giver} bought a {gift} for {other}",
    "as soon as {a} and {b} reached the {place}, {giver} found a {gift} for {other}",
    "{a} and {b} opened the {adj} box, and {giver} gave the {gift} to {other}",
    "{a} and {b} were the last to leave, and {giver} kept the {gift} for {other}",
    "while {a} spoke with {b}, {giver} drew a {noun} for {other}",
    "{a} danced with {b} at the {place}, and later {giver} read the letter to {other}",
    "if {a} and {b} go to the {place}, {giver} will give the {gift} to {other}",
    "every time {a} and {b} go to the {place}, {giver} gives a {gift} to {other}",
    "on the way home {a} and {b} stopped at the {place}, and {giver} gave the {gift} to {other}",
    "{a} and {b} know each other from {city}, and now {giver} wants to give a {gift} to {other}",
    "not far from the {place} {a} met {b}, and {giver} gave the {adj} {gift} to {other}",
    "during the {event} {a} hid with {b}, and {giver} told the story to {other}",
    "{a} and {b} won the prize together, but {giver} left the money to {other}",
    "{a} and {b} waited at the {place} {duration}, and in the end {giver} gave the {gift} to {other}",
    "when {a} and {b} came home from the {place}, {giver} showed a {gift} to {other}",
];

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

pub fn clause(pen: &mut Pen) {
    let template = pen.index(&TEMPLATES);
    let cast = cast(pen, template);
    write(pen, TEMPLATES.get(template).copied().unwrap_or_default(), &cast);
}
