//! Graphs without the model's attention: their paths, interventions and files, and what is refused.

use std::collections::BTreeSet;

use super::intervene::{FeatureChange, Freeze, NodeChange, intervene};
use super::loadings::head_loadings;
use super::sum_tests::{made, made_lorsas, plain};
use super::*;
use crate::circuit::graph::{Node, Part};
use crate::circuit::parsed;
use crate::fixtures::{configs, decoder};
use crate::model::decoder::Decoder;
use crate::model::weights::Linear;
use crate::sae::lorsa::{GroupMap, Lorsa, LorsaAbout};
use crate::sae::{Activation, Transcoders};

const PROMPT: [u32; 7] = [3, 1, 4, 1, 5, 9, 2];

fn graph_of(model: &Model, dictionaries: impl Into<GraphDictionaries>) -> AttributionGraph {
    let options = AttributionGraphOptions { logits: 2, ..Default::default() };
    attribution_graph(model, dictionaries, &PROMPT, &options, &Task::default()).unwrap()
}

/// Builds a model with transcoders and random Lorsas, by the number of its config.
fn with_lorsas(number: usize) -> (Model, GraphDictionaries) {
    let model = plain(decoder(configs().remove(number), DType::F32));
    let transcoders = made(&model.decoder, true);
    let lorsas = made_lorsas(&model.decoder, &Activation::TopK(4), true);
    (model, GraphDictionaries { transcoders, lorsas })
}

/// Builds the Lorsa that is a layer's attention: two heads for each coordinate of each of its heads, one for each sign.
fn whole(model: &Decoder, layer: usize) -> Lorsa {
    let config = model.config();
    let attention = model.weights().blocks[layer].attention().unwrap();
    let size = config.d_head;
    let d = config.d_model;
    let heads = config.heads;
    let shared = heads / config.kv_heads;
    let joined = |parts: &[Tensor]| Tensor::cat(parts, 0).unwrap();
    let both = |part: &Tensor| joined(&[part.clone(), part.neg().unwrap()]);
    // The rows of a map for each head, where several share those of one.
    let of_heads = |linear: &Linear, shared: usize| -> (Vec<Tensor>, Vec<Tensor>) {
        let weight = linear.weight.floats().unwrap().reshape(((), size, d)).unwrap();
        let bias = linear.bias.as_ref().unwrap().reshape(((), size)).unwrap();
        (0..heads).map(|head| (weight.get(head / shared).unwrap(), bias.get(head / shared).unwrap())).unzip()
    };
    let map = |linear: &Linear, shared: usize| {
        let (weight, bias) = of_heads(linear, shared);
        GroupMap { weight: joined(&weight), bias: joined(&bias), norm: None }
    };
    let (values, biases) = of_heads(attention.values().unwrap(), shared);
    let written = attention.o.weight.floats().unwrap().reshape((d, heads, size)).unwrap();
    let written = written.permute((1, 2, 0)).unwrap().contiguous().unwrap();
    let lorsa = Lorsa {
        queries: map(&attention.q, 1),
        keys: map(attention.keys().unwrap(), shared),
        values: joined(&values.iter().map(both).collect::<Vec<_>>()),
        value_bias: joined(&biases.iter().map(both).collect::<Vec<_>>()),
        decoder: joined(&(0..heads).map(|head| both(&written.get(head).unwrap())).collect::<Vec<_>>()),
        decoder_bias: attention.o.bias.clone().unwrap(),
        groups: heads,
        turning: config.rotary_of(layer).cloned().map(Into::into),
        score_scale: config.score_scale_of(layer),
        norm_eps: config.norm_eps,
        activation: Activation::Relu,
        rescaled: false,
        about: LorsaAbout {
            reads: format!("attn_in.{layer}"),
            writes: format!("attn_out.{layer}"),
            context: config.context,
            ..LorsaAbout::default()
        },
    };
    lorsa.check().unwrap()
}

/// Sums the paths to a target that pass heads of Lorsas only, by where they begin; `part` is what counts of an edge.
fn through_heads(graph: &AttributionGraph, target: usize, part: impl Fn(f64) -> f64) -> Vec<f64> {
    let row = |node: usize| -> Vec<f64> { graph.matrix.row(node).iter().map(|edge| part(f64::from(*edge))).collect() };
    let mut found = row(target);
    let heads = graph.features.iter().enumerate().filter(|(_, one)| one.part == LayerPart::Attention);
    // The heads of later layers first, since they read those of earlier ones.
    for (node, one) in heads.rev() {
        let share = found[node] / one.activation;
        found[node] = 0.0;
        found.iter_mut().zip(row(node)).for_each(|(sum, edge)| *sum += share * edge);
    }
    found
}

