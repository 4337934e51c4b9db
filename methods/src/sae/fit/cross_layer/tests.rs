//! Steps of cross-layer transcoders: fused against plain, against finite differences, against the transcoder of one layer;
//! and what a fit ends in.

use std::sync::Arc;

use kit::{far, largest};
use serde_json::json;

use super::plain::plain_loss;
use super::{CrossLayerShape, advance, advance_fused, advance_plain, draw, finished, start};
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::sae::About;
use crate::sae::fit::checkpoint::OF_LAYERS;
use crate::sae::fit::finish::SiteScale;
use crate::sae::fit::kinds::DictionaryKind;
use crate::sae::fit::params::{ParamName, Params};
use crate::sae::fit::tests::{Stops, close, kind, recipe};
use crate::sae::fit::{AuxK, Dead, EncoderProducts, ErrorNormalisation, FitBatch, FitRun, FitState, OfTensor, Recipe};
use crate::sae::transcoders::{Reads, TranscoderLayer};
use crate::tensor::{DType, Device, Tensor, create, floats};
use crate::training::CheckpointFolder;

const SHAPE: CrossLayerShape = CrossLayerShape { layers: 3, d_in: 6, d_sae: 14, d_out: 5 };

fn all_kinds() -> Vec<Arc<dyn DictionaryKind>> {
    vec![
        kind("topk", json!({ "k": 3 })),
        kind("batch_topk", json!({ "k": 3 })),
        kind("relu", json!({ "l1": 0.03 })),
        kind("relu", json!({ "l1": 0.03, "target": 2.0, "weighted": true })),
        kind("jumprelu", json!({ "l0": 0.1, "threshold": 0.05, "bandwidth": 0.3 })),
        kind("jumprelu", json!({ "target": 3.0, "threshold": 0.1, "bandwidth": 0.3 })),
    ]
}

fn drawn(dims: &[usize], turn: u64) -> Tensor {
    create::randn(dims, DType::F32, &mut stream(7, "rows", turn)).unwrap().affine(0.8, 0.2).unwrap()
}

fn batch(shape: CrossLayerShape, rows: usize, turn: u64) -> Vec<FitBatch> {
    let each = |width: usize, from: u64| {
        (0..shape.layers as u64).map(|layer| drawn(&[rows, width], 100 * turn + from + layer)).collect::<Vec<_>>()
    };
    // Outputs of different sizes, so that an error relative to the variance is another sum than one that is not.
    let targets = each(shape.d_out, 50).into_iter().enumerate().map(|(i, t)| (t * (1.0 + i as f64)).unwrap());
    each(shape.d_in, 0).into_iter().zip(targets).map(|(x, target)| FitBatch { x, target: Some(target) }).collect()
}

/// Builds a state in which no bias is 0.
fn started(recipe: &Recipe, shape: CrossLayerShape) -> Vec<FitState> {
    let mut random = stream(2, "weights", 0);
    let state = draw(recipe, &shape.of_layers(), &mut random, &Device::Cpu).unwrap();
    for parameter in state.iter().flat_map(|layer| &layer.params.all).filter(|p| p.name != ParamName::Decoder) {
        let noise = create::randn(parameter.weight.dims(), DType::F32, &mut random).unwrap();
        parameter.weight.set(&(parameter.weight.as_tensor() + (noise * 0.05).unwrap()).unwrap()).unwrap();
    }
    state
}

/// Makes some steps from one start by the fused loops and by candle's operations, and compares them.
#[track_caller]
fn agree(recipe: &Recipe, shape: CrossLayerShape, batches: &[Vec<FitBatch>]) {
    let mut fast = started(recipe, shape);
    let mut plain = started(recipe, shape);
    for (step, batch) in batches.iter().enumerate() {
        let what = format!("{} {:?} at step {step}", recipe.kind.name(), recipe.kind.options());
        let found = advance_fused(&mut fast, batch, recipe, 1.1).unwrap().expect(&what);
        let expected = advance_plain(&mut plain, batch, recipe).unwrap();
        close(found.loss, expected.loss, &format!("{what}, loss"));
        close(found.error, expected.error, &format!("{what}, error"));
        close(found.fve, expected.fve, &format!("{what}, fve"));
        close(found.l0, expected.l0, &format!("{what}, l0"));
        assert_eq!(found.dead, expected.dead, "{what}");
        for (fast, plain) in fast.iter().zip(&plain) {
            assert_eq!(fast.silent, plain.silent, "{what}");
            close(fast.price.factor(), plain.price.factor(), &what);
            close(fast.threshold.unwrap_or_default(), plain.threshold.unwrap_or_default(), &what);
            for (fast, plain) in fast.params.all.iter().zip(&plain.params.all) {
                for (fast, plain) in [(&fast.weight, &plain.weight), (&fast.moments[0], &plain.moments[0])] {
                    let worst = far(fast.as_detached_tensor(), plain.as_detached_tensor());
                    assert!(
                        worst < 1e-4 * largest(plain.as_tensor()).max(1.0),
                        "{what}: {:?} differs by {worst}",
                        plain.dims()
                    );
                }
            }
        }
    }
}

