//! The sums for every CPU.

use pulp::{Simd, WithSimd};

use super::form::Form;
use super::rows::{Chunk, Row, RowBlock};
use super::weights::{Strip, WeightRow};
use super::{CHUNK, COLUMNS, GROUPS, LANES, QUAD, ROWS, SUMS, Sums};
use crate::linear::dots::folded;

/// The dot product of two rows.
pub(super) struct Dot<'a> {
    pub x: &'a Row,
    pub weight: &'a WeightRow,
    pub form: Form,
}

impl WithSimd for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f32 {
        self.by(products)
    }
}

impl Dot<'_> {
    /// Computes the dot product where `products` adds four products of integers each.
    #[inline(always)]
    pub fn by(self, products: impl Fn(&Chunk, &[u8; CHUNK]) -> [i32; LANES]) -> f32 {
        let Self { x, weight, form } = self;
        // Powers of two, so that shifts do what divisions would.
        let of_group = form.group.ilog2();
        let of_step = form.step.ilog2();
        let mut sums = [[0.0; LANES]; SUMS];
        for (at, (chunk, weights)) in x.chunks.iter().zip(weight.integers.as_chunks::<CHUNK>().0).enumerate() {
            for (lane, (sum, product)) in sums[at % SUMS].iter_mut().zip(products(chunk, weights)).enumerate() {
                let number = at * CHUNK + lane * QUAD;
                let scale = weight.scales[number >> of_group] * x.steps[number >> of_step];
                *sum += product as f32 * scale;
            }
        }
        let mut least = [0.0; GROUPS];
        for (at, (sum, of_group)) in x.sums.iter().zip(&weight.least).enumerate() {
            least[at % GROUPS] += of_group * sum;
        }
        let [mut first, second] = sums;
        for (sum, more) in first.iter_mut().zip(second) {
            *sum += more;
        }
        folded(first) - folded(least)
    }
}

#[inline(always)]
fn products(x: &Chunk, weights: &[u8; CHUNK]) -> [i32; LANES] {
    let mut sums = x.starts;
    let quads = x.integers.as_chunks::<QUAD>().0.iter().zip(weights.as_chunks::<QUAD>().0);
    for (sum, (x, weights)) in sums.iter_mut().zip(quads) {
        for (x, weight) in x.iter().zip(weights) {
            *sum += i32::from(*x) * i32::from(*weight);
        }
    }
    sums
}

/// The sums of a block of rows with some columns.
pub(super) struct Products<'a> {
    pub x: &'a RowBlock,
    pub strip: &'a Strip,
    pub form: Form,
}

impl WithSimd for Products<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Sums {
        let Self { x, strip, form } = self;
        let quads = form.group / QUAD;
        let columns = strip.quads.as_chunks::<COLUMNS>().0;
        let scales = strip.scales.as_chunks::<COLUMNS>().0.iter().zip(strip.least.as_chunks::<COLUMNS>().0);
        let mut result = [[0.0; COLUMNS]; ROWS];
        for (at, (group, (scales, least))) in x.groups.iter().zip(scales).enumerate() {
            let part = at * quads..(at + 1) * quads;
            for (row, sums) in result.iter_mut().enumerate() {
                let mut integers = [group.starts[row]; COLUMNS];
                for (x, columns) in x.quads[part.clone()].iter().zip(&columns[part.clone()]) {
                    add(&mut integers, x[row], columns);
                }
                let of_columns = integers.iter().zip(scales).zip(least);
                for (sum, ((integer, scale), least)) in sums.iter_mut().zip(of_columns) {
                    *sum = (*integer as f32 * scale).mul_add(group.steps[row], *sum);
                    if form.has_least {
                        *sum = (-least).mul_add(group.sums[row], *sum);
                    }
                }
            }
        }
        result
    }
}

/// Adds four products each.
#[inline(always)]
fn add(sums: &mut [i32; COLUMNS], x: i32, columns: &[u32; COLUMNS]) {
    let x = x.to_ne_bytes().map(|byte| i32::from(byte as i8));
    for (sum, quad) in sums.iter_mut().zip(columns) {
        for (x, weight) in x.iter().zip(quad.to_ne_bytes()) {
            *sum += x * i32::from(weight);
        }
    }
}
