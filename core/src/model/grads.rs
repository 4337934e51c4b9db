//! Gradients of a metric of the logits at any site.

use std::collections::BTreeMap;

use candle_core::Var;
use kernels::TapedTensor;

use super::batch::Batch;
use super::cache::Cache;
use super::decoder::{Decoder, Logits, Pass};
use super::hooks::{At, BoundHook, Chain, Hooks, one_head};
use super::padding::blanked;
use super::run::PassEnd;
use super::site::{Place, Site, SiteKind};
use crate::base::{Error, Result, Task};
use crate::tensor::Tensor;
use crate::{bail, err};

/// A metric's value, and its gradient at each place.
#[derive(Debug, Clone)]
pub struct MetricGradients {
    pub value: f64,
    pub cache: Cache,
}

/// Hooks that add a variable of zeros at each requested site: its gradient is that of the activation.
struct GradientHooks<'a> {
    chain: Chain<'a>,
    sites: Vec<Site>,
    variables: BTreeMap<Site, Var>,
}

impl Hooks for GradientHooks<'_> {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site) || self.chain.wants(site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let changed = if self.chain.wants(at.site) { self.chain.on(at, x)? } else { None };
        if !self.sites.contains(&at.site) {
            return Ok(changed);
        }
        let x = changed.as_ref().unwrap_or(x);
        // States of recurrent layers are shown again where a hook changed earlier ones.
        let variable = match self.variables.remove(&at.site) {
            Some(variable) => variable,
            None => Var::zeros(x.shape(), x.dtype(), x.device())?,
        };
        let probed = kernels::add(x, &variable)?;
        self.variables.insert(at.site, variable);
        Ok(Some(probed))
    }
}

impl Decoder {
    /// Computes the gradient of `metric(end)`, one number, at each of the places, after the hooks there; `end` is the end of the
    /// pass at some rows and columns of the batch. No logits are computed but those that the metric reads.
    pub fn grads_of_end(
        &self,
        batch: &Batch,
        hooks: Vec<BoundHook>,
        places: &[Place],
        points: &[(usize, usize)],
        metric: &mut dyn FnMut(&PassEnd) -> Result<Tensor>,
        task: &Task,
    ) -> Result<MetricGradients> {
        let is_asked = places.iter().any(|place| place.site.kind == SiteKind::Logits);
        let chain = Chain { hooks, ..Chain::default() };
        let wanted = if is_asked { Logits::Points(points) } else { self.ending(&chain, points)? };
        let mut of_end = |x: &Tensor| metric(&PassEnd::of(x.clone(), wanted));
        self.grads(batch, chain.hooks, places, wanted, &mut of_end, task)
    }

    /// Computes the gradient of `metric(logits)`, one number, at each of the places, after the hooks there. All logits
    /// after the end of a text are NaN.
    pub fn grads(
        &self,
        batch: &Batch,
        hooks: Vec<BoundHook>,
        places: &[Place],
        wanted: Logits,
        metric: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        task: &Task,
    ) -> Result<MetricGradients> {
        if places.is_empty() {
            return Err(err!(Argument, "expected at least one site to take gradients at, found none").about("sites"));
        }
        let sites = places.iter().map(|place| place.site).collect();
        let chain = Chain { hooks, ..Chain::default() };
        let mut hooked = GradientHooks { chain, sites, variables: BTreeMap::new() };
        let has_ends = wanted == Logits::All && batch.is_ragged();
        let mut has_gradient = false;
        let taped = TapedTensor::of_tensor(|| {
            let pass = Pass { hooks: &mut hooked, past: None, logits: wanted, task };
            let logits = self.forward(batch, pass)?.ok_or_else(|| err!(Bug, "a pass without logits"))?;
            let value = metric(&if has_ends { blanked(&logits, &batch.lengths(), &[1])? } else { logits })?;
            has_gradient = value.track_op();
            Ok::<_, Error>(value)
        })?;
        let value = taped.result();
        if value.elem_count() != 1 {
            return Err(err!(Shape, "expected one number from the metric, found shape {:?}", value.dims())
                .hint("reduce it, with .sum() or .mean([0, 1]) for instance"));
        }
        let number = crate::tensor::Number::of(&value)?.as_f64();
        if number.is_nan() && has_ends {
            return Err(err!(Numeric, "the metric is NaN, as logits are after the end of a shorter text").hint(
                "read them from the end of each text with #{ pos: -1 }, or choose by indexing; NaN times 0 is NaN",
            ));
        }
        if !has_gradient {
            return Err(err!(Argument, "the metric does not depend on the logits by operations that have gradients")
                .hint("compute it from the logits with arithmetic, indexing, sums and softmax, and return a tensor"));
        }
        let known: Vec<_> = hooked.variables.values().map(|variable| variable.id()).collect();
        if taped.variables().iter().any(|id| !known.contains(id)) {
            return Err(err!(Argument, "the metric or a hook depends on a variable of another gradient around it")
                .hint("there are no second derivatives; `.detach()` makes a constant of it, if that is meant"));
        }
        let found = task.apart(move || Ok(taped.backward()?))?;
        let mut activations = BTreeMap::new();
        for place in places {
            let Some(variable) = hooked.variables.get(&place.site) else { bail!(Bug, "`{place}` was not passed") };
            let whole = match found.get(variable) {
                Some(gradient) => gradient.clone(),
                // The metric does not depend on this place.
                None => variable.as_tensor().zeros_like()?,
            };
            let part = match place.head {
                Some(head) => one_head(place.site.kind, &whole, head)?.contiguous()?,
                None => whole,
            };
            activations.insert(*place, part.detach());
        }
        Ok(MetricGradients { value: number, cache: Cache::of(self.config().clone(), batch.lengths(), activations) })
    }
}
