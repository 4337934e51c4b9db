//! Names, roles and occupations, and the pronouns that follow them.

use crate::data::grammar::labels::{Col, GENDERS, PRONOUNS, value};
pub use crate::data::grammar::lexicon::gender::TEMPLATES;
use crate::data::grammar::lexicon::trades;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::people;
use crate::data::grammar::shapes;
use crate::data::grammar::slot::Slot;

/// A person whose gender is known from the name or the role.
pub struct GenderedPerson {
    pub text: &'static str,
    pub female: bool,
    /// Whether the text is a role, which takes an article.
    pub role: bool,
}

/// Draws a person that the split allows in this template. Every training name occurs, since the gender of a name can
/// only be learned from its occurrences.
pub fn person(pen: &mut Pen, template: usize) -> GenderedPerson {
    loop {
        let female = pen.chance(50);
        let role = pen.chance(45);
        let text = match (role, female) {
            (true, true) => pen.word(&trades::FEMALE_ROLES),
            (true, false) => pen.word(&trades::MALE_ROLES),
            (false, _) => people::known_given(pen, female),
        };
        if pen.allowed(&[text, &template.to_string()]) {
            return GenderedPerson { text, female, role };
        }
    }
}

/// Returns the four pronouns of a gender: subject, object, possessive, reflexive.
fn pronouns(female: bool) -> [&'static str; 4] {
    if female { ["she", "her", "her", "herself"] } else { ["he", "him", "his", "himself"] }
}

/// Returns the pronoun that a template has first, for a woman and for a man.
pub fn first_pronouns(template: &str) -> [&'static str; 2] {
    let places = ["{he}", "{him}", "{his}", "{himself}"].map(|slot| template.find(slot).unwrap_or(usize::MAX));
    let first = (0..places.len()).min_by_key(|at| places[*at]).unwrap_or_default();
    [true, false].map(|female| pronouns(female)[first])
}

/// Writes a sentence about a person.
pub fn write(pen: &mut Pen, template: &str, person: &GenderedPerson) {
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
    let (number, template) = shapes::drawn(pen, "gender", &TEMPLATES);
    let person = person(pen, number);
    write(pen, &template, &person);
}
