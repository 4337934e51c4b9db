//! A fit of one dictionary: a sweep of one.

use super::course::Member;
use super::history::FitHistory;
use super::recipe::Recipe;
use super::rows::Rows;
use super::sweep::Sweep;
use crate::base::{Error, Result, Task};
use crate::err;
use crate::sae::{About, Sae};
use crate::training::CheckpointFolder;

/// A fit that is ready to run.
pub struct Fit<'a>(Sweep<'a>);

/// The result of a fit.
pub struct Fitted {
    pub sae: Sae,
    pub history: FitHistory,
    /// Whether it was completed, or interrupted or failed.
    pub is_whole: bool,
    /// The error that ended it, where the dictionary is the state before.
    pub failed: Option<Error>,
}

impl<'a> Fit<'a> {
    /// `rows` gives activations, or for a transcoder those that are read and those that are to be written.
    pub fn new(
        recipe: Recipe,
        d_sae: usize,
        rows: Box<dyn Rows + 'a>,
        keep: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        Ok(Self(Sweep::new(vec![Member { recipe, d_sae, keep }], rows, task)?))
    }

    /// Fits to the end. An interruption ends it early and is cleared: the result is the dictionary so far.
    pub fn run(self, about: About, task: &Task) -> Result<Fitted> {
        self.0.run(&about, task)?.pop().ok_or_else(|| err!(Bug, "a fit without a dictionary"))
    }
}
