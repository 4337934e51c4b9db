//! Estimated effects: (patch - activation) . gradient of the metric, for all parts from one backward pass, or from few.
//!
//! AtP* (Kramar et al. 2024) corrects two ways in which that fails. A patched query or key changes a softmax: so the
//! pattern is recomputed with the patch, and (patched pattern - pattern) . gradient at the pattern takes the place of
//! the product at q or k. And effects through several layers may cancel in the gradient: so, layer by layer, the
//! gradient through what that layer writes is dropped (GradDrop), and sizes are averaged over these passes.

use std::cell::RefCell;
use std::rc::Rc;

use super::effects::{BothRuns, PatchEffects};
use super::features::{FeatureChanges, SiteDictionary};
use super::groups::PairGroup;
use super::parts::{PatchPart, SitePart};
use super::patterns::PatternChanges;
use super::{GridMethod, GridOptions};
use crate::common::*;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::cache::Recorder;
use crate::model::hooks::{Action, At, BoundHook, Chain, Edit};
use crate::model::site::Heads;

/// A hook that keeps the activation at a site.
struct KeepActivation(Rc<RefCell<BTreeMap<Site, Tensor>>>);

impl Edit for KeepActivation {
    fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        self.0.borrow_mut().insert(at.site, x.detach());
        Ok(None)
    }
}

/// A hook that passes no gradient.
struct StopGradient;

impl Edit for StopGradient {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.detach()))
    }
}

/// Returns hooks that pass no gradient through what a layer writes.
pub fn dropping(config: &Arc<Config>, layer: usize) -> Result<Vec<BoundHook<'static>>> {
    let kinds =
        [SiteKind::AttnOut, SiteKind::MlpOut, SiteKind::LayerOut].into_iter().filter(|kind| kind.exists(config));
    kinds
        .map(|kind| BoundHook::new(config, &Site::new(kind, layer).to_string(), None, None, Box::new(StopGradient)))
        .collect()
}

/// Changes that patching makes at one site.
enum Changes<'a> {
    /// The difference (patch - activation), sliced for each part.
    Site(Tensor),
    Features(FeatureChanges<'a>),
    Patterns(PatternChanges<'a>),
}

/// The parts of sites that a grid patches, or the dictionaries whose features it patches.
#[derive(Clone, Copy)]
pub struct PatchedParts<'a> {
    pub parts: &'a [PatchPart],
    pub saes: &'a [SiteDictionary],
}

/// Adds the estimated effects of some parts, or of the features of dictionaries, for the pairs of a group.
pub fn effects(
    model: &Model,
    group: &PairGroup,
    measure: Measure,
    options: &GridOptions,
    patched: PatchedParts,
    effects: &mut PatchEffects<PatchPart>,
    task: &Task,
) -> Result<BothRuns> {
    let PatchedParts { parts, saes } = patched;
    let decoder = model.decoder.as_ref();
    let (run, from) = group.direction.prompts();
    let plan = |which| MetricPlan::new(measure, decoder, &group.pairs, which, &group.numbers, task);
    let mut places: Vec<Place> = parts.iter().map(|part| Place { head: None, ..part.place }).collect();
    places.extend(saes.iter().map(|known| known.place));
    places.sort();
    places.dedup();
    let (source, from) = recorded(decoder, &plan(from)?, &places, task)?;
    let slopes = GradientPasses { decoder, plan: &plan(run)?, options, task };
    let is_star = options.method == GridMethod::AtpStar;
    let turned = |place: &Place| is_star && PatternChanges::are_of(decoder.config(), place.site);
    // Where the gradient is needed, and what else of the run.
    let at = |place: &Place| if turned(place) { with_kind(*place, SiteKind::Pattern) } else { *place };
    let gradients_at: Vec<Place> = places.iter().map(at).collect();
    let streams = places.iter().filter(|place| turned(place)).map(|place| with_kind(*place, SiteKind::ResidPre));
    let kept: Vec<Place> = places.iter().copied().chain(gradients_at.clone()).chain(streams).collect();
    let once = slopes.at(Vec::new(), &kept, &gradients_at)?;
    let both = BothRuns { run: once.values.clone(), from };
    both.check(group)?;
    let dropped = if is_star { slopes.dropped(&gradients_at)? } else { Vec::new() };
    for (place, at) in places.iter().zip(&gradients_at) {
        let own = once.activation(*place)?;
        let other = group.aligned(*place, &source.at(*place)?, &own, slopes.plan.pair_of())?.to_dtype(own.dtype())?;
        let sae = saes.iter().find(|known| known.place == *place).map(|known| &known.sae);
        let changes = match sae {
            Some(sae) => {
                let lengths = slopes.plan.batch().lengths();
                Changes::Features(FeatureChanges::new(*place, sae, &own, Some(&other), &lengths, task)?)
            }
            None if turned(place) => Changes::Patterns(PatternChanges {
                model: decoder,
                batch: slopes.plan.batch(),
                site: place.site,
                source: other,
                stream: once.activation(with_kind(*place, SiteKind::ResidPre))?,
                pattern: once.activation(*at)?,
            }),
            None => Changes::Site((other - own)?),
        };
        let gradients = match options.method {
            GridMethod::Integrated => vec![slopes.along(*place, &changes.way()?)?],
            GridMethod::AtpStar => {
                let of_others = dropped.iter().filter(|(layer, _)| !is_within(*layer, *place));
                let found = of_others.map(|(_, cache)| cache.at(*at)).collect::<Result<Vec<_>>>()?;
                // Where there is no other layer, nothing is dropped.
                if found.is_empty() { vec![once.gradients.at(*at)?] } else { found }
            }
            _ => vec![once.gradients.at(*at)?],
        };
        let own_parts: Vec<PatchPart> = match &changes {
            Changes::Features(found) => {
                for part in found.same() {
                    effects.add(group, part, group.pairs.iter().map(|_| 0.0))?;
                }
                found.parts()
            }
            _ => parts.iter().filter(|part| part.place.site == place.site).copied().collect(),
        };
        let estimates = Estimates { gradients: &gradients, pair_of: slopes.plan.pair_of(), pairs: group.pairs.len() };
        for part in own_parts {
            task.check()?;
            let found = estimates.of(&changes, &part, is_star, task)?;
            effects.add(group, part, found.into_iter())?;
        }
    }
    Ok(both)
}

