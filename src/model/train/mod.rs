//! Training a model: examples, the recipe, steps, checkpoints, and the history.

mod checkpoint;
mod dropout;
mod estimate;
mod examples;
mod history;
mod loss;
mod recipe;
mod run;
mod state;
#[cfg(test)]
mod tests;

pub use estimate::Estimate;
pub use examples::{Batches, Examples, Tables, room};
pub use history::{ModelHistory, ModelStep};
pub use loss::mean_loss;
pub use recipe::Recipe;
pub use run::{Beginning, HeldOut, Trained, Training};
pub use state::State;
