//! Losses, divergences and the likeliest words of rows that an unembedding reads, whose logits exist for some words at a
//! time: cut cross-entropy (Wijmans et al. 2024, arXiv 2411.09009).
//!
//! Each block of logits is summed up before the next one is computed. The logits of 4,096 rows and 2^18 words would take
//! 4 GiB; a block takes 16 MiB.
//!
//! Where rows have a gradient it is summed up beside them, as attention over long texts is: after each block the sums are the
//! gradients for a vocabulary of the words so far, and what comes with the next block lowers the share of these. So a
//! backward pass computes no logits again, and has nothing to interrupt. A loss costs two products in place of three, one
//! for its logits and one for its gradient. A divergence costs four in place of five: two for logits, and two for the
//! gradient, since the shares of p and of q change by different factors, so that the sums of p are needed apart. With three
//! all logits of both would have to be kept until their totals are known; where these are few the core does that.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use pulp::Arch;

use super::divergence::{Divergence, DivergenceSlopes, DivergenceSums, RowDivergence, divergences_plain};
use super::row_slopes::{RowSlopes, times_gradients};
use super::{LogitSlopes, Total, check_targets, token_losses_plain, totals_plain};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::linear::linear_plain;
use crate::linear::matrix::Matrix;
use crate::linear::packed::PackedMatrix;
use crate::linear::product;
use crate::linear::tile::{Finish, ProductSizes};
use crate::numbers::elementwise::{Replace, SoftCap, Times};
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// Words of a block.
pub const WORDS: usize = 1 << 12;
/// Rows of a block, at most: for so many, weights are read and turned once.
const ROWS: usize = 1 << 10;
/// Number of rows up to which the last bits of a product depend on how many there are: copies of so few rows are not
/// joined, so that rows that are equal have equal logits.
const FEW_ROWS: usize = 32;

/// A function that says whether to go on, and is asked before each block.
pub type GoesOn<'a> = &'a dyn Fn() -> bool;

/// An unembedding: rows x have the logits cap * tanh(scale (x W^T + b) / cap).
#[derive(Debug, Clone)]
pub struct Unembedding {
    pub matrix: UnembeddingMatrix,
    pub bias: Option<Tensor>,
    pub scale: Option<f64>,
    pub cap: Option<f64>,
}

/// Matrix of an unembedding, `[words, inner]`.
#[derive(Debug, Clone)]
pub enum UnembeddingMatrix {
    Numbers(Tensor),
    Packed(PackedMatrix),
}

/// Rows `[.., inner]`, and the unembedding that reads them.
#[derive(Debug, Clone, Copy)]
pub struct UnembeddedRows<'a> {
    pub x: &'a Tensor,
    pub by: &'a Unembedding,
}

/// A prediction q of a row beside another one, p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparedRow {
    /// KL(p || q), in nats.
    pub divergence: f64,
    /// -log q of the row's target, in nats.
    pub loss: f64,
}

/// Likeliest words of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct LikeliestWords {
    /// Words and their logits, the likeliest first; equal ones in their order.
    pub words: Vec<(u32, f32)>,
    /// log(sum of e^logits) of all words.
    pub total: f64,
}

/// Computes log(sum of e^logits) - the target's logit, in nats, for each row: `[rows]`. A gradient flows to the rows.
pub fn token_losses_of(rows: UnembeddedRows, targets: &[u32], goes_on: GoesOn) -> Result<Tensor> {
    losses_by(rows, targets, WORDS, goes_on)
}

/// Computes log(sum of e^logits) of each row: `[rows]`. A gradient flows to the rows.
pub fn totals_of(rows: UnembeddedRows, goes_on: GoesOn) -> Result<Tensor> {
    totals_by(rows, WORDS, goes_on)
}

/// Computes KL(softmax(p) || softmax(q)) of each row, in nats: `[rows]`, in f64, but in f32 where q has a gradient. One of them
/// may have several times as many rows as the other, whose rows then stand beside each of these copies.
pub fn divergences_of(p: UnembeddedRows, q: UnembeddedRows, goes_on: GoesOn) -> Result<Tensor> {
    divergences_by(p, q, WORDS, goes_on)
}

