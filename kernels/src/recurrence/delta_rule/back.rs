//! The gradients of a delta rule.
//!
//! With G the gradient of the state behind a token, which is r dy^T plus what comes back from the next token, c = S^T q for the
//! removal key q, and b = a * q: dr = S' dy, dk = G v, dv = G^T k, of the logarithms of decays it is exp(w) times the sums of
//! the rows of G * S, db = -G c, dc = -G^T b, dq = S dc + db * a, da = db * q, and the state before has the gradient
//! diag(exp w) G + q dc^T. States are computed again, a chunk of tokens at a time, from those that are kept before each chunk.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use super::super::chunks::backwards;
use super::super::forward::Tokens;
use super::Sizes;
use super::forward::{HeadNumbers, RuleNumbers, Step, add_scaled, dot, removed_read};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::base::thread_pool;
use crate::numbers::Fresh;

/// Computes the gradients of all that tokens have, head by head and one after the other as in `tokens`.
pub(super) fn gradients(tokens: &[f32], gradient: &[f32], sizes: Sizes) -> Result<Tensor> {
    let Sizes { rows, columns, heads, d_key, d_value } = sizes;
    let width = 5 * d_key + d_value;
    let part = |which: usize| Tokens { numbers: tokens, offset: which * d_key, width };
    let numbers = RuleNumbers { of_keys: [0, 1, 2, 3, 4].map(part), value: part(5) };
    let arch = arch();
    let size = sizes.of_head();
    let mut out = Fresh::new(rows * columns * heads * width)?;
    let out_at = out.pointer();
    thread_pool::each(rows * heads, &|at, (): &mut ()| {
        let place = |column: usize| (at / heads * columns + column) * heads + at % heads;
        let [mut known, mut again, mut of_known, mut unread] = [(); 4].map(|()| vec![0.0; d_value]);
        let step = |column: usize, state: &mut [f32]| {
            let own = numbers.at(place(column), sizes);
            arch.dispatch(Step { own, state, known: &mut known, out: &mut unread });
        };
        let mut flowing = vec![0.0; size];
        backwards(columns, size, step, |column, before, behind| {
            let place = place(column);
            // SAFETY: the gradients of this head at this token, which nobody else writes.
            let out = unsafe { out_at.part(place * width, width) };
            arch.dispatch(StepBack {
                own: numbers.at(place, sizes),
                gradient: &gradient[place * d_value..][..d_value],
                before,
                behind,
                flowing: &mut flowing,
                known: &mut again,
                of_known: &mut of_known,
                out,
            });
        });
    });
    out.tensor(&[rows, columns, heads, width], DType::F32)
}

/// One token of one head, backwards.
struct StepBack<'a> {
    own: HeadNumbers<'a>,
    /// The gradient of what is read.
    gradient: &'a [f32],
    /// The state before the token.
    before: &'a [f32],
    /// The state behind it.
    behind: &'a [f32],
    /// The gradient that later tokens pass back to the state behind it, and afterwards that which it passes back itself.
    flowing: &'a mut [f32],
    /// A buffer for what the removal key reads.
    known: &'a mut [f32],
    /// A buffer for the gradient of that.
    of_known: &'a mut [f32],
    /// Gradients of reads, decays, keys, removal keys, rates and values, one after the other.
    out: &'a mut [f32],
}

impl WithSimd for StepBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { own, gradient, before, behind, flowing, known, of_known, out } = self;
        let d_key = own.key.len();
        let size = gradient.len();
        let (of_keys, of_value) = out.split_at_mut(5 * d_key);
        removed_read(simd, own.removed, before, known);
        of_known.fill(0.0);
        of_value.fill(0.0);
        let mut parts = of_keys.chunks_exact_mut(d_key);
        let mut next = || parts.next().unwrap_or_default();
        let [of_read, of_decay, of_key, of_removed, of_rate] = [next(), next(), next(), next(), next()];
        for (i, flowing) in flowing.chunks_exact_mut(size).enumerate() {
            add_scaled(simd, flowing, own.read[i], gradient);
            of_read[i] = dot(simd, &behind[i * size..][..size], gradient);
            of_key[i] = dot(simd, flowing, own.value);
            of_decay[i] = own.decay[i].exp() * dot(simd, flowing, &before[i * size..][..size]);
            let of_forgotten = -dot(simd, flowing, known);
            of_removed[i] = of_forgotten * own.rate[i];
            of_rate[i] = of_forgotten * own.removed[i];
            add_scaled(simd, of_value, own.key[i], flowing);
            add_scaled(simd, of_known, -own.removed[i] * own.rate[i], flowing);
        }
        for (i, flowing) in flowing.chunks_exact_mut(size).enumerate() {
            of_removed[i] += dot(simd, &before[i * size..][..size], of_known);
            let keep = own.decay[i].exp();
            for (flowing, of_known) in flowing.iter_mut().zip(of_known.iter()) {
                *flowing = keep * *flowing + own.removed[i] * of_known;
            }
        }
    }
}
