//! Cross-layer transcoders (Ameisen et al. 2025, "Circuit Tracing", section 2) in training: features of each layer read there and
//! write there and in all later layers, so that the outputs of all MLPs are reconstructed together.

pub(super) mod batch;
mod finish;
mod plain;
mod state;
#[cfg(test)]
mod tests;

pub use batch::CrossLayerShape;
pub use finish::finished;
pub use state::{advance, advance_fused, advance_plain, draw, start};
