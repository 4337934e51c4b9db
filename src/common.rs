//! The names that most files above the methods use: collections, paths, results, errors and tasks, and files. It names no floor
//! above the base, since the lowest of them read it, too.
//!
//! A file's own definition, or an import by its name, takes precedence over a name from here.

pub use std::collections::{BTreeMap, BTreeSet};
pub use std::path::{Path, PathBuf};
pub use std::sync::Arc;

pub use crate::base::files::Files;
pub use crate::base::{Error, Result, Task};
pub use crate::err;
