//! The interface of a training that is made in steps: a model's, a dictionary's, or that of several at once.

use super::checkpoint::Checkpoints;
use crate::common::*;

/// A model or a dictionary that is trained in steps.
pub trait Trainer {
    /// Returns the label of the progress bar.
    fn label(&self) -> String;

    fn steps(&self) -> u64;

    /// Returns the number of steps made.
    fn made(&self) -> u64;

    fn is_going(&self) -> bool {
        self.made() < self.steps()
    }

    /// Makes one step. A step that fails changes nothing.
    fn advance(&mut self, task: &Task) -> Result<()>;

    /// Returns the numbers beside the progress bar; `speed` is in steps a second.
    fn progress(&self, speed: f64) -> String;

    /// Returns the numbers of the line that each checkpoint leaves.
    fn stage(&self, speed: f64) -> String {
        self.progress(speed)
    }

    /// Returns the number of members: what is trained at once, each with numbers of its own.
    fn members(&self) -> usize {
        1
    }

    /// Returns the label of a member, for trackers.
    fn label_of(&self, _member: usize) -> String {
        self.label()
    }

    /// Returns the settings of a member by their names, for trackers.
    fn settings_of(&self, _member: usize) -> Value {
        Value::Null
    }

    /// Returns the numbers of a step of a member by their names, the loss first; nothing of a step that it has not
    /// made. Steps are counted from 1, and those that an earlier run made are among them.
    fn numbers_of(&self, _member: usize, _step: u64) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Returns the training's checkpoints, if it has a folder for them.
    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        None
    }

    /// Returns the folder of the training's checkpoints.
    fn folder(&self) -> Option<&Path> {
        self.checkpoints().map(Checkpoints::folder)
    }

    /// Returns whether a checkpoint is due.
    fn is_due(&self) -> bool {
        self.checkpoints().is_some_and(|checkpoints| checkpoints.is_due(self.made()))
    }

    /// Saves a checkpoint, if the training has a folder for them.
    fn save(&mut self) -> Result<()> {
        Ok(())
    }

    /// Returns whether a member ended by an error of its own, while the others went on.
    fn has_failed(&self, _member: usize) -> bool {
        false
    }

    /// Returns the name of what an interrupted training leaves: "the model as it is".
    fn left(&self) -> String;
}
