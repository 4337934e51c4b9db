//! The gradients of a scan.
//!
//! With G the gradient of the state behind a token, which is dy C^T plus what comes back from the next token, and a its
//! decays: dC = dy^T S', dx = dt G B, dB = dt G^T x, of dt it is x . G B + A . sum of G S a, and the state before has
//! the gradient G a. States are computed again, a chunk of tokens at a time, from those that are kept before each
//! chunk.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use super::Sizes;
use super::chunks::backwards;
use super::forward::{HeadBlock, ScanNumbers, Step, Tokens, decays};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::linear::add_to;
use crate::numbers::Fresh;

/// Sums over heads of a block: the gradients of what a group's heads write to and read at each token of a row, and
/// those of the block's rates.
struct BlockSums {
    b: Vec<f32>,
    c: Vec<f32>,
    rate: Vec<f32>,
}

/// Computes the gradients of all that tokens have, one after the other as in `tokens`, and of the rates.
pub(super) fn gradients(tokens: &[f32], rate: &[f32], gradient: &[f32], sizes: Sizes) -> Result<[Tensor; 2]> {
    let widths = sizes.widths();
    let width: usize = widths.iter().sum();
    let offsets = [0, widths[0], widths[0] + widths[1], widths[0] + widths[1] + widths[2]];
    let part = |which: usize| Tokens { numbers: tokens, offset: offsets[which], width };
    let numbers = ScanNumbers { x: part(0), dt: part(1), b: part(2), c: part(3), rate };
    let arch = arch();
    let blocks = sizes.blocks();
    let mut out = Fresh::new(sizes.rows * sizes.columns * width)?;
    let place = out.pointer();
    let sums = parallel::of_each_short(&blocks, &|block| {
        let HeadBlock { row, first, count, .. } = *block;
        let size = count * sizes.of_head();
        let mut decay = vec![0.0; sizes.state];
        let mut unread = vec![0.0; count * sizes.d_head];
        let step = |column: usize, states: &mut [f32]| {
            let token = row * sizes.columns + column;
            let decay = &mut decay[..];
            arch.dispatch(Step { numbers, sizes, block: *block, token, states, decay, out: &mut unread });
        };
        let mut flowing = vec![0.0; size];
        let mut sums = BlockSums {
            b: vec![0.0; sizes.columns * sizes.state],
            c: vec![0.0; sizes.columns * sizes.state],
            rate: vec![0.0; count * sizes.rates],
        };
        let mut buffers = [vec![0.0; sizes.state], vec![0.0; sizes.state]];
        backwards(sizes.columns, size, step, |column, before, behind| {
            let token = row * sizes.columns + column;
            // SAFETY: the inputs and steps of these heads at this token, which nobody else writes.
            let [x, dt] = unsafe {
                let first_x = token * width + first * sizes.d_head;
                [place.part(first_x, count * sizes.d_head), place.part(token * width + offsets[1] + first, count)]
            };
            let [decay, decayed] = &mut buffers;
            arch.dispatch(StepBack {
                numbers,
                sizes,
                block: *block,
                token,
                gradient: &gradient[token * widths[0] + first * sizes.d_head..][..count * sizes.d_head],
                before,
                behind,
                flowing: &mut flowing,
                decay,
                decayed,
                x,
                dt,
                b: &mut sums.b[column * sizes.state..][..sizes.state],
                c: &mut sums.c[column * sizes.state..][..sizes.state],
                rate: &mut sums.rate,
            });
        });
        sums
    });
    let mut of_rate = vec![0.0; rate.len()];
    for row in 0..sizes.rows {
        for group in 0..sizes.groups {
            let own = || blocks.iter().zip(&sums).filter(|(block, _)| block.row == row && block.group == group);
            for (block, sums) in own() {
                add_to(&mut of_rate[block.first * sizes.rates..][..block.count * sizes.rates], &sums.rate);
            }
            for column in 0..sizes.columns {
                let token = (row * sizes.columns + column) * width;
                let from = column * sizes.state;
                // SAFETY: what this group writes to and reads at this token, which nobody else writes; threads are
                // done.
                let [b, c] = unsafe {
                    let first = group * sizes.state;
                    [offsets[2], offsets[3]].map(|offset| place.part(token + offset + first, sizes.state))
                };
                b.fill(0.0);
                c.fill(0.0);
                for (_, sums) in own() {
                    add_to(b, &sums.b[from..][..sizes.state]);
                    add_to(c, &sums.c[from..][..sizes.state]);
                }
            }
        }
    }
    let tokens = out.tensor(&[sizes.rows, sizes.columns, width], DType::F32)?;
    Ok([tokens, Fresh::from(of_rate).tensor(&[sizes.heads, sizes.rates], DType::F32)?])
}

