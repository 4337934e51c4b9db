//! JumpReLU's thresholds: the codes that they pass, and their gradients (Rajamanoharan et al. 2024b).

use crate::sae::fit::kinds::{Jump, SlopeEstimator};
use kernels::sparse::SparseRows;

/// The effect of thresholds on pre-activations.
pub struct ThresholdEffect {
    /// The penalty, and its derivative by the mean number of codes of a row.
    pub penalty: [f64; 2],
    /// Whether each kept pre-activation is near its threshold.
    is_near: Vec<bool>,
    /// Number of rows in which the penalty has a gradient for a feature's threshold, for each feature.
    feeling: Vec<f64>,
}

impl Jump {
    /// Returns the pre-activation of each feature below which none matters to it: a little below the range near its
    /// threshold.
    pub fn floors(&self, thresholds: &[f32]) -> Vec<f32> {
        let half = (self.bandwidth / 2.0) as f32;
        thresholds.iter().map(|threshold| threshold - half - 1e-5 * (half + threshold.abs())).collect()
    }

    /// Turns pre-activations, all that are not below their floors, into codes; those that are only near become 0.
    pub fn jump(&self, pre: &mut SparseRows, thresholds: &[f32]) -> ThresholdEffect {
        let half = (self.bandwidth / 2.0) as f32;
        let rows = pre.rows() as f64;
        let nears = |number: f32, threshold: f32| half > (number - threshold).abs();
        let mut fires = 0usize;
        let mut is_near = Vec::with_capacity(pre.values.len());
        // Rows that were not kept have a code of 0, which may be near, too.
        let at_zero = |threshold: &f32| f64::from(u8::from(nears(0.0, *threshold)));
        let mut feeling: Vec<f64> = match self.estimate {
            SlopeEstimator::Paper => vec![0.0; thresholds.len()],
            SlopeEstimator::DictionaryLearning => {
                thresholds.iter().map(|threshold| rows * at_zero(threshold)).collect()
            }
        };
        for (value, column) in pre.values.iter_mut().zip(&pre.columns) {
            let feature = *column as usize;
            let pre = *value;
            let threshold = thresholds[feature];
            // NaN stays NaN, so that the loss shows it.
            *value = if pre <= threshold || pre <= 0.0 { 0.0 } else { pre };
            fires += usize::from(pre > threshold);
            is_near.push(nears(pre, threshold));
            let felt = |is_felt: bool| f64::from(u8::from(is_felt));
            feeling[feature] += match self.estimate {
                SlopeEstimator::Paper => felt(nears(pre, threshold)),
                SlopeEstimator::DictionaryLearning => felt(nears(*value, threshold)) - at_zero(&threshold),
            };
        }
        ThresholdEffect { penalty: self.penalty(fires as f64 / rows), is_near, feeling }
    }

    fn penalty(&self, count: f64) -> [f64; 2] {
        let Some(target) = self.target else { return [self.l0 * count, self.l0] };
        let off = count / target - 1.0;
        [self.l0 * off * off, self.l0 * 2.0 * off / target]
    }

    /// Computes the gradient of thresholds. `slopes`: the derivative of the error by each code; those of zero codes are
    /// removed here, since only thresholds have that gradient. `weight`: the weight of the penalty.
    pub fn gradient(
        &self,
        jumped: &ThresholdEffect,
        codes: &SparseRows,
        slopes: &mut [f32],
        thresholds: &[f32],
        weight: f64,
    ) -> Vec<f32> {
        let mut felt = vec![0.0; thresholds.len()];
        for (index, column) in codes.columns.iter().enumerate() {
            if jumped.is_near[index] {
                felt[*column as usize] += f64::from(slopes[index]);
            }
            if codes.values[index] == 0.0 {
                slopes[index] = 0.0;
            }
        }
        let per_row = weight * jumped.penalty[1] / codes.rows() as f64;
        let gradient = |((threshold, felt), feeling): ((&f32, f64), &f64)| {
            (-(felt * f64::from(*threshold) + per_row * feeling) / self.bandwidth) as f32
        };
        thresholds.iter().zip(felt).zip(&jumped.feeling).map(gradient).collect()
    }
}
