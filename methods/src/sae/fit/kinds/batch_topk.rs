//! `batch_topk`: the k x rows largest codes of all rows together; at inference a threshold, the running mean of the
//! smallest selected code (Bussmann et al. 2024).

use serde::Serialize;

use super::choice::CodeChoice;
use super::k_schedule::KSchedule;
use super::{DictionaryKind, FitProgress, KindPass, KindProperties};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::select::largest;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "batch_topk";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct BatchTopK {
        /// Mean number of codes in a row.
        k: usize = 0 => required();
        /// The k of the first step, from which it is annealed to `k`.
        k_start: Option<usize> = None => usually("`k`");
        /// Number of steps in which k is annealed.
        k_steps: Option<usize> = None => usually("a tenth of the steps");
    }
}

impl BatchTopK {
    fn schedule(&self) -> KSchedule {
        KSchedule { k: self.k, start: self.k_start, steps: self.k_steps }
    }
}

impl DictionaryKind for BatchTopK {
    fn properties(&self) -> KindProperties {
        KindProperties { needs_unit: true, ..KindProperties::of(NAME) }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        self.schedule().check(shape)
    }

    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        of_all_rows(pass.pre, self.schedule().at(pass.progress))
    }

    fn choice(&self, progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::LargestOfAll(self.schedule().at(progress)))
    }

    fn activation(&self, params: &Params, threshold: Option<f64>) -> Result<Activation> {
        threshold_for_all(params, threshold)
    }
}

/// Keeps the k x rows largest codes.
pub fn of_all_rows(pre: &Tensor, k: usize) -> Result<Tensor> {
    let codes = elementwise::relu(pre)?;
    let flat = codes.flatten_all()?.unsqueeze(0)?;
    let rows = pre.dims()[0];
    largest(&flat, &flat, k * rows)?.reshape(codes.dims()).map_err(Into::into)
}

/// Finds the smallest code above 0; 0 where there is none.
pub fn smallest(codes: &Tensor) -> Result<f64> {
    let all = crate::tensor::floats(&codes.detach())?;
    let smallest = all.into_iter().filter(|code| *code > 0.0).fold(f64::INFINITY, f64::min);
    Ok(if smallest.is_finite() { smallest } else { 0.0 })
}

/// Returns an activation function with one threshold for all features.
pub fn threshold_for_all(params: &Params, threshold: Option<f64>) -> Result<Activation> {
    let like = params.get(super::ParamName::EncoderBias)?.as_detached_tensor().zeros_like()?;
    Ok(Activation::Threshold((like + threshold.unwrap_or(0.0))?))
}
