//! End-to-end fine-tuning of a dictionary: minimises the KL divergence between the model's predictions without and with
//! the spliced reconstruction (Braun et al. 2024; as a short last stage of training, Karvonen 2025).

use candle_core::Var;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::codes::unit_rows;
use super::metrics::{EvaluationText, JudgedRowsOptions, judged_rows};
use super::splice::{ErrorTreatment, Splice};
use super::{Activation, Parts, Sae, SiteOptions, SitePair, baselines, writes_of};
use crate::base::random::{OF_CALL, Seed, stream};
use crate::common::*;
use crate::data::Text;
use crate::model::site::one_site;
use crate::options::OptionGroup;
use crate::tensor::{dtype, float};
use crate::training::{
    self, INTERVALS, Optimizer, Parameter, Schedule, ScheduleShape, Trainer, TrainingEnd, means, of_step,
};

crate::options! {
    /// Options of fine-tuning.
    pub struct FineTuneOptions {
        /// Number of updates.
        steps: u64 = 100;
        /// Rows of text in a batch.
        batch: usize = 8 => at_least(1.0);
        /// Peak learning rate, which decays linearly.
        lr: f64 = 1e-4 => above(0.0);
        /// Weight of the L1 penalty: the mean over tokens of the sum of codes, each times the norm of its direction.
        l1: f64 = 0.0 => at_least(0.0);
        /// Weight of the reconstruction error, relative to the variance of what is reconstructed.
        error: f64 = 0.0 => at_least(0.0);
        /// Maximum gradient norm, over all weights together.
        clip: f64 = 1.0 => above(0.0);
        /// Number of rows of the text, which are read again in each epoch.
        rows: usize = 512;
        /// Tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        /// Leaves BOS tokens unchanged, and counts no prediction at them.
        without_bos: bool = true;
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with reads: SiteOptions;
    }
}

impl FineTuneOptions {
    fn optimizer(&self) -> Optimizer {
        let schedule = Schedule { shape: ScheduleShape::Linear, warmup: 0, decay: 0, floor: 0.0 };
        Optimizer::usual(self.steps, self.lr, schedule, Some(self.clip))
    }
}

/// Smallest norm that a direction is divided by.
const SHORTEST: f64 = 1e-12;

/// The losses of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinetuneStep {
    /// The mean over tokens of KL(model || model with the reconstruction), in nats.
    pub kl: f64,
    /// The reconstruction error relative to the variance of what is reconstructed.
    pub error: f64,
    pub l0: f64,
}

pub struct FinetuneResult {
    pub sae: Sae,
    pub steps: Vec<FinetuneStep>,
    /// Whether it was completed, or interrupted.
    pub is_whole: bool,
}

/// Some texts, with the clean model's predictions and activations at the sites.
struct Lesson {
    batch: Batch,
    /// Mask of the positions where the reconstruction is spliced in and predictions count: 1 and 0 in u8,
    /// `[batch, pos]`.
    mask: Tensor,
    /// Positions of the mask as rows and columns, and the end of the unchanged pass there.
    points: Vec<(usize, usize)>,
    clean: PassEnd,
    /// Input and target there: `[places, d]`.
    read: Tensor,
    written: Tensor,
}

/// The parts of the loss, each a number with its gradient graph.
struct LossParts {
    total: Tensor,
    kl: Tensor,
    error: Tensor,
    l0: f64,
}

struct Tuner<'a> {
    model: &'a Decoder,
    sites: SitePair<'a>,
    places: [Place; 2],
    options: &'a FineTuneOptions,
}

/// Tunes a dictionary end to end on a text, with a record of that in its metadata.
pub fn fine_tune_on(sae: &Sae, model: &Model, text: &Text, options: &FineTuneOptions, task: &Task) -> Result<Sae> {
    let reads = options.reads.of(sae)?;
    let writes = writes_of(sae, None)?.unwrap_or_else(|| reads.clone());
    let rows = JudgedRowsOptions { rows: options.rows, without_bos: options.without_bos };
    let texts = judged_rows(model, text, options.context, &rows, task)?;
    let sites = SitePair { reads: &reads, writes: &writes };
    let tuned = fine_tune(&model.decoder, sites, sae, &texts, options, task)?;
    recorded(tuned, options)
}

