//! Fits against dictionary_learning, step by step.

use std::sync::Arc;

use serde_json::json;

use super::{kind, recipe};
use crate::sae::fit::kinds::DictionaryKind;
use crate::sae::fit::params::{ParamName, Params};
use crate::sae::fit::{AuxK, Dead, ErrorNormalisation, FitBatch, FitState, Recipe};
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, floats};
use crate::training::{Schedule, ScheduleShape};

/// One case of tests/saes/steps.py, whose result is the fixture.
struct StepCase {
    name: &'static str,
    kind: Arc<dyn DictionaryKind>,
    betas: [f64; 2],
    clip: Option<f64>,
    sparsity_warmup: u64,
    median: bool,
    dead_after: u64,
}

const STEPS: &[u8] = include_bytes!("../../../../../tests/fixtures/saes/steps.safetensors");

#[test]
fn steps_are_those_of_dictionary_learning() {
    let topk = |name, kind, dead_after| StepCase {
        name,
        kind,
        betas: [0.9, 0.999],
        clip: Some(1.0),
        sparsity_warmup: 0,
        median: true,
        dead_after,
    };
    let penalised = |name, kind, betas, clip| StepCase {
        name,
        kind,
        betas,
        clip,
        sparsity_warmup: 4,
        median: false,
        dead_after: u64::MAX,
    };
    let jumprelu = json!({
        "l0": 0.5, "target": 4.0, "bandwidth": 0.2, "estimate": "dictionary_learning"
    });
    let p_anneal = json!({ "l1": 0.1, "p_end": 0.4, "anneal_start": 2, "updates": 4 });
    let matryoshka = json!({ "k": 3, "prefixes": [4, 8, 16], "weights": [1.0 / 9.0, 1.0 / 9.0, 1.0 / 9.0] });
    let cases = [
        topk("topk", kind("topk", json!({ "k": 3 })), u64::MAX),
        topk("topk_dead", kind("topk", json!({ "k": 3 })), 48),
        topk("batch_topk", kind("batch_topk", json!({ "k": 3 })), u64::MAX),
        topk("batch_topk_dead", kind("batch_topk", json!({ "k": 3 })), 48),
        topk("matryoshka", kind("matryoshka", matryoshka), u64::MAX),
        penalised("relu", kind("relu", json!({ "l1": 0.2 })), [0.9, 0.999], None),
        penalised("p_anneal", kind("p_anneal", p_anneal), [0.9, 0.999], None),
        penalised("gated", kind("gated", json!({ "l1": 0.2 })), [0.0, 0.999], None),
        penalised("jumprelu", kind("jumprelu", jumprelu), [0.0, 0.999], Some(1.0)),
    ];
    let file = SafetensorsFile::new(STEPS).unwrap();
    for case in cases {
        agrees(&file, case);
    }
}

fn agrees(file: &SafetensorsFile<&[u8]>, case: StepCase) {
    let StepCase { name, kind, betas, clip, sparsity_warmup, median, dead_after } = case;
    let names = [
        ParamName::Encoder,
        ParamName::EncoderBias,
        ParamName::Decoder,
        ParamName::DecoderBias,
        ParamName::Threshold,
        ParamName::Gate,
        ParamName::LogScale,
    ];
    let tensor = |key: String| file.tensor(&key).ok();
    let start: Vec<_> = names.iter().filter_map(|n| Some((*n, tensor(format!("{name}.before.{}", n))?))).collect();
    let recipe = Recipe {
        steps: 8,
        lr: 3e-3,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 3, decay: 3, floor: 0.0 },
        betas,
        clip,
        sparsity_warmup,
        // Half the width, as the library has it; the weight of its auxiliary error.
        dead: Dead::AuxK(AuxK { k: 3, weight: 1.0 / 32.0, most: usize::MAX }),
        dead_after,
        ..recipe(kind, ErrorNormalisation::Sum)
    };
    let mut state = FitState::new(Params::new(start).unwrap(), 16);
    let x = tensor(format!("{name}.x")).unwrap();
    let losses = tensor(format!("{name}.losses")).unwrap();
    for (step, expected) in floats(&losses).unwrap().into_iter().enumerate() {
        let batch = FitBatch { x: x.get(step).unwrap(), target: None };
        if step == 0 && median {
            state.start(&batch, &recipe, &crate::base::Task::default()).unwrap();
        }
        let found = state.advance(&batch, &recipe).unwrap();
        assert!((found.loss - expected).abs() < 2e-5 * expected, "{name}, step {step}: {} {expected}", found.loss);
    }
    for parameter in &state.params.all {
        let expected = tensor(format!("{name}.after.{}", parameter.name)).unwrap();
        let difference = floats(&(expected - parameter.weight.as_detached_tensor()).unwrap()).unwrap();
        let worst = difference.iter().fold(0f64, |worst, d| worst.max(d.abs()));
        assert!(worst < 2e-5, "{name}: {} differs by {worst}", parameter.name);
    }
    if let Some(followed) = tensor(format!("{name}.followed"))
        && let Some(found) = state.threshold
    {
        let expected = floats(&followed).unwrap()[0];
        assert!((found - expected).abs() < 1e-5, "{name}: threshold {found} {expected}");
    }
}

#[test]
fn dead_features_begin_anew_where_rows_are_badly_reconstructed() {
    let file = SafetensorsFile::new(STEPS).unwrap();
    let tensor = |key: &str| file.tensor(&format!("resample.{key}")).unwrap();
    let ints = |key: &str| tensor(key).to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap();
    let names = [ParamName::Encoder, ParamName::EncoderBias, ParamName::Decoder, ParamName::DecoderBias];
    let start: Vec<_> = names.iter().map(|n| (*n, tensor(&format!("before.{}", n)))).collect();
    let recipe = Recipe {
        steps: 8,
        lr: 3e-3,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 3, decay: 3, floor: 0.0 },
        clip: None,
        sparsity_warmup: 4,
        dead: Dead::Leave,
        dead_after: 72,
        ..recipe(kind("relu", json!({ "l1": 0.2 })), ErrorNormalisation::Sum)
    };
    let mut state = FitState::new(Params::new(start).unwrap(), 16);
    let x = tensor("x");
    let losses = floats(&tensor("losses")).unwrap();
    for (step, expected) in losses.into_iter().enumerate() {
        let batch = FitBatch { x: x.get(step).unwrap(), target: None };
        let found = state.advance(&batch, &recipe).unwrap();
        assert!((found.loss - expected).abs() < 2e-5 * expected, "step {step}: {} {expected}", found.loss);
        // dictionary_learning resamples every fourth step, the first of them with nothing dead.
        if step == 4 {
            let dead: Vec<u32> = (0..16).filter(|feature| state.silent[*feature as usize] >= 72).collect();
            assert_eq!(dead, ints("features"));
            state.begin_anew(&dead, &ints("rows"), &batch, &recipe).unwrap();
        }
    }
    for parameter in &state.params.all {
        let expected = tensor(&format!("after.{}", parameter.name));
        let difference = floats(&(expected - parameter.weight.as_detached_tensor()).unwrap()).unwrap();
        assert!(difference.iter().all(|d| d.abs() < 2e-5), "{}: {difference:?}", parameter.name);
    }
}
