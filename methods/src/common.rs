//! The names that most files of the methods use: collections, results, errors and tasks, files, seeds, tensors, and a model with
//! its sites and its passes. It names no room of the methods, since the lowest of them reads it, too.
//!
//! A file's own definition, or an import by its name, takes precedence over a name from here.

pub use std::collections::{BTreeMap, BTreeSet};
pub use std::ops::Range;
pub use std::path::{Path, PathBuf};
pub use std::sync::Arc;

pub use serde_json::{Value, json};

pub use crate::base::bootstrap::bootstrap;
pub use crate::base::files::Files;
pub use crate::base::random::{OF_CALL, Seed, stream};
pub use crate::base::{Cell, Error, Kind, Result, Table, Task, memory, names, order, parallel};
pub use crate::model::Model;
pub use crate::model::batch::Batch;
pub use crate::model::cache::Cache;
pub use crate::model::config::Config;
pub use crate::model::decoder::{Decoder, Logits, Pass};
pub use crate::model::run::{Ask, PassEnd};
pub use crate::model::site::{Place, Site, SiteKind, one_site};
pub use crate::tensor::{DType, Device, Tensor, dtype, floats};
pub use crate::tokenizer::Tokenizer;
pub use crate::{bail, err};
