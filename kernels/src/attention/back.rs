//! The gradients of attention, a few queries at a time, from queries, keys and values alone.
//!
//! The pattern P = softmax(s Q K^T) is recomputed, since it is large and fast to compute. With dO the gradient of the result:
//! dV = P^T dO, dP = dO V^T, dS = P (dP - sum of P dP over the keys), dQ = s dS K, dK = s dS^T Q.
//!
//! Blocks of queries whose dO is all 0 are passed over: they add nothing to any gradient, even where P is NaN.

use candle_core::{DType, Tensor};
use pulp::{Arch, Simd, WithSimd};

use super::blocks::{AttentionSizes, QueryBlock, Scoring};
use crate::arguments::alibi::Alibi;
use crate::arguments::reach::{Gap, Reach};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::base::{simulated_threads, thread_pool};
use crate::linear::add_to;
use crate::linear::factor::{Factor, Onto, multiply};
use crate::numbers::{Fresh, OutputPointer, StridedNumbers, with_whole_heads};
use crate::tape::ArgumentGradients;

/// The arguments of attention, without a cap.
pub(super) struct AttentionArguments {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sizes: AttentionSizes,
    scale: f64,
    reach: Reach<'static>,
    gap: Option<Gap>,
    alibi: Option<Alibi>,
    /// Whether q, k and v need gradients.
    asked: [bool; 3],
}

impl AttentionArguments {
    pub fn of([q, k, v]: [&Tensor; 3], sizes: AttentionSizes, scale: f64, reach: &Reach) -> Result<Self> {
        let asked = [q, k, v].map(Tensor::track_op);
        let q = with_whole_heads(q)?;
        let k = with_whole_heads(k)?;
        let v = with_whole_heads(v)?;
        let gap = reach.gap.cloned();
        let alibi = reach.alibi.cloned();
        let reach = Reach { causal: reach.causal, window: reach.window, past: reach.past, gap: None, alibi: None };
        Ok(Self { q, k, v, sizes, scale, reach, gap, alibi, asked })
    }

    /// Computes the gradients of q, k and v, given that of the result.
    pub fn gradients(&self, gradient: &Tensor) -> Result<ArgumentGradients> {
        let sizes = self.sizes;
        let gradient = with_whole_heads(gradient)?;
        // Query heads that share a head of keys and values have gradients of their own for it, and are computed at once.
        let by_head = |of: &Tensor| Fresh::new(sizes.sharing * of.elem_count());
        let mut results = [Fresh::new(self.q.elem_count())?, by_head(&self.k)?, by_head(&self.v)?];
        let [q, k, v] = &mut results;
        let work = BackwardWork {
            arch: arch(),
            sizes,
            scale: self.scale,
            reach: Reach { gap: self.gap.as_ref(), alibi: self.alibi.as_ref(), ..self.reach.clone() },
            q: StridedNumbers::of(&self.q)?,
            k: StridedNumbers::of(&self.k)?,
            v: StridedNumbers::of(&self.v)?,
            gradient: StridedNumbers::of(&gradient)?,
            out: [q.pointer(), k.pointer(), v.pointer()],
            asked: self.asked,
        };
        simulated_threads::touches(8 * (self.q.elem_count() + self.k.elem_count() + self.v.elem_count()));
        thread_pool::each(sizes.rows * sizes.heads, &|head, buffers: &mut Buffers| {
            work.head(head / sizes.heads, head % sizes.heads, buffers);
        });
        let [q, k, v] = results;
        let tensor = |asked: bool, of: &Tensor, found: Fresh, sharing: usize, size: usize| {
            asked.then(|| summed(found, sharing, size)?.tensor(of.dims(), DType::F32)).transpose()
        };
        let [q_asked, k_asked, v_asked] = self.asked;
        Ok(vec![
            tensor(q_asked, &self.q, q, 1, sizes.size)?,
            tensor(k_asked, &self.k, k, sizes.sharing, sizes.size)?,
            tensor(v_asked, &self.v, v, sizes.sharing, sizes.value_size)?,
        ])
    }
}

/// Returns the sums of each `sharing` neighbours of `size` numbers.
fn summed(parts: Fresh, sharing: usize, size: usize) -> Result<Fresh> {
    if sharing == 1 {
        return Ok(parts);
    }
    let parts = parts.numbers();
    let mut sums = Fresh::new(parts.len() / sharing)?;
    sums.write(size, sharing * size, |first, sums| {
        let parts = parts[first * sharing * size..].chunks_exact(sharing * size);
        for (sum, parts) in sums.chunks_exact_mut(size).zip(parts) {
            let (own, others) = parts.split_at(size);
            sum.copy_from_slice(own);
            others.chunks_exact(size).for_each(|part| add_to(sum, part));
        }
    });
    Ok(sums)
}

struct BackwardWork<'a> {
    arch: Arch,
    sizes: AttentionSizes,
    scale: f64,
    reach: Reach<'a>,
    q: StridedNumbers<'a>,
    k: StridedNumbers<'a>,
    v: StridedNumbers<'a>,
    gradient: StridedNumbers<'a>,
    out: [OutputPointer; 3],
    asked: [bool; 3],
}

/// Memory for the pattern of some queries, and for its gradient.
type Buffers = [Vec<f32>; 2];

