//! Fits that read one site and write another, and fits of several sites at once.

use serde_json::json;

use super::{alone, kind, recipe};
use crate::base::Task;
use crate::base::random::stream;
use crate::sae::crosscoder::unscaled;
use crate::sae::fit::loss::{StepState, loss};
use crate::sae::fit::params::{ParamName, Params, unit_rows};
use crate::sae::fit::{
    ActivationRows, Dead, DictionaryShape, ErrorNormalisation, FitBatch, FitState, JoinedRows, OfTensor, Recipe,
    SiteScale, finished,
};
use crate::sae::{About, Sae};
use crate::tensor::{DType, Device, Tensor, create, floats};

const SHAPE: DictionaryShape = DictionaryShape { d_in: 4, d_sae: 10, d_out: 3 };

fn drawn(dims: &[usize], turn: u64) -> Tensor {
    create::randn(dims, DType::F64, &mut stream(7, "rows", turn)).unwrap()
}

fn transcoders() -> Vec<Recipe> {
    let kinds = [
        kind("relu", json!({ "l1": 0.03 })),
        kind("topk", json!({ "k": 3 })),
        kind("gated", json!({ "l1": 0.03 })),
        kind("jumprelu", json!({ "l0": 0.1, "threshold": 0.05, "bandwidth": 0.2 })),
    ];
    let recipe = |(skip, kind): (bool, &std::sync::Arc<_>)| Recipe {
        skip,
        dead: Dead::Leave,
        ..recipe(std::sync::Arc::clone(kind), ErrorNormalisation::Sum)
    };
    [false, true].into_iter().flat_map(|skip| kinds.iter().map(move |kind| (skip, kind))).map(recipe).collect()
}

#[test]
fn gradients_of_transcoders_are_those_of_finite_differences() {
    for recipe in transcoders() {
        let params = Params::draw(&recipe, SHAPE, &mut stream(2, "weights", 0), &Device::Cpu).unwrap();
        let shaken = |(turn, t): (u64, &Tensor)| {
            (t.to_dtype(DType::F64).unwrap() + (drawn(t.dims(), turn) * 0.1).unwrap()).unwrap()
        };
        let tensors = params.all.iter().map(|p| p.weight.as_detached_tensor()).collect::<Vec<_>>();
        let tensors: Vec<Tensor> = (10..).zip(&tensors).map(shaken).collect();
        let names: Vec<ParamName> = params.all.iter().map(|p| p.name).collect();
        let batch = FitBatch { x: drawn(&[9, 4], 0), target: Some(drawn(&[9, 3], 1)) };
        let at = |tensors: &[Tensor]| {
            let params = Params::new(names.iter().copied().zip(tensors.iter().cloned()).collect()).unwrap();
            let before = StepState { step: 3, silent: &[0; 10], memory: &[], price: 1.0 };
            (loss(&recipe, &params, &batch, before).unwrap().total, params)
        };
        let (total, params) = at(&tensors);
        let store = total.backward().unwrap();
        for (index, parameter) in params.all.iter().enumerate() {
            let name = recipe.kind.name();
            // What is estimated or held fixed is shown by no difference.
            let held = matches!(parameter.name, ParamName::Decoder | ParamName::DecoderBias) && name == "gated";
            if parameter.name == ParamName::Threshold || held {
                continue;
            }
            let gradient = store.get(&parameter.weight).map(|g| floats(g).unwrap());
            let start = floats(&tensors[index]).unwrap();
            for place in [0, start.len() - 1] {
                let moved = |by: f64| {
                    let mut tensors = tensors.clone();
                    let mut numbers = start.clone();
                    numbers[place] += by;
                    tensors[index] = Tensor::from_vec(numbers, tensors[index].dims(), tensors[index].device()).unwrap();
                    at(&tensors).0.to_scalar::<f64>().unwrap()
                };
                let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let found = gradient.as_ref().map_or(0.0, |g| g[place]);
                let what = format!("{name}, skip {}, {:?} at {place}", recipe.skip, parameter.name);
                assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{what}: {found} {expected}");
            }
        }
    }
}

