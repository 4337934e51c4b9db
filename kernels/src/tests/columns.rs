//! Networks of columns against candle's operations, and their gradients.

use candle_core::{Device, Tensor};

use super::super::*;
use super::back::check;
use super::{assert_close, at_every_level, numbers, strided, troubled};
use crate::linear::columns::column_networks_plain;

/// Rows, hidden units and networks, around the sizes of pieces of work.
const SIZES: [(usize, usize, usize); 5] = [(1, 1, 1), (3, 2, 5), (7, 16, 16), (5, 3, 17), (300, 4, 20)];

#[track_caller]
fn compare(x: &Tensor, weights: &Tensor) {
    let found = column_networks(x, weights).unwrap();
    assert_close(&found, &column_networks_plain(x, weights).unwrap(), 2e-6, 12.0);
}

#[test]
fn networks_of_columns() {
    at_every_level(|| {
        for (seed, (rows, width, networks)) in SIZES.into_iter().enumerate() {
            let x = numbers(&[rows, networks], 3.0, seed as u64);
            let weights = numbers(&[3, width, networks], 1.0, 100);
            compare(&x, &weights);
            compare(&strided(&x), &weights);
        }
        // A sum of several huge numbers may overflow in one order and not in another.
        compare(&troubled(&numbers(&[3, 5], 3.0, 1)), &numbers(&[3, 1, 5], 1.0, 2));
        // Two units: gelu(2 - 1) - 3 gelu(0).
        let weights = [1f32, 4.0, -1.0, -8.0, 1.0, -3.0];
        let weights = Tensor::from_slice(&weights, (3, 2, 1), &Device::Cpu).unwrap();
        let x = Tensor::new(&[[2f32]], &Device::Cpu).unwrap();
        let found = column_networks(&x, &weights).unwrap().to_vec2::<f32>().unwrap();
        assert!((found[0][0] - 0.841_344_7).abs() < 1e-6, "{found:?}");
    });
}

#[test]
fn gradients_of_networks_of_columns() {
    at_every_level(|| {
        for (rows, width, networks) in SIZES {
            let all = [numbers(&[rows, networks], 2.0, 1), numbers(&[3, width, networks], 1.0, 2)];
            check(&all, 2e-5, 8.0, |t| column_networks(&t[0], &t[1]));
        }
    });
    let error = column_networks(&numbers(&[2, 3], 1.0, 1), &numbers(&[3, 2, 4], 1.0, 2)).unwrap_err();
    assert!(error.message.contains("expected weights [3, width, 3], found [3, 2, 4]"), "{}", error.message);
}
