//! A training from beginning to end: steps, evaluations, checkpoints, and interruption.

use std::sync::Arc;

use serde_json::Value;

use super::checkpoint::{self, Identity};
use super::estimate::Estimate;
use super::examples::{Batches, Examples};
use super::history::{ModelHistory, ModelStep};
use super::loss::mean_loss;
use super::recipe::Recipe;
use super::state::TrainingState;
use crate::base::clock::Instant;
use crate::base::files::hex;
use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::err;
use crate::model::adapter::AdapterParts;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::fingerprint::fingerprint;
use crate::model::init;
use crate::tensor::{DType, Device};
use crate::training::{self, CheckpointFolder, Checkpoints, Trainer, TrainingEnd, means};

/// The initial weights.
pub enum InitialWeights<'a> {
    /// Random weights, by the recipe's seed.
    New(&'a Config),
    /// Weights of a model, which itself is not changed.
    Model(&'a Decoder),
    /// An adapter of a model, whose own weights are not trained.
    Adapter { base: &'a Arc<Decoder>, parts: &'a AdapterParts },
}

impl InitialWeights<'_> {
    pub fn config(&self) -> &Config {
        match self {
            InitialWeights::New(config) => config,
            InitialWeights::Model(decoder) => decoder.config(),
            InitialWeights::Adapter { base, .. } => base.config(),
        }
    }
}

/// The held-out text of the evaluations.
pub struct HeldOut {
    pub examples: Examples,
    /// Steps between evaluations.
    pub every: u64,
}

/// A training that is ready to run.
pub struct Training<'a> {
    state: TrainingState,
    recipe: Recipe,
    data: Box<dyn Batches + 'a>,
    /// The examples of the next step: the first are read before the training begins, so that invalid ones are refused
    /// then.
    next: Option<Vec<Examples>>,
    held_out: Option<HeldOut>,
    checkpoints: Option<Checkpoints<'a>>,
    /// The hash of the base that an adapter belongs to, where checkpoints are saved.
    base: Option<String>,
    estimate: Estimate,
}

/// The result of a training.
pub struct TrainedModel {
    pub decoder: Arc<Decoder>,
    /// The adapter, if that is what was trained.
    pub adapter: Option<AdapterParts>,
    pub history: ModelHistory,
    pub ended: TrainingEnd,
}

impl<'a> Training<'a> {
    pub fn new(
        beginning: InitialWeights,
        recipe: Recipe,
        mut data: Box<dyn Batches + 'a>,
        held_out: Option<HeldOut>,
        folder: Option<CheckpointFolder<'a>>,
        device: &Device,
        task: &Task,
    ) -> Result<Self> {
        let recipe = recipe.checked()?;
        let config = beginning.config().clone();
        config.expect_next_token("training")?;
        recipe.added.bound(&config)?;
        let base = match &beginning {
            InitialWeights::Adapter { base, .. } if folder.is_some() => Some(hex(&fingerprint(base, task)?)),
            _ => None,
        };
        let mut state = begun(beginning, &recipe, device, task)?;
        let held_out = match held_out {
            Some(HeldOut { examples, every }) => {
                let examples = examples.checked(config.vocab, config.outputs())?;
                Some(HeldOut { examples, every: every.max(1) })
            }
            None => None,
        };
        let mut checkpoints = folder.map(|folder| Checkpoints::open(folder, &checkpoint::FORMAT)).transpose()?;
        if let Some(checkpoints) = &mut checkpoints
            && checkpoints.has_one()?
        {
            let identity = Identity { config: &config, recipe: &recipe, data: data.about(), base: base.as_deref() };
            checkpoints.resume(|file| checkpoint::restore(&mut state, &identity, file))?;
            data.skip(state.step * recipe.accumulate as u64 * recipe.rows as u64, task)?;
        }
        let next = passes(data.as_mut(), &config, &recipe, task)?;
        let width = next.first().and_then(|examples| examples.ids.first()).map_or(0, Vec::len);
        state.history.read_per_step = next.iter().map(|examples| examples.tokens() as u64).sum();
        let left = recipe.steps.saturating_sub(state.step);
        let bytes = Estimate::new(&config, state.adapter(), &recipe, width, left, 0.0)?.bytes;
        memory::check_on(device, bytes, || "this training".into())?;
        let pass = tried(&state, &next[0], task)?;
        let estimate = Estimate::new(&config, state.adapter(), &recipe, width, left, pass)?;
        Ok(Self { state, recipe, data, next: Some(next), held_out, checkpoints, base, estimate })
    }

    pub fn estimate(&self) -> &Estimate {
        &self.estimate
    }

