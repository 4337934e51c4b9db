//! Training examples: rows of ids, and their targets.

use rand::seq::SliceRandom;

use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::err;

/// The examples of one part of a training step, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// The input ids; every row has the same length.
    pub ids: Vec<Vec<u32>>,
    /// The target at each token: the next one, or an answer.
    pub targets: Vec<Vec<u32>>,
    /// The weight of each target's loss, where weights differ; 0 masks it.
    pub counts: Option<Vec<Vec<f32>>>,
}

impl Examples {
    /// Makes examples of rows of a text, each a token longer than the input: the target of each token is the next one.
    pub fn next_tokens(rows: &[Vec<u32>]) -> Self {
        let ids = rows.iter().map(|row| row[..row.len().saturating_sub(1)].to_vec()).collect();
        let targets = rows.iter().map(|row| row.get(1..).unwrap_or_default().to_vec()).collect();
        Self { ids, targets, counts: None }
    }

    /// Returns the number of input tokens.
    pub fn tokens(&self) -> usize {
        self.ids.iter().map(Vec::len).sum()
    }

    /// Returns the sum of the weights.
    pub fn weight(&self) -> f64 {
        match &self.counts {
            None => self.tokens() as f64,
            Some(counts) => counts.iter().flatten().map(|count| f64::from(*count)).sum(),
        }
    }

    /// Splits the examples into parts of `rows` rows.
    pub fn parts(&self, rows: usize) -> impl Iterator<Item = Examples> + '_ {
        let rows = rows.max(1);
        (0..self.ids.len()).step_by(rows).map(move |start| {
            let end = (start + rows).min(self.ids.len());
            let counts = self.counts.as_ref().map(|counts| counts[start..end].to_vec());
            Examples { ids: self.ids[start..end].to_vec(), targets: self.targets[start..end].to_vec(), counts }
        })
    }

    /// Returns the number of tokens in the first row; there must be some.
    pub fn width(&self) -> Result<usize> {
        match self.ids.first().map_or(0, Vec::len) {
            0 => Err(err!(Shape, "expected rows of at least one token to train on, found none")),
            width => Ok(width),
        }
    }

    /// Refuses examples that are inconsistent, or do not fit the model.
    pub fn checked(self, vocab: usize, outputs: usize) -> Result<Self> {
        let width = self.width()?;
        let lengths = |rows: &[Vec<u32>]| rows.len() == self.ids.len() && rows.iter().all(|row| row.len() == width);
        let counted = self
            .counts
            .as_ref()
            .is_none_or(|counts| counts.len() == self.ids.len() && counts.iter().all(|row| row.len() == width));
        if !lengths(&self.ids) || !lengths(&self.targets) || !counted {
            return Err(err!(Shape, "expected ids, targets and mask of the same shape, [{}, {width}]", self.ids.len()));
        }
        let beyond = |rows: &[Vec<u32>], limit: usize| rows.iter().flatten().find(|id| **id as usize >= limit).copied();
        if let Some(id) = beyond(&self.ids, vocab) {
            return Err(err!(Index, "expected token ids below {vocab}, found {id}"));
        }
        if let Some(id) = beyond(&self.targets, outputs) {
            return Err(err!(Index, "expected targets below {outputs}, found {id}"));
        }
        let bad = |count: &&f32| !count.is_finite() || **count < 0.0;
        if let Some(count) = self.counts.iter().flatten().flatten().find(bad) {
            return Err(err!(Argument, "expected a mask of numbers of at least 0, found {count}"));
        }
        if self.weight() == 0.0 {
            return Err(err!(Argument, "no token counts: the mask is 0 everywhere"));
        }
        Ok(self)
    }
}

/// An endless stream of examples, in a reproducible order.
pub trait Batches {
    /// Returns the next `rows` rows.
    fn next(&mut self, rows: usize, task: &Task) -> Result<Examples>;

    /// Skips `rows` rows, for a training that resumes.
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()>;

    /// Returns a line that identifies the source of the rows.
    fn about(&self) -> String;
}

/// Rows in memory, shuffled in each epoch; in their own order where a batch has all of them.
pub struct Tables {
    all: Examples,
    seed: u64,
    read: u64,
    /// The order of the current epoch, and its number.
    order: Option<(u64, Vec<usize>)>,
}

/// Refuses a batch that does not fit into memory: `batch` may be any number.
pub fn room(rows: usize, context: usize) -> Result<()> {
    let row = 2 * (size_of::<Vec<u32>>() as u128 + context as u128 * size_of::<u32>() as u128);
    memory::check((rows as u128).saturating_mul(row), || format!("a pass of {rows} rows"))
}

impl Tables {
    pub fn new(all: Examples, seed: u64) -> Self {
        Self { all, seed, read: 0, order: None }
    }

    pub fn rows(&self) -> usize {
        self.all.ids.len()
    }