#[test]
fn a_transcoder_ends_as_one_that_does_the_same_in_the_models_units() {
    let x = drawn(&[64, 4], 0).affine(3.0, 1.0).unwrap();
    let target = drawn(&[64, 4], 0).narrow(1, 0, 3).unwrap();
    let [x, target] = [x, target.affine(0.5, -2.0).unwrap()].map(|t| t.to_dtype(DType::F32).unwrap());
    let read = SiteScale { centre: x.mean(0).unwrap(), scale: 0.3 };
    let written = SiteScale { centre: target.mean(0).unwrap(), scale: 2.0 };
    for recipe in transcoders() {
        let mut state =
            FitState::new(Params::draw(&recipe, SHAPE, &mut stream(3, "draw", 0), &Device::Cpu).unwrap(), 10);
        let batch = FitBatch { x: read.of(&x).unwrap(), target: Some(written.of(&target).unwrap()) };
        let errors: Vec<f64> = (0..150).map(|_| state.advance(&batch, &recipe).unwrap().error).collect();
        let what = format!("{} skip {}", recipe.kind.name(), recipe.skip);
        assert!(errors[149] < 0.6 * errors[0], "{what}: {} to {}", errors[0], errors[149]);
        let rest = state.loss(&batch, &recipe).unwrap().rest;
        let sae = finished(&recipe, &state.params, None, &read, Some(&written), About::default()).unwrap();
        let expected = (&target - (rest / 2.0).unwrap()).unwrap();
        let difference = floats(&(sae.reconstruct(&x).unwrap() - expected).unwrap()).unwrap();
        assert!(difference.iter().all(|d| d.abs() < 1e-4), "{what}: {difference:?}");
        let about = &sae.parts().about;
        assert_eq!(about.kind.as_str(), if recipe.skip { "skip_transcoder" } else { "transcoder" });
        assert_eq!(about.more["fitted_as"], recipe.kind.name());
        let norms = floats(&sae.directions().sqr().unwrap().sum(1).unwrap()).unwrap();
        assert!(norms.iter().all(|norm| (norm - 1.0).abs() < 1e-5), "{what}");
    }
}

#[test]
fn rows_of_several_sites_stay_together() {
    let task = Task::default();
    let a = Tensor::arange(0f32, 12.0, &candle_core::Device::Cpu).unwrap().reshape((6, 2)).unwrap();
    let b = (a.narrow(1, 0, 1).unwrap() * 10.0).unwrap();
    let mut apart = OfTensor::several(&[a.clone(), b.clone()], 3).unwrap();
    let [first, second] = &apart.next(4, &task).unwrap()[..] else { panic!("two sites") };
    assert_eq!((first.dims(), second.dims()), (&[4, 2][..], &[4, 1][..]));
    assert_eq!(floats(&(first.narrow(1, 0, 1).unwrap() * 10.0).unwrap()).unwrap(), floats(second).unwrap());
    let short = OfTensor::several(&[a.clone(), b.narrow(0, 0, 5).unwrap()], 3).err().unwrap();
    assert_eq!(short.message, "expected activations of the same rows at each site, found [6, 5] rows");
    // Joined, each site has the same spread, and what is left out is left out of both.
    let mut joined = JoinedRows::new(Box::new(OfTensor::several(&[a.clone(), b.clone()], 3).unwrap()), &task).unwrap();
    let spans = joined.spans().to_vec();
    assert_eq!((spans[0].width, spans[1].width), (2, 1));
    assert!((spans[0].scale / spans[1].scale - 10.0).abs() < 1e-5);
    let mut other = JoinedRows::new(Box::new(OfTensor::several(&[a, b], 3).unwrap()), &task).unwrap();
    joined.next(7, &task).unwrap();
    other.skip(7, &task).unwrap();
    let next = |rows: &mut JoinedRows| floats(&rows.next(5, &task).unwrap()[0]).unwrap();
    assert_eq!(next(&mut joined), next(&mut other));
}

/// Draws two atoms that both sites have, two of the first alone, two of the second alone: `[6, 6 + 6]`, each part of
/// length 1.
fn atoms() -> Tensor {
    let part = |turn| unit_rows(&drawn(&[6, 6], turn).to_dtype(DType::F32).unwrap()).unwrap();
    let has = |marks: [f32; 6]| Tensor::new(&marks, &candle_core::Device::Cpu).unwrap().unsqueeze(1).unwrap();
    let first = part(20).broadcast_mul(&has([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])).unwrap();
    let second = part(21).broadcast_mul(&has([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])).unwrap();
    Tensor::cat(&[first, second], 1).unwrap()
}

/// Fits a crosscoder on rows that the atoms make, where the second site is thirty times as large.
fn crosscoder(kind: std::sync::Arc<dyn crate::sae::fit::kinds::DictionaryKind>) -> (Sae, Tensor) {
    let task = Task::default();
    let uniform = |turn| create::uniform(&[1024, 6], 0.0, 1.0, DType::F32, &mut stream(8, "strengths", turn)).unwrap();
    let on = uniform(0).lt(0.2).unwrap().to_dtype(DType::F32).unwrap();
    let strengths = ((uniform(1) + 0.5).unwrap() * on).unwrap();
    let x = strengths.matmul(&atoms()).unwrap();
    let second = (x.narrow(1, 6, 6).unwrap() * 30.0).unwrap();
    let sites = [x.narrow(1, 0, 6).unwrap(), second];
    let joined = JoinedRows::new(Box::new(OfTensor::several(&sites, 4).unwrap()), &task).unwrap();
    let spans = joined.spans().to_vec();
    let recipe = Recipe {
        unit: kind.properties().likes_unit,
        d_sae: 24,
        steps: 600,
        batch: 128,
        dead: Dead::Leave,
        clip: None,
        ..recipe(kind, ErrorNormalisation::Sum)
    };
    let fitted = alone(recipe, Box::new(joined)).unwrap().made.dictionary().unwrap();
    (unscaled(&fitted, &spans).unwrap(), Tensor::cat(&sites, 1).unwrap())
}

