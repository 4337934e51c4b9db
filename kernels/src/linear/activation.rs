//! Activation functions of MLPs, and their gradients.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use crate::arguments::activation::Activation;
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::device;
use crate::numbers::elementwise::{BinaryFunction, UnaryFunction, map, zip};
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat, math};
use crate::tape::ArgumentGradients;
use crate::tape::record::record_by_gradient;

/// Compiles the code once for each activation, so that its loops have no branch.
macro_rules! with_activation {
    ($act:expr, $function:ident => $code:expr) => {
        match $act {
            $crate::arguments::activation::Activation::Relu => {
                let $function = $crate::linear::activation::Relu;
                $code
            }
            $crate::arguments::activation::Activation::Gelu => {
                let $function = $crate::linear::activation::Gelu;
                $code
            }
            $crate::arguments::activation::Activation::GeluTanh => {
                let $function = $crate::linear::activation::GeluTanh;
                $code
            }
            $crate::arguments::activation::Activation::Silu => {
                let $function = $crate::linear::activation::Silu;
                $code
            }
            $crate::arguments::activation::Activation::SquaredRelu => {
                let $function = $crate::linear::activation::SquaredRelu;
                $code
            }
        }
    };
}
pub(crate) use with_activation;

macro_rules! functions {
    ($($name:ident: $function:path),*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl UnaryFunction for $name {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                $function(simd, x)
            }
        }
    )*};
}

functions!(
    Relu: math::relu,
    Gelu: math::gelu,
    GeluTanh: math::gelu_tanh,
    Silu: math::silu,
    SquaredRelu: math::squared_relu
);

/// A function of the gate, times the second number.
#[derive(Clone, Copy)]
struct GatedFunction<F>(F);

impl<F: UnaryFunction> BinaryFunction for GatedFunction<F> {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, gate: S::f32s, up: S::f32s) -> S::f32s {
        simd.mul_f32s(self.0.of(simd, gate), up)
    }
}

/// Applies the activation function to every element.
pub fn activate(x: &Tensor, act: Activation) -> Result<Tensor> {
    match Implementation::of(&[x]) {
        Implementation::Fused => fused(x, act)?.tensor(x.dims(), x.dtype()),
        Implementation::Recorded => {
            let from = x.detach();
            record_by_gradient("activate", fused(x, act)?, x.dims(), &[x], move |gradient| {
                Ok(vec![Some(activation_gradient(&from, gradient, act)?)])
            })
        }
        Implementation::Plain => device::biased(x, None, Some(act))?.map_or_else(|| activate_plain(x, act), Ok),
    }
}

/// Computes act(gate) * up.
pub fn activate_gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
    let alike = gate.dims() == up.dims() && gate.dtype() == up.dtype();
    match if alike { Implementation::of(&[gate, up]) } else { Implementation::Plain } {
        Implementation::Fused => fused_gated(gate, up, act)?.tensor(gate.dims(), gate.dtype()),
        Implementation::Recorded => {
            let from = gate.detach();
            let times = up.detach();
            let asked = [gate.track_op(), up.track_op()];
            let result = fused_gated(gate, up, act)?;
            record_by_gradient("activate_gated", result, gate.dims(), &[gate, up], move |gradient| {
                gated_gradients(&from, &times, gradient, act, asked)
            })
        }
        Implementation::Plain => device::gated(gate, up, act)?.map_or_else(|| activate_gated_plain(gate, up, act), Ok),
    }
}

pub(crate) fn fused(x: &Tensor, act: Activation) -> Result<Fresh> {
    let arch = arch();
    let flat = flat(x)?;
    let numbers = FlatNumbers::of(&flat)?;
    let from = numbers.slice();
    let mut out = Fresh::new(from.len())?;
    out.write(1, 1, |begin, out| {
        let from = &from[begin..begin + out.len()];
        with_activation!(act, function => map(arch, out, from, function));
    });
    Ok(out)
}

fn fused_gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Fresh> {
    let arch = arch();
    let flat_gate = flat(gate)?;
    let flat_up = flat(up)?;
    let gates = FlatNumbers::of(&flat_gate)?;
    let ups = FlatNumbers::of(&flat_up)?;
    let gates = gates.slice();
    let ups = ups.slice();
    let mut out = Fresh::new(gates.len())?;
    out.write(1, 1, |begin, out| {
        let gates = &gates[begin..begin + out.len()];
        let ups = &ups[begin..begin + out.len()];
        with_activation!(act, function => zip(arch, out, gates, ups, GatedFunction(function)));
    });
    Ok(out)
}

pub(crate) fn activate_plain(x: &Tensor, act: Activation) -> Result<Tensor> {
    Ok(match act {
        // candle's own gives 0 for NaN.
        Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, x)?,
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
        Activation::SquaredRelu => activate_plain(x, Activation::Relu)?.sqr()?,
    })
}

pub(crate) fn activate_gated_plain(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
    Ok((activate_plain(gate, act)? * up)?)
}