    fn take(&self, picked: &[usize]) -> Examples {
        let part = |rows: &[Vec<u32>]| picked.iter().map(|row| rows[*row].clone()).collect();
        let counts = self.all.counts.as_ref().map(|counts| picked.iter().map(|row| counts[*row].clone()).collect());
        Examples { ids: part(&self.all.ids), targets: part(&self.all.targets), counts }
    }

    fn at(&mut self, place: u64) -> usize {
        let count = self.rows() as u64;
        let round = place / count;
        let within = (place % count) as usize;
        match &self.order {
            Some((held, order)) if *held == round => order[within],
            _ => {
                let mut order: Vec<usize> = (0..self.rows()).collect();
                order.shuffle(&mut stream(self.seed, "rows of a table", round));
                let picked = order[within];
                self.order = Some((round, order));
                picked
            }
        }
    }
}

impl Batches for Tables {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Examples> {
        task.check()?;
        if rows == self.rows() {
            return Ok(self.all.clone());
        }
        room(rows, self.all.ids.first().map_or(0, Vec::len))?;
        let first = self.read;
        self.read += rows as u64;
        let picked: Vec<usize> = (first..self.read).map(|place| self.at(place)).collect();
        Ok(self.take(&picked))
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.read += rows;
        Ok(())
    }

    fn about(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        let mut add = |rows: &[Vec<u32>]| rows.iter().flatten().for_each(|id| hash.update(id.to_le_bytes()));
        add(&self.all.ids);
        add(&self.all.targets);
        let counts = self.all.counts.iter().flatten().flatten();
        counts.for_each(|count| hash.update(count.to_le_bytes()));
        let digest = crate::base::files::hex(&hash.finalize()[..8]);
        format!("{} rows given as tensors, {digest}, seed {}", self.rows(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u32) -> Tables {
        let ids: Vec<Vec<u32>> = (0..rows).map(|row| vec![row, row + 1]).collect();
        Tables::new(Examples { targets: ids.clone(), ids, counts: None }, 3)
    }

    #[test]
    fn a_pass_has_as_many_rows_as_there_is_memory_for() {
        let error = table(3).next(usize::MAX, &Task::default()).unwrap_err();
        assert_eq!(error.kind, crate::base::Kind::Memory, "{error}");
        assert_eq!(table(3).next(7, &Task::default()).unwrap().ids.len(), 7);
    }

    fn firsts(examples: &Examples) -> Vec<u32> {
        examples.ids.iter().map(|row| row[0]).collect()
    }

    #[test]
    fn every_row_comes_once_a_round_in_a_new_order() {
        let mut rows = table(7);
        let mut rounds: Vec<Vec<u32>> = Vec::new();
        for _ in 0..3 {
            let mut round = firsts(&rows.next(3, &Task::default()).unwrap());
            round.extend(firsts(&rows.next(4, &Task::default()).unwrap()));
            rounds.push(round);
        }
        assert_ne!(rounds[0], rounds[1]);
        for mut round in rounds {
            round.sort();
            assert_eq!(round, [0, 1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn skipping_is_reading_unseen() {
        let task = Task::default();
        let mut read = table(7);
        let mut skipped = table(7);
        read.next(5, &task).unwrap();
        read.next(6, &task).unwrap();
        skipped.skip(11, &task).unwrap();
        assert_eq!(read.next(5, &task).unwrap(), skipped.next(5, &task).unwrap());
        assert_eq!(firsts(&table(4).next(4, &task).unwrap()), [0, 1, 2, 3]);
    }

    #[test]
    fn examples_that_do_not_fit_are_refused() {
        let good = Examples { ids: vec![vec![1, 2]], targets: vec![vec![2, 3]], counts: Some(vec![vec![0.0, 1.0]]) };
        assert!(good.clone().checked(3, 4).is_ok());
        let said = |bad: Examples| bad.checked(3, 4).unwrap_err().to_string();
        assert!(said(Examples { targets: vec![vec![2, 4]], ..good.clone() }).contains("targets below 4, found 4"));
        assert!(said(Examples { ids: vec![vec![1, 3]], ..good.clone() }).contains("ids below 3, found 3"));
        assert!(said(Examples { targets: vec![vec![2]], ..good.clone() }).contains("same shape, [1, 2]"));
        assert!(said(Examples { counts: Some(vec![vec![0.0, 0.0]]), ..good.clone() }).contains("0 everywhere"));
        assert!(said(Examples { counts: Some(vec![vec![0.0, -1.0]]), ..good }).contains("found -1"));
    }

    #[test]
    fn the_next_token_is_the_target() {
        let made = Examples::next_tokens(&[vec![5, 6, 7]]);
        assert_eq!((made.ids, made.targets), (vec![vec![5, 6]], vec![vec![6, 7]]));
    }
}
