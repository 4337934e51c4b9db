//! The guarantees of the language, checked on some hundreds of documents.

use sha2::{Digest, Sha256};

use super::lexicon::names::{FEMALE, MALE};
use super::*;
use crate::tokenizer::labels::{Column, ColumnKind, DecidingByte, Mark};

fn documents(split: Split, count: u64) -> Vec<Document> {
    let grammar = Grammar::new(0, &Mix::default(), split);
    (0..count).map(|number| grammar.document(number)).collect()
}

/// Returns the marks of one column, with the text that each stands for.
fn marked<'a>(document: &'a Document, name: &str) -> Vec<(Mark, &'a str)> {
    let marks = document.marks.as_ref().unwrap();
    let at = marks.columns.iter().position(|column: &Column| column.name == name).unwrap();
    let own = marks.marks.iter().filter(|mark| usize::from(mark.column) == at);
    own.map(|mark| (*mark, &document.text[mark.start as usize..mark.end as usize])).collect()
}

/// Returns the value of every byte in one column.
fn values(document: &Document, name: &str) -> Vec<u32> {
    let mut values = vec![0; document.text.len()];
    for (mark, _) in marked(document, name) {
        values[mark.start as usize..mark.end as usize].fill(mark.value);
    }
    values
}

#[test]
fn the_language_does_not_change_unnoticed() {
    let mut hash = Sha256::new();
    for document in documents(Split::Train, 60).iter().chain(&documents(Split::Held, 20)) {
        hash.update(&document.text);
        for mark in &document.marks.as_ref().unwrap().marks {
            hash.update([u32::from(mark.column), mark.start, mark.end, mark.value].map(u32::to_le_bytes).concat());
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, "2725a3c08649775edb8ed58798221dd760696ca85e9490b6e40eb28c2d685bdd");
}

#[test]
fn a_document_depends_on_its_number_alone() {
    let mut stream = Grammar::new(3, &Mix::default(), Split::Train);
    let alone = stream.document(2);
    let task = Task::default();
    let first = stream.next(&task).unwrap().unwrap();
    stream.skip(1);
    assert_eq!(stream.next(&task).unwrap().unwrap(), alone);
    assert_ne!(first.text, alone.text);
    assert_ne!(Grammar::new(4, &Mix::default(), Split::Train).document(2).text, alone.text);
    assert_eq!(&*alone.origin, "grammar, train, seed 3, document 2");
}

#[test]
fn brackets_balance_and_depth_is_a_recount() {
    for document in documents(Split::Train, 300) {
        let depths = values(&document, "depth");
        let since = values(&document, "since_open");
        let mut open = Vec::new();
        for (at, sign) in document.text.char_indices() {
            match sign {
                '(' | '[' | '{' => open.push((sign, at)),
                _ => {}
            }
            let round: Vec<usize> = open.iter().filter(|open| open.0 == '(').map(|open| open.1).collect();
            assert_eq!(depths[at] as usize, round.len(), "{}: byte {at}", document.text);
            assert_eq!(since[at] as usize, round.last().copied().unwrap_or_default());
            if let Some(closed) = [(')', '('), (']', '['), ('}', '{')].iter().find(|pair| pair.0 == sign) {
                assert_eq!(open.pop().map(|open| open.0), Some(closed.1), "{}: byte {at}", document.text);
            }
        }
        assert!(open.is_empty(), "{}", document.text);
    }
}

#[test]
fn what_is_due_comes() {
    let mut found = BTreeMap::new();
    for document in documents(Split::Train, 300).iter().chain(&documents(Split::Held, 100)) {
        let kinds = values(document, "paren_kind");
        for (mark, _) in marked(document, "due") {
            assert_eq!(document.text.as_bytes()[mark.end as usize], b')', "{}", document.text);
            *found.entry(labels::PAREN_KINDS[kinds[mark.end as usize] as usize - 1]).or_insert(0) += 1;
        }
        let closed = document.text.matches(')').count();
        assert!(marked(document, "due").len() <= closed);
        for (mark, _) in marked(document, "apostrophe_next") {
            assert_eq!(document.text.as_bytes()[mark.end as usize], b'\'');
        }
    }
    // A list of parameters may always continue.
    let known = labels::PAREN_KINDS.iter().filter(|kind| **kind != "parameters");
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        std::collections::BTreeSet::from_iter(known.copied()).into_iter().collect::<Vec<_>>()
    );
}

