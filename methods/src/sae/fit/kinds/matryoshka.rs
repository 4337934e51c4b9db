//! `matryoshka`: batch top-k with nested prefixes of features that each reconstruct by themselves (Bussmann et al.
//! 2025).

use serde::Serialize;

use super::batch_topk::{of_all_rows, threshold_for_all};
use super::choice::CodeChoice;
use super::k_schedule::KSchedule;
use super::{DictionaryKind, FitProgress, KindPass, KindProperties};
use crate::common::*;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};

pub const NAME: &str = "matryoshka";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct Matryoshka {
        /// Mean number of codes in a row.
        k: usize = 0 => required();
        /// The k of the first step, from which it is annealed to `k`.
        k_start: Option<usize> = None => usually("`k`");
        /// Number of steps in which k is annealed.
        k_steps: Option<usize> = None => usually("a tenth of the steps");
        /// Features in each prefix; the last has all of them.
        prefixes: Vec<usize> = Vec::new() => required();
        /// Weight of each prefix's error. (dictionary_learning divides by their number twice.)
        weights: Option<Vec<f64>> = None => usually("equal, with a sum of 1");
    }
}

impl Matryoshka {
    fn schedule(&self) -> KSchedule {
        KSchedule { k: self.k, start: self.k_start, steps: self.k_steps }
    }
}

impl DictionaryKind for Matryoshka {
    fn properties(&self) -> KindProperties {
        let alike = 1.0 / self.prefixes.len() as f64;
        // Weights of another number are refused by the check.
        let weight = |index: usize| match &self.weights {
            Some(weights) => weights.get(index).copied().unwrap_or_default(),
            None => alike,
        };
        let nested = self.prefixes.iter().enumerate().map(|(index, end)| (*end, weight(index))).collect();
        KindProperties { needs_unit: true, nested, ..KindProperties::of(NAME) }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        self.schedule().check(shape)?;
        let rises = self.prefixes.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises || self.prefixes.first() == Some(&0) || self.prefixes.last() != Some(&shape.d_sae) {
            return Err(err!(
                Argument,
                "expected increasing `prefixes` up to {}, the number of features, found {:?}",
                shape.d_sae,
                self.prefixes
            ));
        }
        let fit = |weights: &[f64]| {
            weights.len() == self.prefixes.len() && weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
        };
        if let Some(weights) = self.weights.as_ref().filter(|weights| !fit(weights)) {
            let count = self.prefixes.len();
            return Err(err!(Argument, "expected {count} numbers of at least 0 as `weights`, found {weights:?}"));
        }
        Ok(())
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
