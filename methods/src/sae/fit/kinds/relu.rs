//! `relu`: an untied decoder and an L1 penalty (Bricken et al. 2023), optionally weighted by the norms of the
//! directions (Conerly et al. 2024).

use serde::Serialize;

use super::choice::{CodeChoice, Cost};
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, initial_coefficient, penalised};
use crate::base::Result;
use crate::sae::fit::params::DictionaryShape;
use crate::tensor::Tensor;

pub const NAME: &str = "relu";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct Relu {
        /// Weight of the L1 penalty, the mean over rows of the sum of codes.
        l1: Option<f64> = None => at_least(0.0);
        /// The L0 to reach: the coefficient is adapted during training, beginning at `l1` where that is given.
        target: Option<f64> = None => above(0.0);
        /// Whether each code is weighted by the norm of its direction.
        weighted: bool = false;
    }
}

impl DictionaryKind for Relu {
    fn properties(&self) -> KindProperties {
        // With directions of norm 1 the weights of the penalty would all be equal.
        KindProperties { likes_unit: !self.weighted, ..KindProperties::penalised(NAME, self.l1, self.target) }
    }

    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn penalty(&self, pass: &KindPass, codes: &Tensor) -> Result<Option<Tensor>> {
        let codes =
            if self.weighted { codes.broadcast_mul(&pass.decoder.sqr()?.sum(1)?.sqrt()?)? } else { codes.clone() };
        Ok(Some((codes.sum(1)?.mean(0)? * initial_coefficient(self.l1))?))
    }

    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        let cost = if self.weighted { Cost::Length } else { Cost::Size };
        Some(CodeChoice::Positive { price: initial_coefficient(self.l1), cost })
    }
}