/// Compares predictions of rows with p, which the same unembedding reads: a list of rows for p itself, and one for each of
/// at least one other. The logits of p are computed once.
pub fn compared_of(
    p: UnembeddedRows,
    others: &[&Tensor],
    targets: &[u32],
    goes_on: GoesOn,
) -> Result<Vec<Vec<ComparedRow>>> {
    compared_by(p, others, targets, WORDS, goes_on)
}

/// Gives every block of the logits of two predictions of as many rows to `take`, each once.
pub fn each_block_beside(
    p: UnembeddedRows,
    q: UnembeddedRows,
    goes_on: GoesOn,
    take: &mut dyn FnMut(&LogitsBeside),
) -> Result<()> {
    blocks_beside_by(p, q, WORDS, goes_on, take)
}

/// Returns the `count` likeliest words of each row.
pub fn likeliest_of(rows: UnembeddedRows, count: usize, goes_on: GoesOn) -> Result<Vec<LikeliestWords>> {
    likeliest_by(rows, count, WORDS, goes_on)
}

/// Logits of some rows for some words, `[rows, words]`.
pub(super) struct LogitBlock<'a> {
    pub rows: Range<usize>,
    pub words: Range<usize>,
    pub logits: &'a mut [f32],
}

/// log(sum of e^logits) of each row, and the logit of its target.
pub(super) struct RowSums {
    pub totals: Vec<f64>,
    pub picked: Vec<f32>,
}

/// Target of a row that has none.
const NO_WORD: u32 = u32::MAX;

impl Unembedding {
    /// Returns the unembedding whose logits are those of this one divided by a temperature.
    #[must_use]
    pub fn at_temperature(&self, temperature: f64) -> Self {
        let scale = Some(self.scale.unwrap_or(1.0) / temperature);
        Self { scale, cap: self.cap.map(|cap| cap / temperature), ..self.clone() }
    }

    /// Returns the number of words.
    pub fn words(&self) -> Result<usize> {
        Ok(self.dims()?[0])
    }

