//! Floor 3: probes: linear classifiers of rows of numbers, how they are fitted, saved, and judged on held-out rows.
//!
//! A probe knows neither models nor texts: its rows are activations or codes, whatever they are of.

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

#[cfg(test)]
mod tests;
