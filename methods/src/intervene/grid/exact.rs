//! Exact effects: only what comes after a change is recomputed.
//!
//! The residual stream before the changed block, and keys and values before the changed position, are those of the run
//! that is patched. Patches of neighbouring positions, and of all heads, go through the rest of the model as one batch.
//! A model that keeps hooks, is not causal or has recurrent layers is run as a whole for each patch.

use std::ops::Range;

use super::effects::{BothRuns, PatchEffects};
use super::groups::PairGroup;
use super::parts::PatchPart;
use super::replace::Replace;
use crate::base::{Result, Task};
use crate::err;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::cache::{Cache, Recorder};
use crate::model::decoder::{BegunTexts, Decoder, Logits, Pass, Past};
use crate::model::hooks::{Chain, Hooks};
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{Tensor, floats};

/// Approximate number of tokens of variants that are computed at once.
const TOKENS_AT_ONCE: usize = 1 << 12;

/// The number of neighbouring positions whose patches begin at the first of them, while their variants have fewer rows
/// than make a product efficient.
const NEIGHBOURS: usize = 8;
const ENOUGH: usize = 256;

/// A run with the activations that are needed from it.
pub struct RecordedRun<'a> {
    pub plan: MetricPlan<'a>,
    pub cache: Cache,
    past: Past,
    /// The metric of each pair.
    pub values: Vec<f64>,
}

impl<'a> RecordedRun<'a> {
    pub fn new(model: &Decoder, plan: MetricPlan<'a>, places: Vec<Place>, task: &Task) -> Result<Self> {
        let recorder = Recorder::new(model.config().clone(), places, plan.batch().lengths(), None);
        let mut chain = Chain { recorder: Some(recorder), ..Chain::default() };
        let mut past = Past::new();
        let kept = if model.config().continues_anywhere() { Some(&mut past) } else { None };
        let pass = Pass { hooks: &mut chain, past: kept, logits: Logits::Points(plan.points()), task };
        let logits = model.forward(plan.batch(), pass)?.ok_or_else(|| err!(Bug, "a run without logits"))?;
        let values = floats(&plan.values(&logits)?)?;
        let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
        Ok(Self { plan, cache: recorder.finish(), past, values })
    }
}

/// The run that is patched and the one whose activations are patched in, with the activations that are needed from
/// them.
pub struct RunPair<'a> {
    pub group: &'a PairGroup,
    decoder: &'a Decoder,
    base: RecordedRun<'a>,
    source: RecordedRun<'a>,
    /// The first position at which the runs differ.
    pub first: usize,
    /// Whether each variant is run as a whole.
    is_whole: bool,
}

impl<'a> RunPair<'a> {
    /// Records the `own` sites of the run that is patched, and the `other` ones of the run that is patched in.
    pub fn new(
        model: &'a Model,
        group: &'a PairGroup,
        measure: Measure<'a>,
        own: &[Place],
        other: &[Place],
        task: &Task,
    ) -> Result<Self> {
        let decoder = model.decoder.as_ref();
        let (run, from) = group.direction.prompts();
        let plan = |which| MetricPlan::new(measure, decoder, &group.pairs, which, &group.numbers, task);
        let is_whole = !decoder.config().continues_anywhere() || !decoder.kept().is_empty();
        let layers = decoder.config().layers;
        let blocks = own.iter().chain(other).flat_map(|place| [place.site.layer, place.site.layer + 1]);
        let streams = blocks.map(|block| stream_before(block, layers));
        let mut recorded: Vec<Place> = streams.chain(own.to_vec()).collect();
        if group.is_aligned() {
            recorded.extend(other);
        }
        let base = RecordedRun::new(decoder, plan(run)?, recorded, task)?;
        let source = RecordedRun::new(decoder, plan(from)?, other.to_vec(), task)?;
        let first = if is_whole { 0 } else { group.first_change() };
        let runs = Self { group, decoder, base, source, first, is_whole };
        runs.both().check(group)?;
        Ok(runs)
    }

    /// Returns an activation of the run that is patched.
    pub fn own(&self, place: Place) -> Result<Tensor> {
        self.base.cache.at(place)
    }

    /// Returns an activation of the run that is patched in, at the positions of the run that is patched.
    pub fn other(&self, place: Place) -> Result<Tensor> {
        let source = self.source.cache.at(place)?;
        if !self.group.is_aligned() {
            return Ok(source);
        }
        self.group.aligned(place, &source, &self.own(place)?, self.base.plan.pair_of())
    }

