//! Linear maps against their reference implementation.

use candle_core::{DType, Tensor};

use super::super::linear::linear_plain;
use super::super::*;
use super::{LENGTHS, assert_close, at_every_level, list, numbers, strided};
use crate::linear::activation::activate_plain;

#[track_caller]
fn compare(x: &Tensor, weight: &Tensor, bias: &Tensor) {
    // Sums of as many products, in another order.
    let tolerance = 1e-6 * (weight.dims()[1] as f32).sqrt().max(4.0);
    assert_close(&linear(x, weight, None).unwrap(), &linear_plain(x, weight, None).unwrap(), tolerance, 4.0);
    let expected = linear_plain(x, weight, Some(bias)).unwrap();
    assert_close(&linear(x, weight, Some(bias)).unwrap(), &expected, tolerance, 4.0);
    for act in [Activation::Gelu, Activation::Relu] {
        let found = linear_activated(x, weight, Some(bias), act).unwrap();
        assert_close(&found, &activate_plain(&expected, act).unwrap(), tolerance, 4.0);
    }
}

#[test]
fn few_and_many_rows() {
    at_every_level(|| {
        for rows in [1, 2, 3, 8, 9, 32, 33, 70] {
            for inner in LENGTHS {
                let x = numbers(&[rows, inner], 1.0, inner as u64);
                let weight = numbers(&[21, inner], 1.0, 2);
                let bias = numbers(&[21], 1.0, 3);
                compare(&x, &weight, &bias);
            }
        }
    });
}

#[test]
fn more_columns_than_a_tile_holds() {
    for (rows, inner, out) in [(1, 40, 1000), (5, 300, 4099), (33, 40, 300), (2100, 5, 130)] {
        let x = numbers(&[rows, inner], 1.0, 4);
        compare(&x, &numbers(&[out, inner], 1.0, 5), &numbers(&[out], 1.0, 6));
    }
}

#[test]
fn strided_arguments_and_more_axes() {
    let x = numbers(&[2, 3, 5, 12], 1.0, 1);
    let weight = numbers(&[7, 12], 1.0, 2);
    let bias = numbers(&[7], 1.0, 3);
    compare(&x, &weight, &bias);
    let expected = list(&linear(&x, &weight, Some(&bias)).unwrap());
    assert_eq!(list(&linear(&strided(&x), &strided(&weight), Some(&bias)).unwrap()), expected);
    let part = numbers(&[9, 12], 1.0, 4).narrow(0, 1, 7).unwrap();
    compare(&x, &part, &bias);
}

#[test]
fn nothing_times_nothing() {
    let x = numbers(&[2, 0], 1.0, 1);
    let found = linear(&x, &numbers(&[3, 0], 1.0, 1), Some(&numbers(&[3], 1.0, 2))).unwrap();
    assert_eq!(list(&found), list(&numbers(&[3], 1.0, 2)).repeat(2));
    let found = linear(&numbers(&[0, 4], 1.0, 1), &numbers(&[3, 4], 1.0, 1), None).unwrap();
    assert_eq!(found.dims(), [0, 3]);
}

#[test]
fn half_precision_is_computed_in_f32() {
    for dtype in [DType::F16, DType::BF16] {
        for rows in [1, 20] {
            let half = |shape: &[usize], seed| numbers(shape, 1.0, seed).to_dtype(dtype).unwrap();
            let x = half(&[rows, 65], 1);
            let weight = half(&[150, 65], 2);
            let bias = half(&[150], 3);
            let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            let expected = linear(&wide(&x), &wide(&weight), Some(&wide(&bias))).unwrap().to_dtype(dtype).unwrap();
            assert_eq!(list(&linear(&x, &weight, Some(&bias)).unwrap()), list(&expected));
        }
    }
}

#[test]
fn a_gradient_of_a_sum_is_the_sum_of_rows() {
    let weight = candle_core::Var::from_tensor(&numbers(&[3, 4], 1.0, 1)).unwrap();
    let x = numbers(&[2, 4], 1.0, 2);
    let total = linear(&x, weight.as_tensor(), None).unwrap().sum_all().unwrap();
    let gradients = total.backward().unwrap();
    let expected = x.sum(0).unwrap().expand((3, 4)).unwrap();
    assert_close(gradients.get(&weight).unwrap(), &expected, 1e-6, 1.0);
}
