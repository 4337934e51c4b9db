//! The gradients of every fused operation: against candle's for the reference implementation in f64, which in turn are
//! compared with finite differences.

use candle_core::{DType, Device, Tensor, Var};

use super::super::*;
use super::{ACTS, LENGTHS, assert_close, at_every_level, list, numbers, strided};
use crate::base::error::Result;

/// Compares the gradients of all arguments. The result's numbers are weighed, so that all have gradients of their own.
#[track_caller]
pub(super) fn check(arguments: &[Tensor], tolerance: f32, floor: f32, f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let objective = |arguments: &[Tensor]| {
        let y = f(arguments).unwrap();
        let weights = numbers(y.dims(), 1.0, 77).to_dtype(y.dtype()).unwrap();
        (y * weights).unwrap().sum_all().unwrap()
    };
    let gradients = |dtype: DType| -> Vec<Tensor> {
        let variables: Vec<Var> =
            arguments.iter().map(|x| Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap()).collect();
        let tensors: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
        let store = objective(&tensors).backward().unwrap();
        variables.iter().map(|x| store.get(x).unwrap().clone()).collect()
    };
    let variables: Vec<Var> = arguments.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
    // The objective itself is an island after the operation.
    let taped =
        TapedTensor::of(|| Ok::<_, crate::base::error::Error>(objective(&tensors))).unwrap().backward().unwrap();
    let by_tape = variables.iter().map(|x| taped.get(x).unwrap().clone());
    for (by_tape, by_candle) in by_tape.zip(gradients(DType::F32)) {
        assert_eq!(list(&by_tape), list(&by_candle));
    }
    let wide: Vec<Tensor> = arguments.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect();
    for (at, (found, expected)) in gradients(DType::F32).iter().zip(gradients(DType::F64)).enumerate() {
        assert_close(found, &expected.to_dtype(DType::F32).unwrap(), tolerance, floor);
        finite_difference(&wide, at, &expected, &objective);
    }
}

/// Compares the last number of a gradient with the change of the objective.
#[track_caller]
fn finite_difference(arguments: &[Tensor], at: usize, gradient: &Tensor, objective: &impl Fn(&[Tensor]) -> Tensor) {
    let step = 1e-5;
    let last = arguments[at].elem_count() - 1;
    let moved = |change: f64| {
        let mut all: Vec<f64> = arguments[at].flatten_all().unwrap().to_vec1().unwrap();
        all[last] += change;
        let mut arguments = arguments.to_vec();
        arguments[at] = Tensor::from_vec(all, arguments[at].shape(), &Device::Cpu).unwrap();
        objective(&arguments).to_scalar::<f64>().unwrap()
    };
    let expected = (moved(step) - moved(-step)) / (2.0 * step);
    let found: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
    assert!((found[last] - expected).abs() < 1e-5 * expected.abs().max(1.0), "{} is not {expected}", found[last]);
}

#[test]
fn linear_maps() {
    at_every_level(|| {
        for (rows, inner, out) in [(1, 1, 1), (3, 5, 2), (9, 17, 33), (300, 64, 40)] {
            let x = numbers(&[rows, inner], 1.0, 1);
            let weight = numbers(&[out, inner], 1.0, 2);
            let bias = numbers(&[out], 1.0, 3);
            check(&[x.clone(), weight.clone()], 1e-5, 4.0, |t| linear(&t[0], &t[1], None));
            check(&[x.clone(), weight.clone(), bias.clone()], 1e-5, 4.0, |t| linear(&t[0], &t[1], Some(&t[2])));
            for act in ACTS {
                let all = [x.clone(), weight.clone(), bias.clone()];
                check(&all, 2e-5, 4.0, |t| linear_activated(&t[0], &t[1], Some(&t[2]), act));
            }
        }
    });
}

#[test]
fn only_those_that_ask_have_gradients() {
    let x = numbers(&[3, 4], 1.0, 1);
    let weight = Var::from_tensor(&numbers(&[2, 4], 1.0, 2)).unwrap();
    let bias = numbers(&[2], 1.0, 3);
    let store = linear(&x, &weight, Some(&bias)).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(store.get(&weight).unwrap().dims(), [2, 4]);
    assert!(store.get(&x).is_none() && store.get(&bias).is_none());
}

#[test]
fn sums_of_tensors() {
    let arguments = [numbers(&[3, 5], 1.0, 1), numbers(&[3, 5], 1.0, 2)];
    check(&arguments, 1e-6, 1.0, |t| add(&t[0], &t[1]));
    check(&arguments[..1], 1e-6, 1.0, |t| add(&t[0], &t[0]));
}

#[test]
fn activations() {
    at_every_level(|| {
        for length in LENGTHS {
            let x = numbers(&[2, length], 5.0, 1);
            let up = numbers(&[2, length], 2.0, 2);
            for act in ACTS {
                check(std::slice::from_ref(&x), 2e-6, 1.0, |t| activate(&t[0], act));
                check(&[x.clone(), up.clone()], 2e-6, 4.0, |t| activate_gated(&t[0], &t[1], act));
            }
        }
    });
}

