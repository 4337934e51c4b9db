//! The matrix products of a forward pass alone: gemm's time for the same sizes.

use std::time::Duration;

use gemm::Parallelism;
use rayon::prelude::*;

use super::common::timed;
use super::{LENGTH, RUNS, TEXTS};

const HEADS: usize = 8;
const SIZE: usize = 64;
const WIDTH: usize = HEADS * SIZE;
const WIDE: usize = 2048;
const VOCAB: usize = 50_304;

/// The products of this many blocks, attention included, into allocated memory.
pub fn time(layers: usize, logits: bool) -> Duration {
    let rows = TEXTS * LENGTH;
    let x = vec![0.5; rows * WIDE];
    let weights = vec![0.5; VOCAB * WIDTH];
    let mut y = vec![0.0; rows * if logits { VOCAB } else { WIDE }];
    let maps = [[rows, WIDTH, 3 * WIDTH], [rows, WIDTH, WIDTH], [rows, WIDTH, WIDE], [rows, WIDE, WIDTH]];
    timed(
        || {
            for _ in 0..layers {
                for sizes in maps {
                    multiply(sizes, &x, &weights, &mut y, Parallelism::Rayon(0));
                }
                y.par_chunks_mut(LENGTH * LENGTH).take(TEXTS * HEADS).for_each(|y| {
                    multiply([LENGTH, SIZE, LENGTH], &x, &weights, y, Parallelism::None);
                    multiply([LENGTH, LENGTH, SIZE], &x, &weights, y, Parallelism::None);
                });
            }
            if logits {
                multiply([rows, WIDTH, VOCAB], &x, &weights, &mut y, Parallelism::Rayon(0));
            }
        },
        RUNS,
    )
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
