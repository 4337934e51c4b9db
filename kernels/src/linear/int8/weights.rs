//! Rows of a quantised matrix as integers from 0 on, with the scale and the least number of each group. Loops without branches,
//! which the compiler turns into vectors.

use std::ops::Range;

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};

use super::form::{Form, ORDER};
use super::{COLUMNS, QUAD, ROUND};
use crate::linear::packed::blocks::{fifth, half, of_group};
use crate::linear::packed::{PackedMatrix, Packing};
use crate::linear::turned;

/// A row of a matrix as dot products read it, with zeros up to whole rounds.
#[derive(Default)]
pub(super) struct WeightRow {
    pub integers: Vec<u8>,
    pub scales: Vec<f32>,
    pub least: Vec<f32>,
}

impl WeightRow {
    /// Reads a row of `inner` numbers.
    pub fn read(&mut self, arch: Arch, packing: Packing, blocks: &[u8], inner: usize, form: Form) {
        let numbers = inner.next_multiple_of(ROUND);
        self.integers.resize(numbers, 0);
        self.scales.resize(numbers / form.group, 0.0);
        self.least.resize(numbers / form.group, 0.0);
        let Self { integers, scales, least } = self;
        arch.dispatch(Unpack { packing, blocks, integers, scales, least });
    }
}

/// Some rows of a matrix as tiles read them: what belongs together of each stands side by side.
#[derive(Default)]
pub(super) struct Strip {
    /// Four integers of each row.
    pub quads: Vec<u32>,
    pub scales: Vec<f32>,
    pub least: Vec<f32>,
    /// Integers, too, row by row.
    rows: Vec<u32>,
    of_row: [Vec<f32>; 2],
}

impl Strip {
    /// Reads up to [`COLUMNS`] rows; of those that there are not, the scales are 0.
    pub fn read(&mut self, arch: Arch, weight: &PackedMatrix, rows: Range<usize>, form: Form) {
        let [_, inner] = weight.dims();
        let quads = inner / QUAD;
        let groups = inner / form.group;
        self.rows.resize(COLUMNS * quads, 0);
        self.quads.resize(COLUMNS * quads, 0);
        for numbers in [&mut self.scales, &mut self.least] {
            numbers.clear();
            numbers.resize(COLUMNS * groups, 0.0);
        }
        let [scales, least] = &mut self.of_row;
        scales.resize(groups, 0.0);
        least.resize(groups, 0.0);
        for (at, row) in rows.enumerate() {
            let integers = cast_slice_mut(&mut self.rows[at * quads..(at + 1) * quads]);
            let blocks = weight.blocks(row..row + 1);
            arch.dispatch(Unpack { packing: weight.packing(), blocks, integers, scales, least });
            for (places, numbers) in [(&mut self.scales, &*scales), (&mut self.least, &*least)] {
                for (place, number) in places[at..].iter_mut().step_by(COLUMNS).zip(numbers) {
                    *place = *number;
                }
            }
        }
        // Four integers have the size of a number, and are moved as one.
        turned::turn(arch, cast_slice(&self.rows), quads, cast_slice_mut(&mut self.quads));
    }
}

/// The blocks of a row on their way to integers. Formats without least numbers leave these as they are.
struct Unpack<'a> {
    packing: Packing,
    blocks: &'a [u8],
    integers: &'a mut [u8],
    scales: &'a mut [f32],
    least: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        match self.packing {
            Packing::Q4_0 => self.each::<32, 18, 1>(q4_0),
            Packing::Q4_1 => self.each::<32, 20, 1>(q4_1),
            Packing::Q5_0 => self.each::<32, 22, 1>(q5_0),
            Packing::Q5_1 => self.each::<32, 24, 1>(q5_1),
            Packing::Q8_0 => self.each::<32, 34, 1>(q8_0),
            Packing::Q4K => self.each::<256, 144, 8>(q4_k),
            Packing::Q5K => self.each::<256, 176, 8>(q5_k),
            Packing::Q6K => self.each::<256, 210, 16>(q6_k),
            Packing::Bf16 => {}
        }
    }
}

/// The places of what a block says.
struct Unpacked<'a, const NUMBERS: usize, const GROUPS: usize> {
    integers: &'a mut [u8; NUMBERS],
    scales: &'a mut [f32; GROUPS],
    least: &'a mut [f32; GROUPS],
}

