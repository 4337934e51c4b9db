//! Tests of packing, and of the rows that training reads.

use super::training::TrainingRows;
use super::*;
use crate::data::Document;
use crate::data::text::{TextOptions, TextPart};
use crate::model::train::Examples;

/// Builds a tokenizer whose tokens are letters; `.` is BOS.
fn letters() -> Tokenizer {
    let list = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    Tokenizer::characters(list.chain([".".into()]).collect(), Some("."), None).unwrap()
}

/// Builds a tokenizer whose tokens are letters, with `.` between documents, too.
fn ending() -> Tokenizer {
    letters().or_marks(None, Some(26))
}

fn given(texts: &[&str], options: TextOptions) -> Text {
    Text::given(texts.iter().map(|text| text.to_string()).collect(), options).unwrap()
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(|letter| if letter == b'.' { 26 } else { u32::from(letter - b'a') }).collect()
}

fn read(text: &Text, tokenizer: &Tokenizer, context: usize) -> Vec<Row> {
    let task = Task::default();
    let mut rows = rows(text, tokenizer, context, &task).unwrap();
    std::iter::from_fn(|| rows.next(&task).transpose()).collect::<Result<_>>().unwrap()
}

fn spelt(rows: &[Row]) -> Vec<String> {
    let letter = |id: &u32| if *id == 26 { '.' } else { char::from(b'a' + *id as u8) };
    rows.iter().map(|row| row.ids.iter().map(letter).collect()).collect()
}

#[test]
fn rows_are_cut_without_gaps_and_know_where_they_are_from() {
    let text = given(&["abcde", "fg", "hijkl"], TextOptions::default());
    let found = read(&text, &ending(), 4);
    assert_eq!(spelt(&found), ["abcd", "e.fg", ".hij"]);
    assert_eq!(found[1].spans, [4..5, 0..0, 0..1, 1..2]);
    let stretches: Vec<(Range<usize>, &str)> =
        found[1].stretches.iter().map(|stretch| (stretch.positions.clone(), &*stretch.origin)).collect();
    assert_eq!(stretches, [(0..1, "text 0"), (2..4, "text 1")]);
    assert_eq!(text.tally().skipped["tokens that do not fill a last row"].count, 2);
    // Without an EOS token nothing is put between documents.
    assert_eq!(spelt(&read(&text, &letters(), 4)), ["abcd", "efgh", "ijkl"]);
}

#[test]
fn rows_begin_with_a_mark_where_that_is_wanted() {
    let bos = |bos| TextOptions { bos: Some(bos), ..TextOptions::default() };
    assert_eq!(spelt(&read(&given(&["abcde", "fg"], bos(true)), &letters(), 4)), [".abc", ".def"]);
    assert_eq!(spelt(&read(&given(&["abcde", "fg"], bos(false)), &letters(), 4)), ["abcd"]);
    let mixed = Text::mix(vec![(given(&["abcdef"], TextOptions::default()), 1.0)], bos(true)).unwrap();
    assert_eq!(spelt(&read(&mixed, &letters(), 4)), [".abc", ".def"]);
}

#[test]
fn a_limit_ends_the_reading_and_a_short_text_is_a_short_row() {
    assert_eq!(spelt(&read(&given(&["abcdefghijkl"], limit(9)), &letters(), 4)), ["abcd", "efgh"]);
    assert_eq!(spelt(&read(&given(&["abcdefghijkl"], limit(3)), &letters(), 4)), ["abc"]);
    assert_eq!(spelt(&read(&given(&["ab"], TextOptions::default()), &letters(), 4)), ["ab"]);
    // BOS alone is not a row.
    let text = given(&["abcd"], TextOptions { bos: Some(true), ..TextOptions::default() });
    assert_eq!(spelt(&read(&text, &letters(), 5)), [".abcd"]);
}

