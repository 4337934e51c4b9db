//! `diff::`: what fine-tuning changed in a model, one file for each result.

mod activations;
mod components;
mod kl;
mod mining;
mod transcoder_adapters;

pub use activations::ActivationDifference;
pub use components::DifferenceComponents;
pub use kl::TokenDivergences;
pub use mining::MinedTokens;

use crate::diff::{DiffText, FirstTokens, MiningOptions, ModelPair};
use crate::script::intervene::rows as rows_of;
use crate::script::model::prelude::*;
use components::ComponentsCall;
use transcoder_adapters::AdaptersCall;

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("diff_components", fields::<ComponentsCall>),
    ("diff_first", fields::<FirstTokens>),
    ("diff_mine", fields::<MiningOptions>),
    ("diff_text", fields::<DiffText>),
    ("transcoder_adapters", fields::<AdaptersCall>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<ActivationDifference>(),
    handle_type::<DifferenceComponents>(),
    handle_type::<MinedTokens>(),
    handle_type::<TokenDivergences>(),
];

/// Lists functions that are called through the module: `diff::kl(base, tuned, text)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(activations::functions),
        exported_manifest!(components::functions),
        exported_manifest!(kl::functions),
        exported_manifest!(mining::functions),
        exported_manifest!(transcoder_adapters::functions),
    ]
}

/// Lists the methods of results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(activations::methods),
        exported_manifest!(components::methods),
        exported_manifest!(kl::methods),
        exported_manifest!(mining::methods),
    ]
}

/// Reads the rows of a text, which both models must read alike.
fn rows(
    ctx: &NativeCallContext,
    base: &Model,
    tuned: &Model,
    text: &Dynamic,
    options: &DiffText,
) -> Result<Vec<Vec<u32>>> {
    let pair = ModelPair::new(base.core(), tuned.core())?;
    let [of_base, of_tuned] = [base, tuned].map(|model| rows_of(ctx, model, text, options.context, options.rows));
    pair.agreed(of_base?, &of_tuned?)
}

/// Names tokens by their text, or by their id where the model has no tokenizer.
fn names(model: &Model) -> impl Fn(u32) -> String {
    move |id| crate::features::contexts::name(model.core(), id)
}
