//! Tests of choosing edges by scores: circuits of an integer program and masks that begin with scores, beside other
//! programs; signs that are sure.

use serde_json::Value;

use crate::base::Task;
use crate::circuit::Circuit;
use crate::circuit::compiled::{CompiledModel, CompiledPairOptions, compiled};
use crate::circuit::edges::masks::{EdgePruningOptions, edge_pruning};
use crate::circuit::edges::*;
use crate::circuit::faithfulness::roc;
use crate::circuit::program::{ProgramOptions, ilp};

fn reference() -> (Circuit, Value) {
    let text = std::fs::read_to_string(kit::fixture("edges").join("gpt2").join("eap_ig.json")).unwrap();
    let graph = eap_file::parse(&text, true).unwrap();
    (Circuit::without_dictionaries(graph), kit::json(kit::fixture("edges").join("selection").join("gpt2.json")))
}

#[test]
fn circuits_of_the_program_have_the_sums_that_another_solver_finds() {
    let (all, reference) = reference();
    for program in reference["programs"].as_array().unwrap() {
        let count = program["count"].as_f64().unwrap();
        let options = ProgramOptions { negative: program["negative"].as_f64().unwrap() };
        let found = ilp(&all, count, options, &Task::default()).unwrap().graph;
        let sum: f64 = found.edges.iter().map(|edge| edge.effect.abs()).sum();
        let expected = program["sum"].as_f64().unwrap();
        assert!((sum - expected).abs() < 1e-9 * expected, "{program}: {sum}");
        assert_eq!(found.edges.len() as u64, program["edges"].as_u64().unwrap(), "{program}");
    }
}

/// Returns a model whose circuit is known, and pairs.
fn known(name: &str) -> (CompiledModel, Vec<TokenPair>) {
    let task = Task::default();
    let known = compiled(name).unwrap();
    let tokenizer = known.model.tokenizer().unwrap();
    let pairs = known.pairs(12, &CompiledPairOptions::default(), &task).unwrap();
    let pairs = pairs.iter().map(|pair| TokenPair::of("", pair, tokenizer, &task).unwrap()).collect();
    (known, pairs)
}

#[test]
fn scores_whose_sign_is_not_sure_are_0_and_the_others_stay() {
    let (known, pairs) = known("indirect object");
    let scored = |sure| {
        let options = EdgeOptions { method: EdgeMethod::EapIg, sure, ..EdgeOptions::default() };
        edges(&known.model, &pairs, Measure::LogitDiff, false, &options, &Task::default())
    };
    let all = scored(false).unwrap();
    let sure = scored(true).unwrap();
    let largest = all.largest();
    let mut zeros = 0;
    for (one, other) in all.edges.iter().zip(&sure.edges) {
        let is_same = (one.effect - other.effect).abs() < 1e-5 * largest;
        assert!(is_same || other.effect == 0.0, "{} is not {}", other.effect, one.effect);
        zeros += usize::from(other.effect == 0.0 && !is_same);
    }
    assert!(zeros > 0, "some edges change sign from pair to pair");
    assert!(sure.edges.iter().any(|edge| edge.effect != 0.0));
    let options = EdgeOptions { sure: true, ..EdgeOptions::default() };
    let error = edges(&known.model, &pairs[..1], Measure::LogitDiff, false, &options, &Task::default()).unwrap_err();
    assert_eq!(error.about.as_deref(), Some("pairs"));
}

#[test]
fn masks_that_begin_with_scores_are_few_at_once_and_find_the_known_circuit() {
    let (known, pairs) = known("sort");
    let options = EdgeOptions { method: EdgeMethod::Exact, ablation: EdgeAblation::Zero, ..EdgeOptions::default() };
    let task = Task::default();
    let scores = edges(&known.model, &pairs, Measure::LogitDiff, false, &options, &task).unwrap();
    let masks = |begin, steps| {
        let ablation = EdgeAblation::Zero;
        let pruning = EdgePruningOptions { steps, target: 0.07, ablation, ..EdgePruningOptions::default() };
        edge_pruning(&known.model, &pairs, begin, &pruning, &task).unwrap()
    };
    let share = |masks: &Graph| masks.edges.iter().map(|edge| edge.effect).sum::<f64>() / masks.edges.len() as f64;
    assert!(share(&masks(Some(&scores), 2)) < 0.2, "a tenth remains from the beginning");
    assert!(share(&masks(None, 2)) > 0.9);
    let found = masks(Some(&scores), 200);
    assert_eq!(roc(&found, &known.truth, found.edges.len()).unwrap().auc, 1.0);
    assert!((share(&found) - 0.07).abs() < 0.04);
}