/// A gradient times the slope at x.
#[derive(Clone, Copy)]
struct ActivationSlope<F>(F);

macro_rules! slopes {
    ($($name:ident: $function:path),*) => {$(
        impl BinaryFunction for ActivationSlope<$name> {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s, gradient: S::f32s) -> S::f32s {
                simd.mul_f32s($function(simd, x), gradient)
            }
        }
    )*};
}

slopes!(
    Relu: math::relu_slope,
    Gelu: math::gelu_slope,
    GeluTanh: math::gelu_tanh_slope,
    Silu: math::silu_slope,
    SquaredRelu: math::squared_relu_slope
);

/// Computes the gradient of x, given that of act(x).
pub(crate) fn activation_gradient(x: &Tensor, gradient: &Tensor, act: Activation) -> Result<Tensor> {
    let x = flat(x)?;
    let gradient = flat(gradient)?;
    let arch = arch();
    let numbers = FlatNumbers::of(&x)?;
    let gradients = FlatNumbers::of(&gradient)?;
    let numbers = numbers.slice();
    let gradients = gradients.slice();
    let mut out = Fresh::new(numbers.len())?;
    out.write(1, 1, |begin, out| {
        let x = &numbers[begin..begin + out.len()];
        let gradients = &gradients[begin..begin + out.len()];
        with_activation!(act, function => zip(arch, out, x, gradients, ActivationSlope(function)));
    });
    out.tensor(x.dims(), DType::F32)
}

/// Computes the gradients of gate and up, given that of act(gate) * up, in one pass over memory.
fn gated_gradients(
    gate: &Tensor,
    up: &Tensor,
    gradient: &Tensor,
    act: Activation,
    asked: [bool; 2],
) -> Result<ArgumentGradients> {
    let [gates, ups, gradients] = [flat(gate)?, flat(up)?, flat(gradient)?];
    let [gates, ups, gradients] = [FlatNumbers::of(&gates)?, FlatNumbers::of(&ups)?, FlatNumbers::of(&gradients)?];
    let [gates, ups, gradients] = [gates.slice(), ups.slice(), gradients.slice()];
    let arch = arch();
    let mut of_gate = Fresh::new(gates.len())?;
    let mut of_up = Fresh::new(gates.len())?;
    let place = of_up.pointer();
    of_gate.write(1, 1, |begin, of_gate| {
        let part = begin..begin + of_gate.len();
        // SAFETY: the same part of the other result, which nobody else writes.
        let of_up = unsafe { place.part(begin, of_gate.len()) };
        let [gate, up, gradient] = [&gates[part.clone()], &ups[part.clone()], &gradients[part]];
        with_activation!(act, function => {
            arch.dispatch(GatedGradients { of_gate, of_up, gate, up, gradient, function });
        });
    });
    let tensor = |asked: bool, found: Fresh| asked.then(|| found.tensor(gate.dims(), DType::F32)).transpose();
    Ok(vec![tensor(asked[0], of_gate)?, tensor(asked[1], of_up)?])
}

/// The gradients of a gate and of what it is multiplied with.
struct GatedGradients<'a, F> {
    of_gate: &'a mut [f32],
    of_up: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
    gradient: &'a [f32],
    function: F,
}

impl<F: UnaryFunction> WithSimd for GatedGradients<'_, F>
where
    ActivationSlope<F>: BinaryFunction,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (of_gate, of_gate_rest) = S::as_mut_simd_f32s(self.of_gate);
        let (of_up, of_up_rest) = S::as_mut_simd_f32s(self.of_up);
        let (gate, gate_rest) = S::as_simd_f32s(self.gate);
        let (up, up_rest) = S::as_simd_f32s(self.up);
        let (gradient, gradient_rest) = S::as_simd_f32s(self.gradient);
        let factors = up.iter().zip(gradient);
        for (((of_gate, of_up), gate), (up, gradient)) in of_gate.iter_mut().zip(of_up).zip(gate).zip(factors) {
            [*of_gate, *of_up] = gated_slopes(simd, [*gate, *up, *gradient], self.function);
        }
        if !gate_rest.is_empty() {
            let gate = simd.partial_load_f32s(gate_rest);
            let up = simd.partial_load_f32s(up_rest);
            let gradient = simd.partial_load_f32s(gradient_rest);
            let [of_gate, of_up] = gated_slopes(simd, [gate, up, gradient], self.function);
            simd.partial_store_f32s(of_gate_rest, of_gate);
            simd.partial_store_f32s(of_up_rest, of_up);
        }
    }
}

#[inline(always)]
fn gated_slopes<S: Simd, F: UnaryFunction>(simd: S, [gate, up, gradient]: [S::f32s; 3], function: F) -> [S::f32s; 2]
where
    ActivationSlope<F>: BinaryFunction,
{
    let of_gate = ActivationSlope(function).of(simd, gate, simd.mul_f32s(up, gradient));
    [of_gate, simd.mul_f32s(function.of(simd, gate), gradient)]
}
