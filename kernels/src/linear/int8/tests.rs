//! Products of integers: their bits at every level of instructions, and how far they are from products in f32.

use candle_core::{Tensor, Var};

use super::*;
use crate::arguments::activation::Activation;
use crate::base::instructions::InstructionSet;
use crate::linear::packed::tests::random;
use crate::linear::packed::{Packing, Rounding, linear_packed};
use crate::linear::{linear, linear_activated};
use crate::tests::{assert_close, at_every_level, list, numbers};

/// Returns the formats with integers.
fn packings() -> impl Iterator<Item = Packing> {
    Packing::ALL.into_iter().filter(|packing| Form::of(*packing).is_some())
}

fn quantised(packing: Packing, dims: [usize; 2], seed: u64) -> PackedMatrix {
    random(packing, dims, seed).by_int8().unwrap()
}

/// Returns the widths of rows that are tested: with blocks of 32 also those that are no whole rounds.
fn widths(packing: Packing) -> &'static [usize] {
    if packing.block().0 == 32 { &[32, 96, 128, 160, 640] } else { &[256, 768] }
}

fn bits(x: &Tensor) -> Vec<u32> {
    list(x).iter().map(|x| x.to_bits()).collect()
}

fn product_of(x: &Tensor, weight: &PackedMatrix) -> Tensor {
    linear_packed(x, weight, None, None).unwrap()
}

#[test]
fn products_have_the_same_bits_at_every_level() {
    for packing in packings() {
        for inner in widths(packing) {
            for (rows, out) in [(1, 1), (1, 6), (1, 703), (2, 33), (3, 64), (4, 31), (5, 32), (13, 70), (40, 300)] {
                let weight = quantised(packing, [out, *inner], 1);
                let x = numbers(&[rows, *inner], 2.0, 2);
                let expected = InstructionSet::Scalar.limit(|| bits(&product_of(&x, &weight)));
                at_every_level(|| {
                    let found = bits(&product_of(&x, &weight));
                    assert!(found == expected, "{weight:?}, {rows} rows");
                });
            }
        }
    }
}

