//! Exact effects: only what lies behind a change is computed again.
//!
//! The stream before the changed block, and keys and values before the changed position, are those of the run that is
//! patched. Patches of neighbouring positions, and of all heads, go through the rest of the model as one batch. A model
//! that keeps hooks, or is not causal, is run as a whole for each patch.

use super::effects::{BothRuns, Effects};
use super::groups::Group;
use super::parts::PatchPart;
use super::replace::Replace;
use crate::base::{Result, Task};
use crate::err;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::cache::{Cache, Recorder};
use crate::model::decoder::{Decoder, Logits, Pass, Past};
use crate::model::hooks::{Chain, Hooks};
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{Tensor, floats};

/// Approximate number of tokens of variants that are computed at once.
const TOKENS_AT_ONCE: usize = 1 << 12;

/// Patches of so many neighbouring positions begin at the first of them.
const NEIGHBOURS: usize = 8;

/// A run with what is needed of it.
pub struct Recorded<'a> {
    pub plan: MetricPlan<'a>,
    pub cache: Cache,
    past: Past,
    /// The metric of each pair.
    pub values: Vec<f64>,
}

impl<'a> Recorded<'a> {
    pub fn new(model: &Decoder, plan: MetricPlan<'a>, places: Vec<Place>, task: &Task) -> Result<Self> {
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

/// The run that is patched and the one whose activations are patched in, with what is needed of them.
pub struct Runs<'a> {
    pub group: &'a Group,
    decoder: &'a Decoder,
    base: Recorded<'a>,
    source: Recorded<'a>,
    /// The first position at which they differ.
    pub first: usize,
    /// Whether each variant is run as a whole.
    is_whole: bool,
}

impl<'a> Runs<'a> {
    /// Records the `own` places of the run that is patched, and the `other` ones of the run that is patched in.
    pub fn new(
        model: &'a Model,
        group: &'a Group,
        measure: Measure<'a>,
        own: &[Place],
        other: &[Place],
        task: &Task,
    ) -> Result<Self> {
        let decoder = model.decoder.as_ref();
        let (run, from) = group.direction.prompts();
        let plan = |which| MetricPlan::new(measure, decoder, &group.pairs, (which, &group.numbers), task);
        let is_whole = !decoder.config().causal || !decoder.kept().is_empty();
        let streams = own.iter().chain(other).map(|place| Site::new(SiteKind::ResidPre, place.site.layer));
        let mut recorded: Vec<Place> = streams.map(|site| Place { site, head: None }).chain(own.to_vec()).collect();
        if group.is_aligned() {
            recorded.extend(other);
        }
        let base = Recorded::new(decoder, plan(run)?, recorded, task)?;
        let source = Recorded::new(decoder, plan(from)?, other.to_vec(), task)?;
        let first = if is_whole { 0 } else { group.first_change() };
        let runs = Self { group, decoder, base, source, first, is_whole };
        runs.both().check(group)?;
        Ok(runs)
    }

    /// An activation of the run that is patched.
    pub fn own(&self, place: Place) -> Result<Tensor> {
        self.base.cache.at(place)
    }

    /// The same of the run that is patched in, at the positions of the other.
    pub fn other(&self, place: Place) -> Result<Tensor> {
        let source = self.source.cache.at(place)?;
        if !self.group.is_aligned() {
            return Ok(source);
        }
        self.group.aligned(place, &source, &self.own(place)?, self.base.plan.pair_of())
    }

    /// Which of the pairs each text belongs to.
    pub fn pair_of(&self) -> &[usize] {
        self.base.plan.pair_of()
    }

    /// The length of each text of the run that is patched.
    pub fn lengths(&self) -> Vec<usize> {
        self.base.plan.batch().lengths()
    }

    /// The metric of each pair without any patch.
    pub fn both(&self) -> BothRuns {
        BothRuns { run: self.base.values.clone(), from: self.source.values.clone() }
    }

    /// What values of the metric are beyond those of the run without a patch.
    pub fn effects<'b>(&'b self, values: &'b [f64]) -> impl Iterator<Item = f64> + 'b {
        values.iter().zip(&self.base.values).map(|(value, before)| value - before)
    }

    /// Variants of the run that change from this layer on.
    pub fn changing(&self, layer: usize) -> Changing<'_> {
        Changing { decoder: self.decoder, base: &self.base, layer, first: self.first, is_whole: self.is_whole }
    }
}

