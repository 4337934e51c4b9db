//! Floor 0: the base of every other floor. Errors, plain results, tasks, randomness, files and access rules.

pub mod access;
pub mod bootstrap;
pub mod budget;
pub mod cache;
pub mod counts;
pub mod error;
pub mod files;
pub mod json;
pub mod memory;
pub mod names;
pub mod net;
pub mod options;
pub mod parallel;
pub mod questions;
pub mod random;
pub mod results;
pub mod settings;
pub mod task;

pub use error::{Error, Kind, Result};
pub use results::{Card, Cell, Grid, HeatText, Table};
pub use task::Task;
