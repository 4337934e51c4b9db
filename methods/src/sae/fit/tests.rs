//! Fits against finite differences and interruptions.

mod rounded;
mod sites;
mod soft_topk;
mod steps;

use std::sync::Arc;

use kit::within;
use serde_json::{Value, json};

use super::kinds::{self, DictionaryKind};
use super::loss::{FitBatch, StepState, loss};
use super::params::{ParamName, Params, unit_rows};
use super::*;
use crate::base::Task;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::base::random::stream;
use crate::sae::About;
use crate::tensor::{DType, Device, Tensor, create, floats};
use crate::training::{CheckpointFolder, Schedule, ScheduleShape};

const SHAPE: DictionaryShape = DictionaryShape { d_in: 5, d_sae: 12, d_out: 5 };

/// A kind by its name, with its options as JSON.
pub(in crate::sae) fn kind(name: &str, options: Value) -> Arc<dyn DictionaryKind> {
    of_json(name, options).unwrap()
}

fn of_json(name: &str, options: Value) -> crate::base::Result<Arc<dyn DictionaryKind>> {
    let options = options.as_object().unwrap();
    kinds::kind(name, &options.iter().map(|(key, value)| (key.as_str(), value.into())).collect::<Vec<_>>())
}

/// Asserts that a number is as near to another way of computing it as the rounding of a step leaves it.
#[track_caller]
pub(super) fn close(found: f64, expected: f64, what: &str) {
    assert!(within(found, expected, 2e-4, 2e-6), "{what}: {found} instead of {expected}");
}

fn all_kinds() -> Vec<Arc<dyn DictionaryKind>> {
    vec![
        kind("tied", json!({ "l1": 0.03 })),
        kind("relu", json!({ "l1": 0.03 })),
        kind("relu", json!({ "l1": 0.03, "weighted": true })),
        kind("topk", json!({ "k": 3 })),
        kind("batch_topk", json!({ "k": 3 })),
        kind("gated", json!({ "l1": 0.03 })),
        kind("matryoshka", json!({ "k": 3, "prefixes": [4, 8, 12] })),
        kind("matching_pursuit", json!({ "k": 3 })),
        // At step 60 of 100 the scale is 0.3; the second has only its largest codes.
        kind("soft_topk", json!({ "k": 3, "alpha": 0.3 })),
        kind("soft_topk", json!({ "k": 3, "hard_steps": 50 })),
        // At step 60 of 100 an annealed k is 5.
        kind("topk", json!({ "k": 3, "k_start": 8, "k_steps": 100 })),
        kind("jumprelu", json!({ "l0": 0.1, "threshold": 0.05, "bandwidth": 0.2 })),
        kind("crosscoder", json!({ "l1": 0.03, "widths": [2, 3] })),
        // At step 60 of 100 p is 0.75.
        kind("p_anneal", json!({ "l1": 0.03, "p_end": 0.5, "anneal_start": 0, "updates": 3 })),
    ]
}

pub(in crate::sae) fn recipe(kind: Arc<dyn DictionaryKind>, counting: ErrorNormalisation) -> Recipe {
    Recipe {
        unit: !kind.properties().is_tied,
        kind,
        d_sae: 12,
        steps: 100,
        batch: 16,
        lr: 1e-2,
        schedule: Schedule { shape: ScheduleShape::Constant, warmup: 0, decay: 0, floor: 0.0 },
        betas: [0.9, 0.999],
        eps: 1e-8,
        clip: Some(1.0),
        sparsity_warmup: 0,
        counting,
        dead: Dead::AuxK(AuxK { k: 2, weight: 0.5, most: usize::MAX }),
        dead_after: 32,
        scaled: true,
        compute: EncoderProducts::F32,
        skip: false,
        follows: 0.999,
        seed: 0,
    }
}

pub(super) fn rows(count: usize, dtype: DType) -> Tensor {
    let x = create::randn(&[count, SHAPE.d_in], dtype, &mut stream(1, "rows", 0)).unwrap();
    (x.affine(1.5, 0.3)).unwrap()
}

