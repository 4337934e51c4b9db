//! The fused step against the reference implementation, step by step, on small and awkward shapes.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::random::stream;
use crate::sae::fit::kinds::DictionaryKind;
use crate::sae::fit::params::{ParamName, Params, unit_rows};
use crate::sae::fit::tests::{self, close, kind};
use crate::sae::fit::{
    AuxK, Dead, DictionaryShape, EncoderProducts, ErrorNormalisation, FitBatch, FitState, FitStep, Recipe,
};
use crate::tensor::{DType, Device, Tensor, create, floats};
use crate::training::{Schedule, ScheduleShape};
use kernels::InstructionSet;

fn kinds_that_take_part(d_sae: usize) -> Vec<Arc<dyn DictionaryKind>> {
    let jump = |more: Value| {
        let mut options = json!({ "l0": 0.1, "threshold": 0.05, "bandwidth": 0.3 });
        options.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        kind("jumprelu", options)
    };
    vec![
        kind("topk", json!({ "k": 3 })),
        // More than are above 0 in most rows.
        kind("topk", json!({ "k": 13 })),
        kind("batch_topk", json!({ "k": 3 })),
        kind("batch_topk", json!({ "k": 13 })),
        // An annealed k.
        kind("topk", json!({ "k": 3, "k_start": 9, "k_steps": 3 })),
        kind("batch_topk", json!({ "k": 3, "k_start": 9, "k_steps": 3 })),
        kind("relu", json!({ "l1": 0.03 })),
        kind("relu", json!({ "l1": 0.03, "weighted": true })),
        kind("tied", json!({ "l1": 0.03 })),
        jump(json!({})),
        jump(json!({ "target": 4.0, "estimate": "dictionary_learning" })),
        // Thresholds below 0 let pre-activations through that are no codes.
        jump(json!({ "threshold": -0.1, "target": 4.0 })),
        // An adaptive penalty.
        kind("relu", json!({ "l1": 0.03, "target": 2.0 })),
        kind("p_anneal", json!({ "l1": 0.03, "p_end": 0.5, "anneal_start": 1, "updates": 4 })),
        kind("gated", json!({ "l1": 0.03 })),
        kind("gated", json!({ "l1": 0.03, "target": 2.0 })),
        // One feature in the first prefix; a prefix whose error counts nothing.
        kind("matryoshka", json!({ "k": 3, "prefixes": [1, d_sae / 2, d_sae] })),
        kind("matryoshka", json!({ "k": 5, "prefixes": [d_sae / 3, d_sae / 2, d_sae], "weights": [0.5, 0.0, 2.0] })),
        kind("matryoshka", json!({ "k": 3, "k_start": 9, "k_steps": 3, "prefixes": [d_sae] })),
    ]
}

fn recipe(kind: Arc<dyn DictionaryKind>) -> Recipe {
    Recipe {
        d_sae: 0,
        steps: 20,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 3, decay: 3, floor: 0.0 },
        sparsity_warmup: 4,
        dead_after: 64,
        scaled: false,
        ..tests::recipe(kind, ErrorNormalisation::Sum)
    }
}

fn started(recipe: &Recipe, shape: DictionaryShape) -> FitState {
    let mut random = stream(2, "weights", 0);
    let params = Params::draw(recipe, shape, &mut random, &Device::Cpu).unwrap();
    for parameter in params.all.iter().filter(|parameter| parameter.name != ParamName::Decoder) {
        let noise = create::randn(parameter.weight.dims(), DType::F32, &mut random).unwrap();
        parameter.weight.set(&(parameter.weight.as_tensor() + (noise * 0.05).unwrap()).unwrap()).unwrap();
    }
    FitState::new(params, shape.d_sae)
}

fn rows(seed: u64, count: usize, width: usize) -> Tensor {
    let x = create::randn(&[count, width], DType::F32, &mut stream(seed, "rows", 0)).unwrap();
    x.affine(0.8, 0.2).unwrap()
}

