//! The names that most files of the methods use: results, errors and tasks, tensors, and a model with its sites. It names no room
//! of the methods, since the lowest of them reads it, too.
//!
//! A file's own definition, or an import by its name, takes precedence over a name from here.

pub use crate::base::{Cell, Error, Kind, Result, Table, Task, memory, order, parallel};
pub use crate::err;
pub use crate::model::Model;
pub use crate::model::batch::Batch;
pub use crate::model::decoder::Decoder;
pub use crate::model::run::Ask;
pub use crate::model::site::{Place, Site, SiteKind};
pub use crate::tensor::{DType, Device, Tensor, floats};