    /// Returns the numbers of words and of what each reads.
    pub(super) fn dims(&self) -> Result<[usize; 2]> {
        match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => numbers.dims2().map(Into::into).map_err(Into::into),
            UnembeddingMatrix::Packed(packed) => Ok(packed.dims()),
        }
    }

    pub(super) fn way(&self, x: &Tensor) -> Result<Implementation> {
        let [words, inner] = self.dims()?;
        let is_narrow = |t: &Tensor| matches!(t.dtype(), DType::F32 | DType::F16 | DType::BF16);
        let reads = |t: &Tensor| matches!(t.device(), Device::Cpu) && is_narrow(t) && !t.track_op();
        let can_be_read = match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => reads(numbers),
            UnembeddingMatrix::Packed(_) => true,
        };
        let fits = x.dims().last() == Some(&inner) && x.elem_count() > 0 && words > 0;
        let is_fused = fits && can_be_read && self.bias.as_ref().is_none_or(reads);
        Ok(if is_fused { Implementation::of(&[x]) } else { Implementation::Plain })
    }

    /// Computes the logits of all words, `[rows, words]`, by candle's operations.
    pub fn logits_plain(&self, x: &Tensor) -> Result<Tensor> {
        let [words, _] = self.dims()?;
        let matrix = match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => numbers.clone(),
            UnembeddingMatrix::Packed(packed) => packed.tensor()?.to_dtype(x.dtype())?,
        };
        let mut logits = linear_plain(x, &matrix, self.bias.as_ref())?.reshape(((), words))?;
        if let Some(scale) = self.scale {
            logits = (logits * scale)?;
        }
        Ok(match self.cap {
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
            None => logits,
        })
    }

    /// Returns the unembedding of some words.
    pub(super) fn part(&self, words: &Range<usize>) -> Result<Self> {
        let matrix = match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => {
                UnembeddingMatrix::Numbers(numbers.narrow(0, words.start, words.len())?.contiguous()?)
            }
            UnembeddingMatrix::Packed(packed) => UnembeddingMatrix::Packed(packed.rows(words.start, words.len())?),
        };
        let bias = self.bias.as_ref().map(|bias| flat(&bias.narrow(0, words.start, words.len())?)).transpose()?;
        Ok(Self { matrix, bias, scale: self.scale, cap: self.cap })
    }

    /// Returns the matrix in f32.
    pub(super) fn floats(&self) -> Result<Tensor> {
        match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => flat(numbers),
            UnembeddingMatrix::Packed(packed) => packed.tensor(),
        }
    }

    /// Computes the logits of rows for all words of a part, in memory that has room for them.
    pub(super) fn logits<'a>(&self, x: &[f32], memory: &'a mut Fresh) -> Result<&'a mut [f32]> {
        let [out, inner] = self.dims()?;
        let rows = x.len() / inner.max(1);
        let bias = self.bias.as_ref().map(FlatNumbers::of).transpose()?;
        let finish = Finish { bias: bias.as_ref().map(FlatNumbers::slice), act: None };
        let matrix = match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => Matrix::of(numbers)?,
            UnembeddingMatrix::Packed(packed) => Matrix::Packed(packed),
        };
        product::product(memory, x, &matrix, ProductSizes { rows, inner, out }, finish);
        // SAFETY: what the product has just written, and the memory is borrowed as long.
        let logits = unsafe { memory.pointer().part(0, rows * out) };
        if self.scale.is_some() || self.cap.is_some() {
            let arch = arch();
            parallel::fill(logits, out, &|_, row| {
                if let Some(scale) = self.scale {
                    arch.dispatch(Replace(&mut *row, Times(scale as f32)));
                }
                if let Some(cap) = self.cap {
                    arch.dispatch(Replace(row, SoftCap(cap as f32)));
                }
            });
        }
        Ok(logits)
    }

    /// Calls `take` with every block of the logits of at least one row, and with the unembedding of its words.
    pub(super) fn each_block(
        &self,
        x: &[f32],
        words: usize,
        goes_on: GoesOn,
        mut take: impl FnMut(LogitBlock, &Self) -> Result<()>,
    ) -> Result<()> {
        let [all, inner] = self.dims()?;
        let rows = x.len() / inner.max(1);
        let height = height(rows);
        let mut memory = Fresh::new(height * words.min(all))?;
        for first in (0..all).step_by(words) {
            let words = first..all.min(first + words);
            let part = self.part(&words)?;
            for start in (0..rows).step_by(height) {
                if !goes_on() {
                    bail!(Interrupted, "interrupted");
                }
                let rows = start..rows.min(start + height);
                let logits = part.logits(&x[rows.start * inner..rows.end * inner], &mut memory)?;
                take(LogitBlock { rows, words: words.clone(), logits }, &part)?;
            }
        }
        Ok(())
    }

    /// Adds up the powers of the logits of at least one row, and if asked the slopes of each row's loss.
    pub(super) fn row_sums(
        &self,
        x: &[f32],
        targets: &[u32],
        words: usize,
        goes_on: GoesOn,
        mut slopes: Option<&mut LossSlopes>,
    ) -> Result<RowSums> {
        let mut totals = vec![f64::NEG_INFINITY; targets.len()];
        let mut picked = vec![0.0; targets.len()];
        self.each_block(x, words, goes_on, |LogitBlock { rows, words, logits }, part| {
            let before = totals[rows.clone()].to_vec();
            for (row, total) in rows.clone().zip(block_totals(logits, words.len())) {
                totals[row] = joined(totals[row], f64::from(total));
            }
            pick(&mut picked, targets, &rows, &words, logits);
            match slopes.as_deref_mut() {
                None => Ok(()),
                Some(slopes) => {
                    let after = &totals[rows.clone()];
                    let targets = &targets[rows.clone()];
                    slopes.add(LogitBlock { rows, words, logits }, part, targets, [&before, after])
                }
            }
        })?;
        Ok(RowSums { totals, picked })
    }

    /// Returns the derivative of the cap at each logit, if there is a cap.
    pub(super) fn cap_slopes(&self, logits: &[f32]) -> Option<Vec<f32>> {
        let cap = self.cap? as f32;
        Some(logits.iter().map(|logit| 1.0 - (logit / cap) * (logit / cap)).collect())
    }

    /// Replaces the gradients of logits by those of what cap, whose derivatives these are, and scale were applied to.
    pub(super) fn pull_through(&self, arch: Arch, caps: Option<&[f32]>, slopes: &mut [f32]) {
        for (slope, of_cap) in slopes.iter_mut().zip(caps.unwrap_or_default()) {
            *slope *= of_cap;
        }
        if let Some(scale) = self.scale {
            arch.dispatch(Replace(slopes, Times(scale as f32)));
        }
    }
}