#[test]
fn a_span_ends_later_in_its_century() {
    let mut spans = 0;
    for document in documents(Split::Train, 300) {
        for (mark, century) in marked(&document, "year") {
            let before = document.text[..mark.start as usize].rfind(|c: char| c.is_ascii_digit()).unwrap();
            let first = &document.text[before - 3..=before];
            let last = &document.text[mark.start as usize..mark.start as usize + 4];
            assert_eq!((&first[..2], first[2..].parse()), (century, Ok(mark.value)));
            assert!(first < last && first[..2] == last[..2], "{first} {last}");
            spans += 1;
        }
    }
    assert!(spans > 100);
}

#[test]
fn held_out_names_are_never_trained_on() {
    let held: Vec<&str> = [&FEMALE, &MALE]
        .into_iter()
        .flat_map(|list| list.iter().enumerate().filter(|(at, _)| is_held(*at)).map(|(_, name)| *name))
        .collect();
    assert_eq!(held.len(), 28);
    for document in documents(Split::Train, 400) {
        let mut words = document.text.split(|c: char| !c.is_ascii_alphabetic());
        assert_eq!(words.find(|word| held.contains(word)), None, "{}", document.text);
    }
    assert!(documents(Split::Held, 20).iter().any(|document| held.iter().any(|name| document.text.contains(name))));
}

#[test]
fn articles_and_slots_are_right() {
    for document in documents(Split::Train, 400).iter().chain(&documents(Split::Held, 100)) {
        let words: Vec<&str> = document.text.split([' ', '\n', '(', '"']).collect();
        let code = document.text.contains("def ");
        for pair in words.windows(2).filter(|_| !code) {
            match pair[0] {
                "a" | "A" => assert!(!words::begins_with_vowel(pair[1]), "{pair:?} in {}", document.text),
                "an" | "An" => assert!(words::begins_with_vowel(pair[1]), "{pair:?} in {}", document.text),
                _ => {}
            }
        }
        assert!(!document.text.contains(['~', '“', '’']), "{}", document.text);
        assert!(!document.text.contains("  ") || code, "{}", document.text);
        assert!(code || !document.text.contains(['{', ':']), "{}", document.text);
    }
}

#[test]
fn every_template_and_name_is_used() {
    let mut drawn: BTreeMap<(usize, usize), u128> = BTreeMap::new();
    for split in [Split::Train, Split::Held] {
        let grammar = Grammar::new(1, &Mix::default(), split);
        for number in 0..1200 {
            for (list, seen) in grammar.write(number).drawn {
                *drawn.entry(list).or_default() |= seen;
            }
        }
    }
    let missing: Vec<(usize, u32)> = drawn
        .iter()
        .map(|(list, seen)| (list.1, list.1 as u32 - seen.count_ones()))
        .filter(|found| found.1 > 0)
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn names_answer_to_their_roles() {
    let mut found = 0;
    for document in documents(Split::Train, 200).iter().chain(&documents(Split::Held, 60)) {
        let names: Vec<(u32, &str)> =
            marked(document, "name_role").iter().map(|(mark, name)| (mark.value, *name)).collect();
        for four in names.chunks(4) {
            let name = |role: &str| four.iter().find(|name| name.0 == value(&labels::NAME_ROLES, role)).unwrap().1;
            assert_eq!((name("io"), name("subject")), (name("io_again"), name("subject_again")));
            assert_ne!(name("io"), name("subject"));
            found += 1;
        }
    }
    assert!(found > 100);
}

#[test]
fn the_page_explains_every_label_phenomenon_and_kind() {
    let page = include_str!("../../../../docs/grammar.md");
    assert_eq!(PHENOMENA.iter().find(|name| !page.contains(&format!("### `{name}`"))), None);
    for column in labels::columns().iter() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}`", column.name)));
        assert!(row.is_some_and(|row| row.contains("*last*") == (column.of == DecidingByte::Last)), "{}", column.name);
        let same = row.is_some_and(|row| row.contains("the same") || row.contains("see below"));
        if let ColumnKind::Kind(kinds) = &column.values {
            assert!(same || row.is_some_and(|row| row.contains(&kinds.join(", "))), "{}", column.name);
        }
    }
    let explained = |kind: &&str| page.contains(&format!("`{kind}`"));
    assert_eq!(labels::PAREN_KINDS.iter().find(|kind| !explained(kind)), None);
}
