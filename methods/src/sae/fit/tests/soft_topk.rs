//! Fits of `soft_topk`: against the authors' code, and where the number of active features is known.

use serde_json::json;

use super::{alone, kind, recipe};
use crate::base::random::stream;
use crate::sae::fit::kinds;
use crate::sae::fit::loss::{StepState, loss};
use crate::sae::fit::params::{ParamName, Params, unit_rows};
use crate::sae::fit::rows::OfTensor;
use crate::sae::fit::{Dead, ErrorNormalisation, FitBatch, Recipe};
use crate::sae::{About, Parts, Sae, Scaling};
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Device, Tensor, create, floats};
use crate::training::{Schedule, ScheduleShape};
use rand::RngExt;

/// Made by tests/saes/soft_sae.py with the authors' trainer.
const AUTHORS: &[u8] = include_bytes!("../../../../../tests/fixtures/saes/soft_sae.safetensors");

const NAMES: [ParamName; 8] = [
    ParamName::Encoder,
    ParamName::EncoderBias,
    ParamName::Decoder,
    ParamName::DecoderBias,
    ParamName::Own("k_encoder"),
    ParamName::Own("k_bias"),
    ParamName::Own("k_weight"),
    ParamName::Own("k_logit"),
];

fn authors() -> impl Fn(String) -> Option<Tensor> {
    let file = SafetensorsFile::new(AUTHORS).unwrap();
    move |name| file.tensor(&name).ok()
}

#[track_caller]
fn agree(found: &Tensor, expected: &Tensor, what: &str) {
    let off = floats(&(found - expected).unwrap().abs().unwrap()).unwrap().into_iter().fold(0.0, f64::max);
    let size = floats(&expected.abs().unwrap()).unwrap().into_iter().fold(1.0, f64::max);
    assert!(off < 1e-5 * size, "{what} differs by {off}");
}

#[test]
fn codes_and_their_numbers_are_those_of_the_authors() {
    let of = authors();
    let of = |name: &str| of(name.into()).unwrap();
    let taken = |name: &'static str, _| Ok(of(&format!("weight.{name}")));
    let activation = kinds::activation("soft_topk", Some(6), || unreachable!(), taken).unwrap();
    let sae = Sae::new(Parts {
        encoder: of("weight.encoder"),
        encoder_bias: Some(of("weight.encoder_bias")),
        activation,
        decoder: of("weight.decoder"),
        decoder_bias: Some(of("weight.decoder_bias")),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About::default(),
    })
    .unwrap();
    let x = of("x");
    agree(&sae.ks(&x).unwrap(), &of("soft.k"), "the estimate");
    agree(&sae.ks(&x).unwrap().floor().unwrap(), &of("hard.k"), "the number of codes");
    agree(&sae.encode(&x).unwrap(), &of("hard.codes"), "a code");
}

#[test]
fn the_loss_and_its_gradients_are_those_of_the_authors() {
    let of = authors();
    // The estimator reads rows over sqrt(d), and the scale is one of them, where the authors' rows have norm 1 themselves.
    let width = 6f64.sqrt();
    let factor = |name: ParamName| match name {
        ParamName::Own("k_encoder") => width,
        ParamName::Own("k_weight") => 4.0,
        _ => 1.0,
    };
    let weights = NAMES.map(|name| (name, (of(format!("weight.{name}")).unwrap() * factor(name)).unwrap()));
    let x = of("x".into()).unwrap();
    let kind =
        kind("soft_topk", json!({ "k": 3, "k_weight": 3, "alpha": 0.3 / width, "alpha_steps": 0, "hard_steps": 10 }));
    let recipe = recipe(kind, ErrorNormalisation::Sum);
    for (what, step) in [("soft", 50), ("hard", 99)] {
        let params = Params::new(weights.to_vec()).unwrap();
        let batch = FitBatch { x: x.clone(), target: None };
        let before = StepState { step, silent: &[0; 16], memory: &[], price: 1.0 };
        let found = loss(&Recipe { dead: Dead::Leave, ..recipe.clone() }, &params, &batch, before).unwrap();
        agree(&found.codes, &of(format!("{what}.codes")).unwrap(), what);
        agree(&found.total.reshape(1).unwrap(), &of(format!("{what}.loss")).unwrap(), what);
        let gradients = found.total.backward().unwrap();
        for parameter in &params.all {
            let name = parameter.name;
            let found = gradients.get(&parameter.weight);
            // In hard steps their encoder has no gradient, and so less of the decoder bias, by which rows are centred.
            if what == "hard" && name != ParamName::Decoder {
                assert_eq!(found.is_none(), matches!(name, ParamName::Own(_)), "{name}");
                continue;
            }
            let expected = (of(format!("{what}.gradient.{name}")).unwrap() / factor(name)).unwrap();
            agree(found.unwrap(), &expected, &format!("{what} {name}"));
        }
    }
}

