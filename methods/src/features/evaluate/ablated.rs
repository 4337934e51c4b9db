//! Probes on activations from which features are removed: x' = x - sum over the features of c_f d_f, which leaves the
//! dictionary's error in place. The probe's score changes by its product with that sum, so x' is never computed.

use super::codes::TokenCodes;
use super::probing::{fitted, scores};
use super::questions::BalancedTokens;
use super::reading::{DictionaryCodes, KeptActivations};
use crate::common::*;
use crate::probes::Probe;
use crate::sae::Scaling;

/// A probe, and what each feature of a dictionary adds to its score with an activation of 1.
pub struct ProbeOnFeatures {
    products: Vec<f64>,
}

/// Returns the vectors that a dictionary writes with an activation of 1, before a normalisation of its input is undone.
pub fn written(coded: &DictionaryCodes) -> Result<Tensor> {
    let parts = coded.sae.parts();
    if !parts.rescaled {
        return Ok(parts.decoder.clone());
    }
    let norms = parts.decoder.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    Ok(parts.decoder.broadcast_div(&norms)?)
}

/// Returns the factor of the activations that a dictionary writes at each token: 1 for dictionaries that do not
/// normalise their input.
pub fn factors(coded: &DictionaryCodes, kept: &KeptActivations, tokens: &[u32]) -> Result<Vec<f64>> {
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    stretches(coded.sae.parts().scaling, &kept.tensor(tokens)?)
}

/// Returns the factors for activations `[n, d]` and a normalisation.
pub fn stretches(scaling: Scaling, x: &Tensor) -> Result<Vec<f64>> {
    let x = dtype::convert(x, DType::F64)?;
    let ones = Tensor::ones((x.dim(0)?, 1), DType::F64, x.device())?;
    floats(&scaling.of(&x)?.stretched(&ones)?)
}

/// Returns the weights of a probe for two classes.
pub fn weights(probe: &Probe) -> Vec<f64> {
    (0..probe.width).map(|column| probe.weights[(column, 0)]).collect()
}

impl ProbeOnFeatures {
    /// Multiplies directions `[features, d]` by a probe.
    pub fn of(directions: &Tensor, probe: &Probe) -> Result<Self> {
        let weights = weights(probe);
        let values = floats(&dtype::convert(directions, DType::F64)?)?;
        let product = |row: &[f64]| row.iter().zip(&weights).map(|(a, b)| a * b).sum();
        Ok(Self { products: values.chunks_exact(weights.len()).map(product).collect() })
    }

    /// Returns how much each feature separates the two sides of a sample through the probe: the difference of its mean
    /// activations, times what it adds.
    pub fn effects(&self, codes: &TokenCodes, sample: &BalancedTokens) -> Vec<f64> {
        let [without, with] = [false, true].map(|side| codes.means(sample.side(side)));
        let effect = |((with, without), product): ((&f64, &f64), &f64)| (with - without) * product;
        with.iter().zip(&without).zip(&self.products).map(effect).collect()
    }

    /// Returns the scores of tokens whose scores were `clean`, without some features.
    pub fn without(
        &self,
        clean: &[f64],
        codes: &TokenCodes,
        tokens: &[u32],
        factors: &[f64],
        out: &[bool],
    ) -> Vec<f64> {
        let score = |((clean, token), factor): ((&f64, &u32), &f64)| {
            let (features, codes) = codes.row(*token);
            let taken = features.iter().zip(codes).filter(|(feature, _)| out[**feature as usize]);
            clean
                - factor * taken.map(|(feature, code)| f64::from(*code) * self.products[*feature as usize]).sum::<f64>()
        };
        clean.iter().zip(tokens).zip(factors).map(score).collect()
    }
}

/// Returns the features with the `n` largest of some numbers, of those above 0.
pub fn largest(values: &[f64], n: usize) -> Vec<bool> {
    let mut ranked: Vec<usize> = (0..values.len()).filter(|feature| values[*feature] > 0.0).collect();
    order::sort_descending(&mut ranked, |feature| values[*feature]);
    let mut chosen = vec![false; values.len()];
    ranked.into_iter().take(n).for_each(|feature| chosen[feature] = true);
    chosen
}

/// Fits a probe on the activations of a sample, and returns it with its scores on those of another.
pub fn probe_on(
    kept: &KeptActivations,
    train: &BalancedTokens,
    test: &BalancedTokens,
    task: &Task,
) -> Result<(Probe, Vec<f64>)> {
    let probe = fitted(kept.matrix(&train.tokens)?.as_ref(), train, task)?;
    let said = scores(&probe, kept.matrix(&test.tokens)?.as_ref());
    Ok((probe, said))
}
