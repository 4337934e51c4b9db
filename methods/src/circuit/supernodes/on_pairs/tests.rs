//! Tests of ablated groups against hooks that replace the activations of their nodes.

use super::*;
use crate::circuit::Ablations;
use crate::circuit::edges::{EdgeMethod, EdgeOptions, EdgeRuns, edges};
use crate::circuit::samples::dictionary;
use crate::circuit::sparse_features::{
    EffectMethod, FeatureAblations, NodePositions, PairCircuitOptions, SparseFeatureOptions, of_pairs,
};
use crate::data::pairs::tokens::{Prompt, TokenPair};
use crate::fixtures::{config, configs, decoder};
use crate::intervene::fixtures::{model, pairs};
use crate::intervene::metric;
use crate::model::hooks::{Action, BoundHook, PatchSource};
use crate::sae::Activation;

const MEASURE: Measure = Measure::LogitDiff;

/// Returns pairs of one length whose answers are one token each.
fn short() -> Vec<TokenPair> {
    let pairs = pairs();
    [0, 2].map(|number| pairs[number].clone()).to_vec()
}

fn scored(model: &Model, pairs: &[TokenPair], ablation: EdgeAblation) -> Graph {
    let options = EdgeOptions { method: EdgeMethod::Exact, ablation, ..EdgeOptions::default() };
    edges(model, pairs, MEASURE, false, &options, &Task::default()).unwrap()
}

fn grouped(graph: &Graph, names: &[&str]) -> Graph {
    let mut graph = graph.clone();
    let nodes: Vec<usize> = names.iter().map(|name| graph.numbered(name).unwrap()).collect();
    graph.group("some", &nodes).unwrap();
    graph
}

/// Computes the change of the metric of each pair with these sites patched from the corrupt prompts, or zero.
fn by_hooks(model: &Model, pairs: &[TokenPair], places: &[&str], ablation: EdgeAblation) -> f64 {
    let task = Task::default();
    let config = model.decoder.config();
    let batch = Batch::new(pairs.iter().map(|pair| pair.corrupt.clone()).collect()).unwrap();
    let wanted = places.iter().map(|name| one_site(config, name, "").unwrap()).collect();
    let cache = Arc::new(model.decoder.cache(&batch, Ask { places: wanted, ..Ask::default() }, &task).unwrap());
    let hook = |name: &&str| {
        let action = match ablation {
            EdgeAblation::Zero => Action::Zero,
            _ => Action::Patch(PatchSource::Cache(cache.clone())),
        };
        BoundHook::new(config, name, None, None, Box::new(action.begin())).unwrap()
    };
    let of = |hooks| {
        let decoder = model.decoder.as_ref();
        floats(&metric::values(MEASURE, decoder, decoder, pairs, Prompt::Clean, hooks, &task).unwrap()).unwrap()
    };
    mean(&of(places.iter().map(hook).collect())) - mean(&of(Vec::new()))
}

fn ablated(graph: &Graph, name: &str, runs: &dyn NodeAblations, ablation: EdgeAblation) -> Result<GroupAblation> {
    ablate(GraphGroup { graph, name }, runs, MEASURE, ablation, &RandomGroupOptions::default(), &Task::default())
}

#[test]
fn a_group_of_heads_and_mlps_is_as_with_hooks_in_every_shape_of_model() {
    let pairs = short();
    let task = Task::default();
    for config in configs().into_iter().filter(|config| crate::circuit::edges::Wiring::new(config).is_ok()) {
        let names = if config.has_mlp() { vec!["z.0.1", "mlp_out.0", "z.1.0"] } else { vec!["z.0.1", "z.1.0"] };
        let model = model(decoder(config.clone(), DType::F32));
        for ablation in [EdgeAblation::Corrupt, EdgeAblation::Zero] {
            let graph = grouped(&scored(&model, &pairs, ablation), &names);
            let runs = EdgeRuns::new(&model, &pairs, MEASURE, ablation, &task).unwrap();
            let found = ablated(&graph, "some", &runs, ablation).unwrap();
            let expected = by_hooks(&model, &pairs, &names, ablation);
            assert!((found.measured - expected).abs() < 1e-4, "{} for {expected}: {config:?}", found.measured);
            assert_eq!((found.nodes, found.pairs, found.random.len()), (names.len(), 2, 10));
        }
    }
}

