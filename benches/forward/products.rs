//! The matrix products of a forward pass alone: gemm's time for the same sizes.

use gemm::Parallelism;
use rayon::prelude::*;

use super::{LENGTH, TEXTS};

const HEADS: usize = 8;
const SIZE: usize = 64;
const WIDTH: usize = HEADS * SIZE;
const WIDE: usize = 2048;
const VOCAB: usize = 50_304;
const ROWS: usize = TEXTS * LENGTH;

/// What the products are of, and memory for what they give.
pub struct Products {
    layers: usize,
    logits: bool,
    x: Vec<f32>,
    weights: Vec<f32>,
    y: Vec<f32>,
}

impl Products {
    /// The products of this many blocks, attention included, and those of the vocabulary where `logits` says so.
    pub fn new(layers: usize, logits: bool) -> Self {
        let x = vec![0.5; ROWS * WIDE];
        let weights = vec![0.5; VOCAB * WIDTH];
        let y = vec![0.0; ROWS * if logits { VOCAB } else { WIDE }];
        Self { layers, logits, x, weights, y }
    }

    pub fn compute(&mut self) {
        let Self { x, weights, y, .. } = self;
        for _ in 0..self.layers {
            for sizes in [[ROWS, WIDTH, 3 * WIDTH], [ROWS, WIDTH, WIDTH], [ROWS, WIDTH, WIDE], [ROWS, WIDE, WIDTH]] {
                multiply(sizes, x, weights, y, Parallelism::Rayon(0));
            }
            y.par_chunks_mut(LENGTH * LENGTH).take(TEXTS * HEADS).for_each(|y| {
                multiply([LENGTH, SIZE, LENGTH], x, weights, y, Parallelism::None);
                multiply([LENGTH, LENGTH, SIZE], x, weights, y, Parallelism::None);
            });
        }
        if self.logits {
            multiply([ROWS, WIDTH, VOCAB], x, weights, y, Parallelism::Rayon(0));
        }
    }
}

/// y = x W^T for x `[m, k]` and W `[n, k]`.
fn multiply([m, k, n]: [usize; 3], x: &[f32], weights: &[f32], y: &mut [f32], threads: Parallelism) {
    assert!(x.len() >= m * k && weights.len() >= k * n && y.len() >= m * n);
    let y = y.as_mut_ptr();
    let y_step = n as isize;
    let x = x.as_ptr();
    let weights = weights.as_ptr();
    let step = k as isize;
    // SAFETY: the slices are as large as the sizes say.
    unsafe {
        gemm::gemm(m, n, k, y, 1, y_step, false, x, 1, step, weights, step, 1, 0.0, 1.0, false, false, false, threads);
    }
}
