//! The words and templates of pairs: the text files of `assets/pairs`. The order of entries decides which are drawn.

use std::sync::LazyLock;

use crate::data::lists::word_lists;

word_lists! { "pairs":
    templates { IOI SPANS INTRODUCED REMEMBERED CITED CALLED REPORTED AGREEING CAPITALS LANGUAGES LOCATED BEFORE }
    vocabulary { NAMES WOMEN MEN HER_ROLES HIS_ROLES PLACES GIFTS EVENTS AUTHORS }
}

/// Entries of two parts.
pub type Pairs = LazyLock<Vec<(&'static str, &'static str)>>;

/// Nouns in singular and plural.
pub static THINGS: Pairs = LazyLock::new(|| vocabulary::SECTIONS.pairs("things"));
pub static PEOPLE: Pairs = LazyLock::new(|| vocabulary::SECTIONS.pairs("people"));

pub static LANDMARKS: Pairs = LazyLock::new(|| vocabulary::SECTIONS.pairs("landmarks"));
pub static INSTITUTIONS: Pairs = LazyLock::new(|| vocabulary::SECTIONS.pairs("institutions"));
pub static LIVES: Pairs = LazyLock::new(|| vocabulary::SECTIONS.pairs("lives"));

/// Countries and their capitals.
pub static CAPITALS_OF: Pairs = LazyLock::new(|| countries(|capital, _| Some(capital)));

/// Countries and their languages, where no other country has the same language.
pub static LANGUAGES_OF: Pairs = LazyLock::new(|| countries(|_, language| language));

/// Returns countries, and what is asked about them.
fn countries(
    answer: fn(&'static str, Option<&'static str>) -> Option<&'static str>,
) -> Vec<(&'static str, &'static str)> {
    let parts = |(country, rest): (&'static str, &'static str)| {
        let (capital, language) =
            rest.split_once(" = ").map_or((rest, None), |(capital, other)| (capital, Some(other)));
        Some((country, answer(capital, language)?))
    };
    vocabulary::SECTIONS.pairs("countries").into_iter().filter_map(parts).collect()
}

/// Templates, and the pronouns of women and of men that follow.
pub static GENDERED: LazyLock<Vec<(&str, [&str; 2])>> = LazyLock::new(|| {
    let pronouns = |(template, both): (&'static str, &'static str)| {
        let (hers, his) = both.split_once(" = ")?;
        Some((template, [hers, his]))
    };
    templates::SECTIONS.pairs("gendered").into_iter().filter_map(pronouns).collect()
});
