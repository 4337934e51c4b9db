//! Losses, divergences and the likeliest words of rows that an unembedding reads, whose logits exist for some words at a
//! time: cut cross-entropy (Wijmans et al. 2024, arXiv 2411.09009).
//!
//! Each block of logits is summed up before the next one is computed, and a backward pass computes them again. The logits
//! of 4,096 rows and 2^18 words would take 4 GiB; a block takes 16 MiB.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use pulp::Arch;

use super::divergence::{Divergence, DivergenceSlopes, DivergenceSums, RowDivergence, divergences_plain};
use super::{LogitSlopes, Total, check_targets, token_losses_plain};
use crate::base::error::{Error, Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::linear::factor::{Factor, Onto};
use crate::linear::matrix::Matrix;
use crate::linear::packed::PackedMatrix;
use crate::linear::product;
use crate::linear::tile::{Finish, ProductSizes};
use crate::linear::{in_tiles, linear_plain};
use crate::numbers::elementwise::{Replace, SoftCap, Times};
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record;

/// Words of a block.
pub const WORDS: usize = 1 << 12;
/// Rows of a block, at most: for so many, weights are read and turned once.
const ROWS: usize = 1 << 10;

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

/// Computes KL(softmax(p) || softmax(q)) of each row, in nats: `[rows]`, in f64, but in f32 where q has a gradient.
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

/// Function that replaces the logits of a row for some words by their gradients: from the number of the row, the words,
/// and the logits of another prediction there, if there is one.
type Slopes<'a> = &'a (dyn Fn(usize, &Range<usize>, &[f32], &mut [f32]) + Sync);

impl Unembedding {
    /// Returns the numbers of words and of what each reads.
    fn dims(&self) -> Result<[usize; 2]> {
        match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => numbers.dims2().map(Into::into).map_err(Into::into),
            UnembeddingMatrix::Packed(packed) => Ok(packed.dims()),
        }
    }

    fn way(&self, x: &Tensor) -> Result<Implementation> {
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

    /// Computes the logits of all words, `[rows, words]`.
    fn logits_plain(&self, x: &Tensor) -> Result<Tensor> {
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
    fn part(&self, words: &Range<usize>) -> Result<Self> {
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
    fn floats(&self) -> Result<Tensor> {
        match &self.matrix {
            UnembeddingMatrix::Numbers(numbers) => flat(numbers),
            UnembeddingMatrix::Packed(packed) => packed.tensor(),
        }
    }

    /// Computes the logits of rows for all words of a part, in memory that has room for them.
    fn logits<'a>(&self, x: &[f32], memory: &'a mut Fresh) -> Result<&'a mut [f32]> {
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

    /// Adds up the powers of the logits of at least one row.
    pub(super) fn row_sums(&self, x: &[f32], targets: &[u32], words: usize, goes_on: GoesOn) -> Result<RowSums> {
        let mut totals = vec![f64::NEG_INFINITY; targets.len()];
        let mut picked = vec![0.0; targets.len()];
        self.each_block(x, words, goes_on, |LogitBlock { rows, words, logits }, _| {
            for (row, total) in rows.clone().zip(block_totals(logits, words.len())) {
                totals[row] = joined(totals[row], f64::from(total));
            }
            pick(&mut picked, targets, &rows, &words, logits);
            Ok(())
        })?;
        Ok(RowSums { totals, picked })
    }

    /// Computes the gradient of rows x from those of their logits. Rows whose own gradient is 0 are left out, and so are
    /// those beside them.
    fn pulled_back(
        &self,
        x: &Tensor,
        beside: Option<(&Self, &Tensor)>,
        gradients: &[f32],
        words: usize,
        slopes: Slopes,
    ) -> Result<Fresh> {
        let arch = arch();
        let [all, inner] = self.dims()?;
        let kept: Vec<usize> = (0..gradients.len()).filter(|row| gradients[*row] != 0.0).collect();
        let mut result = vec![0.0; gradients.len() * inner];
        if kept.is_empty() {
            return Ok(result.into());
        }
        let rows = some_rows(x, &kept)?;
        let beside = beside.map(|(by, x)| Ok::<_, Error>((by, some_rows(x, &kept)?))).transpose()?;
        let mut memory = Fresh::new(if beside.is_some() { height(kept.len()) * words.min(all) } else { 0 })?;
        let mut sums = Fresh::from(vec![0.0; rows.len()]);
        let place = sums.pointer();
        self.each_block(&rows, words, &|| true, |LogitBlock { rows, words, logits }, part| {
            let width = words.len();
            let other: &[f32] = match &beside {
                Some((by, x)) => by.part(&words)?.logits(of_rows(x, &rows, kept.len()), &mut memory)?,
                None => &[],
            };
            parallel::fill(logits, width, &|first, logits| {
                let at = first / width;
                let other = if other.is_empty() { other } else { &other[at * width..(at + 1) * width] };
                self.uncapped(arch, logits, &|logits| slopes(kept[rows.start + at], &words, other, logits));
            });
            let weights = part.floats()?;
            let weights = FlatNumbers::of(&weights)?;
            let weights = Factor { numbers: weights.slice(), row: inner as isize, column: 1 };
            let logits = Factor { numbers: logits, row: width as isize, column: 1 };
            let sizes = [rows.len(), inner, width];
            // SAFETY: these rows of the sums, all of which are written and to which nothing else refers.
            unsafe { in_tiles(place.moved(rows.start * inner), sizes, logits, weights, Onto::WhatIsThere) };
            Ok(())
        })?;
        for (row, sums) in kept.iter().zip(sums.numbers().chunks_exact(inner)) {
            result[row * inner..(row + 1) * inner].copy_from_slice(sums);
        }
        Ok(result.into())
    }

    /// Replaces logits by their gradients, and these by the gradients of what cap and scale were applied to.
    fn uncapped(&self, arch: Arch, logits: &mut [f32], slopes: &dyn Fn(&mut [f32])) {
        let before = self.cap.map(|cap| (cap as f32, logits.to_vec()));
        slopes(logits);
        if let Some((cap, before)) = before {
            for (slope, logit) in logits.iter_mut().zip(before) {
                *slope *= 1.0 - (logit / cap) * (logit / cap);
            }
        }
        if let Some(scale) = self.scale {
            arch.dispatch(Replace(logits, Times(scale as f32)));
        }
    }
}

/// Returns the height of blocks of at least one row, all of about the same.
fn height(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(ROWS))
}

/// Returns some rows of `[.., inner]`, one after the other.
fn some_rows(x: &Tensor, kept: &[usize]) -> Result<Vec<f32>> {
    let inner = x.dims().last().copied().unwrap_or_default();
    let numbers = FlatNumbers::of(x)?;
    Ok(kept.iter().flat_map(|row| &numbers.slice()[row * inner..(row + 1) * inner]).copied().collect())
}

/// Returns a range of `count` rows.
fn of_rows<'a>(x: &'a [f32], rows: &Range<usize>, count: usize) -> &'a [f32] {
    let inner = x.len() / count.max(1);
    &x[rows.start * inner..rows.end * inner]
}

