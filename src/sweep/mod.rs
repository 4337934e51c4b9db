//! Floor 17: sweeps. A plan is expanded into cells, a dictionary each; processes of this program or jobs of a cluster
//! work them off, and a table and plots are made of what is done.
//!
//! All that is known of a sweep is in its folder: there is no server, and who asks reads the folder.

mod cell;
mod folder;
mod gather;
mod known;
pub mod local;
mod plan;
pub mod slurm;
mod status;
#[cfg(test)]
mod tests;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

pub use cell::{Cell, CellTarget, Harvest, ModelSource, Reading, Sweep, TextSource};
pub use folder::{Folder, State};
pub use gather::{Gathered, gather};
pub use known::{Known, KnownModel, look};
pub use plan::{Plan, SweepOptions, TextWords, Words};
pub use status::{Standing, Status, status};
pub use work::{tie, work};

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
