//! KL divergences between predictions, from their logits: the probabilities of a whole vocabulary are never stored.

use candle_core::{DType, Device, Tensor};
use pulp::{Simd, WithSimd};

use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::numbers::softmax::largest;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// The number of partial sums, the same with all instructions, so that the result is.
const LANES: usize = 8;

/// Computes KL(softmax(p) || softmax(q)) along the last axis, in nats, for logits `[.., vocab]` of one shape: `[..]`.
///
/// Sums are in f64. The result is, too, but in f32 where q has a gradient; then p must have none.
pub fn divergences(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    if p.dims() != q.dims() {
        bail!(Shape, "expected logits of one shape, found {:?} and {:?}", p.dims(), q.dims());
    }
    let Some((vocab, shape)) = p.dims().split_last() else { bail!(Shape, "expected logits, found one number") };
    let is_plain = p.track_op() || p.elem_count() == 0;
    let way = if is_plain { Implementation::Plain } else { Implementation::of(&[p, q]) };
    if way == Implementation::Plain {
        return divergences_plain(p, q);
    }
    let p = flat(p)?;
    let from_q = flat(q)?;
    let rows = by_row(&p, &from_q, *vocab)?;
    let found = rows.iter().map(|row| row.divergence);
    if way == Implementation::Fused {
        return Ok(Tensor::from_vec(found.collect::<Vec<f64>>(), shape, &Device::Cpu)?);
    }
    let found = Fresh::from(found.map(|divergence| divergence as f32).collect::<Vec<f32>>());
    record_by_gradient("divergences", found, shape, &[q], move |gradient| {
        Ok(vec![Some(back(&p, &from_q, &rows, gradient)?)])
    })
}

/// Divergence of the predictions of a row, softmax(p) from softmax(q).
#[derive(Debug, Clone, Copy)]
pub struct RowDivergence {
    /// log(sum of e^p), and the same of q.
    pub totals: [f64; 2],
    /// KL(softmax(p) || softmax(q)), in nats.
    pub divergence: f64,
}

/// Sums that the divergence of a row is computed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct DivergenceSums {
    /// The largest logits of p and of q.
    most: [f64; 2],
    /// The sums of e^(p - most) and of e^(q - most).
    weights: [f64; 2],
    /// The sum of e^(p - most) times how far p - most is above q - most.
    differences: f64,
}

impl DivergenceSums {
    pub fn divergence(self) -> RowDivergence {
        let Self { most, weights: [of_p, of_q], differences } = self;
        RowDivergence {
            totals: [of_p.ln() + most[0], of_q.ln() + most[1]],
            divergence: differences / of_p - of_p.ln() + of_q.ln(),
        }
    }

    /// Returns the sums of these words and of others together.
    pub fn joined(self, other: Self) -> Self {
        let most = [0, 1].map(|of| self.most[of].max(other.most[of]));
        let [a, b] = [self, other].map(|sums| sums.below(most));
        let weights = [0, 1].map(|of| a.weights[of] + b.weights[of]);
        Self { most, weights, differences: a.differences + b.differences }
    }

    /// Returns the sums for larger logits in the place of the largest ones.
    fn below(self, most: [f64; 2]) -> Self {
        let [p, q] = [0, 1].map(|of| self.most[of] - most[of]);
        let [of_p, of_q] = self.weights;
        // What has no probability contributes nothing.
        let differences = if p < LEAST { 0.0 } else { exp(p) * (self.differences + of_p * (p - q)) };
        Self { most, weights: [exp(p) * of_p, exp(q) * of_q], differences }
    }
}

fn by_row(p: &Tensor, q: &Tensor, vocab: usize) -> Result<Vec<RowDivergence>> {
    let arch = arch();
    let p = FlatNumbers::of(p)?;
    let q = FlatNumbers::of(q)?;
    let [p, q] = [p.slice(), q.slice()];
    Ok(parallel::of_each_short(0..p.len() / vocab, &|row| {
        let columns = row * vocab..(row + 1) * vocab;
        arch.dispatch(Divergence { p: &p[columns.clone()], q: &q[columns] }).divergence()
    }))
}