    /// Returns the pair that each text belongs to.
    pub fn pair_of(&self) -> &[usize] {
        self.base.plan.pair_of()
    }

    /// Returns the length of each text of the run that is patched.
    pub fn lengths(&self) -> Vec<usize> {
        self.base.plan.batch().lengths()
    }

    /// Returns the metric of each pair without any patch.
    pub fn both(&self) -> BothRuns {
        BothRuns { run: self.base.values.clone(), from: self.source.values.clone() }
    }

    /// Returns the differences between values of the metric and those of the run without a patch.
    pub fn effects<'b>(&'b self, values: &'b [f64]) -> impl Iterator<Item = f64> + 'b {
        values.iter().zip(&self.base.values).map(|(value, before)| value - before)
    }

    /// Returns the positions at which the runs may differ.
    pub fn later(&self) -> Range<usize> {
        self.first..self.base.plan.batch().width()
    }

    /// Returns variants of the run that change from a layer on.
    pub fn changing(&self, layer: usize) -> ChangedVariants<'_> {
        ChangedVariants { decoder: self.decoder, base: &self.base, layer, first: self.first, is_whole: self.is_whole }
    }
}

/// Adds the effects of some parts for the pairs of a group.
pub fn effects(
    model: &Model,
    group: &PairGroup,
    measure: Measure,
    parts: &[PatchPart],
    effects: &mut PatchEffects<PatchPart>,
    task: &Task,
) -> Result<BothRuns> {
    let sites: Vec<Place> = sites(parts).map(|site| Place { site, head: None }).collect();
    let runs = RunPair::new(model, group, measure, &[], &sites, task)?;
    for place in &sites {
        let source = runs.other(*place)?;
        let here = parts.iter().filter(|part| part.place.site == place.site);
        let (mut changed, same): (Vec<PatchPart>, Vec<PatchPart>) =
            here.partition(|part| part.start(runs.first) >= runs.first);
        changed.sort_by_key(|part| part.start(runs.first));
        for part in same {
            // Before the first change both runs are the same.
            effects.add(group, part, group.pairs.iter().map(|_| 0.0))?;
        }
        let changing = runs.changing(place.site.layer);
        for some in changing.batches(&changed) {
            task.check()?;
            let columns = changing.changed(place.site, some);
            let mut replace = Replace { site: place.site, parts: some, source: &source };
            for (part, values) in some.iter().zip(changing.values(some.len(), columns, &mut replace, task)?) {
                effects.add(group, *part, runs.effects(&values))?;
            }
        }
    }
    Ok(runs.both())
}

/// Returns the site of the residual stream before a block; the last one is that which is unembedded.
fn stream_before(block: usize, layers: usize) -> Place {
    let site = if block < layers {
        Site::new(SiteKind::ResidPre, block)
    } else {
        Site::new(SiteKind::ResidPost, layers.saturating_sub(1))
    };
    Place { site, head: None }
}

/// Returns whether a change at one position of a site changes the result of its block there only: what attention reads
/// of a position other than its query goes to later ones.
fn stays_in_column(kind: SiteKind) -> bool {
    use SiteKind::{Pattern, Q, QLatent, QRot, Scores, Z};
    kind >= Z || matches!(kind, QLatent | Q | QRot | Scores | Pattern)
}

/// Returns the sites of some parts, each once.
fn sites(parts: &[PatchPart]) -> impl Iterator<Item = Site> {
    let mut sites: Vec<Site> = parts.iter().map(|part| part.place.site).collect();
    sites.sort();
    sites.dedup();
    sites.into_iter()
}

/// Variants of a run that change from one layer on.
pub struct ChangedVariants<'a> {
    pub decoder: &'a Decoder,
    pub base: &'a RecordedRun<'a>,
    pub layer: usize,
    /// The first position at which the runs differ.
    pub first: usize,
    /// Whether each variant is run as a whole.
    pub is_whole: bool,
}