    /// Trains to the end. An interruption ends the training early and is cleared: the result is the model so far.
    pub fn run(mut self, task: &Task) -> Result<TrainedModel> {
        let ended = training::run(&mut self, task)?;
        let decoder = self.state.decoder()?;
        let adapter = self.state.adapter().cloned();
        Ok(TrainedModel { decoder, adapter, history: self.state.history, ended })
    }

    /// Evaluates the model when it is due, and at the end.
    fn evaluate(&mut self, task: &Task) -> Result<()> {
        let Some(held_out) = &self.held_out else { return Ok(()) };
        let step = self.state.step;
        if step.is_multiple_of(held_out.every) || step == self.recipe.steps {
            let decoder = self.state.decoder()?;
            let loss = mean_loss(&decoder, &held_out.examples, self.recipe.rows, task)?;
            self.state.history.held_out.push((step, loss));
        }
        Ok(())
    }

    /// Writes the mean loss of the last steps, the last held-out loss, and the speed.
    fn numbers(&self, recent: usize, digits: usize, speed: f64) -> String {
        let history = &self.state.history;
        let loss = history.recent(recent).map_or(f64::NAN, |step| step.loss);
        let held_out = history.held_out.last().map(|(_, loss)| format!(", held out {loss:.digits$}"));
        let tokens = speed * history.read_per_step as f64;
        format!("loss {loss:.digits$}{}, {tokens:.0} tokens/s", held_out.unwrap_or_default())
    }
}

impl Trainer for Training<'_> {
    fn label(&self) -> String {
        "training".into()
    }

    fn steps(&self) -> u64 {
        self.recipe.steps
    }

    fn made(&self) -> u64 {
        self.state.step
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let examples = match self.next.take() {
            Some(examples) => examples,
            None => passes(self.data.as_mut(), self.state.config(), &self.recipe, task)?,
        };
        self.state.advance(&examples, &self.recipe, task)?;
        self.evaluate(task)
    }

    fn progress(&self, speed: f64) -> String {
        format!("{} {}", curve(&self.state.history.steps), self.numbers(20, 3, speed))
    }

    fn stage(&self, speed: f64) -> String {
        self.numbers(100, 4, speed)
    }

    fn settings_of(&self, _member: usize) -> Value {
        self.recipe.settings()
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        self.state.history.numbers(step)
    }

    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.checkpoints.as_ref()
    }

    fn save(&mut self) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let data = self.data.about();
        let base = self.base.as_deref();
        let identity = Identity { config: self.state.config(), recipe: &self.recipe, data, base };
        checkpoints.save(self.state.step, || checkpoint::saved(&self.state, &identity))
    }

    fn left(&self) -> String {
        "the model as it is".into()
    }
}

fn begun(beginning: InitialWeights, recipe: &Recipe, device: &Device, task: &Task) -> Result<TrainingState> {
    match beginning {
        InitialWeights::New(config) => {
            let mut random = stream(recipe.seed, "init", 0);
            let weights = init::init(config, &mut random, DType::F32, device, task)?;
            TrainingState::new(config, &mut |name| weights.get(config, name))
        }
        InitialWeights::Model(decoder) => {
            check_dtype(decoder)?;
            TrainingState::new(decoder.config(), &mut |name| decoder.weights().get(decoder.config(), name))
        }
        InitialWeights::Adapter { base, parts } => {
            check_dtype(base)?;
            TrainingState::of_adapter(base.clone(), parts)
        }
    }
}

/// Refuses a model in whose dtype small changes of a weight are lost.
fn check_dtype(decoder: &Decoder) -> Result<()> {
    if matches!(decoder.dtype(), DType::F32 | DType::F64) {
        return Ok(());
    }
    Err(err!(Argument, "expected a model in f32 or f64 to train, found {}", decoder.dtype().as_str())
        .hint("load it with #{ dtype: \"f32\" }"))
}

/// Measures the seconds of one pass; a fast one is measured twice, since the first has cold caches.
fn tried(state: &TrainingState, examples: &Examples, task: &Task) -> Result<f64> {
    let pass = || -> Result<f64> {
        let begun = Instant::now();
        state.try_pass(examples, task)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let first = pass()?;
    if first < 5.0 { pass() } else { Ok(first) }
}

/// Reads the examples of one step.
fn passes(data: &mut dyn Batches, config: &Config, recipe: &Recipe, task: &Task) -> Result<Vec<Examples>> {
    let one = |_| data.next(recipe.rows, task)?.checked(config.vocab, config.outputs());
    (0..recipe.accumulate).map(one).collect()
}

/// Draws the losses so far as a sparkline, the latest on the right.
fn curve(steps: &[ModelStep]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 16;
    let means = means(steps, WIDTH, |step| step.loss);
    let (low, high) = means.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    let block = |x: &f64| BLOCKS[(((x - low) / (high - low).max(1e-9)) * 7.0).round().clamp(0.0, 7.0) as usize];
    means.iter().map(block).collect()
}