#[test]
fn predictions_are_sums_of_effects_of_the_same_quantity() {
    let pairs = short();
    let task = Task::default();
    let model = model(decoder(config(), DType::F32));
    let graph = scored(&model, &pairs, EdgeAblation::Corrupt);
    let runs = EdgeRuns::new(&model, &pairs, MEASURE, EdgeAblation::Corrupt, &task).unwrap();
    // The last MLP has one edge, whose exact effect is that of ablating it.
    let last = ablated(&graph, "mlp_out.1", &runs, EdgeAblation::Corrupt).unwrap();
    assert!((last.predicted.unwrap() - last.measured).abs() < 1e-5 && last.measured.abs() > 1e-3);
    let both = grouped(&graph, &["z.1.0", "mlp_out.1"]);
    let found = ablated(&both, "some", &runs, EdgeAblation::Corrupt).unwrap();
    let named = |name: &str| graph.edges.iter().find(|edge| graph.edge_name(edge) == name).unwrap().effect;
    // Not the edge from one to the other.
    let expected = named("z.1.0 -> logits") + named("mlp_out.1 -> logits");
    assert!((found.predicted.unwrap() - expected).abs() < 1e-12);
    let zero = EdgeRuns::new(&model, &pairs, MEASURE, EdgeAblation::Zero, &task).unwrap();
    assert_eq!(ablated(&graph, "mlp_out.1", &zero, EdgeAblation::Zero).unwrap().predicted, None);
    let prob = EdgeRuns::new(&model, &pairs, Measure::Prob, EdgeAblation::Corrupt, &task).unwrap();
    let group = GraphGroup { graph: &graph, name: "mlp_out.1" };
    let options = RandomGroupOptions::default();
    let other = ablate(group, &prob, Measure::Prob, EdgeAblation::Corrupt, &options, &task).unwrap();
    assert_eq!((other.predicted, other.quantity.as_str()), (None, "change of probability of the answers"));
    for wrong in ["logits", "z.1.9"] {
        assert_eq!(ablated(&graph, wrong, &runs, EdgeAblation::Corrupt).unwrap_err().about.as_deref(), Some("name"));
    }
}

#[test]
fn random_groups_have_as_many_nodes_of_each_kind() {
    let pairs = short();
    let task = Task::default();
    let model = model(decoder(config(), DType::F32));
    let ablation = EdgeAblation::Corrupt;
    let graph = scored(&model, &pairs, ablation);
    let runs = EdgeRuns::new(&model, &pairs, MEASURE, ablation, &task).unwrap();
    // All MLPs are drawn as all MLPs, and one head as one of the heads.
    let mlps = ablated(&grouped(&graph, &["mlp_out.0", "mlp_out.1"]), "some", &runs, ablation).unwrap();
    assert!(mlps.random.iter().all(|random| *random == mlps.measured));
    let heads: Vec<String> =
        graph.nodes.iter().filter(|node| node.site.starts_with("z.")).map(crate::circuit::Node::name).collect();
    let alone: Vec<f64> = heads.iter().map(|head| ablated(&graph, head, &runs, ablation).unwrap().measured).collect();
    let random = ablated(&graph, &heads[0], &runs, ablation).unwrap();
    assert!(random.random.iter().all(|random| alone.contains(random)));
    let table = random.table();
    let [_, low, high] = [3, 4, 5].map(|at| match table.rows[1][at] {
        Cell::Float(x) => x,
        ref other => panic!("{other:?}"),
    });
    assert!(alone.contains(&low) && alone.contains(&high) && low < high);
}

#[test]
fn a_group_of_features_is_ablated_together() {
    let pairs = short();
    let task = Task::default();
    let model = model(decoder(config(), DType::F32));
    let d = model.decoder.config().d_model;
    let saes = ["resid_post.0", "resid_post.1"].map(|site| dictionary(d, 10, Activation::Relu, site));
    let search = SparseFeatureOptions {
        method: EffectMethod::Exact,
        node_threshold: 1e-4,
        edges: false,
        ..SparseFeatureOptions::default()
    };
    let options = PairCircuitOptions { search, ..PairCircuitOptions::default() };
    let graph = of_pairs(&model, &saes, &pairs, MEASURE, false, &options, &task).unwrap().graph;
    let runs =
        FeatureAblations::of_pairs(&model, &saes, &pairs, MEASURE, NodeAblation::Patch, NodePositions::Summed, &task)
            .unwrap();
    let ablation = EdgeAblation::Corrupt;
    let named: Vec<String> = graph.nodes[1..].iter().map(crate::circuit::Node::name).collect();
    assert!(named.len() > 4);
    for name in &named {
        // The effect of a node is found by moving it alone.
        let found = ablated(&graph, name, &runs, ablation).unwrap();
        let predicted = found.predicted.unwrap();
        let measured = found.measured;
        assert!((predicted - measured).abs() < 1e-4, "{name}: {predicted} and {measured}");
    }
    let all: Vec<&str> = named.iter().map(String::as_str).collect();
    let found = ablated(&grouped(&graph, &all), "some", &runs, ablation).unwrap();
    let kept: Vec<bool> = runs.kept(&graph).unwrap().iter().map(|chosen| !chosen).collect();
    let [rest, whole] = [kept, vec![true; runs.units()]].map(|kept| mean(&runs.values(&kept, &task).unwrap()));
    assert!((found.measured - (rest - whole)).abs() < 1e-12 && found.nodes == named.len());
    assert!(
        ablated(&graph, "logits", &runs, ablation).unwrap_err().message.starts_with("expected features and errors")
    );
}
