//! Tests of pruning by masks: the masked run against cut runs, and masks that find a known circuit.

use super::*;
use crate::circuit::ablations::Ablations;
use crate::circuit::compiled::{CompiledPairOptions, compiled};
use crate::circuit::edges::Wiring;
use crate::circuit::faithfulness::roc;
use crate::fixtures::{configs, decoder};
use crate::intervene::fixtures::pair;

/// Returns small models of all kinds that have edges.
fn models() -> Vec<Model> {
    let with_edges = configs().into_iter().filter(|config| Wiring::new(config).is_ok());
    let model = |config| Model::new(decoder(config, DType::F32), None, "a small model");
    with_edges.map(model).collect()
}

/// Returns pairs of two lengths.
fn pairs() -> Vec<TokenPair> {
    vec![
        pair([1, 2, 3, 4], [1, 5, 3, 4], [6, 7]),
        pair([8, 2, 9], [8, 2, 4], [1, 2]),
        pair([3, 3, 2, 1], [9, 3, 2, 1], [5, 8]),
    ]
}

#[test]
fn masks_of_0_and_1_are_runs_with_cut_edges() {
    let task = Task::default();
    for model in models() {
        for ablation in [EdgeAblation::Corrupt, EdgeAblation::Zero, EdgeAblation::Mean] {
            let pairs = pairs();
            let runs = EdgeRuns::new(&model, &pairs, Measure::LogitDiff, ablation, &task).unwrap();
            for turn in 0..3 {
                let kept: Vec<bool> = (0..runs.wiring.edges()).map(|edge| (edge * 7 + turn) % 3 != 0).collect();
                let wanted = runs.values(&kept, &task).unwrap();
                let masks: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(*kept))).collect();
                let masks = Tensor::new(masks, model.decoder.device()).unwrap();
                for texts in &runs.texts {
                    let found = floats(&texts.masked(&runs.wiring, &masks, &task).unwrap()).unwrap();
                    for (found, number) in found.iter().zip(&texts.numbers) {
                        assert!((found - wanted[*number]).abs() < 1e-3, "{found} is not {}", wanted[*number]);
                    }
                }
            }
        }
    }
}

#[test]
fn masks_find_the_edges_of_a_known_circuit() {
    let task = Task::default();
    let known = compiled("sort").unwrap();
    let tokenizer = known.model.tokenizer().unwrap();
    let pairs = known.pairs(12, &CompiledPairOptions::default(), &task).unwrap();
    let pairs: Vec<TokenPair> = pairs.iter().map(|pair| TokenPair::of("", pair, tokenizer, &task).unwrap()).collect();
    let options = EdgePruningOptions { target: 0.07, ablation: EdgeAblation::Zero, ..EdgePruningOptions::default() };
    let found = edge_pruning(&known.model, &pairs, None, &options, &task).unwrap();
    assert!(found.is_whole && found.edges.len() == 46);
    assert_eq!(roc(&found, &known.truth, 46).unwrap().auc, 1.0);
    // The share that remains is about what was asked for.
    let share = found.edges.iter().map(|edge| edge.effect).sum::<f64>() / 46.0;
    assert!((share - 0.07).abs() < 0.04, "{share}");
}

#[test]
fn probabilities_are_those_of_the_draws() {
    let a = Tensor::new(&[-3.0_f32, 0.0, 2.0], &crate::tensor::Device::Cpu).unwrap();
    let mut random = stream(0, "test", 0);
    let mut counts = [0.0; 3];
    for _ in 0..4000 {
        let noise: Vec<f32> = (0..3).map(|_| concrete::noise(&mut random)).collect();
        let drawn = concrete::drawn(&a, &Tensor::new(noise, a.device()).unwrap()).unwrap();
        let drawn = floats(&drawn).unwrap();
        assert!(drawn.iter().all(|mask| (0.0..=1.0).contains(mask)));
        counts.iter_mut().zip(drawn).for_each(|(count, mask)| *count += f64::from(u8::from(mask > 0.0)) / 4000.0);
    }
    for (count, wanted) in counts.iter().zip(floats(&concrete::remaining(&a).unwrap()).unwrap()) {
        assert!((count - wanted).abs() < 0.03, "{count} is not {wanted}");
    }
}
