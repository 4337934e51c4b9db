//! One dictionary in training: its steps, checkpoints, and end.

use serde_json::{Value, json};

use super::checkpoint;
use super::finish::finished;
use super::history::{FitHistory, FitStep};
use super::loss::Batch;
use super::params::{Params, Shape};
use super::reading::Reading;
use super::recipe::Recipe;
use super::state::State;
use crate::base::random::stream;
use crate::base::{Error, Kind, Result, Task};
use crate::sae::{About, Sae};
use crate::training::{CheckpointFolder, Checkpoints};

/// The metadata key for the settings of the fit.
pub const SETTINGS: &str = "fit";

/// A dictionary to fit.
pub struct Member<'a> {
    pub recipe: Recipe,
    pub d_sae: usize,
    pub keep: Option<CheckpointFolder<'a>>,
}

/// The result of a fit.
pub struct Fitted {
    pub sae: Sae,
    pub history: FitHistory,
    /// Whether it was completed, or interrupted or failed.
    pub is_whole: bool,
    /// The error that ended it, where the dictionary is the state before.
    pub failed: Option<Error>,
}

pub struct Course<'a> {
    pub recipe: Recipe,
    pub checkpoints: Option<Checkpoints<'a>>,
    state: State,
    history: FitHistory,
    /// The error of a step; the state before it stays.
    failed: Option<Error>,
}

impl<'a> Course<'a> {
    /// From its beginning, centred on the `first` rows, or from its checkpoint. `data` is what it reads.
    pub fn begin(member: Member<'a>, shape: Shape, first: &Batch, data: &str, task: &Task) -> Result<Self> {
        let Member { recipe, keep, .. } = member;
        let params = Params::draw(&recipe, shape, &mut stream(recipe.seed, "dictionary", 0), first.x.device())?;
        let mut state = State::new(params, shape.d_sae);
        let mut history = FitHistory { read_per_step: recipe.batch as u64, ..FitHistory::default() };
        let mut checkpoints = keep.map(|folder| Checkpoints::open(folder, &checkpoint::FORMAT)).transpose()?;
        match &mut checkpoints {
            Some(checkpoints) if checkpoints.has_one()? => {
                checkpoints
                    .resume(|file| checkpoint::restore(&mut state, &mut history, (&recipe, data), (file, "")))?;
            }
            _ => state.start(first, &recipe, task)?,
        }
        Ok(Self { recipe, checkpoints, state, history, failed: None })
    }

    /// The number of steps made.
    pub fn made(&self) -> u64 {
        self.state.step
    }

    pub fn is_going(&self) -> bool {
        self.failed.is_none() && self.state.step < self.recipe.steps
    }

    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub fn take_failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    /// The means of its last steps.
    pub fn recent(&self) -> Option<FitStep> {
        self.history.recent(20)
    }

    /// One step. A NaN loss ends this dictionary, and no other.
    pub fn advance(&mut self, batch: &Batch) -> Result<()> {
        match self.state.advance(batch, &self.recipe) {
            Ok(found) => self.history.steps.push(found),
            Err(error) if error.kind == Kind::Numeric => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether a checkpoint is due after this step.
    pub fn is_due(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due(self.state.step))
    }

    pub fn save(&mut self, data: &str) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        checkpoints.save(self.state.step, || checkpoint::saved(&self.state, &self.history, &self.recipe, data))
    }

    /// The dictionary in its current state.
    pub fn finish(self, reading: &Reading, mut about: About) -> Result<Fitted> {
        let Self { recipe, state, history, failed, .. } = self;
        let is_whole = state.step >= recipe.steps;
        about.more.insert(SETTINGS.into(), settings(&recipe, state.step, reading));
        let (read, written) = (&reading.read, reading.written.as_ref());
        let sae = finished(&recipe, &state.params, state.threshold, read, written, about)?;
        Ok(Fitted { sae, history, is_whole, failed })
    }
}

/// The recipe, with the scale of activations that its penalties and thresholds refer to.
fn settings(recipe: &Recipe, made: u64, reading: &Reading) -> Value {
    let mut settings = recipe.json();
    settings["steps_made"] = json!(made);
    settings["scale"] = json!(reading.read.scale);
    settings
}
