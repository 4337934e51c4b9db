//! Sums over rows and columns, in a fixed order and wide enough for many rows.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::tensor::kernels::level::arch;

/// Rows that one piece of work takes; where pieces begin depends on nothing else.
const PIECE: usize = 64;

/// The sums of the columns.
pub fn column_sums(rows: &[f32], width: usize) -> Vec<f64> {
    struct Columns<'a>(&'a [f32], &'a mut [f64]);
    impl WithSimd for Columns<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for row in self.0.chunks_exact(self.1.len()) {
                for (sum, x) in self.1.iter_mut().zip(row) {
                    *sum += f64::from(*x);
                }
            }
        }
    }
    let arch = arch();
    let piece = |rows: &[f32]| {
        let mut sums = vec![0.0; width];
        arch.dispatch(Columns(rows, &mut sums));
        sums
    };
    let parts: Vec<Vec<f64>> = rows.par_chunks(PIECE * width).map(piece).collect();
    let mut total = vec![0.0; width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// The sum of the squares of how far rows are from a middle.
pub fn spread(rows: &[f32], middle: &[f32]) -> f64 {
    struct Distance<'a>(&'a [f32], &'a [f32]);
    impl WithSimd for Distance<'_> {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            let ((x, x_rest), (y, y_rest)) = (S::as_simd_f32s(self.0), S::as_simd_f32s(self.1));
            let mut sum = simd.splat_f32s(0.0);
            for (x, y) in x.iter().zip(y) {
                let difference = simd.sub_f32s(*x, *y);
                sum = simd.mul_add_e_f32s(difference, difference, sum);
            }
            let rest = x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y));
            rest.fold(simd.reduce_sum_f32s(sum), |sum, square| sum + square)
        }
    }
    let arch = arch();
    let piece =
        |rows: &[f32]| rows.chunks_exact(middle.len()).map(|row| f64::from(arch.dispatch(Distance(row, middle)))).sum();
    let parts: Vec<f64> = rows.par_chunks(PIECE * middle.len()).map(piece).collect();
    parts.iter().sum()
}

/// The dot product of two vectors.
pub fn dot(arch: Arch, a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    super::dots_with_rows(arch, &mut product, a, b, &[0]);
    product[0]
}

/// The sum of the squares of a vector.
pub fn squares(arch: Arch, vector: &[f32]) -> f32 {
    dot(arch, vector, vector)
}
