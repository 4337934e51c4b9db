//! The label columns of the language, and their kinds. docs/grammar.md explains each.

use std::sync::{Arc, LazyLock};

use super::topics::TOPICS;
use super::weights::PHENOMENA;
use super::world::RELATIONS;
use crate::tokenizer::labels::{Column, ColumnKind, DecidingByte};

/// The columns, in the order of [`columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Col {
    Topic,
    Phenomenon,
    Depth,
    ParenKind,
    Bracket,
    SinceOpen,
    Due,
    Apostrophe,
    ApostropheNext,
    NameRole,
    NameNext,
    Gender,
    Pronoun,
    PronounNext,
    Number,
    NumberNext,
    Attractor,
    Year,
    Fact,
    FactNext,
    Entity,
    Acronym,
    List,
    Quote,
    QuoteDepth,
    Question,
    Numeral,
}

pub const PAREN_KINDS: [&str; 13] = [
    "acronym",
    "span",
    "date",
    "gloss",
    "especially",
    "clause",
    "citation",
    "reference",
    "aside",
    "nested",
    "call",
    "parameters",
    "group",
];
pub const BRACKETS: [&str; 3] = ["round", "square", "curly"];
pub const APOSTROPHES: [&str; 4] = ["possessive", "contraction", "plural", "quote"];
pub const NAME_ROLES: [&str; 4] = ["io", "subject", "subject_again", "io_again"];
pub const GENDERS: [&str; 2] = ["female", "male"];
pub const PRONOUNS: [&str; 8] = ["she", "he", "her", "him", "hers", "his", "herself", "himself"];
pub const NUMBERS: [&str; 2] = ["singular", "plural"];
pub const ENTITIES: [&str; 7] = ["country", "city", "language", "river", "person", "trade", "product"];
pub const QUOTES: [&str; 2] = ["double", "single"];
pub const NUMERALS: [&str; 2] = ["year", "number"];

/// Returns the number of a kind in its column: 1 for the first.
pub fn value(kinds: &[&str], kind: &str) -> u32 {
    kinds.iter().position(|known| *known == kind).map_or(0, |at| at as u32 + 1)
}

static COLUMNS: LazyLock<Arc<[Column]>> = LazyLock::new(|| {
    use DecidingByte::{First, Last};
    let topics: Vec<&'static str> = TOPICS.iter().map(|topic| topic.name).collect();
    let kind = |name, of, kinds: &[&'static str]| Column { name, of, values: ColumnKind::Kind(kinds.to_vec()) };
    let number = |name, of| Column { name, of, values: ColumnKind::Number };
    [
        kind("topic", First, &topics),
        kind("phenomenon", First, &PHENOMENA),
        number("depth", First),
        kind("paren_kind", First, &PAREN_KINDS),
        kind("bracket", First, &BRACKETS),
        Column { name: "since_open", of: First, values: ColumnKind::Since },
        kind("due", Last, &["due"]),
        kind("apostrophe", First, &APOSTROPHES),
        kind("apostrophe_next", Last, &APOSTROPHES),
        kind("name_role", First, &NAME_ROLES),
        kind("name_next", Last, &NAME_ROLES),
        kind("gender", First, &GENDERS),
        kind("pronoun", First, &PRONOUNS),
        kind("pronoun_next", Last, &PRONOUNS),
        kind("number", First, &NUMBERS),
        kind("number_next", Last, &NUMBERS),
        kind("attractor", First, &NUMBERS),
        number("year", Last),
        kind("fact", First, &RELATIONS),
        kind("fact_next", Last, &RELATIONS),
        kind("entity", First, &ENTITIES),
        kind("acronym", First, &["phrase", "acronym"]),
        number("list", First),
        kind("quote", First, &QUOTES),
        number("quote_depth", First),
        kind("question", First, &["question"]),
        kind("numeral", First, &NUMERALS),
    ]
    .into()
});

/// Returns all columns; a mark refers to one by its index.
pub fn columns() -> Arc<[Column]> {
    COLUMNS.clone()
}
