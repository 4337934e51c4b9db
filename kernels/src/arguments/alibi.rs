//! Biases of scores by the position of the key.

use half::bf16;

/// Attention with linear biases (Press et al. 2022): to the scores of a head, its slope times the position of the key is
/// added. A softmax over keys sees from it how far each is, since it is the same with any constant added.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi {
    /// Slope of each head.
    pub slopes: Vec<f32>,
    /// The factor of the biases.
    pub factor: f32,
    /// Whether slopes, positions and biases are rounded to bf16 before the factor (Falcon).
    pub rounded: bool,
}

impl Alibi {
    /// Returns the slopes of a number of heads: a geometric sequence whose last term is 2^-most, and behind it, where the
    /// number is no power of two, every second term of the sequence for twice as many heads.
    pub fn slopes(heads: usize, most: f64) -> Vec<f32> {
        let whole = if heads == 0 { 0 } else { 1 << heads.ilog2() };
        let slope = |term: usize, terms: usize| (-most * term as f64 / terms as f64).exp2() as f32;
        let first = (1..=whole).map(|term| slope(term, whole));
        let more = (0..heads - whole).map(|at| slope(2 * at + 1, 2 * whole));
        first.chain(more).collect()
    }

    /// Returns the bias of a head's scores of a key at a position.
    pub fn bias(&self, head: usize, position: usize) -> f32 {
        let slope = self.slopes[head];
        let position = position as f32;
        if !self.rounded {
            return slope * position * self.factor;
        }
        let near = |x: f32| bf16::from_f32(x).to_f32();
        near(near(slope) * near(position)) * self.factor
    }
}
