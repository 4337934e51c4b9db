//! `relu`: a decoder of its own and an L1 penalty (Bricken et al. 2023), weighted by the directions' lengths where asked
//! (Conerly et al. 2024).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Kind, Pass};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::fused::Choice;
use crate::sae::fit::params::Params;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "relu";

#[derive(Debug, Serialize, Deserialize)]
pub struct Relu {
    /// What the mean over rows of the sum of codes counts.
    pub l1: f64,
    /// Whether each code counts as much as its direction is long.
    #[serde(default)]
    pub weighted: bool,
}

impl Kind for Relu {
    fn name(&self) -> &'static str {
        NAME
    }

    /// At length 1 all directions would weigh the same.
    fn likes_unit(&self) -> bool {
        !self.weighted
    }

    fn codes(&self, pass: &Pass) -> Result<Tensor> {
        elementwise::relu(pass.pre)
    }

    fn penalty(&self, pass: &Pass, codes: &Tensor) -> Result<Option<Tensor>> {
        let codes = match self.weighted {
            true => codes.broadcast_mul(&pass.decoder.sqr()?.sum(1)?.sqrt()?)?,
            false => codes.clone(),
        };
        Ok(Some((codes.sum(1)?.mean(0)? * self.l1)?))
    }

    fn choice(&self) -> Option<Choice> {
        Some(Choice::Positive { l1: self.l1, weighted: self.weighted })
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::Relu)
    }

    fn options(&self) -> Value {
        json!(self)
    }
}
