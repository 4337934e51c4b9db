//! Tests of the guarantees of pairs, task by task and in both styles.

use super::*;

fn some(name: &str, style: PromptStyle, n: usize) -> Vec<Pair> {
    pairs(name, &PairOptions { n, style, ..PairOptions::default() }, &Task::default()).unwrap()
}

fn all(n: usize) -> impl Iterator<Item = (&'static str, PromptStyle, Pair)> {
    let styles = [PromptStyle::Grammar, PromptStyle::Natural];
    let cells = TASKS.into_iter().flat_map(move |name| styles.map(|style| (name, style)));
    cells.flat_map(move |(name, style)| some(name, style, n).into_iter().map(move |pair| (name, style, pair)))
}

#[test]
fn prompts_end_where_the_answer_begins() {
    for (name, _, pair) in all(200) {
        for prompt in [&pair.clean, &pair.corrupt] {
            assert!(!prompt.ends_with(' ') && !prompt.contains(['{', '}', '~', '“']), "{name}: {prompt}");
            assert!(
                prompt.chars().next().is_some_and(|c| c.is_ascii_uppercase()) || pair.kind == "call",
                "{name}: {prompt}"
            );
        }
        assert_ne!(pair.clean, pair.corrupt);
        assert!(!pair.answers.is_empty() && !pair.wrong.is_empty());
        assert!(pair.answers.iter().all(|answer| !pair.wrong.contains(answer)), "{pair:?}");
        let spaced = pair.answers.iter().chain(&pair.wrong).all(|answer| answer.starts_with(' '));
        assert_eq!(spaced, !matches!(name, "greater_than" | "parenthesis" | "apostrophe"), "{pair:?}");
    }
}

#[test]
fn clean_and_corrupt_prompts_have_as_many_words() {
    for (name, style, pair) in all(200) {
        let words = |text: &str| text.split(' ').filter(|word| *word != "South").count();
        // Names of people in the language have two words, those of landmarks one to four.
        let free = name == "facts" && (style == PromptStyle::Natural || pair.kind == "friend");
        assert!(free || words(&pair.clean) == words(&pair.corrupt), "{name}: {pair:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_pairs_however_many() {
    for name in TASKS {
        assert_eq!(some(name, PromptStyle::Grammar, 30)[..10], some(name, PromptStyle::Grammar, 10));
        let other = pairs(name, &PairOptions { n: 10, seed: 1, ..PairOptions::default() }, &Task::default()).unwrap();
        assert_ne!(some(name, PromptStyle::Grammar, 10), other);
    }
}

#[test]
fn a_thousand_of_each_are_different() {
    for name in TASKS {
        let distinct: BTreeSet<Pair> = some(name, PromptStyle::Grammar, 1000).into_iter().collect();
        assert_eq!(distinct.len(), 1000, "{name}");
    }
}

#[test]
fn the_receiver_is_who_was_named_once() {
    for style in [PromptStyle::Grammar, PromptStyle::Natural] {
        for pair in some("ioi", style, 300) {
            let io = &pair.answers[0];
            let subject = &pair.wrong[0];
            let count = |name: &str| {
                let words = pair.clean.split(|c: char| !c.is_ascii_alphabetic());
                words.filter(|word| *word == name.trim()).count()
            };
            assert_eq!((count(io), count(subject)), (1, 2), "{pair:?}");
            let first = pair.clean.find(io.trim());
            let second = pair.clean.find(subject.trim());
            assert_eq!(pair.kind, if first < second { "ABBA" } else { "BABA" });
        }
    }
}

#[test]
fn later_years_are_the_answers() {
    for pair in
        some("greater_than", PromptStyle::Natural, 300).iter().chain(&some("greater_than", PromptStyle::Grammar, 300))
    {
        let digits = pair.clean.find(|c: char| c.is_ascii_digit()).unwrap();
        let from = &pair.clean[digits..digits + 4];
        assert!(pair.clean.ends_with(&[" ", &from[..2]].concat()), "{pair:?}");
        assert!(pair.answers.iter().all(|year| year.as_str() > &from[2..]));
        assert!(pair.wrong.iter().all(|year| year.as_str() <= &from[2..]));
        assert_eq!(pair.answers.len() + pair.wrong.len(), 100);
    }
}

#[test]
fn facts_of_the_grammar_are_those_of_its_world() {
    let known = crate::data::grammar::world::facts();
    for pair in some("facts", PromptStyle::Grammar, 300) {
        let right = |fact: &&crate::data::grammar::world::Fact| {
            fact.answer == pair.answers[0].trim() && pair.clean.to_lowercase().contains(&fact.about.to_lowercase())
        };
        assert!(known.iter().any(|fact| right(&fact)), "{pair:?}");
    }
}

#[test]
fn what_is_not_known_is_answered_by_what_is() {
    let task = Task::default();
    let error = pairs("ioy", &PairOptions::default(), &task).unwrap_err();
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("unknown task `ioy`", Some("did you mean `ioi`?")));
    let error =
        pairs("facts", &PairOptions { n: 1_000_000, style: PromptStyle::Natural, ..PairOptions::default() }, &task)
            .unwrap_err();
    assert!(error.message.contains("there are no more"), "{}", error.message);
}