impl Unpack<'_> {
    #[inline(always)]
    fn each<const NUMBERS: usize, const BYTES: usize, const GROUPS: usize>(
        self,
        unpack: impl Fn(&[u8; BYTES], Unpacked<NUMBERS, GROUPS>),
    ) {
        let blocks = self.blocks.as_chunks::<BYTES>().0;
        let integers = self.integers.as_chunks_mut::<NUMBERS>().0;
        let scales = self.scales.as_chunks_mut::<GROUPS>().0;
        let least = self.least.as_chunks_mut::<GROUPS>().0;
        for (((block, integers), scales), least) in blocks.iter().zip(integers).zip(scales).zip(least) {
            unpack(block, Unpacked { integers, scales, least });
        }
    }
}

#[inline(always)]
fn q4_0(block: &[u8; 18], to: Unpacked<32, 1>) {
    *to.scales = [half(block, 0)];
    for (at, both) in block[2..].iter().enumerate() {
        to.integers[at] = both & 15;
        to.integers[at + 16] = both >> 4;
    }
}

#[inline(always)]
fn q4_1(block: &[u8; 20], to: Unpacked<32, 1>) {
    *to.scales = [half(block, 0)];
    *to.least = [-half(block, 2)];
    for (at, both) in block[4..].iter().enumerate() {
        to.integers[at] = both & 15;
        to.integers[at + 16] = both >> 4;
    }
}

#[inline(always)]
fn q5_0(block: &[u8; 22], to: Unpacked<32, 1>) {
    *to.scales = [half(block, 0)];
    let bits = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (at, both) in block[6..].iter().enumerate() {
        let (low, high) = fifth(bits, at);
        to.integers[at] = both & 15 | low;
        to.integers[at + 16] = both >> 4 | high;
    }
}

#[inline(always)]
fn q5_1(block: &[u8; 24], to: Unpacked<32, 1>) {
    *to.scales = [half(block, 0)];
    *to.least = [-half(block, 2)];
    let bits = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (at, both) in block[8..].iter().enumerate() {
        let (low, high) = fifth(bits, at);
        to.integers[at] = both & 15 | low;
        to.integers[at + 16] = both >> 4 | high;
    }
}

#[inline(always)]
fn q8_0(block: &[u8; 34], to: Unpacked<32, 1>) {
    *to.scales = [half(block, 0)];
    for (integer, byte) in to.integers.iter_mut().zip(&block[2..]) {
        *integer = byte ^ 0x80;
    }
}

/// Writes the scales and the least numbers of eight groups.
#[inline(always)]
fn groups(block: &[u8], scales: &mut [f32; 8], least: &mut [f32; 8]) {
    let of_block = [half(block, 0), half(block, 2)];
    for ((group, scale), least) in ORDER.iter().zip(scales).zip(least) {
        [*scale, *least] = of_group(*group, &block[4..16], of_block);
    }
}

#[inline(always)]
fn q4_k(block: &[u8; 144], to: Unpacked<256, 8>) {
    groups(block, to.scales, to.least);
    let halves = block[16..].as_chunks::<64>().0;
    for (integers, bytes) in to.integers.as_chunks_mut::<128>().0.iter_mut().zip(halves) {
        for (at, both) in bytes.iter().enumerate() {
            integers[at] = both & 15;
            integers[at + 64] = both >> 4;
        }
    }
}

#[inline(always)]
fn q5_k(block: &[u8; 176], to: Unpacked<256, 8>) {
    groups(block, to.scales, to.least);
    let fifths = &block[16..48];
    let pairs = block[48..].as_chunks::<32>().0;
    for (pair, bytes) in pairs.iter().enumerate() {
        let integers = &mut to.integers[128 * (pair / 2) + 32 * (pair % 2)..];
        for (at, (both, bits)) in bytes.iter().zip(fifths).enumerate() {
            let first = bits >> (2 * pair) & 1;
            let second = bits >> (2 * pair + 1) & 1;
            integers[at] = both & 15 | first << 4;
            integers[at + 64] = both >> 4 | second << 4;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], to: Unpacked<256, 16>) {
    let scale = half(block, 208);
    for (place, byte) in to.scales.iter_mut().zip(&block[192..208]) {
        *place = scale * f32::from(*byte as i8);
    }
    for (part, integers) in to.integers.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let low = &block[64 * part..64 * part + 64];
        let high = &block[128 + 32 * part..128 + 32 * part + 32];
        for (quarter, integers) in integers.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = &low[32 * (quarter & 1)..][..32];
            let down = 4 * (quarter >> 1);
            let up = 2 * quarter;
            for (at, integer) in integers.iter_mut().enumerate() {
                *integer = low[at] >> down & 15 | (high[at] >> up & 3) << 4;
            }
        }
    }
}
