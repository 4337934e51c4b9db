//! What can be said of a position: its token, its neighbours, where it stands, and its labels.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::Result;
use crate::data::labels::label;
use crate::model::labels::{Labels, Values};
use crate::model::tokenizer::Tokenizer;

/// So many tokens are tried by name, those at which the feature is strongest in sum.
const NAMED: usize = 8;

/// A row of tokens with all that predicates look at.
pub struct Context {
    strings: Vec<String>,
    labels: Labels,
}

impl Context {
    pub fn of(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Self> {
        let strings = ids.iter().map(|id| tokenizer.text_of(*id)).collect::<Result<Vec<_>>>()?;
        let (mut text, mut offsets) = (String::new(), Vec::with_capacity(strings.len()));
        for string in &strings {
            let start = text.len();
            text += string;
            offsets.push(start..text.len());
        }
        let labels = label(&text)?.aligned(&text, &offsets);
        Ok(Self { strings, labels })
    }
}

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Number,
    Capitals,
    Capitalised,
    /// A piece that goes on with the word before.
    Continued,
    Punctuation,
    LineEnd,
}

const SORTS: [(Sort, &str); 6] = [
    (Sort::Number, "a number"),
    (Sort::Capitals, "capital letters"),
    (Sort::Capitalised, "a capitalised word"),
    (Sort::Continued, "a piece inside a word"),
    (Sort::Punctuation, "punctuation"),
    (Sort::LineEnd, "a line's end"),
];

impl Sort {
    fn holds(self, text: &str) -> bool {
        let word = text.trim();
        let first = word.chars().next();
        match self {
            Sort::Number => first.is_some() && word.chars().all(|c| c.is_ascii_digit()),
            Sort::Capitals => word.chars().count() > 1 && word.chars().all(char::is_uppercase),
            Sort::Capitalised => first.is_some_and(char::is_uppercase) && word.chars().skip(1).any(char::is_lowercase),
            Sort::Continued => text.chars().next().is_some_and(char::is_lowercase),
            Sort::Punctuation => first.is_some() && word.chars().all(|c| c.is_ascii_punctuation()),
            Sort::LineEnd => text.contains('\n'),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    Token(String),
    Before(String),
    Of(Sort),
    BeforeOf(Sort),
    First,
    /// A labelled column with at least this value, or with this kind.
    AtLeast(&'static str, u32),
    Kind(&'static str, u32, &'static str),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
}

impl Predicate {
    pub fn holds(&self, context: &Context, position: usize) -> bool {
        let before = || position.checked_sub(1).and_then(|before| context.strings.get(before));
        let label = |name: &str| {
            context.labels.column(name).and_then(|(_, values)| values.get(position)).copied().unwrap_or_default()
        };
        match self {
            Predicate::Token(text) => context.strings.get(position).is_some_and(|token| token == text),
            Predicate::Before(text) => before().is_some_and(|token| token == text),
            Predicate::Of(sort) => context.strings.get(position).is_some_and(|token| sort.holds(token)),
            Predicate::BeforeOf(sort) => before().is_some_and(|token| sort.holds(token)),
            Predicate::First => position == 0,
            Predicate::AtLeast(name, least) => label(name) >= *least,
            Predicate::Kind(name, kind, _) => label(name) == *kind,
            Predicate::And(a, b) => a.holds(context, position) && b.holds(context, position),
            Predicate::Or(a, b) => a.holds(context, position) || b.holds(context, position),
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sort = |sort: &Sort| SORTS.iter().find(|(known, _)| known == sort).map_or("", |(_, name)| name);
        match self {
            Predicate::Token(text) => write!(f, "token is {text:?}"),
            Predicate::Before(text) => write!(f, "after {text:?}"),
            Predicate::Of(kind) => write!(f, "{}", sort(kind)),
            Predicate::BeforeOf(kind) => write!(f, "after {}", sort(kind)),
            Predicate::First => write!(f, "first of its row"),
            Predicate::AtLeast("depth", 1) => write!(f, "inside a round bracket"),
            Predicate::AtLeast("bracket_depth", 1) => write!(f, "inside a bracket"),
            Predicate::AtLeast("quote_depth", 1) => write!(f, "inside a quotation"),
            Predicate::AtLeast(name, least) => write!(f, "{name} is {least} or more"),
            Predicate::Kind(name, _, kind) => write!(f, "{name} is {kind}"),
            Predicate::And(a, b) => write!(f, "{a}, {b}"),
            Predicate::Or(a, b) => write!(f, "{a}, or {b}"),
        }
    }
}

/// All predicates of one condition that are worth a try: kinds, labels, and the tokens at which codes are large.
pub fn candidates(places: &[(&Context, usize)], codes: &[f64]) -> Vec<Predicate> {
    let mut found = vec![Predicate::First];
    for (sort, _) in SORTS {
        found.extend([Predicate::Of(sort), Predicate::BeforeOf(sort)]);
    }
    if let Some((context, _)) = places.first() {
        for column in context.labels.columns.iter() {
            match &column.values {
                Values::Kind(kinds) => {
                    found.extend(
                        kinds.iter().enumerate().map(|(i, kind)| Predicate::Kind(column.name, i as u32 + 1, kind)),
                    );
                }
                Values::Number => found.extend([1, 2].map(|least| Predicate::AtLeast(column.name, least))),
                Values::Since => {}
            }
        }
    }
    found.extend(strongest(places, codes, 0).into_iter().map(Predicate::Token));
    found.extend(strongest(places, codes, 1).into_iter().map(Predicate::Before));
    found
}

/// The tokens so many places before a position at which the codes are largest in sum.
fn strongest(places: &[(&Context, usize)], codes: &[f64], back: usize) -> Vec<String> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for ((context, position), code) in places.iter().zip(codes).filter(|(_, code)| **code > 0.0) {
        if let Some(text) = position.checked_sub(back).and_then(|at| context.strings.get(at)) {
            *sums.entry(text).or_default() += code;
        }
    }
    let mut sums: Vec<(&str, f64)> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    sums.into_iter().take(NAMED).map(|(text, _)| text.to_string()).collect()
}