/// Returns weights in double precision, shaken so that no bias is 0.
fn shaken(recipe: &Recipe) -> Vec<(ParamName, Tensor)> {
    let mut random = stream(2, "weights", 0);
    let params = Params::draw(recipe, SHAPE, &mut random, &Device::Cpu).unwrap();
    let shake = |t: &Tensor, random: &mut _| {
        let noise = create::randn(t.dims(), DType::F64, random).unwrap();
        (t.to_dtype(DType::F64).unwrap() + (noise * 0.05).unwrap()).unwrap()
    };
    params.all.iter().map(|p| (p.name, shake(&p.weight.as_detached_tensor(), &mut random))).collect()
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for kind in all_kinds() {
        // Straight-through estimates and what counts as fixed are shown by no difference.
        let is_estimated = |name: ParamName| match kind.name() {
            "jumprelu" => name == ParamName::Threshold,
            "gated" => matches!(name, ParamName::Decoder | ParamName::DecoderBias),
            _ => false,
        };
        for counting in [ErrorNormalisation::Mean, ErrorNormalisation::Sum, ErrorNormalisation::Normalised] {
            let recipe = recipe(kind.clone(), counting);
            let weights = shaken(&recipe);
            let batch = FitBatch { x: rows(9, DType::F64), target: None };
            let at = |weights: &[(ParamName, Tensor)]| {
                let params = Params::new(weights.to_vec()).unwrap();
                let before = StepState { step: 60, silent: &[0; 12], memory: &[0.05], price: 0.7 };
                let found = loss(&recipe, &params, &batch, before).unwrap();
                (found.total, params)
            };
            let (total, params) = at(&weights);
            let store = total.backward().unwrap();
            for (index, parameter) in params.all.iter().enumerate() {
                if is_estimated(parameter.name) {
                    continue;
                }
                let gradient = store.get(&parameter.weight).map(|g| floats(g).unwrap());
                let start = floats(&weights[index].1).unwrap();
                for place in [0, start.len() / 2, start.len() - 1] {
                    let moved = |by: f64| {
                        let mut numbers = start.clone();
                        numbers[place] += by;
                        let mut weights = weights.clone();
                        let like = &weights[index].1;
                        weights[index].1 = Tensor::from_vec(numbers, like.dims(), like.device()).unwrap();
                        at(&weights).0.to_scalar::<f64>().unwrap()
                    };
                    let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let found = gradient.as_ref().map_or(0.0, |g| g[place]);
                    let message = format!("{} {:?} {counting:?} at {place}", kind.name(), parameter.name);
                    assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{message}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn every_kind_learns_and_ends_as_a_dictionary_that_does_the_same() {
    for kind in all_kinds() {
        let recipe = recipe(kind.clone(), ErrorNormalisation::Sum).checked(SHAPE).unwrap();
        let params = Params::draw(&recipe, SHAPE, &mut stream(3, "draw", 0), &Device::Cpu).unwrap();
        let mut state = FitState::new(params, SHAPE.d_sae);
        let x = rows(64, DType::F32);
        let centre = x.mean(0).unwrap();
        let input = SiteScale { centre, scale: 0.4 };
        let batch = FitBatch { x: input.of(&x).unwrap(), target: None };
        let losses: Vec<f64> = (0..200).map(|_| state.advance(&batch, &recipe).unwrap().error).collect();
        assert!(losses[199] < 0.6 * losses[0], "{}: {} to {}", kind.name(), losses[0], losses[199]);
        let sae = finished(&recipe, &state.params, state.threshold, &input, None, About::default()).unwrap();
        let norms = floats(&sae.directions().sqr().unwrap().sum(1).unwrap()).unwrap();
        assert!(norms.iter().all(|norm| (norm - 1.0).abs() < 1e-5), "{}", kind.name());
        // What the fit itself makes of the rows, in the activations' own units.
        let found = state.loss(&batch, &recipe).unwrap();
        let expected = (x.clone() - (found.rest / 0.4).unwrap()).unwrap();
        if !matches!(kind.name(), "batch_topk" | "matryoshka") {
            let difference = floats(&(sae.reconstruct(&x).unwrap() - expected).unwrap()).unwrap();
            assert!(difference.iter().all(|d| d.abs() < 1e-4), "{}: {difference:?}", kind.name());
        }
    }
}

#[test]
fn dead_features_are_counted_and_learn_from_what_is_left() {
    // How far the encoder's rows of dead features move in twenty steps.
    let moved = |dead: Dead| {
        let recipe = Recipe { dead, ..recipe(kind("topk", json!({ "k": 1 })), ErrorNormalisation::Sum) };
        let params = Params::draw(&recipe, SHAPE, &mut stream(3, "draw", 0), &Device::Cpu).unwrap();
        let mut state = FitState::new(params, SHAPE.d_sae);
        let batch = FitBatch { x: unit_rows(&rows(4, DType::F32)).unwrap(), target: None };
        let step = |state: &mut FitState| state.advance(&batch, &recipe).unwrap().dead;
        let counts: Vec<usize> = (0..8).map(|_| step(&mut state)).collect();
        assert_eq!(counts[..7], [0; 7]);
        assert!(counts[7] >= 8, "{counts:?}");
        let before = state.params.get(ParamName::Encoder).unwrap().as_detached_tensor().copy().unwrap();
        (0..20).for_each(|_| assert!(step(&mut state) >= 6));
        let after = state.params.get(ParamName::Encoder).unwrap().as_detached_tensor();
        let difference = floats(&(after - before).unwrap().abs().unwrap().sum(1).unwrap()).unwrap();
        (0..12).filter(|i| state.silent[*i] >= 32).map(|i| difference[i]).sum::<f64>()
    };
    let left = moved(Dead::Leave);
    let helped = moved(Dead::AuxK(AuxK { k: 2, weight: 0.5, most: usize::MAX }));
    assert!(helped > 10.0 * left, "{left} {helped}");
}

#[test]
fn every_kind_begins_dead_features_anew() {
    for kind in all_kinds() {
        let dead = Dead::Resample { after: vec![3] };
        let recipe = Recipe { dead, dead_after: 0, lr: 1e-9, ..recipe(kind, ErrorNormalisation::Sum) };
        let mut state =
            FitState::new(Params::draw(&recipe, SHAPE, &mut stream(3, "draw", 0), &Device::Cpu).unwrap(), SHAPE.d_sae);
        let batch = FitBatch { x: rows(8, DType::F32), target: None };
        for _ in 0..3 {
            state.advance(&batch, &recipe).unwrap();
        }
        // All are dead, and the eight rows are given to the first of them.
        let name = if recipe.kind.properties().is_tied { ParamName::Encoder } else { ParamName::Decoder };
        let of = |name| unit_rows(&state.params.get(name).unwrap().as_detached_tensor()).unwrap();
        let same = of(name).matmul(&unit_rows(&batch.x).unwrap().t().unwrap()).unwrap().to_vec2::<f32>().unwrap();
        let mut given: Vec<usize> =
            same.iter().take(8).filter_map(|row| row.iter().position(|cosine| *cosine > 0.99999)).collect();
        given.sort_unstable();
        assert_eq!(given, [0, 1, 2, 3, 4, 5, 6, 7], "{}", recipe.kind.name());
        let is_of_features = |name: ParamName| !matches!(name, ParamName::DecoderBias | ParamName::Own(_));
        for parameter in state.params.all.iter().filter(|p| is_of_features(p.name)) {
            let first = parameter.moments[0].as_detached_tensor().narrow(0, 0, 8).unwrap();
            assert!(floats(&first).unwrap().iter().all(|x| *x == 0.0), "{:?}", parameter.name);
        }
    }
}

#[test]
fn options_that_a_kind_has_not_are_refused() {
    let error = |name: &str, value: Value| of_json(name, value).unwrap_err();
    assert_eq!(error("tpk", json!({})).message, "unknown kind of dictionary `tpk`");
    assert_eq!(error("topk", json!({ "k": 3, "l1": 1 })).message, "expected no `l1` for the kind \"topk\"");
    assert_eq!(error("topk", json!({})).message, "expected an integer of at least 0 for `k`, found nothing");
    let wide = recipe(kind("topk", json!({ "k": 13 })), ErrorNormalisation::Sum).checked(SHAPE).unwrap_err();
    assert_eq!(wide.message, "expected `k` from 1 to 12, the number of features, found 13");
}

#[test]
fn the_geometric_median_is_not_moved_by_one_far_row() {
    let mut numbers = vec![0.0; 22];
    (0..10).for_each(|i| numbers[2 * i] = (i as f64 - 4.5) * 0.1);
    numbers[20] = 0.0;
    numbers[21] = 1e6;
    let rows = Tensor::from_vec(numbers, (11, 2), &candle_core::Device::Cpu).unwrap();
    let median = floats(&geometric_median(&rows, &crate::base::Task::default()).unwrap()).unwrap();
    assert!(median[0].abs() < 0.1 && median[1].abs() < 0.2, "{median:?}");
}

#[test]
fn a_fit_that_is_resumed_ends_with_the_same_bytes() {
    let plain = recipe(kind("batch_topk", json!({ "k": 2 })), ErrorNormalisation::Sum);
    let falling = json!({ "l1": 0.03, "anneal_start": 1, "updates": 5 });
    let dead = Dead::Resample { after: vec![4, 7] };
    let resampled = Recipe { dead, dead_after: 16, ..recipe(kind("topk", json!({ "k": 1 })), ErrorNormalisation::Sum) };
    for recipe in [plain, recipe(kind("p_anneal", falling), ErrorNormalisation::Sum), resampled] {
        resumes(Recipe { steps: 9, ..recipe });
    }
}

/// Makes one fit by itself, without checkpoints.
pub(super) fn alone(recipe: Recipe, rows: Box<dyn ActivationRows + '_>) -> crate::base::Result<FitResult> {
    let task = Task::default();
    Ok(FitRun::new(vec![(recipe, None)], rows, None, &task)?.run(&About::default(), &task)?.remove(0))
}

fn resumes(recipe: Recipe) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
    let x = rows(40, DType::F32);
    let fit = |dir: &str, stops: &[u64]| {
        let mut last = None;
        for stop in stops.iter().chain(&[u64::MAX]) {
            let keep = CheckpointFolder { files: &files, folder: dir.into(), every: 1, fresh: false };
            let rows = Stops { rows: OfTensor::new(&x, 5).unwrap(), left: *stop };
            let run = FitRun::new(vec![(recipe.clone(), Some(keep))], Box::new(rows), None, &Task::default()).unwrap();
            last = Some(run.run(&About::default(), &Task::default()));
        }
        let fitted = last.unwrap().unwrap().remove(0);
        (std::fs::read(folder.path().join(dir).join(checkpoint::FORMAT.file)).unwrap(), fitted)
    };
    let (whole, fitted) = fit("whole", &[]);
    let (resumed, again) = fit("resumed", &[3, 5]);
    assert!(whole == resumed);
    assert_eq!(fitted.history, again.history);
    assert_eq!(fitted.history.steps.len(), 9);
    let codes = |fitted: FitResult| floats(&fitted.made.dictionary().unwrap().encode(&x).unwrap()).unwrap();
    assert_eq!(codes(fitted), codes(again));
    let other = Recipe { steps: 10, ..recipe };
    let keep = CheckpointFolder { files: &files, folder: "whole".into(), every: 1, fresh: false };
    let rows = Box::new(OfTensor::new(&x, 5).unwrap());
    let error = FitRun::new(vec![(other, Some(keep))], rows, None, &Task::default()).err().unwrap();
    assert!(error.message.ends_with("has steps 9, and this fit 10"), "{}", error.message);
}

/// Rows that fail after so many batches, as a disk may.
pub(super) struct Stops {
    pub(super) rows: OfTensor,
    pub(super) left: u64,
}

impl ActivationRows for Stops {
    fn next(&mut self, rows: usize, task: &Task) -> crate::base::Result<Vec<Tensor>> {
        if self.left == 0 {
            return Err(crate::err!(File, "cannot read on"));
        }
        self.left -= 1;
        self.rows.next(rows, task)
    }

    fn skip(&mut self, rows: u64, task: &Task) -> crate::base::Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        self.rows.about()
    }
}

#[test]
fn rows_of_a_tensor_come_once_an_epoch_and_are_left_out_alike() {
    let x = Tensor::arange(0f32, 14.0, &candle_core::Device::Cpu).unwrap().reshape((7, 2)).unwrap();
    let task = Task::default();
    let mut all = OfTensor::new(&x, 3).unwrap();
    let first: Vec<f64> = floats(&all.next(7, &task).unwrap()[0]).unwrap().into_iter().step_by(2).collect();
    let mut sorted = first.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    let rest = floats(&all.next(10, &task).unwrap()[0]).unwrap();
    let mut other = OfTensor::new(&x, 3).unwrap();
    other.skip(7, &task).unwrap();
    assert_eq!(floats(&other.next(10, &task).unwrap()[0]).unwrap(), rest);
    assert!(OfTensor::new(&Tensor::zeros((0, 2), DType::F32, &candle_core::Device::Cpu).unwrap(), 0).is_err());
}

#[test]
fn constant_activations_and_one_row_are_fitted_and_nan_is_refused() {
    let fit = |x: &Tensor| {
        let recipe = Recipe { steps: 5, batch: 4, ..recipe(kind("topk", json!({ "k": 2 })), ErrorNormalisation::Sum) };
        alone(recipe, Box::new(OfTensor::new(x, 0).unwrap()))
    };
    let constant = Tensor::full(3f32, (6, 5), &candle_core::Device::Cpu).unwrap();
    let sae = fit(&constant).unwrap().made.dictionary().unwrap();
    let difference = floats(&(sae.reconstruct(&constant).unwrap() - &constant).unwrap()).unwrap();
    assert!(difference.iter().all(|d| d.abs() < 0.1), "{difference:?}");
    assert!(fit(&rows(1, DType::F32)).is_ok());
    assert!(fit(&Tensor::zeros((3, 5), DType::F32, &candle_core::Device::Cpu).unwrap()).is_ok());
    let nan = Tensor::full(f32::NAN, (6, 5), &candle_core::Device::Cpu).unwrap();
    assert!(fit(&nan).err().unwrap().message.contains("expected finite activations"));
}
