//! Training a tuned lens (Belrose et al. 2023, section 3): for each layer l a matrix A and a vector b that minimise
//! KL(model || lens), where the lens predicts softmax(W_U norm(A h_l + b)) from the output h_l of the layer. They begin as
//! the identity and 0, which is the logit lens.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rand::seq::SliceRandom;

use super::prompts::{cut, layers};
use super::{AffineMap, FittedLens, LensKind, output};
use crate::base::random::{OF_CALL, Seed, stream};
use crate::base::{Result, Task, memory};
use crate::err;
use crate::model::batch::Batch;
use crate::model::by_words::ReferencePredictions;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::reading::lens::last_normed;
use crate::model::run::{Ask, PassEnd};
use crate::model::site::Place;
use crate::tensor::derivative::{TensorFunction, ValueAndGradients, value_and_gradients};
use crate::tensor::{DType, Device, Tensor, create};
use crate::training::ScheduleShape;
use crate::training::descent::{Descent, DescentOptions, DescentRule, Steps, descend};

crate::options! {
    /// Options of training a tuned lens.
    pub struct TunedLensOptions {
        /// Number of steps.
        steps: usize = 250;
        /// Peak learning rate of Adam, which decays linearly.
        lr: f64 = 1e-3 => above(0.0);
        /// Prompts in a step.
        batch: usize = 8 => at_least(1.0);
        /// Maximum number of tokens of a prompt.
        context: usize = 128 => at_least(1.0);
        /// Maximum number of prompts, which are read again in each epoch.
        prompts: usize = 1000 => at_least(1.0);
        /// The layers whose output is read.
        layers: Option<Vec<usize>> = None => usually("all but the last");
        /// Seed of the order of prompts.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };

/// Numbers that are kept of each logit in a step: logits, their gradients, and those of the model; an estimate.
const KEPT: usize = 8;
/// Number of logits that are in memory at once: 64 MiB in f32, and all that is kept of them 512 MiB.
pub(super) const LOGITS_AT_ONCE: usize = 1 << 24;

/// Trains a lens of a model on prompts. An interruption ends the training, and the lens is the one so far.
pub fn train_tuned(
    model: &Arc<Decoder>,
    prompts: &[Vec<u32>],
    options: &TunedLensOptions,
    task: &Task,
) -> Result<FittedLens> {
    train_in_parts(model, prompts, options, LOGITS_AT_ONCE, task)
}

/// Trains a lens with this number of logits in memory at once.
pub(super) fn train_in_parts(
    model: &Arc<Decoder>,
    prompts: &[Vec<u32>],
    options: &TunedLensOptions,
    at_once: usize,
    task: &Task,
) -> Result<FittedLens> {
    let config = model.config();
    let layers = layers(config, options.layers.as_deref())?;
    let prompts = cut(prompts, config, options.context, options.prompts)?;
    let count = prompts.len();
    let mut training =
        Training { model, prompts, layers: BTreeMap::new(), order: Vec::new(), epoch: 0, at_once, options };
    for layer in layers {
        training.layers.insert(layer, descent(config.d_model, model.device(), options)?);
    }
    let steps = Steps { count: options.steps as u64, label: "training a tuned lens", left: "the lens as it is" };
    descend(steps, || training.step(task), task)?;
    let map = |(layer, descent): (&usize, &Descent)| match &descent.parameters()[..] {
        [matrix, bias] => Ok((*layer, AffineMap { matrix: matrix.clone(), bias: Some(bias.clone()) })),
        _ => Err(err!(Bug, "a translator without its parts")),
    };
    FittedLens::new(LensKind::Tuned, training.layers.iter().map(map).collect::<Result<_>>()?, count)
}

/// Starts the descent of one layer's map. Each layer has its own: none depends on another.
fn descent(d_model: usize, device: &Device, options: &TunedLensOptions) -> Result<Descent> {
    let matrix = create::eye(d_model, d_model, DType::F32)?.to_device(device)?;
    let bias = create::zeros(&[d_model], DType::F32)?.to_device(device)?;
    let options = DescentOptions {
        lr: options.lr,
        schedule: ScheduleShape::Linear,
        steps: Some(options.steps.max(1) as u64),
        ..DescentOptions::default()
    };
    Descent::new(ADAM, vec![("A".into(), matrix), ("b".into(), bias)], options)
}

/// A training that runs.
struct Training<'a> {
    model: &'a Arc<Decoder>,
    prompts: Vec<&'a [u32]>,
    layers: BTreeMap<usize, Descent>,
    /// The prompts that are left of the epoch.
    order: Vec<usize>,
    epoch: u64,
    at_once: usize,
    options: &'a TunedLensOptions,
}

impl Training<'_> {
    /// Makes a step of every layer on the same prompts. Returns the mean of their losses.
    fn step(&mut self, task: &Task) -> Result<f64> {
        let rows = self.next_rows().into_iter().map(|row| self.prompts[row].to_vec()).collect();
        let places = self.layers.keys().map(|layer| output(*layer)).collect();
        let seen = Arc::new(PromptActivations::of(self.model, Batch::new(rows)?, places, task)?);
        let mut sums: BTreeMap<usize, ValueAndGradients> = BTreeMap::new();
        for tokens in seen.parts(self.at_once)? {
            let part = Arc::new(PromptPart::of(&seen, tokens, self.model, task)?);
            for (layer, descent) in &self.layers {
                let model = self.model.clone();
                let part = part.clone();
                let at = descent.parameters();
                let within = task.clone();
                let place = output(*layer);
                let found = task.apart(move || {
                    let mut loss = |map: &[Tensor]| part.loss(&model, place, map, &within);
                    value_and_gradients(&mut loss as &mut TensorFunction, &at, &within)
                });
                let found = found.map_err(|error| descent.at_step(error))?;
                match sums.remove(layer) {
                    None => sums.insert(*layer, found),
                    Some(before) => sums.insert(*layer, before.plus(&found)?),
                };
            }
        }
        let mut sum = 0.0;
        for (descent, found) in self.layers.values_mut().zip(sums.values()) {
            descent.update(found)?;
            sum += found.value;
        }
        Ok(sum / self.layers.len() as f64)
    }

    /// Draws the prompts of the next step: each once an epoch, every epoch in another order.
    fn next_rows(&mut self) -> Vec<usize> {
        let count = self.options.batch.min(self.prompts.len());
        if self.order.len() < count {
            self.order = (0..self.prompts.len()).collect();
            self.order.shuffle(&mut stream(self.options.seed.draws(), "tuned lens", self.epoch));
            self.epoch += 1;
        }
        self.order.split_off(self.order.len() - count)
    }
}

