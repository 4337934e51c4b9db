//! Weights of int8 and products of bf16 and of int8, in every family: each number is within half a step, and activations and
//! logits are near those in f32.

use super::files::floats;
use super::{FAMILIES, expected, files, fixture, ids, load};
use half::bf16;
use microtome::base::Task;
use microtome::checkpoint::load::{LoadOptions, Precision, Products};
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site};
use microtome::tensor::{DType, Device};

/// Families whose fixtures make much of a small change: a token goes to another expert, or a norm divides by what is nearly
/// nought (the inputs of Gemma 4's layers). docs/models.md says so.
const MAKE_MUCH_OF_LITTLE: [&str; 6] =
    ["deepseek_v3", "gemma4_text", "gemma4_text_experts", "gpt_oss", "mixtral", "qwen3_5_moe_text"];

/// How far `found` is from `expected`, beside the length of that.
fn off(found: &[f64], expected: &[f64]) -> f64 {
    let apart: f64 = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum();
    (apart / expected.iter().map(|x| x * x).sum::<f64>()).sqrt()
}

/// The cosine of two lists; masked scores are infinite, and left out. Activations that are nought in both point nowhere.
fn cosine(found: &[f64], expected: &[f64]) -> Option<f64> {
    let pairs = || found.iter().zip(expected).filter(|(a, b)| a.is_finite() && b.is_finite());
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let squares = pairs().fold((0.0, 0.0), |(of_a, of_b), (a, b)| (of_a + a * a, of_b + b * b));
    (squares != (0.0, 0.0)).then(|| dot / (squares.0 * squares.1).sqrt())
}