#[track_caller]
fn same_step(found: FitStep, expected: FitStep, what: &str) {
    close(found.loss, expected.loss, &format!("{what}, loss"));
    close(found.error, expected.error, &format!("{what}, error"));
    close(found.fve, expected.fve, &format!("{what}, fve"));
    assert_eq!((found.l0, found.dead), (expected.l0, expected.dead), "{what}");
}

/// Makes some steps from one start by the fused loops and by candle's operations, and compares them.
#[track_caller]
fn agree(recipe: &Recipe, shape: DictionaryShape, batches: &[FitBatch]) {
    let mut fast = started(recipe, shape);
    let mut plain = started(recipe, shape);
    for (step, batch) in batches.iter().enumerate() {
        let what = format!("{} {:?} {shape:?} at step {step}", recipe.kind.name(), recipe.kind.options());
        let found = fast.advance_fused(batch, recipe, 1.1).unwrap().expect(&what);
        same_step(found, plain.advance_plain(batch, recipe).unwrap(), &what);
        assert_eq!(fast.silent, plain.silent, "{what}");
        assert_eq!(fast.threshold.is_some(), plain.threshold.is_some());
        let memories = fast.memory.iter().zip(&plain.memory);
        assert_eq!(fast.memory.len(), plain.memory.len());
        memories.for_each(|(fast, plain)| close(*fast, *plain, &what));
        close(fast.price.factor(), plain.price.factor(), &what);
        close(fast.threshold.unwrap_or_default(), plain.threshold.unwrap_or_default(), &what);
        for (fast, plain) in fast.params.all.iter().zip(&plain.params.all) {
            // Means of gradients first: Adam makes a whole step of a gradient that is nothing but rounding.
            for (what_of, fast, plain) in
                [("mean", &fast.moments[0], &plain.moments[0]), ("weight", &fast.weight, &plain.weight)]
            {
                let difference = (fast.as_detached_tensor() - plain.as_detached_tensor()).unwrap();
                let worst = floats(&difference).unwrap().into_iter().fold(0f64, |worst, d| worst.max(d.abs()));
                assert!(worst < 1e-4, "{what}: the {what_of} of {:?} differs by {worst}", plain.dims());
            }
        }
    }
}

fn batches(count: usize, rows_of_each: usize, width: usize) -> Vec<FitBatch> {
    (0..count).map(|i| FitBatch { x: rows(i as u64, rows_of_each, width), target: None }).collect()
}

#[test]
fn every_kind_steps_as_its_twin_does() {
    let shapes =
        [DictionaryShape { d_in: 5, d_sae: 14, d_out: 5 }, DictionaryShape { d_in: 37, d_sae: 131, d_out: 37 }];
    for shape in shapes {
        for kind in kinds_that_take_part(shape.d_sae) {
            agree(&recipe(kind), shape, &batches(8, 17, shape.d_in));
        }
    }
}

#[test]
fn a_step_of_many_features_is_the_twins_too() {
    let shape = DictionaryShape { d_in: 64, d_sae: 520, d_out: 64 };
    for kind in kinds_that_take_part(shape.d_sae) {
        agree(&recipe(kind), shape, &batches(2, 50, shape.d_in));
    }
}

#[test]
fn what_a_recipe_asks_for_is_done_alike() {
    let shape = DictionaryShape { d_in: 9, d_sae: 40, d_out: 9 };
    for kind in kinds_that_take_part(shape.d_sae) {
        let plain = recipe(kind.clone());
        let recipes = [
            Recipe { counting: ErrorNormalisation::Mean, clip: None, ..plain.clone() },
            Recipe { counting: ErrorNormalisation::Normalised, dead: Dead::Leave, ..plain.clone() },
            Recipe { unit: kind.properties().needs_unit, betas: [0.0, 0.9], ..plain.clone() },
            // Every feature is dead, also those that fire.
            Recipe { dead_after: 0, dead: Dead::AuxK(AuxK { k: 50, weight: 0.5, most: usize::MAX }), ..plain.clone() },
            // More are dead than the loss acts with.
            Recipe { dead_after: 0, dead: Dead::AuxK(AuxK { k: 50, weight: 0.5, most: 39 }), ..plain },
        ];
        for recipe in recipes {
            agree(&recipe, shape, &batches(3, 12, shape.d_in));
        }
    }
}

