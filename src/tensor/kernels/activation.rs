//! Activation functions of MLPs.

use candle_core::Tensor;
use pulp::Simd;
use serde::{Deserialize, Serialize};

use super::elementwise::{One, Two, map, zip};
use super::level::arch;
use super::math;
use super::numbers::{Fresh, Numbers, flat, fusible};
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

/// Writes the code once for each activation, so that its loops hold no choice.
macro_rules! with_activation {
    ($act:expr, $function:ident => $code:expr) => {
        match $act {
            $crate::tensor::kernels::Activation::Relu => {
                let $function = $crate::tensor::kernels::activation::Relu;
                $code
            }
            $crate::tensor::kernels::Activation::Gelu => {
                let $function = $crate::tensor::kernels::activation::Gelu;
                $code
            }
            $crate::tensor::kernels::Activation::GeluTanh => {
                let $function = $crate::tensor::kernels::activation::GeluTanh;
                $code
            }
            $crate::tensor::kernels::Activation::Silu => {
                let $function = $crate::tensor::kernels::activation::Silu;
                $code
            }
        }
    };
}
pub(super) use with_activation;

macro_rules! functions {
    ($($name:ident: $function:path),*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl One for $name {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                $function(simd, x)
            }
        }
    )*};
}

functions!(Relu: math::relu, Gelu: math::gelu, GeluTanh: math::gelu_tanh, Silu: math::silu);

/// A function of the first number, times the second.
#[derive(Clone, Copy)]
struct Gated<F>(F);

impl<F: One> Two for Gated<F> {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, gate: S::f32s, up: S::f32s) -> S::f32s {
        simd.mul_f32s(self.0.of(simd, gate), up)
    }
}

/// The activation of every element.
pub fn activate(x: &Tensor, act: Activation) -> Result<Tensor> {
    if !fusible([x]) {
        return activate_plain(x, act);
    }
    let (dtype, arch, flat) = (x.dtype(), arch(), flat(x)?);
    let numbers = Numbers::of(&flat)?;
    let from = numbers.slice();
    let mut out = Fresh::new(from.len())?;
    out.write(1, 1, |begin, out| {
        let from = &from[begin..begin + out.len()];
        with_activation!(act, function => map(arch, out, from, function));
    });
    out.tensor(x.dims(), dtype)
}

/// act(gate) * up.
pub fn activate_gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
    if !fusible([gate, up]) || gate.dims() != up.dims() || gate.dtype() != up.dtype() {
        return activate_gated_plain(gate, up, act);
    }
    let (dtype, arch, flat_gate, flat_up) = (gate.dtype(), arch(), flat(gate)?, flat(up)?);
    let (gates, ups) = (Numbers::of(&flat_gate)?, Numbers::of(&flat_up)?);
    let (gates, ups) = (gates.slice(), ups.slice());
    let mut out = Fresh::new(gates.len())?;
    out.write(1, 1, |begin, out| {
        let (gates, ups) = (&gates[begin..begin + out.len()], &ups[begin..begin + out.len()]);
        with_activation!(act, function => zip(arch, out, gates, ups, Gated(function)));
    });
    out.tensor(gate.dims(), dtype)
}

pub(super) fn activate_plain(x: &Tensor, act: Activation) -> Result<Tensor> {
    Ok(match act {
        // candle's own makes 0 of NaN.
        Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, x)?,
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
    })
}

pub(super) fn activate_gated_plain(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
    Ok((activate_plain(gate, act)? * up)?)
}
