//! `topk`: the k largest codes of each row (Gao et al. 2024).

use serde::Serialize;
use serde_json::{Value, json};

use super::choice::Choice;
use super::{DictionaryKind, Pass, Progress};
use crate::base::Result;
use crate::err;
use crate::sae::Activation;
use crate::sae::fit::params::{Params, Shape};
use crate::sae::select::largest;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "topk";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct TopK {
        /// Number of codes in a row.
        k: usize = 0 => required();
    }
}

impl DictionaryKind for TopK {
    fn name(&self) -> &'static str {
        NAME
    }

    fn needs_unit(&self) -> bool {
        true
    }

    fn check(&self, shape: Shape) -> Result<()> {
        few(self.k, shape)
    }

    fn codes(&self, pass: &Pass) -> Result<Tensor> {
        let codes = elementwise::relu(pass.pre)?;
        largest(&codes, &codes, self.k)
    }

    fn choice(&self, _progress: Progress) -> Option<Choice<'_>> {
        Some(Choice::LargestOfRows(self.k))
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::TopK(self.k))
    }

    fn options(&self) -> Value {
        json!(self)
    }
}

/// Refuses a k that no row of codes has.
pub fn few(k: usize, shape: Shape) -> Result<()> {
    if k == 0 || k > shape.d_sae {
        let features = shape.d_sae;
        return Err(err!(Argument, "expected `k` from 1 to {features}, the number of features, found {k}").about("k"));
    }
    Ok(())
}
