//! One dictionary on its way: its steps, what is kept of them, and how it ends.

use serde_json::{Value, json};

use super::checkpoint::Keep;
use super::finish::finished;
use super::history::History;
use super::loss::Batch;
use super::params::Params;
use super::reading::Reading;
use super::recipe::{Recipe, Shape};
use super::run::Fitted;
use super::state::{Found, State};
use crate::base::random::stream;
use crate::base::{Error, Kind, Result, Task};
use crate::sae::About;

/// The key of what is said about a dictionary that says how it was fitted.
pub const SETTINGS: &str = "fit";

/// A dictionary that is to be fitted.
pub struct Member<'a> {
    pub recipe: Recipe,
    pub d_sae: usize,
    pub keep: Option<Keep<'a>>,
}

pub struct Course<'a> {
    pub recipe: Recipe,
    pub keep: Option<Keep<'a>>,
    state: State,
    history: History,
    /// At which step it was last written down.
    kept_at: Option<u64>,
    /// What a step failed with; what it had come to before stays.
    failed: Option<Error>,
}

impl<'a> Course<'a> {
    /// From its beginning, in the middle of the `first` rows, or from where it was kept. `data` is what it reads.
    pub fn begin(member: Member<'a>, shape: Shape, first: &Batch, data: &str, task: &Task) -> Result<Self> {
        let Member { recipe, keep, .. } = member;
        let params = Params::draw(&recipe, shape, &mut stream(recipe.seed, "dictionary", 0))?;
        let mut state = State::new(params, shape.d_sae);
        let mut history = History { steps: Vec::new(), rows_per_step: recipe.batch as u64 };
        let mut kept_at = None;
        match &keep {
            Some(keep) if keep.is_begun()? => {
                keep.load(&mut state, &mut history, &recipe, data)?;
                kept_at = Some(state.step);
            }
            _ => state.start(first, &recipe, task)?,
        }
        Ok(Self { recipe, keep, state, history, kept_at, failed: None })
    }

    /// How many steps it has made.
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
    pub fn recent(&self) -> Option<Found> {
        self.history.recent(20)
    }

    /// One step. A loss that is no number ends this dictionary, and no other.
    pub fn advance(&mut self, batch: &Batch) -> Result<()> {
        match self.state.advance(batch, &self.recipe) {
            Ok(found) => self.history.steps.push(found),
            Err(error) if error.kind == Kind::Numeric => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether a step ends here behind which it is to be written down.
    pub fn is_due(&self) -> bool {
        let made = self.state.step;
        self.keep.as_ref().is_some_and(|keep| self.kept_at != Some(made) && made.is_multiple_of(keep.every.max(1)))
    }

    pub fn save(&mut self, data: &str) -> Result<()> {
        let Some(keep) = &self.keep else { return Ok(()) };
        if self.kept_at != Some(self.state.step) {
            keep.save(&self.state, &self.history, &self.recipe, data)?;
            self.kept_at = Some(self.state.step);
        }
        Ok(())
    }

    /// The dictionary that it has come to.
    pub fn finish(self, reading: &Reading, mut about: About) -> Result<Fitted> {
        let Self { recipe, state, history, failed, .. } = self;
        let is_whole = state.step >= recipe.steps;
        about.more.insert(SETTINGS.into(), settings(&recipe, state.step, reading));
        let (read, written) = (&reading.read, reading.written.as_ref());
        let sae = finished(&recipe, &state.params, state.threshold, read, written, about)?;
        Ok(Fitted { sae, history, is_whole, failed })
    }
}

/// The recipe, and what its penalties and thresholds belong to: how activations were scaled.
fn settings(recipe: &Recipe, made: u64, reading: &Reading) -> Value {
    let mut settings = recipe.json();
    settings["steps_made"] = json!(made);
    settings["scale"] = json!(reading.read.scale);
    settings
}
