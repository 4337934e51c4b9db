//! Products of numbers rounded to bf16: their bits on every CPU, and what they are near.

use candle_core::{Tensor, Var};

use super::*;
use crate::arguments::activation::Activation;
use crate::linear::bf16;
use crate::linear::packed::{PackedMatrix, linear_packed};
use crate::linear::{linear, linear_activated, linear_rounded};
use crate::tests::{assert_close, at_every_level, list, numbers};

/// Returns the sums that the head of this room describes.
fn expected(x: &[f32], weight: &[f32], inner: usize) -> Vec<f32> {
    let rounded = |all: &[f32]| {
        let mut all = all.to_vec();
        bf16::round(&mut all);
        all
    };
    let weight = rounded(weight);
    let of_pair = |sum: f32, (x, w): (&[f32], &[f32])| match (x, w) {
        ([x, y], [w, v]) => x * w + (y * v + sum),
        _ => x[0] * w[0] + sum,
    };
    let dot = |x: &[f32], w: &[f32]| x.chunks(2).zip(w.chunks(2)).fold(0.0, of_pair);
    rounded(x).chunks(inner).flat_map(|x| weight.chunks(inner).map(|w| dot(x, w)).collect::<Vec<_>>()).collect()
}

fn tensor(packed: &PackedMatrix) -> Tensor {
    packed.tensor().unwrap()
}

#[test]
fn products_have_the_same_bits_at_every_level() {
    for (rows, inner, out) in [(33, 64, 32), (40, 96, 50), (50, 37, 3), (100, 1, 1), (261, 130, 300), (64, 640, 31)] {
        let weight = numbers(&[out, inner], 2.0, 1);
        let x = numbers(&[rows, inner], 2.0, 2);
        let packed = PackedMatrix::bf16(&weight).unwrap().unwrap();
        let expected = expected(&list(&x), &list(&weight), inner);
        at_every_level(|| {
            let found = list(&linear_packed(&x, &packed, None, None).unwrap());
            let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && found.len() == expected.len(), "{rows} x {inner} x {out}");
        });
    }
}

/// Checks products of few rows, which are dot products, and others against f32 with both factors rounded.
#[test]
fn products_are_those_of_rounded_numbers() {
    let bias = numbers(&[70], 1.0, 3);
    for rows in [1, 3, 32, 33, 80] {
        let x = numbers(&[rows, 256], 2.0, 2);
        let mut rounded = list(&x);
        bf16::round(&mut rounded);
        let rounded = Tensor::from_vec(rounded, x.dims(), x.device()).unwrap();
        let int8 = PackedMatrix::int8(&numbers(&[70, 256], 2.0, 1)).unwrap().unwrap();
        let bf16 = PackedMatrix::bf16(&numbers(&[70, 256], 2.0, 1)).unwrap().unwrap();
        for weight in [int8.rounded(), bf16] {
            at_every_level(|| {
                let found = linear_packed(&x, &weight, Some(&bias), None).unwrap();
                assert_close(&found, &linear(&rounded, &tensor(&weight), Some(&bias)).unwrap(), 1e-5, 10.0);
                let found = linear_packed(&x, &weight, Some(&bias), Some(Activation::Silu)).unwrap();
                let whole = tensor(&weight);
                let expected = linear_activated(&rounded, &whole, Some(&bias), Activation::Silu).unwrap();
                assert_close(&found, &expected, 1e-5, 10.0);
            });
        }
    }
}

#[test]
fn a_rounded_matrix_has_numbers_of_bf16() {
    let weight = PackedMatrix::int8(&numbers(&[9, 64], 2.0, 1)).unwrap().unwrap().rounded();
    at_every_level(|| {
        let found = list(&tensor(&weight));
        assert!(found.iter().all(|x| x.to_bits() & 0xffff == 0));
        assert_eq!(found[64..128], list(&tensor(&weight.rows(1, 1).unwrap())));
    });
}

/// Checks that the gradient passes the rounding of what is read by.
#[test]
fn the_gradient_is_that_of_the_rounded_matrix() {
    let weight = PackedMatrix::bf16(&numbers(&[70, 96], 2.0, 1)).unwrap().unwrap();
    let direction = numbers(&[50, 70], 1.0, 5);
    let x = Var::from_tensor(&numbers(&[50, 96], 0.2, 6)).unwrap();
    let gradient = |y: Tensor| {
        let loss = (y * &direction).unwrap().sum_all().unwrap();
        loss.backward().unwrap().get(&x).unwrap().clone()
    };
    let found = gradient(linear_packed(&x, &weight, None, None).unwrap());
    assert_close(&found, &gradient(linear(&x, &tensor(&weight), None).unwrap()), 1e-5, 10.0);
}

#[test]
fn scores_are_products_of_rounded_rows_to_the_last_bit() {
    for (rows, inner, columns) in [(33, 64, 32), (50, 37, 3), (40, 1, 50), (16, 96, 300)] {
        let x = list(&numbers(&[rows, inner], 2.0, 1));
        let weights = list(&numbers(&[columns, inner], 2.0, 2));
        let expected = expected(&x, &weights, inner);
        at_every_level(|| {
            let grouped = Bf16Rows::of(&x, inner).grouped(arch(), 0..rows);
            for first in [0, 1] {
                let mut found = vec![7.0; rows * (columns - first)];
                Bf16Rows::of(&weights, inner).products(arch(), &grouped, first..columns, &mut found);
                let expected: Vec<f32> = expected.chunks(columns).flat_map(|row| &row[first..]).copied().collect();
                assert_eq!(found, expected, "{rows} x {inner} x {columns}");
            }
        });
    }
}

