//! Floor 19: sweeps. A plan is expanded into cells, a dictionary each; processes of this program or jobs of a cluster
//! work them off, and a table and plots are made of what is done.
//!
//! All that is known of a sweep is in its folder: there is no server, and who asks reads the folder.

mod cell;
mod folder;
mod gather;
pub mod local;
mod output;
mod plan;
mod plan_sources;
mod run_task;
pub mod slurm;
mod status;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

pub use cell::{CellTarget, Harvest, HarvestSource, ModelSource, Sweep, SweepCell, TextSource};
pub use folder::{Folder, TaskState};
pub use gather::{SweepResults, gather};
pub use plan::{OptionValues, SweepOptions, SweepPlan, TextPlan};
pub use plan_sources::{PlanModel, PlanSources, load_plan_sources};
pub use run_task::{run_task, tie};
pub use status::{Status, TaskStatus, status};

/// Command that starts a task: this program, and the options before its subcommand.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub words: Vec<OsString>,
}

impl Launch {
    /// Returns the words of a command of `microtome sweep`.
    pub fn words(&self, command: &[&str]) -> Vec<OsString> {
        self.words.iter().cloned().chain(["sweep"].iter().chain(command).map(OsString::from)).collect()
    }
}
