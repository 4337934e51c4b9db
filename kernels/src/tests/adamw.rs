//! AdamW against its formula in f64, and the norm of gradients.

use candle_core::{DType, Device, Tensor, Var};

use super::super::*;
use super::{assert_close, at_every_level, list, numbers};

fn settings(step: u64) -> AdamW {
    let begun = [0.9_f64, 0.95].map(|beta| 1.0 - beta.powi(step as i32));
    AdamW { rate: 0.01, betas: [0.9, 0.95], eps: 1e-8, decay: 0.1, shrink: 0.5, begun }
}

#[test]
fn steps_follow_the_formula() {
    at_every_level(|| {
        for len in [1, 17, 40_000] {
            let start = numbers(&[len], 1.0, 1);
            let parameter = Var::from_tensor(&start).unwrap();
            let zeros = || Var::zeros(len, DType::F32, &Device::Cpu).unwrap();
            let mean = zeros();
            let square = zeros();
            let mut expected: Vec<[f64; 3]> = list(&start).iter().map(|p| [f64::from(*p), 0.0, 0.0]).collect();
            for step in 1..4 {
                let gradient = numbers(&[len], 3.0, 10 + step);
                adamw_step(&parameter, &gradient, [&mean, &square], settings(step)).unwrap();
                for ([p, m, v], g) in expected.iter_mut().zip(list(&gradient)) {
                    let g = 0.5 * f64::from(g);
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.95 * *v + 0.05 * g * g;
                    let mean = *m / (1.0 - 0.9_f64.powi(step as i32));
                    let square = *v / (1.0 - 0.95_f64.powi(step as i32));
                    *p = (1.0 - 0.01 * 0.1) * *p - 0.01 * mean / (square.sqrt() + 1e-8);
                }
            }
            for (found, [p, ..]) in list(&parameter).iter().zip(&expected) {
                assert!((f64::from(*found) - p).abs() < 1e-6, "{found} is not {p}");
            }
        }
    });
}

#[test]
fn the_twin_takes_the_same_step() {
    let variables = |dtype: DType| {
        [1, 2, 3].map(|seed| {
            let start = numbers(&[3, 5], 1.0, seed).sqr().unwrap().to_dtype(dtype).unwrap();
            Var::from_tensor(&start).unwrap()
        })
    };
    let found = variables(DType::F32);
    let expected = variables(DType::F64);
    let gradient = numbers(&[3, 5], 1.0, 4);
    adamw_step(&found[0], &gradient, [&found[1], &found[2]], settings(3)).unwrap();
    let wide = gradient.to_dtype(DType::F64).unwrap();
    adamw_step(&expected[0], &wide, [&expected[1], &expected[2]], settings(3)).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert_close(found, &expected.to_dtype(DType::F32).unwrap(), 1e-6, 1.0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let zeros = |shape: (usize, usize)| Var::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let weight = zeros((2, 3));
    let other = zeros((3, 2));
    for [gradient, mean, square] in [[&other, &weight, &weight], [&weight, &other, &weight], [&weight, &weight, &other]]
    {
        let error = adamw_step(&weight, gradient, [mean, square], settings(1)).unwrap_err();
        assert!(error.message.contains("the weight's shape [2, 3], found"), "{}", error.message);
    }
}

#[test]
fn the_norm_of_gradients() {
    let a = Tensor::full(2.0_f32, 40_000, &Device::Cpu).unwrap();
    let b = Tensor::full(3.0_f32, 1, &Device::Cpu).unwrap();
    at_every_level(|| assert_eq!(global_norm([&a, &b]).unwrap(), f64::from(160_009).sqrt()));
}
