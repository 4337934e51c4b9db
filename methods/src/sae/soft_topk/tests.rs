//! The soft top-k against bisection, finite differences, and the top-k that it becomes.

use candle_core::Var;

use super::*;
use crate::base::random::stream;
use crate::sae::select::largest;
use crate::tensor::{create, elementwise};

/// Finds by bisection the b at which the weights sum to k.
fn bisected(row: &[f64], k: f64, alpha: f64) -> f64 {
    let sum = |b: f64| row.iter().map(|x| share((x - b) / alpha)).sum::<f64>();
    let [mut low, mut high] = [-1e3, 1e3];
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if sum(middle) > k { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Draws rows as a fit has them: half of the numbers are 0.
fn drawn(rows: usize, width: usize) -> Tensor {
    elementwise::relu(&create::randn(&[rows, width], DType::F64, &mut stream(4, "rows", 0)).unwrap()).unwrap()
}

fn column(ks: &[f64]) -> Tensor {
    Tensor::new(ks, &Device::Cpu).unwrap().unsqueeze(1).unwrap()
}

#[test]
fn weights_sum_to_k_and_are_those_of_a_bisection() {
    for width in [1, 2, 40] {
        let x = drawn(6, width);
        let ks: Vec<f64> = [0.03, 0.2, 0.5, 0.77, 0.9, 0.999].iter().map(|share| share * width as f64).collect();
        for alpha in [2.0, 0.3, 0.01] {
            let found = weights(&x, &column(&ks), alpha).unwrap().to_vec2::<f64>().unwrap();
            for ((row, k), found) in x.to_vec2::<f64>().unwrap().iter().zip(&ks).zip(found) {
                let sum: f64 = found.iter().sum();
                assert!((sum - k).abs() < 1e-9 * k.max(1.0), "{width} {alpha}: {sum} instead of {k}");
                let b = bisected(row, *k, alpha);
                for (x, found) in row.iter().zip(found) {
                    let expected = share((x - b) / alpha);
                    assert!((found - expected).abs() < 1e-9, "{width} {alpha} {k}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn where_alpha_is_small_the_largest_are_kept_and_the_next_has_what_is_left() {
    let x = Tensor::new(&[[0.4, 3.0, 0.0, 2.0, 1.0, 0.0]], &Device::Cpu).unwrap();
    let found = |k: f64, alpha: f64| weights(&x, &column(&[k]), alpha).unwrap().to_vec2::<f64>().unwrap().remove(0);
    let near = |found: Vec<f64>, expected: [f64; 6]| {
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
    };
    // exp(-1 / alpha) is 0 in f64.
    near(found(2.0, 1e-4), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    near(found(2.25, 1e-4), [0.0, 1.0, 0.0, 1.0, 0.25, 0.0]);
    near(found(2.75, 1e-4), [0.0, 1.0, 0.0, 1.0, 0.75, 0.0]);
    // Numbers that are the same share it, and all of them together are all that there is.
    near(found(5.0, 1e-4), [1.0, 1.0, 0.5, 1.0, 1.0, 0.5]);
    near(found(6.0, 1e-4), [1.0; 6]);
    let rows = drawn(20, 50);
    let hard = largest(&rows, &rows, 7).unwrap();
    let soft = (weights(&rows, &column(&[7.0; 20]), 1e-7).unwrap() * &rows).unwrap();
    let off = (soft - hard).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(off < 1e-6, "{off}");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let x = Var::from_tensor(&create::randn(&[5, 9], DType::F64, &mut stream(5, "x", 0)).unwrap()).unwrap();
    let k = Var::from_tensor(&column(&[0.7, 2.0, 3.4, 6.1, 8.5])).unwrap();
    let of = create::randn(&[5, 9], DType::F64, &mut stream(5, "of", 0)).unwrap();
    for alpha in [1.0, 0.2] {
        let loss = |x: &Tensor, k: &Tensor| (weights(x, k, alpha).unwrap() * &of).unwrap().sum_all().unwrap();
        let at = |x: &Tensor, k: &Tensor| loss(x, k).to_scalar::<f64>().unwrap();
        let mut gradients = loss(&x, &k).backward().unwrap();
        for (name, variable) in [("x", &x), ("k", &k)] {
            let gradient = gradients.remove(variable).unwrap();
            let way = create::randn(variable.dims(), DType::F64, &mut stream(6, name, 0)).unwrap();
            let moved = |step: f64| {
                let there = (variable.as_detached_tensor() + (&way * step).unwrap()).unwrap();
                if name == "x" { at(&there, &k) } else { at(&x, &there) }
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let found: f64 = floats(&(gradient * way).unwrap()).unwrap().iter().sum();
            assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{name} {alpha}: {found} {expected}");
        }
    }
}

#[test]
fn the_gradient_of_k_is_that_of_the_next_number_where_all_densities_are_zero_in_rounding() {
    // Between 2 and 1 the threshold is at 1.5, 5,000 alphas from both.
    let x = Var::new(&[[3.0, 2.0, 1.0]], &Device::Cpu).unwrap();
    let k = Var::from_tensor(&column(&[2.0])).unwrap();
    let of = Tensor::new(&[[7.0, 2.0, 4.0]], &Device::Cpu).unwrap();
    let loss = (weights(&x, &k, 1e-4).unwrap() * of).unwrap().sum_all().unwrap();
    let mut gradients = loss.backward().unwrap();
    let of_k = floats(&gradients.remove(&k).unwrap()).unwrap();
    assert!((of_k[0] - 3.0).abs() < 1e-6, "{of_k:?}");
    assert_eq!(floats(&gradients.remove(&x).unwrap()).unwrap(), [0.0; 3]);
}
