//! `features::` and the methods of features, one file for each subject.

mod batch;
mod card;
mod contexts;
mod counts;
mod describe;
mod effects;
mod evaluate;
mod explain;
mod feature;
mod feature_argument;
mod feature_selection;
mod for_label;
mod heads;
mod person;
mod predicting;
mod recorded_answers;

pub use contexts::Contexts;
pub use explain::{AnswerSource, Explanation};
pub use feature::Feature;
pub use feature_selection::FeatureSelection;
pub use for_label::LabelRanking;
pub use predicting::Ranking;

use crate::features::batch::BatchOptions;
use crate::features::describe::DescribeOptions;
use crate::features::evaluate::EvaluateOptions;
use crate::features::evaluate::reading::ReadingOptions;
use crate::features::evaluate::score::Evaluation;
use crate::features::explain::recorded::AnswerOptions;
use crate::features::explain::{ExplainOptions, ScoreOptions};
use crate::features::for_label::ForLabelOptions;
use crate::features::histogram::{CountOptions, FeatureHistogramOptions};
use crate::features::labels::LabelOptions;
use crate::features::logits::LogitsOptions;
use crate::features::neighbours::NearOptions;
use crate::features::overview::OverviewOptions;
use crate::features::predicting::PredictingOptions;
use crate::features::{FeatureCard, HeadCards};
use crate::script::prelude::*;

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("coverage", fields::<ReadingOptions>),
    ("evaluate", fields::<EvaluateOptions>),
    ("batches", fields::<BatchOptions>),
    ("save_batches", fields::<batch::SaveBatchOptions>),
    ("load_batch", fields::<batch::LoadBatchOptions>),
    ("load_explanations", fields::<batch::LoadExplanationsOptions>),
    ("save_explanations", fields::<batch::SaveExplanationsOptions>),
    ("feature_answers", fields::<AnswerOptions>),
    ("feature_contexts", fields::<OverviewOptions>),
    ("feature_counts", fields::<CountOptions>),
    ("feature_description", fields::<DescribeOptions>),
    ("feature_explainer", fields::<explain::ExplainerOptions>),
    ("feature_fragments", fields::<ExplainOptions>),
    ("feature_judge", fields::<explain::JudgeOptions>),
    ("feature_score", fields::<ScoreOptions>),
    ("feature_for_label", fields::<ForLabelOptions>),
    ("feature_labels", fields::<LabelOptions>),
    ("feature_logits", fields::<LogitsOptions>),
    ("feature_histogram", fields::<FeatureHistogramOptions>),
    ("feature_neighbours", fields::<NearOptions>),
    ("feature_ranking", fields::<PredictingOptions>),
    ("heads", fields::<heads::HeadsCall>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Contexts>(),
    handle_type::<Explanation>(),
    handle_type::<Evaluation>(),
    handle_type::<Feature>(),
    large::<FeatureCard>(),
    large::<HeadCards>(),
    handle_type::<LabelRanking>(),
    handle_type::<Ranking>(),
];

/// Lists functions that are called through the module: `features::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(batch::functions),
        exported_manifest!(card::functions),
        exported_manifest!(contexts::functions),
        exported_manifest!(counts::functions),
        exported_manifest!(describe::functions),
        exported_manifest!(effects::functions),
        exported_manifest!(explain::functions),
        exported_manifest!(for_label::functions),
        exported_manifest!(heads::functions),
        exported_manifest!(predicting::functions),
        exported_manifest!(recorded_answers::functions),
    ]
}

/// Lists functions on whole dictionaries, which are called through the module `sae::`.
pub fn of_dictionaries() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(evaluate::functions)]
}

/// Lists the methods of features.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(card::methods),
        exported_manifest!(contexts::methods),
        exported_manifest!(explain::methods),
        exported_manifest!(evaluate::methods),
        exported_manifest!(feature::methods),
        exported_manifest!(for_label::methods),
        exported_manifest!(heads::methods),
        exported_manifest!(predicting::methods),
    ]
}
