//! Training dictionaries: kinds, the loss in candle's operations, steps, and the end of a fit.

mod checkpoint;
mod course;
mod cross_layer;
mod crosscoder;
mod data;
mod finish;
mod fused;
mod grid;
pub mod history;
pub mod kinds;
mod loss;
mod median;
#[cfg(feature = "cuda")]
mod on_device;
mod options;
mod params;
mod price;
mod reading;
mod recipe;
mod resample;
mod rows;
mod sites;
mod start;
mod state;
mod storage;
mod sweep;
#[cfg(test)]
pub(super) mod tests;
mod to_data;
mod transcoder;

pub use course::{Fitted, Member, SETTINGS};
pub use cross_layer::{
    CrossLayerBatch, CrossLayerFitted, CrossLayerOptions, CrossLayerReads, CrossLayerShape, CrossLayerState,
    cross_layer_at, cross_layer_of_store,
};
pub use crosscoder::{CrosscoderOptions, CrosscoderPlan, Joined, crosscoder_at, crosscoder_of_store};
pub use data::{FitData, OfModel, OfStore, RowBuffer, StoreSiteOptions};
pub use finish::{Input, finished};
pub use grid::{AXES_OF_KINDS, GridOptions, KindNames, grid, sweep_site, sweep_store, sweep_tensor, with_each};
pub use history::{FitHistory, FitStep};
pub use kinds::KindName;
pub use loss::Batch;
pub use median::geometric_median;
pub use options::{DeadOption, FitOptions, FitPlan};
pub use params::{Params, Shape};
pub use recipe::{Counting, Dead, Recipe, follows};
pub use rows::{Abreast, OfTensor, Rows};
pub use state::State;
pub use storage::FitStorage;
pub use sweep::{Fit, Sweep};
pub use to_data::{to_sites, to_store, to_tensor};
pub use transcoder::{TranscoderOptions, transcoder_at, transcoder_of_store};
