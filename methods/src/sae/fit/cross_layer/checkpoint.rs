//! The checkpoint of a cross-layer transcoder: that of a fit for each layer, side by side in one file.

use std::collections::BTreeMap;

use super::state::CrossLayerState;
use crate::base::Result;
use crate::sae::fit::checkpoint as of_fit;
use crate::sae::fit::history::FitHistory;
use crate::sae::fit::recipe::Recipe;
use crate::tensor::files::Named;
use crate::training::{CheckpointFormat, CheckpointReader};

pub const FORMAT: CheckpointFormat = CheckpointFormat {
    file: "cross_layer.safetensors",
    kind: "microtome cross-layer fit, 1",
    of: "a fit of a cross-layer transcoder",
};

/// What comes before the names of a layer.
fn before(layer: usize) -> String {
    format!("{layer}.")
}

/// The content of a checkpoint.
pub fn saved(state: &CrossLayerState, history: &FitHistory, recipe: &Recipe, data: &str) -> Result<Named> {
    let mut all = Named { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
    for (layer, of_layer) in state.layers.iter().enumerate() {
        let saved = of_fit::saved(of_layer, history, recipe, data)?;
        let named = |name: String| format!("{}{name}", before(layer));
        all.tensors.extend(saved.tensors.into_iter().map(|(name, tensor)| (named(name), tensor)));
        all.metadata.extend(saved.metadata.into_iter().map(|(name, text)| (named(name), text)));
    }
    Ok(all)
}

/// Restores state and history from a checkpoint of the same fit; returns its step.
pub fn restore(
    state: &mut CrossLayerState,
    history: &mut FitHistory,
    recipe: &Recipe,
    data: &str,
    file: &CheckpointReader,
) -> Result<u64> {
    for (layer, of_layer) in state.layers.iter_mut().enumerate() {
        of_fit::restore(of_layer, history, (recipe, data), (file, &before(layer)))?;
    }
    Ok(state.step())
}
