//! The folder of a sweep: what is to be done, and the state of each task in a folder of its own.
//!
//! - `sweep.json`: all harvests and cells
//! - `stores/HASH/`: a harvest, with its store in `activations/`
//! - `cells/HASH/`: a cell, with its dictionary and `measures.json`
//! - `state.json` in each of these: how far it is. It is replaced as a whole, and says that a task is done only after its
//!   results have been written and synced.

use serde::{Deserialize, Serialize};

use super::cell::Sweep;
use crate::base::json;
use crate::common::*;

const SWEEP: &str = "sweep.json";
const STATE: &str = "state.json";
/// A request that the sweep of this folder ends.
const CANCEL: &str = "cancel";
const REQUEST: &str = "requested";

/// The state that a task has noted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum TaskState {
    Started,
    /// The error that ended the task.
    Failed {
        error: String,
        hint: Option<String>,
    },
    /// An end by Ctrl-C or `microtome sweep cancel`.
    Interrupted,
    /// An end without a result, seen by the process that started the task.
    Lost {
        why: String,
    },
    /// A finished task, with the SHA-256 of its files.
    Done {
        files: BTreeMap<String, String>,
    },
}

/// The folder of a sweep.
#[derive(Clone)]
pub struct Folder {
    pub files: Files,
    pub root: PathBuf,
}

impl Folder {
    /// Returns the folder that `root` names, from the root of the file system on.
    pub fn new(files: &Files, root: &Path) -> Result<Self> {
        Ok(Self { files: files.clone(), root: crate::base::access::resolve(root)? })
    }

    /// Reads the sweep of this folder; an error if this is no folder of a sweep.
    pub fn sweep(&self) -> Result<Sweep> {
        self.known_sweep()?.ok_or_else(|| {
            err!(File, "there is no sweep in {}", self.root.display())
                .hint("name the folder that `microtome sweep PLAN` has made, such as out/plan")
        })
    }

    /// Reads the sweep, if there was a plan for this folder.
    pub fn known_sweep(&self) -> Result<Option<Sweep>> {
        let path = self.root.join(SWEEP);
        if !self.files.has(&path)? {
            return Ok(None);
        }
        let text = self.files.bytes(&path)?;
        json::read_content(&text, |e| err!(Format, "{}: expected a sweep: {e}", path.display())).map(Some)
    }

    pub fn save_sweep(&self, sweep: &Sweep) -> Result<()> {
        self.write(&self.root.join(SWEEP), sweep)
    }

    /// Returns the folder of a task.
    pub fn place(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Reads the state of a task; none if it has not begun.
    pub fn state(&self, id: &str) -> Result<Option<TaskState>> {
        let path = self.place(id).join(STATE);
        if !self.files.has(&path)? {
            return Ok(None);
        }
        let text = self.files.bytes(&path)?;
        json::read(&text, |e| err!(Format, "{}: expected the state of a task: {e}", path.display())).map(Some)
    }

    pub fn is_done(&self, id: &str) -> Result<bool> {
        Ok(matches!(self.state(id)?, Some(TaskState::Done { .. })))
    }

    pub fn set(&self, id: &str, state: &TaskState) -> Result<()> {
        self.write(&self.place(id).join(STATE), state)
    }

    /// Writes down that a task was interrupted, if it has begun and has no result.
    pub fn set_interrupted(&self, id: &str) {
        // What Ctrl-C ends, this does not.
        let folder = self.apart(&Task::default());
        if matches!(folder.state(id), Ok(Some(TaskState::Started))) {
            // Where that cannot be written the task is a lost one.
            let _nobody_left_to_tell = folder.set(id, &TaskState::Interrupted);
        }
    }

    /// Writes a value as JSON.
    pub fn write(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| err!(Bug, "what is not JSON: {e}"))?;
        self.files.save_whole(path, text + "\n")?;
        Ok(())
    }

    /// Returns the folder for a part of the work: locks that it takes are released at its end.
    pub fn apart(&self, task: &Task) -> Self {
        Self { files: self.files.within(self.files.access().clone(), task), root: self.root.clone() }
    }

    /// Takes the folder for this process, or says that another one has it.
    pub fn lock(&self) -> Result<()> {
        let place = self.files.access().to_write(&self.root)?;
        self.files
            .lock(&place)
            .map_err(|error: Error| error.hint("`microtome sweep status` says what it does; `cancel` ends it"))
    }

    /// Asks whoever works on the sweep here to end it.
    pub fn request_cancel(&self) -> Result<()> {
        self.files.save_whole(&self.root.join(CANCEL).join(REQUEST), "")?;
        Ok(())
    }

    pub fn is_cancelled(&self) -> Result<bool> {
        self.files.has(&self.root.join(CANCEL).join(REQUEST))
    }

    /// Forgets an earlier request to end.
    pub fn forget_cancel(&self) -> Result<()> {
        self.files.discard(&self.root.join(CANCEL))
    }
}
