//! Losses, divergences, ranks and the likeliest tokens at points of a pass, by logits that exist for some words at a time. Of
//! a vocabulary of 2^18 the logits of 4,096 tokens would take 4 GiB.
//!
//! Logits that are no more than a block of these, GPUs, other dtypes than f32 and trained unembeddings are whole, of some
//! points at a time. What names its tokens has their logits alone, by their rows of the unembedding.

use std::collections::BTreeMap;
use std::ops::Range;

use kernels::{
    ComparedRow, FlatNumbers, LikeliestWords, LogitsBeside, RankedWord, RowWord, UnembeddedRows, Unembedding,
    UnembeddingMatrix,
};

use super::config::Predicts;
use super::decoder::Decoder;
use super::run::PassEnd;
use super::weight::Weight;
use crate::base::{Result, Task};
use crate::err;
use crate::tensor::normalise;
use crate::tensor::{DType, Device, Tensor, floats};

/// Number of logits up to which they are whole: 16 MiB.
const WHOLE: usize = 1 << 22;

/// Number of logits that are kept to compare others with, and of others that are compared at once: 64 MiB.
const KEPT: usize = 1 << 24;

/// Predictions that others are compared with, at some points.
#[derive(Debug, Clone)]
pub enum ReferencePredictions {
    /// Logits in f32 or wider, `[points, vocab]`.
    Logits(Tensor),
    /// Rows that an unembedding reads, one a point, for more logits than are kept.
    Rows { x: Tensor, by: Box<Unembedding> },
}

/// A function that gets blocks of the logits of two predictions.
pub type TakeBeside<'a> = dyn FnMut(&LogitsBeside) + 'a;

/// Rank of a token among all, 1 for the likeliest, and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenRank {
    pub rank: usize,
    pub probability: f64,
}

/// A divergence of two predictions.
#[derive(Debug, Clone, Copy)]
struct DivergenceOf {
    place: ReferencePlace,
    /// Number that all logits are divided by, if any.
    temperature: Option<f64>,
}

/// Order of two predictions in a divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReferencePlace {
    /// KL(reference || this).
    First,
    /// KL(this || reference).
    Last,
}

impl DivergenceOf {
    /// Returns an unembedding whose logits are divided by the temperature.
    fn warm(self, by: &Unembedding) -> Unembedding {
        self.temperature.map_or_else(|| by.clone(), |temperature| by.at_temperature(temperature))
    }

    /// Divides logits by the temperature.
    fn warmed(self, logits: Tensor) -> Result<Tensor> {
        Ok(match self.temperature {
            Some(temperature) => (logits / temperature)?,
            None => logits,
        })
    }
}

impl ReferencePredictions {
    /// Gives all logits of these predictions, p, beside those of others at as many points, q, to `take`, in blocks of points and
    /// words, each once.
    pub fn beside(&self, others: &Self, take: &mut TakeBeside, task: &Task) -> Result<()> {
        if let (Self::Rows { x, by }, Self::Rows { x: q_x, by: q_by }) = (self, others) {
            let [p, q] = [UnembeddedRows { x, by }, UnembeddedRows { x: q_x, by: q_by }];
            let found = kernels::each_block_beside(p, q, &|| task.check().is_ok(), take);
            task.check()?;
            return Ok(found?);
        }
        let count = self.points()?;
        if others.points()? != count {
            return Err(err!(Bug, "predictions at {count} points beside those at {}", others.points()?));
        }
        let at_once = (WHOLE / self.words()?.max(1)).max(1);
        for start in (0..count).step_by(at_once) {
            task.check()?;
            let rows = start..count.min(start + at_once);
            let [p, q] = [self, others].map(|side| side.numbers(rows.clone()));
            let [p, q] = [p?, q?];
            let [p, q] = [FlatNumbers::of(&p)?, FlatNumbers::of(&q)?];
            take(&LogitsBeside { rows, words: 0..self.words()?, p: p.slice(), q: q.slice() });
        }
        Ok(())
    }

    fn points(&self) -> Result<usize> {
        match self {
            Self::Logits(x) | Self::Rows { x, .. } => Ok(x.dim(0)?),
        }
    }

    fn words(&self) -> Result<usize> {
        match self {
            Self::Logits(logits) => Ok(logits.dim(1)?),
            Self::Rows { by, .. } => Ok(by.words()?),
        }
    }

    /// Returns all logits at some points, in f32 in the memory of the CPU.
    fn numbers(&self, points: Range<usize>) -> Result<Tensor> {
        let logits = match self {
            Self::Logits(logits) => logits.narrow(0, points.start, points.len())?,
            Self::Rows { x, by } => by.logits_plain(&x.narrow(0, points.start, points.len())?)?,
        };
        Ok(kernels::flat(&logits.to_device(&Device::Cpu)?)?)
    }

