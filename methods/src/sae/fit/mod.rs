//! Training dictionaries: kinds, the loss in candle's operations, steps, and the end of a fit.

mod checkpoint;
mod coefficient;
pub mod cross_layer;
mod data;
mod finish;
mod fused;
mod grid;
pub mod history;
mod job;
mod joined;
pub mod kinds;
mod loss;
mod median;
#[cfg(feature = "cuda")]
mod on_device;
mod params;
mod plan;
mod reading;
mod resample;
mod rows;
mod run;
mod sites;
mod start;
mod state;
mod storage;
mod target;
#[cfg(test)]
pub(super) mod tests;

pub use cross_layer::CrossLayerShape;
pub use data::{FitData, RowBuffer, StoreSiteOptions};
pub use finish::{SiteScale, finished};
pub use grid::{AXES_OF_KINDS, FitGridOptions, KindNames, grid, with_each};
pub use history::{FitHistory, FitStep};
pub use job::{Job, Source};
pub use joined::JoinedRows;
pub use kinds::KindName;
pub use loss::FitBatch;
pub use median::geometric_median;
pub use params::{DictionaryShape, Params};
pub use plan::{
    AuxK, Dead, DeadOption, EncoderProducts, ErrorNormalisation, FitOptions, FitPlan, Recipe, TargetName, follows,
};
pub use rows::{ActivationRows, OfTensor, PairedRows};
pub use run::{FitProduct, FitResult, FitRun, SETTINGS};
pub use state::FitState;
pub use storage::FitStorage;
pub use target::{CrossLayerOptions, CrossLayerReads, CrosscoderOptions, Target, TargetOptions, TranscoderOptions};
