//! Training a model: where its examples come from.

use crate::base::{Result, Task};

/// What one part of a training step reads, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// What the model reads; every row has the same length.
    pub ids: Vec<Vec<u32>>,
    /// What should come after each token: the next one, or an answer.
    pub targets: Vec<Vec<u32>>,
    /// How much the loss of each target counts, where they do not all count alike; 0 is not at all.
    pub counts: Option<Vec<Vec<f32>>>,
}

/// Examples without end, in an order that is the same every time.
pub trait Batches {
    /// The next `rows` rows.
    fn next(&mut self, rows: usize, task: &Task) -> Result<Examples>;

    /// Goes on as if `rows` rows had been read, for a training that is resumed.
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()>;
}
