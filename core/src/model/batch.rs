//! Batches of token ids: rows of different lengths, padded on the right.

use crate::base::Result;
use crate::tensor::{Device, Tensor};
use crate::{bail, err};

/// Rows of token ids. Real positions never attend to the padding of shorter rows.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: Vec<Vec<u32>>,
    width: usize,
}

impl Batch {
    /// Makes a batch of rows, each of at least one token.
    pub fn new(rows: Vec<Vec<u32>>) -> Result<Self> {
        if rows.is_empty() {
            bail!(Argument, "expected at least one text, found none");
        }
        if let Some(empty) = rows.iter().position(Vec::is_empty) {
            return Err(err!(Argument, "expected at least one token in a text, found none in text {empty}")
                .hint("an empty text has no tokens; ask for one at the beginning with #{ bos: true }"));
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self { rows, width })
    }

    pub fn rows(&self) -> &[Vec<u32>] {
        &self.rows
    }

    /// Returns the row of a single text; refuses a batch of several.
    pub fn only_row(&self) -> Result<&[u32]> {
        match self.rows() {
            [row] => Ok(row),
            rows => Err(err!(Argument, "expected one text to read, found {}", rows.len()).about("x")),
        }
    }

    /// Splits the batch into smaller ones of at most `count` rows each.
    pub fn parts(&self, count: usize) -> impl Iterator<Item = Batch> + '_ {
        self.rows.chunks(count.max(1)).map(|rows| {
            let width = rows.iter().map(Vec::len).max().unwrap_or(0);
            Batch { rows: rows.to_vec(), width }
        })
    }

    /// Returns the length of the longest row.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(Vec::len).collect()
    }

    /// Returns the row and the column of each token, row by row.
    pub fn points(&self) -> Vec<(usize, usize)> {
        let of_row = |(row, ids): (usize, &Vec<u32>)| (0..ids.len()).map(move |column| (row, column));
        self.rows.iter().enumerate().flat_map(of_row).collect()
    }

    /// Returns the row and the column of the last token of each row, of which each has at least one.
    pub fn last_points(&self) -> Vec<(usize, usize)> {
        self.rows.iter().map(|row| row.len() - 1).enumerate().collect()
    }

    /// Returns whether the rows differ in length.
    pub fn is_ragged(&self) -> bool {
        self.rows.iter().any(|row| row.len() < self.width)
    }

    /// Returns the token ids as `[rows, width]`, padded with token 0.
    pub fn ids(&self, device: &Device) -> Result<Tensor> {
        let filled =
            self.rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, self.width - row.len())));
        Ok(Tensor::from_vec(filled.collect::<Vec<u32>>(), (self.rows.len(), self.width), device)?)
    }
}
