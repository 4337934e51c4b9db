//! Gates and magnitudes of a feature, which share its directions, and the loss from which the gates learn (Rajamanoharan
//! et al. 2024a, equations 6 to 8).

use super::inputs::Inputs;
use super::reconstruct::{Residual, reconstruct};
use kernels::sparse::SparseRows;

/// The open gates of a batch.
pub struct Gates {
    /// Pre-activations of the open gates.
    pub open: SparseRows,
    /// Factor of each feature from the encoder's product to its magnitude.
    pub scales: Vec<f32>,
}

/// The residual of a target that the open gates leave by themselves, and its loss.
pub struct GatesLeft {
    pub left: Residual,
    /// Error of the gates' reconstruction, and the penalty.
    pub loss: f64,
}

impl Gates {
    pub fn of(open: SparseRows, inputs: &Inputs) -> Self {
        Self { open, scales: inputs.log_scale.unwrap_or_default().iter().map(|log| log.exp()).collect() }
    }

    /// Computes the codes: the magnitudes of features with an open gate, which may be 0.
    pub fn codes(&self, inputs: &Inputs) -> SparseRows {
        let gate = inputs.gate.unwrap_or_default();
        let bias = inputs.encoder_bias;
        let magnitude = |(open, column): (&f32, &u32)| {
            let feature = *column as usize;
            let size = (open - gate[feature]) * self.scales[feature] + bias[feature];
            // NaN stays NaN, so that the loss shows it.
            if size <= 0.0 { 0.0 } else { size }
        };
        let values = self.open.values.iter().zip(&self.open.columns).map(magnitude).collect();
        SparseRows { values, starts: self.open.starts.clone(), columns: self.open.columns.clone() }
    }

    /// Reconstructs the target by the gates alone, with fixed directions and bias, given the sparsity coefficient and
    /// `counts`, the weight of a squared error.
    pub fn reconstruct(&self, inputs: &Inputs, price: f64, counts: f64) -> GatesLeft {
        let mut left = reconstruct(
            inputs,
            inputs.whole,
            inputs.decoder_bias,
            &self.open,
            (-2.0 * counts) as f32,
            Residual::default(),
        );
        left.slopes.iter_mut().for_each(|slope| *slope += price as f32);
        let cost = self.open.values.iter().map(|open| f64::from(*open)).sum::<f64>() * price;
        GatesLeft { loss: left.squares * counts + cost, left }
    }

    /// Computes the gradient of the logarithms of the scales. The slopes of codes of 0 are removed here.
    pub fn gradient(&self, codes: &SparseRows, slopes: &mut [f32], inputs: &Inputs) -> Vec<f32> {
        let gate = inputs.gate.unwrap_or_default();
        let mut felt = vec![0f64; self.scales.len()];
        let codes = codes.values.iter().zip(&codes.columns).zip(&self.open.values);
        for (((code, column), open), slope) in codes.zip(slopes) {
            let feature = *column as usize;
            if *code == 0.0 {
                *slope = 0.0;
            }
            felt[feature] += f64::from(*slope * (open - gate[feature]) * self.scales[feature]);
        }
        felt.into_iter().map(|felt| felt as f32).collect()
    }
}