impl ChangedVariants<'_> {
    /// Returns how many variants are computed at once.
    pub fn at_once(&self) -> usize {
        let batch = self.base.plan.batch();
        let tokens = batch.rows().len() * batch.width();
        (TOKENS_AT_ONCE / tokens.max(1)).max(1)
    }

    /// Returns the parts that are computed together, from parts in the order of their first columns.
    fn batches<'p>(&self, mut parts: &'p [PatchPart]) -> Vec<&'p [PatchPart]> {
        let fitting = self.at_once();
        let batch = self.base.plan.batch();
        let mut batches = Vec::new();
        while let Some(first) = parts.first() {
            let start = first.start(self.first);
            let rows = batch.rows().len() * (batch.width() - start);
            let joins = |(count, part): &(usize, &PatchPart)| {
                let later = part.start(self.first) - start;
                let is_near = later == 0 || self.is_whole || (later < NEIGHBOURS && count * rows < ENOUGH);
                *count < fitting && is_near
            };
            let (some, others) = parts.split_at(parts.iter().enumerate().take_while(joins).count().max(1));
            batches.push(some);
            parts = others;
        }
        batches
    }

    /// Returns the columns at which some parts of one site change the result of its block.
    fn changed(&self, site: Site, parts: &[PatchPart]) -> Range<usize> {
        let starts = || parts.iter().map(|part| part.start(self.first));
        let width = self.base.plan.batch().width();
        let ends = if stays_in_column(site.kind) {
            parts.iter().map(|part| if part.is_position() { part.start(0) + 1 } else { width }).max()
        } else {
            None
        };
        starts().min().unwrap_or(0)..ends.unwrap_or(width)
    }

    /// Returns the metric of every pair in each of some variants, which hooks make, for each variant all texts one
    /// after the other. `changed` are the columns at which the result of the first block may differ from that of the
    /// run.
    pub fn values(
        &self,
        count: usize,
        changed: Range<usize>,
        hooks: &mut dyn Hooks,
        task: &Task,
    ) -> Result<Vec<Vec<f64>>> {
        let is_last = self.layer + 1 == self.decoder.config().layers;
        if !self.is_whole && is_last && changed.end <= self.needed() {
            // Nothing reads these columns.
            return Ok(vec![self.base.values.clone(); count]);
        }
        let logits =
            if self.is_whole { self.whole(count, hooks, task)? } else { self.behind(count, changed, hooks, task)? };
        let points = self.base.plan.points().len();
        let each =
            (0..count).map(|number| floats(&self.base.plan.values(&logits.narrow(0, number * points, points)?)?));
        each.collect()
    }

    /// Computes the logits at all points of all variants by whole passes.
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

    /// Returns the first column that the metric reads.
    fn needed(&self) -> usize {
        self.base.plan.points().iter().map(|(_, column)| *column).min().unwrap_or(0)
    }

    /// Computes the logits at all points of all variants by what comes after the changes.
    fn behind(&self, count: usize, changed: Range<usize>, hooks: &mut dyn Hooks, task: &Task) -> Result<Tensor> {
        let plan = &self.base.plan;
        let texts = self.base.plan.batch().rows().len();
        let layers = self.decoder.config().layers;
        let width = plan.batch().width();
        let needed = self.needed();
        let first = changed.start.min(needed);
        let which: Vec<u32> = (0..count).flat_map(|_| 0..texts as u32).collect();
        let of_variants = Tensor::new(which.as_slice(), self.decoder.device())?;
        let stream = |block: usize, columns: Range<usize>| -> Result<Tensor> {
            let stream = self.base.cache.at(stream_before(block, layers))?;
            Ok(stream.narrow(1, columns.start, columns.len())?.contiguous()?.index_select(&of_variants, 0)?)
        };
        let begun = BegunTexts { batch: plan.batch(), past: &self.base.past, which: &which, start: first };
        let mut x = stream(self.layer, first..changed.end)?;
        let mut block = self.layer;
        if changed.end < width {
            // Behind this block, later columns are those of the run.
            x = self.decoder.behind_hooks(&begun, first, x, block..block + 1, hooks, task)?;
            block += 1;
            x = Tensor::cat(&[x, stream(block, changed.end..width)?], 1)?;
        }
        let columns = width - needed;
        let last = if block < layers {
            self.decoder.behind_hooks(&begun, needed, x, block..layers, hooks, task)?
        } else {
            x.narrow(1, needed - first, columns)?.contiguous()?
        };
        let place = |variant: usize| {
            let at = move |(row, column): &(usize, usize)| ((variant * texts + row) * columns + column - needed) as u32;
            plan.points().iter().map(at)
        };
        let places: Vec<u32> = (0..count).flat_map(place).collect();
        let rows = last.flatten(0, 1)?.index_select(&Tensor::new(places, last.device())?, 0)?;
        self.decoder.read_out(&rows, task)
    }
}