/// Returns the dictionary with a record of the fine-tuning.
fn recorded(tuned: FinetuneResult, options: &FineTuneOptions) -> Result<Sae> {
    let mut parts = tuned.sae.parts().clone();
    let record = json!({
        "steps": tuned.steps.len(), "batch": options.batch, "lr": options.lr, "l1": options.l1, "error": options.error,
        "kl": means(&tuned.steps, INTERVALS, |step| step.kl),
    });
    parts.about.more.insert("fine_tuned".into(), record);
    Sae::new(parts)
}

/// Tunes a dictionary end to end. Directions keep their norms, and thresholds stay, since they have no gradient.
pub fn fine_tune(
    model: &Decoder,
    sites: SitePair,
    sae: &Sae,
    texts: &[EvaluationText],
    options: &FineTuneOptions,
    task: &Task,
) -> Result<FinetuneResult> {
    let tuner = Tuner::new(model, sites, sae, texts, options)?;
    let weights = FinetuneWeights::new(sae.parts())?;
    let mut tuning = FineTuning { tuner, weights, texts, order: Vec::new(), steps: Vec::new() };
    let ended = training::run(&mut tuning, task)?;
    let mut parts = tuning.weights.finished()?;
    if parts.about.kind.as_str() == "tied" {
        // Encoder and decoder are no longer tied.
        parts.about.kind = "relu".into();
    }
    // Trained codes keep their scale.
    parts.about.more.remove(baselines::GAIN);
    Ok(FinetuneResult { sae: Sae::new(parts)?, steps: tuning.steps, is_whole: ended == TrainingEnd::Done })
}

/// A fine-tuning that runs.
struct FineTuning<'a> {
    tuner: Tuner<'a>,
    weights: FinetuneWeights,
    texts: &'a [EvaluationText],
    /// The texts that are left of the epoch.
    order: Vec<usize>,
    steps: Vec<FinetuneStep>,
}

impl Trainer for FineTuning<'_> {
    fn label(&self) -> String {
        "fine-tuning".into()
    }

    fn steps(&self) -> u64 {
        self.tuner.options.steps
    }

    fn made(&self) -> u64 {
        self.steps.len() as u64
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let made = self.made();
        let chosen = chosen(&mut self.order, self.texts.len(), self.tuner.options, made);
        let chosen: Vec<&EvaluationText> = chosen.iter().filter_map(|place| self.texts.get(*place)).collect();
        self.steps.push(self.tuner.step(&mut self.weights, &chosen, made, task)?);
        Ok(())
    }

    fn progress(&self, _speed: f64) -> String {
        let last = self.steps.last();
        last.map_or_else(String::new, |step| format!("KL {:.4}, error {:.3}, L0 {:.1}", step.kl, step.error, step.l0))
    }

    fn settings_of(&self, _member: usize) -> Value {
        let options = self.tuner.options;
        options.recorded(options.seed.draws()).into()
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        let Some(FinetuneStep { kl, error, l0 }) = of_step(&self.steps, step) else { return Vec::new() };
        vec![("kl", *kl), ("error", *error), ("l0", *l0)]
    }

    fn left(&self) -> String {
        "the dictionary as it is".into()
    }
}

/// Draws the texts of a batch: each once an epoch, every epoch in another order.
fn chosen(order: &mut Vec<usize>, count: usize, options: &FineTuneOptions, step: u64) -> Vec<usize> {
    let mut chosen = Vec::new();
    while chosen.len() < options.batch.min(count) {
        if order.is_empty() {
            *order = (0..count).collect();
            order.shuffle(&mut stream(options.seed.draws(), "fine-tuning", step));
        }
        chosen.extend(order.pop());
    }
    chosen
}

impl<'a> Tuner<'a> {
    fn new(
        model: &'a Decoder,
        sites: SitePair<'a>,
        sae: &Sae,
        texts: &[EvaluationText],
        options: &'a FineTuneOptions,
    ) -> Result<Self> {
        if let Activation::Other(other) = &sae.parts().activation
            && let Some(untunable) = other.function.untunable
        {
            return Err(untunable());
        }
        let usable = |x: f64| x.is_finite() && x > 0.0;
        for (name, number) in [("lr", options.lr), ("clip", options.clip), ("batch", options.batch as f64)] {
            if !usable(number) {
                return Err(err!(Argument, "expected a number above 0 as `{name}`, found {number}"));
            }
        }
        for (name, number) in [("l1", options.l1), ("error", options.error)] {
            if !(usable(number) || number == 0.0) {
                return Err(err!(Argument, "expected a number of at least 0 as `{name}`, found {number}"));
            }
        }
        if texts.iter().all(|text| places(&[text]).is_empty()) {
            return Err(err!(Argument, "expected texts to fine-tune on, found none with a token to predict"));
        }
        let place = |site: &str| one_site(model.config(), site, "a dictionary is fine-tuned at one site");
        Ok(Self { model, sites, places: [place(sites.reads)?, place(sites.writes)?], options })
    }

