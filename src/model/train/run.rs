//! A training from beginning to end: steps, evaluations, checkpoints, and interruption.

use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{Identity, Keep};
use super::estimate::Estimate;
use super::examples::{Batches, Examples};
use super::history::History;
use super::loss::mean_loss;
use super::recipe::Recipe;
use super::state::State;
use crate::base::random::stream;
use crate::base::task::Bar;
use crate::base::{Error, Kind, Result, Task, memory, task};
use crate::err;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::init;
use crate::tensor::{DType, Device};

/// The initial weights.
pub enum Beginning<'a> {
    /// Random ones, by the recipe's seed.
    New(&'a Config),
    /// Those of a model, which itself is not changed.
    Model(&'a Decoder),
}

impl Beginning<'_> {
    pub fn config(&self) -> &Config {
        match self {
            Beginning::New(config) => config,
            Beginning::Model(decoder) => decoder.config(),
        }
    }
}

/// The held-out text of the evaluations.
pub struct Judge {
    pub examples: Examples,
    pub every: u64,
}

/// A training that is ready to run.
pub struct Training<'a> {
    state: State,
    recipe: Recipe,
    data: Box<dyn Batches + 'a>,
    /// The examples of the next step: the first are read before the training begins, so that invalid ones are refused
    /// then.
    next: Option<Vec<Examples>>,
    judge: Option<Judge>,
    keep: Option<Keep<'a>>,
    estimate: Estimate,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Done,
    Interrupted,
}

/// The result of a training.
pub struct Trained {
    pub decoder: Arc<Decoder>,
    pub history: History,
    pub ended: Ended,
}

impl<'a> Training<'a> {
    pub fn new(
        beginning: Beginning,
        recipe: Recipe,
        mut data: Box<dyn Batches + 'a>,
        judge: Option<Judge>,
        keep: Option<Keep<'a>>,
        device: &Device,
        task: &Task,
    ) -> Result<Self> {
        let recipe = recipe.checked()?;
        let config = beginning.config().clone();
        let mut state = begun(beginning, &recipe, device, task)?;
        let judge = match judge {
            Some(Judge { examples, every }) => {
                let examples = examples.checked(config.vocab, config.outputs())?;
                Some(Judge { examples, every: every.max(1) })
            }
            None => None,
        };
        let identity = Identity { config: &config, recipe: &recipe, data: data.about() };
        if let Some(keep) = &keep
            && keep.is_begun()?
        {
            keep.load(&mut state, &identity)?;
            data.skip(state.step * recipe.accumulate as u64 * recipe.rows as u64, task)?;
        }
        let next = passes(data.as_mut(), &config, &recipe, task)?;
        let width = next.first().and_then(|examples| examples.ids.first()).map_or(0, Vec::len);
        state.history.tokens_per_step = next.iter().map(|examples| examples.tokens() as u64).sum();
        let left = recipe.steps.saturating_sub(state.step);
        memory::check(Estimate::new(&config, &recipe, width, left, 0.0)?.bytes, || "this training".into())?;
        let estimate = Estimate::new(&config, &recipe, width, left, tried(&state, &next[0], task)?)?;
        Ok(Self { state, recipe, data, next: Some(next), judge, keep, estimate })
    }

    pub fn estimate(&self) -> &Estimate {
        &self.estimate
    }

    /// The number of steps made before.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Trains to the end. An interruption ends the training early and is cleared: the result is the model so far.
    pub fn run(mut self, task: &Task) -> Result<Trained> {
        let ended = match self.all_steps(task) {
            Ok(()) => Ended::Done,
            Err(error) if error.kind == Kind::Interrupted => {
                task.answer_interruption();
                Ended::Interrupted
            }
            Err(error) => return Err(self.kept_before(error)),
        };
        self.save()?;
        Ok(Trained { decoder: self.state.decoder().clone(), history: self.state.history, ended })
    }

    fn all_steps(&mut self, task: &Task) -> Result<()> {
        let bar = task.begin("training", Some(self.recipe.steps));
        bar.had(self.state.step);
        let (begun, from) = (Instant::now(), self.state.step);
        while self.state.step < self.recipe.steps {
            task.check()?;
            let examples = match self.next.take() {
                Some(examples) => examples,
                None => {
                    let config = self.state.decoder().config().clone();
                    passes(self.data.as_mut(), &config, &self.recipe, task)?
                }
            };
            self.state.advance(&examples, &self.recipe, task)?;
            self.judged(task)?;
            let seconds = begun.elapsed().as_secs_f64();
            let tokens = (self.state.step - from) * self.state.history.tokens_per_step;
            self.tell(bar.as_ref(), tokens as f64 / seconds);
            if let Some(keep) = &self.keep
                && self.state.step.is_multiple_of(keep.every.max(1))
            {
                self.save()?;
                task.say(&self.stage(tokens as f64 / seconds));
            }
        }
        Ok(())
    }

