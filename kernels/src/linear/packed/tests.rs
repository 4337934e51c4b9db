//! Packed matrices: their numbers against candle's, their products and gradients against the same matrix in f32.

use std::borrow::Cow;

use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Var};
use proptest::prelude::*;

use super::*;
use crate::arguments::activation::Activation;
use crate::linear::{linear, linear_activated};
use crate::tests::{assert_close, at_every_level, list, numbers};

fn ggml(packing: Packing) -> GgmlDType {
    match packing {
        Packing::Q4_0 => GgmlDType::Q4_0,
        Packing::Q4_1 => GgmlDType::Q4_1,
        Packing::Q5_0 => GgmlDType::Q5_0,
        Packing::Q5_1 => GgmlDType::Q5_1,
        Packing::Q8_0 => GgmlDType::Q8_0,
        Packing::Q4K => GgmlDType::Q4K,
        Packing::Q5K => GgmlDType::Q5K,
        Packing::Q6K => GgmlDType::Q6K,
        Packing::Bf16 => GgmlDType::BF16,
    }
}

/// Returns a matrix of random bytes with scales between 1/64 and 1/32.
pub(in crate::linear) fn random(packing: Packing, [rows, inner]: [usize; 2], seed: u64) -> PackedMatrix {
    let (_, block) = packing.block();
    let length = rows * packing.row(inner).unwrap();
    let mut bytes: Vec<u8> = list(&numbers(&[length], 128.0, seed)).iter().map(|x| (x + 128.0) as u8).collect();
    let halves: &[usize] = match packing {
        Packing::Q4_0 | Packing::Q5_0 | Packing::Q8_0 | Packing::Bf16 => &[0],
        Packing::Q6K => &[208],
        _ => &[0, 2],
    };
    for block in bytes.chunks_exact_mut(block) {
        for at in halves {
            block[at + 1] = 0x24;
        }
    }
    PackedMatrix::new(packing, [rows, inner], Arc::new(bytes), 0).unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn the_numbers_have_the_bits_that_candle_gives_them() {
    for packing in Packing::ALL {
        let packed = random(packing, [3, 512], 1);
        let data = (*packed.all).as_ref();
        let expected = match ggml(packing).from_data(Cow::Borrowed(data)).dequantize(3 * 512).unwrap() {
            CpuStorage::F32(expected) => expected,
            _ => panic!("candle dequantises to f32"),
        };
        at_every_level(|| {
            let found = packed.tensor().unwrap();
            assert_eq!(found.dims(), [3, 512]);
            assert!(bits(&list(&found)) == bits(&expected), "{packed:?}");
        });
    }
}

#[test]
fn a_product_has_the_bits_of_one_with_the_matrix_in_f32() {
    for packing in Packing::ALL {
        let weight = random(packing, [300, 256], 2);
        let whole = weight.tensor().unwrap();
        let bias = numbers(&[300], 1.0, 3);
        for rows in [1, 3, 8, 15, 32, 33, 40] {
            let x = numbers(&[rows, 256], 1.0, rows as u64);
            at_every_level(|| {
                let found = linear_packed(&x, &weight, None, None).unwrap();
                assert_eq!(bits(&list(&found)), bits(&list(&linear(&x, &whole, None).unwrap())), "{weight:?}");
                let found = linear_packed(&x, &weight, Some(&bias), Some(Activation::Gelu)).unwrap();
                let expected = linear_activated(&x, &whole, Some(&bias), Activation::Gelu).unwrap();
                assert_eq!(bits(&list(&found)), bits(&list(&expected)), "{weight:?}");
            });
        }
    }
}

#[test]
fn gradients_are_those_of_the_matrix_in_f32() {
    // More rows than the backward pass has in f32 at a time.
    let weight = random(Packing::Q4K, [1100, 256], 4);
    let whole = weight.tensor().unwrap();
    let direction = numbers(&[2, 5, 1100], 1.0, 5);
    for act in [None, Some(Activation::Gelu)] {
        let x = Var::from_tensor(&numbers(&[2, 5, 256], 0.2, 6)).unwrap();
        let bias = Var::from_tensor(&numbers(&[1100], 1.0, 7)).unwrap();
        let gradients = |y: Tensor| {
            let loss = (y * &direction).unwrap().sum_all().unwrap();
            let found = loss.backward().unwrap();
            [found.get(&x).unwrap().clone(), found.get(&bias).unwrap().clone()]
        };
        let found = gradients(linear_packed(&x, &weight, Some(&bias), act).unwrap());
        let expected = gradients(match act {
            None => linear(&x, &whole, Some(&bias)).unwrap(),
            Some(act) => linear_activated(&x, &whole, Some(&bias), act).unwrap(),
        });
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(found, expected, 1e-5, 10.0);
        }
    }
}

#[test]
fn rows_are_looked_up_and_sliced() {
    let weight = random(Packing::Q6K, [20, 256], 8);
    let whole = weight.tensor().unwrap();
    let ids = Tensor::new(&[7_u32, 0, 19, 7], &candle_core::Device::Cpu).unwrap();
    let expected = whole.index_select(&ids, 0).unwrap();
    assert_eq!(list(&weight.look_up(&ids).unwrap()), list(&expected));
    let part = weight.rows(5, 9).unwrap();
    assert_eq!((part.dims(), part.bytes()), ([9, 256], 9 * 210));
    assert_eq!(list(&part.tensor().unwrap()), list(&whole.narrow(0, 5, 9).unwrap()));
    assert!(weight.rows(12, 9).is_err());
    let beyond = Tensor::new(&[20_u32], &candle_core::Device::Cpu).unwrap();
    assert_eq!(weight.look_up(&beyond).unwrap_err().to_string(), "expected rows below 20, found 20");
}