/// The smallest cosine of an activation in int8 with the one in f32, over the sites of a model, and where it is.
fn least_like(small: &Decoder, whole: &Decoder, batch: &Batch) -> (f64, String) {
    let places: Vec<Place> = Site::all(whole.config()).into_iter().map(|site| Place { site, head: None }).collect();
    let cached = |model: &Decoder| {
        let ask = Ask { places: places.clone(), ..Ask::default() };
        model.cache(batch, ask, &Task::default()).unwrap()
    };
    let caches = (cached(small), cached(whole));
    let of = |place: &Place| {
        let found = floats(&caches.0.at(*place).unwrap());
        let expected = floats(&caches.1.at(*place).unwrap());
        Some((cosine(&found, &expected)?, place.to_string()))
    };
    places.iter().filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn weights_are_within_half_a_step_and_logits_are_near() {
    for family in FAMILIES {
        let of = |dtype: Precision| {
            let options = LoadOptions { dtype, ..LoadOptions::default() };
            load(&files(), &fixture(family), &options.onto(Device::Cpu))
        };
        let whole = of(DType::F32.into());
        let small = of(Precision::Q8);
        assert_eq!(small.weights().packings(), ["Q8_0"], "{family}");
        let mut of_weights = 0.0_f64;
        let mut matrices = 0;
        for (name, weight) in whole.weights().named(whole.config()).unwrap() {
            let found = small.weights().get(whole.config(), &name).unwrap();
            let expected = weight.tensor().unwrap();
            let found = floats(&found);
            let numbers = floats(&expected);
            let apart = off(&found, &numbers);
            if apart == 0.0 {
                continue;
            }
            matrices += 1;
            of_weights = of_weights.max(apart);
            for (found, block) in found.chunks(32).zip(numbers.chunks(32)) {
                let step = block.iter().fold(0.0_f64, |most, x| most.max(x.abs())) / 127.0;
                assert!(found.iter().zip(block).all(|(a, b)| (a - b).abs() <= step * 0.501), "{family}: {name}");
            }
        }
        let batch = Batch::new(ids(&expected(family)["input_ids"])).unwrap();
        let logits = [&whole, &small].map(|model| floats(&model.logits(&batch, Vec::new(), &Task::default()).unwrap()));
        let of_logits = off(&logits[1], &logits[0]);
        let (least, place) = least_like(&small, &whole, &batch);
        println!(
            "{family}: {matrices} matrices off by at most {of_weights:.4}, logits by {of_logits:.4}; at {place} {least:.5}"
        );
        assert!(matrices > 0 && of_weights < 0.01 && of_logits < 0.3, "{family}");
        let bound = if MAKE_MUCH_OF_LITTLE.contains(&family) { 0.95 } else { 0.998 };
        assert!(least > bound, "{family}, {place}: {least}");
    }
}

/// Checks products of bf16: matrices have the numbers in f32 rounded, and what is computed is near. Few rows are dot products,
/// many are tiles: a batch of one text and of several.
#[test]
fn products_of_bf16_are_near_those_of_f32() {
    for family in FAMILIES {
        let of = |compute: Products| {
            let options = LoadOptions { compute, ..LoadOptions::default() };
            load(&files(), &fixture(family), &options.onto(Device::Cpu))
        };
        let whole = of(Products::F32);
        let fast = of(Products::Bf16);
        assert_eq!((fast.weights().rounding(), whole.weights().rounding()), (Some("bf16"), None), "{family}");
        assert_eq!(fast.weights().packings(), ["BF16"], "{family}");
        let mut matrices = 0;
        for (name, weight) in whole.weights().named(whole.config()).unwrap() {
            let found = floats(&fast.weights().get(whole.config(), &name).unwrap());
            let numbers = floats(&weight.tensor().unwrap());
            if found != numbers {
                matrices += 1;
                let rounded: Vec<f64> = numbers.iter().map(|x| bf16::from_f32(*x as f32).to_f64()).collect();
                assert!(found == rounded, "{family}: {name}");
            }
        }
        let one = ids(&expected(family)["input_ids"]);
        let batch = Batch::new(one).unwrap();
        let logits = [&whole, &fast].map(|model| floats(&model.logits(&batch, Vec::new(), &Task::default()).unwrap()));
        let of_logits = off(&logits[1], &logits[0]);
        let (least, place) = least_like(&fast, &whole, &batch);
        println!("{family}: {matrices} matrices rounded, logits off by {of_logits:.4}; at {place} {least:.5}");
        assert!(matrices > 0 && of_logits < 0.3, "{family}");
        let bound = if MAKE_MUCH_OF_LITTLE.contains(&family) { 0.95 } else { 0.998 };
        assert!(least > bound, "{family}, {place}: {least}");
    }
}

/// Checks products of int8 beside those of f32 with the same matrices, so that only the rounding of what they read is seen.
#[test]
fn products_of_int8_are_near_those_of_f32() {
    for family in FAMILIES {
        let of = |compute: Products| {
            let options = LoadOptions { dtype: Precision::Q8, compute, ..LoadOptions::default() };
            load(&files(), &fixture(family), &options.onto(Device::Cpu))
        };
        let whole = of(Products::F32);
        let fast = of(Products::Int8);
        assert_eq!((fast.weights().rounding(), whole.weights().rounding()), (Some("int8"), None), "{family}");
        for (name, weight) in whole.weights().named(whole.config()).unwrap() {
            let found = floats(&fast.weights().get(whole.config(), &name).unwrap());
            assert!(found == floats(&weight.tensor().unwrap()), "{family}: {name}");
        }
        let batch = Batch::new(ids(&expected(family)["input_ids"])).unwrap();
        let logits = [&whole, &fast].map(|model| floats(&model.logits(&batch, Vec::new(), &Task::default()).unwrap()));
        let of_logits = off(&logits[1], &logits[0]);
        let (least, place) = least_like(&fast, &whole, &batch);
        println!("{family}: logits off by {of_logits:.4}; at {place} {least:.5}");
        assert!(of_logits > 0.0 && of_logits < 0.3, "{family}: {of_logits}");
        let bound = if MAKE_MUCH_OF_LITTLE.contains(&family) { 0.95 } else { 0.998 };
        assert!(least > bound, "{family}, {place}: {least}");
    }
}

#[test]
fn products_of_int8_ask_for_quantised_matrices() {
    let options = LoadOptions { compute: Products::Int8, ..LoadOptions::default() };
    let loading = options.onto(Device::Cpu);
    let folder = microtome::checkpoint::load::folder(&files(), &fixture("llama"), &loading, &Task::default());
    let error = folder.unwrap_err();
    assert!(
        error.message.contains(": expected quantised matrices for products of int8, found numbers in `"),
        "{error}"
    );
    assert_eq!(error.about.as_deref(), Some("compute"));
}
