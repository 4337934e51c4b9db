//! The loop of a delta rule, over tokens, for one head at a time.

use candle_core::Tensor;
use pulp::{Simd, WithSimd};

use super::super::forward::{Scanned, Tokens};
use super::{DeltaRuleInputs, Sizes};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::base::thread_pool;
use crate::numbers::{FlatNumbers, Fresh, flat};

/// The numbers of the arguments of a delta rule, head by head of each token.
#[derive(Clone, Copy)]
pub(super) struct RuleNumbers<'a> {
    /// Reads, decays, keys, removal keys and rates.
    pub of_keys: [Tokens<'a>; 5],
    pub value: Tokens<'a>,
}

/// Numbers of one head at a token.
#[derive(Clone, Copy)]
pub(super) struct HeadNumbers<'a> {
    pub read: &'a [f32],
    pub decay: &'a [f32],
    pub key: &'a [f32],
    pub removed: &'a [f32],
    pub rate: &'a [f32],
    pub value: &'a [f32],
}

impl<'a> RuleNumbers<'a> {
    /// Returns what a head has at a token; `place` is the number of the token times that of heads, plus the head.
    pub fn at(&self, place: usize, sizes: Sizes) -> HeadNumbers<'a> {
        let [read, decay, key, removed, rate] = self.of_keys.map(|numbers| numbers.at(place, 0, sizes.d_key));
        HeadNumbers { read, decay, key, removed, rate, value: self.value.at(place, 0, sizes.d_value) }
    }
}

pub(super) fn fused(inputs: &DeltaRuleInputs, before: Option<&Tensor>, sizes: Sizes) -> Result<Scanned> {
    let all = inputs.all().into_iter().map(flat).collect::<Result<Vec<_>>>()?;
    let all = all.iter().map(FlatNumbers::of).collect::<Result<Vec<_>>>()?;
    let of_keys = [0, 1, 2, 3, 4].map(|which| Tokens { numbers: all[which].slice(), offset: 0, width: sizes.d_key });
    let value = Tokens { numbers: all[5].slice(), offset: 0, width: sizes.d_value };
    let numbers = RuleNumbers { of_keys, value };
    let before = before.map(flat).transpose()?;
    let before = before.as_ref().map(FlatNumbers::of).transpose()?;
    let before = before.as_ref().map(FlatNumbers::slice);
    let arch = arch();
    let size = sizes.of_head();
    let mut read = Fresh::new(sizes.rows * sizes.columns * sizes.heads * sizes.d_value)?;
    let mut last = Fresh::new(sizes.rows * sizes.heads * size)?;
    let read_at = read.pointer();
    let last_at = last.pointer();
    thread_pool::each(sizes.rows * sizes.heads, &|at, known: &mut Vec<f32>| {
        let row = at / sizes.heads;
        let head = at % sizes.heads;
        // SAFETY: the state of this head in this row, which nobody else writes; all of it is written before it is read.
        let state = unsafe { last_at.part(at * size, size) };
        match before {
            Some(before) => state.copy_from_slice(&before[at * size..][..size]),
            None => state.fill(0.0),
        }
        known.resize(sizes.d_value, 0.0);
        for column in 0..sizes.columns {
            let place = (row * sizes.columns + column) * sizes.heads + head;
            // SAFETY: what this head reads at this token, which nobody else writes.
            let out = unsafe { read_at.part(place * sizes.d_value, sizes.d_value) };
            let own = numbers.at(place, sizes);
            arch.dispatch(Step { own, state: &mut *state, known: &mut known[..], out });
        }
    });
    Ok(Scanned { read, last })
}

/// One token of one head.
pub(super) struct Step<'a> {
    pub own: HeadNumbers<'a>,
    /// The state before the token, which is that behind it afterwards.
    pub state: &'a mut [f32],
    /// A buffer for what the removal key reads.
    pub known: &'a mut [f32],
    /// The read of the head.
    pub out: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { own, state, known, out } = self;
        let size = out.len();
        removed_read(simd, own.removed, state, known);
        out.fill(0.0);
        for (i, row) in state.chunks_exact_mut(size).enumerate() {
            let keep = own.decay[i].exp();
            let forgotten = own.removed[i] * own.rate[i];
            for ((row, known), value) in row.iter_mut().zip(known.iter()).zip(own.value) {
                *row = keep * *row - forgotten * known + own.key[i] * value;
            }
            add_scaled(simd, out, own.read[i], row);
        }
    }
}

/// Computes what a removal key reads of a state.
#[inline(always)]
pub(super) fn removed_read<S: Simd>(simd: S, removed: &[f32], state: &[f32], known: &mut [f32]) {
    let size = known.len();
    known.fill(0.0);
    for (factor, row) in removed.iter().zip(state.chunks_exact(size)) {
        add_scaled(simd, known, *factor, row);
    }
}

/// Adds a multiple of numbers to others.
#[inline(always)]
pub(super) fn add_scaled<S: Simd>(simd: S, out: &mut [f32], factor: f32, x: &[f32]) {
    let (wide, rest) = S::as_mut_simd_f32s(out);
    let (x, x_rest) = S::as_simd_f32s(x);
    let factors = simd.splat_f32s(factor);
    for (out, x) in wide.iter_mut().zip(x) {
        *out = simd.mul_add_e_f32s(factors, *x, *out);
    }
    for (out, x) in rest.iter_mut().zip(x_rest) {
        *out += factor * x;
    }
}

/// Computes the sum of products.
#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = S::as_simd_f32s(a);
    let (b, b_rest) = S::as_simd_f32s(b);
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_e_f32s(*a, *b, sum);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(sum) + rest
}