/// Draws rows that are sums of so many of 40 directions, with coefficients from 1 to 2.
fn of_so_many(counts: &[usize], name: &str) -> Tensor {
    let features = 40;
    let width = 40;
    let directions = create::randn(&[features, width], DType::F32, &mut stream(7, "directions", 0)).unwrap();
    let mut random = stream(7, name, 0);
    let mut codes = vec![0f32; counts.len() * features];
    for (row, count) in codes.chunks_exact_mut(features).zip(counts) {
        while row.iter().filter(|code| **code > 0.0).count() < *count {
            row[random.random_range(0..features)] = random.random_range(1.0..2.0);
        }
    }
    let codes = Tensor::from_vec(codes, (counts.len(), features), &Device::Cpu).unwrap();
    codes.matmul(&unit_rows(&directions).unwrap()).unwrap()
}

fn fitted(x: &Tensor, name: &str, k: usize) -> Sae {
    let recipe = Recipe {
        d_sae: 40,
        steps: 600,
        batch: 256,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 12, decay: 120, floor: 0.0 },
        clip: Some(0.01),
        dead: Dead::Leave,
        lr: 6e-3,
        ..recipe(kind(name, json!({ "k": k })), ErrorNormalisation::Normalised)
    };
    alone(recipe, Box::new(OfTensor::new(x, 1).unwrap())).unwrap().made.dictionary().unwrap()
}

/// Computes the share of the variance of rows that a dictionary does not explain, and its mean number of codes.
fn unexplained(sae: &Sae, x: &Tensor) -> (f64, f64) {
    let (codes, found) = sae.encode_and_reconstruct(x).unwrap();
    let squares = |t: Tensor| floats(&t.sqr().unwrap().sum_all().unwrap()).unwrap()[0];
    let spread = squares(x.broadcast_sub(&x.mean_keepdim(0).unwrap()).unwrap());
    let active = floats(&codes.ne(0.0).unwrap().to_dtype(DType::F32).unwrap().sum_all().unwrap()).unwrap()[0];
    (squares((x - found).unwrap()) / spread, active / x.dims()[0] as f64)
}

fn moments(numbers: &[f64]) -> (f64, f64) {
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    (mean, (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64).sqrt())
}

#[test]
fn the_number_of_codes_follows_that_of_the_features_and_explains_more_than_the_same_number_for_all() {
    let varied: Vec<usize> = (0..4000).map(|row| 1 + row % 8).collect();
    let same = vec![4; 4000];
    let mut found = Vec::new();
    for (name, counts) in [("varied", varied), ("same", same)] {
        let x = of_so_many(&counts, name);
        let held = of_so_many(&counts, &format!("{name}, held out"));
        let soft = fitted(&x, "soft_topk", 5);
        let (left, l0) = unexplained(&soft, &held);
        // The fixed k is one more where the mean is not whole.
        let topk = fitted(&x, "topk", l0.ceil() as usize);
        let (left_of_topk, _) = unexplained(&topk, &held);
        let ks = floats(&soft.ks(&held).unwrap()).unwrap();
        let (mean, spread) = moments(&ks);
        let truth: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
        let (mean_of_truth, spread_of_truth) = moments(&truth);
        let both = ks.iter().zip(&truth).map(|(k, truth)| (k - mean) * (truth - mean_of_truth)).sum::<f64>();
        let correlation = both / ks.len() as f64 / spread / spread_of_truth;
        found.push((spread, correlation, left / left_of_topk));
    }
    let [(spread, correlation, ratio), (spread_of_same, _, ratio_of_same)] = found[..] else { panic!() };
    assert!(correlation > 0.8, "{correlation}");
    assert!(ratio < 0.8, "{ratio}");
    // The control: where all rows have the same number, there is nothing to gain.
    assert!(spread_of_same < 0.5 * spread, "{spread_of_same} {spread}");
    assert!(ratio_of_same > 0.9, "{ratio_of_same}");
}
