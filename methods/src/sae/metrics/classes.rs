//! Classes of tokens by their text, so that losses can be grouped for every text and every vocabulary.

use crate::base::Result;
use crate::tokenizer::Tokenizer;

/// The classes, in the order of their numbers.
pub const CLASSES: [&str; 6] = ["word", "rest of a word", "number", "sign", "blank", "other"];

/// Returns the class of each token of a vocabulary.
pub fn classes(tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let class = |(id, _)| Ok(class_of(&tokenizer.text_of(id)?));
    tokenizer.vocab().iter().map(class).collect()
}

/// Classifies a token: "word" begins one; letters after a space; letters without one continue a word, or begin one
/// after punctuation. What is neither a letter, a digit, punctuation nor white space, such as a part of a character, is
/// "other".
fn class_of(text: &str) -> u32 {
    let trimmed = text.trim_start();
    match trimmed.chars().next() {
        None => 4,
        Some(first) if first.is_alphabetic() => u32::from(trimmed.len() == text.len()),
        Some(first) if first.is_numeric() => 2,
        Some(first) if first.is_control() || first == char::REPLACEMENT_CHARACTER => 5,
        Some(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_classed_by_their_first_sign() {
        let of = |text: &str| CLASSES[class_of(text) as usize];
        let found = [" the", "ing", " Über", "42", " 7th", "(", ").", "\n\n", "", "\u{fffd}"].map(of);
        let expected =
            ["word", "rest of a word", "word", "number", "number", "sign", "sign", "blank", "blank", "other"];
        assert_eq!(found, expected);
    }
}