/// Checks one step of each kind by products of bf16, since weights that differ in a last bit of f32 may differ in one of bf16 after
/// it. A tied kind's rows, which are normalised in the step, do so before.
#[test]
fn products_of_bf16_are_the_twins_too() {
    for (d_in, d_sae, is_dead) in [(9, 40, false), (9, 40, true), (64, 520, false)] {
        let shape = DictionaryShape { d_in, d_sae, d_out: d_in };
        for kind in kinds_that_take_part(d_sae).into_iter().filter(|kind| !kind.properties().is_tied) {
            let rounded = Recipe { compute: EncoderProducts::Bf16, ..recipe(kind) };
            let dead = Recipe {
                dead_after: 0,
                dead: Dead::AuxK(AuxK { k: 50, weight: 0.5, most: usize::MAX }),
                ..rounded.clone()
            };
            agree(if is_dead { &dead } else { &rounded }, shape, &batches(1, 50, d_in));
        }
    }
}

#[test]
fn products_of_bf16_are_in_a_step_of_the_fused_loops() {
    let shape = DictionaryShape { d_in: 64, d_sae: 520, d_out: 64 };
    for kind in kinds_that_take_part(shape.d_sae) {
        let [plain, rounded] = [EncoderProducts::F32, EncoderProducts::Bf16].map(|compute| {
            let recipe = Recipe { compute, ..recipe(kind.clone()) };
            started(&recipe, shape).advance_fused(&batches(1, 50, 64)[0], &recipe, 1.1).unwrap().unwrap()
        });
        assert_ne!(rounded.error, plain.error, "{}", kind.name());
        assert!((rounded.error / plain.error - 1.0).abs() < 0.01, "{}: {} {}", kind.name(), rounded.error, plain.error);
    }
}

#[test]
fn a_transcoder_steps_as_its_twin_does() {
    let shape = DictionaryShape { d_in: 6, d_sae: 21, d_out: 11 };
    for kind in kinds_that_take_part(shape.d_sae).into_iter().filter(|kind| !kind.properties().is_tied) {
        let batch = |i| FitBatch { x: rows(i, 10, 6), target: Some(rows(i + 9, 10, 11)) };
        let batches: Vec<_> = (0..3).map(batch).collect();
        agree(&recipe(kind.clone()), shape, &batches);
        agree(&Recipe { skip: true, counting: ErrorNormalisation::Normalised, ..recipe(kind) }, shape, &batches);
    }
}

#[test]
fn a_crosscoder_steps_as_its_twin_does() {
    let shape = DictionaryShape { d_in: 9, d_sae: 30, d_out: 9 };
    for options in [json!({ "l1": 0.05, "widths": [2, 7] }), json!({ "target": 3.0, "widths": [3, 3, 3] })] {
        let recipe = Recipe { unit: false, ..recipe(kind("crosscoder", options)) };
        agree(&recipe, shape, &batches(6, 20, shape.d_in));
    }
}

#[test]
fn of_equal_codes_both_take_the_first() {
    let shape = DictionaryShape { d_in: 4, d_sae: 40, d_out: 4 };
    // 3 of each of 7 equal rows; 21 of all, which the first row has.
    for (name, count) in [("topk", 3), ("batch_topk", 21)] {
        let recipe = recipe(kind(name, json!({ "k": 3 })));
        // Features that are all the same, and rows that are.
        let same = unit_rows(&Tensor::ones((40, 4), DType::F32, &candle_core::Device::Cpu).unwrap()).unwrap();
        let x = Tensor::ones((7, 4), DType::F32, &candle_core::Device::Cpu).unwrap();
        let states = [(); 2].map(|()| {
            let state = started(&recipe, shape);
            for parameter in &state.params.all {
                let zeros = || parameter.weight.as_detached_tensor().zeros_like().unwrap();
                let is_matrix = parameter.weight.dims().len() == 2;
                parameter.weight.set(&if is_matrix { same.clone() } else { zeros() }).unwrap();
            }
            state
        });
        let [mut fast, mut plain] = states;
        let batch = FitBatch { x, target: None };
        fast.advance_fused(&batch, &recipe, 1.0).unwrap().unwrap();
        plain.advance_plain(&batch, &recipe).unwrap();
        assert_eq!(fast.silent, plain.silent, "{name}");
        assert_eq!(fast.silent.iter().filter(|rows| **rows == 0).count(), count);
    }
}

