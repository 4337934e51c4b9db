//! Activations, norms, rotary positions, sums and losses against their reference implementations.

use candle_core::{DType, Device, Tensor, Var};

use super::super::device::metal;
use super::super::losses::divergence::{divergences, divergences_plain};
use super::super::losses::token_losses_plain;
use super::super::norm::{norm_scale_plain, norm_with_scale_plain};
use super::super::rows::centred_plain;
use super::super::*;
use super::{ACTS, LENGTHS, assert_close, at_every_level, list, numbers, strided, troubled};
use crate::arguments::norm::Affine;
use crate::attention::rotary::rotate_plain;
use crate::linear::activation::{activate_gated_plain, activate_plain};

#[test]
fn activations() {
    at_every_level(|| {
        for (seed, length) in LENGTHS.into_iter().enumerate() {
            let plain = numbers(&[3, length], 6.0, seed as u64);
            let up = numbers(&[3, length], 2.0, 100);
            for x in [plain.clone(), strided(&plain), troubled(&plain)] {
                for act in ACTS {
                    // candle's error function has an error of its own.
                    assert_close(&activate(&x, act).unwrap(), &activate_plain(&x, act).unwrap(), 1e-6, 6.0);
                    let expected = activate_gated_plain(&x, &up, act).unwrap();
                    assert_close(&activate_gated(&x, &up, act).unwrap(), &expected, 1e-6, 12.0);
                }
            }
        }
    });
}

#[test]
fn many_numbers_are_shared_out_whole() {
    let x = numbers(&[3, 33_330], 6.0, 5);
    assert_close(&add(&x, &x).unwrap(), &(&x * 2.0).unwrap(), 0.0, 0.0);
    assert_close(&activate(&x, Activation::Silu).unwrap(), &activate_plain(&x, Activation::Silu).unwrap(), 1e-6, 1.0);
    let x = x.reshape((3030, 33)).unwrap();
    let scale = norm_scale_plain(&x, NormKind::Layer, 1e-5).unwrap();
    let expected = norm_with_scale_plain(&x, NormKind::Layer, &scale, Affine::default()).unwrap();
    assert_close(&norm(&x, NormKind::Layer, 1e-5, None, false, None).unwrap(), &expected, 1e-5, 1.0);
}

#[test]
fn chosen_and_centred_rows_are_those_of_candle_to_the_last_bit() {
    at_every_level(|| {
        for length in LENGTHS {
            let table = numbers(&[700, length], 3.0, length as u64);
            let centre = numbers(&[length], 1.0, 9);
            let places: Vec<u32> = (0..900).map(|i| i * 37 % 700).collect();
            let expected = table.index_select(&Tensor::new(places.as_slice(), &Device::Cpu).unwrap(), 0).unwrap();
            let found = picked(&table, &places).unwrap();
            assert_eq!(list(&found), list(&expected));
            let expected = centred_plain(&expected, &centre, 0.3).unwrap();
            assert_eq!(list(&centred(&found, &centre, 0.3).unwrap()), list(&expected));
        }
    });
    assert!(picked(&numbers(&[3, 2], 1.0, 1), &[0, 3]).is_err());
}

#[test]
fn norms() {
    at_every_level(|| {
        for length in LENGTHS {
            let x = numbers(&[2, 3, length], 3.0, length as u64);
            let weight = numbers(&[length], 1.0, 7);
            let bias = numbers(&[length], 1.0, 8);
            for x in [x.clone(), strided(&x), troubled(&x)] {
                for kind in [NormKind::Layer, NormKind::Rms] {
                    let scale = norm_scale_plain(&x, kind, 1e-5).unwrap();
                    assert_close(&norm_scale(&x, kind, 1e-5).unwrap(), &scale, 2e-6, 1e-3);
                    for (weight, bias, plus_one) in [
                        (None, None, false),
                        (Some(&weight), None, true),
                        (Some(&weight), Some(&bias), false),
                        (None, Some(&bias), false),
                    ] {
                        let expected =
                            norm_with_scale_plain(&x, kind, &scale, Affine { weight, plus_one, bias }).unwrap();
                        // With one number in a row, subtracting the mean cancels completely.
                        let found = norm(&x, kind, 1e-5, weight, plus_one, bias).unwrap();
                        assert_close(&found, &expected, 1e-5, 1.0);
                        let given = norm_with_scale(&x, kind, &scale, weight, plus_one, bias).unwrap();
                        assert_close(&given, &expected, 1e-5, 1.0);
                    }
                }
            }
        }
    });
}

#[test]
fn a_norm_and_one_with_its_own_scale_are_the_same_numbers() {
    let x = numbers(&[5, 130], 2.0, 3);
    for kind in [NormKind::Layer, NormKind::Rms] {
        let scale = norm_scale(&x, kind, 1e-6).unwrap();
        let one = norm(&x, kind, 1e-6, None, false, None).unwrap();
        assert_eq!(list(&one), list(&norm_with_scale(&x, kind, &scale, None, false, None).unwrap()));
    }
}

#[test]
fn rotations() {
    let gap = Gap { lengths: vec![2, 4], width: 4 };
    at_every_level(|| {
        for (half, size) in [(1, 2), (3, 7), (8, 16), (8, 20), (17, 64), (32, 64)] {
            let x = numbers(&[2, 3, 5, size], 2.0, half as u64);
            for neighbours in [false, true] {
                let frequencies: Vec<f32> = (0..half).map(|i| 0.7_f32.powi(i)).collect();
                let rotation = Rotation::new(&frequencies, 12, neighbours, &Device::Cpu).unwrap();
                for (past, gap) in [(0, None), (5, None), (2, Some(&gap)), (4, Some(&gap))] {
                    for x in [&x, &strided(&x)] {
                        let expected = rotate_plain(x, &rotation, past, gap).unwrap();
                        assert_close(&rotate(x, &rotation, past, gap).unwrap(), &expected, 1e-6, 1.0);
                    }
                }
            }
        }
    });
}

