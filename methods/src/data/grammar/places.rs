//! The countries of the world of facts, with their capitals, languages, other cities, and the rivers of some.

use std::sync::LazyLock;

use super::lexicon::places;

/// A city, and the river that it stands on where the language names one.
pub struct City {
    pub name: &'static str,
    pub river: Option<&'static str>,
}

pub struct Country {
    pub name: &'static str,
    pub language: &'static str,
    /// The cities, the capital first.
    pub cities: Vec<City>,
}

pub static COUNTRIES: LazyLock<Vec<Country>> =
    LazyLock::new(|| places::SECTIONS.list("countries").iter().filter_map(|line| country(line)).collect());

/// Reads a line of the file: `Finland | Finnish | Helsinki, Tampere, Turku on Aura`.
fn country(line: &'static str) -> Option<Country> {
    let mut fields = line.split(" | ");
    let name = fields.next()?;
    let language = fields.next()?;
    let cities = fields.next()?;
    let city = |text: &'static str| match text.split_once(" on ") {
        Some((name, river)) => City { name, river: Some(river) },
        None => City { name: text, river: None },
    };
    Some(Country { name, language, cities: cities.split(", ").map(city).collect() })
}
