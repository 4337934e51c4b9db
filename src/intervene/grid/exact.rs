//! Exact effects: only what lies behind a change is computed again.
//!
//! The stream before the changed block, and keys and values before the changed position, are those of the run that is
//! patched. Patches of neighbouring positions, and of all heads, go through the rest of the model as one batch. A model
//! that keeps hooks, or is not causal, is run as a whole for each patch.

use super::parts::PatchPart;
use super::replace::Replace;
use super::{BothRuns, Effects, PatchDirection, SameLength};
use crate::base::{Result, Task};
use crate::err;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::cache::{Cache, Recorder};
use crate::model::decoder::{Decoder, Logits, Pass, Past};
use crate::model::hooks::Chain;
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{Tensor, floats};

/// Approximate number of tokens of variants that are computed at once.
const TOKENS_AT_ONCE: usize = 1 << 12;

/// Patches of so many neighbouring positions begin at the first of them.
const NEIGHBOURS: usize = 8;

/// A run with what is needed of it.
struct Recorded<'a> {
    plan: MetricPlan<'a>,
    cache: Cache,
    past: Past,
    values: Vec<f64>,
}

impl<'a> Recorded<'a> {
    fn new(model: &Decoder, plan: MetricPlan<'a>, places: Vec<Place>, task: &Task) -> Result<Self> {
        let recorder = Recorder::new(model.config().clone(), places, plan.batch().lengths(), None);
        let mut chain = Chain { recorder: Some(recorder), ..Chain::default() };
        let mut past = Past::new();
        let kept = if model.config().causal { Some(&mut past) } else { None };
        let pass = Pass { hooks: &mut chain, past: kept, logits: Logits::Points(plan.points()), task };
        let logits = model.forward(plan.batch(), pass)?.ok_or_else(|| err!(Bug, "a run without logits"))?;
        let values = floats(&plan.values(&logits)?)?;
        let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
        Ok(Self { plan, cache: recorder.finish(), past, values })
    }
}

/// Adds the effects of some parts for some pairs.
pub fn effects(
    model: &Model,
    group: &SameLength,
    measure: Measure,
    direction: PatchDirection,
    parts: &[PatchPart],
    effects: &mut Effects,
    task: &Task,
) -> Result<BothRuns> {
    let decoder = model.decoder.as_ref();
    let (run, from) = direction.prompts();
    let plan = |which| MetricPlan::new(measure, decoder, &group.pairs, (which, &group.numbers), task);
    let is_whole = !decoder.config().causal || !decoder.kept().is_empty();
    let sites: Vec<Place> = sites(parts).map(|site| Place { site, head: None }).collect();
    let streams = sites.iter().map(|place| Site::new(SiteKind::ResidPre, place.site.layer));
    let streams = streams.map(|site| Place { site, head: None }).collect();
    let base = Recorded::new(decoder, plan(run)?, streams, task)?;
    let source = Recorded::new(decoder, plan(from)?, sites.clone(), task)?;
    let first = if is_whole { 0 } else { group.first_change() };
    for place in &sites {
        let source = source.cache.at(*place)?;
        let here = parts.iter().filter(|part| part.place.site == place.site);
        let (changed, same): (Vec<PatchPart>, Vec<PatchPart>) = here.partition(|part| part.start(first) >= first);
        for part in same {
            // Before the first change both runs are the same.
            add(effects, part, 0.0, group.pairs.len());
        }
        let changing = Changing { decoder, base: &base, site: place.site, source: &source, first, is_whole };
        for some in changing.batches(&changed) {
            task.check()?;
            for (part, values) in some.iter().zip(changing.values(some, task)?) {
                let effect: f64 = values.iter().zip(&base.values).map(|(value, before)| value - before).sum();
                add(effects, *part, effect, group.pairs.len());
            }
        }
    }
    Ok(BothRuns { run: base.values, from: source.values })
}

fn add(effects: &mut Effects, part: PatchPart, effect: f64, count: usize) {
    let entry = effects.entry(part).or_insert((0.0, 0));
    entry.0 += effect;
    entry.1 += count;
}

