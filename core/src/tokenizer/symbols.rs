//! Joining the characters of a text into tokens, the neighbours with the highest score first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::base::{Result, Task};

/// Joins between two checks for an interruption.
const BETWEEN_CHECKS: usize = 1 << 12;

/// Memory for each character while its text is joined.
pub const BYTES_PER_CHARACTER: usize = size_of::<Symbol>() + 2 * size_of::<Join>();

/// A part of the spelling; joined ones are empty. Neighbours are indices of the list.
struct Symbol {
    start: usize,
    end: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// Two neighbours whose join is a token.
#[derive(Debug, Clone, Copy)]
struct Join {
    score: f32,
    left: usize,
    right: usize,
    /// Length of the join when it was found; if that has changed, one of the neighbours has been joined since.
    length: usize,
}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Join {}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Order of joins: the highest score is the greatest; of equal ones the leftmost. Zeros of either sign are equal.
impl Ord for Join {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal).then(other.left.cmp(&self.left))
    }
}

/// A text in parts.
pub struct Symbols<'a> {
    spelled: &'a str,
    list: Vec<Symbol>,
}

impl<'a> Symbols<'a> {
    /// Splits a spelling into one symbol for each character.
    pub fn new(spelled: &'a str) -> Self {
        let count = spelled.chars().count();
        let symbol = |(index, (start, letter)): (usize, (usize, char))| Symbol {
            start,
            end: start + letter.len_utf8(),
            before: index.checked_sub(1),
            after: Some(index + 1).filter(|after| *after < count),
        };
        Self { spelled, list: spelled.char_indices().enumerate().map(symbol).collect() }
    }

    /// Joins neighbours until no join is a token, in n log n steps. `score` has the score of a text that is a token.
    pub fn join(&mut self, score: impl Fn(&str) -> Option<f32>, task: &Task) -> Result<()> {
        let mut joins = BinaryHeap::new();
        for left in 0..self.list.len() {
            if left.is_multiple_of(BETWEEN_CHECKS) {
                task.check()?;
            }
            joins.extend(self.candidate(&score, Some(left)));
        }
        let mut steps = 0_usize;
        while let Some(join) = joins.pop() {
            steps += 1;
            if steps.is_multiple_of(BETWEEN_CHECKS) {
                task.check()?;
            }
            if self.make(join) {
                let before = self.list.get(join.left).and_then(|symbol| symbol.before);
                joins.extend(self.candidate(&score, before));
                joins.extend(self.candidate(&score, Some(join.left)));
            }
        }
        Ok(())
    }

    /// Returns the join of a symbol and the next one, if it is a token.
    fn candidate(&self, score: impl Fn(&str) -> Option<f32>, left: Option<usize>) -> Option<Join> {
        let left = left?;
        let (start, right) = self.list.get(left).map(|symbol| (symbol.start, symbol.after))?;
        let right = right?;
        let text = self.spelled.get(start..self.list.get(right)?.end)?;
        Some(Join { score: score(text)?, left, right, length: text.len() })
    }

    /// Joins the right one to the left one, unless either has changed since they were found.
    fn make(&mut self, join: Join) -> bool {
        let length = |index: usize| self.list.get(index).map_or(0, |symbol| symbol.end - symbol.start);
        let left = length(join.left);
        let right = length(join.right);
        if left == 0 || right == 0 || left + right != join.length {
            return false;
        }
        let Some(joined) = self.list.get_mut(join.right) else { return false };
        let end = joined.end;
        let after = joined.after;
        joined.start = end;
        if let Some(next) = after.and_then(|after| self.list.get_mut(after)) {
            next.before = Some(join.left);
        }
        if let Some(symbol) = self.list.get_mut(join.left) {
            symbol.end = end;
            symbol.after = after;
        }
        true
    }

    /// Iterates over the symbols that remain after all joins, in order.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        let ranges = self.list.iter().filter(|symbol| symbol.end > symbol.start);
        ranges.filter_map(|symbol| self.spelled.get(symbol.start..symbol.end))
    }
}