#[test]
fn the_fused_step_is_the_twins() {
    for shape in [SHAPE, CrossLayerShape { layers: 4, d_in: 17, d_sae: 131, d_out: 17 }] {
        let batches: Vec<_> = (0..6).map(|turn| batch(shape, 37, turn)).collect();
        for kind in all_kinds() {
            // With a smaller epsilon Adam divides gradients that are rounding error by rounding error.
            let plain = Recipe { dead_after: 64, eps: 1e-4, ..recipe(kind, ErrorNormalisation::Normalised) };
            let others = [
                Recipe { counting: ErrorNormalisation::Sum, clip: None, ..plain.clone() },
                Recipe { unit: plain.kind.properties().needs_unit, dead: Dead::Leave, ..plain.clone() },
                // Every feature is dead, also those that fire.
                Recipe {
                    dead_after: 0,
                    dead: Dead::AuxK(AuxK { k: 5, weight: 0.5, most: usize::MAX }),
                    ..plain.clone()
                },
            ];
            agree(&plain, shape, &batches);
            // Of one step: weights that differ in a last bit of f32 may differ in one of bf16.
            agree(&Recipe { compute: EncoderProducts::Bf16, ..plain.clone() }, shape, &batches[..1]);
            others.iter().for_each(|recipe| agree(recipe, shape, &batches[..3]));
        }
    }
}