#[test]
fn paths_through_heads_that_are_the_attention_are_the_edges_that_attention_carries() {
    let mut checked = 0;
    // Blocks in which the MLP reads what attention wrote, and blocks in which it does not.
    for number in [0, 3] {
        let model = plain(decoder(configs().remove(number), DType::F32));
        let transcoders = made(&model.decoder, true);
        let lorsas: Vec<Lorsa> = (0..2).map(|layer| whole(&model.decoder, layer)).collect();
        let with = graph_of(&model, GraphDictionaries { transcoders: transcoders.clone(), lorsas });
        let without = graph_of(&model, &transcoders);
        let places: BTreeMap<String, usize> =
            (0..with.matrix.size()).map(|node| (with.node(node).name(), node)).collect();
        let place = |node: usize| places[&without.node(node).name()];
        let is_error = |node: &Node| node.part == Part::Error && node.site.starts_with("attn_in");
        let errors: Vec<usize> = (0..with.matrix.size()).filter(|node| is_error(&with.node(*node))).collect();
        for target in (0..without.features.len()).chain(without.counts().first_target()..without.matrix.size()) {
            let found = through_heads(&with, place(target), |edge| edge);
            let size = through_heads(&with, place(target), f64::abs);
            for source in 0..without.counts().first_target() {
                // What is written at the first position is constant in a Lorsa's place, and not in that of attention.
                if without.node(source).position == Some(0) {
                    continue;
                }
                let [found, size] = [&found, &size].map(|all| all[place(source)]);
                let edge = f64::from(without.matrix.edge(target, source));
                let off = (found - edge).abs();
                assert!(off < 1e-4 * (1.0 + size), "{target} from {source}: {found}, not {edge}, of {size}");
                checked += usize::from(edge != 0.0);
            }
            // The Lorsas leave nothing unexplained.
            let most = errors.iter().map(|node| found[*node].abs()).fold(0.0, f64::max);
            assert!(most < 1e-3 * (1.0 + size.iter().sum::<f64>()), "{target}: an error of {most}");
        }
    }
    assert!(checked > 200, "{checked} edges");
}

#[test]
fn heads_that_are_changed_change_the_logits_as_the_edges_say() {
    let task = Task::default();
    for number in [0, 3] {
        let (model, dictionaries) = with_lorsas(number);
        let graph = graph_of(&model, &dictionaries);
        let mut parts = BTreeSet::new();
        for one in graph.features.iter().step_by(5) {
            let ActiveFeature { layer, part, position, feature, activation } = *one;
            let to = |value: f64| NodeChange { part, change: FeatureChange { layer, position, feature, value } };
            let effects = |change: NodeChange, freeze: Freeze| {
                graph.effects(&model, &dictionaries, &[change], freeze, &task).unwrap()
            };
            for found in effects(to(3.0 * activation), Freeze::All) {
                let off = (found.predicted - found.measured).abs();
                assert!(off < 1e-3 + 1e-3 * found.measured.abs(), "{one:?}: {found:?}");
            }
            // A feature that keeps its activation changes nothing, whatever is held.
            for freeze in [Freeze::All, Freeze::Patterns, Freeze::Nothing] {
                for found in effects(to(activation), freeze) {
                    assert!(found.measured.abs() < 1e-3, "{one:?} with {freeze:?}: {found:?}");
                }
            }
            parts.insert(part);
        }
        assert_eq!(parts.len(), 2, "features and heads were changed");
    }
}

#[test]
fn nodes_are_named_by_what_their_dictionary_reads() {
    let (model, dictionaries) = with_lorsas(0);
    let graph = graph_of(&model, &dictionaries);
    let counts = graph.counts();
    assert_eq!(counts.errors, 4 * PROMPT.len());
    let head = graph.features.iter().position(|one| one.part == LayerPart::Attention && one.layer == 1).unwrap();
    let ActiveFeature { position, feature, activation, .. } = graph.features[head];
    let node = graph.node(head);
    assert_eq!((node.name(), node.value), (format!("attn_in.1/{feature}@{position}"), Some(activation)));
    let names = [0, 1, 2, 3].map(|step| graph.node(counts.features + step * PROMPT.len() + 2).name());
    assert_eq!(names, ["attn_in.0", "mlp_in.0", "attn_in.1", "mlp_in.1"].map(|site| format!("{site}/error@2")));
    let steps: Vec<usize> = graph.features.iter().map(|one| graph.steps().of(one.layer, one.part)).collect();
    assert!(steps.is_sorted());
    // Interrupted or limited searches take heads and features alike.
    let options = AttributionGraphOptions { nodes: 20, ranked: 8, ..Default::default() };
    let some = attribution_graph(&model, &dictionaries, &PROMPT, &options, &Task::default()).unwrap();
    assert_eq!((some.features.len(), some.active), (20, graph.active));
}

