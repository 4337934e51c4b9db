//! The seam between sessions and the program that makes them: their environments, and the limits of calls.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::base::task::Progress;
use crate::common::*;
use crate::script::engine::console::Console;
use crate::script::engine::env::Env;

/// Parts of a session that its front end makes.
pub struct FrontEnd {
    pub console: Console,
    pub progress: Arc<dyn Progress>,
    pub interrupted: Arc<AtomicBool>,
    /// Folder of its script, record and reports, below the output folder.
    pub folder: PathBuf,
}

/// A maker of the environments of sessions, each on its own thread.
pub type EnvMaker = Arc<dyn Fn(FrontEnd) -> Result<Env> + Send + Sync>;

/// Largest time and memory of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub time: Duration,
    /// Bytes by which the memory of the process may grow.
    pub memory: u64,
}