#[test]
fn what_does_not_fit_is_refused() {
    let bytes = || Arc::new(vec![0_u8; 144]);
    assert!(PackedMatrix::new(Packing::Q4K, [1, 256], bytes(), 0).is_some());
    assert!(PackedMatrix::new(Packing::Q4K, [2, 256], bytes(), 0).is_none());
    assert!(PackedMatrix::new(Packing::Q4K, [1, 256], bytes(), 1).is_none());
    assert!(PackedMatrix::new(Packing::Q4K, [1, 255], bytes(), 0).is_none());
    assert!(PackedMatrix::new(Packing::Q4K, [1, 0], bytes(), 0).is_none());
    assert!(PackedMatrix::new(Packing::Q4K, [usize::MAX, 256], bytes(), 0).is_none());
    let weight = random(Packing::Q8_0, [4, 32], 9);
    assert!(linear_packed(&numbers(&[2, 31], 1.0, 1), &weight, None, None).is_err());
    assert!(linear_packed(&numbers(&[2, 32], 1.0, 1), &weight, Some(&numbers(&[3], 1.0, 1)), None).is_err());
}

#[test]
fn int8_has_rows_of_whole_blocks_of_finite_numbers() {
    assert!(PackedMatrix::int8(&numbers(&[3, 33], 1.0, 1)).unwrap().is_none());
    assert!(PackedMatrix::int8(&numbers(&[3, 0], 1.0, 1)).unwrap().is_none());
    let odd = crate::tests::troubled(&numbers(&[1, 32], 1.0, 1));
    assert_eq!(PackedMatrix::int8(&odd).unwrap_err().to_string(), "expected finite numbers to quantise, found NaN");
    let nothing = PackedMatrix::int8(&numbers(&[1, 32], 0.0, 1)).unwrap().unwrap();
    assert_eq!(list(&nothing.tensor().unwrap()), [0.0; 32]);
}

/// Returns how far a number may be off: half a step of the integers, and 2^-11 of that, by which half precision rounds
/// the scale; in blocks that are tiny beside the matrix, a part of its largest number more.
fn bound(of_block: f32, of_matrix: f32) -> f32 {
    let half_a_step = of_block / 127.0 * 0.5 * (1.0 + 2_f32.powi(-11)) * (1.0 + 1e-6);
    let is_tiny = of_block < of_matrix * 2_f32.powi(-27);
    half_a_step + if is_tiny { of_matrix * 2_f32.powi(-36) } else { 0.0 }
}

fn assert_is_near(x: &Tensor) {
    let packed = PackedMatrix::int8(x).unwrap().unwrap();
    let found = list(&packed.tensor().unwrap());
    let x = list(x);
    let largest = |x: &[f32]| x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (found, block) in found.chunks(32).zip(x.chunks(32)) {
        let bound = bound(largest(block), largest(&x));
        for (found, x) in found.iter().zip(block) {
            assert!((found - x).abs() <= bound, "{found} is not {x}, in a block of at most {}", largest(block));
        }
    }
}

proptest! {
    #[test]
    fn int8_is_near_at_every_magnitude(seed in 0_u64..1000, power in -110_i32..120) {
        assert_is_near(&numbers(&[4, 64], 2_f32.powi(power), seed));
    }

    #[test]
    fn int8_is_near_where_rows_differ_in_magnitude(seed in 0_u64..1000, powers in prop::array::uniform4(-20_i32..20)) {
        let rows = powers.map(|power| numbers(&[1, 64], 2_f32.powi(power), seed));
        assert_is_near(&Tensor::cat(&rows, 0).unwrap());
    }
}

#[test]
fn int8_of_numbers_that_half_precision_does_not_have_is_the_same_times_a_power_of_two() {
    let x = numbers(&[8, 128], 1.0, 1);
    let packed = |x: &Tensor| PackedMatrix::int8(x).unwrap().unwrap();
    let plain = packed(&x);
    let row = numbers(&[1, 128], 1.0, 2);
    let products = |weight: &PackedMatrix| list(&linear_packed(&row, weight, None, None).unwrap());
    // 2^-10 is where scales begin to lose bits, and 2^-18 where they would be nothing.
    for power in [-100, -30, -18, -10, 0, 10, 30, 100] {
        let factor = 2_f32.powi(power);
        let moved = packed(&(&x * f64::from(factor)).unwrap());
        at_every_level(|| {
            let times = |numbers: Vec<f32>| bits(&numbers.iter().map(|x| x * factor).collect::<Vec<_>>());
            assert_eq!(bits(&list(&moved.tensor().unwrap())), times(list(&plain.tensor().unwrap())), "2^{power}");
            assert_eq!(bits(&products(&moved)), times(products(&plain)), "2^{power}");
            assert_eq!(
                bits(&list(&moved.rows(3, 2).unwrap().tensor().unwrap())),
                times(list(&plain.rows(3, 2).unwrap().tensor().unwrap()))
            );
        });
    }
}