#[test]
fn a_layer_that_writes_the_same_everywhere_counts_nothing() {
    let recipe = recipe(kind("topk", json!({ "k": 3 })), ErrorNormalisation::Normalised);
    let mut silent = batch(SHAPE, 37, 0);
    silent[1].target = Some(Tensor::full(0.7f32, (37, 5), &candle_core::Device::Cpu).unwrap());
    agree(&recipe, SHAPE, &[silent]);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for kind in all_kinds() {
        let recipe = Recipe { dead: Dead::Leave, ..recipe(kind, ErrorNormalisation::Normalised) };
        let mut state = started(&recipe, SHAPE);
        let mut batch = batch(SHAPE, 9, 3);
        for FitBatch { x, target } in &mut batch {
            *x = x.to_dtype(DType::F64).unwrap();
            *target = target.as_ref().map(|target| target.to_dtype(DType::F64).unwrap());
        }
        for layer in &mut state {
            let wide = |p: &crate::training::Parameter<ParamName>| (p.name, p.weight.to_dtype(DType::F64).unwrap());
            layer.params = Params::new(layer.params.all.iter().map(wide).collect()).unwrap();
        }
        let total = |state: &[FitState]| plain_loss(state, &batch, &recipe).unwrap().total;
        let store = total(&state).backward().unwrap();
        for (layer, of_layer) in state.iter().enumerate() {
            // Thresholds have estimates, which no difference shows.
            for parameter in of_layer.params.all.iter().filter(|parameter| parameter.name != ParamName::Threshold) {
                let gradient = store.get(&parameter.weight).map(|g| floats(g).unwrap());
                let start = floats(&parameter.weight).unwrap();
                for place in [0, start.len() / 2, start.len() - 1] {
                    let moved = |by: f64| {
                        let mut numbers = start.clone();
                        numbers[place] += by;
                        let set = |numbers| {
                            let like = &parameter.weight;
                            like.set(&Tensor::from_vec(numbers, like.dims(), like.device()).unwrap()).unwrap();
                        };
                        set(numbers);
                        let found = total(&state).to_scalar::<f64>().unwrap();
                        set(start.clone());
                        found
                    };
                    let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let found = gradient.as_ref().map_or(0.0, |g| g[place]);
                    let what = format!("{} {:?} of layer {layer} at {place}", recipe.kind.name(), parameter.name);
                    assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{what}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn one_layer_is_a_transcoder() {
    let shape = CrossLayerShape { layers: 1, ..SHAPE };
    for kind in all_kinds() {
        let recipe = recipe(kind, ErrorNormalisation::Normalised);
        let mut crossing = started(&recipe, shape);
        let weights = crossing[0].params.all.iter().map(|p| (p.name, p.weight.as_detached_tensor())).collect();
        let mut alone = FitState::new(Params::new(weights).unwrap(), shape.d_sae);
        for turn in 0..4 {
            let batch = batch(shape, 21, turn);
            let found = advance_fused(&mut crossing, &batch, &recipe, 1.1).unwrap().unwrap();
            let expected = alone.advance_fused(&batch[0], &recipe, 1.1).unwrap().unwrap();
            close(found.loss, expected.loss, recipe.kind.name());
            for (found, expected) in crossing[0].params.all.iter().zip(&alone.params.all) {
                let worst = far(found.weight.as_detached_tensor(), expected.weight.as_detached_tensor());
                assert!(worst < 1e-5, "{}: {worst}", recipe.kind.name());
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_end_a_step_and_change_nothing() {
    let recipe = recipe(kind("topk", json!({ "k": 3 })), ErrorNormalisation::Normalised);
    let mut state = started(&recipe, SHAPE);
    let weights = |state: &[FitState]| floats(state[2].params.get(ParamName::Encoder).unwrap()).unwrap();
    let before = weights(&state);
    let mut bad = batch(SHAPE, 8, 0);
    bad[1].target = Some((bad[1].target() * f64::NAN).unwrap());
    let fused = advance_fused(&mut state, &bad, &recipe, 1.1).err();
    for error in [fused, advance_plain(&mut state, &bad, &recipe).err()] {
        assert!(error.unwrap().message.contains("at step 1"));
    }
    assert_eq!((weights(&state), state[0].step), (before, 0));
}

/// Computes what transcoders reconstruct in each layer.
fn reconstructed(layers: &[TranscoderLayer], x: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut found: Vec<Option<Tensor>> = vec![None; layers.len()];
    for (number, (layer, x)) in layers.iter().zip(x).enumerate() {
        let codes = layer.fired(&layer.pre(x)?)?;
        let all: Vec<u32> = (0..layer.features() as u32).collect();
        let rows = layer.decoder.rows(&all)?;
        for (later, found) in found.iter_mut().enumerate().skip(number) {
            let written = codes.matmul(&rows.narrow(1, later - number, 1)?.squeeze(1)?.contiguous()?)?;
            *found = Some(match found.take() {
                Some(before) => (before + written)?,
                None => written,
            });
        }
    }
    let biases = layers.iter().map(|layer| layer.decoder_bias.clone().unwrap());
    found.into_iter().zip(biases).map(|(found, bias)| Ok(found.unwrap().broadcast_add(&bias)?)).collect()
}

#[test]
fn it_learns_and_ends_as_transcoders_that_do_the_same_in_the_models_units() {
    for kind in all_kinds() {
        let recipe = recipe(kind.clone(), ErrorNormalisation::Normalised);
        let shape = CrossLayerShape { d_out: 6, ..SHAPE };
        let mut state = draw(&recipe, &shape.of_layers(), &mut stream(3, "draw", 0), &Device::Cpu).unwrap();
        let raw = batch(shape, 40, 0);
        let input = |(i, x): (usize, &Tensor), from: f64| SiteScale {
            centre: x.mean(0).unwrap(),
            scale: from + 0.3 * i as f64,
        };
        let raw_x: Vec<Tensor> = raw.iter().map(|layer| layer.x.clone()).collect();
        let read: Vec<SiteScale> = raw_x.iter().enumerate().map(|x| input(x, 0.5)).collect();
        let written: Vec<SiteScale> = raw.iter().map(FitBatch::target).enumerate().map(|x| input(x, 0.8)).collect();
        let scaled = raw.iter().zip(read.iter().zip(&written)).map(|(layer, (read, written))| FitBatch {
            x: read.of(&layer.x).unwrap(),
            target: Some(written.of(layer.target()).unwrap()),
        });
        let batch: Vec<FitBatch> = scaled.collect();
        start(&mut state, &batch, &recipe, &Task::default()).unwrap();
        let errors: Vec<f64> = (0..150).map(|_| advance(&mut state, &batch, &recipe).unwrap().error).collect();
        assert!(errors[149] < 0.8 * errors[0], "{}: {} to {}", kind.name(), errors[0], errors[149]);
        let made = finished(&recipe, &state, &read, &written, Reads::MlpIn, None).unwrap();
        let found = reconstructed(made.layers(), &raw_x).unwrap();
        let expected = plain_loss(&state, &batch, &recipe).unwrap();
        if kind.name() == "batch_topk" {
            continue;
        }
        for ((found, target), step) in found.iter().zip(raw.iter().map(FitBatch::target)).zip(&expected.layers) {
            let left = (target - found).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let about = target.broadcast_sub(&target.mean_keepdim(0).unwrap()).unwrap();
            let about = about.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            close(1.0 - f64::from(left / about), step.fve.unwrap(), kind.name());
        }
    }
}

#[test]
fn a_fit_that_is_resumed_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
    let sites: Vec<Tensor> = (0..6).map(|turn| drawn(&[40, 5], turn)).collect();
    let fit = |dir: &str, steps: u64, stops: &[u64]| {
        let mut last = None;
        for stop in stops.iter().chain(&[u64::MAX]) {
            let kind = kind("batch_topk", json!({ "k": 2 }));
            let recipe = Recipe { steps, d_sae: 12, ..recipe(kind, ErrorNormalisation::Normalised) };
            let keep = CheckpointFolder { files: &files, folder: dir.into(), every: 1, fresh: false };
            let rows = Box::new(Stops { rows: OfTensor::several(&sites, 5).unwrap(), left: *stop });
            let run = FitRun::new(vec![(recipe, Some(keep))], rows, Some(Reads::MlpIn), &Task::default())?;
            last = Some(run.run(&About::default(), &Task::default()));
        }
        last.unwrap()?;
        Ok::<_, crate::base::Error>(std::fs::read(folder.path().join(dir).join(OF_LAYERS.file)).unwrap())
    };
    let whole = fit("whole", 9, &[]).unwrap();
    assert!(whole == fit("resumed", 9, &[3, 5]).unwrap());
    let error = fit("whole", 10, &[]).unwrap_err();
    assert!(error.message.ends_with("has steps 9, and this fit 10"), "{}", error.message);
}
