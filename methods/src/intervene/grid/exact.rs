//! Exact effects: only what comes after a change is recomputed.
//!
//! The residual stream before the changed block, and keys and values before the changed position, are those of the run
//! that is patched. Patches of neighbouring positions, and of all heads, go through the rest of the model as one batch;
//! those of sites with few rows of their own, such as whole sites of short prompts, wait behind their block for those of
//! later layers and go on with them. A model that keeps hooks, is not causal or has recurrent layers is run as a whole for
//! each patch.

use super::effects::{BothRuns, PatchEffects};
use super::groups::PairGroup;
use super::parts::PatchPart;
use super::replace::Replace;
use crate::common::*;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::cache::Recorder;
use crate::model::decoder::{BegunTexts, Past};
use crate::model::hooks::{Chain, Hooks, NoHooks};

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
        let end = model.end_at(plan.batch(), plan.points(), &mut chain, kept, task)?;
        let values = floats(&plan.values(model, &end, task)?)?;
        let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
        Ok(Self { plan, cache: recorder.finish(), past, values })
    }
}

/// Activations that are patched in.
enum PatchedIn<'a> {
    /// Activations of another run.
    Run(Box<RecordedRun<'a>>),
    Zero,
    /// A mean for each site, with axes of 1 for texts and positions.
    Means(&'a BTreeMap<Place, Tensor>),
}

/// The run that is patched and the one whose activations are patched in, with the activations that are needed from
/// them.
pub struct RunPair<'a> {
    pub group: &'a PairGroup,
    decoder: &'a Decoder,
    base: RecordedRun<'a>,
    source: PatchedIn<'a>,
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
        let layers = decoder.config().layers;
        let blocks = own.iter().chain(other).flat_map(|place| [place.site.layer, place.site.layer + 1]);
        let streams = blocks.map(|block| stream_before(block, layers));
        let mut recorded: Vec<Place> = streams.chain(own.to_vec()).collect();
        if group.is_aligned() {
            recorded.extend(other);
        }
        let base = RecordedRun::new(decoder, plan(run)?, recorded, task)?;
        let source = RecordedRun::new(decoder, plan(from)?, other.to_vec(), task)?;
        let source = PatchedIn::Run(Box::new(source));
        let is_whole = runs_whole(decoder);
        let first = if is_whole { 0 } else { group.first_change() };
        let runs = Self { group, decoder, base, source, first, is_whole };
        runs.both().check(group)?;
        Ok(runs)
    }

    /// Records the run that is ablated: at some sites 0 is patched in, or the means that are given.
    pub fn ablated(
        model: &'a Model,
        group: &'a PairGroup,
        measure: Measure<'a>,
        sites: &[Place],
        means: Option<&'a BTreeMap<Place, Tensor>>,
        task: &Task,
    ) -> Result<Self> {
        let decoder = model.decoder.as_ref();
        let (run, _) = group.direction.prompts();
        let plan = MetricPlan::new(measure, decoder, &group.pairs, run, &group.numbers, task)?;
        let layers = decoder.config().layers;
        let blocks = sites.iter().flat_map(|place| [place.site.layer, place.site.layer + 1]);
        let recorded = blocks.map(|block| stream_before(block, layers)).chain(sites.to_vec()).collect();
        let base = RecordedRun::new(decoder, plan, recorded, task)?;
        let source = means.map_or(PatchedIn::Zero, PatchedIn::Means);
        let runs = Self { group, decoder, base, source, first: 0, is_whole: runs_whole(decoder) };
        runs.both().check(group)?;
        Ok(runs)
    }

    /// Returns whether 0 is patched in.
    pub fn is_zero(&self) -> bool {
        matches!(self.source, PatchedIn::Zero)
    }

    /// Returns an activation of the run that is patched.
    pub fn own(&self, place: Place) -> Result<Tensor> {
        self.base.cache.at(place)
    }

    /// Returns an activation of the run that is patched in, at the positions of the run that is patched.
    pub fn other(&self, place: Place) -> Result<Tensor> {
        let source = match &self.source {
            PatchedIn::Run(run) => run.cache.at(place)?,
            PatchedIn::Zero => return Ok(self.own(place)?.zeros_like()?),
            PatchedIn::Means(means) => {
                let mean = means.get(&place).ok_or_else(|| err!(Bug, "the mean of `{place}` was not taken"))?;
                return Ok(mean.broadcast_as(self.own(place)?.shape())?.contiguous()?);
            }
        };
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
        let from = match &self.source {
            PatchedIn::Run(source) => &source.values,
            PatchedIn::Zero | PatchedIn::Means(_) => &self.base.values,
        };
        BothRuns { run: self.base.values.clone(), from: from.clone() }
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
pub fn effects(runs: &RunPair, parts: &[PatchPart], effects: &mut PatchEffects<PatchPart>, task: &Task) -> Result<()> {
    let group = runs.group;
    let mut waiting = Vec::new();
    for place in sites(parts) {
        let source = runs.other(place)?;
        let here = parts.iter().filter(|part| part.place.site == place.site);
        let (mut changed, same): (Vec<PatchPart>, Vec<PatchPart>) =
            here.partition(|part| part.start(runs.first) >= runs.first);
        changed.sort_by_key(|part| part.start(runs.first));
        for part in same {
            // Before the first change both runs are the same.
            effects.add(group, part, group.pairs.iter().map(|_| 0.0))?;
        }
        let changing = runs.changing(place.site.layer);
        if changing.are_few(&changed) {
            waiting.push(SitePatches { site: place.site, parts: changed, source });
            continue;
        }
        for some in changing.batches(&changed) {
            task.check()?;
            let columns = changing.changed(place.site, some);
            let mut replace = Replace { site: place.site, parts: some, source: &source };
            for (part, values) in some.iter().zip(changing.values(some.len(), columns, &mut replace, task)?) {
                effects.add(group, *part, runs.effects(&values))?;
            }
        }
    }
    joined(runs, &waiting, effects, task)
}

/// Parts of one site that are patched one by one, and what is patched in.
struct SitePatches {
    site: Site,
    parts: Vec<PatchPart>,
    source: Tensor,
}

/// Adds the effects of the parts of some sites, in the order of the computation, whose variants go on together behind the
/// blocks in which they begin.
fn joined(runs: &RunPair, waiting: &[SitePatches], effects: &mut PatchEffects<PatchPart>, task: &Task) -> Result<()> {
    let all: Vec<(usize, PatchPart)> =
        waiting.iter().enumerate().flat_map(|(at, of)| of.parts.iter().map(move |part| (at, *part))).collect();
    let last = runs.changing(runs.decoder.config().layers.saturating_sub(1));
    let first = runs.first.min(last.needed());
    for some in all.chunks(last.at_once()) {
        let mut together: Option<Tensor> = None;
        let mut count = 0;
        let mut next = 0;
        for new in some.chunk_by(|a, b| a.0 == b.0) {
            task.check()?;
            let SitePatches { site, source, .. } = &waiting[new[0].0];
            let changing = runs.changing(site.layer);
            let parts: Vec<PatchPart> = new.iter().map(|(_, part)| *part).collect();
            let columns = changing.changed(*site, &parts);
            let mut replace = Replace { site: *site, parts: &parts, source };
            let x = changing.behind_own_block(parts.len(), first, columns, &mut replace, task)?;
            together = Some(match together {
                None => x,
                Some(before) => {
                    let before = last.onward(count, first, before, next..site.layer + 1, task)?;
                    Tensor::cat(&[before, x], 0)?
                }
            });
            count += parts.len();
            next = site.layer + 1;
        }
        let Some(x) = together else { continue };
        let x = last.onward(count, first, x, next..last.layer + 1, task)?;
        for ((_, part), values) in some.iter().zip(last.read(count, &x, task)?) {
            effects.add(runs.group, *part, runs.effects(&values))?;
        }
    }
    Ok(())
}

/// Returns whether each variant of a model is run as a whole.
fn runs_whole(decoder: &Decoder) -> bool {
    !decoder.config().continues_anywhere() || !decoder.kept().is_empty()
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

/// Returns the sites of some parts, each once, in the order of the computation.
pub fn sites(parts: &[PatchPart]) -> Vec<Place> {
    let mut sites: Vec<Site> = parts.iter().map(|part| part.place.site).collect();
    sites.sort();
    sites.dedup();
    sites.into_iter().map(|site| Place { site, head: None }).collect()
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

    /// Returns whether the variants of some parts of one site, which begin at the same column, have fewer rows by
    /// themselves than make a product efficient. Where layers read the keys of others, variants are not joined: a pass
    /// that begins behind those has the keys of the run.
    fn are_few(&self, parts: &[PatchPart]) -> bool {
        let batch = self.base.plan.batch();
        let rows = parts.len() * batch.rows().len() * (batch.width() - self.first.min(batch.width()));
        let has_own_keys = self.decoder.config().shared_keys.is_none();
        !self.is_whole && has_own_keys && rows < ENOUGH && !parts.iter().any(PatchPart::is_position)
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
        if !self.is_whole {
            let last = self.behind(count, changed, hooks, task)?;
            return self.read(count, &last, task);
        }
        self.base.plan.values_of_copies(self.decoder, &self.whole(count, hooks, task)?, count, task)
    }

    /// Returns the metric of every pair in each of some variants, from the stream behind the last block, from the first
    /// column that the metric reads on: `[variants * texts, columns, d_model]`.
    fn read(&self, count: usize, last: &Tensor, task: &Task) -> Result<Vec<Vec<f64>>> {
        let plan = &self.base.plan;
        let texts = plan.batch().rows().len();
        let needed = self.needed();
        let columns = plan.batch().width() - needed;
        let place = |variant: usize| {
            let at = move |(row, column): &(usize, usize)| ((variant * texts + row) * columns + column - needed) as u32;
            plan.points().iter().map(at)
        };
        let places: Vec<u32> = (0..count).flat_map(place).collect();
        let rows = last.flatten(0, 1)?.index_select(&Tensor::new(places, last.device())?, 0)?;
        plan.values_of_copies(self.decoder, &self.decoder.end_behind(&rows, task)?, count, task)
    }

    /// Returns the end of whole passes at all points of all variants.
    fn whole(&self, count: usize, hooks: &mut dyn Hooks, task: &Task) -> Result<PassEnd> {
        let rows = self.base.plan.batch().rows();
        let all: Vec<Vec<u32>> = (0..count).flat_map(|_| rows.iter().cloned()).collect();
        let shifted = |variant: usize| {
            self.base.plan.points().iter().map(move |(row, column)| (variant * rows.len() + row, *column))
        };
        let points: Vec<(usize, usize)> = (0..count).flat_map(shifted).collect();
        self.decoder.end_at(&Batch::new(all)?, &points, hooks, None, task)
    }

    /// Returns the first column that the metric reads.
    fn needed(&self) -> usize {
        self.base.plan.points().iter().map(|(_, column)| *column).min().unwrap_or(0)
    }

    /// Computes the stream behind the last block in all variants, from the first column that the metric reads on:
    /// `[variants * texts, columns, d_model]`.
    fn behind(&self, count: usize, changed: Range<usize>, hooks: &mut dyn Hooks, task: &Task) -> Result<Tensor> {
        let layers = self.decoder.config().layers;
        let needed = self.needed();
        let first = changed.start.min(needed);
        let which = self.which(count);
        let begun = self.begun(&which, first);
        if changed.end == self.base.plan.batch().width() {
            let x = self.stream(self.layer, first..changed.end, &which)?;
            return self.decoder.behind_hooks(&begun, needed, x, self.layer..layers, hooks, task);
        }
        let x = self.behind_own_block(count, first, changed, hooks, task)?;
        if self.layer + 1 == layers {
            return Ok(x);
        }
        self.decoder.behind_hooks(&begun, needed, x, self.layer + 1..layers, hooks, task)
    }

    /// Computes the stream behind the block in which variants begin to change, from the column `first` on, or behind the
    /// last block from the first one that the metric reads.
    fn behind_own_block(
        &self,
        count: usize,
        first: usize,
        changed: Range<usize>,
        hooks: &mut dyn Hooks,
        task: &Task,
    ) -> Result<Tensor> {
        let width = self.base.plan.batch().width();
        let is_last = self.layer + 1 == self.decoder.config().layers;
        let needed = self.needed();
        let which = self.which(count);
        let begun = self.begun(&which, first);
        let x = self.stream(self.layer, first..changed.end, &which)?;
        let own = self.layer..self.layer + 1;
        if changed.end == width {
            let from = if is_last { needed } else { first };
            return self.decoder.behind_hooks(&begun, from, x, own, hooks, task);
        }
        // Behind this block, later columns are those of the run.
        let x = self.decoder.behind_hooks(&begun, first, x, own, hooks, task)?;
        let x = Tensor::cat(&[x, self.stream(self.layer + 1, changed.end..width, &which)?], 1)?;
        if is_last { Ok(x.narrow(1, needed - first, width - needed)?.contiguous()?) } else { Ok(x) }
    }

    /// Computes the stream behind some more blocks in variants that have changed before, from the column `first` on, or
    /// behind the last block from the first one that the metric reads.
    fn onward(&self, count: usize, first: usize, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        if blocks.is_empty() {
            return Ok(x);
        }
        let which = self.which(count);
        let from = if blocks.end == self.decoder.config().layers { self.needed() } else { first };
        self.decoder.behind_hooks(&self.begun(&which, first), from, x, blocks, &mut NoHooks, task)
    }

    /// Returns the text of each row of some variants.
    fn which(&self, count: usize) -> Vec<u32> {
        (0..count).flat_map(|_| 0..self.base.plan.batch().rows().len() as u32).collect()
    }

    fn begun<'b>(&'b self, which: &'b [u32], start: usize) -> BegunTexts<'b> {
        BegunTexts { batch: self.base.plan.batch(), past: &self.base.past, which, start }
    }

    /// Returns some columns of the residual stream of the run before a block, for each row of variants.
    fn stream(&self, block: usize, columns: Range<usize>, which: &[u32]) -> Result<Tensor> {
        let stream = self.base.cache.at(stream_before(block, self.decoder.config().layers))?;
        let which = Tensor::new(which, self.decoder.device())?;
        Ok(stream.narrow(1, columns.start, columns.len())?.contiguous()?.index_select(&which, 0)?)
    }
}
