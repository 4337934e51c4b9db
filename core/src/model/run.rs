//! Running a decoder: logits, what was recorded, and losses.

use std::iter::repeat;
use std::ops::Range;

use kernels::Unembedding;

use super::batch::Batch;
use super::cache::{Cache, Recorder};
use super::config::Config;
use super::decoder::{Decoder, Logits, Pass, Past};
use super::hooks::{BoundHook, Chain, Hooks, KeptHook};
use super::site::{Place, Site, SiteKind, places};
use crate::base::task::Bar;
use crate::base::{Result, Task};
use crate::options::{Plain, Setting};
use crate::tensor::reduce::{Reduction, number};
use crate::tensor::{DType, Tensor, dtype};
use crate::{bail, err};

/// Approximate number of logits of a long text computed at once: 128 MiB in f32, 128 positions of a vocabulary of 2^18.
const LOGITS_AT_ONCE: usize = 1 << 25;

/// Number of tokens of a long text that are read at once where logits exist for some words at a time.
const TOKENS_AT_ONCE: usize = 1 << 12;

/// A function that gets a row of a batch, a column, and the logits of the positions from there on: `[some, vocab]`.
pub type TakeLogits<'a> = dyn FnMut((usize, usize), &Tensor) -> Result<()> + 'a;

/// A function that gets a range of points, and the logits of each pass there: `[some, vocab]`.
pub type TakePoints<'a> = dyn FnMut(Range<usize>, &[Tensor]) -> Result<()> + 'a;

/// Positions whose logits are requested: several, or a single one, whose logits have no axis of positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogitPositions {
    positions: Vec<i64>,
    is_one: bool,
}

impl Setting for LogitPositions {
    fn wanted() -> String {
        "an integer or an array of integers".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        Vec::of(value).map(|positions| Self { positions, is_one: !matches!(value, Plain::List(_)) })
    }

    fn written(&self) -> String {
        self.positions.written()
    }
}

crate::options! {
    /// Options of the positions whose logits are computed.
    pub struct LogitsOptions {
        /// The positions whose logits are computed; negative ones count from the end of each text.
        pos: Option<LogitPositions> = None => usually("all");
    }
}

impl LogitsOptions {
    pub fn positions(&self) -> Option<&[i64]> {
        self.pos.as_ref().map(|pos| pos.positions.as_slice())
    }

    pub fn logits(&self) -> Logits<'_> {
        self.positions().map_or(Logits::All, Logits::At)
    }

    /// Returns the logits in the requested shape: `[batch, vocab]` for a single position.
    pub fn shaped(&self, logits: &Tensor) -> Result<Tensor> {
        let is_one = self.pos.as_ref().is_some_and(|pos| pos.is_one);
        Ok(if is_one { logits.squeeze(1)? } else { logits.clone() })
    }
}

crate::options! {
    /// Options of what is recorded at each site.
    pub struct RecordOptions {
        /// The recorded positions; negative ones count from the end of each text.
        pos: Option<Vec<i64>> = None => usually("all");
    }

    /// Options of what a run records.
    pub struct RunOptions {
        /// The recorded sites.
        sites: Option<Vec<String>> = None => usually("all but `head_out.*`, `ssm_state.*` and `rwkv_state.*`");
        with record: RecordOptions;
    }
}

impl RunOptions {
    /// Returns the recorded places; by default every site that is not as large as all others together.
    pub fn places(&self, config: &Config) -> Result<Vec<Place>> {
        if let Some(sites) = &self.sites {
            return places(config, sites);
        }
        let sites = Site::all(config).into_iter().filter(|site| !site.kind.is_large());
        Ok(sites.map(|site| Place { site, head: None }).collect())
    }
}

crate::options! {
    /// Options of losses.
    #[derive(Debug, Clone, Copy)]
    pub struct LossOptions {
        /// Whether a text longer than the context is read in windows of that length that overlap by half, so that no
        /// token is predicted from less than half a context; hooks count positions within each window.
        windowed: bool = false;
    }
}

/// The options of a run: hooks in their order, and what to record.
#[derive(Default)]
pub struct Ask<'a> {
    pub hooks: Vec<BoundHook<'a>>,
    pub places: Vec<Place>,
    /// Positions of what is recorded that are kept; negative ones count from the end of each text.
    pub positions: Option<Vec<i64>>,
}

