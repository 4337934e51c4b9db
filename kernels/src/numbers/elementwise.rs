//! Element-wise functions over slices and tensors.

use candle_core::{DType, Tensor};
use pulp::{Arch, Simd, WithSimd};

use super::{FlatNumbers, Fresh, flat, fusible, math};
use crate::base::error::Result;
use crate::base::instructions::arch;

/// A function of one number, written for vector registers.
pub(crate) trait UnaryFunction: Copy + Sync {
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

/// A function of two numbers.
pub(crate) trait BinaryFunction: Copy + Sync {
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// Multiplication by a constant.
#[derive(Clone, Copy)]
pub(crate) struct Times(pub f32);

impl UnaryFunction for Times {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, simd.splat_f32s(self.0))
    }
}

/// A soft cap, cap * tanh(x / cap), as Gemma 2 has for scores and logits.
#[derive(Clone, Copy)]
pub(crate) struct SoftCap(pub f32);

impl UnaryFunction for SoftCap {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let cap = simd.splat_f32s(self.0);
        simd.mul_f32s(math::tanh(simd, simd.div_f32s(x, cap)), cap)
    }
}

/// Replacement of every number of a slice by a function of it.
pub(crate) struct Replace<'a, F>(pub &'a mut [f32], pub F);

impl<F: UnaryFunction> WithSimd for Replace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (whole, rest) = S::as_mut_simd_f32s(self.0);
        for x in whole {
            *x = self.1.of(simd, *x);
        }
        if !rest.is_empty() {
            let last = self.1.of(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, last);
        }
    }
}

/// Writes the function of every number of `x`, of the same length as `out`.
pub(crate) fn map(arch: Arch, out: &mut [f32], x: &[f32], function: impl UnaryFunction) {
    struct Map<'a, F>(&'a mut [f32], &'a [f32], F);
    impl<F: UnaryFunction> WithSimd for Map<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (out, out_rest) = S::as_mut_simd_f32s(self.0);
            let (x, x_rest) = S::as_simd_f32s(self.1);
            for (out, x) in out.iter_mut().zip(x) {
                *out = self.2.of(simd, *x);
            }
            if !x_rest.is_empty() {
                simd.partial_store_f32s(out_rest, self.2.of(simd, simd.partial_load_f32s(x_rest)));
            }
        }
    }
    arch.dispatch(Map(out, x, function));
}

/// Writes the function of every pair of numbers; all slices have the same length.
pub(crate) fn zip(arch: Arch, out: &mut [f32], a: &[f32], b: &[f32], function: impl BinaryFunction) {
    struct Zip<'a, F>(&'a mut [f32], &'a [f32], &'a [f32], F);
    impl<F: BinaryFunction> WithSimd for Zip<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (out, out_rest) = S::as_mut_simd_f32s(self.0);
            let (a, a_rest) = S::as_simd_f32s(self.1);
            let (b, b_rest) = S::as_simd_f32s(self.2);
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = self.3.of(simd, *a, *b);
            }
            if !a_rest.is_empty() {
                let a = simd.partial_load_f32s(a_rest);
                let b = simd.partial_load_f32s(b_rest);
                simd.partial_store_f32s(out_rest, self.3.of(simd, a, b));
            }
        }
    }
    arch.dispatch(Zip(out, a, b, function));
}

/// Computes a + b, of equal shapes, without gradients.
pub(crate) fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() == b.dims() && a.dtype() == b.dtype() && fusible(&[a, b]) {
        return summed(a, b)?.tensor(a.dims(), a.dtype());
    }
    Ok((a + b)?)
}

/// Multiplies x by a number, in f32, without gradients.
pub(crate) fn times_number(x: &Tensor, factor: f32) -> Result<Tensor> {
    if factor == 1.0 {
        return Ok(x.clone());
    }
    let arch = arch();
    let flat = flat(x)?;
    let numbers = FlatNumbers::of(&flat)?;
    let mut out = Fresh::new(numbers.slice().len())?;
    out.write(1, 1, |begin, out| map(arch, out, &numbers.slice()[begin..begin + out.len()], Times(factor)));
    out.tensor(x.dims(), DType::F32)
}

pub(crate) fn summed(a: &Tensor, b: &Tensor) -> Result<Fresh> {
    let arch = arch();
    let flat_a = flat(a)?;
    let flat_b = flat(b)?;
    let a_numbers = FlatNumbers::of(&flat_a)?;
    let b_numbers = FlatNumbers::of(&flat_b)?;
    let a_numbers = a_numbers.slice();
    let b_numbers = b_numbers.slice();
    let mut out = Fresh::new(a_numbers.len())?;
    out.write(1, 1, |begin, out| {
        let end = begin + out.len();
        zip(arch, out, &a_numbers[begin..end], &b_numbers[begin..end], Addition);
    });
    Ok(out)
}

#[derive(Clone, Copy)]
struct Addition;

impl BinaryFunction for Addition {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.add_f32s(a, b)
    }
}