/// Checks the calls of Metal on the CPU, where candle has them, too.
#[test]
fn candle_norms_and_rotates_as_the_fused_loops_do() {
    for length in LENGTHS {
        let x = numbers(&[2, 3, length], 3.0, length as u64);
        let weight = numbers(&[length], 1.0, 7);
        for x in [&x, &strided(&x)] {
            for (weight, plus_one) in [(None, false), (Some(&weight), false), (Some(&weight), true)] {
                let affine = Affine { weight, plus_one, bias: None };
                let found = metal::norm(x, NormKind::Rms, 1e-5, affine).unwrap().unwrap();
                assert_close(&found, &norm(x, NormKind::Rms, 1e-5, weight, plus_one, None).unwrap(), 2e-6, 1.0);
            }
        }
        assert!(metal::norm(&x, NormKind::Layer, 1e-5, Affine::default()).unwrap().is_none());
        let biased = Affine { bias: Some(&weight), ..Affine::default() };
        assert!(metal::norm(&x, NormKind::Rms, 1e-5, biased).unwrap().is_none());
    }
    let gap = Gap { lengths: vec![2, 3], width: 3 };
    for (half, neighbours) in [(1, false), (8, false), (17, false), (1, true), (8, true), (17, true)] {
        let x = numbers(&[2, 3, 5, 2 * half], 2.0, half as u64);
        let frequencies: Vec<f32> = (0..half).map(|i| 0.7_f32.powi(i as i32)).collect();
        let rotation = Rotation::new(&frequencies, 12, neighbours, &Device::Cpu).unwrap();
        for (x, past) in [(&x, 0), (&x, 5), (&strided(&x), 9)] {
            let found = metal::rotate(x, &rotation, past, None).unwrap().unwrap();
            assert_close(&found, &rotate(x, &rotation, past, None).unwrap(), 1e-6, 1.0);
        }
        assert!(metal::rotate(&x, &rotation, 0, Some(&gap)).unwrap().is_none());
        let wider = numbers(&[2, 3, 5, 2 * half + 1], 2.0, 1);
        assert!(metal::rotate(&wider, &rotation, 0, None).unwrap().is_none());
        let variable = Var::from_tensor(&x).unwrap();
        assert!(metal::rotate(&variable, &rotation, 0, None).unwrap().is_none());
    }
}

#[test]
fn losses_of_tokens() {
    at_every_level(|| {
        for vocab in LENGTHS {
            let logits = numbers(&[4, vocab], 30.0, vocab as u64);
            let targets: Vec<u32> = (0..4).map(|i| i * 7 % vocab as u32).collect();
            for logits in [&logits, &strided(&logits)] {
                let expected = token_losses_plain(logits, &targets).unwrap();
                assert_close(&token_losses(logits, &targets).unwrap(), &expected, 2e-6, 30.0);
            }
        }
    });
    let even = Tensor::zeros((2, 8), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(list(&token_losses(&even, &[0, 7]).unwrap()), [8_f32.ln(); 2]);
    assert!(token_losses(&even, &[0, 8]).unwrap_err().message.contains("below the vocabulary of 8"));
    assert!(token_losses(&even, &[0]).is_err());
}

#[test]
fn divergences_of_predictions() {
    at_every_level(|| {
        for vocab in LENGTHS {
            let p = numbers(&[4, vocab], 30.0, vocab as u64);
            let q = numbers(&[4, vocab], 20.0, 1 + vocab as u64);
            for (p, q) in [(&p, &q), (&strided(&p), &q), (&q, &strided(&p))] {
                let found = divergences(p, q).unwrap().to_vec1::<f64>().unwrap();
                let expected = divergences_plain(p, q).unwrap().to_vec1::<f64>().unwrap();
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found} {expected}");
                }
            }
            assert_eq!(divergences(&p, &p).unwrap().to_vec1::<f64>().unwrap(), [0.0; 4]);
        }
    });
    let p = Tensor::new(&[[0.0_f32, f32::NAN], [0.0, 1.0]], &Device::Cpu).unwrap();
    let found = divergences(&p, &p).unwrap().to_vec1::<f64>().unwrap();
    assert!(found[0].is_nan() && found[1] == 0.0);
    let never = f32::NEG_INFINITY;
    let p = Tensor::new(&[[0.0_f32, never], [0.0, 0.0]], &Device::Cpu).unwrap();
    let q = Tensor::new(&[[1.0_f32, never], [0.0, never]], &Device::Cpu).unwrap();
    assert_eq!(divergences(&p, &q).unwrap().to_vec1::<f64>().unwrap(), [0.0, f64::INFINITY]);
    assert!(divergences(&p, &p.t().unwrap().narrow(0, 0, 1).unwrap()).is_err());
}

#[test]
fn half_precision_is_computed_in_f32() {
    for dtype in [DType::F16, DType::BF16] {
        let x = numbers(&[3, 65], 2.0, 9).to_dtype(dtype).unwrap();
        let wide = x.to_dtype(DType::F32).unwrap();
        for act in ACTS {
            let expected = activate_plain(&wide, act).unwrap().to_dtype(dtype).unwrap();
            assert_close(&activate(&x, act).unwrap(), &expected, 0.01, 1e-3);
        }
        let expected = norm(&wide, NormKind::Layer, 1e-5, None, false, None).unwrap().to_dtype(dtype).unwrap();
        assert_eq!(list(&norm(&x, NormKind::Layer, 1e-5, None, false, None).unwrap()), list(&expected));
    }
}
