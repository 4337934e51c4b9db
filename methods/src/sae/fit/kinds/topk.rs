//! `topk`: the k largest codes of each row (Gao et al. 2024).

use serde::Serialize;

use super::choice::CodeChoice;
use super::k_schedule::KSchedule;
use super::{DictionaryKind, FitProgress, KindPass, KindProperties};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::select::largest;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "topk";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct TopK {
        /// Number of codes in a row.
        k: usize = 0 => required();
        /// The k of the first step, from which it is annealed to `k`.
        k_start: Option<usize> = None => usually("`k`");
        /// Number of steps in which k is annealed.
        k_steps: Option<usize> = None => usually("a tenth of the steps");
    }
}

impl TopK {
    fn schedule(&self) -> KSchedule {
        KSchedule { k: self.k, start: self.k_start, steps: self.k_steps }
    }
}

impl DictionaryKind for TopK {
    fn properties(&self) -> KindProperties {
        KindProperties { needs_unit: true, ..KindProperties::of(NAME) }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        self.schedule().check(shape)
    }

    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        let codes = elementwise::relu(pass.pre)?;
        largest(&codes, &codes, self.schedule().at(pass.progress))
    }

    fn choice(&self, progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::LargestOfRows(self.schedule().at(progress)))
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::TopK(self.k))
    }
}
