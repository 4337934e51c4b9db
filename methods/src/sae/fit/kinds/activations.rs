//! Activation functions by their names, as files and scripts give them.

use super::KINDS;
use crate::common::*;
use crate::sae::nonnegative::NONNEGATIVE;
use crate::sae::parts::activation::{Activation, ActivationFunction, ActivationPart, OtherActivation};

/// Finds a function that one file defines: that of a kind, or of a baseline.
fn function(name: &str) -> Option<&'static ActivationFunction> {
    KINDS.iter().filter_map(|row| row.function).chain([&NONNEGATIVE]).find(|function| function.name == name)
}

/// Refuses a file without the k that its activation function needs.
pub fn no_k() -> Error {
    err!(Format, "expected `k`, the number of features that are kept, found none")
}

/// Makes the activation function of a name, of its k and of its tensors, which `take` reads; `no_k` refuses one without
/// its k.
pub fn activation(
    name: &str,
    k: Option<usize>,
    no_k: impl Fn() -> Error,
    mut take: impl FnMut(&'static str, ActivationPart) -> Result<Tensor>,
) -> Result<Activation> {
    let (found, has_k) = match name {
        "relu" => (Activation::Relu, false),
        "topk" => (Activation::TopK(k.ok_or_else(no_k)?), true),
        "jumprelu" => (Activation::Threshold(take("threshold", ActivationPart::Offset)?), false),
        "gated" => {
            let gate = take("gate", ActivationPart::Offset)?;
            let magnitude = take("magnitude", ActivationPart::Offset)?;
            let log_scale = take("log_scale", ActivationPart::Factor)?;
            (Activation::Gated { gate, magnitude, log_scale }, false)
        }
        "linear" => (Activation::Linear(k), true),
        name => {
            let function =
                function(name).ok_or_else(|| err!(Format, "expected a known `activation`, found {name:?}"))?;
            let tensors = function.tensors.iter().map(|&(name, part)| take(name, part)).collect::<Result<_>>()?;
            if k.is_none() && function.needs_k {
                return Err(no_k());
            }
            (Activation::Other(OtherActivation { function, tensors, k }), true)
        }
    };
    match k {
        Some(k) if !has_k => Err(err!(Format, "expected no `k` for the activation {}, found {k}", found.name())),
        _ => Ok(found),
    }
}