fn with_kind(place: Place, kind: SiteKind) -> Place {
    Place { site: Site::new(kind, place.site.layer), head: None }
}

/// Returns whether a site is part of what a layer computes from the residual stream.
fn is_within(layer: usize, place: Place) -> bool {
    let is_stream = matches!(place.site.kind, SiteKind::ResidPre | SiteKind::ResidMid | SiteKind::ResidPost);
    !is_stream && place.site.layer == layer
}

impl Changes<'_> {
    /// Returns the straight way from the activation to the patch of all parts.
    fn way(&self) -> Result<Tensor> {
        match self {
            Changes::Site(way) => Ok(way.clone()),
            Changes::Features(found) => found.all_written(),
            Changes::Patterns(_) => Err(err!(Bug, "a way between patterns")),
        }
    }
}

/// Estimates from one gradient or several at a site.
struct Estimates<'a> {
    gradients: &'a [Tensor],
    pair_of: &'a [usize],
    pairs: usize,
}

impl Estimates<'_> {
    /// Returns the estimate for each pair: (patch - activation) . gradient, or the mean over gradients of its size.
    fn of(&self, changes: &Changes, part: &PatchPart, are_sizes: bool, task: &Task) -> Result<Vec<f64>> {
        let made = match (changes, part.part) {
            (Changes::Site(way), _) => piece(way, part)?,
            (Changes::Features(found), SitePart::Feature(feature)) => found.written(&[feature])?,
            (Changes::Patterns(found), _) => found.change(part, task)?,
            (Changes::Features(_), _) => return Err(err!(Bug, "{part} is no feature")),
        };
        let mut found = vec![0.0; self.pairs];
        for gradient in self.gradients {
            let gradient = if matches!(changes, Changes::Site(_)) { piece(gradient, part)? } else { gradient.clone() };
            let products = (&made * gradient.to_dtype(made.dtype())?)?.to_dtype(DType::F32)?;
            let by_text = floats(&products.contiguous()?.flatten_from(1)?.sum(1)?)?;
            let mut by_pair = vec![0.0; self.pairs];
            by_text.iter().zip(self.pair_of).for_each(|(value, pair)| by_pair[*pair] += value);
            let count = self.gradients.len() as f64;
            let share = |value: f64| if are_sizes { value.abs() } else { value } / count;
            found.iter_mut().zip(by_pair).for_each(|(sum, value)| *sum += share(value));
        }
        Ok(found)
    }
}

