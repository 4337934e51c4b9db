//! What a filtered product is made of, and which of its scores are wanted.

use pulp::Simd;

/// The smallest number above 0.
pub const ABOVE_ZERO: f32 = f32::from_bits(1);

/// The sizes of x `[rows, inner]` and of weights `[columns, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub rows: usize,
    pub inner: usize,
    pub columns: usize,
}

/// x W^T + bias.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    pub x: &'a [f32],
    pub weights: &'a [f32],
    /// One number for each column.
    pub bias: &'a [f32],
    pub sizes: Sizes,
}

/// Which scores are wanted; others need not be exact.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// This many of the largest of each row, those above 0.
    Largest(usize),
    /// Those at or above a floor.
    From(AtLeast<'a>),
}

/// Receives scores and keeps some of them.
pub trait KeepScores: Send {
    /// Receives scores of a row of its part, those of the columns from `first` on, without the bias.
    fn look<S: Simd>(&mut self, simd: S, row: usize, first: usize, scores: &mut [f32], bias: &[f32]);

    /// Receives scores of some columns of a row of its part, in order and with the bias.
    fn see(&mut self, row: usize, columns: &[u32], scores: &[f32]);

    /// Whether there are too many to continue.
    fn is_full(&self) -> bool {
        false
    }
}

/// The floor of scores that are kept regardless of their rank.
#[derive(Debug, Clone, Copy)]
pub enum AtLeast<'a> {
    /// Those above 0.
    Positive,
    /// Those at or above a number.
    Number(f32),
    /// Those at or above a floor for each column.
    Floors(&'a [f32]),
}

impl AtLeast<'_> {
    /// Of a column.
    pub fn at(self, column: usize) -> f32 {
        match self {
            Self::Positive => ABOVE_ZERO,
            Self::Number(floor) => floor,
            Self::Floors(floors) => floors[column],
        }
    }
}
