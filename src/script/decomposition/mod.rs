//! `decomposition::` and the methods of networks and of decompositions.

mod functions;
mod methods;

use crate::decomposition::FitOptions;
use crate::decomposition::card::PartCardOptions;
use crate::decomposition::effect::MaskEffectOptions;
use crate::decomposition::loss::AdversaryOptions;
use crate::decomposition::mlp::MlpInputs;
use crate::decomposition::network::{Layer, Network as CoreNetwork, SparseInputs};
use crate::decomposition::result::RunMaskedOptions;
use crate::decomposition::{Decomposed, Decomposition as Core, MatrixParts, StepLosses};
use crate::script::prelude::*;
use crate::training::{CheckpointOptions, LossRecord};

/// A network of a few layers.
#[derive(Clone)]
pub struct Network(Rc<CoreNetwork>);

/// The parts of matrices.
#[derive(Clone)]
pub struct Decomposition(Rc<Core>);

impl From<Core> for Decomposition {
    fn from(core: Core) -> Self {
        Self(core.into())
    }
}

crate::options! {
    /// A fit of a network's parts: the inputs, the fit, its losses and its checkpoints.
    pub struct NetworkFitOptions {
        with inputs: SparseInputs;
        with fit: FitOptions;
        with checkpoints: CheckpointOptions;
    }

    /// A fit of the parts of an MLP: the text, the fit, its losses and its checkpoints.
    pub struct MlpFitOptions {
        with inputs: MlpInputs;
        with fit: FitOptions;
        with checkpoints: CheckpointOptions;
    }

    /// A comparison of random masks with those of an adversary.
    pub struct WorstOptions {
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(crate::base::random::OF_CALL);
        with adversary: AdversaryOptions;
    }

    /// A table of parts.
    pub struct PartsTableOptions {
        /// Importance above which a part counts as active.
        threshold: f64 = 0.1 => at_least(0.0);
    }
}

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("decomposition", fields::<NetworkFitOptions>),
    ("decomposition_card", fields::<PartCardOptions>),
    ("decomposition_effect", fields::<MaskEffectOptions>),
    ("decomposition_mlp", fields::<MlpFitOptions>),
    ("decomposition_run", fields::<RunMaskedOptions>),
    ("decomposition_table", fields::<PartsTableOptions>),
    ("decomposition_text", fields::<MlpInputs>),
    ("decomposition_worst", fields::<WorstOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Decomposition>(), handle_type::<Network>()];

/// Lists functions that are called through the module: `decomposition::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(functions::functions)]
}

/// Lists the methods of networks and of decompositions.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(methods::methods), exported_manifest!(methods::networks)]
}

impl Handle for Network {
    const NAME: &'static str = "Network";

    fn short(&self) -> String {
        let layer = |layer: &Layer| {
            let dims = layer.matrix.dims();
            format!("{} {} to {}", layer.name, dims[1], dims[0])
        };
        let layers: Vec<String> = self.0.layers().iter().map(layer).collect();
        format!("network: {}", layers.join(", "))
    }

    fn json(&self) -> Result<Value> {
        self.0.described()
    }
}

impl Handle for Decomposition {
    const NAME: &'static str = "Decomposition";

    fn short(&self) -> String {
        let parts = |parts: &MatrixParts| format!("{} of {}", parts.count(), parts.name);
        let all: Vec<String> = self.0.parts.iter().map(parts).collect();
        let of = match &self.0.of {
            Decomposed::Network(_) => String::new(),
            Decomposed::Mlp(mlp) => format!(", the MLP of layer {} of {}", mlp.layer, mlp.model),
        };
        let part = if self.0.is_whole { "" } else { ", interrupted" };
        format!("parts: {}{of}{part}", all.join(", "))
    }

    fn json(&self) -> Result<Value> {
        let parts =
            |parts: &MatrixParts| json!({ "matrix": parts.name, "parts": parts.count(), "gate": parts.gate.kind });
        let last = self.0.history.last();
        let losses = last.map(|step| {
            let names = StepLosses::NAMES;
            let found: serde_json::Map<String, Value> =
                names.iter().zip(step.numbers()).map(|(name, loss)| (name.to_string(), number(loss))).collect();
            found
        });
        let matrices: Vec<Value> = self.0.parts.iter().map(parts).collect();
        Ok(json!({
            "matrices": matrices,
            "steps": self.0.history.len(),
            "losses": losses,
            "options": self.0.options,
        }))
    }
}
