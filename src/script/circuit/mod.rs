//! `circuit::` and the methods of its results, one file for each.

mod attribution_graph;
mod bridges;
mod compare;
mod compiled;
mod curve;
mod describe;
mod edge_pruning;
mod edges;
mod enough;
mod grow;
mod handle;
mod judge;
mod node_pruning;
mod pair_judge;
mod qk;
mod roc;
mod run_options;
mod select;
mod smallest;
mod sparse_features;
mod supernodes;
mod tree_stability;

pub use attribution_graph::AttributionGraph;
pub use bridges::Bridges;
pub use compare::CircuitComparison;
pub use compiled::Compiled;
pub use curve::CircuitCurve;
pub use enough::Enough;
pub use handle::Circuit;
pub use judge::Judgement;
pub use pair_judge::PairJudgement;
pub use qk::QkScore;
pub use roc::Roc;
pub use select::Selection;

use crate::circuit::attribution::SelectOptions;
use crate::circuit::attribution_graph::PruneOptions;
use crate::circuit::attribution_graph::intervene::InterveneOptions;
use crate::circuit::attribution_graph::scores::EdgeScoreOptions;
use crate::circuit::bridges::BridgeJudgeOptions;
use crate::circuit::channels::NodePruningOptions;
use crate::circuit::compiled::CompiledPairOptions;
use crate::circuit::ensemble::EnsembleOptions;
use crate::circuit::faithfulness::{CurveOptions, PairJudgeOptions};
use crate::circuit::minimal::{MinimalOptions, ShareOptions};
use crate::circuit::program::ProgramOptions;
use crate::circuit::shared::SharedOptions;
use crate::circuit::sparse_features::TextCircuitOptions;
use crate::circuit::subgraph::{SubgraphOptions, TopOptions};
use crate::circuit::supernodes::RandomGroupOptions;
use crate::circuit::tree::TreeOptions;
use crate::sae;
use crate::script::prelude::*;
use crate::script::sae::Sae;
use attribution_graph::GraphCall;
use bridges::BridgesCall;
use edge_pruning::EdgePruningCall;
use edges::{AcdcCall, EdgeCall};
use enough::EnoughCall;
use judge::JudgeCall;
use qk::QkCall;
use run_options::RunOptions;
use sparse_features::PairCircuitCall;
use supernodes::AblateOptions;

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("attribution_graph", fields::<GraphCall>),
    ("intervene_graph", fields::<InterveneOptions>),
    ("prune", fields::<PruneOptions>),
    ("ablate_group", fields::<AblateOptions>),
    ("bridges", fields::<BridgesCall>),
    ("bridges_judge", fields::<BridgeJudgeOptions>),
    ("random_groups", fields::<RandomGroupOptions>),
    ("causal_tree", fields::<TreeOptions>),
    ("circuit_acdc", fields::<AcdcCall>),
    ("circuit_curve", fields::<CurveOptions>),
    ("circuit_edges", fields::<EdgeCall>),
    ("circuit_ensemble", fields::<EnsembleOptions>),
    ("circuit_enough", fields::<EnoughCall>),
    ("circuit_ilp", fields::<ProgramOptions>),
    ("circuit_judge", fields::<JudgeCall>),
    ("circuit_qk", fields::<QkCall>),
    ("circuit_part", fields::<SubgraphOptions>),
    ("circuit_runs", fields::<RunOptions>),
    ("circuit_select", fields::<SelectOptions>),
    ("circuit_shared", fields::<SharedOptions>),
    ("circuit_shares", fields::<ShareOptions>),
    ("circuit_top", fields::<TopOptions>),
    ("pair_circuit", fields::<PairCircuitCall>),
    ("smallest_circuit", fields::<MinimalOptions>),
    ("text_circuit", fields::<TextCircuitOptions>),
    ("compiled_pairs", fields::<CompiledPairOptions>),
    ("edge_scores", fields::<EdgeScoreOptions>),
    ("edge_pruning", fields::<EdgePruningCall>),
    ("node_pruning", fields::<NodePruningOptions>),
    ("pair_judge", fields::<PairJudgeOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<AttributionGraph>(),
    handle_type::<Bridges>(),
    handle_type::<CircuitComparison>(),
    handle_type::<CircuitCurve>(),
    handle_type::<PairJudgement>(),
    handle_type::<QkScore>(),
    handle_type::<Roc>(),
    handle_type::<Compiled>(),
    handle_type::<Enough>(),
    handle_type::<Judgement>(),
    handle_type::<Selection>(),
    handle_type::<Circuit>(),
];

/// Lists functions that are called through the module: `circuit::causal_tree(m, saes, f, text)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(compiled::functions),
        exported_manifest!(edge_pruning::functions),
        exported_manifest!(node_pruning::functions),
        exported_manifest!(bridges::functions),
        exported_manifest!(compare::functions),
        exported_manifest!(edges::functions),
        exported_manifest!(attribution_graph::functions),
        exported_manifest!(grow::functions),
        exported_manifest!(select::functions),
        exported_manifest!(tree_stability::functions),
        exported_manifest!(smallest::functions),
        exported_manifest!(sparse_features::functions),
        exported_manifest!(qk::functions),
        exported_manifest!(handle::functions),
    ]
}

/// Lists the methods of trees and judgements.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(attribution_graph::methods),
        exported_manifest!(bridges::methods),
        exported_manifest!(qk::methods),
        exported_manifest!(compiled::methods),
        exported_manifest!(describe::methods),
        exported_manifest!(edges::methods),
        exported_manifest!(enough::methods),
        exported_manifest!(compare::methods),
        exported_manifest!(curve::methods),
        exported_manifest!(pair_judge::methods),
        exported_manifest!(roc::methods),
        exported_manifest!(judge::methods),
        exported_manifest!(select::methods),
        exported_manifest!(tree_stability::methods),
        exported_manifest!(supernodes::methods),
        exported_manifest!(handle::methods),
    ]
}

/// Reads the dictionaries of an array.
fn dictionaries(saes: &Array) -> Result<Vec<Sae>> {
    given("saes", &Dynamic::from(saes.clone())).handles("a dictionary")
}

/// Returns dictionaries without what only scripts know of them.
fn cores(saes: &[Sae]) -> Vec<sae::Sae> {
    saes.iter().map(|sae| sae.core.clone()).collect()
}

/// Finds dictionaries of the core among those that were given.
fn known(saes: &[sae::Sae], given: &[Sae]) -> Vec<Sae> {
    saes.iter().filter_map(|core| given.iter().find(|sae| sae.core.is(core)).cloned()).collect()
}
