//! Names of people: given names, invented names, surnames.

use super::is_held;
use super::lexicon::names;
use super::pen::Pen;
use super::places::COUNTRIES;

/// Returns a given name, and whether it is a woman's.
pub fn given(pen: &mut Pen) -> (&'static str, bool) {
    let female = pen.chance(50);
    (pen.own(if female { &names::FEMALE } else { &names::MALE }), female)
}

/// Returns a given name of the training split, in either split: the gender of a held-out name cannot be known.
pub fn known_given(pen: &mut Pen, female: bool) -> &'static str {
    let list = if female { &names::FEMALE } else { &names::MALE };
    loop {
        let at = pen.below(list.len());
        if !is_held(at) {
            return list.get(at).copied().unwrap_or_default();
        }
    }
}

/// Returns a given name, which may be invented: such a name can only be known from the context.
pub fn any_given(pen: &mut Pen) -> String {
    given_or_invented(pen, 30)
}

/// Returns a given name, which is invented with a probability in percent.
pub fn given_or_invented(pen: &mut Pen, percent: usize) -> String {
    if pen.chance(percent) { invented(pen) } else { given(pen).0.into() }
}

fn invented(pen: &mut Pen) -> String {
    loop {
        let mut parts = if pen.chance(85) {
            vec![pen.word(&names::INVENTED_ONSETS), pen.word(&names::INVENTED_VOWELS)]
        } else {
            vec![pen.word(&names::INVENTED_OPENINGS)]
        };
        parts.extend([pen.word(&names::INVENTED_MIDDLES), pen.word(&names::INVENTED_TAILS)]);
        let name = parts.concat();
        if pen.allowed(&parts) && !names::FEMALE.contains(&name.as_str()) && !names::MALE.contains(&name.as_str()) {
            return name;
        }
    }
}

/// Returns a surname that no person of the world has.
pub fn surname(pen: &mut Pen) -> String {
    loop {
        let parts = [pen.word(&names::SURNAME_HEADS), pen.word(&names::SURNAME_TAILS)];
        if pen.allowed(&parts) {
            return parts.concat();
        }
    }
}

/// Returns any city of the world.
pub fn city(pen: &mut Pen) -> &'static str {
    let country = pen.below(COUNTRIES.len());
    let cities = COUNTRIES.get(country).map(|country| country.cities.as_slice()).unwrap_or_default();
    let at = pen.below(cities.len());
    cities.get(at).map(|city| city.name).unwrap_or_default()
}
