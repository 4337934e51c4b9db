//! The guarantees of trained tokenizers: which tokens there are, lossless round trips, and determinism.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::saving::Origin;
use super::*;

const MARKS: &str = "()[]{}<>\"'`‘’“”";

/// Some prose and code with every mark in it, and years.
const TEXT: &str = "\
The committee (which had met in 1987, and again in 2013) didn't agree: \"the dogs' bowls aren't Anna's\", it said.
def area(side):
    if side[0] < 0 or side[1] > 10:
        return {'area': None, \"why\": `side`}
    return (side[0] * side[1])

‘It isn’t here,’ she said (see “The house” [1994]). The houses' doors; the house's door; the committee's meeting.
They don't, I don't, and we don't.
f(g(h(x)), \"a\", 'b')  # (a (b (c)))
";

fn trained(kind: TokenizerKind, options: &TokenizerOptions, texts: &[&str]) -> Result<Tokenizer> {
    let mut texts = texts.iter();
    let options = TokenizerOptions { kind, ..options.clone() };
    train(&mut || Ok(texts.next().map(|text| text.to_string())), &options, &Task::default())
}

fn options() -> TokenizerOptions {
    TokenizerOptions { vocab: 700, digits: Some(2), apart: MARKS.into(), ..TokenizerOptions::default() }
}

static BPE: LazyLock<Tokenizer> = LazyLock::new(|| trained(TokenizerKind::Bpe, &options(), &[TEXT, TEXT]).unwrap());

fn strings(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    tokenizer.encode(text, None, &Task::default()).unwrap().strings().unwrap()
}

fn json(tokenizer: &Tokenizer) -> String {
    match &*tokenizer.origin {
        Origin::Json(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        _ => panic!("a tokenizer of another kind"),
    }
}

#[test]
fn marks_are_tokens_of_their_own() {
    for mark in MARKS.chars() {
        assert!(BPE.token(&mark.to_string(), &Task::default()).is_ok(), "{mark} is no token");
    }
    for (_, piece) in BPE.vocab().iter().filter(|(_, piece)| !piece.special) {
        let text = String::from_utf8_lossy(&piece.bytes);
        let bare = text.strip_prefix(' ').unwrap_or(&text);
        assert!(!bare.contains(|letter| MARKS.contains(letter)) || bare.chars().count() == 1, "{text:?} is one token");
    }
    assert_eq!(strings(&BPE, "f(g()):"), ["f", "(", "g", "(", ")", ")", ":"]);
    assert_eq!(strings(&BPE, "('a',"), ["(", "'", "a", "'", ","]);
    assert_eq!(
        strings(&BPE, "the committee's dogs' don't")[1..],
        [" committee", "'", "s", " dogs", "'", " don", "'", "t"].map(String::from)[..]
    );
    assert!(strings(&BPE, "isn’t”").ends_with(&["’", "t", "”"].map(String::from)));
    assert_eq!(strings(&BPE, "the (")[1..], [" ("]);
}

#[test]
fn numbers_are_pairs_of_digits_from_the_left() {
    for pair in 0..100 {
        assert!(BPE.token(&format!("{pair:02}"), &Task::default()).is_ok(), "{pair:02} is no token");
        assert!(BPE.token(&format!(" {pair:02}"), &Task::default()).is_ok(), "{pair:02} is no token after a space");
    }
    assert_eq!(strings(&BPE, "1987"), ["19", "87"]);
    assert_eq!(strings(&BPE, "in 1987, 2013.")[1..], [" 19", "87", ",", " 20", "13", "."]);
    assert_eq!(strings(&BPE, "12345"), ["12", "34", "5"]);
    let triples = TokenizerOptions { vocab: 2600, digits: Some(3), ..options() };
    let triples = trained(TokenizerKind::Bpe, &triples, &[TEXT]).unwrap();
    assert_eq!(strings(&triples, "1987654"), ["198", "765", "4"]);
    assert_eq!(strings(&triples, "a 71 5")[1..], [" 71", " 5"]);
}

#[test]
fn white_space_stays_together_up_to_the_space_of_a_word() {
    assert_eq!(strings(&BPE, "\n    if"), ["\n   ", " if"]);
    assert_eq!(strings(&BPE, "a\n\nThe"), ["a", "\n\n", "The"]);
}

#[test]
fn the_special_token_marks_both_ends() {
    assert_eq!((BPE.bos(), BPE.eos()), (Some(0), Some(0)));
    let tokens = BPE.encode("a<|endoftext|>b", None, &Task::default()).unwrap();
    assert_eq!(tokens.ids[1], 0);
    assert_eq!(BPE.vocab().piece(0).unwrap().name, END);
    assert!(BPE.vocab().size() <= 700);
}

#[test]
fn the_same_texts_make_the_same_tokenizer() {
    let first = json(&BPE);
    for _ in 0..3 {
        assert_eq!(json(&trained(TokenizerKind::Bpe, &options(), &[TEXT, TEXT]).unwrap()), first);
    }
    // Only the concatenated text matters, not its division into strings.
    assert_eq!(json(&trained(TokenizerKind::Bpe, &options(), &[&TEXT.repeat(2)]).unwrap()), first);
    // The saved tokenizer is the one that was trained.
    let again = Tokenizer::from_json(first.as_bytes()).unwrap();
    assert_eq!(strings(&again, TEXT), strings(&BPE, TEXT));
}

#[test]
fn long_texts_are_counted_whole() {
    let lines = "one line of a long text\n".repeat(6000);
    let all: String = bpe_parts(&lines).concat();
    assert_eq!(all, lines);
    assert!(bpe_parts(&lines).len() > 3);
    assert_eq!(bpe_parts(&"é".repeat(40_000)).len(), 1);
}

fn bpe_parts(text: &str) -> Vec<&str> {
    super::bpe::parts(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_loses_anything(text in "(\\PC|[0-9()'\"’ \\n\\t]){0,40}") {
        let tokens = BPE.encode(&text, None, &Task::default()).unwrap();
        prop_assert_eq!(BPE.decode(&tokens.ids).unwrap(), text);
    }
}

#[test]
fn words_and_characters_stand_by_how_often_they_are_seen() {
    let special = vec![END.to_string(), UNKNOWN.to_string()];
    let few = TokenizerOptions { vocab: 5, special, min_frequency: 1, ..TokenizerOptions::default() };
    let words = trained(TokenizerKind::Words, &few, &["b a c a", "c a d"]).unwrap();
    let names: Vec<&str> = words.vocab().iter().map(|(_, piece)| piece.name.as_str()).collect();
    assert_eq!(names, [END, UNKNOWN, "a", "c", "b"]);
    assert_eq!(words.encode("a d", Some(true), &Task::default()).unwrap().ids, [0, 2, 1]);
    assert_eq!(words.eos(), Some(0));
    let plain = TokenizerOptions { special: Vec::new(), min_frequency: 1, ..TokenizerOptions::default() };
    let characters = trained(TokenizerKind::Characters, &plain, &["abca", "é"]).unwrap();
    assert_eq!(characters.encode("caé", None, &Task::default()).unwrap().ids, [2, 0, 3]);
    assert_eq!(characters.bos(), None);
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let refused = |kind, options: TokenizerOptions, texts: &[&str]| trained(kind, &options, texts).unwrap_err().message;
    assert!(refused(TokenizerKind::Bpe, options(), &[]).contains("found none"));
    assert!(refused(TokenizerKind::Words, TokenizerOptions::default(), &["once"]).contains("found none"));
    let small = TokenizerOptions { vocab: 300, ..options() };
    // One special token, 256 bytes, 100 pairs and 110 groups after a space; and E2 80 with four curly quotes.
    assert_eq!(refused(TokenizerKind::Bpe, small, &[TEXT]), "expected a vocabulary of 472 tokens or more, found 300");
    let with = |special: &[&str]| TokenizerOptions {
        special: special.iter().map(|name| name.to_string()).collect(),
        ..options()
    };
    assert!(refused(TokenizerKind::Bpe, with(&["<s>", "<s>"]), &[TEXT]).contains("`<s>` twice"));
    assert!(refused(TokenizerKind::Bpe, with(&["a"]), &[TEXT]).contains("two characters or more"));
    assert!(
        refused(TokenizerKind::Bpe, TokenizerOptions { apart: "a".into(), ..options() }, &[TEXT]).contains("found 'a'")
    );
    assert!(
        refused(TokenizerKind::Bpe, TokenizerOptions { digits: Some(4), ..options() }, &[TEXT]).contains("found 4")
    );
    assert!(refused(TokenizerKind::Words, options(), &[TEXT]).contains("expected no `digits`"));
    let failing = train(&mut || crate::bail!(File, "gone"), &options(), &Task::default());
    assert_eq!(failing.unwrap_err().message, "gone");
}

#[test]
fn a_vocabulary_is_no_larger_than_its_texts_whatever_is_asked_for() {
    for kind in [TokenizerKind::Bpe, TokenizerKind::Words, TokenizerKind::Characters] {
        let of = |vocab: usize| {
            let mut texts = ["a rose is a rose", "a rose"].map(String::from).into_iter();
            let options = TokenizerOptions { kind, vocab, min_frequency: 1, ..TokenizerOptions::default() };
            let tokenizer = train(&mut || Ok(texts.next()), &options, &Task::default()).unwrap();
            tokenizer.vocab().iter().map(|(_, piece)| piece.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(usize::MAX), of(2000));
    }
}

#[test]
fn what_is_learned_here_is_known_to_be_quick_and_what_only_looks_like_it_is_not() {
    // On another thread it would be an interruption that comes first.
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    for digits in [None, Some(1), Some(3)] {
        for apart in ["", "()", MARKS] {
            let options = TokenizerOptions { digits, apart: apart.into(), vocab: 4000, ..TokenizerOptions::default() };
            let tokenizer = trained(TokenizerKind::Bpe, &options, &[TEXT]).unwrap();
            assert!(tokenizer.encode("a (b)", None, &task).is_ok(), "{digits:?} {apart}");
        }
    }
    let with = |apart: &str| format!(r" ?\p{{L}}+| ?[{apart}]| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}{apart}]+|\s+(?= \S)|\s+");
    assert!(is_ours(&with(r"()\[\]")));
    for other in ["]|(?=(a+)+b)[", r"\\]|(?=(a+)+b)[", "\\"] {
        assert!(!is_ours(&with(other)), "{other}");
    }
}