#[test]
fn what_sites_share_and_what_is_their_own_is_found_again() {
    let (sae, _) = crosscoder(kind("crosscoder", json!({ "l1": 0.3, "widths": [6, 6] })));
    let shares = sae.shares().unwrap().to_vec2::<f32>().unwrap();
    let likeness = |atoms: &Tensor, directions: &Tensor| {
        let atoms = unit_rows(atoms).unwrap();
        let directions = unit_rows(directions).unwrap();
        atoms.matmul(&directions.t().unwrap()).unwrap().to_vec2::<f32>().unwrap()
    };
    let best = |cosines: &[f32]| {
        let (feature, cosine) = cosines.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        (feature, *cosine)
    };
    let has = [[true, true, true, true, false, false], [true, true, false, false, true, true]];
    for (site, has) in has.iter().enumerate() {
        let found = likeness(&atoms().narrow(1, 6 * site, 6).unwrap(), &sae.directions_at(site).unwrap());
        for atom in (0..6).filter(|atom| has[*atom]) {
            let (_, cosine) = best(&found[atom]);
            assert!(cosine > 0.95, "atom {atom} is found at site {site} with {cosine}");
        }
    }
    let factors = crate::sae::crosscoder::factors(&sae.parts().about.spans).unwrap();
    let found = likeness(&atoms(), &sae.directions().broadcast_mul(&factors).unwrap());
    for (atom, cosines) in found.iter().enumerate() {
        let (feature, cosine) = best(cosines);
        let share = shares[feature][0];
        let (least, expected) = match atom {
            // A sum of lengths does not mind whether sites have one feature or each its own, so that halves may differ.
            0 | 1 => (0.8, 0.15..0.85),
            2 | 3 => (0.95, 0.95..1.01),
            _ => (0.95, -0.01..0.05),
        };
        assert!(cosine > least && expected.contains(&share), "atom {atom} is found with {cosine} and has {share}");
    }
}

#[test]
fn a_crosscoder_reads_and_writes_in_the_models_units() {
    let (sae, x) = crosscoder(kind("crosscoder", json!({ "l1": 0.3, "widths": [6, 6] })));
    let rest = (&x - sae.reconstruct(&x).unwrap()).unwrap();
    for site in 0..2 {
        let of = |t: &Tensor| {
            let part = t.narrow(1, 6 * site, 6).unwrap();
            let spread = part.broadcast_sub(&part.mean_keepdim(0).unwrap()).unwrap();
            spread.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(of(&rest) < 0.1 * of(&x), "site {site}: {} of {}", of(&rest), of(&x));
    }
    let wrong = kind("crosscoder", json!({ "l1": 0.3, "widths": [6, 5] }));
    let rows = Box::new(OfTensor::new(&x, 0).unwrap());
    let wrong = Recipe { d_sae: 24, ..recipe(wrong, ErrorNormalisation::Sum) };
    let error = alone(wrong, rows).err().unwrap();
    assert_eq!(error.message, "expected `widths` of sites that are 12 together, found [6, 5]");
}

#[test]
fn codes_of_a_transcoder_begin_as_parts_of_what_is_predicted_linearly() {
    let shape = DictionaryShape { d_in: 4, d_sae: 7, d_out: 3 };
    let recipe = recipe(kind("topk", json!({ "k": 2 })), ErrorNormalisation::Normalised);
    let params = Params::draw(&recipe, shape, &mut stream(3, "draw", 0), &Device::Cpu).unwrap();
    let mut state = FitState::new(params, shape.d_sae);
    // Each input by itself, up and down, so that the sums of squares are 2, and the ridge is a tenth of that.
    let one = Tensor::eye(4, DType::F32, &Device::Cpu).unwrap();
    let x = Tensor::cat(&[&one, &one.neg().unwrap()], 0).unwrap();
    let map = create::randn(&[4, 3], DType::F32, &mut stream(5, "map", 0)).unwrap();
    let offset = create::randn(&[1, 3], DType::F32, &mut stream(6, "offset", 0)).unwrap();
    let target = x.matmul(&map).unwrap().broadcast_add(&offset).unwrap();
    state.start(&FitBatch { x, target: Some(target) }, &recipe, &Task::default()).unwrap();
    let weight = |name| state.params.get(name).unwrap().as_detached_tensor();
    let expected = (weight(ParamName::Decoder).matmul(&map.t().unwrap()).unwrap() / 1.1).unwrap();
    let difference = floats(&(weight(ParamName::Encoder) - expected).unwrap()).unwrap();
    assert!(difference.iter().all(|d| d.abs() < 1e-5), "{difference:?}");
    // Inputs that say nothing leave the encoder as it was drawn.
    let constant = Tensor::ones((8, 4), DType::F32, &Device::Cpu).unwrap();
    let target = Tensor::ones((8, 3), DType::F32, &Device::Cpu).unwrap();
    let before = floats(&weight(ParamName::Encoder)).unwrap();
    state.start(&FitBatch { x: constant, target: Some(target) }, &recipe, &Task::default()).unwrap();
    assert_eq!(floats(&state.params.get(ParamName::Encoder).unwrap().as_detached_tensor()).unwrap(), before);
}
