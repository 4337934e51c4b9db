//! Gradients of a metric at all that is read in a run: at queries, keys and values, or at the output of attention; at
//! the inputs of MLPs, and at the final residual stream.

use std::cell::RefCell;
use std::rc::Rc;

use super::check_values;
use super::texts::{head_sums, output_site, port_site, stream_of};
use super::wiring::{Receiver, Wiring};
use crate::intervene::grid::{PairGroup, dropping};
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::hooks::{At, BoundHook, Edit};
use crate::sae::prelude::*;

/// A hook that keeps the activation at a site, or replaces it with one that passes no gradient.
struct NotingHook {
    notes: Rc<RefCell<BTreeMap<Site, Tensor>>>,
    instead: Option<Tensor>,
}

impl Edit for NotingHook {
    fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let x = self.instead.as_ref().unwrap_or(x).detach();
        self.notes.borrow_mut().insert(at.site, x);
        Ok(self.instead.clone())
    }
}

/// The gradients of one run, and what was noted in it.
pub struct RunGradients {
    pub gradients: Cache,
    pub notes: BTreeMap<Site, Tensor>,
}

/// The gradients of the sum of a metric over the pairs of a group.
#[derive(Clone, Copy)]
pub struct EdgeGradients<'a> {
    pub decoder: &'a Decoder,
    pub wiring: &'a Wiring,
    pub measure: Measure<'a>,
    pub group: &'a PairGroup,
    /// Whether gradients are taken at the output of attention, in place of its queries and keys.
    pub is_star: bool,
    /// The layer through whose output no gradient passes.
    pub dropped: Option<usize>,
    pub task: &'a Task,
}

impl RunGradients {
    /// Returns what was noted at a place.
    pub fn noted(&self, place: Place) -> Result<Tensor> {
        self.notes.get(&place.site).cloned().ok_or_else(|| err!(Bug, "`{place}` was not passed"))
    }
}

impl EdgeGradients<'_> {
    /// Returns what the heads of each layer write in sum in a run, where a norm is behind attention.
    pub fn head_sums(&self, run: &RunGradients) -> Result<Vec<Tensor>> {
        head_sums(self.decoder, self.wiring, &|place| run.noted(place), self.task)
    }

    pub fn plan(&self, which: Prompt) -> Result<MetricPlan<'_>> {
        let Self { decoder, measure, group, task, .. } = self;
        MetricPlan::new(*measure, decoder, &group.pairs, which, &group.numbers, task)
    }

    /// Runs one forward and backward pass, with replacements for the activations at some sites.
    pub fn slope(
        &self,
        plan: &MetricPlan,
        mut instead: BTreeMap<Site, Tensor>,
        noted: &[Place],
    ) -> Result<RunGradients> {
        let notes = Rc::new(RefCell::new(BTreeMap::new()));
        let streams = self.wiring.receivers.iter().map(|receiver| stream_of(self.wiring, *receiver).site);
        let mut sites: Vec<Site> =
            streams.chain(noted.iter().map(|place| place.site)).chain(instead.keys().copied()).collect();
        if !noted.is_empty() {
            sites.extend(self.wiring.senders.iter().map(|sender| output_site(*sender)));
        }
        if self.wiring.is_normed {
            sites.extend((0..self.wiring.layers).map(|layer| Site::new(SiteKind::Z, layer)));
        }
        sites.sort();
        sites.dedup();
        let mut hooks = Vec::new();
        for site in sites {
            let edit = NotingHook { notes: notes.clone(), instead: instead.remove(&site) };
            hooks.push(BoundHook::new(self.decoder.config(), &site.to_string(), None, None, Box::new(edit))?);
        }
        if let Some(layer) = self.dropped {
            hooks.extend(dropping(self.decoder.config(), layer)?);
        }
        let mut values = Vec::new();
        let mut metric = |end: &PassEnd| {
            let found = plan.values(self.decoder, end, self.task)?;
            values = floats(&found.detach())?;
            Ok(found.sum_all()?)
        };
        let places = self.places();
        let points = plan.points();
        let found = self.decoder.grads_of_end(plan.batch(), hooks, &places, points, &mut metric, self.task)?;
        check_values(&values, &self.group.numbers, &String::new)?;
        let notes = notes.take();
        Ok(RunGradients { gradients: found.cache, notes })
    }

    /// Returns the sites where gradients are taken: queries and keys, or the output of attention; values, the inputs of
    /// MLPs, and the final residual stream.
    fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.wiring.receivers.iter().map(|one| self.read_at(*one)).collect();
        if self.is_star {
            places.retain(|place| !matches!(place.site.kind, SiteKind::Q | SiteKind::K));
            places
                .extend((0..self.wiring.layers).map(|layer| Place { site: Site::new(SiteKind::Z, layer), head: None }));
        }
        places.sort();
        places.dedup();
        places
    }

    pub fn read_at(&self, receiver: Receiver) -> Place {
        let (kind, layer) = match receiver {
            Receiver::Port { layer, port, .. } => (port_site(self.decoder, port, false), layer),
            Receiver::Mlp { layer } => (SiteKind::MlpIn, layer),
            Receiver::Logits => return stream_of(self.wiring, receiver),
        };
        Place { site: Site::new(kind, layer), head: None }
    }
}

/// Converts to f32, unless the tensor is in f64.
pub fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? })
}