#[test]
fn a_mixture_draws_rows_by_weight_and_shuffling_loses_none() {
    let long = |letter: &str| given(&[letter.repeat(4000).as_str()], TextOptions::default());
    let mixed = |seed| {
        let options = TextOptions { tokens: Some(4000), seed, ..TextOptions::default() };
        Text::mix(vec![(long("a"), 3.0), (long("b"), 1.0)], options).unwrap()
    };
    let found = spelt(&read(&mixed(0), &letters(), 4));
    let of_a = found.iter().filter(|row| row.as_str() == "aaaa").count();
    assert_eq!(found.len(), 1000);
    assert!((700..800).contains(&of_a), "{of_a}");
    assert_eq!(found, spelt(&read(&mixed(0), &letters(), 4)));
    assert_ne!(found, spelt(&read(&mixed(1), &letters(), 4)));
    let alphabet: String = ('a'..='z').collect::<String>().repeat(40);
    let order = |shuffle| {
        let text = given(&[&alphabet], TextOptions { shuffle, ..TextOptions::default() });
        spelt(&read(&text, &letters(), 5))
    };
    let plain = order(false);
    let mut shuffled = order(true);
    assert_ne!(plain, shuffled);
    assert_eq!(shuffled, order(true));
    let mut sorted = plain;
    sorted.sort();
    shuffled.sort();
    assert_eq!(shuffled, sorted);
}

#[test]
fn labels_go_with_their_tokens() {
    use crate::tokenizer::labels::{Column, ColumnKind, DecidingByte, Labels, Mark, Marks};
    struct MarkedDocuments(Vec<Document>);
    impl crate::data::Documents for MarkedDocuments {
        fn next(&mut self, _task: &Task) -> Result<Option<Document>> {
            Ok(if self.0.is_empty() { None } else { Some(self.0.remove(0)) })
        }
    }
    let columns = [Column { name: "vowel", of: DecidingByte::First, values: ColumnKind::Number }];
    let mark = |start| Mark { column: 0, start, end: start + 1, value: start + 1 };
    let marks = Marks { columns: columns.clone().into(), marks: vec![mark(0), mark(4)] };
    let documents =
        vec![Document::whole("xyz", "none"), Document { marks: Some(marks), ..Document::whole("abcdef", "marked") }];
    let encoder = encode::Encoder::new(Box::new(MarkedDocuments(documents)), ending());
    let mut packed = packed::PackedRows::new(encoder, Some(26), None, 5, given(&["x"], TextOptions::default()));
    let found: Vec<Row> = std::iter::from_fn(|| TokenRows::next(&mut packed, &Task::default()).transpose())
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(spelt(&found), ["xyz.a", "bcdef"]);
    let labels = |values: &[u32]| Some(Labels { columns: columns.clone().into(), values: vec![values.to_vec()] });
    assert_eq!(found[0].labels, labels(&[0, 0, 0, 0, 1]));
    assert_eq!(found[1].labels, labels(&[0, 0, 0, 5, 0]));
}

fn training(text: &Text, seed: u64) -> TrainingRows {
    TrainingRows::new(text, &ending(), 7, seed, &Task::default()).unwrap()
}

/// Builds documents of all letters, in every rotation: every stretch of them is known by its place.
fn rotations(count: usize, tokens: Option<u64>) -> Text {
    let alphabet: String = ('a'..='z').collect();
    let texts: Vec<String> =
        (0..count).map(|at| [&alphabet[at % 26..], &alphabet[..at % 26]].concat().repeat(1 + at / 26)).collect();
    Text::given(texts, TextOptions { tokens, ..TextOptions::default() }).unwrap()
}

fn next(batches: &mut TrainingRows, rows: usize) -> Examples {
    batches.next(rows, &Task::default()).unwrap()
}

