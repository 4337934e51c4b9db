//! Rows of weights as columns, as matrix products read them: `gemm` reads neighbouring rows side by side, and copies one
//! number at a time where they lie one after the other, which took a quarter of a product with 256 rows by AVX-512. By AVX2, whose
//! products take longer, it took a third of one with 33 rows of 2,048 numbers and nothing measurable from 256 on.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod avx512;

use pulp::Arch;

use super::dots::aligned;
use super::factor::Factor;

/// Rows and columns that are turned together, as many as a register holds.
const SIDE: usize = 16;

/// Returns W^T of rows of W, which are turned in a buffer where the CPU does that fast. Of fewer rows than a register
/// holds `gemm` makes dot products, which read them as they are.
pub(super) fn turned<'a>(arch: Arch, rows: &'a [f32], inner: usize, buffer: &'a mut Vec<f32>) -> Factor<'a> {
    let count = rows.len() / inner.max(1);
    let is_fast = cfg!(target_arch = "x86_64") && !matches!(arch, Arch::Scalar);
    if count < SIDE || !is_fast {
        return Factor { numbers: rows, row: 1, column: inner as isize };
    }
    let out = aligned(buffer, count * inner);
    turn(arch, rows, inner, out);
    Factor { numbers: out, row: count as isize, column: 1 }
}

/// Writes rows as columns: in squares, and the rest one number at a time.
pub(super) fn turn(arch: Arch, rows: &[f32], inner: usize, out: &mut [f32]) {
    let count = rows.len() / inner.max(1);
    let [down, across] = [count, inner].map(|size| size / SIDE * SIDE);
    for row in (0..down).step_by(SIDE) {
        for column in (0..across).step_by(SIDE) {
            square(arch, &rows[row * inner + column..], inner, &mut out[column * count + row..], count);
        }
    }
    for row in 0..count {
        let first = if row < down { across } else { 0 };
        for column in first..inner {
            out[column * count + row] = rows[row * inner + column];
        }
    }
}

/// Turns a square.
fn square(arch: Arch, rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
    match arch {
        // SAFETY: the CPU has these instructions, as it has all of `arch`.
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Arch::V4(_) => unsafe { avx512::square(rows, step, out, out_step) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => unsafe { avx2::square(rows, step, out, out_step) },
        _ => {
            for row in 0..SIDE {
                for column in 0..SIDE {
                    out[column * out_step + row] = rows[row * step + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turn;
    use crate::base::instructions::arch;
    use crate::tests::at_every_level;

    #[test]
    fn columns_are_the_rows() {
        for [count, inner] in [[1, 1], [3, 5], [16, 16], [16, 40], [37, 16], [35, 51], [48, 33]] {
            let rows: Vec<f32> = (0..count * inner).map(|number| number as f32).collect();
            at_every_level(|| {
                let mut found = vec![0.0; rows.len()];
                turn(arch(), &rows, inner, &mut found);
                for row in 0..count {
                    for column in 0..inner {
                        assert_eq!(found[column * count + row], rows[row * inner + column]);
                    }
                }
            });
        }
    }
}
