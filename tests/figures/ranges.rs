//! Sentences with numbers, said once for each seed, as one sentence with ranges.

/// A word, or a number or range with what stands around it.
#[derive(Debug, Clone, PartialEq)]
enum SentencePiece {
    Word(String),
    Number { before: String, low: String, high: String, after: String },
}

fn value(digits: &str) -> f64 {
    digits.parse().unwrap_or(f64::NAN)
}

/// A word as a number: what is before it, its digits, and what is behind it.
fn number(word: &str) -> Option<(&str, &str, &str)> {
    let inner = word.trim_start_matches(['(', '[']);
    let digits = inner.trim_end_matches([',', ';', ':', '.', ')', ']', '%', '!']);
    let before = &word[..word.len() - inner.len()];
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '-') && digits.parse::<f64>().is_ok();
    is_number.then(|| (before, digits, &inner[digits.len()..]))
}

fn pieces(sentence: &str) -> Vec<SentencePiece> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let second = |(_, _, after): &(&str, &str, &str)| match (*after, words.get(at + 1), words.get(at + 2)) {
            ("", Some(&"to"), Some(word)) => number(word).filter(|(before, ..)| before.is_empty()),
            _ => None,
        };
        match number(words[at]) {
            Some(first) => {
                let (before, low, after) = first;
                let (high, after, length) = second(&first).map_or((low, after, 1), |(_, high, after)| (high, after, 3));
                let [before, low, high, after] = [before, low, high, after].map(String::from);
                found.push(SentencePiece::Number { before, low, high, after });
                at += length;
            }
            None => {
                found.push(SentencePiece::Word(words[at].into()));
                at += 1;
            }
        }
    }
    found
}

fn sentence(pieces: &[SentencePiece]) -> String {
    let text = |piece: &SentencePiece| match piece {
        SentencePiece::Word(word) => word.clone(),
        SentencePiece::Number { before, low, high, after } if low == high => format!("{before}{low}{after}"),
        SentencePiece::Number { before, low, high, after } => format!("{before}{low} to {high}{after}"),
    };
    pieces.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn both(a: &SentencePiece, b: &SentencePiece) -> Option<SentencePiece> {
    match (a, b) {
        (SentencePiece::Word(a), SentencePiece::Word(b)) => (a == b).then(|| SentencePiece::Word(a.clone())),
        (
            SentencePiece::Number { before, low, high, after },
            SentencePiece::Number { before: b, low: l, high: h, after: f },
        ) => {
            let least = if value(l) < value(low) { l } else { low };
            let most = if value(h) > value(high) { h } else { high };
            let [before, least, most, after] = [before, least, most, after].map(String::clone);
            (before == *b && after == *f).then_some(SentencePiece::Number { before, low: least, high: most, after })
        }
        _ => None,
    }
}

/// One sentence with the range of each number, if the sentences differ in numbers only.
pub fn merged(sentences: &[&str]) -> Option<String> {
    let mut all = sentences.iter().map(|sentence| pieces(sentence));
    let first = all.next()?;
    let one = all.try_fold(first, |so_far, next| {
        let pairs = so_far.iter().zip(&next).map(|(a, b)| both(a, b)).collect::<Option<Vec<_>>>();
        pairs.filter(|_| so_far.len() == next.len())
    })?;
    Some(sentence(&one))
}

/// Whether every number of `one` is within the range that `shown` has in its place.
pub fn is_within(one: &str, shown: &str) -> bool {
    let inside = |one: &SentencePiece, shown: &SentencePiece| both(one, shown).is_some_and(|both| both == *shown);
    let one = pieces(one);
    let shown = pieces(shown);
    one.len() == shown.len() && one.iter().zip(&shown).all(|(one, shown)| inside(one, shown))
}

/// The number that stands at `#` in a pattern, in the first sentence that has it.
pub fn at(pattern: &str, sentences: &[&str]) -> Option<String> {
    let (before, after) = pattern.split_once('#')?;
    sentences.iter().find_map(|sentence| {
        let (_, rest) = sentence.split_once(before)?;
        let word = rest.split(' ').next()?;
        let (_, digits, _) = number(word)?;
        rest.split_once(digits).filter(|(_, behind)| behind.starts_with(after)).map(|_| digits.to_string())
    })
}
