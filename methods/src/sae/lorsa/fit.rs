//! The fit of a Lorsa: it learns to predict what a layer's attention writes from what it reads, by Adam on whole texts.

use super::measure::{LayerActivations, activations};
use super::options::{FitShape, LorsaFitOptions, LorsaStart};
use super::start::started;
use super::{Lorsa, TENSORS};
use crate::base::random::stream;
use crate::common::*;
use crate::data::{Text, harvest};
use crate::options::OptionGroup;
use crate::sae::codes::norms;
use crate::sae::fit::FitStorage;
use crate::sae::metrics::EvaluationText;
use crate::sae::text_rows::fit::{FittedOnText, TextFit, TextFitPlan, TextFitWords};
use crate::sae::text_rows::{ActivationSums, TextRows, weights};
use crate::training::CheckpointFormat;

/// The words of a fit.
const WORDS: TextFitWords = TextFitWords {
    kind: "lorsa",
    name: "Lorsa",
    order: "lorsa rows",
    checkpoint: CheckpointFormat {
        file: "lorsa.safetensors",
        kind: "microtome fit of a Lorsa, 1",
        of: "a fit of a Lorsa",
    },
};

/// A Lorsa that was fitted, with the share of the variance that it did not explain in each step.
pub type FittedLorsa = FittedOnText<Lorsa>;

/// Fits a Lorsa of a layer of a model on a text, or resumes its fit from a checkpoint, or loads it from the cache. An
/// interruption ends the fit early: the result is the Lorsa as it is.
pub fn fit(
    model: &Model,
    layer: usize,
    text: &Text,
    options: &LorsaFitOptions,
    storage: &FitStorage,
    task: &Task,
) -> Result<FittedLorsa> {
    let shape = shape(model, layer, options)?;
    let seed = options.descent.seed.draws();
    let mut begun = started(model, layer, &shape, options, &mut stream(seed, "lorsa", 0))?;
    begun.about.more = options.recorded(seed);
    let plan = TextFitPlan {
        model,
        text,
        site: begun.about.reads.clone(),
        features: shape.heads,
        context: shape.context,
        steps: options.steps,
        descent: &options.descent,
        options: begun.about.more.clone(),
    };
    let mut fit = TextFit::open(plan, &WORDS, storage, task)?;
    let device = model.decoder.device();
    if let Some(FittedLorsa { made, losses }) = fit.cached(task)? {
        let made = Lorsa { about: begun.about, ..made.to_device(device)? };
        return Ok(FittedLorsa { made, losses });
    }
    let fitting = Fitting { model, places: places(layer) };
    let scales = fitting.scales(&fit.rows, task)?;
    let begun = scales.folded_in(&begun, options.start)?.to_device(device)?;
    let (lorsa, losses) = fitting.run(&mut fit, &begun, &scales, task)?;
    Ok(fit.finished(lorsa, losses))
}

fn places(layer: usize) -> [Place; 2] {
    [SiteKind::AttnIn, SiteKind::AttnOut].map(|kind| Place { site: Site::new(kind, layer), head: None })
}

/// Decides the shape, and refuses a layer whose attention no Lorsa stands for.
fn shape(model: &Model, layer: usize, options: &LorsaFitOptions) -> Result<FitShape> {
    let config = model.decoder.config();
    if layer >= config.layers {
        return Err(err!(Argument, "expected a layer below {}, found {layer}", config.layers).about("layer"));
    }
    if !config.attends(layer) {
        return Err(err!(Argument, "expected a layer with attention, found layer {layer} of {} without", model.name())
            .hint("a Lorsa mixes tokens by attention patterns, which recurrent layers do not have")
            .about("layer"));
    }
    if !config.causal {
        return Err(err!(Argument, "expected a model whose tokens see those before them, found {}", model.name())
            .hint("the patterns of a Lorsa are causal")
            .about("m"));
    }
    if config.alibi.is_some() {
        return Err(err!(Argument, "expected a model without biases of scores by distance, found {}", model.name())
            .hint("the groups of a Lorsa know positions by rotation only")
            .about("m"));
    }
    let context = harvest::context(config, options.descent.context)?;
    if let Some(window) = config.window(layer).filter(|window| *window < context) {
        return Err(err!(
            Argument,
            "expected texts within the window of layer {layer}, {window} tokens, found {context}"
        )
        .hint("the patterns of a Lorsa have no window: fit it on shorter rows")
        .about("context"));
    }
    let groups = options.groups.unwrap_or(config.heads);
    let d_model = config.d_model;
    let wanted = options.heads.unwrap_or((d_model as f64 * options.ratio).round() as usize);
    // By `ratio` no number of heads is meant exactly.
    let heads = if options.heads.is_none() { wanted.div_ceil(groups) * groups } else { wanted };
    if heads == 0 || heads % groups != 0 {
        return Err(err!(
            Argument,
            "expected a number of heads that is a multiple of the {groups} groups, found {heads}"
        )
        .hint("each group has equally many heads")
        .about("heads"));
    }
    if options.k > heads {
        return Err(err!(Argument, "expected at most the {heads} heads to be active, found {}", options.k).about("k"));
    }
    let d_qk = options.d_qk.unwrap_or(config.d_head_of(layer));
    let numbers = (heads as u128) * (d_model as u128) * 2 + (groups as u128) * (d_qk as u128) * (d_model as u128) * 2;
    memory::check_on(model.decoder.device(), numbers.saturating_mul(24), || "the heads of a Lorsa".into())
        .map_err(|e| e.about("heads"))?;
    let positions = (options.descent.batch as u128) * (context as u128);
    let passes = positions * ((heads as u128) * 8 + (groups as u128) * (context as u128));
    memory::check_on(model.decoder.device(), passes.saturating_mul(4), || "the codes of a step".into())
        .map_err(|e| e.about("batch"))?;
    Ok(FitShape { heads, groups, d_qk, context })
}