/// The sites of some parts, each once.
fn sites(parts: &[PatchPart]) -> impl Iterator<Item = Site> {
    let mut sites: Vec<Site> = parts.iter().map(|part| part.place.site).collect();
    sites.sort();
    sites.dedup();
    sites.into_iter()
}

/// Changes of one site.
struct Changing<'a> {
    decoder: &'a Decoder,
    base: &'a Recorded<'a>,
    site: Site,
    /// The site in the runs that are patched in.
    source: &'a Tensor,
    /// The first position at which runs differ.
    first: usize,
    is_whole: bool,
}

impl Changing<'_> {
    /// Parts that are computed together.
    fn batches<'p>(&self, parts: &'p [PatchPart]) -> impl Iterator<Item = &'p [PatchPart]> {
        let batch = self.base.plan.batch();
        let tokens = batch.rows().len() * batch.width();
        let fitting = (TOKENS_AT_ONCE / tokens.max(1)).max(1);
        let are_positions = parts.iter().any(|part| part.start(self.first) != self.first);
        parts.chunks(if are_positions && !self.is_whole { fitting.min(NEIGHBOURS) } else { fitting })
    }

    /// The metric of every pair under each of some changes.
    fn values(&self, parts: &[PatchPart], task: &Task) -> Result<Vec<Vec<f64>>> {
        let mut replace = Replace { site: self.site, parts, source: self.source };
        let logits = match self.is_whole {
            true => self.whole(parts, &mut replace, task)?,
            false => self.behind(parts, &mut replace, task)?,
        };
        let points = self.base.plan.points().len();
        let each = (0..parts.len())
            .map(|number| floats(&self.base.plan.values(&logits.narrow(0, number * points, points)?)?));
        each.collect()
    }

    /// The logits at all points of all variants by whole passes.
    fn whole(&self, parts: &[PatchPart], replace: &mut Replace, task: &Task) -> Result<Tensor> {
        let rows = self.base.plan.batch().rows();
        let all: Vec<Vec<u32>> = parts.iter().flat_map(|_| rows.iter().cloned()).collect();
        let shifted = |variant: usize| {
            self.base.plan.points().iter().map(move |(row, column)| (variant * rows.len() + row, *column))
        };
        let points: Vec<(usize, usize)> = (0..parts.len()).flat_map(shifted).collect();
        let pass = Pass { hooks: replace, past: None, logits: Logits::Points(&points), task };
        self.decoder.forward(&Batch::new(all)?, pass)?.ok_or_else(|| err!(Bug, "a variant without logits"))
    }

    /// The same by what lies behind the changes.
    fn behind(&self, parts: &[PatchPart], replace: &mut Replace, task: &Task) -> Result<Tensor> {
        let (plan, texts) = (&self.base.plan, self.base.plan.batch().rows().len());
        let needed = plan.points().iter().map(|(_, column)| *column).min().unwrap_or(0);
        let first = parts.iter().map(|part| part.start(self.first)).min().unwrap_or(0).min(needed);
        let stream = self.base.cache.at(Place { site: Site::new(SiteKind::ResidPre, self.site.layer), head: None })?;
        let width = plan.batch().width();
        let which: Vec<u32> = parts.iter().flat_map(|_| 0..texts as u32).collect();
        let x = stream.narrow(1, first, width - first)?.contiguous()?;
        let x = x.index_select(&Tensor::new(which.as_slice(), x.device())?, 0)?;
        let given = (plan.batch(), &self.base.past, which.as_slice());
        let blocks = self.site.layer..self.decoder.config().layers;
        let last = self.decoder.behind_hooks(given, (first, needed), x, blocks, replace, task)?;
        let columns = width - needed;
        let place = |variant: usize| {
            let at = move |(row, column): &(usize, usize)| ((variant * texts + row) * columns + column - needed) as u32;
            plan.points().iter().map(at)
        };
        let places: Vec<u32> = (0..parts.len()).flat_map(place).collect();
        let rows = last.flatten(0, 1)?.index_select(&Tensor::new(places, last.device())?, 0)?;
        self.decoder.read_out(&rows, task)
    }
}
