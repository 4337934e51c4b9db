//! `matching_pursuit`: k codes one after the other, each computed from the residual of those before; the directions are
//! the encoder (MP-SAE; Costa et al. 2025).

use serde::Serialize;

use super::k_schedule::few;
use super::{DictionaryKind, KindPass, KindProperties};
use crate::common::*;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::{Activation, pursuit};

pub const NAME: &str = "matching_pursuit";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct MatchingPursuit {
        /// Number of steps, each of which adds one code or adds to one.
        k: usize = 0 => required();
    }
}

impl DictionaryKind for MatchingPursuit {
    fn properties(&self) -> KindProperties {
        KindProperties {
            is_tied: true,
            is_centred: false,
            only_reconstructs: true,
            likes_unit: false,
            ..KindProperties::of(NAME)
        }
    }

    fn check(&self, shape: DictionaryShape) -> Result<()> {
        few(self.k, shape)
    }

    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        pursuit::codes(pass.x, pass.decoder, self.k)
    }

    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::MatchingPursuit(self.k))
    }
}