/// Slopes of each row's loss, log(sum of e^logits) - the target's logit.
pub(super) struct LossSlopes {
    /// Sums over the words so far, weighed by their probabilities among these.
    means: RowSlopes,
    of_targets: RowSlopes,
}

impl LossSlopes {
    fn new(rows: usize, inner: usize) -> Self {
        Self { means: RowSlopes::new(rows, inner), of_targets: RowSlopes::new(rows, inner) }
    }

    /// Adds the words of a block, whose logits it replaces, for rows that have these targets, and these totals before the
    /// block and after it.
    fn add(
        &mut self,
        LogitBlock { rows, words, logits }: LogitBlock,
        part: &Unembedding,
        targets: &[u32],
        [before, after]: [&[f64]; 2],
    ) -> Result<()> {
        let arch = arch();
        let inner = self.means.inner();
        let weights = part.floats()?;
        let weights = FlatNumbers::of(&weights)?;
        let weights = weights.slice();
        let means = self.means.rows(&rows).chunks_exact_mut(inner);
        let of_targets = self.of_targets.rows(&rows).chunks_exact_mut(inner);
        let each = logits.chunks_exact_mut(words.len()).zip(means.zip(of_targets)).enumerate();
        parallel::of_each_short(each, &|(at, (logits, (mean, of_target)))| {
            let caps = part.cap_slopes(logits);
            let target = (targets[at] as usize).wrapping_sub(words.start);
            if target < words.len() {
                let of_cap = caps.as_ref().map_or(1.0, |caps| caps[target]);
                of_target.copy_from_slice(&weights[target * inner..(target + 1) * inner]);
                part.pull_through(arch, None, of_target);
                arch.dispatch(Replace(of_target, Times(of_cap)));
            }
            let total = after[at] as f32;
            arch.dispatch(LogitSlopes { logits: &mut *logits, total, target: usize::MAX, gradient: 1.0 });
            part.pull_through(arch, caps.as_deref(), logits);
            arch.dispatch(Replace(mean, Times((before[at] - after[at]).exp() as f32)));
        });
        self.means.add(&rows, logits, weights);
        Ok(())
    }

    fn numbers(self) -> Vec<f32> {
        let mut slopes = self.means.numbers();
        for (slope, of_target) in slopes.iter_mut().zip(self.of_targets.numbers()) {
            *slope -= of_target;
        }
        slopes
    }
}

/// Returns the height of blocks of at least one row, all of about the same.
fn height(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(ROWS))
}

/// Computes log(sum of e^logits) of each row of a block.
pub(super) fn block_totals(logits: &[f32], width: usize) -> Vec<f32> {
    let arch = arch();
    parallel::of_each_short(0..logits.len() / width, &|row| {
        arch.dispatch(Total { logits: &logits[row * width..(row + 1) * width] })
    })
}

/// Computes log(e^a + e^b).
pub(super) fn joined(a: f64, b: f64) -> f64 {
    let (least, most) = if a < b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}

pub(crate) fn losses_by(rows: UnembeddedRows, targets: &[u32], words: usize, goes_on: GoesOn) -> Result<Tensor> {
    let UnembeddedRows { x, by } = rows;
    let [all, inner] = by.dims()?;
    check_targets(targets, x.elem_count() / inner.max(1), all)?;
    if by.way(x)? == Implementation::Plain {
        return token_losses_plain(&by.logits_plain(x)?, targets);
    }
    losses_in_blocks("token_losses_of", rows, targets, words, goes_on)
}

pub(crate) fn totals_by(rows: UnembeddedRows, words: usize, goes_on: GoesOn) -> Result<Tensor> {
    let UnembeddedRows { x, by } = rows;
    if by.way(x)? == Implementation::Plain {
        return Ok(totals_plain(&by.logits_plain(x)?)?.squeeze(1)?);
    }
    let [_, inner] = by.dims()?;
    losses_in_blocks("totals_of", rows, &vec![NO_WORD; x.elem_count() / inner], words, goes_on)
}

