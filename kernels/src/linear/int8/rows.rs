//! Rows of x, rounded to int8: 127 steps to the largest number of a block.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::form::Form;
use super::{CHUNK, LANES, QUAD, ROUND, ROWS};

/// The integer that the largest number of a block becomes.
const MOST: f32 = 127.0;
/// A number whose addition leaves the nearest integer, half to even, in the lowest bits.
const ROUNDS: f32 = 12_582_912.0;
/// The bits of a number without its sign: of two numbers, the larger has the larger bits, and what is not finite the largest.
const SIZE: u32 = 0x7fff_ffff;

/// The integers of a row in the order in which blocks have theirs, with zeros up to whole rounds, and the steps.
struct Integers {
    integers: Vec<i8>,
    steps: Vec<f32>,
}

impl Integers {
    fn of(arch: Arch, x: &[f32], form: Form) -> Self {
        let mut integers = vec![0; x.len().next_multiple_of(ROUND)];
        let mut steps = vec![0.0; integers.len() / form.step];
        arch.dispatch(Round { x, block: form.step, integers: &mut integers, steps: &mut steps });
        if form.is_crossed {
            for half in integers.as_chunks_mut::<{ 4 * 32 }>().0 {
                let (first, second) = half[32..3 * 32].split_at_mut(32);
                first.swap_with_slice(second);
            }
        }
        Self { integers, steps }
    }

    /// Returns the step of a group.
    fn step(&self, group: usize, form: Form) -> f32 {
        self.steps[group / (form.step / form.group)]
    }
}

struct Round<'a> {
    x: &'a [f32],
    block: usize,
    integers: &'a mut [i8],
    steps: &'a mut [f32],
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { x, block, integers, steps } = self;
        for ((x, integers), step) in x.chunks_exact(block).zip(integers.chunks_exact_mut(block)).zip(steps) {
            *step = rounded(x, integers);
        }
    }
}

/// Writes the integers of a block and returns its step: NaN, with zeros, where a number is not finite.
#[inline(always)]
fn rounded(x: &[f32], integers: &mut [i8]) -> f32 {
    let largest = f32::from_bits(x.iter().fold(0_u32, |most, x| most.max(x.to_bits() & SIZE)));
    let step = largest / MOST;
    if !largest.is_finite() || step < f32::MIN_POSITIVE {
        integers.fill(0);
        return if largest.is_finite() { 0.0 } else { f32::NAN };
    }
    let by = MOST / largest;
    for (integer, x) in integers.iter_mut().zip(x) {
        *integer = (x * by + ROUNDS).to_bits() as i8;
    }
    step
}

fn total(integers: &[i8]) -> i32 {
    integers.iter().map(|integer| i32::from(*integer)).sum()
}

/// A row as dot products read it.
pub(super) struct Row {
    pub chunks: Vec<Chunk>,
    /// The step of each block.
    pub steps: Vec<f32>,
    /// The sum of each group, rounded as it is; none where a format has no least numbers.
    pub sums: Vec<f32>,
}

/// Numbers of a row, as many as a register of AVX-512 has integers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Chunk {
    pub integers: [i8; CHUNK],
    /// Beginnings of the sums of four products each, so that the integer that stands for 0 counts as 0.
    pub starts: [i32; LANES],
}

impl Row {
    pub fn of(arch: Arch, x: &[f32], form: Form) -> Self {
        let row = Integers::of(arch, x, form);
        let chunk = |integers: &[i8; CHUNK]| {
            let quads = integers.as_chunks::<QUAD>().0;
            Chunk { integers: *integers, starts: from_fn(|lane| -form.zero * total(&quads[lane])) }
        };
        let chunks = row.integers.as_chunks::<CHUNK>().0.iter().map(chunk).collect();
        let groups = row.integers.chunks_exact(form.group).enumerate();
        let sum = |(at, integers): (usize, &[i8])| row.step(at, form) * total(integers) as f32;
        let sums = if form.has_least { groups.map(sum).collect() } else { Vec::new() };
        Self { chunks, steps: row.steps, sums }
    }
}

/// Some rows as tiles read them: what belongs together of each stands side by side.
pub(super) struct RowBlock {
    /// Four integers of each row.
    pub quads: Vec<[i32; ROWS]>,
    pub groups: Vec<RowGroup>,
}

/// Scales and beginnings of a group of numbers of some rows, besides its integers.
#[derive(Clone, Copy, Default)]
pub(super) struct RowGroup {
    /// Beginnings of the sums of products, so that the integer that stands for 0 counts as 0.
    pub starts: [i32; ROWS],
    pub steps: [f32; ROWS],
    /// The sum of the group, rounded as it is.
    pub sums: [f32; ROWS],
}

impl RowBlock {
    /// Rounds the first rows of some; those that there are not are 0.
    pub fn of(arch: Arch, rows: &[f32], inner: usize, form: Form) -> Self {
        let mut block =
            Self { quads: vec![[0; ROWS]; inner / QUAD], groups: vec![RowGroup::default(); inner / form.group] };
        for (at, x) in rows.chunks_exact(inner).take(ROWS).enumerate() {
            let row = Integers::of(arch, x, form);
            for (place, quad) in block.quads.iter_mut().zip(row.integers.as_chunks::<QUAD>().0) {
                place[at] = i32::from_ne_bytes(quad.map(i8::cast_unsigned));
            }
            let groups = block.groups.iter_mut().zip(row.integers.chunks_exact(form.group));
            for (number, (group, integers)) in groups.enumerate() {
                let total = total(integers);
                let step = row.step(number, form);
                group.starts[at] = -form.zero * total;
                group.steps[at] = step;
                group.sums[at] = step * total as f32;
            }
        }
        block
    }
}
