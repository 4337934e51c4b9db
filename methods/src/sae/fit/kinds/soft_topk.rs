//! `soft_topk`: the largest codes of each row, as many as an estimator learns for the row (SoftSAE; Stępień et al. 2026, arXiv
//! 2605.06610).
//!
//! In training the codes are those above 0, times the weights of a soft top-k, through which the estimator learns; the last
//! steps and the trained dictionary keep the largest. The authors' rows have a mean square norm of 1, where those of a fit
//! have d: the estimator and the scale of the weights are for theirs. Where theirs fit for 240,000 steps and end at a scale of
//! 1e-4, fits of hundreds of steps explain more at 0.01 and with more hard steps, in which, unlike theirs, the encoder learns on.

use serde::Serialize;

use super::k_schedule::few;
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, ParamName};
use crate::common::*;
use crate::sae::Activation;
use crate::sae::codes::{centred, pre};
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::formats::architecture::{
    ActivationRule, Architecture, Centring, DictionaryPart, Format, TensorLine, joined, line, row, turned,
};
use crate::sae::parts::activation::{ActivationFunction, ActivationPart, OtherActivation};
use crate::sae::select::largest_by_row;
use crate::sae::soft_topk::weights;
use crate::tensor::{create, dtype, elementwise};

pub const NAME: &str = "soft_topk";

const ENCODER: ParamName = ParamName::Own("k_encoder");
const BIAS: ParamName = ParamName::Own("k_bias");
const WEIGHT: ParamName = ParamName::Own("k_weight");
const LOGIT: ParamName = ParamName::Own("k_logit");

/// The scale of the weights' distribution in the first step.
const ALPHA_START: f64 = 1.0;
/// The sharpness of the penalty's bend at the wanted k, in the authors' code.
const SHARPNESS: f64 = 5.0;

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct SoftTopK {
        /// Mean number of codes in a row, above which the estimates of their number are penalised.
        k: usize = 0 => required();
        /// The most codes that the estimator may give a row.
        k_max: Option<usize> = None => usually("twice `k`");
        /// Weight of the penalty on estimates whose mean is above `k`, relative to `k`; that of the authors is `k`.
        k_weight: f64 = 1.0 => at_least(0.0);
        /// Scale of the Laplace distribution of the soft top-k in the end, relative to the norm of rows; it begins at 1.
        alpha: f64 = 0.01 => above(0.0);
        /// Number of steps in which that scale falls to `alpha`.
        alpha_steps: Option<usize> = None => usually("a tenth of the steps");
        /// Number of last steps that keep the largest codes, as the trained dictionary does, and leave the estimator as it is.
        hard_steps: Option<usize> = None => usually("a fifth of the steps");
    }
}

impl SoftTopK {
    /// Returns the limit of the estimates for this many features.
    fn most(&self, d_sae: usize) -> usize {
        self.k_max.unwrap_or(self.k.saturating_mul(2).min(d_sae))
    }

    /// Returns the scale of the weights' distribution in a step, for rows of norm 1.
    fn alpha_at(&self, progress: FitProgress) -> f64 {
        let steps = self.alpha_steps.map_or(progress.steps / 10, |steps| steps as u64).max(1);
        let share = (progress.step as f64 / steps as f64).min(1.0);
        ALPHA_START * (1.0 - share) + self.alpha * share
    }

    fn is_hard(&self, progress: FitProgress) -> bool {
        let last = self.hard_steps.map_or(progress.steps / 5, |steps| steps as u64);
        progress.steps.saturating_sub(progress.step) <= last
    }

    /// Returns the activation function of fitted weights for the rows of a fit. Weights of hidden units are relative to
    /// 1 / sqrt(d_sae): where each of them moves by a learning rate, the estimate changes by no more in a wide dictionary.
    fn counted(&self, params: &Params, part: impl Fn(ParamName) -> Result<Tensor>) -> Result<OtherActivation> {
        let (d_sae, d_in) = params.get(ENCODER)?.dims2()?;
        let encoder = (part(ENCODER)? / (d_in as f64).sqrt())?;
        let bias = part(BIAS)?;
        let weight = (part(WEIGHT)? / (d_sae as f64).sqrt())?;
        let tensors = vec![encoder, bias, weight, part(LOGIT)?];
        Ok(OtherActivation { function: &COUNTED, tensors, k: Some(self.most(d_sae)) })
    }