/// Computes log(sum of e^logits) of each row, less the logit of its target if it has one.
fn losses_in_blocks(
    name: &'static str,
    rows: UnembeddedRows,
    targets: &[u32],
    words: usize,
    goes_on: GoesOn,
) -> Result<Tensor> {
    let UnembeddedRows { x, by } = rows;
    let [_, inner] = by.dims()?;
    let mut slopes = x.track_op().then(|| LossSlopes::new(targets.len(), inner));
    let from = flat(x)?;
    let from = FlatNumbers::of(&from)?;
    let RowSums { totals, picked } = by.row_sums(from.slice(), targets, words, goes_on, slopes.as_mut())?;
    let losses = totals.iter().zip(&picked).map(|(total, picked)| (total - f64::from(*picked)) as f32);
    let losses = Fresh::from(losses.collect::<Vec<f32>>());
    let Some(slopes) = slopes.map(LossSlopes::numbers) else { return losses.tensor(&[targets.len()], DType::F32) };
    let dims = x.dims().to_vec();
    record_by_gradient(name, losses, &[targets.len()], &[x], move |gradient| times_gradients(&slopes, &dims, gradient))
}

pub(crate) fn divergences_by(p: UnembeddedRows, q: UnembeddedRows, words: usize, goes_on: GoesOn) -> Result<Tensor> {
    let [p_words, p_inner] = p.by.dims()?;
    let [q_words, inner] = q.by.dims()?;
    let of_p = p.x.elem_count() / p_inner.max(1);
    let of_q = q.x.elem_count() / inner.max(1);
    let rows = of_p.max(of_q);
    let few = of_p.min(of_q);
    let copies = rows / few.max(1);
    if p_words != q_words || copies * few != rows {
        bail!(
            Shape,
            "expected as many rows and words of both, found {of_p} and {of_q} rows, {p_words} and {q_words} words"
        );
    }
    let p_x = p.x.detach().reshape(((), p_inner))?;
    let way = if p.by.way(&p_x)? == Implementation::Fused { q.by.way(q.x)? } else { Implementation::Plain };
    // Rows that stand beside copies have the sum of their gradients, which candle's operations make.
    let way = if of_p > of_q && way == Implementation::Recorded { Implementation::Plain } else { way };
    // Where logits are replaced by slopes, each row of q needs its own of p.
    let p_x = if of_q > of_p && way != Implementation::Fused { p_x.repeat((copies, 1))? } else { p_x };
    if way == Implementation::Plain {
        let q_x = if of_p > of_q { q.x.reshape((of_q, inner))?.repeat((copies, 1))? } else { q.x.clone() };
        return divergences_plain(&p.by.logits_plain(&p_x)?, &q.by.logits_plain(&q_x)?);
    }
    let from_p = flat(&p_x)?;
    let from_q = flat(q.x)?;
    let mut sums = RowsBeside::new(rows);
    let mut slopes = (way == Implementation::Recorded).then(|| SlopesBeside::new(rows, inner));
    side_by_side((p.by, &from_p), (q.by, &from_q), words, goes_on, |block| {
        let before = sums.totals(&block.rows);
        sums.add(&block.seen());
        match &mut slopes {
            None => Ok(()),
            Some(slopes) => slopes.add([&before, &sums.totals(&block.rows)], block),
        }
    })?;
    let divergences = sums.divergences().into_iter().map(|row| row.divergence);
    let Some(slopes) = slopes.map(SlopesBeside::numbers) else {
        return Ok(Tensor::from_vec(divergences.collect::<Vec<f64>>(), rows, &Device::Cpu)?);
    };
    let divergences = Fresh::from(divergences.map(|divergence| divergence as f32).collect::<Vec<f32>>());
    let dims = q.x.dims().to_vec();
    record_by_gradient("divergences_of", divergences, &[rows], &[q.x], move |gradient| {
        times_gradients(&slopes, &dims, gradient)
    })
}

