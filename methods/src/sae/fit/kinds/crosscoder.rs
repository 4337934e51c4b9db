//! `crosscoder`: one set of codes for several sites, each of which has a part of the directions; the penalty of a code
//! is weighted by the sum of the norms of these parts (Lindsey et al. 2024).

use std::sync::Arc;

use serde::Serialize;

use super::choice::{CodeChoice, Cost};
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, initial_coefficient, penalised};
use crate::common::*;
use crate::sae::fit::params::DictionaryShape;

pub const NAME: &str = "crosscoder";

/// Name of the option for the widths of the parts.
pub const WIDTHS: &str = "widths";

/// Minimum squared norm of a part in its gradient.
const SHORTEST: f64 = 1e-16;

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct Crosscoder {
        /// Weight of the L1 penalty, each code times the norms of its direction's parts.
        l1: Option<f64> = None => at_least(0.0);
        /// The L0 to reach: the coefficient is adapted during training, beginning at `l1` where that is given.
        target: Option<f64> = None => above(0.0);
        /// The widths of the parts, one for each site.
        widths: Vec<usize> = Vec::new() => required();
    }
}

impl Crosscoder {
    /// Computes for each feature the sum of the norms of its parts: `[d_sae]`.
    fn lengths(&self, decoder: &Tensor) -> Result<Tensor> {
        let mut sum = Tensor::zeros(decoder.dims()[0], decoder.dtype(), decoder.device())?;
        let mut start = 0;
        for width in &self.widths {
            let part = decoder.narrow(1, start, *width)?;
            sum = (sum + part.sqr()?.sum(1)?.maximum(SHORTEST)?.sqrt()?)?;
            start += width;
        }
        Ok(sum)
    }
}

impl DictionaryKind for Crosscoder {
    fn properties(&self) -> KindProperties {
        KindProperties {
            is_centred: false,
            // The penalty takes the norms of directions into account.
            likes_unit: false,
            widths: self.widths.clone(),
            ..KindProperties::penalised(NAME, self.l1, self.target)
        }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        let sum = self.widths.iter().try_fold(0_usize, |sum, width| sum.checked_add(*width));
        if sum != Some(shape.d_out) || self.widths.contains(&0) {
            let widths = &self.widths;
            let d = shape.d_out;
            return Err(err!(Argument, "expected `widths` of sites that are {d} together, found {widths:?}"));
        }
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::Positive { price: initial_coefficient(self.l1), cost: Cost::Parts(&self.widths) })
    }

    fn penalty(&self, pass: &KindPass, codes: &Tensor) -> Result<Option<Tensor>> {
        let costs = codes.broadcast_mul(&self.lengths(pass.decoder)?)?;
        Ok(Some((costs.sum(1)?.mean(0)? * initial_coefficient(self.l1))?))
    }

    fn of_widths(&self, widths: &[usize]) -> Option<Arc<dyn DictionaryKind>> {
        Some(Arc::new(Self { widths: widths.to_vec(), ..*self }))
    }
}