    /// The progress, in a line.
    fn stage(&self, speed: f64) -> String {
        let (history, step, steps) = (&self.state.history, self.state.step, self.recipe.steps);
        let left = task::human((steps - step) as f64 * history.tokens_per_step as f64 / speed);
        let judged = history.judged.last().map(|(_, loss)| format!(", held out {loss:.4}")).unwrap_or_default();
        let loss = history.recent(100).unwrap_or(f64::NAN);
        format!("step {step} of {steps}: loss {loss:.4}{judged}, {speed:.0} tokens/s, {left} left")
    }

    /// Evaluates the model when it is due, and at the end.
    fn judged(&mut self, task: &Task) -> Result<()> {
        let Some(judge) = &self.judge else { return Ok(()) };
        let step = self.state.step;
        if step.is_multiple_of(judge.every) || step == self.recipe.steps {
            let loss = mean_loss(self.state.decoder(), &judge.examples, self.recipe.rows, task)?;
            self.state.history.judged.push((step, loss));
        }
        Ok(())
    }

    fn tell(&self, bar: &dyn Bar, speed: f64) {
        let history = &self.state.history;
        let loss = history.recent(20).unwrap_or(f64::NAN);
        let judged = history.judged.last().map(|(_, loss)| format!(", held out {loss:.3}")).unwrap_or_default();
        bar.note(&format!("{} loss {loss:.3}{judged}, {speed:.0} tokens/s", curve(&history.losses)));
        bar.advance(1);
    }

    fn save(&self) -> Result<()> {
        let Some(keep) = &self.keep else { return Ok(()) };
        let config = self.state.decoder().config();
        keep.save(&self.state, &Identity { config, recipe: &self.recipe, data: self.data.about() })
    }

    /// An error of a step, with a note on the checkpoint.
    fn kept_before(&self, error: Error) -> Error {
        let Some(keep) = &self.keep else { return error };
        match self.save() {
            Ok(()) => {
                let (step, folder) = (self.state.step, keep.folder.display());
                error.hint(format!("the {step} steps before are saved in {folder}"))
            }
            Err(failed) => error.hint(format!("and no checkpoint could be saved: {failed}")),
        }
    }
}

fn begun(beginning: Beginning, recipe: &Recipe, device: &Device, task: &Task) -> Result<State> {
    match beginning {
        Beginning::New(config) => {
            let mut random = stream(recipe.seed, "init", 0);
            let weights = init::init(config, &mut random, DType::F32, device, task)?;
            State::new(config, &mut |name| weights.get(config, name))
        }
        Beginning::Model(decoder) => {
            if !matches!(decoder.dtype(), DType::F32 | DType::F64) {
                return Err(err!(
                    Argument,
                    "expected a model in f32 or f64 to train, found {}",
                    decoder.dtype().as_str()
                )
                .hint("load it with #{ dtype: \"f32\" }"));
            }
            State::new(decoder.config(), &mut |name| decoder.weights().get(decoder.config(), name))
        }
    }
}

/// The seconds of one pass; unless it takes long it is measured twice, since the first run has cold caches.
fn tried(state: &State, examples: &Examples, task: &Task) -> Result<f64> {
    let pass = || -> Result<f64> {
        let begun = Instant::now();
        state.try_pass(examples, task)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let first = pass()?;
    if first < 5.0 { pass() } else { Ok(first) }
}

/// The examples of one step.
fn passes(data: &mut dyn Batches, config: &Config, recipe: &Recipe, task: &Task) -> Result<Vec<Examples>> {
    let one = |_| data.next(recipe.rows, task)?.checked(config.vocab, config.outputs());
    (0..recipe.accumulate).map(one).collect()
}

/// The losses so far as a sparkline, the latest on the right.
fn curve(losses: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 16;
    let stretch = losses.len().div_ceil(WIDTH).max(1);
    let means: Vec<f64> = losses.chunks(stretch).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let (low, high) = means.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    let block = |x: &f64| BLOCKS[(((x - low) / (high - low).max(1e-9)) * 7.0).round().clamp(0.0, 7.0) as usize];
    means.iter().map(block).collect()
}
