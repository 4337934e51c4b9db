//! The parts of a filtered product, and the selection of its scores.

use pulp::Simd;

use crate::linear::rounded::Bf16Rows;

/// The smallest number above 0.
pub const ABOVE_ZERO: f32 = f32::from_bits(1);

/// The sizes of x `[rows, inner]` and of weights `[columns, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreSizes {
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
    pub sizes: ScoreSizes,
    /// The factors rounded to bf16, where these are multiplied in their place.
    pub rounded: Option<Bf16Factors<'a>>,
}

/// Factors of a product, rounded to bf16.
#[derive(Clone, Copy)]
pub struct Bf16Factors<'a> {
    pub x: &'a Bf16Rows,
    pub weights: &'a Bf16Rows,
}

/// The scores that are wanted; others need not be exact.
#[derive(Debug, Clone, Copy)]
pub enum WantedScores<'a> {
    /// The largest scores of each row, so many, and only those above 0.
    Largest(usize),
    /// The scores at or above a floor.
    From(AtLeast<'a>),
}

/// A receiver of scores that keeps some of them.
pub trait KeepScores: Send {
    /// Receives scores of a row of its part, for the columns from `first` on, without the bias.
    fn look<S: Simd>(&mut self, simd: S, row: usize, first: usize, scores: &mut [f32], bias: &[f32]);

    /// Receives scores of some columns of a row of its part, in order and with the bias.
    fn see(&mut self, row: usize, columns: &[u32], scores: &[f32]);

    /// Returns whether there are too many to continue.
    fn is_full(&self) -> bool {
        false
    }
}

/// The floor of scores that are kept regardless of their rank.
#[derive(Debug, Clone, Copy)]
pub enum AtLeast<'a> {
    /// 0, which scores must be above.
    Positive,
    /// A number, which scores may equal.
    Number(f32),
    /// A floor for each column, which scores may equal.
    Floors(&'a [f32]),
}

impl AtLeast<'_> {
    /// Returns the floor of a column.
    pub fn at(self, column: usize) -> f32 {
        match self {
            Self::Positive => ABOVE_ZERO,
            Self::Number(floor) => floor,
            Self::Floors(floors) => floors[column],
        }
    }
}
