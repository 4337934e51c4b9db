//! Facts about tokens and those before them: identity, characters, and form.

use super::{Fact, FactRole};
use crate::common::*;
use crate::features::TextCodes;

/// A function that tells whether a token's text looks like something.
type Looks = fn(&str) -> bool;

/// Forms of a token.
const LOOKS: [(&str, Looks); 9] = [
    ("a number", is_number),
    ("capital letters", is_capitals),
    ("a capitalised word", |text| {
        let word = text.trim();
        word.chars().next().is_some_and(char::is_uppercase) && word.chars().skip(1).any(char::is_lowercase)
    }),
    ("a word", |text| {
        text.starts_with(char::is_whitespace) && text.trim().chars().next().is_some_and(char::is_alphabetic)
    }),
    ("a word piece", |text| text.chars().next().is_some_and(char::is_lowercase)),
    ("a short word", |text| (1..=3).contains(&text.trim().len()) && text.trim().chars().all(char::is_lowercase)),
    ("punctuation", is_signs),
    ("a line end", |text| text.contains('\n')),
    ("white space", |text| !text.is_empty() && text.trim().is_empty()),
];

fn is_number(text: &str) -> bool {
    let word = text.trim();
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

fn is_signs(text: &str) -> bool {
    let word = text.trim();
    !word.is_empty() && word.chars().all(|c| c.is_ascii_punctuation())
}

/// Returns whether a text is capital letters and nothing else; a single one only without a space before it, since it
/// may be a part of several.
pub fn is_capitals(text: &str) -> bool {
    let word = text.trim();
    let is_part = word.chars().count() > 1 || (!word.is_empty() && word.len() == text.len());
    is_part && word.chars().all(char::is_uppercase)
}

/// Returns facts on the form of all tokens and of those before them, which are the same for every feature.
pub fn looks(read: &TextCodes) -> Vec<Fact> {
    let mut facts = vec![Fact::new("first of its row", FactRole::What, first_of_rows(read))];
    for (text, looks) in LOOKS {
        let here = tokens(read, looks);
        facts.push(Fact::new(format!("after {text}"), FactRole::Where, shifted(read, &here)));
        facts.push(Fact::new(text, FactRole::What, here));
    }
    facts
}

/// Returns facts of the `count` tokens with the largest sums of activations among the tokens of `range`, of as many
/// tokens before them, and of the punctuation marks in either.
pub fn strings(read: &TextCodes, codes: &[f32], range: Range<usize>, count: usize) -> Vec<Fact> {
    let mut facts = Vec::new();
    for is_before in [false, true] {
        let mut words: BTreeMap<&str, f64> = BTreeMap::new();
        let mut signs: BTreeMap<char, f64> = BTreeMap::new();
        for at in range.clone() {
            let code = f64::from(codes.get(at).copied().unwrap_or_default());
            let text = if is_before { before(read, at) } else { text(read, at) };
            if let Some(text) = text.filter(|_| code > 0.0) {
                *words.entry(plain(text)).or_default() += code;
                let found = text.chars().filter(char::is_ascii_punctuation);
                found.for_each(|sign| *signs.entry(sign).or_default() += code);
            }
        }
        for word in strongest(words, count) {
            facts.push(named(read, is_before, "is", &format!("{word:?}"), |text| plain(text) == word));
        }
        for sign in strongest(signs, count / 2) {
            let shown = format!("{:?}", sign.to_string());
            facts.push(named(read, is_before, "has", &shown, |text| text.contains(sign)));
        }
    }
    facts
}

/// Returns the fact that [`strings`] gives a name, on any text; none where it is no such name.
pub fn of_name(read: &TextCodes, name: &str) -> Option<Fact> {
    let is = |shown: &str, text: &str| format!("{:?}", plain(text)) == shown;
    let has = |shown: &str, text: &str| {
        text.chars().any(|sign| sign.is_ascii_punctuation() && format!("{:?}", sign.to_string()) == shown)
    };
    let quoted = |beginning: &str| name.strip_prefix(beginning).filter(|shown| shown.starts_with('"'));
    let (is_before, verb, shown) = (quoted("token is ").map(|shown| (false, "is", shown)))
        .or_else(|| quoted("token has ").map(|shown| (false, "has", shown)))
        .or_else(|| quoted("after a token with ").map(|shown| (true, "has", shown)))
        .or_else(|| quoted("after ").map(|shown| (true, "is", shown)))?;
    Some(named(read, is_before, verb, shown, |text| if verb == "is" { is(shown, text) } else { has(shown, text) }))
}

/// Returns the tokens with the largest sums.
fn strongest<K: Ord + Copy>(sums: BTreeMap<K, f64>, count: usize) -> Vec<K> {
    let mut sums: Vec<(K, f64)> = sums.into_iter().collect();
    order::sort_descending(&mut sums, |(_, sum)| *sum);
    sums.into_iter().take(count).map(|(key, _)| key).collect()
}

fn named(read: &TextCodes, is_before: bool, verb: &str, what: &str, holds: impl Fn(&str) -> bool) -> Fact {
    let here = tokens(read, holds);
    match (is_before, verb) {
        (false, _) => Fact::new(format!("token {verb} {what}"), FactRole::What, here),
        (true, "is") => Fact::new(format!("after {what}"), FactRole::Where, shifted(read, &here)),
        (true, _) => Fact::new(format!("after a token with {what}"), FactRole::Where, shifted(read, &here)),
    }
}

/// Returns a token's text without one leading space, as token arguments are compared.
fn plain(text: &str) -> &str {
    text.strip_prefix(' ').unwrap_or(text)
}

fn text(read: &TextCodes, at: usize) -> Option<&str> {
    read.texts.get(read.ids.get(at)?).map(String::as_str)
}

/// Returns the token before, unless this is the first of its row.
fn before(read: &TextCodes, at: usize) -> Option<&str> {
    if read.starts.binary_search(&at).is_ok() { None } else { text(read, at.checked_sub(1)?) }
}

/// Returns whether a condition is true of each token; it is evaluated once for each token that occurs.
fn tokens(read: &TextCodes, holds: impl Fn(&str) -> bool) -> Vec<bool> {
    let of: BTreeMap<u32, bool> = read.texts.iter().map(|(id, text)| (*id, holds(text))).collect();
    let most = of.keys().next_back().map_or(0, |id| *id as usize + 1);
    let mut table = vec![false; most];
    of.into_iter().for_each(|(id, holds)| table[id as usize] = holds);
    read.ids.iter().map(|id| table.get(*id as usize).copied().unwrap_or_default()).collect()
}

/// Returns whether a condition is true of the token before each; false for the first of a row.
fn shifted(read: &TextCodes, here: &[bool]) -> Vec<bool> {
    let mut found: Vec<bool> = std::iter::once(false).chain(here.iter().copied()).take(here.len()).collect();
    read.starts.iter().for_each(|start| {
        if let Some(first) = found.get_mut(*start) {
            *first = false;
        }
    });
    found
}

fn first_of_rows(read: &TextCodes) -> Vec<bool> {
    let mut found = vec![false; read.len()];
    read.starts.iter().for_each(|start| {
        if let Some(first) = found.get_mut(*start) {
            *first = true;
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], starts: &[usize]) -> TextCodes {
        let ids: Vec<u32> = (0..words.len() as u32).collect();
        let texts = ids.iter().zip(words).map(|(id, word)| (*id, word.to_string())).collect();
        TextCodes { ids, texts, starts: starts.to_vec(), ..TextCodes::default() }
    }

    fn line(fact: &Fact) -> String {
        fact.holds.iter().map(|holds| if *holds { 'x' } else { '.' }).collect()
    }

    #[test]
    fn looks_are_those_of_the_token_and_of_the_one_before_it_in_its_row() {
        let found = looks(&read(&[" The", " (", "NASA", "ling", " 1843", "),\n", " of"], &[0, 4, 7]));
        let of = |text: &str| line(found.iter().find(|fact| fact.text == text).unwrap());
        assert_eq!(of("a capitalised word"), "x......");
        assert_eq!(of("capital letters"), "..x....");
        assert_eq!(of("a word piece"), "...x...");
        assert_eq!(of("after a word piece"), ".......");
        assert_eq!(of("a number"), "....x..");
        assert_eq!(of("after a number"), ".....x.");
        assert_eq!(of("punctuation"), ".x...x.");
        assert_eq!(of("a line end"), ".....x.");
        assert_eq!(of("a short word"), "......x");
        assert_eq!(of("first of its row"), "x...x..");
    }

    #[test]
    fn a_single_capital_letter_is_one_of_several_where_no_space_stands_before_it() {
        let found = [" NASA", "N", " A", "", "Na", "7"].map(is_capitals);
        assert_eq!(found, [true, true, false, false, false, false]);
    }

    #[test]
    fn tokens_and_signs_are_named_where_codes_are_large() {
        let read = read(&[" (", "(", "a", ").", "b", ")"], &[0, 6]);
        let found = strings(&read, &[2.0, 1.0, 0.0, 5.0, 0.0, 0.0], 0..6, 2);
        let texts: Vec<&str> = found.iter().map(|fact| fact.text.as_str()).collect();
        let before = ["after \"a\"", "after \"(\"", "after a token with \"(\""];
        assert_eq!(texts, [["token is \").\"", "token is \"(\"", "token has \")\""], before].concat());
        assert_eq!(line(&found[1]), "xx....");
        assert_eq!(line(&found[2]), "...x.x");
        assert_eq!(line(&found[4]), ".xx...");
    }
}