/// Activations of the model at every token of some prompts.
pub(super) struct PromptActivations {
    cache: Cache,
    /// The tokens, as places in `batch * pos`.
    tokens: Vec<u32>,
    /// The end of the pass at each token.
    end: PassEnd,
    /// The number of logits of a token; None where they exist for some words at a time.
    outputs: Option<usize>,
}

impl PromptActivations {
    pub(super) fn of(model: &Decoder, batch: Batch, places: Vec<Place>, task: &Task) -> Result<Self> {
        let points = batch.points();
        let tokens = points.iter().map(|(row, column)| (row * batch.width() + column) as u32).collect();
        let (cache, end) = model.run_to_end(&batch, Ask { places, ..Ask::default() }, &points, task)?;
        let outputs = (!model.reads_in_words()).then(|| model.config().outputs());
        Ok(Self { cache, tokens, end, outputs })
    }

    /// Returns ranges of tokens with this number of logits at most, or of one token; all tokens, where logits exist for some
    /// words at a time.
    pub(super) fn parts(&self, at_once: usize) -> Result<impl Iterator<Item = Range<usize>> + use<>> {
        let count = self.tokens.len();
        let outputs = self.outputs.unwrap_or(0);
        let most = at_once.checked_div(outputs).unwrap_or(count).max(1);
        memory::check((4 * KEPT * most.min(count) * outputs) as u128, || "the logits of a lens".into())?;
        Ok((0..count).step_by(most).map(move |start| start..count.min(start + most)))
    }

    /// Returns the residual stream at some tokens, `[1, tokens, d_model]`.
    fn stream(&self, place: Place, tokens: &Tensor) -> Result<Tensor> {
        Ok(self.cache.at(place)?.flatten_to(1)?.contiguous()?.index_select(tokens, 0)?.unsqueeze(0)?)
    }
}

/// Tokens that are read together, and what the model predicts after each.
pub(super) struct PromptPart {
    seen: Arc<PromptActivations>,
    /// Places in `batch * pos`.
    tokens: Tensor,
    /// The share of all tokens.
    share: f64,
    /// Predictions of the whole model.
    last: ReferencePredictions,
}

impl PromptPart {
    pub(super) fn of(
        seen: &Arc<PromptActivations>,
        tokens: Range<usize>,
        model: &Decoder,
        task: &Task,
    ) -> Result<Self> {
        let share = tokens.len() as f64 / seen.tokens.len() as f64;
        let last = model.reference(&seen.end.part(tokens.clone())?, task)?;
        let tokens = Tensor::new(&seen.tokens[tokens], model.device())?;
        Ok(Self { seen: seen.clone(), tokens, share, last })
    }

    /// Returns the residual stream at each token, `[1, tokens, d_model]`.
    pub(super) fn stream(&self, place: Place) -> Result<Tensor> {
        self.seen.stream(place, &self.tokens)
    }

    /// Computes KL(model || lens) at each token, in nats, for a residual stream that the lens has carried: `[tokens]`.
    pub(super) fn divergences(&self, model: &Decoder, place: Place, carried: Tensor, task: &Task) -> Result<Tensor> {
        let end = PassEnd::before_logits(last_normed(model, place, carried, task)?.squeeze(0)?);
        model.divergences_from(&self.last, &end, task)
    }

    /// Computes the part that these tokens have in the mean of KL(model || lens) over all, for a map, A and b.
    fn loss(&self, model: &Decoder, place: Place, map: &[Tensor], task: &Task) -> Result<Tensor> {
        let [matrix, bias] = map else { return Err(err!(Bug, "a translator without its parts")) };
        let stream = self.stream(place)?;
        let carried = kernels::linear(&stream.to_dtype(DType::F32)?, matrix, Some(bias))?.to_dtype(stream.dtype())?;
        Ok((self.divergences(model, place, carried, task)?.mean_all()? * self.share)?)
    }
}
