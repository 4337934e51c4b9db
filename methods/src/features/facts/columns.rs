//! Columns of labels as facts, each with the words for it.

use super::{Fact, Role};
use crate::model::labels::{Column, Values};

/// The words for the kinds of a column; `{}` stands for the kind's own name.
const KINDS: [(&str, &str, Role); 22] = [
    ("topic", "in a text about {}", Role::Where),
    ("phenomenon", "in a sentence of {}", Role::Where),
    ("paren_kind", "in a bracket of kind {}", Role::Where),
    ("bracket", "inside a {} bracket", Role::Where),
    ("apostrophe", "{} apostrophe", Role::What),
    ("apostrophe_next", "{} apostrophe due", Role::Clause),
    ("name_role", "name that is {}", Role::What),
    ("name_next", "name due that is {}", Role::Clause),
    ("gender", "word for a {} person", Role::What),
    ("pronoun", "pronoun {}", Role::What),
    ("pronoun_next", "pronoun {} due", Role::Clause),
    ("number", "{} subject or verb", Role::What),
    ("number_next", "{} verb due", Role::Clause),
    ("attractor", "{} noun between subject and verb", Role::What),
    ("fact", "answer that is a {}", Role::What),
    ("fact_next", "answer due that is a {}", Role::Clause),
    ("entity", "name of a {}", Role::What),
    ("quote", "inside a {} quotation", Role::Where),
    ("question", "in a {}", Role::Where),
    ("numeral", "a {}", Role::What),
    ("quote_sign", "{} quotation mark", Role::What),
    ("acronym", "institution's {}", Role::What),
];

/// The words for a column of numbers from a value on.
const NUMBERS: [(&str, u32, &str, Role); 6] = [
    ("depth", 2, "inside two brackets", Role::Where),
    ("bracket_depth", 1, "inside brackets of any kind", Role::Where),
    ("quote_depth", 1, "inside a quotation", Role::Where),
    ("list", 1, "in a list", Role::Where),
    ("year", 1, "second year of a span", Role::What),
    ("indent", 1, "on an indented line", Role::Where),
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
        Values::Kind(kinds) => {
            let named = (1..).zip(kinds).filter(|(_, kind)| !LEFT_OUT.contains(&(column.name, kind)));
            let fact = |(value, kind): (u32, &&str)| {
                let (text, role) = of_kind(column.name, kind);
                Fact::new(text, role, values.iter().map(|found| *found == value).collect())
            };
            named.map(fact).collect()
        }
        Values::Number => {
            let known = NUMBERS.iter().filter(|(name, ..)| *name == column.name);
            let fact = |(_, least, text, role): &(&str, u32, &str, Role)| {
                Fact::new(*text, *role, values.iter().map(|found| found >= least).collect())
            };
            known.map(fact).collect()
        }
        // 0 is the bracket itself, and everything outside.
        Values::Since => {
            let first = values.iter().map(|since| *since == 1).collect();
            let soon = values.iter().map(|since| (1..=3).contains(since)).collect();
            vec![
                Fact::new("right after an opening bracket", Role::Where, first),
                Fact::new("soon after an opening bracket", Role::Where, soon),
            ]
        }
    }
}

fn of_kind(column: &str, kind: &str) -> (String, Role) {
    if let Some((_, text)) = NAMES.iter().find(|(named, _)| *named == (column, kind)) {
        return (text.to_string(), Role::What);
    }
    match KINDS.iter().find(|(name, ..)| *name == column) {
        Some((_, text, role)) => (text.replace("{}", kind), *role),
        None => (format!("{column} is {kind}"), Role::Clause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Of;

    fn of(name: &'static str, values: Values, found: &[u32]) -> Vec<(String, Vec<bool>)> {
        let facts = facts(&Column { name, of: Of::First, values }, found);
        facts.into_iter().map(|fact| (fact.text, fact.holds)).collect()
    }

    #[test]
    fn every_kind_of_column_has_its_words() {
        let found = of("apostrophe", Values::Kind(vec!["possessive", "contraction"]), &[0, 2, 1]);
        let expected = [
            ("possessive apostrophe".to_string(), vec![false, false, true]),
            ("contraction apostrophe".to_string(), vec![false, true, false]),
        ];
        assert_eq!(found, expected);
        assert_eq!(of("line_start", Values::Kind(vec!["line_start"]), &[1])[0].0, "first of a line");
        assert_eq!(of("depth", Values::Number, &[0, 1, 2]), [("inside two brackets".into(), vec![false, false, true])]);
        let since = of("since_open", Values::Since, &[0, 1, 3, 4]);
        assert_eq!(since[1].1, [false, true, true, false]);
        assert_eq!(of("colour", Values::Kind(vec!["red"]), &[1])[0].0, "colour is red");
    }

    #[test]
    fn what_is_told_of_brackets_is_not_told_twice() {
        assert_eq!(of("bracket", Values::Kind(vec!["round", "square"]), &[1, 2])[0].0, "inside a square bracket");
        assert_eq!(of("due", Values::Kind(vec!["due"]), &[1]), []);
    }
}