/// The result of a forward pass.
#[derive(Debug, Clone)]
pub struct Run {
    /// Logits, `[batch, pos, vocab]`; meaningless after the end of a text.
    pub logits: Tensor,
    pub cache: Cache,
    pub batch: Batch,
}

/// The end of a pass at some points of a batch, from which their logits are computed, a few at a time.
#[derive(Debug, Clone)]
pub struct PassEnd {
    /// Logits, or the rows that the unembedding reads, one point after the other.
    x: Tensor,
    is_logits: bool,
}

impl PassEnd {
    /// Returns the number of points.
    pub fn points(&self) -> Result<usize> {
        Ok(self.x.dim(0)?)
    }

    /// Returns whether the unembedding is still to come: a hook at the logits has seen them otherwise.
    pub(super) fn is_before_logits(&self) -> bool {
        !self.is_logits
    }

    /// Returns the end of a pass, which gave this, when this was wanted: see [`Decoder::ending`].
    pub fn of(x: Tensor, wanted: Logits) -> Self {
        Self { x, is_logits: !matches!(wanted, Logits::Rows(_)) }
    }

    /// Returns the end at points where the unembedding reads these rows.
    pub fn before_logits(x: Tensor) -> Self {
        Self { x, is_logits: false }
    }

    /// Returns the end at some of the points.
    pub fn part(&self, points: Range<usize>) -> Result<Self> {
        Ok(self.with_rows(self.x.narrow(0, points.start, points.len())?))
    }

    /// Returns the ends of passes of one kind, one after the other.
    pub(super) fn joined(ends: &[Self]) -> Result<Self> {
        let rows: Vec<&Tensor> = ends.iter().map(Self::rows).collect();
        let is_logits = ends.iter().any(|end| end.is_logits);
        if is_logits && !ends.iter().all(|end| end.is_logits) {
            bail!(Bug, "ends of passes with and without logits");
        }
        Ok(Self { x: Tensor::cat(&rows, 0)?, is_logits })
    }

    /// Returns what the logits are computed from, `[points, ..]`.
    pub(super) fn rows(&self) -> &Tensor {
        &self.x
    }

    pub(super) fn with_rows(&self, x: Tensor) -> Self {
        Self { x, is_logits: self.is_logits }
    }
}

impl Decoder {
    pub fn run(&self, batch: &Batch, ask: Ask, task: &Task) -> Result<Run> {
        let mut chain = self.chain(batch, ask, false);
        let logits = self.pass(batch, &mut chain, Logits::All, task)?;
        Ok(Run { logits, cache: recorded(chain)?, batch: batch.clone() })
    }

    /// Runs the columns behind those that were read before, which `past` then has, too: logits and records are of them alone.
    pub fn run_behind(&self, past: &mut Past, batch: &Batch, ask: Ask, task: &Task) -> Result<Run> {
        let mut chain = self.chain(batch, ask, false);
        let pass = Pass { hooks: &mut chain, past: Some(past), logits: Logits::All, task };
        let logits = self.forward(batch, pass)?.ok_or_else(|| err!(Bug, "a pass without logits"))?;
        Ok(Run { logits, cache: recorded(chain)?, batch: batch.clone() })
    }

    /// Runs like [`Self::run_behind`] up to the unembedding: what was recorded, and the end of the pass at some rows and columns
    /// of the batch.
    pub fn run_behind_to_end(
        &self,
        past: &mut Past,
        batch: &Batch,
        ask: Ask,
        points: &[(usize, usize)],
        task: &Task,
    ) -> Result<(Cache, PassEnd)> {
        self.recorded_end(batch, ask, points, Some(past), task)
    }

    /// Records places and computes nothing beyond the last of them.
    pub fn cache(&self, batch: &Batch, ask: Ask, task: &Task) -> Result<Cache> {
        let mut chain = self.chain(batch, ask, true);
        self.forward(batch, Pass { hooks: &mut chain, past: None, logits: Logits::All, task })?;
        recorded(chain)
    }