#[test]
fn an_epoch_judges_every_token_once_but_for_less_than_a_row() {
    let text = rotations(30, None);
    // 26 documents of 26 letters and 4 of 52, each with its end.
    let tokens = 26 * 27 + 4 * 53;
    let rows = tokens / 7;
    let left = tokens % 7;
    let mut batches = training(&text, 0);
    let counts = |epoch: &Examples| {
        let mut counts = vec![0_usize; 27];
        epoch.targets.iter().flatten().for_each(|id| counts[*id as usize] += 1);
        counts
    };
    let first = next(&mut batches, rows);
    let second = next(&mut batches, rows);
    for epoch in [&first, &second] {
        let found = counts(epoch);
        let whole = |id: usize| if id == 26 { 30 } else { 34 };
        assert!((0..27).all(|id| found[id] <= whole(id)), "{found:?}");
        assert_eq!(found.iter().sum::<usize>(), tokens - left);
    }
    // Another order, and other offsets.
    let sorted = |epoch: &Examples| {
        let mut rows = epoch.ids.clone();
        rows.sort();
        rows
    };
    assert_ne!(sorted(&first), sorted(&second));
    for (ids, targets) in first.ids.iter().zip(&first.targets) {
        assert_eq!((ids.len(), targets.len()), (7, 7));
        assert_eq!(ids[1..], targets[..6]);
        let follows = |pair: (&u32, &u32)| *pair.0 == 26 || *pair.1 == 26 || (*pair.0 + 1) % 26 == *pair.1;
        assert!(ids.iter().zip(targets).all(follows));
    }
}

#[test]
fn rows_are_the_same_whatever_is_asked_for_at_once_and_after_skipping() {
    let mixed = |seed| {
        let parts = vec![(rotations(5, None), 2.0), (rotations(9, Some(100)), 1.0)];
        training(&Text::mix(parts, TextOptions::default()).unwrap(), seed)
    };
    let all = next(&mut mixed(3), 120);
    assert_ne!(all, next(&mut mixed(4), 120));
    let mut one = mixed(3);
    let single: Vec<Vec<u32>> = (0..120).map(|_| next(&mut one, 1).ids.remove(0)).collect();
    assert_eq!(single, all.ids);
    assert_eq!(one.about(), mixed(3).about());
    assert_ne!(one.about(), mixed(4).about());
    assert!(one.about().starts_with("rows of 7 tokens, seed 3: 0.6666666666666666 of 135 tokens "), "{}", one.about());
    for skipped in [0, 1, 18, 19, 60, 119] {
        let mut batches = mixed(3);
        batches.skip(skipped / 2, &Task::default()).unwrap();
        batches.skip(skipped - skipped / 2, &Task::default()).unwrap();
        assert_eq!(next(&mut batches, 1).targets[0], all.targets[skipped as usize], "{skipped}");
    }
}

#[test]
fn training_reads_no_more_than_its_limit_and_refuses_too_little() {
    let letters = |text: &Text| {
        let mut seen = next(&mut training(text, 0), 50).targets.concat();
        seen.sort();
        seen.dedup();
        seen
    };
    assert_eq!(letters(&rotations(5, Some(9))), [0, 1, 2, 3, 4, 5, 6, 7, 8, 26]);
    let task = Task::default();
    let error = TrainingRows::new(&rotations(5, Some(5)), &ending(), 7, 0, &task).err().unwrap();
    assert!(error.message.starts_with("expected more than 7 tokens"), "{error}");
    // BOS replaces the first token of each row, and the targets stay.
    let marked =
        Text::mix(vec![(rotations(5, None), 1.0)], TextOptions { bos: Some(true), ..TextOptions::default() }).unwrap();
    let plain = next(&mut training(&rotations(5, None), 0), 9);
    let marked = next(&mut training(&marked, 0), 9);
    assert_eq!(plain.targets, marked.targets);
    assert!(marked.ids.iter().zip(&plain.ids).all(|(marked, plain)| marked[0] == 26 && marked[1..] == plain[1..]));
}

/// Builds a tokenizer of printable characters, and one token for all others.
fn printable() -> Tokenizer {
    let list = (b' '..=b'~').map(|letter| char::from(letter).to_string()).chain(["\n".into(), "<unk>".into()]);
    Tokenizer::characters(list.collect(), None, Some("<unk>")).unwrap()
}

