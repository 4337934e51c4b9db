//! Sums over rows and columns, in a fixed order and wide enough for many rows.

use pulp::{Arch, Simd, WithSimd};

use crate::base::instructions::arch;
use crate::base::parallel;

/// Rows in a piece of work; where pieces begin depends on nothing else.
const PIECE: usize = 64;

/// Adds rows to the sums of their columns.
pub fn add_columns(arch: Arch, sums: &mut [f64], rows: &[f32]) {
    struct ColumnSums<'a>(&'a [f32], &'a mut [f64]);
    impl WithSimd for ColumnSums<'_> {
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
    arch.dispatch(ColumnSums(rows, sums));
}

/// The share of the mean square below which a variance is rounding error.
const LEAST: f64 = 1e-12;

/// Computes the sum of squared deviations of rows from their mean, in one pass: sum x^2 - (sum x)^2 / n. The square of
/// an f32 is exact in f64, so that the cancellation where the mean is large costs digits of f64, of which there are
/// enough.
pub fn spread(rows: &[f32], width: usize) -> f64 {
    struct ColumnMoments<'a>(&'a [f32], &'a mut [f64], &'a mut [f64]);
    impl WithSimd for ColumnMoments<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for row in self.0.chunks_exact(self.1.len()) {
                for ((sum, square), x) in self.1.iter_mut().zip(self.2.iter_mut()).zip(row) {
                    let x = f64::from(*x);
                    *sum += x;
                    *square += x * x;
                }
            }
        }
    }
    let arch = arch();
    let piece = |rows: &[f32]| {
        let mut sums = vec![0.0; width];
        let mut squares = vec![0.0; width];
        arch.dispatch(ColumnMoments(rows, &mut sums, &mut squares));
        (sums, squares.iter().sum::<f64>())
    };
    let parts = parallel::of_each_short(rows.chunks(PIECE * width), &piece);
    let mut total = vec![0.0; width];
    let mut squares = 0.0;
    for (sums, square) in parts {
        add(&mut total, &sums);
        squares += square;
    }
    let count = (rows.len() / width) as f64;
    let spread = squares - total.iter().map(|sum| sum * sum / count).sum::<f64>();
    if spread > LEAST * squares { spread } else { 0.0 }
}

/// Adds sums to the total.
pub fn add(total: &mut [f64], sums: &[f64]) {
    total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
}

/// Computes the dot product of two vectors.
pub fn dot(arch: Arch, a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    super::dots_with_rows(arch, &mut product, a, b, &[0]);
    product[0]
}

/// Returns the sum of the squares of a vector.
pub fn squares(arch: Arch, vector: &[f32]) -> f32 {
    dot(arch, vector, vector)
}
