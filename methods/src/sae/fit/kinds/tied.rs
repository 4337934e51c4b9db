//! `tied`: the normalised encoder rows are the directions; an L1 penalty (Cunningham et al. 2023, equations 1 to 4).

use serde::Serialize;
use serde_json::{Value, json};

use super::choice::{Choice, Cost};
use super::{DictionaryKind, Pass, Progress, l1_or_price, penalised};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::params::{Params, Shape};
use crate::tensor::{Tensor, elementwise};

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
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_tied(&self) -> bool {
        true
    }

    fn is_centred(&self) -> bool {
        false
    }

    fn check(&self, _shape: Shape) -> Result<()> {
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn target(&self) -> Option<f64> {
        self.target
    }

    fn seeks(&self) -> Option<Option<f64>> {
        self.target.map(|_| self.l1)
    }

    fn codes(&self, pass: &Pass) -> Result<Tensor> {
        elementwise::relu(pass.pre)
    }

    fn penalty(&self, _pass: &Pass, codes: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((codes.sum(1)?.mean(0)? * l1_or_price(self.l1))?))
    }

    fn choice(&self, _progress: Progress) -> Option<Choice<'_>> {
        Some(Choice::Positive { price: l1_or_price(self.l1), cost: Cost::Size })
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::Relu)
    }

    fn options(&self) -> Value {
        json!(self)
    }
}
