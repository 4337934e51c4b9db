//! Losses, gradients and graphs are those of the authors' code (tests/fixtures/diffing/adapters.py).

use std::collections::BTreeMap;

use kit::{close, far};

use super::branch::{Branch, TENSORS};
use super::loss::{Lesson, LossStep};
use super::*;
use crate::base::Task;
use crate::circuit::attribution_graph::{AttributionGraphOptions, MlpPaths, TargetName, attribution_graph};
use crate::diff::ModelPair;
use crate::features::samples;
use crate::fixtures::loaded;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::sae::{Sae, Transcoders};
use crate::tensor::{DType, Tensor, floats, ints};
use crate::tokenizer::tokens::TokenName;
use crate::training::LossRecord;

/// Layers of the models.
const LAYERS: usize = 3;

fn model(name: &str) -> Model {
    loaded(format!("diffing/adapters/{name}"))
}

fn step() -> BTreeMap<String, Tensor> {
    kit::tensors("diffing/adapters/step.safetensors")
}

/// Returns the tensors of adapters, or their gradients, in the order of a fit.
fn tensors(step: &BTreeMap<String, Tensor>, of: &str) -> Vec<Tensor> {
    let of_layer = |layer: usize| TENSORS.map(|name| step[&format!("{of}.{layer}.{name}")].clone());
    (0..LAYERS).flat_map(of_layer).collect()
}

#[test]
fn losses_and_gradients_of_a_step_are_the_authors() {
    let [base, tuned] = ["base", "tuned"].map(model);
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let task = Task::default();
    let truth = step();
    let rows = truth["ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let lesson = Lesson::of(&tuned.decoder, Batch::new(rows).unwrap(), &task).unwrap();
    let weights = AdapterLoss { l1: 0.3, bridge: 2.0, streams: 0.7 };
    let hybrid = hybrid(pair).unwrap();
    let step = LossStep { pair, hybrid: &hybrid.decoder, weights: &weights };
    for cut in 0..=LAYERS {
        let (losses, gradients) = step.losses(&tensors(&truth, "adapters"), &lesson, cut, &task).unwrap();
        let expected = floats(&truth[&format!("{cut}.losses")]).unwrap();
        assert!(close(losses.numbers().to_vec(), &expected, 1e-5), "cut {cut}: {losses:?}, expected {expected:?}");
        let expected = tensors(&truth, &format!("{cut}.gradients"));
        for (number, (found, expected)) in gradients.iter().zip(&expected).enumerate() {
            let apart = far(found, expected);
            assert!(apart < 1e-4, "cut {cut}, tensor {number}: {apart}");
        }
    }
}

#[test]
fn edges_past_the_mlps_of_the_base_are_the_authors() {
    let [base, tuned] = ["base", "tuned"].map(model);
    let branches = Branch::of(&tensors(&step(), "adapters"));
    let dictionary = |(layer, branch)| fit::dictionary(branch, layer, "m", serde_json::Map::new()).unwrap();
    let adapters: Vec<Sae> = branches.iter().enumerate().map(dictionary).collect();
    let hybrid = hybrid(ModelPair::new(&base, &tuned).unwrap()).unwrap();
    let model = samples::with_adapters(&hybrid, &adapters);
    let truth = kit::tensors("diffing/adapters/graph.safetensors");
    let numbers = |name: &str| ints(&truth[name].flatten_all().unwrap()).unwrap();
    let prompt: Vec<u32> = numbers("prompt").into_iter().map(|id| id as u32).collect();
    let targets = numbers("targets").into_iter().map(|id| TargetName::Token(TokenName::Id(id))).collect();
    let options = AttributionGraphOptions { targets, mlps: MlpPaths::Relp, ..Default::default() };
    let transcoders = Transcoders::of(&adapters).unwrap();
    let graph = attribution_graph(&model, &transcoders, &prompt, &options, &Task::default()).unwrap();
    // Theirs has the features of the first position, too, as nodes without edges.
    let active = numbers("active");
    let place = |layer: usize, position: usize, feature: usize| {
        let wanted = [layer, position, feature].map(|number| number as i64);
        active.chunks(3).position(|one| *one == wanted).unwrap()
    };
    let known: Vec<usize> = graph.features.iter().map(|one| place(one.layer, one.position, one.feature)).collect();
    assert_eq!(known.len(), active.chunks(3).filter(|one| one[1] > 0).count());
    // Directions of our dictionaries have length 1, and what features read is as much longer.
    let norms: Vec<Vec<f64>> = branches
        .iter()
        .map(|branch| floats(&branch.decoder.sqr().unwrap().sum(1).unwrap().sqrt().unwrap()).unwrap())
        .collect();
    let activations = floats(&truth["activations"]).unwrap();
    for (one, known) in graph.features.iter().zip(&known) {
        let expected = activations[*known] * norms[one.layer][one.feature];
        assert!((one.activation - expected).abs() < 1e-4, "{one:?}, expected {expected}");
    }
    let counts = graph.counts();
    let all = active.len() / 3;
    let check = |node: usize, expected: &[f64], factor: f64, first_token: usize| {
        let found = graph.matrix.row(node);
        let features = known.iter().enumerate().map(|(ours, theirs)| (ours, *theirs));
        let tokens = (first_token..prompt.len()).map(|token| (counts.first_token() + token, all + token));
        for (ours, theirs) in features.chain(tokens) {
            let found = f64::from(found[ours]);
            let expected = factor * expected[theirs];
            assert!((found - expected).abs() < 1e-4, "edge from {ours} to {node}: {found}, expected {expected}");
        }
        let errors = &found[counts.features..counts.first_token()];
        assert!(errors.iter().all(|error| error.abs() < 1e-4), "errors of {node}: {errors:?}");
    };
    let rows = |name: &str| -> Vec<Vec<f64>> {
        let numbers = floats(&truth[name].flatten_all().unwrap()).unwrap();
        numbers.chunks(all + prompt.len()).map(<[f64]>::to_vec).collect()
    };
    for (target, expected) in rows("of_targets").iter().enumerate() {
        // They leave out the first token.
        check(counts.first_target() + target, expected, 1.0, 1);
    }
    let of_features = rows("of_features");
    for (node, (one, known)) in graph.features.iter().zip(&known).enumerate() {
        check(node, &of_features[*known], norms[one.layer][one.feature], 0);
    }
}