    /// Estimates the number of codes of each row, `[rows, 1]`, once in a step.
    fn counts(&self, pass: &KindPass) -> Result<Tensor> {
        if let Some(counts) = pass.counts.get() {
            return Ok(counts.clone());
        }
        let part = |name| Ok::<_, Error>(pass.params.get(name)?.as_tensor().clone());
        let counts = estimate(&self.counted(pass.params, part)?, pass.x)?;
        Ok(pass.counts.get_or_init(|| counts).clone())
    }
}

impl DictionaryKind for SoftTopK {
    fn properties(&self) -> KindProperties {
        KindProperties { needs_unit: true, only_reconstructs: true, ..KindProperties::of(NAME) }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        few(self.k, shape)?;
        let DictionaryShape { d_sae, .. } = shape;
        let k = self.k;
        match self.k_max {
            Some(most) if !(k..=d_sae).contains(&most) => {
                Err(err!(Argument, "expected `k_max` from {k}, the k, to {d_sae}, the features, found {most}")
                    .about("k_max"))
            }
            _ => Ok(()),
        }
    }

    /// Makes an estimator that begins as the encoder, and says the same of every row.
    fn own_weights(&self, encoder: &Tensor) -> Result<Vec<(ParamName, Tensor)>> {
        let d_sae = encoder.dims2()?.0;
        let zeros = |width: usize| create::zeros(&[width], DType::F32);
        Ok(vec![(ENCODER, encoder.clone()), (BIAS, zeros(d_sae)?), (WEIGHT, zeros(d_sae)?), (LOGIT, zeros(1)?)])
    }

    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        let codes = elementwise::relu(pass.pre)?;
        let counts = self.counts(pass)?;
        let (d_sae, d_in) = pass.params.get(ENCODER)?.dims2()?;
        if self.is_hard(pass.progress) {
            return largest_by_row(&codes, &counts, self.most(d_sae));
        }
        let alpha = self.alpha_at(pass.progress) * (d_in as f64).sqrt();
        Ok(codes.mul(&weights(&codes, &counts, alpha)?)?)
    }

    /// Computes the penalty of the authors' code, softplus(mean of the estimates - k), over k: what a code explains falls with
    /// their number, and a penalty that falls alike has no larger gradients than the error, with which it is clipped.
    fn penalty(&self, pass: &KindPass, _codes: &Tensor) -> Result<Option<Tensor>> {
        if self.is_hard(pass.progress) {
            return Ok(None);
        }
        let above = (self.counts(pass)?.mean_all()? - self.k as f64)?;
        let bent = (elementwise::softplus(&(above * SHARPNESS)?)? / SHARPNESS)?;
        Ok(Some((bent * (self.k_weight / self.k as f64))?))
    }

    fn activation(&self, params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        let part = |name| Ok::<_, Error>(params.get(name)?.as_detached_tensor());
        Ok(Activation::Other(self.counted(params, part)?))
    }
}

/// The largest of each row, those above 0, as many as an estimator says of the row, at least 1:
/// k sigmoid(k_weight . relu(k_encoder x + k_bias) + k_logit).
pub const COUNTED: ActivationFunction = ActivationFunction {
    name: NAME,
    in_words: "it estimates the number of its codes for each row",
    tensors: &[
        ("k_encoder", ActivationPart::Rows),
        ("k_bias", ActivationPart::Factor),
        ("k_weight", ActivationPart::Factor),
        ("k_logit", ActivationPart::Single),
    ],
    needs_k: true,
    reads_directions: false,
    codes: |own, parts, x| {
        let codes = elementwise::relu(&pre(parts, x)?)?;
        largest_by_row(&codes, &estimate(own, &centred(parts, x)?)?, own.k.unwrap_or_default())
    },
    estimate: Some(estimate),
    check: None,
    untunable: None,
};

/// Estimates the number of codes of each row, as a number that need not be whole: `[.., 1]`, in f32 but for f64.
fn estimate(own: &OtherActivation, x: &Tensor) -> Result<Tensor> {
    let ([encoder, bias, weight, logit], Some(most)) = (own.tensors.as_slice(), own.k) else {
        return Err(err!(Bug, "an estimator without its numbers"));
    };
    let hidden = elementwise::relu(&kernels::linear(x, encoder, Some(bias))?)?;
    // A narrow dtype would round whole numbers above 256.
    let wide = if hidden.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let [hidden, weight, logit] = [&hidden, weight, logit].map(|t| dtype::convert(t, wide));
    let logit = kernels::linear(&hidden?, &weight?.unsqueeze(0)?, Some(&logit?))?;
    Ok((elementwise::sigmoid(&logit)? * most as f64)?.maximum(1.0)?)
}

