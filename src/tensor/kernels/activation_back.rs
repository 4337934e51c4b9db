//! The gradients of activations.

use candle_core::{DType, Tensor};
use pulp::Simd;

use super::activation::{self, Activation, with_activation};
use super::elementwise::{Two, zip};
use super::level::arch;
use super::linear::times;
use super::math_back;
use super::numbers::{Fresh, Numbers, flat};
use super::record::Gradients;
use crate::base::Result;

/// A gradient times the slope at x.
#[derive(Clone, Copy)]
struct Slope<F>(F);

macro_rules! slopes {
    ($($name:ident: $function:path),*) => {$(
        impl Two for Slope<activation::$name> {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s, gradient: S::f32s) -> S::f32s {
                simd.mul_f32s($function(simd, x), gradient)
            }
        }
    )*};
}

slopes!(Relu: math_back::relu, Gelu: math_back::gelu, GeluTanh: math_back::gelu_tanh, Silu: math_back::silu);

/// The gradient of x, given that of act(x).
pub(super) fn activation_gradient(x: &Tensor, gradient: &Tensor, act: Activation) -> Result<Tensor> {
    let (x, gradient) = (flat(x)?, flat(gradient)?);
    let (arch, numbers, gradients) = (arch(), Numbers::of(&x)?, Numbers::of(&gradient)?);
    let (numbers, gradients) = (numbers.slice(), gradients.slice());
    let mut out = Fresh::new(numbers.len())?;
    out.write(1, 1, |begin, out| {
        let (x, gradients) = (&numbers[begin..begin + out.len()], &gradients[begin..begin + out.len()]);
        with_activation!(act, function => zip(arch, out, x, gradients, Slope(function)));
    });
    out.tensor(x.dims(), DType::F32)
}

/// The gradients of gate and up, given that of act(gate) * up.
pub(super) fn gated_gradients(
    gate: &Tensor,
    up: &Tensor,
    gradient: &Tensor,
    act: Activation,
    asked: [bool; 2],
) -> Result<Gradients> {
    let of_gate = || activation_gradient(gate, &times(up, gradient)?, act);
    let of_up = || times(&activation::activate(&gate.detach(), act)?, gradient);
    Ok(vec![asked[0].then(of_gate).transpose()?, asked[1].then(of_up).transpose()?])
}
