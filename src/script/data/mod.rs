//! `data::` and the methods of what it gives back, one file for each kind of data.

mod baselines;
mod bits;
mod harvest;
mod pairs;
mod rows;
mod sample;
mod store;
mod text;
mod tokenizer;
mod toy;

pub use baselines::Ngram;
pub use sample::Sample;
pub use store::Store;
pub use text::written_inside;

use crate::data::Text;
use crate::model::tokenizer::Tokenizer;
use crate::script::docs::declared::Group;
use crate::script::handle::{HandleType, handle_type};
use rhai::exported_manifest;
use rhai::plugin::*;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Ngram>(),
    handle_type::<Sample>(),
    handle_type::<Store>(),
    handle_type::<Text>(),
    handle_type::<Tokenizer>(),
];

/// What is called through the module: `data::text("books/*.md")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(pairs::functions),
        exported_manifest!(baselines::functions),
        exported_manifest!(harvest::functions),
        exported_manifest!(sample::functions),
        exported_manifest!(store::functions),
        exported_manifest!(text::functions),
        exported_manifest!(tokenizer::functions),
        exported_manifest!(toy::functions),
    ]
}

/// The methods of what these give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(baselines::methods),
        exported_manifest!(bits::methods),
        exported_manifest!(rows::methods),
        exported_manifest!(sample::methods),
        exported_manifest!(store::methods),
        exported_manifest!(text::methods),
        exported_manifest!(tokenizer::methods),
    ]
}
