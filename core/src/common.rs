//! The names that most files of the core use: collections, JSON, results, errors and tasks, and files with the rules of access.
//! It names no room above the base, since the lowest of those read it, too.
//!
//! A file's own definition, or an import by its name, takes precedence over a name from here.

pub use std::collections::{BTreeMap, BTreeSet};
pub use std::ops::Range;
pub use std::path::{Path, PathBuf};
pub use std::sync::Arc;
pub use std::time::Duration;

pub use serde_json::{Map, Value, json};

pub use crate::base::access::Access;
pub use crate::base::files::Files;
pub use crate::base::{Error, Kind, Result, Task, json, memory, names};
pub use crate::{bail, err};
