//! `matching_pursuit`: k codes one after the other, each computed from the residual of those before; the directions are
//! the encoder (MP-SAE; Costa et al. 2025).

use serde::Serialize;

use super::k_schedule::few;
use super::{DictionaryKind, KindPass, KindProperties};
use crate::common::*;
use crate::sae::codes::centred;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::parts::activation::{ActivationFunction, OtherActivation};
use crate::sae::{Activation, Parts, pursuit};
use crate::tensor::dtype;

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
            has_own_products: true,
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
        Ok(Activation::Other(OtherActivation { function: &PURSUIT, tensors: Vec::new(), k: Some(self.k) }))
    }
}

/// k steps of matching pursuit: each adds a code of what those before have left of the input (see `pursuit.rs`).
pub const PURSUIT: ActivationFunction = ActivationFunction {
    name: NAME,
    in_words: "each of its codes depends on those found before",
    tensors: &[],
    needs_k: true,
    reads_directions: true,
    codes: |own, parts, x| {
        let k = own.k.ok_or_else(|| err!(Bug, "a matching pursuit without a number of steps"))?;
        pursuit::codes_of_any(&centred(parts, x)?, &parts.decoder, k)
    },
    estimate: None,
    check: Some(check),
    untunable: Some(untunable),
};

fn check(parts: &Parts) -> Result<()> {
    let Parts { encoder, decoder, .. } = parts;
    if parts.encoder_bias.is_some() || parts.rescaled {
        return Err(err!(Argument, "expected a matching pursuit of the input, found a bias or a rescaling"));
    }
    let same = encoder.dims() == decoder.dims()
        && encoder.ne(decoder)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? == 0.0;
    if !same {
        return Err(err!(Argument, "expected a matching pursuit with its directions as encoder, found others"));
    }
    let norms = dtype::convert(decoder, DType::F32)?.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?;
    match norms.iter().find(|norm| (*norm - 1.0).abs() > 1e-2) {
        Some(norm) => Err(err!(Argument, "expected directions of norm 1 for a matching pursuit, found {norm}")),
        None => Ok(()),
    }
}

fn untunable() -> Error {
    err!(Argument, "a matching pursuit reads by its directions, which fine-tuning would part from them")
        .hint("fit another kind, such as \"topk\"")
}