/// Checks each number against the exact product of the same rows with the matrix in f32: it is off by no more than half a step
/// of each number of the row, and by the rounding of sums.
#[test]
fn products_are_as_near_as_the_rounding_of_rows() {
    for packing in packings() {
        let step = Form::of(packing).unwrap().step;
        for inner in widths(packing) {
            let weight = quantised(packing, [70, *inner], 3);
            let whole = list(&weight.tensor().unwrap());
            for rows in [1, 4, 20] {
                let x = numbers(&[rows, *inner], 2.0, 4);
                let found = list(&product_of(&x, &weight));
                let pairs = list(&x);
                let pairs = pairs.chunks(*inner).flat_map(|x| whole.chunks(*inner).map(move |weight| (x, weight)));
                assert_eq!(found.len(), rows * 70);
                for (found, (x, weight)) in found.iter().zip(pairs) {
                    let mut expected = 0.0;
                    let mut bound = 0.0;
                    for (x, weight) in x.chunks(step).zip(weight.chunks(step)) {
                        let half = x.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0 / 2.0 * 1.001;
                        for (x, weight) in x.iter().zip(weight) {
                            expected += f64::from(*x) * f64::from(*weight);
                            bound += f64::from(half + 1e-5 * x.abs()) * f64::from(weight.abs());
                        }
                    }
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off <= bound, "{packing:?}, {rows} rows of {inner}: off by {off}, at most {bound}");
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whichever_stand_beside_it() {
    for packing in packings() {
        let weight = quantised(packing, [40, 512], 5);
        let x = numbers(&[30, 512], 2.0, 6);
        for [few, many] in [[1, 4], [5, 30]] {
            let alone = bits(&product_of(&x.narrow(0, 0, few).unwrap(), &weight));
            let beside = bits(&product_of(&x.narrow(0, 0, many).unwrap(), &weight));
            assert!(beside[..alone.len()] == alone, "{packing:?}");
        }
    }
}

#[test]
fn what_follows_a_product_follows() {
    let bias = numbers(&[70], 1.0, 7);
    for rows in [1, 9] {
        let x = numbers(&[rows, 256], 2.0, 8);
        let weight = quantised(Packing::Q4K, [70, 256], 9);
        let plain = product_of(&x, &weight);
        let found = linear_packed(&x, &weight, Some(&bias), Some(Activation::Silu)).unwrap();
        let one = Tensor::eye(70, candle_core::DType::F32, x.device()).unwrap();
        assert_close(&found, &linear_activated(&plain, &one, Some(&bias), Activation::Silu).unwrap(), 1e-6, 10.0);
    }
}

/// Checks that the gradient passes the rounding of what is read by.
#[test]
fn the_gradient_is_that_of_the_matrix_in_f32() {
    let weight = quantised(Packing::Q8_0, [70, 96], 10);
    let direction = numbers(&[50, 70], 1.0, 11);
    let x = Var::from_tensor(&numbers(&[50, 96], 0.2, 12)).unwrap();
    let gradient = |y: Tensor| {
        let loss = (y * &direction).unwrap().sum_all().unwrap();
        loss.backward().unwrap().get(&x).unwrap().clone()
    };
    let found = gradient(product_of(&x, &weight));
    assert_close(&found, &gradient(linear(&x, &weight.tensor().unwrap(), None).unwrap()), 1e-5, 10.0);
}

#[test]
fn a_matrix_beside_which_a_power_of_two_stands_has_it_in_its_products() {
    let matrix = numbers(&[40, 128], 1.0, 13);
    let packed = |matrix: &Tensor| PackedMatrix::int8(matrix).unwrap().unwrap().by_int8().unwrap();
    let factor = 2_f32.powi(-60);
    let moved = packed(&(&matrix * f64::from(factor)).unwrap());
    for rows in [1, 9] {
        let x = numbers(&[rows, 128], 1.0, 14);
        let expected: Vec<u32> =
            list(&product_of(&x, &packed(&matrix))).iter().map(|x| (x * factor).to_bits()).collect();
        assert_eq!(bits(&product_of(&x, &moved)), expected);
    }
}

#[test]
fn what_is_not_finite_or_nought_stays_so() {
    for packing in packings() {
        let weight = quantised(packing, [9, 512], 15);
        for rows in [3, 8] {
            let mut x = list(&numbers(&[rows, 512], 2.0, 16));
            x[0] = f32::NAN;
            x[512..1024].fill(0.0);
            x[2 * 512 + 5] = f32::NEG_INFINITY;
            let x = Tensor::from_vec(x, (rows, 512), &candle_core::Device::Cpu).unwrap();
            at_every_level(|| {
                let found = list(&product_of(&x, &weight));
                let is = |row: usize, what: fn(f32) -> bool| found[9 * row..9 * row + 9].iter().all(|x| what(*x));
                assert!(is(0, f32::is_nan) && is(1, |x| x == 0.0) && is(2, f32::is_nan), "{packing:?}");
                assert!(rows == 3 || is(3, f32::is_finite), "{packing:?}");
            });
        }
    }
}

#[test]
fn integers_are_nearest_and_halves_go_to_even() {
    let form = Form::of(Packing::Q8_0).unwrap();
    let mut x = [0.0; 32];
    x[..8].copy_from_slice(&[127.0, -127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 0.6]);
    at_every_level(|| {
        let row = Row::of(arch(), &x, form);
        assert_eq!(row.chunks[0].integers[..9], [127, -127, 0, 2, 2, 0, -2, 1, 0]);
        assert!(row.steps[0] == 1.0 && row.steps[1..].iter().all(|step| *step == 0.0));
        assert!(row.chunks[1].integers.iter().all(|integer| *integer == 0));
    });
}

#[test]
fn bf16_has_no_integers() {
    let matrix = PackedMatrix::bf16(&numbers(&[4, 32], 1.0, 17)).unwrap().unwrap();
    assert_eq!(matrix.rounding(), Some(Rounding::Bf16));
    assert!(matrix.by_int8().is_none());
}