#[test]
fn norms() {
    at_every_level(|| {
        for (rows, width) in [(1, 2), (3, 17), (2, 64), (300, 33)] {
            let x = numbers(&[rows, width], 3.0, 1);
            let weight = numbers(&[width], 1.0, 2);
            let bias = numbers(&[width], 1.0, 3);
            for kind in [NormKind::Layer, NormKind::Rms] {
                let all = [x.clone(), weight.clone(), bias.clone()];
                check(&all[..1], 1e-5, 3.0, |t| norm(&t[0], kind, 1e-2, None, false, None));
                check(&all[..2], 1e-5, 3.0, |t| norm(&t[0], kind, 1e-2, Some(&t[1]), true, None));
                check(&all, 1e-5, 3.0, |t| norm(&t[0], kind, 1e-2, Some(&t[1]), false, Some(&t[2])));
            }
        }
    });
}

#[test]
fn rotations() {
    let gap = Gap { lengths: vec![2, 4], width: 4 };
    for (half, size) in [(1, 2), (3, 7), (8, 20)] {
        for neighbours in [false, true] {
            let frequencies: Vec<f32> = (0..half).map(|i| 0.7_f32.powi(i)).collect();
            let rotation = Rotation::new(&frequencies, 12, neighbours, &Device::Cpu).unwrap();
            let x = numbers(&[2, 3, 2, size], 2.0, 1);
            for (past, gap) in [(5, None), (4, Some(&gap))] {
                check(std::slice::from_ref(&x), 1e-6, 1.0, |t| rotate(&t[0], &rotation, past, gap));
            }
        }
    }
}

#[test]
fn attention_of_all_reaches() {
    let gap = Gap { lengths: vec![1, 4], width: 4 };
    at_every_level(|| {
        for (columns, keys, heads, shared, size, value_size) in [
            (1, 1, 1, 1, 1, 1),
            (3, 5, 2, 1, 3, 3),
            (5, 7, 4, 2, 17, 17),
            (66, 70, 2, 1, 8, 8),
            (5, 7, 4, 2, 12, 7),
            (66, 70, 2, 2, 6, 16),
        ] {
            let q = numbers(&[2, columns, heads, size], 2.0, 1);
            let k = numbers(&[2, keys, shared, size], 2.0, 2);
            let v = numbers(&[2, keys, shared, value_size], 2.0, 3);
            for reach in super::attention::reaches(&gap).into_iter().step_by(if columns > 9 { 4 } else { 1 }) {
                let all = [q.clone(), k.clone(), v.clone()];
                check(&all, 1e-5, 2.0, |t| attention(&t[0], &t[1], &t[2], 0.3, None, &reach));
            }
            for reach in super::attention::biased_reaches(&gap, &super::attention::alibi(heads)) {
                let all = [q.clone(), k.clone(), v.clone()];
                check(&all, 1e-5, 2.0, |t| attention(&t[0], &t[1], &t[2], 0.3, None, &reach));
            }
            let reach = Reach { causal: true, ..Reach::default() };
            check(&[q, k, v], 1e-5, 2.0, |t| attention(&t[0], &t[1], &t[2], 0.3, Some(1.5), &reach));
        }
    });
}

#[test]
fn attention_of_which_one_row_is_read() {
    let q = numbers(&[2, 130, 2, 8], 2.0, 1);
    let k = numbers(&[2, 130, 1, 8], 2.0, 2);
    let v = numbers(&[2, 130, 1, 5], 2.0, 3);
    let reach = Reach { causal: true, ..Reach::default() };
    at_every_level(|| {
        for row in [70, 129] {
            let all = [q.clone(), k.clone(), v.clone()];
            check(&all, 1e-5, 2.0, |t| Ok(attention(&t[0], &t[1], &t[2], 0.3, None, &reach)?.narrow(1, row, 1)?));
        }
    });
}

#[test]
fn losses() {
    at_every_level(|| {
        for vocab in LENGTHS {
            let targets: Vec<u32> = (0..4).map(|i| i * 7 % vocab as u32).collect();
            check(&[numbers(&[4, vocab], 8.0, 1)], 1e-5, 1.0, |t| token_losses(&t[0], &targets));
            let all = [numbers(&[2, 2, 9], 1.0, 1), numbers(&[vocab, 9], 1.0, 2), numbers(&[vocab], 1.0, 3)];
            let other = numbers(&[4, vocab], 8.0, 2);
            check(&[numbers(&[4, vocab], 8.0, 1)], 1e-5, 1.0, |t| divergences(&other, &t[0]));
            let counts = [0.25, 0.0, 0.5, 2.0];
            check(&all[..2], 1e-5, 1.0, |t| cross_entropy(&t[0], &t[1], None, &targets, &counts));
            check(&all, 1e-5, 1.0, |t| cross_entropy(&t[0], &t[1], Some(&t[2]), &targets, &counts));
        }
    });
}

