//! Products of numbers rounded to bf16: their bits on every CPU, and what they are near.

use candle_core::{Tensor, Var};

use super::*;
use crate::arguments::activation::Activation;
use crate::linear::bf16;
use crate::linear::packed::{PackedMatrix, linear_packed};
use crate::linear::{linear, linear_activated};
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
