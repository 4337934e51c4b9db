//! Loadings of heads sum to the edge, and are what the edge loses without the head, and has with it alone.

use super::frozen::FrozenAttention;
use super::loadings::{EdgeLoadings, head_loadings, needed};
use super::mixing::Mixing;
use super::scores::{EdgeScoreOptions, edge_scores};
use super::sum_tests::{made, plain};
use super::*;
use crate::fixtures::{configs, decoder};
use crate::sae::Transcoders;

const PROMPT: [u32; 7] = [3, 1, 4, 1, 5, 9, 2];

/// Returns all edges of a graph that are not 0, at most `most` of them, spread over all.
fn edges(graph: &AttributionGraph, most: usize) -> Vec<(usize, usize)> {
    let size = graph.matrix.size();
    let targets = (0..graph.features.len()).chain(graph.counts().first_target()..size);
    let all: Vec<(usize, usize)> = targets
        .flat_map(|to| (0..graph.counts().first_target()).map(move |from| (from, to)))
        .filter(|(from, to)| graph.matrix.edge(*to, *from) != 0.0)
        .collect();
    let step = (all.len() / most).max(1);
    all.into_iter().step_by(step).collect()
}

/// Computes edges anew in the frozen model of a graph, with some heads only.
fn edges_with(
    model: &Model,
    transcoders: &Transcoders,
    graph: &AttributionGraph,
    edges: &[(usize, usize)],
    has: &dyn Fn(usize, usize) -> bool,
) -> Vec<f64> {
    let decoder = &model.decoder;
    let task = Task::default();
    let batch = Batch::new(vec![PROMPT.to_vec()]).unwrap();
    let dictionaries = &GraphDictionaries::from(transcoders);
    let PromptRun { mut held, sources } =
        PromptRun::of(decoder, dictionaries, &batch, Patterns::Held, graph.mlps, &task).unwrap();
    for (layer, block) in held.blocks.iter_mut().enumerate() {
        let FrozenAttention::Heads(maps) = &mut block.attention else { panic!("a Lorsa in layer {layer}") };
        let Mixing::Held(mixing) = &mut maps.mixing else { panic!("no patterns of layer {layer}") };
        let heads = mixing.dim(0).unwrap();
        let kept: Vec<f32> = (0..heads).map(|head| f32::from(u8::from(has(layer, head)))).collect();
        let kept = Tensor::from_vec(kept, (heads, 1, 1), &Device::Cpu).unwrap();
        *mixing = mixing.broadcast_mul(&kept).unwrap();
    }
    let edge = |(from, to): &(usize, usize)| {
        let (at, reading) = match graph.features.get(*to) {
            Some(one) => {
                let encoder = &transcoders.layers()[one.layer].encoder;
                let at = ReadPosition { step: one.layer, position: one.position };
                (at, encoder.narrow(0, one.feature, 1).unwrap())
            }
            None => {
                let target = &graph.targets[to - graph.counts().first_target()..][..1];
                let at = ReadPosition { step: held.blocks.len(), position: PROMPT.len() - 1 };
                (at, targets::readings(model, target).unwrap())
            }
        };
        let gradient = Backward::begin(&held, at.step, &reading, &[at.position]).unwrap();
        let row = rows::rows(&held, &sources, &[at], gradient, &task).unwrap().remove(0);
        let mut found = 0.0;
        // All active features are in the graph, so that its nodes are the sources.
        sources.each_source(&row, &mut |source, value| {
            if source == *from {
                found = f64::from(value);
            }
        });
        found
    };
    edges.iter().map(edge).collect()
}

fn graph_of(model: &Model, transcoders: &Transcoders) -> AttributionGraph {
    let d = model.decoder.config().d_model;
    let direction = (0..d).map(|place| (place as f64 * 1.7).sin()).collect();
    let options = AttributionGraphOptions { targets: vec![TargetName::Direction(direction)], ..Default::default() };
    attribution_graph(model, transcoders, &PROMPT, &options, &Task::default()).unwrap()
}

