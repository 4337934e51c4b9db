//! `sae::` and the methods of dictionaries, one file for what is done with them.

mod baselines;
mod check;
mod cross_layer;
mod dictionary;
mod diffing;
mod encode;
mod finetune;
mod fit;
mod fit_calls;
mod geometry;
mod history;
mod lorsa;
mod measure;
mod measures;
mod model_and_text;
mod pareto;
mod recovery;
mod rows;
mod sweep;
mod temporal;
mod text_dictionaries;
mod transcode;
mod transcoders;
mod universality;

pub use dictionary::Sae;
pub use fit_calls::storage;
pub use lorsa::Lorsa;
pub use model_and_text::ModelAndText;
pub use rows::{choosing, keeping};
pub use temporal::TemporalSae;
pub use transcoders::Transcoders;

pub use crate::sae::site_of;

use crate::features::lorsa::LorsaCardOptions;
use crate::sae::baselines::{ComponentOptions, IcaOptions, NeuronsOptions, RandomOptions};
use crate::sae::check::{CheckOptions, Checked};
use crate::sae::finetune::FineTuneOptions;
use crate::sae::fit::{
    CrossLayerOptions, CrosscoderOptions, FitGridOptions, FitOptions, StoreSiteOptions, TargetOptions,
    TranscoderOptions,
};
use crate::sae::from_tensors::GivenOptions;
use crate::sae::load::{LoadOptions, SaveOptions};
use crate::sae::lorsa::openmoss::LoadLorsaOptions;
use crate::sae::lorsa::options::LorsaFitOptions;
use crate::sae::map::MapOptions;
use crate::sae::metrics::{
    EffectByClassOptions, EffectOptions, GeometryOptions, MeasureOnOptions, MeasureOptions, MeasureStoreOptions,
    ParetoOptions, ShapeOptions, SuppressionOptions, UniversalityOptions,
};
use crate::sae::metrics::{Measures, Pareto};
use crate::sae::splice::SpliceOptions;
use crate::sae::temporal::files::LoadTemporalOptions;
use crate::sae::temporal::fit::TemporalFitOptions;
use crate::sae::text_rows::dictionary::{TextEffectOptions, TextMeasureOptions};
use crate::sae::transcoders::TranscodersOptions;
use crate::script::docs::option_groups::of_kinds;
use crate::script::prelude::*;
use crate::training::CheckpointOptions;
use text_dictionaries::{TextRandomOptions, TextSpliceOptions};

/// The groups of options that the module's doc comments list.
pub const OPTIONS: &[NamedOptions] = &[
    ("fit", fields::<FitOptions>),
    ("kinds", of_kinds),
    ("keep", fields::<CheckpointOptions>),
    ("sweep", fields::<FitGridOptions>),
    ("sweep_target", fields::<TargetOptions>),
    ("store_site", fields::<StoreSiteOptions>),
    ("transcoder", fields::<TranscoderOptions>),
    ("cross_layer", fields::<CrossLayerOptions>),
    ("transcoders", fields::<TranscodersOptions>),
    ("crosscoder", fields::<CrosscoderOptions>),
    ("measure", fields::<MeasureOptions>),
    ("measure_on", fields::<MeasureOnOptions>),
    ("measure_store", fields::<MeasureStoreOptions>),
    ("effect", fields::<EffectOptions>),
    ("effect_by_class", fields::<EffectByClassOptions>),
    ("pareto", fields::<ParetoOptions>),
    ("geometry", fields::<GeometryOptions>),
    ("map", fields::<MapOptions>),
    ("shapes", fields::<ShapeOptions>),
    ("suppression", fields::<SuppressionOptions>),
    ("universality", fields::<UniversalityOptions>),
    ("splice", fields::<SpliceOptions>),
    ("fine_tune", fields::<FineTuneOptions>),
    ("load_dictionary", fields::<LoadOptions>),
    ("given_dictionary", fields::<GivenOptions>),
    ("check_dictionary", fields::<CheckOptions>),
    ("save_dictionary", fields::<SaveOptions>),
    ("lorsa", fields::<LorsaFitOptions>),
    ("load_lorsa", fields::<LoadLorsaOptions>),
    ("measure_lorsa", fields::<TextMeasureOptions>),
    ("effect_lorsa", fields::<TextEffectOptions>),
    ("splice_lorsa", fields::<TextSpliceOptions>),
    ("random_lorsa", fields::<TextRandomOptions>),
    ("lorsa_card", fields::<LorsaCardOptions>),
    ("temporal", fields::<TemporalFitOptions>),
    ("load_temporal", fields::<LoadTemporalOptions>),
    ("measure_temporal", fields::<TextMeasureOptions>),
    ("effect_temporal", fields::<TextEffectOptions>),
    ("splice_temporal", fields::<TextSpliceOptions>),
    ("random_temporal", fields::<TextRandomOptions>),
    ("pattern_temporal", fields::<temporal::TemporalPatternOptions>),
    ("components", fields::<ComponentOptions>),
    ("ica", fields::<IcaOptions>),
    ("random_baseline", fields::<RandomOptions>),
    ("neurons", fields::<NeuronsOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Checked>(),
    handle_type::<Lorsa>(),
    handle_type::<Measures>(),
    handle_type::<Pareto>(),
    handle_type::<Sae>(),
    handle_type::<TemporalSae>(),
    handle_type::<Transcoders>(),
];

/// Returns the functions of the module: `sae::load("folder")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(baselines::functions),
        exported_manifest!(cross_layer::functions),
        exported_manifest!(dictionary::functions),
        exported_manifest!(diffing::functions),
        exported_manifest!(fit::functions),
        exported_manifest!(geometry::functions),
        exported_manifest!(lorsa::functions),
        exported_manifest!(measure::functions),
        exported_manifest!(pareto::functions),
        exported_manifest!(sweep::functions),
        exported_manifest!(temporal::functions),
        exported_manifest!(transcode::functions),
        exported_manifest!(transcoders::functions),
        exported_manifest!(universality::functions),
    ]
}

/// Returns the methods of the module's types.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(check::methods),
        exported_manifest!(cross_layer::methods),
        exported_manifest!(dictionary::methods),
        exported_manifest!(encode::methods),
        exported_manifest!(finetune::methods),
        exported_manifest!(history::methods),
        exported_manifest!(lorsa::methods),
        exported_manifest!(measure::methods),
        exported_manifest!(measures::methods),
        exported_manifest!(pareto::methods),
        exported_manifest!(recovery::methods),
        exported_manifest!(sweep::methods),
        exported_manifest!(temporal::methods),
        exported_manifest!(transcode::methods),
        exported_manifest!(transcoders::methods),
    ]
}