    /// Computes the logits of every position, `[batch, pos, vocab]`; meaningless after the end of a text.
    pub fn logits(&self, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Tensor> {
        self.pass(batch, &mut Chain { hooks, ..Chain::default() }, Logits::All, task)
    }

    /// Gives the logits of all positions to `take`, some at a time. Of a vocabulary of 2^18 those of a batch of 4,096 tokens
    /// would take 4 GiB.
    pub fn logits_in_parts(&self, batch: &Batch, ask: Ask, take: &mut TakeLogits, task: &Task) -> Result<Cache> {
        let mut chain = self.chain(batch, ask, false);
        self.in_parts(batch, &mut chain, LOGITS_AT_ONCE, take, task)?;
        recorded(chain)
    }

    fn in_parts(
        &self,
        batch: &Batch,
        chain: &mut Chain,
        at_once: usize,
        take: &mut TakeLogits,
        task: &Task,
    ) -> Result<()> {
        let lengths = batch.lengths();
        let outputs = self.config().outputs().max(1);
        if batch.rows().len() * batch.width() * outputs <= at_once || self.is_seen(SiteKind::Logits, chain)? {
            let logits = self.pass(batch, chain, Logits::All, task)?;
            return lengths
                .into_iter()
                .enumerate()
                .try_for_each(|(row, length)| take((row, 0), &logits.get(row)?.narrow(0, 0, length)?));
        }
        let read = self.pass(batch, chain, Logits::Read, task)?;
        let most = (at_once / outputs).max(1);
        for (row, length) in lengths.into_iter().enumerate() {
            let x = read.get(row)?;
            for column in (0..length).step_by(most) {
                task.check()?;
                let x = x.narrow(0, column, most.min(length - column))?;
                take((row, column), &self.unembedded(&x, task)?)?;
            }
        }
        Ok(())
    }

    /// Returns whether a hook, or a record, wants a site.
    fn is_seen(&self, kind: SiteKind, hooks: &dyn Hooks) -> Result<bool> {
        let site = Site::new(kind, 0);
        let kept = self.kept().iter().map(KeptHook::bound).collect::<Result<Vec<_>>>()?;
        Ok(hooks.wants(site) || kept.iter().flatten().any(|hook| hook.wants(site)))
    }

    /// Computes the logits at some positions, negative ones from the end of each text: `[batch, positions, vocab]`. No
    /// others are computed.
    pub fn logits_at(&self, batch: &Batch, positions: &[i64], hooks: Vec<BoundHook>, task: &Task) -> Result<Tensor> {
        self.pass(batch, &mut Chain { hooks, ..Chain::default() }, Logits::At(positions), task)
    }

    /// Computes the logits at some rows and columns of a batch, one after the other: `[points, vocab]`. No others are
    /// computed.
    pub fn logits_at_points(
        &self,
        batch: &Batch,
        points: &[(usize, usize)],
        hooks: Vec<BoundHook>,
        task: &Task,
    ) -> Result<Tensor> {
        self.pass(batch, &mut Chain { hooks, ..Chain::default() }, Logits::Points(points), task)
    }

    /// Returns the ends of several passes over a batch at the same points.
    pub fn ends(
        &self,
        batch: &Batch,
        passes: Vec<Vec<BoundHook>>,
        points: &[(usize, usize)],
        task: &Task,
    ) -> Result<Vec<PassEnd>> {
        let ends = passes.into_iter().map(|hooks| {
            let mut chain = Chain { hooks, ..Chain::default() };
            self.end_at(batch, points, &mut chain, None, task)
        });
        ends.collect()
    }

    /// Gives the logits of several passes that end at the same points to `take`, some points at a time: their range, and
    /// `[some, vocab]` of each pass.
    pub fn logits_of_ends(&self, ends: &[PassEnd], take: &mut TakePoints, task: &Task) -> Result<()> {
        self.ends_in_parts(ends, self.points_at_once(), take, task)
    }

    fn ends_in_parts(&self, ends: &[PassEnd], at_once: usize, take: &mut TakePoints, task: &Task) -> Result<()> {
        let count = ends.first().map_or(Ok(0), PassEnd::points)?;
        for start in (0..count).step_by(at_once) {
            task.check()?;
            let range = start..count.min(start + at_once);
            let logits = ends.iter().map(|end| self.logits_of(end, range.clone(), task));
            take(range.clone(), &logits.collect::<Result<Vec<_>>>()?)?;
        }
        Ok(())
    }

    /// Returns how many points have their logits computed at once.
    pub(super) fn points_at_once(&self) -> usize {
        (LOGITS_AT_ONCE / self.config().outputs().max(1)).max(1)
    }

    /// Runs the model up to the unembedding: what was recorded, and the end of the pass at some rows and columns of the batch.
    pub fn run_to_end(
        &self,
        batch: &Batch,
        ask: Ask,
        points: &[(usize, usize)],
        task: &Task,
    ) -> Result<(Cache, PassEnd)> {
        self.recorded_end(batch, ask, points, None, task)
    }

    fn recorded_end(
        &self,
        batch: &Batch,
        ask: Ask,
        points: &[(usize, usize)],
        past: Option<&mut Past>,
        task: &Task,
    ) -> Result<(Cache, PassEnd)> {
        let mut chain = self.chain(batch, ask, false);
        let end = self.end_at(batch, points, &mut chain, past, task)?;
        Ok((recorded(chain)?, end))
    }

    /// Returns the end of a pass at some points.
    pub fn end_of<'a>(
        &self,
        chain: &mut Chain<'a>,
        points: &[(usize, usize)],
        pass: impl FnOnce(&mut Chain<'a>, Logits) -> Result<Tensor>,
    ) -> Result<PassEnd> {
        let wanted = self.ending(chain, points)?;
        Ok(PassEnd::of(pass(chain, wanted)?, wanted))
    }

    /// Returns what a pass with these hooks ends with, for a reader of its logits at some points: what the unembedding reads
    /// there, but the logits where a hook sees them.
    pub fn ending<'p>(&self, hooks: &dyn Hooks, points: &'p [(usize, usize)]) -> Result<Logits<'p>> {
        Ok(if self.is_seen(SiteKind::Logits, hooks)? { Logits::Points(points) } else { Logits::Rows(points) })
    }

    /// Runs the model, with a cache of keys and values if there is one, up to its end at some rows and columns of a batch.
    pub fn end_at(
        &self,
        batch: &Batch,
        points: &[(usize, usize)],
        hooks: &mut dyn Hooks,
        past: Option<&mut Past>,
        task: &Task,
    ) -> Result<PassEnd> {
        let logits = self.ending(hooks, points)?;
        let x = self.forward(batch, Pass { hooks, past, logits, task })?;
        Ok(PassEnd::of(x.ok_or_else(|| err!(Bug, "a run without an end"))?, logits))
    }

    /// Returns the end of a pass from rows of the residual stream after the last block, `[points, d_model]`.
    pub fn end_behind(&self, x: &Tensor, task: &Task) -> Result<PassEnd> {
        Ok(PassEnd::before_logits(self.read_by_unembedding(x, task)?))
    }

    /// Computes the logits at some points of the end of a pass, `[points, vocab]`.
    pub fn logits_of(&self, end: &PassEnd, points: Range<usize>, task: &Task) -> Result<Tensor> {
        let part = end.part(points)?.x;
        if end.is_logits { Ok(part) } else { self.unembedded(&part, task) }
    }

    /// Computes the loss of every token but the first of each text: -log of the probability that the model gave it, in
    /// nats.
    pub fn losses(&self, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Vec<Tensor>> {
        self.losses_in(batch, &mut Chain { hooks, ..Chain::default() }, task)
    }

    /// Computes the losses of texts of any length, read in windows of the model's context. Each window after the first
    /// begins half a context later and scores its second half, so that these tokens have at least half a context before
    /// them.
    pub fn windowed_losses(&self, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Vec<Tensor>> {
        if self.config().context < 2 {
            bail!(Argument, "expected a model that reads at least two tokens at once to judge one by the other");
        }
        let mut chain = Chain { hooks, ..Chain::default() };
        let bar = task.begin("reading windows", Some(batch.lengths().iter().sum::<usize>() as u64));
        batch.rows().iter().map(|ids| self.losses_by_window(ids, &mut chain, bar.as_ref(), task)).collect()
    }

    /// Computes the losses of the rows of a long text, some rows at a time.
    pub fn losses_by_rows(&self, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Vec<Tensor>> {
        let at_once = match self.by_words(TOKENS_AT_ONCE) {
            Some(_) => TOKENS_AT_ONCE / batch.width().max(1),
            None => LOGITS_AT_ONCE / (batch.width() * self.config().outputs()).max(1),
        };
        let mut chain = Chain { hooks, ..Chain::default() };
        let bar = task.begin("reading rows", Some(batch.rows().len() as u64));
        let mut losses = Vec::new();
        for part in batch.parts(at_once) {
            losses.extend(self.losses_in(&part, &mut chain, task)?);
            bar.advance(part.rows().len() as u64);
        }
        Ok(losses)
    }

    fn losses_by_window(&self, ids: &[u32], chain: &mut Chain, bar: &dyn Bar, task: &Task) -> Result<Tensor> {
        let context = self.config().context;
        let stride = (context / 2).max(1);
        let mut losses = Vec::new();
        let mut judged = 1;
        let mut start = 0;
        while judged < ids.len() {
            let end = (start + context).min(ids.len());
            let window = Batch::new(vec![ids[start..end].to_vec()])?;
            let here = self.losses_in(&window, chain, task)?.remove(0);
            losses.push(here.narrow(0, judged - start - 1, end - judged)?);
            bar.advance((end - judged) as u64);
            judged = end;
            start += stride;
        }
        Ok(if losses.is_empty() { Tensor::zeros(0, self.dtype(), self.device())? } else { Tensor::cat(&losses, 0)? })
    }

    fn losses_in(&self, batch: &Batch, chain: &mut Chain, task: &Task) -> Result<Vec<Tensor>> {
        self.config().expect_next_token("the loss of a text")?;
        if let Some(by) = self.by_words(batch.rows().len() * batch.width())
            && !self.is_seen(SiteKind::Logits, chain)?
        {
            let x = self.pass(batch, chain, Logits::Read, task)?;
            return self.losses_by_words(batch, &x, &by, task);
        }
        let mut parts = vec![Vec::new(); batch.rows().len()];
        let take = &mut |(row, column): (usize, usize), logits: &Tensor| {
            let ids = &batch.rows()[row][column..];
            // The last token of a row has a loss of none behind it.
            let count = logits.dim(0)?.min(ids.len() - 1);
            if count > 0 || column == 0 {
                parts[row].push(token_losses(logits, &ids[..=count])?);
            }
            Ok(())
        };
        self.in_parts(batch, chain, LOGITS_AT_ONCE, take, task)?;
        parts.into_iter().map(|parts| Ok(Tensor::cat(&parts, 0)?)).collect()
    }

    /// Computes the losses of a batch from what the unembedding reads, `[batch, pos, d_model]`.
    fn losses_by_words(&self, batch: &Batch, x: &Tensor, by: &Unembedding, task: &Task) -> Result<Vec<Tensor>> {
        let width = batch.width();
        // Behind a last token and in padding there is any token, whose loss nobody reads.
        let next = |ids: &Vec<u32>| ids.iter().skip(1).copied().chain(repeat(0)).take(width).collect::<Vec<u32>>();
        let targets: Vec<u32> = batch.rows().iter().flat_map(next).collect();
        let losses = self.losses_of_rows(x, by, &targets, task)?;
        let of_row = |(row, length): (usize, usize)| Ok(losses.narrow(0, row * width, length - 1)?);
        batch.lengths().into_iter().enumerate().map(of_row).collect()
    }

    fn chain<'a>(&self, batch: &Batch, ask: Ask<'a>, recording_only: bool) -> Chain<'a> {
        let recorder = Recorder::new(self.config().clone(), ask.places, batch.lengths(), ask.positions);
        Chain { hooks: ask.hooks, recorder: Some(recorder), recording_only }
    }

    fn pass(&self, batch: &Batch, hooks: &mut Chain, logits: Logits, task: &Task) -> Result<Tensor> {
        let pass = Pass { hooks, past: None, logits, task };
        self.forward(batch, pass)?.ok_or_else(|| err!(Bug, "a run without logits"))
    }
}

