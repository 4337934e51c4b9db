//! `tied`: the normalised encoder rows are the directions; an L1 penalty (Cunningham et al. 2023, equations 1 to 4).

use serde::Serialize;

use super::choice::{CodeChoice, Cost};
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, initial_coefficient, penalised};
use crate::base::Result;
use crate::sae::fit::params::DictionaryShape;
use crate::tensor::Tensor;

pub const NAME: &str = "tied";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct Tied {
        /// Weight of the L1 penalty, the mean over rows of the sum of codes.
        l1: Option<f64> = None => at_least(0.0);
        /// The L0 to reach: the coefficient is adapted during training, beginning at `l1` where that is given.
        target: Option<f64> = None => above(0.0);
    }
}

impl DictionaryKind for Tied {
    fn properties(&self) -> KindProperties {
        KindProperties {
            is_tied: true,
            is_centred: false,
            likes_unit: false,
            averages_errors: true,
            leaves_dead: true,
            ..KindProperties::penalised(NAME, self.l1, self.target)
        }
    }

    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn penalty(&self, _pass: &KindPass, codes: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((codes.sum(1)?.mean(0)? * initial_coefficient(self.l1))?))
    }

    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::Positive { price: initial_coefficient(self.l1), cost: Cost::Size })
    }
}
