//! The text that was read last. A key changes the end of a text, and only what is behind the first change is computed; on a
//! model of 270 million weights that is the most of the time.

use crate::model::decoder::Past;
use crate::model::site::Place;
use crate::sae::SparseCodes;
use crate::tensor::Tensor;

/// State that a pass over a text leaves for the next one.
pub struct LastRead {
    pub place: Place,
    pub ids: Vec<u32>,
    pub past: Past,
    /// The activations at the place: `[1, pos, width]`.
    pub activations: Tensor,
    /// The number of a dictionary of that place, and its codes.
    pub dictionary: usize,
    pub codes: SparseCodes,
    /// The loss of every token but the first.
    pub losses: Vec<f32>,
}

impl LastRead {
    /// Returns the number of columns that a text has in common with this one, but for the last of them, whose logits
    /// are asked for.
    pub fn shared(&self, ids: &[u32]) -> usize {
        self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count().saturating_sub(1)
    }
}
