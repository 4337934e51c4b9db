//! Names, roles and occupations, and the pronouns that follow them.

use crate::data::grammar::fill::Slot;
use crate::data::grammar::labels::{Col, GENDERS, PRONOUNS, value};
use crate::data::grammar::lexicon::trades;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;

/// `who` is the person; `he`, `him`, `his` and `himself` stand for either pronoun.
pub const TEMPLATES: [&str; 48] = [
    "{who} said that {he} would bring the {noun} {time}",
    "{who} was late because {he} had missed the bus",
    "{who} lost {his} {gift} at the {place}",
    "{who} looked at {himself} in the mirror",
    "{who} asked the {people} to help {him}",
    "{who} promised that {he} would be back {time}",
    "when {who} arrived, {he} put {his} {gift} on the table",
    "{who} thinks that the {noun} belongs to {him}",
    "{who} blamed {himself} for the accident",
    "after {who} had left, the {people} talked about {him}",
    "{who} was tired, but {he} went on {duration}",
    "{who} sold the {noun} that {he} had found near the {place}",
    "{who} forgot {his} {gift}, so the {one} ran after {him}",
    "if {who} comes, {he} will want to see the {noun}",
    "{who} cut {himself} on the {noun}",
    "{who} told everyone how {he} had found the {gift}",
    "{who} put on {his} coat and left the {place}",
    "{who} stayed at the {place} until {he} was asked to leave",
    "{who} knew the {place} well, since {he} had worked there {duration}",
    "{who} opened {his} bag and took out a {gift}",
    "the {people} waved at {who}, but {he} did not see them",
    "{who} bought {himself} a {gift}",
    "{who} smiled when {he} saw the {nouns}",
    "{who} said that the {one} had lied to {him}",
    "{who} sat down, because {he} was tired",
    "{who} wrote in {his} diary that the {noun} was gone",
    "{who} was proud of {himself} {time}",
    "before {who} went to {city}, {he} sold {his} {nouns}",
    "{who} taught {himself} to repair {nouns}",
    "{who} will not say where {he} was {time}",
    "{who} complained that {he} had been forgotten",
    "{who} kept {his} {nouns} in a cellar",
    "the {one} met {who} at the {place} and gave {him} a {gift}",
    "{who} claims that {he} has never been to {city}",
    "{who} was happy with {his} {adj} {noun}",
    "{who} believed that {he} was right",
    "the {one} thanked {who} for {his} help",
    "{who} did not want the {gift}, although {he} needed it",
    "{who}, who had been ill {duration}, said that {he} felt better",
    "{who} painted the {noun} {himself}",
    "{who} could not remember where {he} had put {his} {gift}",
    "{who} announced that {he} was going to {city}",
    "the {people} did not know {who}, so nobody spoke to {him}",
    "{who} washed {his} hands and opened the {noun}",
    "{who} hid behind the {noun}, and the {people} did not find {him}",
    "{who} hurt {himself} {time}",
    "{who} would have come if {he} had known about the {event}",
    "{who} explained why {he} was late",
];

/// A person whose gender the words tell, by name or by role.
pub struct Person {
    pub text: &'static str,
    pub female: bool,
    /// Whether an article stands before it.
    pub role: bool,
}

/// A person whom the split may have in this template. Every name of training occurs, since nothing else could tell the
/// gender of a name.
pub fn person(pen: &mut Pen, template: usize) -> Person {
    loop {
        let (female, role) = (pen.chance(50), pen.chance(45));
        let text = match (role, female) {
            (true, true) => pen.word(&trades::FEMALE_ROLES),
            (true, false) => pen.word(&trades::MALE_ROLES),
            (false, _) => people::known_given(pen, female),
        };
        if pen.allowed(&[text, &template.to_string()]) {
            return Person { text, female, role };
        }
    }
}

/// The four pronouns of a gender: subject, object, possessive, reflexive.
fn pronouns(female: bool) -> [&'static str; 4] {
    if female { ["she", "her", "her", "herself"] } else { ["he", "him", "his", "himself"] }
}

/// The pronoun that a template has first, for a woman and for a man.
pub fn first_pronouns(template: &str) -> [&'static str; 2] {
    let places = ["{he}", "{him}", "{his}", "{himself}"].map(|slot| template.find(slot).unwrap_or(usize::MAX));
    let first = (0..places.len()).min_by_key(|at| places[*at]).unwrap_or_default();
    [true, false].map(|female| pronouns(female)[first])
}

/// Writes the sentence.
pub fn write(pen: &mut Pen, template: &str, person: &Person) {
    let gender = value(&GENDERS, if person.female { "female" } else { "male" });
    let forms = pronouns(person.female);
    let pronoun = |name, form, kind: &str| {
        Slot::new(name, form)
            .mark(Col::Pronoun, value(&PRONOUNS, kind))
            .mark(Col::Gender, gender)
            .next(Col::PronounNext, value(&PRONOUNS, kind))
    };
    let possessive = if person.female { "hers" } else { "his" };
    let who = if person.role { ["the", person.text].join(" ") } else { person.text.into() };
    let slots = [
        Slot::new("who", who).mark(Col::Gender, gender),
        pronoun("he", forms[0], forms[0]),
        pronoun("him", forms[1], forms[1]),
        pronoun("his", forms[2], possessive),
        pronoun("himself", forms[3], forms[3]),
    ];
    pen.fill(template, &slots);
}

pub fn clause(pen: &mut Pen) {
    let template = pen.index(&TEMPLATES);
    let person = person(pen, template);
    write(pen, TEMPLATES.get(template).copied().unwrap_or_default(), &person);
}