/// One token of some heads, backwards.
struct StepBack<'a> {
    numbers: ScanNumbers<'a>,
    sizes: Sizes,
    block: HeadBlock,
    token: usize,
    /// The gradient of what the heads read.
    gradient: &'a [f32],
    /// States before the token.
    before: &'a [f32],
    /// States behind it.
    behind: &'a [f32],
    /// Gradients that later tokens pass back to the states behind it, and afterwards those that it passes back itself.
    flowing: &'a mut [f32],
    /// A buffer for the decays of one head.
    decay: &'a mut [f32],
    /// A buffer for the gradients of their logarithms.
    decayed: &'a mut [f32],
    /// Gradients of the inputs.
    x: &'a mut [f32],
    /// Gradients of the steps.
    dt: &'a mut [f32],
    /// Gradients of what is written to, and of what is read, to which those of this block are added.
    b: &'a mut [f32],
    c: &'a mut [f32],
    /// Gradients of the rates, to which those of this token are added.
    rate: &'a mut [f32],
}

impl WithSimd for StepBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { numbers, sizes, block, token, gradient, before, behind, flowing, decay, decayed, .. } = self;
        let HeadBlock { group, first, count, .. } = block;
        let Sizes { d_head, state, rates, .. } = sizes;
        let inputs = numbers.x.at(token, first * d_head, count * d_head);
        let steps = numbers.dt.at(token, first, count);
        let b = numbers.b.at(token, group * state, state);
        let c = numbers.c.at(token, group * state, state);
        for (head, dt) in steps.iter().copied().enumerate() {
            let own = &numbers.rate[(first + head) * rates..][..rates];
            decays(simd, decay, own, dt);
            decayed.fill(0.0);
            let mut along = 0.0;
            for value in head * d_head..(head + 1) * d_head {
                let range = value * state..(value + 1) * state;
                let read = RowBack {
                    gradient: gradient[value],
                    written: dt * inputs[value],
                    before: &before[range.clone()],
                    behind: &behind[range.clone()],
                    flowing: &mut flowing[range],
                    decay,
                    decayed,
                    b,
                    c,
                    of_b: self.b,
                    of_c: self.c,
                }
                .passed(simd);
                self.x[value] = dt * read;
                along += inputs[value] * read;
            }
            let of_rate = &mut self.rate[head * rates..][..rates];
            if rates == 1 {
                let sum: f32 = decayed.iter().sum();
                along += sum * own[0];
                of_rate[0] += sum * dt;
            } else {
                for ((of_rate, rate), decayed) in of_rate.iter_mut().zip(own).zip(decayed.iter()) {
                    along += decayed * rate;
                    *of_rate += decayed * dt;
                }
            }
            self.dt[head] = along;
        }
    }
}

/// A row of a head's state, backwards.
struct RowBack<'a> {
    /// The gradient of what is read of the row.
    gradient: f32,
    /// The factor of what is written to.
    written: f32,
    before: &'a [f32],
    behind: &'a [f32],
    flowing: &'a mut [f32],
    decay: &'a [f32],
    decayed: &'a mut [f32],
    b: &'a [f32],
    c: &'a [f32],
    of_b: &'a mut [f32],
    of_c: &'a mut [f32],
}

impl RowBack<'_> {
    /// Passes gradients back, and returns the sum of the state's gradient times what is written to.
    #[inline(always)]
    fn passed<S: Simd>(self, simd: S) -> f32 {
        let (before, before_rest) = S::as_simd_f32s(self.before);
        let (behind, behind_rest) = S::as_simd_f32s(self.behind);
        let (flowing, flowing_rest) = S::as_mut_simd_f32s(self.flowing);
        let (decay, decay_rest) = S::as_simd_f32s(self.decay);
        let (decayed, decayed_rest) = S::as_mut_simd_f32s(self.decayed);
        let (b, b_rest) = S::as_simd_f32s(self.b);
        let (c, c_rest) = S::as_simd_f32s(self.c);
        let (of_b, of_b_rest) = S::as_mut_simd_f32s(self.of_b);
        let (of_c, of_c_rest) = S::as_mut_simd_f32s(self.of_c);
        let gradient = simd.splat_f32s(self.gradient);
        let written = simd.splat_f32s(self.written);
        let mut sum = simd.splat_f32s(0.0);
        for at in 0..flowing.len() {
            let of_state = simd.mul_add_e_f32s(gradient, c[at], flowing[at]);
            of_c[at] = simd.mul_add_e_f32s(gradient, behind[at], of_c[at]);
            of_b[at] = simd.mul_add_e_f32s(of_state, written, of_b[at]);
            sum = simd.mul_add_e_f32s(of_state, b[at], sum);
            let passed = simd.mul_f32s(of_state, decay[at]);
            decayed[at] = simd.mul_add_e_f32s(passed, before[at], decayed[at]);
            flowing[at] = passed;
        }
        let mut sum = simd.reduce_sum_f32s(sum);
        for at in 0..flowing_rest.len() {
            let of_state = self.gradient * c_rest[at] + flowing_rest[at];
            of_c_rest[at] += self.gradient * behind_rest[at];
            of_b_rest[at] += of_state * self.written;
            sum += of_state * b_rest[at];
            let passed = of_state * decay_rest[at];
            decayed_rest[at] += passed * before_rest[at];
            flowing_rest[at] = passed;
        }
        sum
    }
}