/// Adds the effects of some parts for the pairs of a group.
pub fn effects(
    model: &Model,
    group: &Group,
    measure: Measure,
    parts: &[PatchPart],
    effects: &mut Effects<PatchPart>,
    task: &Task,
) -> Result<BothRuns> {
    let sites: Vec<Place> = sites(parts).map(|site| Place { site, head: None }).collect();
    let runs = Runs::new(model, group, measure, &[], &sites, task)?;
    for place in &sites {
        let source = runs.other(*place)?;
        let here = parts.iter().filter(|part| part.place.site == place.site);
        let (changed, same): (Vec<PatchPart>, Vec<PatchPart>) =
            here.partition(|part| part.start(runs.first) >= runs.first);
        for part in same {
            // Before the first change both runs are the same.
            effects.add(group, part, group.pairs.iter().map(|_| 0.0))?;
        }
        let changing = runs.changing(place.site.layer);
        for some in changing.batches(&changed) {
            task.check()?;
            let start = some.iter().map(|part| part.start(runs.first)).min().unwrap_or(0);
            let mut replace = Replace { site: place.site, parts: some, source: &source };
            for (part, values) in some.iter().zip(changing.values(some.len(), start, &mut replace, task)?) {
                effects.add(group, *part, runs.effects(&values))?;
            }
        }
    }
    Ok(runs.both())
}

/// The sites of some parts, each once.
fn sites(parts: &[PatchPart]) -> impl Iterator<Item = Site> {
    let mut sites: Vec<Site> = parts.iter().map(|part| part.place.site).collect();
    sites.sort();
    sites.dedup();
    sites.into_iter()
}

/// Variants of a run that change from one layer on.
pub struct Changing<'a> {
    pub decoder: &'a Decoder,
    pub base: &'a Recorded<'a>,
    pub layer: usize,
    /// The first position at which runs differ.
    pub first: usize,
    /// Whether each variant is run as a whole.
    pub is_whole: bool,
}

impl Changing<'_> {
    /// How many variants are computed at once.
    pub fn at_once(&self) -> usize {
        let batch = self.base.plan.batch();
        let tokens = batch.rows().len() * batch.width();
        (TOKENS_AT_ONCE / tokens.max(1)).max(1)
    }

    /// Parts that are computed together.
    fn batches<'p>(&self, parts: &'p [PatchPart]) -> impl Iterator<Item = &'p [PatchPart]> {
        let fitting = self.at_once();
        let are_positions = parts.iter().any(|part| part.start(self.first) != self.first);
        parts.chunks(if are_positions && !self.is_whole { fitting.min(NEIGHBOURS) } else { fitting })
    }

    /// The metric of every pair in each of some variants, which hooks make, for each variant all texts one after the other;
    /// none changes before the column `start`.
    pub fn values(&self, count: usize, start: usize, hooks: &mut dyn Hooks, task: &Task) -> Result<Vec<Vec<f64>>> {
        let logits = match self.is_whole {
            true => self.whole(count, hooks, task)?,
            false => self.behind(count, start, hooks, task)?,
        };
        let points = self.base.plan.points().len();
        let each =
            (0..count).map(|number| floats(&self.base.plan.values(&logits.narrow(0, number * points, points)?)?));
        each.collect()
    }

    /// The logits at all points of all variants by whole passes.
    fn whole(&self, count: usize, hooks: &mut dyn Hooks, task: &Task) -> Result<Tensor> {
        let rows = self.base.plan.batch().rows();
        let all: Vec<Vec<u32>> = (0..count).flat_map(|_| rows.iter().cloned()).collect();
        let shifted = |variant: usize| {
            self.base.plan.points().iter().map(move |(row, column)| (variant * rows.len() + row, *column))
        };
        let points: Vec<(usize, usize)> = (0..count).flat_map(shifted).collect();
        let pass = Pass { hooks, past: None, logits: Logits::Points(&points), task };
        self.decoder.forward(&Batch::new(all)?, pass)?.ok_or_else(|| err!(Bug, "a variant without logits"))
    }

    /// The same by what lies behind the changes.
    fn behind(&self, count: usize, start: usize, hooks: &mut dyn Hooks, task: &Task) -> Result<Tensor> {
        let (plan, texts) = (&self.base.plan, self.base.plan.batch().rows().len());
        let first_point = plan.points().iter().map(|(_, column)| *column).min().unwrap_or(0);
        let first = start.min(first_point);
        let stream = self.base.cache.at(Place { site: Site::new(SiteKind::ResidPre, self.layer), head: None })?;
        let width = plan.batch().width();
        let which: Vec<u32> = (0..count).flat_map(|_| 0..texts as u32).collect();
        let x = stream.narrow(1, first, width - first)?.contiguous()?;
        let x = x.index_select(&Tensor::new(which.as_slice(), x.device())?, 0)?;
        let given = (plan.batch(), &self.base.past, which.as_slice());
        let blocks = self.layer..self.decoder.config().layers;
        let last = self.decoder.behind_hooks(given, first, x, blocks, hooks, task)?;
        let columns = width - first;
        let place = |variant: usize| {
            let at = move |(row, column): &(usize, usize)| ((variant * texts + row) * columns + column - first) as u32;
            plan.points().iter().map(at)
        };
        let places: Vec<u32> = (0..count).flat_map(place).collect();
        let rows = last.flatten(0, 1)?.index_select(&Tensor::new(places, last.device())?, 0)?;
        self.decoder.read_out(&rows, task)
    }
}
