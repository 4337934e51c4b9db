//! Fitting dictionaries: kinds, the loss in candle's operations, steps, and how a fit ends.

mod checkpoint;
mod finish;
mod fused;
mod history;
pub mod kinds;
mod loss;
mod median;
mod params;
mod recipe;
mod resample;
mod rows;
mod run;
mod sites;
mod state;
#[cfg(test)]
mod tests;

pub use checkpoint::{CHECKPOINT, Keep};
pub use finish::{Input, finished};
pub use history::History;
pub use loss::Batch;
pub use median::geometric_median;
pub use params::Params;
pub use recipe::{Counting, Dead, Recipe, Shape};
pub use rows::{OfTensor, Rows};
pub use run::{Fit, Fitted};
pub use sites::{Apart, Joined};
pub use state::{Found, State};
