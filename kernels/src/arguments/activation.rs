//! Names of the activation functions of MLPs.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Relu,
    /// x Phi(x), by the error function (GELU).
    Gelu,
    /// GELU approximated by tanh (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// x sigmoid(x) (SiLU).
    Silu,
    /// max(x, 0)^2 (So et al. 2021).
    SquaredRelu,
}