    /// Returns the predictions at some of the points.
    pub fn at(&self, points: &[u32]) -> Result<Self> {
        let chosen = |x: &Tensor| -> Result<Tensor> { Ok(x.index_select(&Tensor::new(points, x.device())?, 0)?) };
        Ok(match self {
            Self::Logits(logits) => Self::Logits(chosen(logits)?),
            Self::Rows { x, by } => Self::Rows { x: chosen(x)?, by: by.clone() },
        })
    }
}

impl Decoder {
    /// Returns the unembedding by which logits are computed for some words at a time; None where all logits of a row are
    /// whole.
    fn in_words(&self) -> Option<Unembedding> {
        let config = self.config();
        let unembed = &self.weights().unembed;
        let is_whole = config.outputs() <= kernels::WORDS
            || config.predicts == Predicts::Nothing
            || self.dtype() != DType::F32
            || !matches!(self.device(), Device::Cpu)
            || unembed.weight.tracks()
            || unembed.bias.as_ref().is_some_and(Tensor::track_op);
        if is_whole {
            return None;
        }
        let matrix = match &unembed.weight {
            Weight::Numbers(numbers) => UnembeddingMatrix::Numbers(numbers.clone()),
            Weight::Packed(packed) => UnembeddingMatrix::Packed(packed.clone()),
            Weight::Adapted(_) => return None,
        };
        Some(Unembedding { matrix, bias: unembed.bias.clone(), scale: config.logit_scale, cap: config.logit_cap })
    }

    /// Returns whether logits of many rows are computed for some words at a time, so that their number needs no limit.
    pub fn reads_in_words(&self) -> bool {
        self.in_words().is_some()
    }

    /// Returns the unembedding by which the logits of this many rows are computed for some words at a time; None where they
    /// are whole.
    pub(super) fn by_words(&self, rows: usize) -> Option<Unembedding> {
        if rows.saturating_mul(self.config().outputs()) <= WHOLE { None } else { self.in_words() }
    }

    /// Computes the logits of some tokens, each at a point of the end of a pass: `[tokens]`, by their own rows of the
    /// unembedding; None where logits are whole. A gradient flows to the pass.
    pub fn logits_of_tokens(&self, end: &PassEnd, tokens: &[RowWord]) -> Result<Option<Tensor>> {
        let Some(by) = self.in_words().filter(|_| end.is_before_logits()) else { return Ok(None) };
        Ok(Some(kernels::logits_of_words(UnembeddedRows { x: end.rows(), by: &by }, tokens)?))
    }

    /// Computes log p of some tokens, each at a point of the end of a pass, in nats: `[tokens]`; None where logits are
    /// whole. A gradient flows to the pass.
    pub fn log_probabilities_of_tokens(
        &self,
        end: &PassEnd,
        tokens: &[RowWord],
        task: &Task,
    ) -> Result<Option<Tensor>> {
        let Some(by) = self.by_words(end.points()?).filter(|_| end.is_before_logits()) else { return Ok(None) };
        let rows = UnembeddedRows { x: end.rows(), by: &by };
        let own = kernels::logits_of_words(rows, tokens)?;
        let totals = kernels::totals_of(rows, &|| task.check().is_ok());
        task.check()?;
        let points: Vec<u32> = tokens.iter().map(|(point, _)| *point as u32).collect();
        Ok(Some((own - totals?.index_select(&Tensor::new(points, self.device())?, 0)?)?))
    }

