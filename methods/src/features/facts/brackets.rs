//! Facts about round brackets: what opens and closes them, what is inside, and where one is due to close.

use super::tokens::is_capitals;
use super::{Fact, FactRole};
use crate::features::TextCodes;
use crate::tokenizer::labels::{Column, ColumnKind};

/// The contents of a bracket, by kinds of the labelled language (docs/grammar.md).
const HELD: [(&str, &[&str]); 3] = [
    ("acronym in a bracket", &["acronym"]),
    ("date in a bracket", &["span", "date"]),
    ("words in a bracket", &["gloss", "especially", "clause", "aside"]),
];

pub fn facts(read: &TextCodes) -> Vec<Fact> {
    let sign = |id: &u32| read.texts.get(id).map_or(0, |text| opened(text));
    let signs: Vec<i64> = read.ids.iter().map(sign).collect();
    let mut facts = vec![
        Fact::new("opens a bracket", FactRole::Clause, signs.iter().map(|sign| *sign > 0).collect()),
        Fact::new("closes a bracket", FactRole::Clause, signs.iter().map(|sign| *sign < 0).collect()),
    ];
    let Some(depth) = read.label("depth") else { return facts };
    let inside: Vec<bool> = depth.iter().zip(&signs).map(|(depth, sign)| *depth > 0 && *sign == 0).collect();
    facts.extend(match read.labels.iter().find(|(column, _)| column.name == "paren_kind") {
        Some((column, values)) => held(column, values, &inside),
        None => by_looks(read, &inside),
    });
    facts.insert(2, Fact::new("inside a bracket", FactRole::Where, inside));
    if let Some(due) = read.label("due") {
        facts.push(Fact::new("bracket due", FactRole::Clause, due.iter().map(|due| *due > 0).collect()));
    }
    facts
}

/// Returns the number of brackets that a token opens minus those that it closes.
fn opened(text: &str) -> i64 {
    text.chars().map(|sign| i64::from(sign == '(') - i64::from(sign == ')')).sum()
}

/// Returns facts by the kind of the bracket, where it is known.
fn held(column: &Column, values: &[u32], inside: &[bool]) -> Vec<Fact> {
    let ColumnKind::Kind(kinds) = &column.values else { return Vec::new() };
    let fact = |(text, wanted): &(&str, &[&str])| {
        let is_wanted = |value: &u32| {
            let kind = (*value as usize).checked_sub(1).and_then(|kind| kinds.get(kind));
            kind.is_some_and(|kind| wanted.contains(kind))
        };
        let holds = values.iter().zip(inside).map(|(value, inside)| *inside && is_wanted(value));
        Fact::new(*text, FactRole::Clause, holds.collect())
    };
    HELD.iter().map(fact).collect()
}

/// Returns facts by the form of a token in brackets, in real text.
fn by_looks(read: &TextCodes, inside: &[bool]) -> Vec<Fact> {
    const YEAR: u32 = 1;
    let capitals = read
        .ids
        .iter()
        .zip(inside)
        .map(|(id, inside)| *inside && read.texts.get(id).is_some_and(|text| is_capitals(text)));
    let mut facts = vec![Fact::new("acronym in a bracket", FactRole::Clause, capitals.collect())];
    if let Some(numeral) = read.label("numeral") {
        let year = numeral.iter().zip(inside).map(|(numeral, inside)| *inside && *numeral == YEAR);
        facts.push(Fact::new("date in a bracket", FactRole::Clause, year.collect()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::text_codes::TextLimits;
    use crate::features::text_codes::tests::model;
    use crate::{base::Task, data::Text, data::text::TextOptions};

    fn true_at(facts: &[Fact], text: &str) -> Vec<usize> {
        let fact = facts.iter().find(|fact| fact.text == text).unwrap();
        fact.holds.iter().enumerate().filter(|(_, holds)| **holds).map(|(at, _)| at).collect()
    }

    #[test]
    fn brackets_of_real_text_are_told_by_rules() {
        let (model, sae) = model();
        let text = Text::given(vec!["the ( NASA ) sat ( 1843 )".into()], TextOptions::default()).unwrap();
        let read = TextCodes::of(&model, &[sae], &[], &text, TextLimits::default(), &Task::default()).unwrap();
        let facts = facts(&read);
        assert_eq!(true_at(&facts, "opens a bracket"), [1, 5]);
        assert_eq!(true_at(&facts, "closes a bracket"), [3, 7]);
        assert_eq!(true_at(&facts, "inside a bracket"), [2, 6]);
        assert_eq!(true_at(&facts, "acronym in a bracket"), [2]);
        assert_eq!(true_at(&facts, "date in a bracket"), [6]);
    }

    #[test]
    fn brackets_of_the_labelled_language_are_told_by_their_kind() {
        let kinds = vec!["acronym", "span", "date", "gloss"];
        let column = Column {
            name: "paren_kind",
            of: crate::tokenizer::labels::DecidingByte::First,
            values: ColumnKind::Kind(kinds),
        };
        let number =
            |name| Column { name, of: crate::tokenizer::labels::DecidingByte::First, values: ColumnKind::Number };
        let read = TextCodes {
            ids: vec![0, 1, 2, 0, 1],
            texts: [(0, " (".to_string()), (1, "x".into()), (2, "),".into())].into(),
            labels: vec![
                (number("depth"), vec![1, 1, 1, 1, 1]),
                (column, vec![1, 1, 1, 3, 3]),
                (number("due"), vec![0, 1, 0, 0, 0]),
            ],
            ..TextCodes::default()
        };
        let facts = facts(&read);
        assert_eq!(true_at(&facts, "acronym in a bracket"), [1]);
        assert_eq!(true_at(&facts, "date in a bracket"), [4]);
        assert!(true_at(&facts, "words in a bracket").is_empty());
        assert_eq!(true_at(&facts, "bracket due"), [1]);
        assert_eq!(true_at(&facts, "closes a bracket"), [2]);
    }
}