/// Computes log(sum of e^logits) of each row of a block.
fn block_totals(logits: &[f32], width: usize) -> Vec<f32> {
    let arch = arch();
    parallel::map(logits.len() / width, &|row| arch.dispatch(Total { logits: &logits[row * width..(row + 1) * width] }))
}

/// Computes log(e^a + e^b).
fn joined(a: f64, b: f64) -> f64 {
    let (least, most) = if a < b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}

pub(crate) fn losses_by(rows: UnembeddedRows, targets: &[u32], words: usize, goes_on: GoesOn) -> Result<Tensor> {
    let UnembeddedRows { x, by } = rows;
    let [all, inner] = by.dims()?;
    check_targets(targets, x.elem_count() / inner.max(1), all)?;
    let way = by.way(x)?;
    if way == Implementation::Plain {
        return token_losses_plain(&by.logits_plain(x)?, targets);
    }
    let from = flat(x)?;
    let RowSums { totals, picked } = by.row_sums(FlatNumbers::of(&from)?.slice(), targets, words, goes_on)?;
    let losses = totals.iter().zip(&picked).map(|(total, picked)| (total - f64::from(*picked)) as f32);
    let losses = Fresh::from(losses.collect::<Vec<f32>>());
    if way == Implementation::Fused {
        return losses.tensor(&[targets.len()], DType::F32);
    }
    let by = by.clone();
    let dims = x.dims().to_vec();
    let ids = targets.to_vec();
    record("token_losses_of", losses, &[targets.len()], &[x], move |_, gradient| {
        let arch = arch();
        let gradient = flat(gradient)?;
        let gradients = FlatNumbers::of(&gradient)?;
        let gradients = gradients.slice();
        let slopes = |row: usize, words: &Range<usize>, _: &[f32], logits: &mut [f32]| {
            // A target that is not among these words has no place there.
            let target = (ids[row] as usize).wrapping_sub(words.start);
            arch.dispatch(LogitSlopes { logits, total: totals[row] as f32, target, gradient: gradients[row] });
        };
        let found = by.pulled_back(&from, None, gradients, words, &slopes)?;
        Ok(vec![Some(found.tensor(&dims, DType::F32)?)])
    })
}

