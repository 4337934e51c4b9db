//! int8 of every family: each number is within half a step of its block, and logits are near those in f32.

use super::files::floats;
use super::{FAMILIES, expected, files, fixture, ids, load};
use microtome::base::Task;
use microtome::checkpoint::load::{LoadOptions, Precision};
use microtome::model::batch::Batch;
use microtome::tensor::{DType, Device};

/// How far `found` is from `expected`, beside the length of that.
fn off(found: &[f64], expected: &[f64]) -> f64 {
    let apart: f64 = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum();
    (apart / expected.iter().map(|x| x * x).sum::<f64>()).sqrt()
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
        println!("{family}: {matrices} matrices off by at most {of_weights:.4}, logits by {of_logits:.4}");
        assert!(matrices > 0 && of_weights < 0.01 && of_logits < 0.3, "{family}");
    }
}