fn limit(tokens: u64) -> TextOptions {
    TextOptions { tokens: Some(tokens), ..TextOptions::default() }
}

fn grammar(options: TextOptions) -> Text {
    Text::grammar(&Default::default(), TextPart::All, options)
}

#[test]
fn a_generator_goes_on_and_is_mixed_with_what_is_repeated() {
    let task = Task::default();
    let tokenizer = printable();
    let mixed = || {
        let parts = vec![
            (grammar(TextOptions::default()), 1.0),
            (given(&["a little text ".repeat(40).as_str()], TextOptions::default()), 1.0),
        ];
        let text = Text::mix(parts, TextOptions::default()).unwrap();
        TrainingRows::new(&text, &tokenizer, 50, 0, &task).unwrap()
    };
    let all = next(&mut mixed(), 80);
    let mut skipped = mixed();
    skipped.skip(70, &task).unwrap();
    assert_eq!(next(&mut skipped, 10).ids, all.ids[70..]);
    // A generator never repeats.
    let little = ids_of(&tokenizer, "little");
    let of_grammar = all.ids.iter().filter(|row| !row.windows(6).any(|part| part == little));
    let mut rows: Vec<&Vec<u32>> = of_grammar.collect();
    let count = rows.len();
    rows.sort();
    rows.dedup();
    assert!(rows.len() == count && (25..55).contains(&count), "{count}");
    // With a limit it is finite, and is repeated.
    let limited = grammar(limit(500));
    let mut batches = TrainingRows::new(&limited, &tokenizer, 50, 0, &task).unwrap();
    assert!(batches.about().contains("500 tokens"), "{}", batches.about());
    assert_eq!(next(&mut batches, 25).ids.len(), 25);
    // So is a mixture with a limit, of which each part has its share.
    let mixed = Text::mix(vec![(grammar(TextOptions::default()), 3.0), (rotations(9, None), 1.0)], limit(800)).unwrap();
    let batches = TrainingRows::new(&mixed, &tokenizer, 50, 0, &task).unwrap();
    assert!(batches.about().contains("0.75 of 600 tokens"), "{}", batches.about());
    assert!(batches.about().contains("0.25 of 200 tokens"), "{}", batches.about());
    // An endless text cannot be read whole.
    let endless = gathered(&grammar(TextOptions::default()), &tokenizer, 50, None, &task, Ok).unwrap_err();
    assert!(endless.message.contains("expected a text with an end"), "{endless}");
}

fn ids_of(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, None, &Task::default()).unwrap().ids
}

#[test]
fn labels_of_generated_text_agree_with_a_recount() {
    let tokenizer = printable();
    let text = grammar(limit(30_000));
    let depth = column(&text, "depth", &Task::default()).unwrap();
    let rows = read(&text, &tokenizer, 300);
    assert_eq!(rows.len(), 100);
    let open = ids_of(&tokenizer, "(")[0];
    let values: Vec<(u32, u32)> =
        rows.iter().flat_map(|row| row.ids.iter().copied().zip(values(row, &depth).unwrap())).collect();
    assert!(values.iter().filter(|(id, _)| *id == open).count() > 50);
    assert!(values.iter().all(|(id, depth)| *id != open || *depth > 0));
    let error = column(&text, "dept", &Task::default()).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `depth`?"));
    assert!(column(&given(&["a"], TextOptions::default()), "depth", &Task::default()).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn rows_make_the_documents_with_their_ends_between(
        texts in proptest::collection::vec("[a-z]{0,40}", 1..20),
        context in 1_usize..20,
    ) {
        let kept: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        if !kept.is_empty() {
            let found = read(&given(&kept, TextOptions::default()), &ending(), context);
            let mut whole = ids(&kept.join("."));
            let rows: Vec<u32> = found.iter().flat_map(|row| row.ids.clone()).collect();
            if whole.len() >= context {
                whole.truncate(whole.len() / context * context);
            }
            assert_eq!(rows, whole);
        }
    }
}