pub(crate) fn blocks_beside_by(
    p: UnembeddedRows,
    q: UnembeddedRows,
    words: usize,
    goes_on: GoesOn,
    take: &mut dyn FnMut(&LogitsBeside),
) -> Result<()> {
    let [all, p_inner] = p.by.dims()?;
    let [q_words, q_inner] = q.by.dims()?;
    let rows = p.x.elem_count() / p_inner.max(1);
    let of_q = q.x.elem_count() / q_inner.max(1);
    if all != q_words || of_q != rows {
        bail!(
            Shape,
            "expected as many rows and words of both, found {rows} and {of_q} rows, {all} and {q_words} words"
        );
    }
    let [p_x, q_x] = [p.x.detach(), q.x.detach()];
    if p.by.way(&p_x)? == Implementation::Plain || q.by.way(&q_x)? == Implementation::Plain {
        let [p, q] = [(p.by, &p_x), (q.by, &q_x)].map(|(by, x)| flat(&by.logits_plain(x)?.to_device(&Device::Cpu)?));
        let [p, q] = [p?, q?];
        let [p, q] = [FlatNumbers::of(&p)?, FlatNumbers::of(&q)?];
        take(&LogitsBeside { rows: 0..rows, words: 0..all, p: p.slice(), q: q.slice() });
        return Ok(());
    }
    side_by_side((p.by, &flat(&p_x)?), (q.by, &flat(&q_x)?), words, goes_on, |block| {
        take(&block.seen());
        Ok(())
    })
}

/// Logits of two predictions p and q for some words, and for some rows: `[rows, words]` each. Where one of them has fewer
/// rows they stand again and again beside those of the other, which the rows are.
#[derive(Debug, Clone)]
pub struct LogitsBeside<'a> {
    pub rows: Range<usize>,
    pub words: Range<usize>,
    pub p: &'a [f32],
    pub q: &'a [f32],
}

impl LogitsBeside<'_> {
    /// Returns the logits p and q of a row, by its number among those of the block.
    pub fn row(&self, row: usize) -> [&[f32]; 2] {
        let width = self.words.len();
        let begin = row * width;
        [self.p, self.q].map(|logits| &logits[begin % logits.len()..][..width])
    }
}

/// Logits of p and q for some words, and for some rows, as [`LogitsBeside`], to be replaced.
struct BlockBeside<'a> {
    rows: Range<usize>,
    words: Range<usize>,
    p: &'a mut [f32],
    q: &'a mut [f32],
    /// Unembedding of q for these words.
    by: &'a Unembedding,
}

impl BlockBeside<'_> {
    fn seen(&self) -> LogitsBeside<'_> {
        let Self { rows, words, p, q, .. } = self;
        LogitsBeside { rows: rows.clone(), words: words.clone(), p, q }
    }
}

/// Calls `take` with every block of the logits of p and q; one of them may have several times as many rows as the other.
fn side_by_side(
    (p_by, p): (&Unembedding, &Tensor),
    (q_by, q): (&Unembedding, &Tensor),
    words: usize,
    goes_on: GoesOn,
    mut take: impl FnMut(BlockBeside) -> Result<()>,
) -> Result<()> {
    let [all, p_inner] = p_by.dims()?;
    let [_, q_inner] = q_by.dims()?;
    let p = FlatNumbers::of(p)?;
    let q = FlatNumbers::of(q)?;
    let [of_p, of_q] = [(p_by, p.slice(), p_inner), (q_by, q.slice(), q_inner)];
    let has_copies_of_p = p.slice().len() / p_inner > q.slice().len() / q_inner;
    let ((by, x, few_inner), (copied_by, copied, inner)) = if has_copies_of_p { (of_q, of_p) } else { (of_p, of_q) };
    let count = x.len() / few_inner;
    let copies = copied.len() / inner / count;
    let mut memory = Fresh::new(ROWS.min(copies * count) * words.min(all))?;
    by.each_block(x, words, goes_on, |LogitBlock { rows, words, logits }, part| {
        let copied_part = &copied_by.part(&words)?;
        // Copies lie one after the other only where a block has all rows of the other.
        let at_once = if rows.len() == count && count > FEW_ROWS { ROWS / count } else { 1 };
        for first in (0..copies).step_by(at_once) {
            if !goes_on() {
                bail!(Interrupted, "interrupted");
            }
            let last = copies.min(first + at_once) - 1;
            let rows = first * count + rows.start..last * count + rows.end;
            let copied = copied_part.logits(&copied[rows.start * inner..rows.end * inner], &mut memory)?;
            let (p, q, by) =
                if has_copies_of_p { (copied, &mut *logits, part) } else { (&mut *logits, copied, copied_part) };
            take(BlockBeside { rows, words: words.clone(), p, q, by })?;
        }
        Ok(())
    })
}

/// Slopes of each row's divergence by the row of q: the difference of two sums over the words so far, weighed by their
/// probabilities of q and of p among these. It is summed up as a difference, so that of predictions that are close no
/// digits are lost.
struct SlopesBeside {
    differences: RowSlopes,
    /// Sums that are weighed by the probabilities of p.
    means: RowSlopes,
}