/// Lists the configs whose frozen models are linear.
fn linear() -> Vec<Config> {
    let is_linear = |config: &Config| {
        config.causal && config.d_mlp > 0 && config.recurrent_layers().is_none() && config.beyond_sums().is_none()
    };
    configs().into_iter().filter(is_linear).collect()
}

/// Asserts that two numbers are the same but for rounding, in sums of terms of a size.
fn close(found: f64, expected: f64, size: f64, what: &str) {
    assert!((found - expected).abs() < 1e-5 + 1e-4 * (size + expected.abs()), "{what}: {found}, expected {expected}");
}

/// Returns the size of what an edge is the sum of.
pub fn size(one: &EdgeLoadings) -> f64 {
    one.parts.direct.abs() + one.parts.heads.iter().map(|head| head.alone.abs() + head.through.abs()).sum::<f64>()
}

#[test]
fn loadings_sum_to_edges_in_models_of_every_kind() {
    let mut checked = 0;
    let mut several = 0;
    for config in linear() {
        for crosses in [false, true] {
            let model = plain(decoder(config.clone(), DType::F32));
            let transcoders = made(&model.decoder, crosses);
            let graph = graph_of(&model, &transcoders);
            let edges = edges(&graph, 60);
            let found = head_loadings(&model, &transcoders, &graph, &edges, &Task::default()).unwrap();
            let without_heads = edges_with(&model, &transcoders, &graph, &edges, &|_, _| false);
            for ((one, (from, to)), direct) in found.iter().zip(&edges).zip(without_heads) {
                let what = format!("{from} to {to}, {config:?}");
                assert_eq!((one.from, one.to), (*from, *to));
                let slack = size(one);
                close(one.value, f64::from(graph.matrix.edge(*to, *from)), slack, &what);
                close(one.parts.direct, direct, slack, &what);
                several += usize::from(one.parts.several.abs() > 1e-3);
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "{checked} edges");
    assert!(several > 20, "{several} edges pass several heads");
}

#[test]
fn a_loading_is_what_the_edge_loses_without_the_head() {
    let has_groups = |config: &&Config| config.causal && config.is_grouped() && config.pre_norm && config.post_norm;
    let all = configs();
    let config = all.iter().find(has_groups).unwrap();
    for config in [config.clone(), all[0].clone(), all[3].clone()] {
        let model = plain(decoder(config.clone(), DType::F32));
        let transcoders = made(&model.decoder, true);
        let graph = graph_of(&model, &transcoders);
        let edges = edges(&graph, 25);
        let found = head_loadings(&model, &transcoders, &graph, &edges, &Task::default()).unwrap();
        for layer in 0..config.layers {
            for head in 0..config.heads {
                let is_this = |at: usize, other: usize| (at, other) == (layer, head);
                let without = edges_with(&model, &transcoders, &graph, &edges, &|at, other| !is_this(at, other));
                let alone = edges_with(&model, &transcoders, &graph, &edges, &is_this);
                for ((one, without), alone) in found.iter().zip(without).zip(alone) {
                    let own = one.parts.heads.iter().find(|loading| is_this(loading.layer, loading.head));
                    let (through, own) = own.map_or((0.0, 0.0), |own| (own.through, own.alone));
                    let what = format!("head {head} of layer {layer}, {} to {}, {config:?}", one.from, one.to);
                    close(through, one.value - without, size(one), &what);
                    close(one.parts.direct + own, alone, size(one), &what);
                }
            }
        }
    }
}

#[test]
fn all_pairs_of_an_edge_sum_to_the_score_of_its_head() {
    let mut checked = 0;
    for config in linear().iter().filter(|config| config.score_cap.is_none() && config.alibi.is_none()).take(4) {
        for crosses in [false, true] {
            let model = plain(decoder(config.clone(), DType::F32));
            let transcoders = made(&model.decoder, crosses);
            let graph = graph_of(&model, &transcoders);
            let batch = Batch::new(vec![PROMPT.to_vec()]).unwrap();
            let task = Task::default();
            let found = head_loadings(&model, &transcoders, &graph, &edges(&graph, 40), &task).unwrap();
            let scores = |pairs: usize| {
                let options = EdgeScoreOptions { pairs };
                edge_scores(&model, &transcoders, &graph, &found, options, &task).unwrap()
            };
            for ((edge, all), two) in found.iter().zip(scores(usize::MAX)).zip(scores(2)) {
                let [from, to] = [edge.from, edge.to].map(|node| graph.node(node).position.unwrap());
                let carrier = edge.parts.heads.iter().max_by(|a, b| a.alone.abs().total_cmp(&b.alone.abs()));
                let Some(carrier) = carrier.filter(|head| head.alone != 0.0 && from != to) else {
                    assert_eq!(all, None);
                    continue;
                };
                let [all, two] = [all, two].map(Option::unwrap);
                let site = format!("scores.{}.{}", carrier.layer, carrier.head);
                assert_eq!((&all.head, &two.head), (&site, &site));
                let sum: f64 = all.biases + all.pairs.iter().map(|pair| pair.score).sum::<f64>();
                let size = all.biases.abs() + all.pairs.iter().map(|pair| pair.score.abs()).sum::<f64>();
                close(sum, all.score, size, &site);
                assert!(all.pairs.iter().all(|pair| pair.key != "biases"));
                assert_eq!(two.pairs[..], all.pairs[..2]);
                let place = one_site(config, &site, "one head").unwrap();
                let ask = Ask { places: vec![place], ..Ask::default() };
                let recorded = model.decoder.cache(&batch, ask, &task).unwrap().at(place).unwrap();
                let recorded = floats(&recorded.flatten_all().unwrap()).unwrap();
                close(recorded[to * PROMPT.len() + from], all.score, 0.0, &site);
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked} edges");
}

#[test]
fn memory_is_known_before_edges_are_split() {
    let model = plain(decoder(configs()[0].clone(), DType::F32));
    let config = model.decoder.config();
    let transcoders = made(&model.decoder, true);
    let graph = graph_of(&model, &transcoders);
    let edges = edges(&graph, 40);
    let found = head_loadings(&model, &transcoders, &graph, &edges, &Task::default()).unwrap();
    let loadings: usize = found.iter().map(|one| size_of_val(one.parts.heads.as_slice())).sum();
    let tokens = PROMPT.len();
    let of_rows = needed(config, tokens, 0);
    assert!(loadings as u128 + of_rows <= needed(config, tokens, edges.len()), "{loadings} bytes of loadings");
    // Both gradients behind attention, behind the block and at the embeddings.
    let gradients = 4 * (2 * config.layers + 1) * config.d_model * tokens;
    assert!(of_rows > gradients as u128 && needed(config, 2 * tokens, 0) == 2 * of_rows);
}

#[test]
fn another_model_is_refused() {
    let model = plain(decoder(configs()[0].clone(), DType::F32));
    let transcoders = made(&model.decoder, false);
    let graph = graph_of(&model, &transcoders);
    let other = Model::new(model.decoder.clone(), None, "other");
    let error = head_loadings(&other, &transcoders, &graph, &[], &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected made, the model of the graph, found other");
    let size = graph.matrix.size();
    let error = head_loadings(&model, &transcoders, &graph, &[(size - 1, size - 1)], &Task::default()).unwrap_err();
    assert!(error.message.contains("found one from a target"), "{}", error.message);
    // An edge that a graph cannot have is 0, along all paths.
    let late = graph.counts().first_target() - 1;
    let found = head_loadings(&model, &transcoders, &graph, &[(late, 0)], &Task::default()).unwrap();
    assert_eq!((found[0].value, found[0].parts.heads.len()), (0.0, 0));
}
