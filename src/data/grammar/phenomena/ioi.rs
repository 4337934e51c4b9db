//! Two names and a gift: who gives is named twice, so it is the other one who receives (indirect object identification).

use super::gifts;
use crate::data::grammar::Split;
use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::{Col, NAME_ROLES, value};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;

/// The first two slots are the two people in either order, then the giver again, then the other one. They are many and of
/// many shapes: of a model trained on half as many, the held-out ones that were like none of its own got a guess.
pub const TEMPLATES: [&str; 84] = [
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
    "beside {a} and {b} stood a {gift}, which {giver} soon carried over to {other}",
    "the {gift} lay near {a} and {b}, until {giver} slid it across to {other}",
    "among the {nouns} {a} and {b} found a {gift}, which {giver} then held out to {other}",
    "with {a} and {b} in the {place} there was only one {gift}, which {giver} left to {other}",
    "behind the {place} {a} and {b} dug up a {gift}, and {giver} carried it over to {other}",
    "there were {a} and {b} at the {place}, and {giver} lowered the {gift} to {other}",
    "on the way to {city} {a} and {b} rested, and {giver} handed the {gift} to {other}",
    "on the road from {city} {a} met {b}, and {giver} lent a {gift} to {other}",
    "on the stairs of the {place} {a} passed {b}, and {giver} whispered the news to {other}",
    "on {day}, at the {place}, {a} and {b} talked, and {giver} explained the {noun} to {other}",
    "{a} and {b} opened the {noun}, and {giver} read the letter in it to {other}",
    "{a} and {b} closed the {place} {time}, and {giver} entrusted the {gift} to {other}",
    "{a} and {b} repaired the {adj} {noun}, and {giver} presented it to {other}",
    "{a} and {b} counted the {nouns}, and {giver} paid the rest to {other}",
    "{a} and {b} unpacked the {gift}, which {giver} at once showed to {other}",
    "{a} and {b} had only one {gift}, which {giver} gladly ceded to {other}",
    "{a} came to {b} with a question, and {giver} gave the {gift} to {other}",
    "{a} had been looking for {b}, and when they met {giver} gave a {gift} to {other}",
    "{a} stood next to {b} in the {place}, and without a word {giver} passed the {gift} to {other}",
    "{a} called {b} {time}, and {giver} promised the {gift} to {other}",
    "{a} borrowed the {gift} with {b}, and it was {giver} who brought it back to {other}",
    "it rained when {a} and {b} reached the {place}, and {giver} offered a {gift} to {other}",
    "nobody but {a} and {b} was left at the {place}, so {giver} gave the {gift} to {other}",
    "the {one} had sent for {a} and {b}, and {giver} returned a {gift} to {other}",
    "the {people} saw how {a} and {b} talked and how {giver} slipped a {gift} to {other}",
    "what {a} and {b} had found at the {place} was a {gift}, and {giver} left it to {other}",
    "to the surprise of {a} and {b} there was a {gift} in the {noun}, and {giver} gave it to {other}",
    "thanks to {a} and {b} the {place} was open, and {giver} showed the {nouns} to {other}",
    "without {a} and {b} the {event} would have failed, and so {giver} raised a glass to {other}",
    "for {a} and {b} it was late, and {giver} wished a good night to {other}",
    "instead of going home {a} and {b} stayed at the {place}, where {giver} sang to {other}",
    "long after {a} and {b} had left {city}, {giver} wrote a letter to {other}",
    "no sooner had {a} and {b} come to the {place} than {giver} gave a {gift} to {other}",
    "whenever {a} sees {b}, {giver} tells the story of the {noun} to {other}",
    "that {a} and {b} were friends was plain, since {giver} lent the {gift} to {other}",
    "although {a} hardly knew {b}, {giver} showed the {adj} {gift} to {other}",
    "in the {noun} of {a} and {b} there was a {gift}, which {giver} had once given to {other}",
    "later that {day} {a} and {b} came back, and {giver} apologized to {other}",
    "soon {a} and {b} will meet in {city}, where {giver} will give a {gift} to {other}",
    "at the {event} {a} was seated between the {one} and {b}, and {giver} poured some tea for {other}",
    "{a}, who lived near {b}, had a garden, and {giver} picked some flowers for {other}",
    "{a}, tired of waiting for {b}, sat down, and in the end {giver} bought a {gift} for {other}",
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