/// Computes the mean over all tokens that have a loss.
pub fn mean_of_losses(losses: &[Tensor]) -> Result<f64> {
    let mut total = 0.0;
    for loss in losses {
        total += number(&dtype::cast(loss, DType::F64)?, Reduction::Sum)?.as_f64();
    }
    match losses.iter().map(Tensor::elem_count).sum::<usize>() {
        0 => Err(err!(Argument, "expected at least two tokens, found texts of one: the first has no loss").about("x")),
        count => Ok(total / count as f64),
    }
}

fn recorded(chain: Chain) -> Result<Cache> {
    Ok(chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?.finish())
}

/// Computes -log p of each token after the first, from the logits `[pos, vocab]` before it; in f32 or wider.
pub fn token_losses(logits: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let count = ids.len() - 1;
    if count == 0 {
        return Ok(Tensor::zeros(0, logits.dtype(), logits.device())?);
    }
    Ok(kernels::token_losses(&logits.narrow(0, 0, count)?, &ids[1..])?)
}

#[cfg(test)]
mod tests {
    use kit::{far, largest};

    use super::*;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::hooks::Action;

    /// Computes the logits of all positions of a batch, in parts of this many numbers.
    fn joined(model: &Decoder, batch: &Batch, at_once: usize, hooks: Vec<BoundHook>) -> Vec<Tensor> {
        let mut rows = vec![Vec::new(); batch.rows().len()];
        let take = &mut |(row, column): (usize, usize), logits: &Tensor| {
            assert_eq!(column, rows[row].iter().map(|part: &Tensor| part.dim(0).unwrap()).sum::<usize>());
            rows[row].push(logits.clone());
            Ok(())
        };
        let mut chain = Chain { hooks, ..Chain::default() };
        model.in_parts(batch, &mut chain, at_once, take, &Task::default()).unwrap();
        rows.into_iter().map(|parts| Tensor::cat(&parts, 0).unwrap()).collect()
    }

