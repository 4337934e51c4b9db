//! The loop of a scan, over tokens, for some heads at a time.

use pulp::{Simd, WithSimd};

use super::{ScanInputs, Sizes};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::base::thread_pool;
use crate::numbers::math::exp;
use crate::numbers::{FlatNumbers, Fresh, flat};
use candle_core::{DType, Tensor};

/// Coordinates of states that a thread holds at a time, if one head has not more: they stay in the nearest cache.
const HELD: usize = 1 << 10;

/// Numbers of all tokens, of which each has some of its own: those from `offset` on, `width` numbers after those of the
/// token before.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub numbers: &'a [f32],
    pub offset: usize,
    pub width: usize,
}

impl<'a> Tokens<'a> {
    /// Returns some numbers of a token.
    pub fn at(&self, token: usize, first: usize, count: usize) -> &'a [f32] {
        &self.numbers[token * self.width + self.offset + first..][..count]
    }
}

/// The numbers of a scan's arguments.
#[derive(Clone, Copy)]
pub(super) struct ScanNumbers<'a> {
    pub x: Tokens<'a>,
    pub dt: Tokens<'a>,
    pub b: Tokens<'a>,
    pub c: Tokens<'a>,
    pub rate: &'a [f32],
}

/// Some heads of one row, which share a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadBlock {
    pub row: usize,
    pub group: usize,
    pub first: usize,
    pub count: usize,
}

impl Sizes {
    /// Returns the number of heads of a block, but for the last one of a group.
    fn block(&self) -> usize {
        (HELD / self.of_head().max(1)).clamp(1, self.heads_of_group())
    }

    /// Lists the blocks of heads of all rows; it depends on the sizes only.
    pub(super) fn blocks(&self) -> Vec<HeadBlock> {
        let of_group = self.heads_of_group();
        let block = self.block();
        let mut all = Vec::new();
        for row in 0..self.rows {
            for group in 0..self.groups {
                all.extend((0..of_group).step_by(block).map(|first| HeadBlock {
                    row,
                    group,
                    first: group * of_group + first,
                    count: block.min(of_group - first),
                }));
            }
        }
        all
    }
}

/// The result of a recurrence: the reads of all tokens, and the states behind the last one.
pub(super) struct Scanned {
    pub read: Fresh,
    pub last: Fresh,
}

impl Scanned {
    /// Returns the reads and, where they are asked for, the states behind the last token as tensors of these shapes.
    pub fn tensors(self, [read, states]: [[usize; 4]; 2], wants_last: bool) -> Result<(Tensor, Option<Tensor>)> {
        let last = self.last.tensor(&states, DType::F32)?;
        Ok((self.read.tensor(&read, DType::F32)?, wants_last.then_some(last)))
    }
}

pub(super) fn fused(inputs: &ScanInputs, before: Option<&Tensor>, sizes: Sizes) -> Result<Scanned> {
    let all = [inputs.x, inputs.dt, inputs.b, inputs.c, inputs.rate].map(flat);
    let [x, dt, b, c, rate] = all;
    let [x, dt, b, c, rate] = [x?, dt?, b?, c?, rate?];
    let [x, dt, b, c] = [FlatNumbers::of(&x)?, FlatNumbers::of(&dt)?, FlatNumbers::of(&b)?, FlatNumbers::of(&c)?];
    let rate = FlatNumbers::of(&rate)?;
    let before = before.map(flat).transpose()?;
    let before = before.as_ref().map(FlatNumbers::of).transpose()?;
    let before = before.as_ref().map(FlatNumbers::slice);
    let widths = sizes.widths();
    let tokens = |numbers, which: usize| Tokens { numbers, offset: 0, width: widths[which] };
    let numbers = ScanNumbers {
        x: tokens(x.slice(), 0),
        dt: tokens(dt.slice(), 1),
        b: tokens(b.slice(), 2),
        c: tokens(c.slice(), 3),
        rate: rate.slice(),
    };
    let arch = arch();
    let mut read = Fresh::new(sizes.rows * sizes.columns * widths[0])?;
    let mut last = Fresh::new(sizes.rows * sizes.heads * sizes.of_head())?;
    let read_at = read.pointer();
    let last_at = last.pointer();
    let blocks = sizes.blocks();
    thread_pool::each(blocks.len(), &|number, decay: &mut Vec<f32>| {
        let block = blocks[number];
        let size = sizes.of_head();
        let place = (block.row * sizes.heads + block.first) * size;
        // SAFETY: the states of these heads in this row, which nobody else writes; all are written before they are
        // read.
        let states = unsafe { last_at.part(place, block.count * size) };
        match before {
            Some(before) => states.copy_from_slice(&before[place..][..block.count * size]),
            None => states.fill(0.0),
        }
        decay.resize(sizes.state, 0.0);
        for column in 0..sizes.columns {
            let token = block.row * sizes.columns + column;
            // SAFETY: what these heads read at this token, which nobody else writes.
            let out =
                unsafe { read_at.part(token * widths[0] + block.first * sizes.d_head, block.count * sizes.d_head) };
            arch.dispatch(Step { numbers, sizes, block, token, states: &mut *states, decay: &mut decay[..], out });
        }
    });
    Ok(Scanned { read, last })
}

