//! Attention: rotary positions, scores, their softmax (the pattern), and the weighted sum of values.
//!
//! Queries are `[rows, columns, heads, d_head]`, keys `[rows, keys, kv_heads, d_head]`, and values
//! `[rows, keys, kv_heads, d_value]`; query head h reads head h / (heads / kv_heads). Scores and patterns are
//! `[rows, heads, columns, keys]`.

mod back;
mod blocks;
pub(crate) mod plain;
pub(crate) mod rotary;

use candle_core::Tensor;

use crate::arguments::reach::Reach;
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::numbers::softmax::Softmax;
use crate::numbers::{FlatNumbers, Fresh, Implementation, StridedNumbers, flat, fusible, with_whole_heads};
use crate::tape::record::record_by_gradient;
use back::AttentionArguments;
use blocks::{AttentionSizes, Scoring};
use plain::{attention_plain, mix_plain, pattern_plain, scores_plain};

/// Computes scale * q . k, soft-capped by `cap * tanh(scores / cap)` where there is a cap, plus the biases of a reach.
/// Nothing is masked.
pub fn scores(q: &Tensor, k: &Tensor, scale: f64, cap: Option<f64>, reach: &Reach) -> Result<Tensor> {
    check_heads(q, reach)?;
    let Some(sizes) = AttentionSizes::of(q, k).filter(|_| fusible(&[q, k])) else {
        return scores_plain(q, k, scale, cap, reach);
    };
    let arch = arch();
    let q_whole = with_whole_heads(q)?;
    let k_whole = with_whole_heads(k)?;
    let queries = StridedNumbers::of(&q_whole)?;
    let keys = StridedNumbers::of(&k_whole)?;
    let scoring = Scoring { queries: &queries, keys: &keys, scale, cap };
    let mut out = Fresh::new(sizes.rows * sizes.heads * sizes.columns * sizes.keys)?;
    let place = out.pointer();
    sizes.each_block(sizes.queries(), |block, _| {
        let len = block.queries * sizes.keys;
        // SAFETY: the scores of these queries, which nobody else writes.
        let scores = unsafe { place.part(block.number(&sizes) * sizes.keys, len) };
        block.scores(arch, &sizes, &scoring, reach, 0..sizes.keys, scores);
    });
    out.tensor(&[sizes.rows, sizes.heads, sizes.columns, sizes.keys], q.dtype())
}

/// Refuses biases of another number of heads.
fn check_heads(q: &Tensor, reach: &Reach) -> Result<()> {
    let heads = q.dim(2)?;
    match reach.alibi {
        Some(alibi) if alibi.slopes.len() != heads => {
            let found = alibi.slopes.len();
            bail!(Shape, "expected a slope for each of {heads} heads, found {found}");
        }
        _ => Ok(()),
    }
}

/// Computes the softmax over the keys that a query attends to; 0 elsewhere, and everywhere for a query with none.
pub fn pattern(scores: &Tensor, reach: &Reach) -> Result<Tensor> {
    let (_, heads, columns, keys) = scores.dims4()?;
    if !fusible(&[scores]) || scores.elem_count() == 0 {
        return pattern_plain(scores, reach, None);
    }
    let arch = arch();
    let flat_scores = flat(scores)?;
    let numbers = FlatNumbers::of(&flat_scores)?;
    let from = numbers.slice();
    let mut out = Fresh::new(from.len())?;
    out.write(keys, keys, |first, out| {
        out.copy_from_slice(&from[first * keys..first * keys + out.len()]);
        for (index, row) in out.chunks_exact_mut(keys).enumerate() {
            let number = first + index;
            let seen = reach.seen(number / (heads * columns), number % columns, keys);
            arch.dispatch(Softmax { row, seen });
        }
    });
    out.tensor(scores.dims(), scores.dtype())
}

/// Computes [`pattern`] with one more score of each head, `[heads]`, which takes its share and attends to nothing: the
/// attention sinks of gpt-oss (OpenAI 2025).
pub fn pattern_with_sinks(scores: &Tensor, reach: &Reach, sinks: &Tensor) -> Result<Tensor> {
    pattern_plain(scores, reach, Some(sinks))
}

/// Computes the sum of values, weighted by the pattern: `[rows, columns, heads, d_value]`.
pub fn mix(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    let Some(sizes) = AttentionSizes::of_pattern(pattern, v).filter(|_| fusible(&[pattern, v])) else {
        return mix_plain(pattern, v);
    };
    let flat_pattern = flat(pattern)?;
    let v_whole = with_whole_heads(v)?;
    let numbers = FlatNumbers::of(&flat_pattern)?;
    let values = StridedNumbers::of(&v_whole)?;
    let pattern_numbers = numbers.slice();
    let mut out = Fresh::new(sizes.result().iter().product())?;
    let place = out.pointer();
    sizes.each_block(sizes.queries(), |block, _| {
        let begin = block.number(&sizes) * sizes.keys;
        let weights = &pattern_numbers[begin..begin + block.queries * sizes.keys];
        block.mix(&sizes, weights, &values, 0..sizes.keys, place);
    });
    out.tensor(&sizes.result(), v.dtype())
}

/// Computes [`scores`], [`pattern`] and [`mix`] in one, and stores scores and pattern for a few queries at a time only.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, cap: Option<f64>, reach: &Reach) -> Result<Tensor> {
    check_heads(q, reach)?;
    let sizes = AttentionSizes::of_all(q, k, v).filter(|sizes| sizes.keys > 0 && sizes.value_size > 0);
    match (sizes, Implementation::of(&[q, k, v])) {
        (Some(sizes), Implementation::Fused) => {
            fused([q, k, v], &sizes, scale, cap, reach)?.tensor(&sizes.result(), q.dtype())
        }
        (Some(sizes), Implementation::Recorded) if cap.is_none() => {
            let attended = AttentionArguments::of([q, k, v], sizes, scale, reach)?;
            let result = fused([q, k, v], &sizes, scale, cap, reach)?;
            record_by_gradient("attention", result, &sizes.result(), &[q, k, v], move |gradient| {
                attended.gradients(gradient)
            })
        }
        _ => attention_plain(q, k, v, scale, cap, reach),
    }
}

fn fused(
    [q, k, v]: [&Tensor; 3],
    sizes: &AttentionSizes,
    scale: f64,
    cap: Option<f64>,
    reach: &Reach,
) -> Result<Fresh> {
    let arch = arch();
    let q = with_whole_heads(q)?;
    let k = with_whole_heads(k)?;
    let v = with_whole_heads(v)?;
    let queries = StridedNumbers::of(&q)?;
    let keys = StridedNumbers::of(&k)?;
    let values = StridedNumbers::of(&v)?;
    let scoring = Scoring { queries: &queries, keys: &keys, scale, cap };
    let mut out = Fresh::new(sizes.result().iter().product())?;
    let place = out.pointer();
    sizes.each_block(sizes.queries(), |block, buffer| {
        let run = block.pattern(arch, sizes, &scoring, reach, buffer);
        block.mix(sizes, buffer, &values, run, place);
    });
    Ok(out)
}