/// Returns the part of an activation `[texts, pos, ..]`.
fn piece(x: &Tensor, part: &PatchPart) -> Result<Tensor> {
    let is_square = part.place.site.kind.heads() == Heads::Square;
    let (heads, positions) = if is_square { (1, 2) } else { (2, 1) };
    let mut here = x.clone();
    if let Some(head) = part.head() {
        here = here.narrow(heads, head, 1)?;
    }
    match part.part {
        SitePart::Position(position) => Ok(here.narrow(positions, position, 1)?),
        SitePart::Neuron(neuron) => Ok(here.narrow(here.rank() - 1, neuron, 1)?),
        SitePart::All | SitePart::Head(_) | SitePart::Feature(_) => Ok(here),
    }
}

/// Returns the activations of the runs that are patched in, and their metric.
fn recorded(model: &Decoder, plan: &MetricPlan, places: &[Place], task: &Task) -> Result<(Cache, Vec<f64>)> {
    let recorder = Recorder::new(model.config().clone(), places.to_vec(), plan.batch().lengths(), None);
    let mut chain = Chain { recorder: Some(recorder), ..Chain::default() };
    let end = model.end_at(plan.batch(), plan.points(), &mut chain, None, task)?;
    let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
    Ok((recorder.finish(), floats(&plan.values(model, &end, task)?)?))
}

/// Gradients of the sum of a metric over pairs.
struct GradientPasses<'a> {
    decoder: &'a Decoder,
    plan: &'a MetricPlan<'a>,
    options: &'a GridOptions,
    task: &'a Task,
}

/// A backward pass: gradients, activations that were kept, and the metric.
struct BackwardPass {
    values: Vec<f64>,
    gradients: Cache,
    activations: BTreeMap<Site, Tensor>,
}

impl BackwardPass {
    fn activation(&self, place: Place) -> Result<Tensor> {
        let whole = self.activations.get(&place.site).ok_or_else(|| err!(Bug, "`{place}` was not passed"))?;
        match place.head {
            Some(head) => Ok(crate::model::hooks::one_head(place.site.kind, whole, head)?.contiguous()?),
            None => Ok(whole.clone()),
        }
    }
}

impl GradientPasses<'_> {
    /// Returns the gradient at some sites, with the activations of those that are kept.
    fn at(&self, mut hooks: Vec<BoundHook>, kept_places: &[Place], places: &[Place]) -> Result<BackwardPass> {
        let kept = Rc::new(RefCell::new(BTreeMap::new()));
        let mut sites: Vec<Site> = kept_places.iter().map(|place| place.site).collect();
        sites.sort();
        sites.dedup();
        for site in sites {
            let keeping = Box::new(KeepActivation(kept.clone()));
            hooks.push(BoundHook::new(self.decoder.config(), &site.to_string(), None, None, keeping)?);
        }
        let mut values = Vec::new();
        let mut metric = |end: &PassEnd| {
            let found = self.plan.values(self.decoder, end, self.task)?;
            values = floats(&found.detach())?;
            Ok(found.sum_all()?)
        };
        let points = self.plan.points();
        let found = self.decoder.grads_of_end(self.plan.batch(), hooks, places, points, &mut metric, self.task)?;
        let activations = kept.take();
        Ok(BackwardPass { values, gradients: found.cache, activations })
    }

    /// Returns the gradients with what each layer in turn writes held constant, at the sites outside of that layer.
    fn dropped(&self, places: &[Place]) -> Result<Vec<(usize, Cache)>> {
        let config = self.decoder.config();
        let mut found = Vec::new();
        for layer in 0..config.layers {
            let others: Vec<Place> = places.iter().copied().filter(|place| !is_within(layer, *place)).collect();
            if others.is_empty() {
                continue;
            }
            found.push((layer, self.at(dropping(config, layer)?, &[], &others)?.gradients));
        }
        Ok(found)
    }

    /// Averages the gradient at `steps` points from the activation on, all parts moved together.
    fn along(&self, place: Place, way: &Tensor) -> Result<Tensor> {
        let steps = self.options.steps;
        let mut sum = way.zeros_like()?;
        for step in 0..steps {
            let action = Action::Add { vector: way.clone(), scale: step as f64 / steps as f64 };
            let hook = BoundHook::new(self.decoder.config(), &place.to_string(), None, None, Box::new(action.begin()))?;
            sum = (sum + self.at(vec![hook], &[], &[place])?.gradients.at(place)?)?;
        }
        Ok((sum / steps as f64)?)
    }
}
