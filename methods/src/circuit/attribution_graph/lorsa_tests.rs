//! Graphs without the model's attention: their paths, scores, interventions and files, and what is refused.

use super::intervene::{FeatureChange, Freeze, NodeChange, intervene};
use super::loading_tests::size;
use super::loadings::head_loadings;
use super::lorsa_paths::path_loadings;
use super::scores::{EdgeScoreOptions, edge_scores};
use super::sum_tests::{is_linear, made, made_lorsas, plain, random};
use super::*;
use crate::circuit::graph::{Node, Part};
use crate::circuit::parsed;
use crate::circuit::qk::{QkDictionaries, QkFeatures, QkOptions, qk};
use crate::fixtures::{configs, decoder};
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

/// Asserts that two sums of terms of a size are the same but for rounding.
fn close(found: f64, expected: f64, size: f64, what: &str) {
    assert!((found - expected).abs() < 1e-4 * (1.0 + size + expected.abs()), "{what}: {found}, expected {expected}");
}

#[test]
fn heads_that_are_the_attention_carry_what_the_heads_of_the_model_carry() {
    let task = Task::default();
    let mut checked = [0, 0];
    for number in [0, 3] {
        let model = plain(decoder(configs().remove(number), DType::F32));
        let transcoders = made(&model.decoder, true);
        let lorsas: Vec<Lorsa> = (0..2).map(|layer| whole(&model.decoder, layer)).collect();
        let each = lorsas[0].group_size();
        let dictionaries = GraphDictionaries { transcoders: transcoders.clone(), lorsas };
        let with = graph_of(&model, &dictionaries);
        let without = graph_of(&model, &transcoders);
        let places: BTreeMap<String, usize> =
            (0..with.matrix.size()).map(|node| (with.node(node).name(), node)).collect();
        let place = |node: usize| places[&without.node(node).name()];
        let targets = (0..without.features.len()).chain(without.counts().first_target()..without.matrix.size());
        let pairs = targets.flat_map(|to| (0..without.counts().first_target()).map(move |from| (from, to)));
        // What is written at the first position is constant in a Lorsa's place, and not in that of attention.
        let is_meant = |(from, to): &(usize, usize)| {
            without.matrix.edge(*to, *from) != 0.0 && without.node(*from).position != Some(0)
        };
        let edges: Vec<(usize, usize)> = pairs.filter(is_meant).step_by(11).collect();
        for expected in head_loadings(&model, &transcoders, &without, &edges, &task).unwrap() {
            let found = path_loadings(&model, &with, place(expected.from), place(expected.to)).unwrap();
            let what = format!("{} to {}", expected.from, expected.to);
            let size = size(&found);
            close(found.value, expected.value, size, &what);
            close(found.parts.direct, expected.parts.direct, size, &what);
            close(found.parts.several, expected.parts.several, size, &what);
            for head in &expected.parts.heads {
                let is_of = |layer: usize, one: usize| (layer, one / each) == (head.layer, head.head);
                let own = found.parts.heads.iter().filter(|one| is_of(one.layer, one.head));
                let sums = own.fold([0.0, 0.0], |[alone, through], one| [alone + one.alone, through + one.through]);
                close(sums[0], head.alone, size, &what);
                close(sums[1], head.through, size, &what);
            }
            checked[0] += 1;
            checked[1] += usize::from(expected.parts.several.abs() > 1e-3);
        }
    }
    assert!(checked[0] > 50 && checked[1] > 0, "{checked:?} edges, and such as pass several heads");
}

#[test]
fn what_is_added_to_a_head_passes_it() {
    let (model, dictionaries) = with_lorsas(0);
    let graph = graph_of(&model, &dictionaries);
    let is_head = |node: usize| graph.features.get(node).is_some_and(|one| one.part == LayerPart::Attention);
    let all = (0..graph.features.len()).flat_map(|to| (0..graph.counts().first_target()).map(move |from| (from, to)));
    let edges: Vec<(usize, usize)> = all.step_by(7).collect();
    let found = head_loadings(&model, &dictionaries, &graph, &edges, &Task::default()).unwrap();
    let mut several = 0;
    for (one, (from, to)) in found.iter().zip(&edges) {
        let edge = f64::from(graph.matrix.edge(*to, *from));
        // An edge passes the head that it ends at, or none.
        let alone: f64 = one.parts.heads.iter().map(|head| head.alone).sum();
        assert_eq!((one.value, one.parts.direct + alone, one.parts.several), (edge, edge, 0.0), "{from} to {to}");
        assert_eq!(one.parts.heads.len(), usize::from(is_head(*to) && edge != 0.0), "{from} to {to}");
        if !is_head(*to) {
            continue;
        }
        let one = path_loadings(&model, &graph, *from, *to).unwrap();
        let ActiveFeature { layer, feature, .. } = graph.features[*to];
        let own = one.parts.heads.iter().find(|head| (head.layer, head.head) == (layer, feature));
        let what = format!("{from} to {to}");
        assert_eq!(one.parts.direct, 0.0, "{what}");
        assert_eq!(own.map_or((0.0, 0.0), |own| (own.alone, own.through)), (edge, one.value), "{what}");
        let name = own.map_or_else(|| graph.node(*to).name(), |own| format!("{}@", one.parts.name(own)));
        assert!(graph.node(*to).name().starts_with(&name), "{name}");
        close(one.parts.several, one.value - edge, size(&one), &what);
        several += usize::from(one.parts.several != 0.0);
    }
    assert!(several > 10, "{several} pairs with paths through other heads");
}