impl SlopesBeside {
    fn new(rows: usize, inner: usize) -> Self {
        Self { differences: RowSlopes::new(rows, inner), means: RowSlopes::new(rows, inner) }
    }

    /// Adds the words of a block, whose logits it replaces, for rows of these totals of p and q before the block and after
    /// it.
    fn add(&mut self, [before, after]: [&[[f64; 2]]; 2], block: BlockBeside) -> Result<()> {
        let BlockBeside { rows, words, p, q, by, .. } = block;
        let arch = arch();
        let inner = self.means.inner();
        let weights = by.floats()?;
        let weights = FlatNumbers::of(&weights)?;
        let logits = p.chunks_exact_mut(words.len()).zip(q.chunks_exact_mut(words.len()));
        let differences = self.differences.rows(&rows).chunks_exact_mut(inner);
        let sums = differences.zip(self.means.rows(&rows).chunks_exact_mut(inner));
        parallel::of_each_short(logits.zip(sums).enumerate(), &|(at, ((p, q), (differences, means)))| {
            let totals = after[at];
            // The shares that the words so far have now.
            let [of_p, of_q] = [0, 1].map(|of| (before[at][of] - totals[of]).exp());
            for (difference, mean) in differences.iter_mut().zip(means) {
                *difference = of_q as f32 * *difference + (of_q - of_p) as f32 * *mean;
                *mean *= of_p as f32;
            }
            let caps = by.cap_slopes(q);
            arch.dispatch(DivergenceSlopes { p: &*p, q: &mut *q, totals, gradient: 1.0 });
            let total = totals[0] as f32;
            arch.dispatch(LogitSlopes { logits: &mut *p, total, target: usize::MAX, gradient: 1.0 });
            by.pull_through(arch, caps.as_deref(), p);
            by.pull_through(arch, caps.as_deref(), q);
        });
        self.differences.add(&rows, q, weights.slice());
        self.means.add(&rows, p, weights.slice());
        Ok(())
    }

    fn numbers(self) -> Vec<f32> {
        self.differences.numbers()
    }
}

/// Sums of each row of two predictions so far, from which their divergences are computed.
pub struct RowsBeside(Vec<Option<DivergenceSums>>);

impl RowsBeside {
    /// Begins the sums of so many rows.
    pub fn new(rows: usize) -> Self {
        Self(vec![None; rows])
    }

    /// Adds the sums of the rows of a block.
    pub fn add(&mut self, block: &LogitsBeside) {
        let arch = arch();
        let found = parallel::of_each_short(0..block.rows.len(), &|row| {
            let [p, q] = block.row(row);
            arch.dispatch(Divergence { p, q })
        });
        for (sums, found) in self.0[block.rows.clone()].iter_mut().zip(found) {
            *sums = Some(sums.map_or(found, |before| before.joined(found)));
        }
    }

    /// Returns log(sum of e^logits) of p and of q for some rows so far.
    fn totals(&self, rows: &Range<usize>) -> Vec<[f64; 2]> {
        let none = [f64::NEG_INFINITY; 2];
        self.0[rows.clone()].iter().map(|sums| sums.map_or(none, |sums| sums.divergence().totals)).collect()
    }

    /// Returns the divergence of p from q in each row, whose words have all been added.
    pub fn divergences(self) -> Vec<RowDivergence> {
        self.0.into_iter().flatten().map(DivergenceSums::divergence).collect()
    }
}

