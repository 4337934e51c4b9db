//! Names of people: given ones, invented ones, surnames.

use super::lexicon::names;
use super::pen::{Pen, is_held};
use super::places::COUNTRIES;

/// A given name, and whether it is a woman's.
pub fn given(pen: &mut Pen) -> (&'static str, bool) {
    let female = pen.chance(50);
    (pen.own(if female { &names::FEMALE } else { &names::MALE }), female)
}

/// A given name of training, whatever the split: held-out names never tell their gender.
pub fn known_given(pen: &mut Pen, female: bool) -> &'static str {
    let list = if female { &names::FEMALE } else { &names::MALE };
    loop {
        let at = pen.below(list.len());
        if !is_held(at) {
            return list.get(at).copied().unwrap_or_default();
        }
    }
}

/// A given name that may be an invented one, which can only be known by having been read.
pub fn any_given(pen: &mut Pen) -> String {
    given_or_invented(pen, 30)
}

/// A given name, which is an invented one so many times in a hundred.
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

/// A surname that no person of the world has.
pub fn surname(pen: &mut Pen) -> String {
    loop {
        let parts = [pen.word(&names::SURNAME_HEADS), pen.word(&names::SURNAME_TAILS)];
        if pen.allowed(&parts) {
            return parts.concat();
        }
    }
}

/// Any city of the world.
pub fn city(pen: &mut Pen) -> &'static str {
    let country = pen.below(COUNTRIES.len());
    let cities = COUNTRIES.get(country).map(|country| country.cities.as_slice()).unwrap_or_default();
    let at = pen.below(cities.len());
    cities.get(at).map(|city| city.name).unwrap_or_default()
}