#[test]
fn a_step_is_the_same_again_and_with_fewer_instructions() {
    let shape = DictionaryShape { d_in: 19, d_sae: 70, d_out: 19 };
    for kind in kinds_that_take_part(shape.d_sae) {
        let recipe = recipe(kind);
        let weights = || {
            let mut state = started(&recipe, shape);
            for batch in batches(3, 33, shape.d_in) {
                state.advance_fused(&batch, &recipe, 1.1).unwrap().unwrap();
            }
            let encoder = state.params.get(ParamName::Encoder).unwrap().as_detached_tensor();
            encoder.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let best = weights();
        assert_eq!(weights(), best);
        for level in InstructionSet::ALL {
            let fewer = level.limit(weights);
            assert!(fewer.iter().zip(&best).all(|(a, b)| (a - b).abs() < 1e-4), "{level:?}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_end_a_step_and_change_nothing() {
    for kind in kinds_that_take_part(14) {
        for bad in [f32::NAN, f32::INFINITY] {
            let recipe = recipe(kind.clone());
            let mut state = started(&recipe, DictionaryShape { d_in: 5, d_sae: 14, d_out: 5 });
            let before = floats(state.params.get(ParamName::Encoder).unwrap()).unwrap();
            let mut numbers = vec![0.5; 40];
            numbers[17] = bad;
            let x = Tensor::from_vec(numbers, (8, 5), &candle_core::Device::Cpu).unwrap();
            let error = state.advance_fused(&FitBatch { x, target: None }, &recipe, 1.1).unwrap_err();
            assert!(error.message.contains("at step 1"), "{}", error.message);
            assert_eq!(floats(state.params.get(ParamName::Encoder).unwrap()).unwrap(), before);
            assert_eq!((state.step, state.silent), (0, vec![0; 14]));
        }
    }
}

#[test]
fn constant_rows_and_zeros_are_fitted_too() {
    let shape = DictionaryShape { d_in: 5, d_sae: 14, d_out: 5 };
    for kind in kinds_that_take_part(shape.d_sae) {
        for number in [0.0, 0.7f32] {
            let recipe = Recipe { dead_after: 8, ..recipe(kind.clone()) };
            let x = Tensor::full(number, (8, 5), &candle_core::Device::Cpu).unwrap();
            let mut state = started(&recipe, shape);
            for _ in 0..4 {
                let batch = FitBatch { x: x.clone(), target: None };
                let found = state.advance_fused(&batch, &recipe, 1.1).unwrap().unwrap();
                assert!(found.loss.is_finite());
            }
        }
    }
}

#[test]
fn many_codes_are_left_to_the_twin() {
    let shape = DictionaryShape { d_in: 5, d_sae: 14, d_out: 5 };
    let recipe = recipe(kind("relu", json!({ "l1": 0.03 })));
    let mut state = started(&recipe, shape);
    let batch = &batches(1, 17, 5)[0];
    assert!(state.advance_fused(batch, &recipe, 0.1).unwrap().is_none());
    assert_eq!(state.step, 0);
    assert!(state.advance(batch, &recipe).unwrap().l0 > 1.4);
    assert_eq!(state.step, 1);
}

#[test]
fn rows_that_do_not_fit_are_the_twins_to_refuse() {
    let recipe = recipe(kind("topk", json!({ "k": 3 })));
    let mut state = started(&recipe, DictionaryShape { d_in: 5, d_sae: 14, d_out: 5 });
    assert!(state.advance_fused(&batches(1, 17, 6)[0], &recipe, 1.0).unwrap().is_none());
    assert!(state.advance(&batches(1, 17, 6)[0], &recipe).is_err());
}