/// Computes the gradient of q: softmax(q) - softmax(p), times the gradient of each row's divergence.
fn back(p: &Tensor, q: &Tensor, rows: &[RowDivergence], gradient: &Tensor) -> Result<Tensor> {
    let vocab = q.elem_count() / rows.len();
    let arch = arch();
    let gradient = flat(gradient)?;
    let [from_p, from_q, gradients] = [FlatNumbers::of(p)?, FlatNumbers::of(q)?, FlatNumbers::of(&gradient)?];
    let [from_p, from_q, gradients] = [from_p.slice(), from_q.slice(), gradients.slice()];
    let mut out = Fresh::new(from_q.len())?;
    out.write(vocab, vocab, |first, out| {
        out.copy_from_slice(&from_q[first * vocab..first * vocab + out.len()]);
        for (index, q) in out.chunks_exact_mut(vocab).enumerate() {
            let row = first + index;
            let p = &from_p[row * vocab..(row + 1) * vocab];
            arch.dispatch(DivergenceSlopes { p, q, totals: rows[row].totals, gradient: gradients[row] });
        }
    });
    out.tensor(q.dims(), DType::F32)
}

/// The divergence of a row: with weights w = e^(p - most of p), it is sum w (log p - log q) / sum w.
pub(super) struct Divergence<'a> {
    pub p: &'a [f32],
    pub q: &'a [f32],
}

impl WithSimd for Divergence<'_> {
    type Output = DivergenceSums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> DivergenceSums {
        let most = [self.p, self.q].map(|logits| f64::from(largest(simd, logits)));
        // Of the weights of p, of those of q, and of the weighted differences.
        let mut sums = [[0.0; LANES]; 3];
        let mut add = |lane: usize, p: f32, q: f32| {
            let p = f64::from(p) - most[0];
            let q = f64::from(q) - most[1];
            let weight = exp(p);
            sums[0][lane] += weight;
            sums[1][lane] += exp(q);
            // What has no probability contributes nothing, even where q has none either.
            sums[2][lane] += if p < LEAST { 0.0 } else { weight * (p - q) };
        };
        let (p, last_of_p) = self.p.as_chunks::<LANES>();
        let (q, last_of_q) = self.q.as_chunks::<LANES>();
        for (p, q) in p.iter().zip(q) {
            for lane in 0..LANES {
                add(lane, p[lane], q[lane]);
            }
        }
        for (lane, (p, q)) in last_of_p.iter().zip(last_of_q).enumerate() {
            add(lane, *p, *q);
        }
        let [of_p, of_q, differences] = sums.map(|lanes| lanes.iter().sum::<f64>());
        DivergenceSums { most, weights: [of_p, of_q], differences }
    }
}

/// Replacement of the logits q of a row, or of a part of it, by their gradients.
pub(super) struct DivergenceSlopes<'a> {
    pub p: &'a [f32],
    pub q: &'a mut [f32],
    /// log(sum of e^p) of the whole row, and the same of q.
    pub totals: [f64; 2],
    /// The gradient of the divergence.
    pub gradient: f32,
}

impl WithSimd for DivergenceSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [of_p, of_q] = self.totals;
        let factor = f64::from(self.gradient);
        for (q, p) in self.q.iter_mut().zip(self.p) {
            *q = (factor * (exp(f64::from(*q) - of_q) - exp(f64::from(*p) - of_p))) as f32;
        }
    }
}

/// The number below which its power, 1e-304, counts as 0.
const LEAST: f64 = -700.0;

/// Computes e^x for x up to 0, with relative error up to 4e-16. Compilers make vector instructions of it.
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// 1.5 * 2^52: a number of this magnitude has no fraction, and its low bits are the integer.
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let limited = if x < LEAST { LEAST } else { x };
    let rounded = limited * std::f64::consts::LOG2_E + ROUNDING;
    let n = rounded - ROUNDING;
    let r = (limited - n * LN_2_HIGH) - n * LN_2_LOW;
    // The series, to the power of 13; the next term is below 4e-18.
    let mut sum = 1.0 / 6_227_020_800.0;
    for power in
        [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
    {
        sum = sum * r + 1.0 / power;
    }
    let power_of_two = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1023 << 52));
    if x < LEAST { 0.0 } else { sum * power_of_two }
}

pub(crate) fn divergences_plain(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    // Metal has no f64.
    let work = if p.device().is_metal() { DType::F32 } else { DType::F64 };
    let logs = |logits: &Tensor| -> Result<Tensor> {
        let wide = logits.to_dtype(work)?;
        let shifted = wide.broadcast_sub(&wide.max_keepdim(wide.rank() - 1)?.detach())?;
        Ok(shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(shifted.rank() - 1)?.log()?)?)
    };
    let [p, q] = [logs(p)?, logs(q)?];
    Ok((p.exp()? * (&p - &q)?)?.sum(p.rank() - 1)?)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn powers_are_those_of_the_library() {
        for step in 0..70_000 {
            let x = -f64::from(step) / 100.0 - f64::from(step % 7) * 1e-3;
            if x < super::LEAST {
                continue;
            }
            assert!((exp(x) / x.exp() - 1.0).abs() < 5e-16, "{x}: {} {}", exp(x), x.exp());
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    }
}
