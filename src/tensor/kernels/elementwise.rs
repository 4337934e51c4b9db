//! Functions of each number by itself, run over slices.

use pulp::{Arch, Simd, WithSimd};

/// A function of one number, written for registers full of them.
pub(super) trait One: Copy + Sync {
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

/// A function of two numbers.
pub(super) trait Two: Copy + Sync {
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// A number times one that is given.
#[derive(Clone, Copy)]
pub(super) struct Times(pub f32);

impl One for Times {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, simd.splat_f32s(self.0))
    }
}

/// Replaces every number of a slice.
pub(super) struct Replace<'a, F>(pub &'a mut [f32], pub F);

impl<F: One> WithSimd for Replace<'_, F> {
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
pub(super) fn map(arch: Arch, out: &mut [f32], x: &[f32], function: impl One) {
    struct Map<'a, F>(&'a mut [f32], &'a [f32], F);
    impl<F: One> WithSimd for Map<'_, F> {
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
pub(super) fn zip(arch: Arch, out: &mut [f32], a: &[f32], b: &[f32], function: impl Two) {
    struct Zip<'a, F>(&'a mut [f32], &'a [f32], &'a [f32], F);
    impl<F: Two> WithSimd for Zip<'_, F> {
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
                let (a, b) = (simd.partial_load_f32s(a_rest), simd.partial_load_f32s(b_rest));
                simd.partial_store_f32s(out_rest, self.3.of(simd, a, b));
            }
        }
    }
    arch.dispatch(Zip(out, a, b, function));
}