impl BackwardWork<'_> {
    /// Adds up the gradients of one query head, and its own of the keys and values that it reads.
    fn head(&self, row: usize, head: usize, buffers: &mut Buffers) {
        let sizes = &self.sizes;
        for (out, size) in self.out[1..].iter().zip([sizes.size, sizes.value_size]) {
            for key in 0..sizes.keys {
                // SAFETY: this head of this row, which nobody else writes.
                unsafe { out.part(self.key_place(row, key, head, size), size).fill(0.0) };
            }
        }
        for first in (0..sizes.columns).step_by(sizes.queries()) {
            let queries = sizes.queries().min(sizes.columns - first);
            self.block(QueryBlock { row, head, first, queries }, buffers);
        }
    }

    /// Returns the place of a query head's gradients of a key or of a value, by the size of either.
    fn key_place(&self, row: usize, key: usize, head: usize, size: usize) -> usize {
        ((row * self.sizes.keys + key) * self.sizes.heads + head) * size
    }

    fn block(&self, block: QueryBlock, [pattern, slopes]: &mut Buffers) {
        let sizes = &self.sizes;
        let QueryBlock { row, head, first, queries } = block;
        let shared = head / sizes.sharing;
        let gradient = rows(&self.gradient, row, first, head);
        let [of_q, of_k, of_v] = self.out;
        // A metric of few positions has gradients in their rows alone behind the last attention.
        let is_zero = |query: usize| gradient.from(query, 0).numbers[..sizes.value_size].iter().all(|x| *x == 0.0);
        if (0..queries).all(is_zero) {
            for query in first..first + queries {
                let place = ((row * sizes.columns + query) * sizes.heads + head) * sizes.size;
                // SAFETY: this head of this column, which nobody else writes.
                unsafe { of_q.part(place, sizes.size).fill(0.0) };
            }
            return;
        }
        let scoring = Scoring { queries: &self.q, keys: &self.k, scale: self.scale, cap: None };
        let run = block.pattern(self.arch, sizes, &scoring, &self.reach, pattern);
        let size = sizes.size;
        let value_size = sizes.value_size;
        let width = run.len();
        let scale = self.scale as f32;
        slopes.resize(queries * width, 0.0);
        let q = rows(&self.q, row, first, head);
        let k = rows(&self.k, row, run.start, shared);
        let v = rows(&self.v, row, run.start, shared);
        // SAFETY: as large as the sizes say; see below for the results.
        unsafe {
            multiply(
                slopes.as_mut_ptr(),
                width,
                [queries, width, value_size],
                1.0,
                gradient,
                v.turned(),
                Onto::Nothing,
            );
        }
        let weights = Factor { numbers: pattern, row: width as isize, column: 1 };
        if self.asked[2] {
            let place = self.key_place(row, run.start, head, value_size);
            let step = sizes.heads * value_size;
            let sizes = [width, value_size, queries];
            // SAFETY: this head's keys of this row, which nobody else writes and which are filled with zeros.
            unsafe { multiply(of_v.at(place), step, sizes, 1.0, weights.turned(), gradient, Onto::WhatIsThere) };
        }
        for (weights, slopes) in pattern.chunks_exact(width.max(1)).zip(slopes.chunks_exact_mut(width.max(1))) {
            self.arch.dispatch(ScoreGradients { slopes, weights });
        }
        let slopes = Factor { numbers: slopes, row: width as isize, column: 1 };
        if self.asked[0] {
            let place = ((row * sizes.columns + first) * sizes.heads + head) * size;
            let step = sizes.heads * size;
            let sizes = [queries, size, width];
            // SAFETY: this head of these columns, which nobody else writes.
            unsafe { multiply(of_q.at(place), step, sizes, scale, slopes, k, Onto::Nothing) };
        }
        if self.asked[1] {
            let place = self.key_place(row, run.start, head, size);
            let step = sizes.heads * size;
            let sizes = [width, size, queries];
            // SAFETY: as for the values.
            unsafe { multiply(of_k.at(place), step, sizes, scale, slopes.turned(), q, Onto::WhatIsThere) };
        }
    }
}

/// Returns a head from a column on, with a row for each column.
fn rows<'a>(x: &'a StridedNumbers, row: usize, column: usize, head: usize) -> Factor<'a> {
    Factor { numbers: x.from(row, column, head), row: x.step(), column: 1 }
}

/// Conversion of the gradient of a row of a pattern into that of its scores.
struct ScoreGradients<'a> {
    slopes: &'a mut [f32],
    weights: &'a [f32],
}

impl WithSimd for ScoreGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (weights, weights_rest) = S::as_simd_f32s(self.weights);
        let (slopes, slopes_rest) = S::as_mut_simd_f32s(self.slopes);
        let mut sum = simd.splat_f32s(0.0);
        for (weight, slope) in weights.iter().zip(slopes.iter()) {
            sum = simd.mul_add_e_f32s(*weight, *slope, sum);
        }
        let rest = weights_rest.iter().zip(slopes_rest.iter());
        let sum = rest.fold(simd.reduce_sum_f32s(sum), |sum, (weight, slope)| sum + weight * slope);
        let sums = simd.splat_f32s(sum);
        for (weight, slope) in weights.iter().zip(slopes) {
            *slope = simd.mul_f32s(*weight, simd.sub_f32s(*slope, sums));
        }
        for (weight, slope) in weights_rest.iter().zip(slopes_rest) {
            *slope = weight * (*slope - sum);
        }
    }
}
