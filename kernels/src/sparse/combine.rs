//! Sums of a few rows of a matrix, and dot products with them.

use pulp::{Arch, Simd, WithSimd};

use crate::base::prefetch::ask_for;
use crate::numbers::elementwise::{Replace, Times};

/// Rows that are added in one pass over the result.
const TOGETHER: usize = 4;

/// Rows that are picked before they are added, a multiple of `TOGETHER`: the loops below are compiled once, not for every way
/// to pick.
const PICKED: usize = 32;

/// Adds rows of a matrix, each as wide as `out`: `pick(i)` says which row is the i-th and what it counts.
pub fn add_rows(arch: Arch, out: &mut [f32], matrix: &[f32], count: usize, pick: impl Fn(usize) -> (u32, f32)) {
    let mut picked = [(0, 0.0); PICKED];
    for first in (0..count).step_by(PICKED) {
        let picked = &mut picked[..PICKED.min(count - first)];
        for (i, picked) in picked.iter_mut().enumerate() {
            *picked = pick(first + i);
        }
        add_picked(arch, out, matrix, picked);
    }
}

fn add_picked(arch: Arch, out: &mut [f32], matrix: &[f32], picked: &[(u32, f32)]) {
    arch.dispatch(AddRows { out, matrix, picked });
}

struct AddRows<'a> {
    out: &'a mut [f32],
    matrix: &'a [f32],
    picked: &'a [(u32, f32)],
}

impl WithSimd for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, matrix, picked } = self;
        let (groups, rest) = picked.as_chunks::<TOGETHER>();
        for (index, now) in groups.iter().enumerate() {
            for (next, _) in picked.iter().skip((index + 1) * TOGETHER).take(TOGETHER) {
                ask_for(matrix, out.len(), *next);
            }
            add(simd, out, matrix, *now);
        }
        for one in rest {
            add(simd, out, matrix, [*one]);
        }
    }
}

#[inline(always)]
fn add<S: Simd, const N: usize>(simd: S, out: &mut [f32], matrix: &[f32], picked: [(u32, f32); N]) {
    let width = out.len();
    let rows = picked.map(|(row, _)| S::as_simd_f32s(&matrix[row as usize * width..(row as usize + 1) * width]));
    let factors = picked.map(|(_, factor)| factor);
    let splat = factors.map(|factor| simd.splat_f32s(factor));
    let (out, rest) = S::as_mut_simd_f32s(out);
    for (at, out) in out.iter_mut().enumerate() {
        let mut sum = *out;
        for i in 0..N {
            sum = simd.mul_add_e_f32s(rows[i].0[at], splat[i], sum);
        }
        *out = sum;
    }
    for (at, out) in rest.iter_mut().enumerate() {
        for i in 0..N {
            *out += rows[i].1[at] * factors[i];
        }
    }
}

/// Writes the dot product of a vector with each of these rows of a matrix.
pub fn dots_with_rows(arch: Arch, out: &mut [f32], vector: &[f32], matrix: &[f32], rows: &[u32]) {
    arch.dispatch(Dots { out, vector, matrix, rows });
}

struct Dots<'a> {
    out: &'a mut [f32],
    vector: &'a [f32],
    matrix: &'a [f32],
    rows: &'a [u32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, vector, matrix, rows } = self;
        let (out_groups, out_rest) = out.as_chunks_mut::<TOGETHER>();
        let (groups, rest) = rows.as_chunks::<TOGETHER>();
        for (index, (out, now)) in out_groups.iter_mut().zip(groups).enumerate() {
            for next in rows.iter().skip((index + 1) * TOGETHER).take(TOGETHER) {
                ask_for(matrix, vector.len(), *next);
            }
            *out = dots(simd, vector, matrix, *now);
        }
        for (out, row) in out_rest.iter_mut().zip(rest) {
            [*out] = dots(simd, vector, matrix, [*row]);
        }
    }
}

#[inline(always)]
fn dots<S: Simd, const N: usize>(simd: S, vector: &[f32], matrix: &[f32], rows: [u32; N]) -> [f32; N] {
    let width = vector.len();
    let (vector, vector_rest) = S::as_simd_f32s(vector);
    let rows = rows.map(|row| S::as_simd_f32s(&matrix[row as usize * width..(row as usize + 1) * width]));
    let mut sums = [simd.splat_f32s(0.0); N];
    for (at, x) in vector.iter().enumerate() {
        for i in 0..N {
            sums[i] = simd.mul_add_e_f32s(*x, rows[i].0[at], sums[i]);
        }
    }
    // A loop and not `map`: a closure that is not inlined is compiled without the vector instructions.
    let mut totals = [0.0; N];
    for i in 0..N {
        totals[i] = simd.reduce_sum_f32s(sums[i]);
        for (x, y) in vector_rest.iter().zip(rows[i].1) {
            totals[i] += x * y;
        }
    }
    totals
}

/// Multiplies a row by a number.
pub fn scale(arch: Arch, row: &mut [f32], factor: f32) {
    arch.dispatch(Replace(row, Times(factor)));
}
