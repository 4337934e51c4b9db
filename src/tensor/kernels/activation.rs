//! Activation functions of MLPs.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::base::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Relu,
    /// x Phi(x), by the error function.
    Gelu,
    /// Its approximation by tanh (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// x sigmoid(x).
    Silu,
}

/// The activation of every element.
pub fn activate(x: &Tensor, act: Activation) -> Result<Tensor> {
    Ok(match act {
        Activation::Relu => x.relu()?,
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
    })
}

/// act(gate) * up.
pub fn activate_gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
    Ok((activate(gate, act)? * up)?)
}