    fn step(
        &self,
        weights: &mut FinetuneWeights,
        texts: &[&EvaluationText],
        step: u64,
        task: &Task,
    ) -> Result<FinetuneStep> {
        task.check()?;
        let lesson = self.lesson(texts, &weights.template, task)?;
        let sae = Sae::new(weights.parts()?)?;
        let found = self.loss(&sae, &lesson, task)?;
        let kl = float(&found.kl)?;
        let error = float(&found.error)?;
        let total = found.total;
        let gradients = {
            let mut store = task.apart(move || Ok(total.backward()?))?;
            weights.all.iter().map(|weight| store.remove(&weight.weight)).collect::<Vec<_>>()
        };
        weights.advance(gradients, self.options, step)?;
        Ok(FinetuneStep { kl, error, l0: found.l0 })
    }

    /// Runs the unchanged model.
    fn lesson(&self, texts: &[&EvaluationText], parts: &Parts, task: &Task) -> Result<Lesson> {
        let batch = Batch::new(texts.iter().map(|text| text.ids.clone()).collect())?;
        let width = batch.width();
        let places = places(texts);
        let mut marks = vec![0_u8; texts.len() * width];
        for place in &places {
            if let Some(mark) = marks.get_mut(*place as usize) {
                *mark = 1;
            }
        }
        let device = self.model.device();
        let points: Vec<_> = places.iter().map(|place| (*place as usize / width, *place as usize % width)).collect();
        let places = Tensor::new(places, device)?;
        let ask = Ask { places: self.places.to_vec(), ..Ask::default() };
        let (cache, clean) = self.model.run_to_end(&batch, ask, &points, task)?;
        let rows = |place: Place, width: usize| -> Result<Tensor> {
            let x = cache.at(place)?;
            let found = x.elem_count();
            let rows = texts.len() * batch.width();
            if found != rows * width {
                let found = found / rows.max(1);
                return Err(err!(Shape, "expected `{place}` of the dictionary's width, {width}, found {found}"));
            }
            dtype::convert(&x.detach().reshape((rows, width))?.index_select(&places, 0)?, parts.encoder.dtype())
        };
        let [reads, writes] = self.places;
        Ok(Lesson {
            read: rows(reads, parts.encoder.dims()[1])?,
            written: rows(writes, parts.decoder.dims()[1])?,
            clean,
            mask: Tensor::from_vec(marks, (texts.len(), width), device)?,
            points,
            batch,
        })
    }

    /// Computes the loss.
    fn loss(&self, sae: &Sae, lesson: &Lesson, task: &Task) -> Result<LossParts> {
        let splice = Splice::new(sae.clone(), ErrorTreatment::Dropped).only(lesson.mask.clone());
        let hooks = splice.between(self.model.config(), self.sites.reads, self.sites.writes, None)?;
        let ask = Ask { hooks, ..Ask::default() };
        let (_, changed) = self.model.run_to_end(&lesson.batch, ask, &lesson.points, task)?;
        let kl = self.model.divergences(&lesson.clean, &changed, task)?.mean(0)?.to_dtype(self.model.dtype())?;
        let (codes, found) = sae.encode_and_reconstruct(&lesson.read)?;
        let rest = (&lesson.written - found)?.sqr()?.sum_all()?;
        let spread = lesson.written.broadcast_sub(&lesson.written.mean_keepdim(0)?)?.sqr()?.sum_all()?;
        // Without variance the error is not normalised.
        let spread = Some(float(&spread)?).filter(|spread| *spread > 0.0).unwrap_or(1.0);
        let error = (rest / spread)?;
        let lengths = sae.directions().sqr()?.sum(1)?.sqrt()?.detach();
        let l1 = codes.abs()?.broadcast_mul(&lengths)?.sum(1)?.mean(0)?;
        let fired = codes.detach().ne(0.0)?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        let kl = dtype::convert(&kl, error.dtype())?;
        let total = ((&kl + (&error * self.options.error)?)? + (l1 * self.options.l1)?)?;
        Ok(LossParts { total, kl, error, l0: fired / codes.dims()[0].max(1) as f64 })
    }
}