/// One token of some heads.
pub(super) struct Step<'a> {
    pub numbers: ScanNumbers<'a>,
    pub sizes: Sizes,
    pub block: HeadBlock,
    pub token: usize,
    /// States of the block, which are those behind the token afterwards.
    pub states: &'a mut [f32],
    /// A buffer for the decays of one head.
    pub decay: &'a mut [f32],
    /// The reads of each head.
    pub out: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { numbers, sizes, block, token, states, decay, out } = self;
        let HeadBlock { group, first, count, .. } = block;
        let x = numbers.x.at(token, first * sizes.d_head, count * sizes.d_head);
        let dt = numbers.dt.at(token, first, count);
        let b = numbers.b.at(token, group * sizes.state, sizes.state);
        let c = numbers.c.at(token, group * sizes.state, sizes.state);
        let rates = numbers.rate[first * sizes.rates..].chunks_exact(sizes.rates);
        let heads = states.chunks_exact_mut(sizes.of_head()).zip(rates).zip(dt);
        let values = x.chunks_exact(sizes.d_head).zip(out.chunks_exact_mut(sizes.d_head));
        for (((states, rates), dt), (x, out)) in heads.zip(values) {
            decays(simd, decay, rates, *dt);
            for ((state, x), out) in states.chunks_exact_mut(sizes.state).zip(x).zip(out) {
                *out = advance(simd, state, decay, b, c, *dt * x);
            }
        }
    }
}

/// Computes the shares of a head's state that stay at a token.
#[inline(always)]
pub(super) fn decays<S: Simd>(simd: S, out: &mut [f32], rates: &[f32], dt: f32) {
    if let [rate] = rates {
        return out.fill((rate * dt).exp());
    }
    let (wide, rest) = S::as_mut_simd_f32s(out);
    let (rates, rates_rest) = S::as_simd_f32s(rates);
    let step = simd.splat_f32s(dt);
    for (out, rate) in wide.iter_mut().zip(rates) {
        *out = exp(simd, simd.mul_f32s(*rate, step));
    }
    for (out, rate) in rest.iter_mut().zip(rates_rest) {
        *out = (rate * dt).exp();
    }
}

/// Lets a row of a state decay, writes to it, and returns what is read of it.
#[inline(always)]
fn advance<S: Simd>(simd: S, state: &mut [f32], decay: &[f32], b: &[f32], c: &[f32], x: f32) -> f32 {
    let (state, state_rest) = S::as_mut_simd_f32s(state);
    let (decay, decay_rest) = S::as_simd_f32s(decay);
    let (b, b_rest) = S::as_simd_f32s(b);
    let (c, c_rest) = S::as_simd_f32s(c);
    let value = simd.splat_f32s(x);
    let mut sum = simd.splat_f32s(0.0);
    for (((state, decay), b), c) in state.iter_mut().zip(decay).zip(b).zip(c) {
        *state = simd.mul_add_e_f32s(*state, *decay, simd.mul_f32s(value, *b));
        sum = simd.mul_add_e_f32s(*state, *c, sum);
    }
    let mut sum = simd.reduce_sum_f32s(sum);
    for (((state, decay), b), c) in state_rest.iter_mut().zip(decay_rest).zip(b_rest).zip(c_rest) {
        *state = *state * decay + x * b;
        sum += *state * c;
    }
    sum
}
