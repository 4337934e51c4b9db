//! Fitting dictionaries: kinds, the loss in candle's operations, steps, and how a fit ends.

mod finish;
mod fused;
pub mod kinds;
mod loss;
mod median;
mod params;
mod recipe;
mod state;
#[cfg(test)]
mod tests;

pub use finish::{Input, finished};
pub use loss::Batch;
pub use median::geometric_median;
pub use params::Params;
pub use recipe::{Counting, Dead, Recipe, Shape};
pub use state::{Found, State};
