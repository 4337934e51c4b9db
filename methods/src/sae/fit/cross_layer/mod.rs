//! Fits of cross-layer transcoders (Ameisen et al. 2025, "Circuit Tracing", section 2): features of each layer read there
//! and write there and in all later layers, so that the outputs of all MLPs are reconstructed together.

pub(super) mod batch;
mod checkpoint;
mod course;
mod data;
mod finish;
mod plain;
mod reading;
mod state;
#[cfg(test)]
mod tests;

pub use batch::{CrossLayerBatch, CrossLayerShape};
pub use course::CrossLayerFitted;
pub use data::{CrossLayerOptions, CrossLayerReads, cross_layer_at, cross_layer_of_store};
pub use state::CrossLayerState;