/// Returns the dot product of two rows of numbers of bf16 in 16 sums, as [`plain::Dots`] describes it.
fn expected_dot(x: &[f32], row: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (at, (x, row)) in x.chunks(2).zip(row.chunks(2)).enumerate() {
        for (x, number) in x.iter().zip(row).rev() {
            sums[at % LANES] += x * number;
        }
    }
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|at| sums[at] += sums[at + half]);
    }
    sums[0]
}

#[test]
fn dot_products_of_rounded_rows_have_the_same_bits_at_every_level() {
    for inner in [1, 2, 31, 32, 37, 64, 130, 640] {
        let x = list(&numbers(&[3, inner], 2.0, 1));
        let weights = list(&numbers(&[9, inner], 2.0, 2));
        let picked = [0_u32, 8, 3, 3, 5, 1, 7];
        at_every_level(|| {
            let x = Bf16Rows::of(&x, inner);
            let weights = Bf16Rows::of(&weights, inner);
            let mut found = [7.0; 7];
            weights.dots(arch(), x.row(2), &picked, &mut found);
            let mut buffer = Vec::new();
            let x = x.widened(2..3, &mut buffer).to_vec();
            for (found, row) in found.iter().zip(picked) {
                let row = row as usize;
                let expected = expected_dot(&x, weights.widened(row..row + 1, &mut buffer));
                assert_eq!(found.to_bits(), expected.to_bits(), "{inner}");
            }
        });
    }
}

#[test]
fn rounded_rows_are_widened_to_numbers_of_bf16() {
    for inner in [1, 2, 37] {
        let all = list(&numbers(&[5, inner], 2.0, 1));
        let mut expected = all.clone();
        bf16::round(&mut expected);
        let mut buffer = vec![7.0; 3];
        let found = Bf16Rows::of(&all, inner).widened(1..4, &mut buffer).to_vec();
        assert_eq!(found, expected[inner..4 * inner]);
    }
}

/// Checks a map against that of a matrix which is rounded and packed, and its gradients against those of a map of f32.
#[test]
fn gradients_pass_the_rounding_of_both_factors_by() {
    let weight = numbers(&[70, 37], 2.0, 1);
    let bias = numbers(&[70], 1.0, 3);
    let direction = numbers(&[50, 70], 1.0, 5);
    let variables = [numbers(&[50, 37], 2.0, 2), weight.clone(), bias.clone()].map(|t| Var::from_tensor(&t).unwrap());
    let [x, weights, biases] = &variables;
    let gradients = |y: Tensor| {
        let loss = (y * &direction).unwrap().sum_all().unwrap();
        let found = loss.backward().unwrap();
        variables.iter().map(|variable| list(found.get(variable).unwrap())).collect::<Vec<_>>()
    };
    let rounded = linear_rounded(x, weights, Some(biases.as_tensor())).unwrap();
    let packed = PackedMatrix::bf16(&weight).unwrap().unwrap();
    let detached = x.as_detached_tensor();
    let expected = list(&linear_packed(&detached, &packed, Some(&bias), None).unwrap());
    assert_eq!(list(&rounded), expected);
    assert_eq!(list(&linear_rounded(&detached, &weight, Some(&bias)).unwrap()), expected);
    assert_eq!(gradients(rounded), gradients(linear(x, weights, Some(biases.as_tensor())).unwrap()));
    assert!(linear_rounded(&detached, &numbers(&[70, 36], 1.0, 1), None).is_err());
}

#[test]
fn nothing_times_nothing() {
    let bias = numbers(&[3], 1.0, 2);
    for rows in [2, 40] {
        let found = linear_rounded(&numbers(&[rows, 0], 1.0, 1), &numbers(&[3, 0], 1.0, 1), Some(&bias)).unwrap();
        assert_eq!(list(&found), list(&bias).repeat(rows));
    }
    for [rows, out] in [[0, 3], [40, 0]] {
        let found = linear_rounded(&numbers(&[rows, 4], 1.0, 1), &numbers(&[out, 4], 1.0, 1), None).unwrap();
        assert_eq!(found.dims(), [rows, out]);
    }
}

#[test]
fn numbers_are_rounded_half_to_even() {
    let mut state = 1_u64;
    for _ in 0..200_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let x = f32::from_bits(state as u32);
        let expected =
            if x.is_subnormal() { half::bf16::from_f32(0.0_f32.copysign(x)) } else { half::bf16::from_f32(x) };
        assert_eq!(bf16::bits(x), u32::from(expected.to_bits()), "{x}");
    }
}

#[test]
fn rows_are_paired_alike_at_every_level() {
    let mut row = list(&numbers(&[77], 3.0, 1));
    row[3] = 1e-40;
    row[5] = f32::INFINITY;
    row[40] = -0.0;
    at_every_level(|| {
        let mut pairs = vec![7; 39];
        paired(arch(), &row, &mut pairs);
        let found: Vec<u32> = pairs.iter().flat_map(|pair| [pair & 0xffff, pair >> 16]).collect();
        let expected: Vec<u32> = row.iter().map(|x| bf16::bits(*x)).chain([0]).collect();
        assert_eq!(found, expected);
    });
}
