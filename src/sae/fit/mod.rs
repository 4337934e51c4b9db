//! Training dictionaries: kinds, the loss in candle's operations, steps, and the end of a fit.

mod checkpoint;
mod course;
mod finish;
mod fused;
mod history;
pub mod kinds;
mod loss;
mod median;
mod options;
mod params;
mod price;
mod reading;
mod recipe;
mod resample;
mod rows;
mod run;
mod sites;
mod sources;
mod start;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod usual;

pub use course::{Member, SETTINGS};
pub use finish::{Input, finished};
pub use history::{FitHistory, FitStep};
pub use loss::Batch;
pub use median::geometric_median;
pub use options::{DeadOption, FitOptions, KindName};
pub use params::Params;
pub use recipe::{Counting, Dead, Recipe, Shape, follows};
pub use rows::{Abreast, OfTensor, Rows};
pub use run::{Fit, Fitted};
pub use sites::Joined;
pub use sources::{OfModel, OfStore};
pub use state::State;
pub use sweep::Sweep;
