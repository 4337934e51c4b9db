//! Floor 6: probes: linear classifiers of rows of numbers, how they are fitted, saved, and judged on held-out rows.
//!
//! A probe knows neither models nor texts: its rows are activations or codes, whatever they are of.
//!
//! ```rust,no_run
//! use microtome_core::base::{Error, Task};
//! use microtome_core::probes::{ClassLabels, ClassName, Probe, ProbeOptions};
//! use microtome_core::tensor::{Device, Tensor};
//!
//! let x = Tensor::new(&[[0f32, 1.0], [0.2, 0.0], [3.0, 0.0], [2.8, 1.0]], &Device::Cpu)?;
//! let names = [false, false, true, true].map(ClassName::Flag);
//! let probe = Probe::fit(&x, &ClassLabels::of(&names)?, &ProbeOptions::default(), &Task::default())?;
//! assert_eq!(probe.predict(&x)?, names);
//! # Ok::<(), Error>(())
//! ```

pub mod fit;
pub mod judge;
pub mod labels;
pub mod matrix;
pub mod measures;
pub mod optimum;
pub mod probe;
pub mod save;
pub mod selectivity;
pub mod split;

pub use fit::ProbeOptions;
pub use labels::{ClassLabels, ClassName, RowGroups};
pub use probe::{Probe, ProbeKind};
pub use save::ProbeRecord;

#[cfg(test)]
mod tests;