/// Lists the tokens that count, as places in `batch * pos`.
fn places(texts: &[&EvaluationText]) -> Vec<u32> {
    let width = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
    let of = |(row, text): (usize, &&EvaluationText)| {
        let counts = |position: &usize| !text.left_out.get(*position).copied().unwrap_or(false);
        (0..text.ids.len()).filter(counts).map(|position| (row * width + position) as u32).collect::<Vec<_>>()
    };
    texts.iter().enumerate().flat_map(of).collect()
}

/// The name of the decoder among the tensors that are fine-tuned.
const DECODER: &str = "decoder";

/// Returns the tensors of a dictionary that are fine-tuned, by their names.
fn tuned(parts: &mut Parts) -> Vec<(&'static str, &mut Tensor)> {
    let Parts { encoder, encoder_bias, activation, decoder, decoder_bias, skip, .. } = parts;
    let mut all = vec![("encoder", encoder)];
    all.extend(encoder_bias.as_mut().map(|bias| ("encoder_bias", bias)));
    all.push((DECODER, decoder));
    all.extend(decoder_bias.as_mut().map(|bias| ("decoder_bias", bias)));
    all.extend(skip.as_mut().map(|skip| ("skip", skip)));
    if let Activation::Gated { gate, magnitude, log_scale } = activation {
        all.extend([("gate", gate), ("magnitude", magnitude), ("log_scale", log_scale)]);
    }
    all
}

struct FinetuneWeights {
    template: Parts,
    all: Vec<Parameter<&'static str>>,
    /// The norms of the directions, which stay fixed: `[d_sae, 1]`.
    lengths: Tensor,
}

impl FinetuneWeights {
    fn new(parts: &Parts) -> Result<Self> {
        let mut template = parts.clone();
        let mut all = Vec::new();
        for (name, tensor) in tuned(&mut template) {
            all.push(Parameter::new(name, tensor)?);
        }
        let lengths = parts.decoder.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(Self { template, all, lengths })
    }

    fn with(&self, tensor: impl Fn(&Var) -> Result<Tensor>) -> Result<Parts> {
        let mut parts = self.template.clone();
        for (weight, (_, place)) in self.all.iter().zip(tuned(&mut parts)) {
            *place = tensor(&weight.weight)?;
        }
        Ok(parts)
    }

    /// Returns the parts of a dictionary with gradients.
    fn parts(&self) -> Result<Parts> {
        self.with(|variable| Ok(variable.as_tensor().clone()))
    }

    fn finished(&self) -> Result<Parts> {
        self.with(|variable| Ok(variable.as_detached_tensor().copy()?))
    }

    /// Makes one step of Adam. Directions keep their norms, so the gradient along them is removed.
    fn advance(&mut self, mut gradients: Vec<Option<Tensor>>, options: &FineTuneOptions, step: u64) -> Result<()> {
        for (weight, gradient) in self.all.iter().zip(&mut gradients) {
            if let (DECODER, Some(found)) = (weight.name, gradient.as_ref()) {
                let directions = unit_rows(&weight.weight.as_detached_tensor(), SHORTEST)?;
                let along = (found * &directions)?.sum_keepdim(1)?;
                *gradient = Some((found - directions.broadcast_mul(&along)?)?);
            }
        }
        let norm = kernels::global_norm(gradients.iter().flatten())?;
        if !norm.is_finite() {
            return Err(diverged(step, norm));
        }
        let update = options.optimizer().update(step, norm);
        for (weight, gradient) in self.all.iter().zip(&gradients) {
            let Some(gradient) = gradient else { continue };
            weight.step(&gradient.detach(), update)?;
            if weight.name == DECODER {
                let directions = unit_rows(&weight.weight.as_detached_tensor(), SHORTEST)?;
                weight.weight.set(&directions.broadcast_mul(&self.lengths)?)?;
            }
        }
        Ok(())
    }
}

fn diverged(step: u64, norm: f64) -> Error {
    err!(Numeric, "the gradient's norm is {norm} at step {} of fine-tuning", step + 1)
        .hint("try a lower `lr`; NaN or infinity in the model's activations has the same effect")
}

#[cfg(test)]
mod tests;