pub(crate) fn divergences_by(p: UnembeddedRows, q: UnembeddedRows, words: usize, goes_on: GoesOn) -> Result<Tensor> {
    let p_x = p.x.detach();
    let [p_words, p_inner] = p.by.dims()?;
    let [q_words, inner] = q.by.dims()?;
    let rows = q.x.elem_count() / inner.max(1);
    if p_words != q_words || p_x.elem_count() / p_inner.max(1) != rows {
        bail!(Shape, "expected as many rows and words of both predictions, found {p_words} and {q_words} words");
    }
    let way = if p.by.way(&p_x)? == Implementation::Fused { q.by.way(q.x)? } else { Implementation::Plain };
    if way == Implementation::Plain {
        return divergences_plain(&p.by.logits_plain(&p_x)?, &q.by.logits_plain(q.x)?);
    }
    let from_p = flat(&p_x)?;
    let from_q = flat(q.x)?;
    let found = row_divergences((p.by, &from_p), (q.by, &from_q), rows, words, goes_on)?;
    let divergences = found.iter().map(|row| row.divergence);
    if way == Implementation::Fused {
        return Ok(Tensor::from_vec(divergences.collect::<Vec<f64>>(), rows, &Device::Cpu)?);
    }
    let divergences = Fresh::from(divergences.map(|divergence| divergence as f32).collect::<Vec<f32>>());
    let p_by = p.by.clone();
    let q_by = q.by.clone();
    let dims = q.x.dims().to_vec();
    record("divergences_of", divergences, &[rows], &[q.x], move |_, gradient| {
        let arch = arch();
        let gradient = flat(gradient)?;
        let gradients = FlatNumbers::of(&gradient)?;
        let gradients = gradients.slice();
        let slopes = |row: usize, _: &Range<usize>, p: &[f32], q: &mut [f32]| {
            arch.dispatch(DivergenceSlopes { p, q, totals: found[row].totals, gradient: gradients[row] });
        };
        let found = q_by.pulled_back(&from_q, Some((&p_by, &from_p)), gradients, words, &slopes)?;
        Ok(vec![Some(found.tensor(&dims, DType::F32)?)])
    })
}

/// Calls `take` with the logits of p and of each of the others, for some rows and words at a time: with the number of the
/// other one, the rows, the words, and both logits.
fn side_by_side(
    (p_by, p): (&Unembedding, &Tensor),
    others: &[(&Unembedding, &Tensor)],
    words: usize,
    goes_on: GoesOn,
    mut take: impl FnMut(usize, &Range<usize>, &Range<usize>, [&[f32]; 2]),
) -> Result<()> {
    let [all, inner] = p_by.dims()?;
    let p = FlatNumbers::of(p)?;
    let numbers = others.iter().map(|(_, x)| FlatNumbers::of(x)).collect::<Result<Vec<_>>>()?;
    let count = p.slice().len() / inner.max(1);
    let mut memory = Fresh::new(height(count) * words.min(all))?;
    p_by.each_block(p.slice(), words, goes_on, |LogitBlock { rows, words, logits }, _| {
        for (number, ((by, _), x)) in others.iter().zip(&numbers).enumerate() {
            let q = by.part(&words)?.logits(of_rows(x.slice(), &rows, count), &mut memory)?;
            take(number, &rows, &words, [logits, q]);
        }
        Ok(())
    })
}

/// Sums of each row of two predictions so far.
struct RowsBeside(Vec<Option<DivergenceSums>>);

impl RowsBeside {
    /// Adds the sums of some rows for some words.
    fn add(&mut self, rows: &Range<usize>, width: usize, [p, q]: [&[f32]; 2]) {
        let arch = arch();
        let found = parallel::map(rows.len(), &|row| {
            let columns = row * width..(row + 1) * width;
            arch.dispatch(Divergence { p: &p[columns.clone()], q: &q[columns] })
        });
        for (sums, found) in self.0[rows.clone()].iter_mut().zip(found) {
            *sums = Some(sums.map_or(found, |before| before.joined(found)));
        }
    }

    fn divergences(self) -> Vec<RowDivergence> {
        self.0.into_iter().flatten().map(DivergenceSums::divergence).collect()
    }
}

/// Adds up two predictions of each row.
fn row_divergences(
    p: (&Unembedding, &Tensor),
    q: (&Unembedding, &Tensor),
    count: usize,
    words: usize,
    goes_on: GoesOn,
) -> Result<Vec<RowDivergence>> {
    let mut sums = RowsBeside(vec![None; count]);
    side_by_side(p, &[q], words, goes_on, |_, rows, words, both| sums.add(rows, words.len(), both))?;
    Ok(sums.divergences())
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
    let flat_xs = xs.iter().map(flat).collect::<Result<Vec<_>>>()?;
    let beside: Vec<(&Unembedding, &Tensor)> = flat_xs.iter().map(|x| (by, x)).collect();
    let mut sums: Vec<RowsBeside> = beside.iter().map(|_| RowsBeside(vec![None; count])).collect();
    // Of p, and of each other.
    let mut picked = vec![vec![0.0; count]; 1 + beside.len()];
    side_by_side((by, &flat(&p_x)?), &beside, words, goes_on, |number, rows, words, [p, q]| {
        sums[number].add(rows, words.len(), [p, q]);
        pick(&mut picked[0], targets, rows, words, p);
        pick(&mut picked[1 + number], targets, rows, words, q);
    })?;
    let found: Vec<Vec<RowDivergence>> = sums.into_iter().map(RowsBeside::divergences).collect();
    let row = |divergence: f64, total: f64, picked: &f32| ComparedRow { divergence, loss: total - f64::from(*picked) };
    let of_p = found[0].iter().zip(&picked[0]).map(|(of, picked)| row(0.0, of.totals[0], picked));
    let mut compared: Vec<Vec<ComparedRow>> = vec![of_p.collect()];
    for (found, picked) in found.iter().zip(&picked[1..]) {
        let rows = found.iter().zip(picked).map(|(of, picked)| row(of.divergence, of.totals[1], picked));
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