/// The lines of SoftSAE (Stępień et al. 2026), in the authors' copy of dictionary_learning: github.com/St0pien/SoftSAE.
const SOFT: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
    line(DictionaryPart::DecoderBias, "b_dec"),
    line(DictionaryPart::Own("k_encoder", ActivationPart::Rows), "k_estimator.0.weight"),
    line(DictionaryPart::Own("k_bias", ActivationPart::Factor), "k_estimator.0.bias"),
    TensorLine {
        is_row: true,
        ..line(DictionaryPart::Own("k_weight", ActivationPart::Factor), "k_estimator.2.weight")
    },
    line(DictionaryPart::Own("k_logit", ActivationPart::Single), "k_estimator.2.bias"),
    line(DictionaryPart::K, "k"),
    line(DictionaryPart::Most, "k_max"),
    // At the end of the authors' trainings it is 1e-4.
    line(DictionaryPart::OfTraining { key: "soft_topk_alpha", usual: 1e-4 }, "alpha"),
    line(DictionaryPart::Divisor, "norm_factor"),
];
const SOFT_SHIFTED: &[TensorLine] = &joined::<13>(SOFT, &[line(DictionaryPart::Shift, "shift_factor")]);

/// Architectures of the authors; the second is for images.
pub const ARCHITECTURES: &[Architecture] = &[
    row(Format::DictionaryLearning, "SoftSAE", NAME, ActivationRule::Other(NAME), Centring::Always, SOFT),
    row(Format::DictionaryLearning, "SoftTopKSAE", NAME, ActivationRule::Other(NAME), Centring::Always, SOFT_SHIFTED),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> FitProgress<'static> {
        FitProgress { step, steps: 100, memory: &[] }
    }

    #[test]
    fn the_scale_falls_and_the_last_steps_are_hard() {
        let kind = SoftTopK { k: 4, alpha: 0.1, ..SoftTopK::default() };
        assert_eq!([0, 5, 10, 90].map(|step| kind.alpha_at(at(step))), [1.0, 0.5 + 0.1 * 0.5, 0.1, 0.1]);
        assert_eq!([0, 79, 80, 99].map(|step| kind.is_hard(at(step))), [false, false, true, true]);
        let other = SoftTopK { alpha_steps: Some(0), hard_steps: Some(0), ..kind };
        assert_eq!([other.alpha_at(at(0)), other.alpha_at(at(1))], [1.0, 0.1]);
        assert!(!other.is_hard(at(99)));
        assert!(SoftTopK { hard_steps: Some(usize::MAX), ..other }.is_hard(at(0)));
    }

    #[test]
    fn limits_that_no_row_has_are_refused() {
        let shape = DictionaryShape { d_in: 4, d_sae: 60, d_out: 4 };
        let check = |k, k_max| SoftTopK { k, k_max, ..SoftTopK::default() }.check(shape);
        assert!(check(10, None).is_ok() && check(60, None).is_ok() && check(10, Some(60)).is_ok());
        for (k, k_max, name) in
            [(0, None, "k"), (usize::MAX, None, "k"), (10, Some(9), "k_max"), (10, Some(61), "k_max")]
        {
            assert_eq!(check(k, k_max).unwrap_err().about.as_deref(), Some(name));
        }
        assert_eq!(SoftTopK { k: 40, ..SoftTopK::default() }.most(60), 60);
    }

    #[test]
    fn an_estimate_lies_between_one_and_its_limit() {
        let ones = |dims: &[usize]| Tensor::ones(dims, DType::F32, &Device::Cpu).unwrap();
        let x = Tensor::new(&[[[1.0_f32, -1.0]]], &Device::Cpu).unwrap();
        let found = |logit: f32| {
            let logit = Tensor::new(&[logit], &Device::Cpu).unwrap();
            let tensors = vec![ones(&[4, 2]), ones(&[4]), (ones(&[4]) * 0.25).unwrap(), logit];
            let own = OtherActivation { function: &COUNTED, tensors, k: Some(6) };
            estimate(&own, &x).unwrap().to_vec3::<f32>().unwrap()[0][0][0]
        };
        // The hidden units are 1 each: 6 sigmoid(1 + logit).
        assert_eq!(found(-1.0), 3.0);
        assert!((found(0.0) - 6.0 / (1.0 + (-1f32).exp())).abs() < 1e-5);
        assert_eq!([found(-100.0), found(100.0)], [1.0, 6.0]);
    }
}
