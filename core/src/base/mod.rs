//! Floor 0: the base of every other floor. Errors, plain results, tasks, randomness, files and access rules.
//!
//! ```rust,no_run
//! use microtome_core::base::access::{Access, Rules};
//! use microtome_core::base::files::Files;
//! use microtome_core::base::{Error, Kind};
//!
//! // Whatever opens a file asks the rules first.
//! let rules = Rules { deny_read: vec!["/".into()], ..Default::default() };
//! let files = Files::new(Access::new("out".as_ref(), &rules)?, false);
//! let refused = files.text("Cargo.toml".as_ref()).unwrap_err();
//! assert_eq!(refused.kind, Kind::Access);
//! # Ok::<(), Error>(())
//! ```

pub mod access;
pub mod bootstrap;
pub mod budget;
pub mod cache;
pub mod counts;
#[cfg_attr(target_family = "wasm", path = "memory_disk.rs")]
pub mod disk;
pub mod error;
pub mod files;
pub mod json;
mod lock;
pub mod memory;
#[cfg(all(test, not(target_family = "wasm")))]
pub mod memory_disk;
pub mod names;
pub mod order;
pub mod parallel;
pub mod random;
pub mod results;
pub mod settings;
pub mod task;
pub mod tracking;

pub use error::{Error, Kind, Result};
pub use kernels::clock;
pub use lock::locked;
pub use results::{Card, Cell, Grid, HeatText, Table};
pub use task::Task;
