//! `circuit::` and the methods of its results, one file for each.

mod describe;
mod enough;
mod grow;
mod handle;
mod judge;
mod select;
mod shared;

pub use enough::Enough;
pub use handle::Circuit;
pub use judge::Judgement;
pub use select::Selection;

use rhai::plugin::*;
use rhai::{Array, Dynamic, exported_manifest};

use crate::base::Result;
use crate::circuit::attribution::SelectOptions;
use crate::circuit::shared::SharedOptions;
use crate::circuit::tree::TreeOptions;
use crate::sae;
use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use crate::script::engine::value::given;
use crate::script::sae::Sae;
use enough::EnoughCall;
use judge::JudgeCall;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[
    ("causal_tree", fields::<TreeOptions>),
    ("circuit_enough", fields::<EnoughCall>),
    ("circuit_judge", fields::<JudgeCall>),
    ("circuit_select", fields::<SelectOptions>),
    ("circuit_shared", fields::<SharedOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] =
    &[handle_type::<Enough>(), handle_type::<Judgement>(), handle_type::<Selection>(), handle_type::<Circuit>()];

/// What is called through the module: `circuit::causal_tree(m, saes, f, text)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(grow::functions),
        exported_manifest!(select::functions),
        exported_manifest!(shared::functions),
        exported_manifest!(handle::functions),
    ]
}

/// The methods of trees and judgements.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(describe::methods),
        exported_manifest!(enough::methods),
        exported_manifest!(judge::methods),
        exported_manifest!(select::methods),
        exported_manifest!(shared::methods),
        exported_manifest!(handle::methods),
    ]
}

/// The dictionaries of an array.
fn dictionaries(saes: &Array) -> Result<Vec<Sae>> {
    let list = given("saes", &Dynamic::from(saes.clone())).elements();
    list.iter().map(|one| one.handle::<Sae>().ok_or_else(|| one.refuse("a dictionary"))).collect()
}

/// The same without what only scripts know of them.
fn cores(saes: &[Sae]) -> Vec<sae::Sae> {
    saes.iter().map(|sae| sae.core.clone()).collect()
}

/// What scripts know of some dictionaries, of those that were given.
fn known(saes: &[sae::Sae], given: &[Sae]) -> Vec<Sae> {
    saes.iter().filter_map(|core| given.iter().find(|sae| sae.core.is(core)).cloned()).collect()
}