/// The sizes of what a layer reads and writes, by which both are divided during the fit.
struct Scales {
    read: f64,
    written: f64,
    /// The mean of what is written.
    mean: Vec<f32>,
}

impl Scales {
    /// Returns the Lorsa with which a fit begins, which reads and writes scaled activations: its bias is their mean, and what it
    /// has of the model reads as much as it did.
    fn folded_in(&self, lorsa: &Lorsa, start: LorsaStart) -> Result<Lorsa> {
        let mean = Tensor::from_vec(self.mean.clone(), self.mean.len(), &Device::Cpu)?;
        let mut found = lorsa.clone();
        found.decoder_bias = (mean / self.written)?;
        if start == LorsaStart::Model {
            found.queries.weight = (&found.queries.weight * self.read)?;
            found.keys.weight = (&found.keys.weight * self.read)?;
        }
        Ok(found)
    }

    /// Returns the Lorsa that does for activations as they are what this one does for scaled ones. Directions that heads write
    /// get length 1, so that a code is the size of what its head writes.
    fn folded_out(&self, lorsa: &Lorsa) -> Result<Lorsa> {
        let lengths = norms(&lorsa.decoder)?.maximum(f32::MIN_POSITIVE)?;
        let factor = (&lengths * self.written)?;
        let mut found = lorsa.clone();
        found.queries.weight = (&found.queries.weight / self.read)?;
        found.keys.weight = (&found.keys.weight / self.read)?;
        found.values = (found.values.broadcast_mul(&factor.unsqueeze(1)?)? / self.read)?;
        found.value_bias = found.value_bias.mul(&factor)?;
        found.decoder = found.decoder.broadcast_div(&lengths.unsqueeze(1)?)?;
        found.decoder_bias = (&found.decoder_bias * self.written)?;
        Ok(found)
    }
}

/// A layer that a Lorsa is fitted to.
struct Fitting<'a> {
    model: &'a Model,
    places: [Place; 2],
}

/// The activations of one step, with a weight for each position: 1 where it counts.
struct StepBatch {
    read: Tensor,
    written: Tensor,
    weights: Tensor,
}

impl Fitting<'_> {
    fn read(&self, rows: &[&EvaluationText], task: &Task) -> Result<StepBatch> {
        let batch = Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?;
        let LayerActivations { read, written } = activations(self.model, self.places, &batch, task)?;
        let weights = weights(rows, batch.width(), self.model.decoder.device())?;
        Ok(StepBatch { read, written, weights })
    }

    /// Measures the sizes of what is read and written.
    fn scales(&self, rows: &TextRows, task: &Task) -> Result<Scales> {
        let mut read = ActivationSums::default();
        let mut written = ActivationSums::default();
        for part in rows.first() {
            let batch = self.read(&part, task)?;
            read.add(&batch.read, &batch.weights)?;
            written.add(&batch.written, &batch.weights)?;
        }
        let read = read.size();
        let (mean, written) = written.spread();
        if !(written > 0.0 && written.is_finite() && read > 0.0) {
            return Err(err!(
                Argument,
                "expected an attention layer that writes something, found {} that does not vary",
                self.places[1]
            )
            .about("layer"));
        }
        Ok(Scales { read, written, mean })
    }

    /// Makes the steps of a fit. Returns the Lorsa for activations as they are, and the losses.
    fn run(&self, fit: &mut TextFit, begun: &Lorsa, scales: &Scales, task: &Task) -> Result<(Lorsa, Vec<f64>)> {
        let parameters = TENSORS.iter().zip(begun.tensors()).map(|(name, tensor)| (name.to_string(), tensor.clone()));
        let (tensors, losses) = fit.descend(
            parameters.collect(),
            |descent, rows| {
                let batch = self.read(rows, task)?;
                let read = (batch.read / scales.read)?;
                let written = (batch.written / scales.written)?;
                let count = batch.weights.sum_all()?;
                let mut loss = |tensors: &[Tensor]| {
                    let found = with(begun, tensors)?.reconstruct(&read, None)?;
                    let error = (found - &written)?.sqr()?.broadcast_mul(&batch.weights)?;
                    Ok((error.sum_all()?.div(&count)? / written.dim(2)? as f64)?)
                };
                descent.step(&mut loss, task)
            },
            task,
        )?;
        Ok((scales.folded_out(&with(begun, &tensors)?)?.check()?, losses))
    }
}

/// Returns a Lorsa with the tensors of a descent.
fn with(lorsa: &Lorsa, tensors: &[Tensor]) -> Result<Lorsa> {
    let tensors = <[Tensor; 8]>::try_from(tensors.to_vec());
    Ok(lorsa.with(tensors.map_err(|_| err!(Bug, "expected eight tensors of a Lorsa"))?))
}
