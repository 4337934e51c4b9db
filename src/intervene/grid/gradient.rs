//! Estimated effects: (patch - activation) . gradient of the metric, for all parts from one backward pass.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::parts::{Part, PatchPart};
use super::{BothRuns, Effects, GridMethod, GridOptions, SameLength};
use crate::base::{Result, Task};
use crate::err;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::Model;
use crate::model::cache::{Cache, Recorder};
use crate::model::decoder::{Decoder, Logits, Pass};
use crate::model::hooks::{Action, At, Bound, Chain, Edit};
use crate::model::site::{Heads, Place, Site};
use crate::tensor::{DType, Tensor, floats};

/// Keeps what flows at a site.
struct Keeping(Rc<RefCell<BTreeMap<Site, Tensor>>>);

impl Edit for Keeping {
    fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        self.0.borrow_mut().insert(at.site, x.detach());
        Ok(None)
    }
}

/// Adds the estimated effects of some parts for some pairs.
pub fn effects(
    model: &Model,
    group: &SameLength,
    measure: Measure,
    options: &GridOptions,
    parts: &[PatchPart],
    effects: &mut Effects,
    task: &Task,
) -> Result<BothRuns> {
    let decoder = model.decoder.as_ref();
    let (run, from) = options.direction.prompts();
    let plan = |which| MetricPlan::new(measure, decoder, &group.pairs, (which, &group.numbers), task);
    let mut places: Vec<Place> = parts.iter().map(|part| Place { head: None, ..part.place }).collect();
    places.sort();
    places.dedup();
    let (source, from) = recorded(decoder, &plan(from)?, &places, task)?;
    let slopes = Slopes { decoder, plan: &plan(run)?, places: &places, task };
    let once = slopes.at(Vec::new(), &places)?;
    for place in &places {
        let source = source.at(*place)?;
        let own = once.activations.get(&place.site).ok_or_else(|| err!(Bug, "`{place}` was not passed"))?;
        let way = (source.to_dtype(own.dtype())? - own)?;
        let gradient = match options.method {
            GridMethod::Integrated => slopes.along(*place, &way, options.steps)?,
            _ => once.gradients.at(*place)?,
        };
        let product = (way * gradient)?.to_dtype(DType::F32)?;
        for part in parts.iter().filter(|part| part.place.site == place.site) {
            let entry = effects.entry(*part).or_insert((0.0, 0));
            entry.0 += sum(&product, part)?;
            entry.1 += group.pairs.len();
        }
    }
    Ok(BothRuns { run: once.values, from })
}

/// The activations of the runs that are patched in, and their metric.
fn recorded(model: &Decoder, plan: &MetricPlan, places: &[Place], task: &Task) -> Result<(Cache, Vec<f64>)> {
    let recorder = Recorder::new(model.config().clone(), places.to_vec(), plan.batch().lengths(), None);
    let mut chain = Chain { recorder: Some(recorder), ..Chain::default() };
    let pass = Pass { hooks: &mut chain, past: None, logits: Logits::Points(plan.points()), task };
    let logits = model.forward(plan.batch(), pass)?.ok_or_else(|| err!(Bug, "a run without logits"))?;
    let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
    Ok((recorder.finish(), floats(&plan.values(&logits)?)?))
}

/// The sum of a part of `[texts, pos, ..]`.
fn sum(product: &Tensor, part: &PatchPart) -> Result<f64> {
    let is_square = part.place.site.kind.heads() == Heads::Square;
    let (heads, positions) = if is_square { (1, 2) } else { (2, 1) };
    let mut here = product.clone();
    if let Some(head) = part.head() {
        here = here.narrow(heads, head, 1)?;
    }
    here = match part.part {
        Part::Position(position) => here.narrow(positions, position, 1)?,
        Part::Neuron(neuron) => here.narrow(here.rank() - 1, neuron, 1)?,
        Part::All | Part::Head(_) => here,
    };
    Ok(f64::from(here.contiguous()?.sum_all()?.to_scalar::<f32>()?))
}

/// Gradients of the sum of a metric over pairs.
struct Slopes<'a> {
    decoder: &'a Decoder,
    plan: &'a MetricPlan<'a>,
    places: &'a [Place],
    task: &'a Task,
}

/// One backward pass.
struct Slope {
    values: Vec<f64>,
    gradients: Cache,
    activations: BTreeMap<Site, Tensor>,
}

impl Slopes<'_> {
    fn at(&self, mut hooks: Vec<Bound>, places: &[Place]) -> Result<Slope> {
        let kept = Rc::new(RefCell::new(BTreeMap::new()));
        for place in self.places {
            let keeping = Box::new(Keeping(kept.clone()));
            hooks.push(Bound::new(self.decoder.config(), &place.to_string(), None, None, keeping)?);
        }
        let mut values = Vec::new();
        let mut metric = |logits: &Tensor| {
            let found = self.plan.values(logits)?;
            values = floats(&found.detach())?;
            Ok(found.sum_all()?)
        };
        let wanted = Logits::Points(self.plan.points());
        let found = self.decoder.grads(self.plan.batch(), hooks, places, wanted, &mut metric, self.task)?;
        let activations = kept.take();
        Ok(Slope { values, gradients: found.cache, activations })
    }

    /// The mean of the gradient at `steps` points from the activation on, all positions moved together.
    fn along(&self, place: Place, way: &Tensor, steps: usize) -> Result<Tensor> {
        let mut sum = way.zeros_like()?;
        for step in 0..steps {
            let action = Action::Add { vector: way.clone(), scale: step as f64 / steps as f64 };
            let hook = Bound::new(self.decoder.config(), &place.to_string(), None, None, Box::new(action.begin()))?;
            sum = (sum + self.at(vec![hook], &[place])?.gradients.at(place)?)?;
        }
        Ok((sum / steps as f64)?)
    }
}
