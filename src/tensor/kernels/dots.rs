//! Dot products of a few vectors with many.

use pulp::{Arch, Simd, WithSimd};

/// How many rows of weights are taken at once.
const ABREAST: usize = 4;

/// Calls `put(row of x, row of weights, dot product)` for every pair of rows, both of length `inner`.
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
        if self.inner == 0 {
            return;
        }
        let rows = self.x.len() / self.inner;
        for (four, weights) in self.weights.chunks(ABREAST * self.inner).enumerate() {
            let first = four * ABREAST;
            let count = weights.len() / self.inner;
            let mut row = 0;
            while row < rows {
                let x = &self.x[row * self.inner..];
                if count < ABREAST {
                    for i in 0..count {
                        let [[sum]] = block::<S, 1, 1>(simd, x, &weights[i * self.inner..], self.inner);
                        (self.put)(row, first + i, sum);
                    }
                    row += 1;
                } else if rows - row >= 2 {
                    let sums = block::<S, 2, ABREAST>(simd, x, weights, self.inner);
                    for (r, sums) in sums.iter().enumerate() {
                        for (i, sum) in sums.iter().enumerate() {
                            (self.put)(row + r, first + i, *sum);
                        }
                    }
                    row += 2;
                } else {
                    let [sums] = block::<S, 1, ABREAST>(simd, x, weights, self.inner);
                    for (i, sum) in sums.iter().enumerate() {
                        (self.put)(row, first + i, *sum);
                    }
                    row += 1;
                }
            }
        }
    }
}

/// The dot products of R rows of x with W rows of weights, each loaded once.
#[inline(always)]
fn block<S: Simd, const R: usize, const W: usize>(simd: S, x: &[f32], weights: &[f32], inner: usize) -> [[f32; W]; R] {
    let x: [_; R] = std::array::from_fn(|r| S::as_simd_f32s(&x[r * inner..(r + 1) * inner]));
    let weights: [_; W] = std::array::from_fn(|w| S::as_simd_f32s(&weights[w * inner..(w + 1) * inner]));
    let mut sums = [[simd.splat_f32s(0.0); W]; R];
    let whole = x[0].0.len();
    for at in 0..whole {
        for r in 0..R {
            for w in 0..W {
                sums[r][w] = simd.mul_add_e_f32s(x[r].0[at], weights[w].0[at], sums[r][w]);
            }
        }
    }
    if !x[0].1.is_empty() {
        for r in 0..R {
            let x = simd.partial_load_f32s(x[r].1);
            for w in 0..W {
                sums[r][w] = simd.mul_add_e_f32s(x, simd.partial_load_f32s(weights[w].1), sums[r][w]);
            }
        }
    }
    sums.map(|sums| sums.map(|sum| simd.reduce_sum_f32s(sum)))
}