    #[test]
    fn logits_in_parts_are_those_of_the_whole() {
        for config in configs() {
            let model = decoder(config, DType::F64);
            let batch = Batch::new(vec![vec![3, 1, 4, 1, 5, 9, 2], vec![6, 5, 3]]).unwrap();
            let zeroed =
                || vec![BoundHook::new(model.config(), "logits", None, None, Box::new(Action::Zero.begin())).unwrap()];
            let whole = model.logits(&batch, Vec::new(), &Task::default()).unwrap();
            for at_once in [1, 3 * model.config().outputs(), 1 << 20] {
                for (row, found) in joined(&model, &batch, at_once, Vec::new()).iter().enumerate() {
                    let expected = whole.get(row).unwrap().narrow(0, 0, found.dim(0).unwrap()).unwrap();
                    assert!(far(found, expected) < 1e-12);
                }
                for found in joined(&model, &batch, at_once, zeroed()) {
                    assert_eq!(largest(found), 0.0);
                }
            }
        }
    }

    #[test]
    fn logits_of_several_passes_beside_each_other_are_those_of_each() {
        for config in configs() {
            let model = decoder(config, DType::F64);
            let batch = Batch::new(vec![vec![3, 1, 4, 1, 5, 9, 2], vec![6, 5, 3]]).unwrap();
            let zeroed = |site: &str| {
                vec![BoundHook::new(model.config(), site, None, None, Box::new(Action::Zero.begin())).unwrap()]
            };
            let passes = || vec![Vec::new(), zeroed("resid_post.0"), zeroed("logits")];
            let points = [(0, 0), (0, 5), (1, 2), (1, 0)];
            let task = Task::default();
            let alone: Vec<Tensor> = passes()
                .into_iter()
                .map(|hooks| model.logits_at_points(&batch, &points, hooks, &task).unwrap())
                .collect();
            let whole = model.logits(&batch, Vec::new(), &task).unwrap();
            for at_once in [1, 3, 100] {
                let mut seen = 0;
                let take = &mut |range: Range<usize>, found: &[Tensor]| {
                    assert_eq!(range.start, seen);
                    seen = range.end;
                    for (found, alone) in found.iter().zip(&alone) {
                        let alone = alone.narrow(0, range.start, range.len()).unwrap();
                        assert!(far(found, alone) < 1e-12);
                    }
                    for (found, (row, column)) in (0..range.len()).zip(&points[range.clone()]) {
                        let expected = whole.get(*row).unwrap().get(*column).unwrap();
                        assert!(far(alone[0].get(range.start + found).unwrap(), expected) < 1e-12);
                    }
                    Ok(())
                };
                let ends = model.ends(&batch, passes(), &points, &task).unwrap();
                model.ends_in_parts(&ends, at_once, take, &task).unwrap();
                assert_eq!(seen, points.len());
            }
        }
    }
}