#[test]
fn a_loss_over_many_pieces_of_rows() {
    let rows = 700;
    let vocab = 3000;
    let x = numbers(&[rows, 8], 1.0, 1);
    let weight = numbers(&[vocab, 8], 1.0, 2);
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 13 % vocab as u32).collect();
    let counts = vec![1.0 / rows as f32; rows];
    check(&[x.clone(), weight.clone()], 1e-5, 0.1, |t| cross_entropy(&t[0], &t[1], None, &targets, &counts));
    let loss = cross_entropy(&x, &weight, None, &targets, &counts).unwrap();
    let each = token_losses(&linear(&x, &weight, None).unwrap(), &targets).unwrap();
    assert_close(&loss, &each.mean_all().unwrap(), 1e-6, 1.0);
    assert!(
        cross_entropy(&x, &weight, None, &targets, &[1.0]).unwrap_err().message.contains("a count for each of 700")
    );
}

/// Checks a loss whose logits are computed for some words at a time.
#[test]
fn a_loss_of_many_words() {
    let words = WORDS + 100;
    let all = [numbers(&[3, 8], 1.0, 1), numbers(&[words, 8], 1.0, 2), numbers(&[words], 1.0, 3)];
    let targets = [5, WORDS as u32 + 9, 700];
    let counts = [0.5, 0.25, 2.0];
    check(&all[..2], 1e-5, 0.1, |t| cross_entropy(&t[0], &t[1], None, &targets, &counts));
    check(&all, 1e-5, 0.1, |t| cross_entropy(&t[0], &t[1], Some(&t[2]), &targets, &counts));
}

#[test]
fn rows_of_a_table() {
    let table = numbers(&[600, 3], 1.0, 1);
    let ids = Tensor::new(&[5_u32, 0, 599, 5, 5], &Device::Cpu).unwrap();
    check(std::slice::from_ref(&table), 1e-6, 1.0, |t| look_up(&t[0], &ids));
    let beyond = Tensor::new(&[600_u32], &Device::Cpu).unwrap();
    assert!(look_up(&table, &beyond).is_err());
}

#[test]
fn strided_arguments_and_gradients() {
    let x = numbers(&[4, 6], 1.0, 1);
    let weight = numbers(&[3, 6], 1.0, 2);
    let turned = |x: &Tensor| strided(x);
    check(&[x, weight], 1e-5, 1.0, |t| Ok(turned(&linear(&turned(&t[0]), &turned(&t[1]), None)?)));
    let q = numbers(&[2, 3, 2, 4], 1.0, 1);
    let reach = Reach { causal: true, ..Reach::default() };
    check(&[q], 1e-5, 1.0, |t| {
        let x = turned(&t[0]);
        Ok(turned(&attention(&x, &x, &x, 0.5, None, &reach)?))
    });
}

/// Checks fused operations with candle's between, before and after them, and results that are used twice.
#[test]
fn a_tape_with_islands() {
    let x = numbers(&[6, 4], 1.0, 1);
    let weight = numbers(&[4, 4], 1.0, 2);
    check(&[x, weight], 1e-5, 1.0, |t| {
        let before = (&t[0] * 2.0)?;
        let y = linear(&before, &t[1], None)?;
        let island = (y.sin()? + reshape(&t[0], &[6, 4])?)?;
        let z = add(&linear(&island, &t[1], None)?, &y)?;
        let turned = reshape(&z, &[2, 3, 4])?;
        Ok((norm(&turned, NormKind::Rms, 1e-3, None, false, None)? * &turned)?.sqr()?)
    });
}

#[test]
fn what_a_tape_refuses_and_what_it_gives_back() {
    let x = Var::from_tensor(&numbers(&[3], 1.0, 1)).unwrap();
    let several = TapedTensor::of(|| activate(&x, Activation::Silu)).err().unwrap();
    assert_eq!(several.message, "expected one number to take the gradient of, found shape [3]");
    let failed = TapedTensor::of(|| crate::base::error::bail!(Argument, "no")).err().unwrap();
    assert_eq!(failed.message, "no");
    // Both tapes have ended, so this goes to candle's graph.
    let sum = activate(&x, Activation::Relu).unwrap().sum_all().unwrap();
    assert!(sum.backward().unwrap().get(&x).is_some());
    let other = Var::from_tensor(&numbers(&[3], 1.0, 2)).unwrap();
    let taped = TapedTensor::of(|| Ok::<_, crate::base::error::Error>(add(&x, &x)?.sum_all()?)).unwrap();
    assert_eq!(list(&taped.number()), list(&(x.sum_all().unwrap() * 2.0).unwrap()));
    let mut gradients = taped.backward().unwrap();
    assert!(gradients.get(&other).is_none());
    assert_eq!(list(&gradients.take(&x).unwrap()), [2.0; 3]);
    assert!(gradients.get(&x).is_none());
}

#[test]
fn the_same_bytes_every_time() {
    let x = numbers(&[900, 40], 1.0, 1);
    let weight = Var::from_tensor(&numbers(&[90, 40], 1.0, 2)).unwrap();
    let run = || {
        let y = linear(&norm(&x, NormKind::Layer, 1e-5, None, false, None).unwrap(), &weight, None).unwrap();
        list(y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&weight).unwrap())
    };
    assert_eq!(run(), run());
}