#[test]
fn a_file_of_neuronpedia_tells_heads_from_features() {
    let (model, dictionaries) = with_lorsas(0);
    let graph = graph_of(&model, &dictionaries);
    let circuit = graph.circuit(PruneOptions { nodes: 0.95, edges: 0.99 });
    let file = graph.neuronpedia(&circuit, "x").unwrap();
    let kinds: BTreeSet<&str> =
        file["nodes"].as_array().unwrap().iter().map(|node| node["feature_type"].as_str().unwrap()).collect();
    assert!(kinds.contains("lorsa") && kinds.contains("cross layer transcoder"), "{kinds:?}");
    let head = file["nodes"].as_array().unwrap().iter().find(|node| node["feature_type"] == "lorsa").unwrap();
    let id: Vec<&str> = head["node_id"].as_str().unwrap().split('_').collect();
    assert_eq!((id[0], id[1]), (head["layer"].as_str().unwrap(), "lor"));
    let read = parsed(&file.to_string()).unwrap();
    let ids: BTreeSet<usize> = circuit.edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    let is_written = |(place, node): &(usize, &Node)| ids.contains(place) || matches!(node.part, Part::Token(_));
    let written: BTreeSet<String> =
        circuit.nodes.iter().enumerate().filter(is_written).map(|(_, node)| node.name()).collect();
    assert_eq!(read.nodes.iter().map(Node::name).collect::<BTreeSet<_>>(), written);
    let error = graph.viewer(&circuit, &[]).unwrap_err();
    assert_eq!(error.message, "expected a graph of transcoders, found one with Lorsas, too");
}

#[test]
fn lorsas_that_do_not_stand_for_all_attention_are_refused() {
    let (model, dictionaries) = with_lorsas(0);
    let GraphDictionaries { transcoders, lorsas } = &dictionaries;
    let task = Task::default();
    let refused = |lorsas: &[&Lorsa]| {
        let lorsas = lorsas.iter().map(|lorsa| (*lorsa).clone()).collect();
        let given = GraphDictionaries { transcoders: transcoders.clone(), lorsas };
        let options = AttributionGraphOptions::default();
        attribution_graph(&model, given, &PROMPT, &options, &task).unwrap_err()
    };
    let error = refused(&[&lorsas[0]]);
    assert_eq!(error.message, "expected Lorsas for the 2 layers of made, found none for layer 1");
    assert_eq!(error.about.as_deref(), Some("lorsas"));
    assert_eq!(refused(&[&lorsas[1], &lorsas[1]]).message, "expected one Lorsa for each layer, found two for layer 1");
    let mut other = lorsas[1].clone();
    other.about.writes = "mlp_out.1".into();
    assert!(refused(&[&lorsas[0], &other]).message.ends_with("reads `attn_in.1` and writes `mlp_out.1`"));
    let mut short = lorsas[1].clone();
    short.about.context = 3;
    let error = refused(&[&lorsas[0], &short]);
    assert!(error.message.contains("at most 3 tokens") && error.about.as_deref() == Some("prompt"), "{error:?}");
    // The order in which they are given does not matter.
    let turned = lorsas.iter().rev().cloned().collect();
    let turned = GraphDictionaries { transcoders: transcoders.clone(), lorsas: turned };
    assert_eq!(graph_of(&model, turned).matrix, graph_of(&model, &dictionaries).matrix);
}

#[test]
fn what_needs_the_heads_of_the_model_is_refused() {
    let (model, dictionaries) = with_lorsas(0);
    let transcoders: &Transcoders = &dictionaries.transcoders;
    let graph = graph_of(&model, &dictionaries);
    let task = Task::default();
    let error = head_loadings(&model, transcoders, &graph, &[], &task).unwrap_err();
    assert!(error.message.ends_with("found one with Lorsas in their place"), "{}", error.message);
    let change = FeatureChange { layer: 0, position: 2, feature: 0, value: 1.0 };
    let error = graph.effects(&model, transcoders, &[change], Freeze::All, &task).unwrap_err();
    assert_eq!(error.message, "expected transcoders and Lorsas, with which the graph was made, found no Lorsas");
    let head = NodeChange { part: LayerPart::Attention, change: FeatureChange { feature: 12, ..change } };
    let error = intervene(&model, &dictionaries, &PROMPT, &[head], Freeze::All, &[6], &task).unwrap_err();
    assert_eq!(error.message, "expected a head of the Lorsa of layer 0 below 12, found 12");
}
