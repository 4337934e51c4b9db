//! The engine of a cluster: job arrays by `sbatch`. Each task runs the same program as on one machine, on shared storage.
//!
//! A submission is a job for each harvest that is missing, arrays of its cells that wait for it, and a last job that
//! gathers when all others have ended, however they did. What was submitted stands in `slurm/jobs.json`.

mod commands;
mod jobs;
mod submit;

use std::time::Duration;

pub use jobs::{QueuedJobs, SlurmJobs};
pub use submit::{SubmissionResult, cancel, submit};

/// Access to Slurm's commands.
#[derive(Debug, Clone)]
pub struct Slurm {
    /// Time that one of Slurm's commands may take.
    pub patience: Duration,
}

/// Resources of each task; what is not stated is left to the cluster's own defaults.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub partition: Option<String>,
    pub account: Option<String>,
    /// A limit as sbatch takes it: `2:00:00`.
    pub time: Option<String>,
    pub memory: Option<String>,
    /// CPUs, where they are to be others than the threads of the plan.
    pub cpus: Option<usize>,
    pub gpus: Option<usize>,
    /// Number of tasks that run at once.
    pub at_once: Option<usize>,
}
