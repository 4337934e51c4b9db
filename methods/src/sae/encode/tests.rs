//! Sparse codes are the dense ones without their zeros.

use proptest::prelude::*;

use super::*;
use crate::base::random::stream;
use crate::sae::{About, Scaling};
use crate::tensor::{create, floats};

/// Draws whole numbers, so that sums are exact, from a few that are often equal.
fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let random = create::randn(shape, DType::F32, &mut stream(seed, "numbers", 0)).unwrap();
    (random * 1.5).unwrap().round().unwrap()
}

fn parts(activation: Activation, d_in: usize, d_sae: usize, seed: u64) -> Parts {
    Parts {
        encoder: numbers(&[d_sae, d_in], seed),
        encoder_bias: Some(numbers(&[d_sae], seed + 1)),
        activation,
        decoder: numbers(&[d_sae, d_in], seed + 2),
        decoder_bias: Some(numbers(&[d_in], seed + 3)),
        centred: true,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About::default(),
    }
}

fn activations_of(d_sae: usize) -> Vec<Activation> {
    vec![
        Activation::TopK(1),
        Activation::TopK((d_sae / 16).max(1)),
        Activation::TopK(d_sae),
        Activation::Relu,
        Activation::Threshold((numbers(&[d_sae], 7) * 5.0).unwrap()),
        Activation::Linear(None),
        Activation::Linear(Some(1)),
    ]
}

/// Encodes as it is done when gradients are needed.
fn by_the_dense_way(sae: &Sae, x: &Tensor) -> Tensor {
    sae.encode(candle_core::Var::from_tensor(x).unwrap().as_tensor()).unwrap().detach()
}

#[track_caller]
fn same_as_dense(parts: Parts, x: &Tensor) {
    let what = format!("{} {:?}", parts.activation.name(), x.dims());
    let sae = Sae::new(parts).unwrap();
    let found = sae.encode_sparse(x, &Task::default()).unwrap();
    let dense = by_the_dense_way(&sae, x);
    assert_eq!(floats(&sae.encode(x).unwrap()).unwrap(), floats(&dense).unwrap(), "{what}");
    let dense = dense.reshape(((), sae.d_sae())).unwrap();
    assert_eq!((found.rows(), found.d_sae()), dense.dims2().unwrap(), "{what}");
    assert_eq!(floats(&found.dense().unwrap()).unwrap(), floats(&dense).unwrap(), "{what}");
    for row in 0..found.rows() {
        let (features, codes) = found.row(row);
        assert!(features.is_sorted_by(|a, b| a < b) && codes.iter().all(|code| *code != 0.0), "{what}");
    }
    let fires = dense.ne(0.0).unwrap().to_dtype(DType::F32).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert_eq!(found.count(), fires as usize, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn codes_are_those_of_the_dense_way(d_in in 1usize..9, d_sae in 1usize..40, rows in 1usize..20, seed in 0u64..99) {
        let x = numbers(&[rows, d_in], seed + 50);
        for activation in activations_of(d_sae) {
            same_as_dense(parts(activation, d_in, d_sae, seed), &x);
        }
    }
}

#[test]
fn wide_dictionaries_have_the_same_codes_too() {
    for (d_in, d_sae, rows) in [(64, 700, 60), (130, 513, 49)] {
        for activation in activations_of(d_sae) {
            same_as_dense(parts(activation, d_in, d_sae, 3), &numbers(&[rows, d_in], 4));
        }
    }
}

#[test]
fn axes_scaling_and_units_are_minded() {
    let x = numbers(&[2, 3, 6], 5);
    same_as_dense(parts(Activation::TopK(3), 6, 20, 1), &x);
    for activation in activations_of(20) {
        let plain = parts(activation, 6, 20, 2);
        for (rescaled, scaling) in [(true, Scaling::None), (false, Scaling::LayerNorm), (true, Scaling::ConstantNorm)] {
            let sae = Sae::new(Parts { rescaled, scaling, ..plain.clone() }).unwrap();
            let sparse = sae.encode_sparse(&x, &Task::default()).unwrap().dense().unwrap();
            let dense = by_the_dense_way(&sae, &x).reshape(((), 20)).unwrap();
            let worst =
                floats(&(sparse - dense).unwrap()).unwrap().into_iter().fold(0f64, |worst, d| worst.max(d.abs()));
            assert!(worst < 1e-3, "{} {scaling:?}: {worst}", plain.activation.name());
        }
    }
}

#[test]
fn there_may_be_no_rows_and_wrong_widths_are_refused() {
    let sae = Sae::new(parts(Activation::TopK(2), 6, 20, 1)).unwrap();
    let none = sae.encode_sparse(&numbers(&[0, 6], 0), &Task::default()).unwrap();
    assert_eq!((none.rows(), none.count(), none.row(0)), (0, 0, ([].as_slice(), [].as_slice())));
    let error = sae.encode_sparse(&numbers(&[3, 5], 0), &Task::default()).unwrap_err();
    assert_eq!(error.message, "expected activations of width 6, found the shape [3, 5]");
}
