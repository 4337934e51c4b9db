//! Dot products of a few vectors with many; the many are read once and in order.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

/// Calls `put(row of x, row of weights, dot product)` for every pair of rows, both of length `inner`, which is not 0. It is
/// twice as fast where each row begins at a multiple of 64 bytes ([`aligned`]): others cross a line of the cache at every load.
pub(super) fn dots(arch: Arch, x: &[f32], weights: &[f32], inner: usize, put: impl FnMut(usize, usize, f32)) {
    arch.dispatch(Dots { x, weights, inner, put });
}

/// Returns `len` numbers of a buffer, which is made large enough, from a multiple of 64 bytes on.
pub(super) fn aligned(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    const LINE: usize = 64;
    const MOST: usize = LINE / size_of::<f32>() - 1;
    buffer.resize(len + MOST, 0.0);
    let begin = buffer.as_ptr().align_offset(LINE).min(MOST);
    &mut buffer[begin..begin + len]
}

/// Returns the sum of the lanes, of which the second half is added to the first until one is left.
#[inline(always)]
pub(super) fn folded<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        let (first, second) = lanes.split_at_mut(half);
        for (lane, more) in first.iter_mut().zip(second) {
            *lane += *more;
        }
        half /= 2;
    }
    lanes[0]
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
        let rows = self.weights.len() / self.inner;
        // The sums of two rows of weights are as many as half the registers of AVX-512, and all of AVX2's.
        let pairs = if S::REGISTER_COUNT >= 32 { rows / 2 } else { 0 };
        for pair in 0..pairs {
            self.with_rows::<S, 2>(simd, 2 * pair);
        }
        for row in 2 * pairs..rows {
            self.with_rows::<S, 1>(simd, row);
        }
    }
}

impl<P: FnMut(usize, usize, f32)> Dots<'_, P> {
    /// Computes the dot products of all rows of x with W rows of weights from the row `first` on.
    #[inline(always)]
    fn with_rows<S: Simd, const W: usize>(&mut self, simd: S, first: usize) {
        let inner = self.inner;
        let x_rows = self.x.len() / inner;
        let weights: [&[f32]; W] = from_fn(|w| &self.weights[(first + w) * inner..(first + w + 1) * inner]);
        let mut row = 0;
        while x_rows - row >= 4 {
            let sums = together::<S, 4, W, 2>(simd, &self.x[row * inner..], weights);
            self.write(&mut row, first, sums);
        }
        if x_rows - row >= 2 {
            let sums = together::<S, 2, W, 4>(simd, &self.x[row * inner..], weights);
            self.write(&mut row, first, sums);
        }
        if x_rows > row {
            let sums = together::<S, 1, W, 8>(simd, &self.x[row * inner..], weights);
            self.write(&mut row, first, sums);
        }
    }

    #[inline(always)]
    fn write<const R: usize, const W: usize>(&mut self, row: &mut usize, first: usize, sums: [[f32; W]; R]) {
        for sums in sums {
            for (w, sum) in sums.into_iter().enumerate() {
                (self.put)(*row, first + w, sum);
            }
            *row += 1;
        }
    }
}

/// Computes the dot products of the first R rows of x with W rows of weights. Each is computed as SUMS partial sums, since
/// an addition has the latency of several loads; W rows together need fewer loads, and each sum has the bits that it has alone.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices go through several arrays at once")]
fn together<S: Simd, const R: usize, const W: usize, const SUMS: usize>(
    simd: S,
    x: &[f32],
    weights: [&[f32]; W],
) -> [[f32; W]; R] {
    let inner = weights[0].len();
    let x: [_; R] = from_fn(|r| S::as_simd_f32s(&x[r * inner..(r + 1) * inner]));
    let weights = weights.map(S::as_simd_f32s);
    let x_steps = x.map(|(whole, _)| whole.as_chunks::<SUMS>());
    let steps = weights.map(|(whole, _)| whole.as_chunks::<SUMS>());
    let mut sums = [[[simd.splat_f32s(0.0); SUMS]; W]; R];
    for at in 0..steps[0].0.len() {
        for s in 0..SUMS {
            for r in 0..R {
                let x = x_steps[r].0[at][s];
                for w in 0..W {
                    sums[r][w][s] = simd.mul_add_e_f32s(x, steps[w].0[at][s], sums[r][w][s]);
                }
            }
        }
    }
    for s in 0..steps[0].1.len() {
        for r in 0..R {
            for w in 0..W {
                sums[r][w][s] = simd.mul_add_e_f32s(x_steps[r].1[s], steps[w].1[s], sums[r][w][s]);
            }
        }
    }
    if !weights[0].1.is_empty() {
        for r in 0..R {
            let x = simd.partial_load_f32s(x[r].1);
            for w in 0..W {
                sums[r][w][0] = simd.mul_add_e_f32s(x, simd.partial_load_f32s(weights[w].1), sums[r][w][0]);
            }
        }
    }
    // Loops and not `map`: a closure that is not inlined is compiled without the vector instructions.
    let mut totals = [[0.0; W]; R];
    for r in 0..R {
        for w in 0..W {
            let mut total = sums[r][w][0];
            for more in &sums[r][w][1..] {
                total = simd.add_f32s(total, *more);
            }
            totals[r][w] = simd.reduce_sum_f32s(total);
        }
    }
    totals
}