pub(crate) fn compared_by(
    p: UnembeddedRows,
    others: &[&Tensor],
    targets: &[u32],
    words: usize,
    goes_on: GoesOn,
) -> Result<Vec<Vec<ComparedRow>>> {
    let by = p.by;
    let [all, inner] = by.dims()?;
    let count = p.x.elem_count() / inner.max(1);
    check_targets(targets, count, all)?;
    let xs: Vec<Tensor> = others.iter().map(|x| x.detach()).collect();
    if xs.is_empty() || xs.iter().any(|x| x.elem_count() != count * inner) {
        bail!(Shape, "expected other predictions of {count} rows, as many as of the first");
    }
    let p_x = p.x.detach();
    if by.way(&p_x)? == Implementation::Plain {
        let p = by.logits_plain(&p_x)?;
        return [&p_x].into_iter().chain(&xs).map(|x| compared_plain(&p, &by.logits_plain(x)?, targets)).collect();
    }
    let copies = Tensor::cat(&xs.iter().map(|x| x.reshape((count, inner))).collect::<Result<Vec<_>, _>>()?, 0)?;
    let mut sums = RowsBeside::new(xs.len() * count);
    let of_copies = targets.repeat(xs.len());
    let mut of_p = vec![0.0; count];
    let mut of_others = vec![0.0; of_copies.len()];
    side_by_side((by, &flat(&p_x)?), (by, &flat(&copies)?), words, goes_on, |block| {
        sums.add(&block.seen());
        let BlockBeside { rows, words, p, q, .. } = &block;
        let first = rows.start % count;
        pick(&mut of_p, targets, &(first..first + p.len() / words.len()), words, p);
        pick(&mut of_others, &of_copies, rows, words, q);
        Ok(())
    })?;
    let found = sums.divergences();
    let row = |divergence: f64, total: f64, picked: f32| ComparedRow { divergence, loss: total - f64::from(picked) };
    let itself = found.iter().zip(&of_p).map(|(of, picked)| row(0.0, of.totals[0], *picked));
    let mut compared: Vec<Vec<ComparedRow>> = vec![itself.collect()];
    for (found, picked) in found.chunks(count).zip(of_others.chunks(count)) {
        let rows = found.iter().zip(picked).map(|(of, picked)| row(of.divergence, of.totals[1], *picked));
        compared.push(rows.collect());
    }
    Ok(compared)
}

fn compared_plain(p: &Tensor, q: &Tensor, targets: &[u32]) -> Result<Vec<ComparedRow>> {
    let wide = |t: Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.to_vec1()?) };
    let rows = wide(divergences_plain(p, q)?)?.into_iter().zip(wide(token_losses_plain(q, targets)?)?);
    Ok(rows.map(|(divergence, loss)| ComparedRow { divergence, loss }).collect())
}

/// Takes the logits of those targets that are among some words, for some rows.
fn pick(picked: &mut [f32], targets: &[u32], rows: &Range<usize>, words: &Range<usize>, logits: &[f32]) {
    for row in rows.clone() {
        let column = (targets[row] as usize).wrapping_sub(words.start);
        if column < words.len() {
            picked[row] = logits[(row - rows.start) * words.len() + column];
        }
    }
}

pub(crate) fn likeliest_by(
    rows: UnembeddedRows,
    count: usize,
    words: usize,
    goes_on: GoesOn,
) -> Result<Vec<LikeliestWords>> {
    let UnembeddedRows { x, by } = rows;
    let x = x.detach();
    let [all, inner] = by.dims()?;
    let none = LikeliestWords { words: Vec::new(), total: f64::NEG_INFINITY };
    let mut found = vec![none; x.elem_count() / inner.max(1)];
    if by.way(&x)? == Implementation::Plain {
        let logits = flat(&by.logits_plain(&x)?.to_device(&Device::Cpu)?)?;
        take_likeliest(&mut found, 0, FlatNumbers::of(&logits)?.slice(), all, count);
        return Ok(found);
    }
    let x = flat(&x)?;
    by.each_block(FlatNumbers::of(&x)?.slice(), words, goes_on, |LogitBlock { rows, words, logits }, _| {
        take_likeliest(&mut found[rows], words.start, logits, words.len(), count);
        Ok(())
    })?;
    Ok(found)
}

/// Takes in the logits of each row for `width` words from `first` on.
fn take_likeliest(found: &mut [LikeliestWords], first: usize, logits: &[f32], width: usize, count: usize) {
    let totals = block_totals(logits, width.max(1));
    parallel::fill(found, 1, &|row, found| {
        for found in found {
            found.total = joined(found.total, f64::from(totals[row]));
            for (at, logit) in logits[row * width..(row + 1) * width].iter().enumerate() {
                let is_among = found.words.len() < count || found.words.last().is_some_and(|(_, least)| logit > least);
                if is_among {
                    let place = found.words.partition_point(|(_, other)| other >= logit);
                    found.words.insert(place, ((first + at) as u32, *logit));
                    found.words.truncate(count);
                }
            }
        }
    });
}
