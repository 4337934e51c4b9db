//! `tied`: the encoder's rows, at length 1, are the directions; an L1 penalty (Cunningham et al. 2023, equations 1 to 4).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Kind, Pass};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::fused::Choice;
use crate::sae::fit::params::Params;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "tied";

#[derive(Debug, Serialize, Deserialize)]
pub struct Tied {
    /// What the mean over rows of the sum of codes counts.
    pub l1: f64,
}

impl Kind for Tied {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_tied(&self) -> bool {
        true
    }

    fn is_centred(&self) -> bool {
        false
    }

    fn codes(&self, pass: &Pass) -> Result<Tensor> {
        elementwise::relu(pass.pre)
    }

    fn penalty(&self, _pass: &Pass, codes: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((codes.sum(1)?.mean(0)? * self.l1)?))
    }

    fn choice(&self) -> Option<Choice> {
        Some(Choice::Positive { l1: self.l1, weighted: false })
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::Relu)
    }

    fn options(&self) -> Value {
        json!(self)
    }
}
