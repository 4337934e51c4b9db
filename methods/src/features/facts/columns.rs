//! Columns of labels as facts, each with the words for it.

use super::{Fact, FactRole};
use crate::tokenizer::labels::{Column, ColumnKind};

/// The words for the kinds of a column; `{}` stands for the kind's own name.
const KINDS: [(&str, &str, FactRole); 22] = [
    ("topic", "in a text about {}", FactRole::Where),
    ("phenomenon", "in a sentence of {}", FactRole::Where),
    ("paren_kind", "in a bracket of kind {}", FactRole::Where),
    ("bracket", "inside a {} bracket", FactRole::Where),
    ("apostrophe", "{} apostrophe", FactRole::What),
    ("apostrophe_next", "{} apostrophe due", FactRole::Clause),
    ("name_role", "name that is {}", FactRole::What),
    ("name_next", "name due that is {}", FactRole::Clause),
    ("gender", "word for a {} person", FactRole::What),
    ("pronoun", "pronoun {}", FactRole::What),
    ("pronoun_next", "pronoun {} due", FactRole::Clause),
    ("number", "{} subject or verb", FactRole::What),
    ("number_next", "{} verb due", FactRole::Clause),
    ("attractor", "{} noun between subject and verb", FactRole::What),
    ("fact", "answer that is a {}", FactRole::What),
    ("fact_next", "answer due that is a {}", FactRole::Clause),
    ("entity", "name of a {}", FactRole::What),
    ("quote", "inside a {} quotation", FactRole::Where),
    ("question", "in a {}", FactRole::Where),
    ("numeral", "a {}", FactRole::What),
    ("quote_sign", "{} quotation mark", FactRole::What),
    ("acronym", "institution's {}", FactRole::What),
];

/// The words for a column of numbers from a value on.
const NUMBERS: [(&str, u32, &str, FactRole); 6] = [
    ("depth", 2, "inside two brackets", FactRole::Where),
    ("bracket_depth", 1, "inside brackets of any kind", FactRole::Where),
    ("quote_depth", 1, "inside a quotation", FactRole::Where),
    ("list", 1, "in a list", FactRole::Where),
    ("year", 1, "second year of a span", FactRole::What),
    ("indent", 1, "on an indented line", FactRole::Where),
];

/// Words for kinds whose names alone are not clear.
const NAMES: [((&str, &str), &str); 3] = [
    (("quote_sign", "open"), "opening quotation mark"),
    (("quote_sign", "close"), "closing quotation mark"),
    (("line_start", "line_start"), "first of a line"),
];

/// Kinds that other facts cover.
const LEFT_OUT: [(&str, &str); 2] = [("bracket", "round"), ("due", "due")];

/// Returns the facts of a column; none where those of brackets cover it.
pub fn facts(column: &Column, values: &[u32]) -> Vec<Fact> {
    match &column.values {
        ColumnKind::Kind(kinds) => {
            let named = (1..).zip(kinds).filter(|(_, kind)| !LEFT_OUT.contains(&(column.name, kind)));
            let fact = |(value, kind): (u32, &&str)| {
                let (text, role) = of_kind(column.name, kind);
                Fact::new(text, role, values.iter().map(|found| *found == value).collect())
            };
            named.map(fact).collect()
        }
        ColumnKind::Number => {
            let known = NUMBERS.iter().filter(|(name, ..)| *name == column.name);
            let fact = |(_, least, text, role): &(&str, u32, &str, FactRole)| {
                Fact::new(*text, *role, values.iter().map(|found| found >= least).collect())
            };
            known.map(fact).collect()
        }
        // 0 is the bracket itself, and everything outside.
        ColumnKind::Since => {
            let first = values.iter().map(|since| *since == 1).collect();
            let soon = values.iter().map(|since| (1..=3).contains(since)).collect();
            vec![
                Fact::new("right after an opening bracket", FactRole::Where, first),
                Fact::new("soon after an opening bracket", FactRole::Where, soon),
            ]
        }
    }
}

fn of_kind(column: &str, kind: &str) -> (String, FactRole) {
    if let Some((_, text)) = NAMES.iter().find(|(named, _)| *named == (column, kind)) {
        return (text.to_string(), FactRole::What);
    }
    match KINDS.iter().find(|(name, ..)| *name == column) {
        Some((_, text, role)) => (text.replace("{}", kind), *role),
        None => (format!("{column} is {kind}"), FactRole::Clause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::labels::DecidingByte;

    fn of(name: &'static str, values: ColumnKind, found: &[u32]) -> Vec<(String, Vec<bool>)> {
        let facts = facts(&Column { name, of: DecidingByte::First, values }, found);
        facts.into_iter().map(|fact| (fact.text, fact.holds)).collect()
    }

    #[test]
    fn every_kind_of_column_has_its_words() {
        let found = of("apostrophe", ColumnKind::Kind(vec!["possessive", "contraction"]), &[0, 2, 1]);
        let expected = [
            ("possessive apostrophe".to_string(), vec![false, false, true]),
            ("contraction apostrophe".to_string(), vec![false, true, false]),
        ];
        assert_eq!(found, expected);
        assert_eq!(of("line_start", ColumnKind::Kind(vec!["line_start"]), &[1])[0].0, "first of a line");
        assert_eq!(
            of("depth", ColumnKind::Number, &[0, 1, 2]),
            [("inside two brackets".into(), vec![false, false, true])]
        );
        let since = of("since_open", ColumnKind::Since, &[0, 1, 3, 4]);
        assert_eq!(since[1].1, [false, true, true, false]);
        assert_eq!(of("colour", ColumnKind::Kind(vec!["red"]), &[1])[0].0, "colour is red");
    }

    #[test]
    fn what_is_told_of_brackets_is_not_told_twice() {
        assert_eq!(of("bracket", ColumnKind::Kind(vec!["round", "square"]), &[1, 2])[0].0, "inside a square bracket");
        assert_eq!(of("due", ColumnKind::Kind(vec!["due"]), &[1]), []);
    }
}