    /// Computes the ranks of some tokens among all, each at a point of the end of a pass.
    pub fn ranks_of_tokens(&self, end: &PassEnd, tokens: &[RowWord], task: &Task) -> Result<Vec<TokenRank>> {
        let count = end.points()?;
        if let Some(by) = self.by_words(count).filter(|_| end.is_before_logits()) {
            let found = kernels::ranks_of(UnembeddedRows { x: end.rows(), by: &by }, tokens, &|| task.check().is_ok());
            task.check()?;
            let rank =
                |found: RankedWord| TokenRank { rank: 1 + found.larger, probability: found.log_probability.exp() };
            return Ok(found?.into_iter().map(rank).collect());
        }
        let mut of_points: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, (point, _)) in tokens.iter().enumerate() {
            of_points.entry(*point).or_default().push(number);
        }
        let none = TokenRank { rank: 0, probability: f64::NAN };
        let mut ranks = vec![none; tokens.len()];
        let at_once = (WHOLE / self.config().outputs().max(1)).max(1);
        for start in (0..count).step_by(at_once) {
            task.check()?;
            let points = start..count.min(start + at_once);
            let logits = self.logits_of(end, points.clone(), task)?.detach();
            for (point, numbers) in of_points.range(points) {
                let logits = floats(&logits.get(point - start)?)?;
                let own = numbers.iter().map(|number| logits.get(tokens[*number].1 as usize).copied());
                let own = own.collect::<Option<Vec<f64>>>().ok_or_else(|| err!(Bug, "a token without a logit"))?;
                for (number, rank) in numbers.iter().zip(ranks_among(&logits, &own)) {
                    ranks[*number] = rank;
                }
            }
        }
        Ok(ranks)
    }

    /// Keeps the predictions at the end of a pass, to compare others with them.
    pub fn reference(&self, end: &PassEnd, task: &Task) -> Result<ReferencePredictions> {
        let points = end.points()?;
        let is_kept = points.saturating_mul(self.config().outputs()) <= KEPT;
        Ok(match self.in_words().filter(|_| end.is_before_logits() && !is_kept) {
            Some(by) => ReferencePredictions::Rows { x: end.rows().detach(), by: Box::new(by) },
            None => ReferencePredictions::Logits(wide(&self.logits_of(end, 0..points, task)?.detach())?),
        })
    }

    /// Computes KL(reference || this) at each point of a pass, in nats: `[points]`, in f32 or wider. A pass may end at the
    /// points of the reference, or at those of several copies, one after the other. A gradient flows to the pass.
    pub fn divergences_from(&self, reference: &ReferencePredictions, end: &PassEnd, task: &Task) -> Result<Tensor> {
        let of = DivergenceOf { place: ReferencePlace::First, temperature: None };
        self.divergences_beside(reference, end, of, task)
    }

    /// Computes KL(this || reference) like [`Self::divergences_from`]. Where a gradient flows to the pass all logits are made.
    pub fn divergences_to(&self, reference: &ReferencePredictions, end: &PassEnd, task: &Task) -> Result<Tensor> {
        let of = DivergenceOf { place: ReferencePlace::Last, temperature: None };
        self.divergences_beside(reference, end, of, task)
    }

    /// Computes KL(first || other) at each point, in nats, of the first of some passes and each other one, which end at the
    /// same points, of predictions at a temperature: a list of points for each other pass.
    pub fn divergences_of_ends(&self, ends: &[PassEnd], temperature: f64, task: &Task) -> Result<Vec<Vec<f64>>> {
        let Some((first, others)) = ends.split_first() else { return Ok(Vec::new()) };
        let of = DivergenceOf { place: ReferencePlace::First, temperature: Some(temperature) };
        let count = first.points()?;
        let is_in_words = self.reads_in_words() && ends.iter().all(PassEnd::is_before_logits);
        let at_once = if is_in_words { count } else { self.points_at_once() };
        let mut found = vec![Vec::new(); others.len()];
        for start in (0..count).step_by(at_once.max(1)) {
            let points = start..count.min(start + at_once);
            let kept = self.reference(&first.part(points.clone())?, task)?;
            let parts = others.iter().map(|end| end.part(points.clone())).collect::<Result<Vec<_>>>()?;
            let is_joined = matches!(kept, ReferencePredictions::Rows { .. }) && parts.len() > 1;
            // The blocks of the first are computed once for all others.
            let parts = if is_joined { vec![PassEnd::joined(&parts)?] } else { parts };
            let mut all = Vec::with_capacity(others.len() * points.len());
            for part in &parts {
                all.extend(floats(&self.divergences_beside(&kept, part, of, task)?.detach())?);
            }
            found.iter_mut().zip(all.chunks(points.len())).for_each(|(found, some)| found.extend(some));
        }
        Ok(found)
    }

    fn divergences_beside(
        &self,
        reference: &ReferencePredictions,
        end: &PassEnd,
        of: DivergenceOf,
        task: &Task,
    ) -> Result<Tensor> {
        let count = end.points()?;
        // Blocks have the gradient of the second predictions alone.
        let has_blocks = end.is_before_logits() && (of.place == ReferencePlace::First || !end.rows().track_op());
        if let (ReferencePredictions::Rows { x, by: kept_by }, Some(by), true) =
            (reference, self.in_words(), has_blocks)
        {
            let kept = UnembeddedRows { x, by: &of.warm(kept_by) };
            let this = UnembeddedRows { x: end.rows(), by: &of.warm(&by) };
            let goes_on = &|| task.check().is_ok();
            let found = match of.place {
                ReferencePlace::First => kernels::divergences_of(kept, this, goes_on),
                ReferencePlace::Last => kernels::divergences_of(this, kept, goes_on),
            };
            task.check()?;
            return Ok(found?);
        }
        let kept = match reference {
            ReferencePredictions::Logits(logits) => logits.clone(),
            ReferencePredictions::Rows { x, by } => by.logits_plain(x)?,
        };
        let kept = of.warmed(kept)?;
        let points = kept.dim(0)?.max(1);
        let at_once = points * (KEPT / kept.elem_count().max(1)).max(1);
        let mut parts = Vec::new();
        for start in (0..count).step_by(at_once) {
            task.check()?;
            let logits = of.warmed(wide(&self.logits_of(end, start..count.min(start + at_once), task)?)?)?;
            for first in (0..logits.dim(0)?).step_by(points) {
                let this = logits.narrow(0, first, points)?;
                parts.push(match of.place {
                    ReferencePlace::First => normalise::divergences(&kept, &this)?,
                    ReferencePlace::Last => normalise::divergences(&this, &kept)?,
                });
            }
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// Computes -log p of a token at each point of the end of a pass, in nats: `[points]`. A gradient flows to the pass.
    pub fn losses_of(&self, end: &PassEnd, targets: &[u32], task: &Task) -> Result<Tensor> {
        let count = end.points()?;
        if let Some(by) = self.by_words(count).filter(|_| end.is_before_logits()) {
            return self.losses_of_rows(end.rows(), &by, targets, task);
        }
        let mut parts = Vec::new();
        for start in (0..count).step_by(self.points_at_once()) {
            task.check()?;
            let points = start..count.min(start + self.points_at_once());
            parts.push(kernels::token_losses(&self.logits_of(end, points.clone(), task)?, &targets[points])?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// Computes -log p of each token of a text but the first, in nats, from the end of a pass at all of these tokens.
    pub fn losses_within(&self, end: &PassEnd, ids: &[u32], task: &Task) -> Result<Vec<f64>> {
        // Behind the last token is any, whose loss is left out.
        let due: Vec<u32> = ids.iter().skip(1).copied().chain([0]).collect();
        let mut losses = floats(&self.losses_of(end, &due, task)?)?;
        losses.pop();
        Ok(losses)
    }

    /// Computes -log p of a token behind each row that the unembedding reads.
    pub(super) fn losses_of_rows(&self, x: &Tensor, by: &Unembedding, targets: &[u32], task: &Task) -> Result<Tensor> {
        let found = kernels::token_losses_of(UnembeddedRows { x, by }, targets, &|| task.check().is_ok());
        task.check()?;
        Ok(found?)
    }

    /// Computes KL(clean || changed) at each point of two passes, as [`Self::divergences`]; None where logits are whole.
    pub(super) fn divergences_by_words(
        &self,
        clean: &PassEnd,
        changed: &PassEnd,
        task: &Task,
    ) -> Result<Option<Tensor>> {
        let is_before = clean.is_before_logits() && changed.is_before_logits();
        let Some(by) = self.by_words(changed.points()?).filter(|_| is_before) else { return Ok(None) };
        let [p, q] = [clean, changed].map(|end| UnembeddedRows { x: end.rows(), by: &by });
        let found = kernels::divergences_of(p, q, &|| task.check().is_ok());
        task.check()?;
        Ok(Some(found?))
    }

    /// Compares what passes that end at the same points predict with the first of them, itself included, and with a token at
    /// each point: a list of points for each pass; None where logits are whole.
    pub fn compared_by_words(
        &self,
        ends: &[PassEnd],
        targets: &[u32],
        task: &Task,
    ) -> Result<Option<Vec<Vec<ComparedRow>>>> {
        let (Some((first, others)), true) = (ends.split_first(), ends.iter().all(PassEnd::is_before_logits)) else {
            return Ok(None);
        };
        let Some(by) = self.by_words(ends.len() * first.points()?).filter(|_| !others.is_empty()) else {
            return Ok(None);
        };
        let others: Vec<&Tensor> = others.iter().map(PassEnd::rows).collect();
        let p = UnembeddedRows { x: first.rows(), by: &by };
        let found = kernels::compared_of(p, &others, targets, &|| task.check().is_ok());
        task.check()?;
        Ok(Some(found?))
    }

    /// Returns the likeliest token at each point of the end of a pass; of equal ones the first.
    pub fn likeliest_tokens(&self, end: &PassEnd, task: &Task) -> Result<Vec<u32>> {
        let count = end.points()?;
        if end.is_before_logits()
            && let Some(found) = self.likeliest_by_words(end.rows(), 1, task)?
        {
            return Ok(found.into_iter().flat_map(|row| row.words).map(|(token, _)| token).collect());
        }
        let mut likeliest = Vec::with_capacity(count);
        for start in (0..count).step_by(self.points_at_once()) {
            task.check()?;
            let logits = self.logits_of(end, start..count.min(start + self.points_at_once()), task)?;
            likeliest.extend(logits.argmax(1)?.to_vec1::<u32>()?);
        }
        Ok(likeliest)
    }

    /// Returns the likeliest tokens of each row that the unembedding reads; None where logits are whole.
    pub(super) fn likeliest_by_words(
        &self,
        x: &Tensor,
        count: usize,
        task: &Task,
    ) -> Result<Option<Vec<LikeliestWords>>> {
        let rows = x.elem_count() / self.config().d_model.max(1);
        let Some(by) = self.by_words(rows) else { return Ok(None) };
        let found = kernels::likeliest_of(UnembeddedRows { x, by: &by }, count, &|| task.check().is_ok());
        task.check()?;
        Ok(Some(found?))
    }
}

/// Ranks some of all logits, in one pass over all of them.
fn ranks_among(logits: &[f64], own: &[f64]) -> Vec<TokenRank> {
    let mut sorted = own.to_vec();
    sorted.sort_by(f64::total_cmp);
    // How many logits have exactly so many of the sorted ones below them.
    let mut above = vec![0_usize; sorted.len() + 1];
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for logit in logits {
        above[sorted.partition_point(|other| other < logit)] += 1;
        sum += (logit - largest).exp();
    }
    let rank = |own: &f64| {
        let least = sorted.partition_point(|other| other <= own);
        let larger: usize = above.get(least..).unwrap_or_default().iter().sum();
        TokenRank { rank: larger + 1, probability: (own - largest).exp() / sum }
    };
    own.iter().map(rank).collect()
}

/// Converts logits to f32, unless they are in f64.
fn wide(logits: &Tensor) -> Result<Tensor> {
    let work = if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    Ok(logits.to_dtype(work)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use kit::{far, largest};

    use super::*;
    use crate::model::batch::Batch;
    use crate::model::config::Config;
    use crate::model::fixtures::{config, configs, decoder};
    use crate::model::hooks::{Action, BoundHook};
    use crate::model::reading::lens::{LensOptions, lens_of_batch};
    use crate::model::run::Ask;
    use crate::model::site::places;
    use crate::tensor::derivative::value_and_gradients;
    use crate::tensor::{floats, normalise, order};

    /// Builds models of more words than a block has, plain ones and one that scales and caps its logits.
    fn models() -> Vec<Decoder> {
        let vocab = kernels::WORDS + 30;
        let plain = Config { vocab, ..config() };
        let capped = Config { logit_scale: Some(0.5), logit_cap: Some(3.0), ..plain.clone() };
        [plain, capped].map(|config| decoder(config, DType::F32)).into()
    }

    /// Returns so many texts that their logits are more than a block, of which the second is shorter.
    fn texts() -> Batch {
        let row =
            |row: u32| (0..if row == 1 { 5 } else { 32 }).map(|column| (row * 131 + column * 37) % 4100).collect();
        Batch::new((0..36).map(row).collect()).unwrap()
    }

    /// Returns all points of the first texts.
    fn points() -> Vec<(usize, usize)> {
        (0..34).filter(|row| *row != 1).flat_map(|row| (0..32).map(move |column| (row, column))).collect()
    }

    fn targets() -> Vec<u32> {
        (0..points().len() as u32).map(|number| number * 29 % 4126).collect()
    }

    #[test]
    fn losses_are_those_of_whole_logits() {
        let task = Task::default();
        for model in models() {
            assert!(model.by_words(points().len()).is_some() && model.by_words(3).is_none());
            let logits = model.logits(&texts(), Vec::new(), &task).unwrap();
            let found = model.losses(&texts(), Vec::new(), &task).unwrap();
            for (row, ids) in texts().rows().iter().enumerate() {
                let expected = crate::model::run::token_losses(&logits.get(row).unwrap(), ids).unwrap();
                assert!(far(&found[row], &expected) < 1e-5);
            }
            let end = model.run_to_end(&texts(), Ask::default(), &points(), &task).unwrap().1;
            let whole = model.logits_of(&end, 0..points().len(), &task).unwrap();
            let expected = kernels::token_losses(&whole, &targets()).unwrap();
            assert!(far(model.losses_of(&end, &targets(), &task).unwrap(), &expected) < 1e-5);
            // A hook at the logits is heard.
            let even =
                || vec![BoundHook::new(model.config(), "logits", None, None, Box::new(Action::Zero.begin())).unwrap()];
            let uniform = floats(&model.losses(&texts(), even(), &task).unwrap()[0]).unwrap();
            let expected = (model.config().vocab as f64).ln();
            assert!(uniform.iter().all(|loss| (loss - expected).abs() < 1e-5));
        }
    }

    #[test]
    fn divergences_and_gradients_are_those_of_whole_logits() {
        let task = Task::default();
        for model in models() {
            let clean = model.run_to_end(&texts(), Ask::default(), &points(), &task).unwrap().1;
            let by = Var::new(vec![1.5_f32; model.config().d_model], model.device()).unwrap();
            let changed = |by: &Tensor| clean.with_rows(clean.rows().broadcast_mul(by).unwrap());
            let whole = |end: &PassEnd| model.logits_of(end, 0..points().len(), &task).unwrap();
            let expected = normalise::divergences(&whole(&clean), &whole(&changed(by.as_tensor()))).unwrap();
            let found = model.divergences(&clean, &changed(by.as_tensor()), &task).unwrap();
            assert!(far(found.detach(), expected.detach()) < 1e-5);
            let both = [clean.clone(), changed(by.as_tensor())];
            let compared = model.compared_by_words(&both, &targets(), &task).unwrap().unwrap();
            let losses = floats(&kernels::token_losses(&whole(&both[1]), &targets()).unwrap().detach()).unwrap();
            let divergences = floats(&expected.detach()).unwrap();
            for (row, found) in compared[1].iter().enumerate() {
                assert!((found.divergence - divergences[row]).abs() < 1e-5 && (found.loss - losses[row]).abs() < 1e-5);
            }
            assert!(compared[0].iter().all(|row| row.divergence == 0.0));
            let slope = |of: &dyn Fn(&PassEnd) -> Result<Tensor>| {
                let mut total = |by: &[Tensor]| Ok(of(&changed(&by[0]))?.mean_all()?);
                value_and_gradients(&mut total, &[by.as_detached_tensor()], &task).unwrap().gradients.remove(0)
            };
            let of_whole = slope(&|end| normalise::divergences(&whole(&clean), &whole(end)));
            assert!(far(slope(&|end| model.divergences(&clean, end, &task)), of_whole) < 1e-5);
            let of_whole = slope(&|end| Ok(kernels::token_losses(&whole(end), &targets())?));
            assert!(far(slope(&|end| model.losses_of(end, &targets(), &task)), of_whole) < 1e-5);
        }
    }

    /// Builds models of more words than a block has, of the shapes that cap their logits, as Gemma 2 does, or have a bias of
    /// the unembedding.
    fn capped_and_biased() -> Vec<Decoder> {
        let all = configs().into_iter().filter(|config| config.causal);
        let chosen = all.filter(|config| config.logit_cap.is_some() || config.unembed_bias);
        let wide = |config: Config| Config { vocab: kernels::WORDS + 30, vocab_out: None, ..config };
        chosen.map(|config| decoder(wide(config), DType::F32)).collect()
    }

    /// A reader of the end of a pass.
    type Reader<'a> = &'a dyn Fn(&PassEnd) -> Result<Tensor>;

    /// A reader of the end of a pass beside predictions that are kept.
    type Comparer<'a> = &'a dyn Fn(&ReferencePredictions, &PassEnd) -> Result<Tensor>;

    #[test]
    fn named_tokens_have_the_numbers_that_whole_logits_give() {
        let task = Task::default();
        let models = capped_and_biased();
        assert!(models.len() >= 2);
        for model in models {
            let end = model.run_to_end(&texts(), Ask::default(), &points(), &task).unwrap().1;
            let outputs = model.config().outputs();
            let both = |(point, token): (usize, &u32)| [(point, *token), (point, 7)];
            let tokens = targets();
            let named: Vec<RowWord> = tokens.iter().enumerate().flat_map(both).collect();
            let places: Vec<u32> = named.iter().map(|(point, token)| (point * outputs) as u32 + token).collect();
            let places = Tensor::new(places, model.device()).unwrap();
            let picked = |x: &Tensor| -> Result<Tensor> { Ok(x.flatten_all()?.index_select(&places, 0)?) };
            let whole = |end: &PassEnd| model.logits_of(end, 0..points().len(), &task);
            let by = Var::new(vec![1.5_f32; model.config().d_model], model.device()).unwrap();
            let slope = |of: Reader| {
                let mut total = |by: &[Tensor]| {
                    let changed = end.with_rows(end.rows().broadcast_mul(&by[0])?);
                    Ok(of(&changed)?.mean_all()?)
                };
                value_and_gradients(&mut total, &[by.as_detached_tensor()], &task).unwrap().gradients.remove(0)
            };
            let logits: Reader = &|end| Ok(model.logits_of_tokens(end, &named)?.unwrap());
            let picked_logits: Reader = &|end| picked(&whole(end)?);
            let logs: Reader = &|end| Ok(model.log_probabilities_of_tokens(end, &named, &task)?.unwrap());
            let picked_logs: Reader = &|end| picked(&normalise::log_softmax(&whole(end)?, -1)?);
            for (found, expected) in [(logits, picked_logits), (logs, picked_logs)] {
                assert!(far(found(&end).unwrap(), expected(&end).unwrap()) < 1e-5);
                assert!(far(slope(found), slope(expected)) < 1e-5);
            }
            let all = whole(&end).unwrap().to_vec2::<f32>().unwrap();
            let chances = floats(&picked_logs(&end).unwrap()).unwrap();
            let check = |ranks: Vec<TokenRank>| {
                for (((point, token), found), chance) in named.iter().zip(ranks).zip(&chances) {
                    let own = all[*point][*token as usize];
                    // The last bits of a logit depend on the product that it comes from.
                    let above = |by: f32| all[*point].iter().filter(|logit| **logit > own + by).count();
                    assert!((above(1e-5)..=above(-1e-5)).contains(&(found.rank - 1)));
                    assert!((found.probability - chance.exp()).abs() < 1e-6);
                }
            };
            check(model.ranks_of_tokens(&end, &named, &task).unwrap());
            // Of so few points logits are whole.
            let first = end.part(0..3).unwrap();
            assert!(model.by_words(3).is_none());
            check(model.ranks_of_tokens(&first, &named[..6], &task).unwrap());
            let likeliest = model.likeliest_tokens(&end, &task).unwrap();
            for (logits, token) in all.iter().zip(likeliest) {
                let most = logits.iter().copied().fold(f32::MIN, f32::max);
                assert!(logits[token as usize] > most - 1e-5);
            }
        }
    }

    #[test]
    fn copies_are_compared_with_one_reference() {
        let task = Task::default();
        for model in capped_and_biased() {
            let points = &points()[..40];
            let end = model.run_to_end(&texts(), Ask::default(), points, &task).unwrap().1;
            let kept = model.reference(&end, &task).unwrap();
            let by = Box::new(model.in_words().unwrap());
            let rows = ReferencePredictions::Rows { x: end.rows().clone(), by };
            let changed = (end.rows() * 1.5).unwrap();
            let copies = end.with_rows(Tensor::cat(&[end.rows(), &changed, end.rows()], 0).unwrap());
            let of = |reference: &ReferencePredictions| {
                floats(&model.divergences_from(reference, &copies, &task).unwrap()).unwrap()
            };
            let [found, expected] = [&rows, &kept].map(of);
            assert!(far(found, &expected) < 1e-5);
            let to = |reference: &ReferencePredictions| {
                floats(&model.divergences_to(reference, &copies, &task).unwrap()).unwrap()
            };
            let [found, other_way] = [&rows, &kept].map(to);
            assert!(far(found, &other_way) < 1e-5);
            let p = model.logits_of(&copies, 40..80, &task).unwrap();
            let q = model.logits_of(&end, 0..40, &task).unwrap();
            assert!(far(floats(&normalise::divergences(&p, &q).unwrap()).unwrap(), &other_way[40..80]) < 1e-5);
            assert!(far(&expected[40..80], &other_way[40..80]) > 0.0);
            assert!(expected[40..80].iter().all(|divergence| *divergence > 0.0));
            assert!(expected[..40].iter().chain(&expected[80..]).all(|divergence| divergence.abs() < 1e-6));
            let ends = [end.clone(), end.with_rows(changed.clone()), end.clone()];
            let of_ends = model.divergences_of_ends(&ends, 1.0, &task).unwrap();
            assert!(far(of_ends.concat(), &expected[40..]) < 1e-5);
            let of = DivergenceOf { place: ReferencePlace::First, temperature: Some(0.7) };
            let warm = |reference: &ReferencePredictions| {
                floats(&model.divergences_beside(reference, &copies, of, &task).unwrap()).unwrap()
            };
            let [found, at_temperature] = [&rows, &kept].map(warm);
            assert!(far(found, &at_temperature) < 1e-5 && far(&at_temperature, &expected) > 0.0);
            let some = [3_u32, 1];
            let numbers = Tensor::new(&some, model.device()).unwrap();
            let chosen = end.with_rows(changed.index_select(&numbers, 0).unwrap());
            for reference in [&rows, &kept] {
                let found = model.divergences_from(&reference.at(&some).unwrap(), &chosen, &task).unwrap();
                assert!(far(floats(&found).unwrap(), [expected[43], expected[41]]) < 1e-5);
            }
            let slope = |of: Comparer, reference: &ReferencePredictions| {
                let scale = Var::new(vec![1.5_f32; model.config().d_model], model.device()).unwrap();
                let mut total = |by: &[Tensor]| {
                    let changed = end.with_rows(end.rows().broadcast_mul(&by[0])?);
                    Ok(of(reference, &changed)?.mean_all()?)
                };
                value_and_gradients(&mut total, &[scale.as_detached_tensor()], &task).unwrap().gradients.remove(0)
            };
            let from: Comparer = &|reference, end| model.divergences_from(reference, end, &task);
            let to: Comparer = &|reference, end| model.divergences_to(reference, end, &task);
            for of in [from, to] {
                assert!(far(slope(of, &rows), slope(of, &kept)) < 1e-5);
                assert!(largest(slope(of, &rows)) > 0.0);
            }
        }
    }

    #[test]
    fn predictions_beside_each_other_have_all_logits() {
        let task = Task::default();
        for model in models().into_iter().chain(capped_and_biased()) {
            let outputs = model.config().outputs();
            let points = &points()[..40];
            let end = model.run_to_end(&texts(), Ask::default(), points, &task).unwrap().1;
            let changed = end.with_rows((end.rows() * 1.5).unwrap());
            let whole = |end: &PassEnd| model.logits_of(end, 0..40, &task).unwrap();
            let expected = [&end, &changed].map(|end| floats(&whole(end)).unwrap());
            let rows = |end: &PassEnd| {
                let by = Box::new(model.in_words().unwrap());
                ReferencePredictions::Rows { x: end.rows().clone(), by }
            };
            let logits = |end: &PassEnd| ReferencePredictions::Logits(whole(end));
            let cases =
                [(rows(&end), rows(&changed)), (logits(&end), logits(&changed)), (logits(&end), rows(&changed))];
            for (p, q) in cases {
                let mut seen = 0;
                let mut take = |block: &LogitsBeside| {
                    for row in 0..block.rows.len() {
                        let begin = (block.rows.start + row) * outputs + block.words.start;
                        for (logits, expected) in block.row(row).into_iter().zip(&expected) {
                            assert!(far(logits, &expected[begin..begin + block.words.len()]) < 1e-5);
                        }
                        seen += block.words.len();
                    }
                };
                p.beside(&q, &mut take, &task).unwrap();
                assert_eq!(seen, 40 * outputs);
            }
            let fewer = logits(&end).at(&[0]).unwrap();
            assert!(rows(&end).beside(&fewer, &mut |_| {}, &task).is_err());
        }
    }

    #[test]
    fn the_rank_of_a_logit_is_one_more_than_the_number_of_larger_ones() {
        let logits = [0.5, 2.0, -1.0, 2.0, 0.0];
        let found = ranks_among(&logits, &[2.0, 0.5, 0.0, -1.0]);
        assert_eq!(found.iter().map(|rank| rank.rank).collect::<Vec<_>>(), [1, 3, 4, 5]);
        let sum: f64 = logits.iter().map(|logit: &f64| logit.exp()).sum();
        assert!(
            found.iter().zip([2.0_f64, 0.5, 0.0, -1.0]).all(|(a, b)| (a.probability - b.exp() / sum).abs() < 1e-12)
        );
    }

    #[test]
    fn guesses_of_a_lens_are_those_of_its_logits() {
        let task = Task::default();
        for model in models() {
            let places = places(model.config(), &["resid_post.*".to_string()]).unwrap();
            let options = LensOptions { k: Some(3), ..LensOptions::default() };
            for reading in lens_of_batch(&model, &texts(), &places, &options, Vec::new(), &task).unwrap() {
                let logits = reading.logits(&model, &task).unwrap().get(1).unwrap();
                assert_eq!(reading.guesses.iter().map(Vec::len).collect::<Vec<_>>()[..3], [32, 5, 32]);
                for (column, guesses) in reading.guesses[1].iter().enumerate() {
                    let row = logits.get(column).unwrap();
                    let chances = floats(&normalise::softmax(&row, 0).unwrap()).unwrap();
                    let (_, best) = order::topk(&row, 3, 0, order::Direction::Descending).unwrap();
                    let best = best.to_vec1::<i64>().unwrap();
                    assert_eq!(guesses.iter().map(|guess| i64::from(guess.token)).collect::<Vec<_>>(), best);
                    let near = |(token, probability): (u32, f64)| (chances[token as usize] - probability).abs() < 1e-6;
                    assert!(guesses.iter().all(|guess| near((guess.token, guess.probability))));
                }
                // Behind the end of a text there are none.
                assert!(floats(&logits.get(5).unwrap()).unwrap().iter().all(|logit| logit.is_nan()));
            }
        }
    }
}