#[test]
fn all_pairs_of_an_edge_sum_to_the_score_of_the_head_that_it_ends_at() {
    let task = Task::default();
    let batch = Batch::new(vec![PROMPT.to_vec()]).unwrap();
    let mut checked = 0;
    for config in configs().into_iter().filter(is_linear) {
        for is_normed in [false, true] {
            let model = plain(decoder(config.clone(), DType::F32));
            let transcoders = made(&model.decoder, is_normed);
            let mut lorsas = made_lorsas(&model.decoder, &Activation::TopK(4), true);
            for (lorsa, seed) in lorsas.iter_mut().zip(70..).filter(|_| is_normed) {
                lorsa.queries.norm = Some(random(&[3, 4], seed));
                lorsa.keys.norm = Some(random(&[3, 4], seed + 10));
            }
            let dictionaries = GraphDictionaries { transcoders, lorsas };
            let graph = graph_of(&model, &dictionaries);
            let nodes: Vec<Node> = (0..graph.matrix.size()).map(|node| graph.node(node)).collect();
            let names: BTreeSet<String> = nodes.iter().map(Node::name).collect();
            let heads = (0..graph.features.len()).filter(|node| graph.features[*node].part == LayerPart::Attention);
            let all = heads.flat_map(|to| (0..graph.counts().first_target()).map(move |from| (from, to)));
            let all = all.filter(|(from, to)| graph.matrix.edge(*to, *from) != 0.0);
            let is_within = |edge: &(usize, usize)| nodes[edge.0].position == nodes[edge.1].position;
            let (within, between): (Vec<_>, Vec<_>) = all.partition(is_within);
            let step = between.len().div_ceil(6);
            let edges: Vec<(usize, usize)> =
                between.into_iter().step_by(step).chain(within.into_iter().take(1)).collect();
            let found = head_loadings(&model, &dictionaries, &graph, &edges, &task).unwrap();
            let scores = |pairs: usize| {
                edge_scores(&model, &dictionaries, &graph, &found, EdgeScoreOptions { pairs }, &task).unwrap()
            };
            for ((edge, all), two) in edges.iter().zip(scores(usize::MAX)).zip(scores(2)) {
                let [from, to] = [edge.0, edge.1].map(|node| nodes[node].position.unwrap());
                let ActiveFeature { layer, feature, .. } = graph.features[edge.1];
                if from == to {
                    assert_eq!(all, None);
                    continue;
                }
                let [all, two] = [all, two].map(Option::unwrap);
                let what = format!("{edge:?} of {config:?}");
                assert_eq!(all.head, format!("attn_in.{layer}/{feature}"), "{what}");
                let lorsa = &dictionaries.lorsas[layer];
                let read = lorsa.attended_in(&model, &batch, &task).unwrap();
                let group = lorsa.group_of(feature).unwrap();
                let of_group = |t: &Tensor, position: usize| {
                    floats(&t.get(0).unwrap().get(position).unwrap().get(group).unwrap()).unwrap()
                };
                let keys = of_group(&read.keys, from);
                let product: f64 = of_group(&read.queries, to).iter().zip(keys).map(|(q, k)| q * k).sum();
                let sizes: f64 = all.biases.abs() + all.pairs.iter().map(|pair| pair.score.abs()).sum::<f64>();
                close(all.score, lorsa.score_scale * product, 0.0, &what);
                let sum = all.biases + all.pairs.iter().map(|pair| pair.score).sum::<f64>();
                close(sum, all.score, sizes, &what);
                assert!(all.pairs.iter().all(|pair| pair.key != "biases"), "{what}");
                assert_eq!(two.pairs[..], all.pairs[..2], "{what}");
                // Parts are nodes, but for the biases that a graph holds.
                let is_feature =
                    |name: &str| name.split_once('/').is_some_and(|(_, part)| part.chars().all(|c| c.is_ascii_digit()));
                let is_known = |name: &str, at: usize| !is_feature(name) || names.contains(&format!("{name}@{at}"));
                for pair in &all.pairs {
                    assert!(is_known(&pair.query, to) && is_known(&pair.key, from), "{what}: {pair:?}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked} edges");
}

#[test]
fn a_lorsa_that_is_the_attention_looks_as_its_heads_do() {
    let task = Task::default();
    for number in [0, 3] {
        let model = plain(decoder(configs().remove(number), DType::F32));
        let lorsas: Vec<Lorsa> = (0..2).map(|layer| whole(&model.decoder, layer)).collect();
        let each = lorsas[0].group_size();
        let features = || QkFeatures::Transcoders(made(&model.decoder, true));
        let with = QkDictionaries { features: features(), lorsas };
        let without: QkDictionaries = features().into();
        for head in 0..model.decoder.config().heads {
            let options = QkOptions { from: -1, to: None };
            let of_lorsa = format!("attn_in.1/{}", each * head + 1);
            let found = qk(&model, &PROMPT, &of_lorsa, &with, &options, &task).unwrap();
            let expected = qk(&model, &PROMPT, &format!("scores.1.{head}"), &without, &options, &task).unwrap();
            let sizes: f64 = found.values.iter().map(|value| value.abs()).sum();
            assert_eq!((found.site.as_str(), found.to), (of_lorsa.as_str(), expected.to));
            close(found.score, expected.score, 0.0, &of_lorsa);
            close(found.sum(), found.score, sizes, &of_lorsa);
            // The same parts make the same scores, whatever else there is: embeddings are the first.
            assert_eq!((&found.queries[0].name, &found.keys[0].name), (&"embed".to_string(), &"embed".to_string()));
            close(found.values[0], expected.values[0], 0.0, &of_lorsa);
            // Parts of the model's own scores may be heads of Lorsas, too.
            let mixed = qk(&model, &PROMPT, &format!("scores.1.{head}"), &with, &options, &task).unwrap();
            assert_eq!(mixed.queries, found.queries);
            close(mixed.sum(), expected.score, sizes, &of_lorsa);
        }
    }
}

#[test]
fn heads_of_lorsas_whose_scores_cannot_be_split_are_refused() {
    let (model, GraphDictionaries { lorsas, .. }) = with_lorsas(0);
    let given = QkDictionaries { features: QkFeatures::None, lorsas };
    let refused = |head: &str, given: &QkDictionaries, to: Option<i64>| {
        qk(&model, &PROMPT, head, given, &QkOptions { from: 2, to }, &Task::default()).unwrap_err()
    };
    assert_eq!(
        refused("attn_in.0/12", &given, None).message,
        "expected a head of the Lorsa of layer 0 below 12, found 12"
    );
    assert_eq!(refused("attn_in.1/2", &given, Some(3)).message, "expected a key that position 2 attends to, found 3");
    let named = "expected a head of a Lorsa, such as `attn_in.1/17`, found `attn_in.1/x`";
    assert_eq!(refused("attn_in.1/x", &given, None).message, named);
    let none = QkDictionaries::default();
    assert_eq!(
        refused("attn_in.1/2", &none, None).message,
        "expected a head of a Lorsa that is given, found `attn_in.1/2`"
    );
    let twice = QkDictionaries { lorsas: [given.lorsas.clone(), given.lorsas.clone()].concat(), ..none };
    let error = refused("attn_in.1/2", &twice, None);
    assert_eq!(
        (error.message.as_str(), error.about.as_deref()),
        ("expected one Lorsa for each layer, found two for layer 0", Some("lorsas"))
    );
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
fn dictionaries_of_another_graph_are_refused() {
    let (model, dictionaries) = with_lorsas(0);
    let transcoders: &Transcoders = &dictionaries.transcoders;
    let graph = graph_of(&model, &dictionaries);
    let task = Task::default();
    let error = head_loadings(&model, transcoders, &graph, &[], &task).unwrap_err();
    let no_lorsas = "expected transcoders and Lorsas, with which the graph was made, found no Lorsas";
    assert_eq!(error.message, no_lorsas);
    let error = edge_scores(&model, transcoders, &graph, &[], EdgeScoreOptions { pairs: 1 }, &task).unwrap_err();
    assert_eq!(error.message, no_lorsas);
    let change = FeatureChange { layer: 0, position: 2, feature: 0, value: 1.0 };
    let error = graph.effects(&model, transcoders, &[change], Freeze::All, &task).unwrap_err();
    assert_eq!(error.message, no_lorsas);
    let head = NodeChange { part: LayerPart::Attention, change: FeatureChange { feature: 12, ..change } };
    let error = intervene(&model, &dictionaries, &PROMPT, &[head], Freeze::All, &[6], &task).unwrap_err();
    assert_eq!(error.message, "expected a head of the Lorsa of layer 0 below 12, found 12");
}
