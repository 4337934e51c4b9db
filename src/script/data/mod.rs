//! `data::` and the methods of its values, one file for each kind of data.

mod baselines;
mod bits;
mod harvest;
pub mod pairs;
mod sample;
mod store;
mod table;
mod text;
mod token_rows;
mod tokenizer;
mod toy;

pub use baselines::Ngram;
pub use sample::Sample;
pub use store::Store;

use crate::data::baselines::{NgramOptions, NgramPredictOptions};
use crate::data::bits::BitsOptions;
use crate::data::harvest::{PositionOptions, SkipOptions};
use crate::data::pack::RowOptions;
use crate::data::pairs::PairOptions;
use crate::data::sample::{DrawOptions, TextSamplingOptions};
use crate::data::store::StoreOptions;
use crate::data::synth::SynthOptions;
use crate::data::text::{SourceOptions, TextOptions, TextTokenizerOptions};
use crate::data::toy::ToyOptions;
use crate::script::prelude::*;
use crate::tokenizer::Tokenizer;

/// The groups of options that the module's doc comments list.
pub const OPTIONS: &[NamedOptions] = &[
    ("bits", fields::<BitsOptions>),
    ("draw", fields::<DrawOptions>),
    ("harvest", fields::<StoreOptions>),
    ("ngram", fields::<NgramOptions>),
    ("ngram_predict", fields::<NgramPredictOptions>),
    ("pair_model", fields::<pairs::PairModelOptions>),
    ("pairs", fields::<PairOptions>),
    ("positions", fields::<PositionOptions>),
    ("rows", fields::<RowOptions>),
    ("skip", fields::<SkipOptions>),
    ("source", fields::<SourceOptions>),
    ("store", fields::<store::ExpectedModel>),
    ("text", fields::<TextOptions>),
    ("text_sampling", fields::<TextSamplingOptions>),
    ("tokenizer", fields::<TextTokenizerOptions>),
    ("synth", fields::<SynthOptions>),
    ("toy", fields::<ToyOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Ngram>(),
    handle_type::<Sample>(),
    handle_type::<Store>(),
    handle_type::<Text>(),
    handle_type::<Tokenizer>(),
];

/// Returns the functions of the module: `data::text("books/*.md")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(pairs::functions),
        exported_manifest!(baselines::functions),
        exported_manifest!(harvest::functions),
        exported_manifest!(sample::functions),
        exported_manifest!(store::functions),
        exported_manifest!(table::functions),
        exported_manifest!(text::functions),
        exported_manifest!(tokenizer::functions),
        exported_manifest!(toy::functions),
    ]
}

/// Returns the methods of the module's types.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(baselines::methods),
        exported_manifest!(bits::methods),
        exported_manifest!(token_rows::methods),
        exported_manifest!(sample::methods),
        exported_manifest!(store::methods),
        exported_manifest!(text::methods),
        exported_manifest!(tokenizer::methods),
    ]
}
