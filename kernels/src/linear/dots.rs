//! Dot products of a few vectors with many; the many are read once and in order.

use pulp::{Arch, Simd, WithSimd};

/// Calls `put(row of x, row of weights, dot product)` for every pair of rows, both of length `inner`, which is not 0.
pub(super) fn dots(arch: Arch, x: &[f32], weights: &[f32], inner: usize, put: impl FnMut(usize, usize, f32)) {
    arch.dispatch(Dots { x, weights, inner, put });
}

struct Dots<'a, P> {
    x: &'a [f32],
    weights: &'a [f32],
    inner: usize,
    put: P,
}

impl<P: FnMut(usize, usize, f32)> WithSimd for Dots<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let x_rows = self.x.len() / self.inner;
        let inner = self.inner;
        for (weight_row, weights) in self.weights.chunks_exact(inner).enumerate() {
            let mut row = 0;
            let mut put = |row: &mut usize, sums: &[f32]| {
                for sum in sums {
                    (self.put)(*row, weight_row, *sum);
                    *row += 1;
                }
            };
            while x_rows - row >= 4 {
                let sums = together::<S, 4, 2>(simd, &self.x[row * inner..], weights);
                put(&mut row, &sums);
            }
            if x_rows - row >= 2 {
                let sums = together::<S, 2, 4>(simd, &self.x[row * inner..], weights);
                put(&mut row, &sums);
            }
            if x_rows > row {
                let sums = together::<S, 1, 8>(simd, &self.x[row * inner..], weights);
                put(&mut row, &sums);
            }
        }
    }
}

/// Computes the dot products of the first R rows of x with a row of weights. Each is computed as several partial sums,
/// since an addition has the latency of several loads.
#[inline(always)]
fn together<S: Simd, const R: usize, const SUMS: usize>(simd: S, x: &[f32], weights: &[f32]) -> [f32; R] {
    let (weights, weights_rest) = S::as_simd_f32s(weights);
    let inner = weights.len() * S::F32_LANES + weights_rest.len();
    let x: [_; R] = std::array::from_fn(|r| S::as_simd_f32s(&x[r * inner..(r + 1) * inner]));
    let mut sums = [[simd.splat_f32s(0.0); SUMS]; R];
    let (steps, last) = weights.as_chunks::<SUMS>();
    let x_steps = x.map(|(whole, _)| whole.as_chunks::<SUMS>());
    for (at, weights) in steps.iter().enumerate() {
        for r in 0..R {
            let x = &x_steps[r].0[at];
            for s in 0..SUMS {
                sums[r][s] = simd.mul_add_e_f32s(x[s], weights[s], sums[r][s]);
            }
        }
    }
    for (s, weight) in last.iter().enumerate() {
        for r in 0..R {
            sums[r][s] = simd.mul_add_e_f32s(x_steps[r].1[s], *weight, sums[r][s]);
        }
    }
    if !weights_rest.is_empty() {
        let weight = simd.partial_load_f32s(weights_rest);
        for r in 0..R {
            sums[r][0] = simd.mul_add_e_f32s(simd.partial_load_f32s(x[r].1), weight, sums[r][0]);
        }
    }
    // Loops and not `map`: a closure that is not inlined is compiled without the vector instructions.
    let mut totals = [0.0; R];
    for r in 0..R {
        let mut total = sums[r][0];
        for more in &sums[r][1..] {
            total = simd.add_f32s(total, *more);
        }
        totals[r] = simd.reduce_sum_f32s(total);
    }
    totals
}
