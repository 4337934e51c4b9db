//! Training a model: examples, options and the recipe, steps, and what checkpoints and the history hold.

mod added;
mod checkpoint;
mod dropout;
mod estimate;
mod examples;
mod history;
mod lora;
mod loss;
mod model;
mod options;
mod recipe;
mod run;
mod sparse;
mod state;
#[cfg(test)]
mod tests;

pub use added::AddedVectors;
pub use estimate::Estimate;
pub use examples::{Batches, Examples, Tables, room};
pub use history::{ModelHistory, ModelStep};
pub use lora::LoraOptions;
pub use loss::mean_loss;
pub use model::{Trainee, TrainingData, train};
pub use options::TrainOptions;
pub use recipe::Recipe;
pub use run::{HeldOut, InitialWeights, TrainedModel, Training};
pub use sparse::{SparseFall, SparseOptions};
pub use state::TrainingState;
