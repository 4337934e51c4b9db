//! `intervene::` and `subspace::`: interventions on a model, and what they give back.

mod feature_patch;
mod interactions;
mod pairs;
mod steer;
pub mod subspace;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use interactions::Interactions;
pub use subspace::Subspace;

use crate::intervene::feature_patch::FeaturePatchOptions;
use crate::intervene::interactions::InteractionOptions;
use crate::intervene::steer::{PinnedOptions, SteerOptions, VectorOptions};
use crate::intervene::subspace::DasOptions;
use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use steer::{EffectOptions, PinnedText};

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[
    ("das", fields::<DasOptions>),
    ("feature_patch", fields::<FeaturePatchOptions>),
    ("interactions", fields::<InteractionOptions>),
    ("pinned", fields::<PinnedOptions>),
    ("pinned_text", fields::<PinnedText>),
    ("steer", fields::<SteerOptions>),
    ("steer_effect", fields::<EffectOptions>),
    ("steering_vector", fields::<VectorOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Interactions>(), handle_type::<Subspace>()];

/// What is called through the module: `intervene::steer(..)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(feature_patch::functions),
        exported_manifest!(interactions::functions),
        exported_manifest!(steer::functions),
    ]
}

/// The methods of its results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(interactions::methods), exported_manifest!(subspace::methods)]
}
