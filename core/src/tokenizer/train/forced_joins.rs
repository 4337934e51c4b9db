//! Tokens that exist whatever the texts are: groups of digits, and marks of several bytes.
//!
//! Their joins come before the learned ones. During training each of these tokens is one private letter, so that BPE
//! learns from pieces in which the joins have been made.

use super::super::alphabet;
use super::TokenizerOptions;
use crate::common::*;

/// Letters for private use, which no byte is written as.
const LETTERS: std::ops::RangeInclusive<u32> = 0xE000..=0xF8FF;

#[derive(Default)]
pub struct ForcedJoins {
    /// Two letters and their join, in the order of the joins.
    joins: Vec<(char, char, char)>,
    /// The spelling of each private letter, in letters of bytes.
    spellings: Vec<String>,
}

impl ForcedJoins {
    pub fn new(options: &TokenizerOptions) -> Result<Self> {
        let mut forced = Self::default();
        let most = options.digits.unwrap_or(0);
        for digits in (2..=most).flat_map(groups) {
            for at in 1..digits.len() {
                let (left, right) = digits.split_at(at);
                forced.join(left, right)?;
            }
        }
        // A space joins the whole group after it, so that numbers are split alike with and without one.
        let space = alphabet::letter(b' ').to_string();
        for digits in (1..=most).rev().flat_map(groups) {
            forced.join(&space, &digits)?;
        }
        for mark in options.apart.chars() {
            let spelling: Vec<String> =
                mark.to_string().bytes().map(|byte| alphabet::letter(byte).to_string()).collect();
            for length in 1..spelling.len() {
                if let Some((last, before)) = spelling.get(..=length).and_then(|all| all.split_last()) {
                    forced.join(&before.concat(), last)?;
                }
            }
        }
        Ok(forced)
    }

    /// Iterates over the private letters.
    pub fn letters(&self) -> impl Iterator<Item = char> {
        LETTERS.filter_map(char::from_u32).take(self.spellings.len())
    }

    /// Returns the number of joins: the maximum number of tokens before the learned ones.
    pub fn tokens(&self) -> usize {
        self.spellings.len()
    }

    /// Applies all joins to a piece, in the order of the list.
    pub fn apply(&self, piece: &str) -> String {
        let mut piece = piece.to_string();
        for (left, right, joined) in &self.joins {
            if piece.contains(*left) {
                piece = piece.replace(&format!("{left}{right}"), &joined.to_string());
            }
        }
        piece
    }

    /// Writes a token in letters of bytes.
    pub fn spelled(&self, token: &str) -> String {
        token.chars().map(|letter| self.spelling(letter)).collect()
    }

    /// Iterates over the joins in letters of bytes.
    pub fn merges(&self) -> impl Iterator<Item = (String, String)> {
        self.joins.iter().map(|(left, right, _)| (self.spelling(*left), self.spelling(*right)))
    }

    fn join(&mut self, left: &str, right: &str) -> Result<()> {
        let (Some(left_letter), Some(right_letter)) = (self.letter(left), self.letter(right)) else {
            bail!(Bug, "a join of `{left}` and `{right}` before these are there");
        };
        let spelling = format!("{left}{right}");
        let joined = match self.letter(&spelling) {
            Some(letter) => letter,
            None => {
                let next = *LETTERS.start() + self.spellings.len() as u32;
                let Some(letter) = char::from_u32(next).filter(|_| LETTERS.contains(&next)) else {
                    bail!(Argument, "expected at most {} marks in `apart`, found more", LETTERS.count());
                };
                self.spellings.push(spelling);
                letter
            }
        };
        let join = (left_letter, right_letter, joined);
        if !self.joins.contains(&join) {
            self.joins.push(join);
        }
        Ok(())
    }

    /// Finds the letter with this spelling.
    fn letter(&self, spelling: &str) -> Option<char> {
        let mut letters = spelling.chars();
        match (letters.next(), letters.next()) {
            (Some(only), None) => Some(only),
            _ => {
                let at = self.spellings.iter().position(|other| other == spelling)?;
                char::from_u32(LETTERS.start() + at as u32)
            }
        }
    }

    fn spelling(&self, letter: char) -> String {
        let at = (letter as u32).checked_sub(*LETTERS.start());
        at.and_then(|at| self.spellings.get(at as usize)).cloned().unwrap_or_else(|| letter.to_string())
    }
}

/// Lists all groups of that many digits.
fn groups(length: usize) -> impl Iterator<Item = String> {
    (0..10_usize.pow(length as u32)).map(move |number| format!("{number:0length$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forced(digits: usize, apart: &str) -> ForcedJoins {
        ForcedJoins::new(&TokenizerOptions { digits: Some(digits), apart: apart.into(), ..TokenizerOptions::default() })
            .unwrap()
    }

    #[test]
    fn groups_of_digits_become_one_letter_and_are_spelled_again() {
        let pairs = forced(2, "(’”");
        // A hundred pairs, and they and ten digits after a space; E2 80, E2 80 99, E2 80 9D. A mark of one byte needs
        // no join.
        assert_eq!(pairs.tokens(), 213);
        assert_eq!(pairs.apply("Ġ19").chars().count(), 1);
        assert_eq!(pairs.apply("Ġ7").chars().count(), 1);
        assert_eq!(pairs.spelled(&pairs.apply("Ġ19")), "Ġ19");
        assert_eq!(pairs.apply("7"), "7");
        let quote: String = "’".bytes().map(alphabet::letter).collect();
        assert_eq!(pairs.apply(&quote).chars().count(), 1);
        assert_eq!(pairs.merges().next().unwrap(), ("0".to_string(), "0".to_string()));
        let triples = forced(3, "");
        assert_eq!(triples.tokens(), 2210);
        for number in ["198", "981", "000", "Ġ909", "Ġ12"] {
            assert_eq!(triples.apply(number).chars().count(), 1, "{number}");
        }
    }
}
