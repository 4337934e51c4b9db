//! `model::` and the methods of models, one file for each kind of call.

mod adapter;
mod ask;
mod cache;
mod edits;
mod endpoint;
mod generate;
mod grads;
mod hook;
pub mod input;
mod load;
mod picture;
mod predict;
pub mod prelude;
mod properties;
mod reading;
mod reconstruct;
mod run;
mod tokens;
mod train;
mod verbalise;

#[cfg(test)]
mod tests;

use crate::script::prelude::*;
use crate::tokenizer::tokens::Tokens;

pub use adapter::Adapter;
pub use cache::Cache;
pub use endpoint::Endpoint;
pub use hook::{Hook, HookAction};
pub use load::Model;
pub use reading::{Attribution, BothLenses, Comparison, FittedLens, Lens, Verification};
pub use run::Run;

use crate::checkpoint::described::InitOptions;
use crate::checkpoint::load::LoadOptions;
use crate::checkpoint::oracle::OracleOptions;
use crate::checkpoint::reconstructor::ReconstructOptions;
use crate::checkpoint::verbaliser::VerbaliseOptions;
use crate::model::cache::MeanOptions;
use crate::model::chat::ChatOptions;
use crate::model::generate::GenerateOptions;
use crate::model::gradient_rules::GradientOptions;
use crate::model::inject::InjectOptions;
use crate::model::predict::PredictOptions;
use crate::model::reading::attention::AttentionOptions;
use crate::model::reading::attribution::AttributionOptions;
use crate::model::reading::fitted::{JacobianLensOptions, JudgeLensOptions, TunedLensOptions};
use crate::model::reading::lens::LensOptions;
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::model::reading::patchscope::PatchscopeOptions;
use crate::model::run::{LogitsOptions, LossOptions, RecordOptions, RunOptions};
use crate::model::train::TrainOptions;
use crate::questions::endpoint::EndpointOptions;
use crate::report::block::ModelPicture;
use crate::tokenizer::tokens::TokensOptions;
use input::{Input, InputOptions};
use load::NewTokenizer;
use train::HeldData;

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("ask", fields::<OracleOptions>),
    ("attention", fields::<AttentionOptions>),
    ("attribution", fields::<AttributionOptions>),
    ("endpoint", fields::<EndpointOptions>),
    ("generate", fields::<GenerateOptions>),
    ("held_data", fields::<HeldData>),
    ("init_model", fields::<InitOptions>),
    ("chat", fields::<ChatOptions>),
    ("gradients", fields::<GradientOptions>),
    ("inject", fields::<InjectOptions>),
    ("input", fields::<InputOptions>),
    ("jacobian_lens", fields::<JacobianLensOptions>),
    ("judge_lens", fields::<JudgeLensOptions>),
    ("lens", fields::<LensOptions>),
    ("lens_page", fields::<LensPageOptions>),
    ("load_model", fields::<LoadOptions>),
    ("logits", fields::<LogitsOptions>),
    ("loss", fields::<LossOptions>),
    ("cache_mean", fields::<MeanOptions>),
    ("new_tokenizer", fields::<NewTokenizer>),
    ("patchscope", fields::<PatchscopeOptions>),
    ("predict", fields::<PredictOptions>),
    ("reconstruct", fields::<ReconstructOptions>),
    ("record", fields::<RecordOptions>),
    ("run", fields::<RunOptions>),
    ("tokens", fields::<TokensOptions>),
    ("train_model", fields::<TrainOptions>),
    ("tuned_lens", fields::<TunedLensOptions>),
    ("verbalise", fields::<VerbaliseOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Adapter>(),
    large::<Attribution>(),
    large::<BothLenses>(),
    handle_type::<Cache>(),
    large::<Comparison>(),
    handle_type::<Endpoint>(),
    handle_type::<FittedLens>(),
    large::<Lens>(),
    large::<LensPage>(),
    handle_type::<Model>(),
    large::<ModelPicture>(),
    handle_type::<Run>(),
    large::<Tokens>(),
    large::<Verification>(),
];

/// Lists functions that are called through the module: `model::load("tiny")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(endpoint::functions),
        exported_manifest!(load::functions),
        exported_manifest!(reading::fitting::functions),
        exported_manifest!(train::functions),
    ]
}

/// Lists the methods of models, and of what they give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    let own = vec![
        exported_manifest!(adapter::methods),
        exported_manifest!(ask::methods),
        exported_manifest!(cache::methods),
        exported_manifest!(endpoint::methods),
        exported_manifest!(generate::methods),
        exported_manifest!(grads::methods),
        exported_manifest!(load::methods),
        exported_manifest!(picture::methods),
        exported_manifest!(properties::methods),
        exported_manifest!(predict::methods),
        exported_manifest!(reconstruct::methods),
        exported_manifest!(run::methods),
        exported_manifest!(run::losses),
        exported_manifest!(run::parts),
        exported_manifest!(tokens::methods),
        exported_manifest!(tokens::parts),
        exported_manifest!(train::methods),
        exported_manifest!(verbalise::methods),
    ];
    [own, reading::globals()].concat()
}
