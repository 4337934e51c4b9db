//! Trackers: receivers of the numbers of trainings, step by step, for programs that draw their curves.

use serde_json::Value;

use super::Result;

/// The receiver of trainings. Whoever starts a run chooses them; the task carries them to every training.
pub trait Tracker: Send + Sync {
    /// Begins to track a training.
    fn begin(&self, training: &TrackedTraining) -> Result<Box<dyn TrackedRun>>;
}

/// A training as it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedTraining {
    /// Words for what is trained: `resid_post.3 topk-k-32-4096-seed-0`.
    pub label: String,
    /// Settings by their names, none of which is a map.
    pub settings: Vec<(String, Value)>,
}

/// A training that is tracked.
pub trait TrackedRun {
    /// Receives the numbers of a step by their names. Steps are counted from 1.
    fn record(&mut self, step: u64, numbers: &[(&'static str, f64)]) -> Result<()>;

    /// Ends the tracking of the training.
    fn end(&mut self, end: RunEnd) -> Result<()>;
}

/// The way in which a tracked training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    Done,
    Interrupted,
    Failed,
}
