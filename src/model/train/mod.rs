//! Training a model: examples, the recipe, steps, checkpoints, and the history.

mod adamw;
mod checkpoint;
mod dropout;
mod estimate;
mod examples;
mod history;
mod loss;
mod recipe;
mod run;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

pub use checkpoint::{CHECKPOINT, Keep, put_back};
pub use estimate::Estimate;
pub use examples::{Batches, Examples, Tables, room};
pub use history::History;
pub use loss::mean_loss;
pub use recipe::Recipe;
pub use run::{Beginning, Ended, Judge, Trained, Training};
pub use schedule::{Schedule, Shape};
pub use state::State;
