//! `matryoshka`: batch top-k with nested prefixes of features that each reconstruct by themselves (Bussmann et al.
//! 2025).

use serde::Serialize;
use serde_json::{Value, json};

use super::batch_topk::{of_all_rows, smallest, threshold_for_all};
use super::choice::CodeChoice;
use super::k_schedule::KSchedule;
use super::{DictionaryKind, FitProgress, KindPass};
use crate::base::Result;
use crate::err;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::tensor::{Tensor, device};

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
    fn name(&self) -> &'static str {
        NAME
    }

    fn needs_unit(&self) -> bool {
        true
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

    fn reconstructions(&self, pass: &KindPass, codes: &Tensor) -> Result<Vec<(Tensor, f64)>> {
        let mut found = Vec::new();
        let mut sum = None::<Tensor>;
        let mut start = 0;
        for (end, weight) in self.nested() {
            let codes = codes.narrow(1, start, end - start)?;
            let decoder = pass.decoder.narrow(0, start, end - start)?;
            let part = device::multipliable(&codes)?.matmul(&decoder)?;
            let next = match &sum {
                Some(sum) => (sum + part)?,
                None => part,
            };
            found.push((next.clone(), weight));
            sum = Some(next);
            start = end;
        }
        Ok(found)
    }

    fn smallest(&self, codes: &Tensor) -> Result<Option<f64>> {
        smallest(codes).map(Some)
    }

    fn choice(&self, progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::LargestOfAll(self.schedule().at(progress)))
    }

    fn activation(&self, params: &Params, threshold: Option<f64>) -> Result<Activation> {
        threshold_for_all(params, threshold)
    }

    fn nested(&self) -> Vec<(usize, f64)> {
        let alike = 1.0 / self.prefixes.len() as f64;
        let weight = |index: usize| self.weights.as_ref().map_or(alike, |weights| weights[index]);
        self.prefixes.iter().enumerate().map(|(index, end)| (*end, weight(index))).collect()
    }

    fn options(&self) -> Value {
        json!(self)
    }
}
