//! `features::` and the methods of features, one file for each subject.

mod card;
mod contexts;
mod counts;
mod describe;
mod effects;
mod feature;
mod known;
mod predicting;
mod several;
mod tokens;

pub use contexts::Contexts;
pub use feature::Feature;
pub use known::Known;
pub use predicting::Ranking;
pub use several::Several;
pub use tokens::token_argument;

use crate::features::FeatureCard;
use crate::script::docs::declared::Group;
use crate::script::handle::{HandleType, handle_type, large};
use rhai::exported_manifest;
use rhai::plugin::*;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] =
    &[handle_type::<Contexts>(), handle_type::<Feature>(), large::<FeatureCard>(), handle_type::<Ranking>()];

/// What is called through the module: `features::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(card::functions),
        exported_manifest!(contexts::functions),
        exported_manifest!(counts::functions),
        exported_manifest!(describe::functions),
        exported_manifest!(effects::functions),
        exported_manifest!(predicting::functions),
    ]
}

/// The methods of features.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(card::methods),
        exported_manifest!(contexts::methods),
        exported_manifest!(feature::methods),
        exported_manifest!(predicting::methods),
    ]
}
