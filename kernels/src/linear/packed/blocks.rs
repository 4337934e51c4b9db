//! The formats of blocks and what they say in f32: ggml's, by the operations of its reference implementation in their order,
//! so that every number has the bits that it has elsewhere. Loops without branches, which the compiler turns into vectors.

use half::f16;
use pulp::{Simd, WithSimd};

/// A format of blocks, by its name in ggml. A number of bf16 is a block by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    Bf16,
}

impl Packing {
    pub const ALL: [Self; 9] =
        [Self::Q4_0, Self::Q4_1, Self::Q5_0, Self::Q5_1, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K, Self::Bf16];

    /// Returns the numbers in a block, and its bytes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Bf16 => (1, 2),
        }
    }

    /// Returns the bytes of a row of this many numbers, if they are whole blocks.
    pub fn row(self, inner: usize) -> Option<usize> {
        let (numbers, bytes) = self.block();
        inner.is_multiple_of(numbers).then(|| inner / numbers * bytes)
    }

    /// Returns the name that GGUF files have for the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Bf16 => "BF16",
        }
    }
}

/// Decoding of the numbers of whole blocks.
pub(super) struct Decode<'a> {
    pub packing: Packing,
    pub blocks: &'a [u8],
    pub numbers: &'a mut [f32],
}

impl WithSimd for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { packing, blocks, numbers } = self;
        match packing {
            Packing::Q4_0 => each::<32, 18>(blocks, numbers, q4_0),
            Packing::Q4_1 => each::<32, 20>(blocks, numbers, q4_1),
            Packing::Q5_0 => each::<32, 22>(blocks, numbers, q5_0),
            Packing::Q5_1 => each::<32, 24>(blocks, numbers, q5_1),
            Packing::Q8_0 => each::<32, 34>(blocks, numbers, q8_0),
            Packing::Q4K => each::<256, 144>(blocks, numbers, q4_k),
            Packing::Q5K => each::<256, 176>(blocks, numbers, q5_k),
            Packing::Q6K => each::<256, 210>(blocks, numbers, q6_k),
            Packing::Bf16 => each::<1, 2>(blocks, numbers, bf16),
        }
    }
}

#[inline(always)]
fn each<const NUMBERS: usize, const BYTES: usize>(
    blocks: &[u8],
    numbers: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    let (blocks, _) = blocks.as_chunks::<BYTES>();
    let (numbers, _) = numbers.as_chunks_mut::<NUMBERS>();
    for (block, numbers) in blocks.iter().zip(numbers) {
        decode(block, numbers);
    }
}

/// Returns the half-precision number at this place.
#[inline(always)]
pub(in crate::linear) fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[inline(always)]
fn q4_0(block: &[u8; 18], numbers: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (at, both) in block[2..].iter().enumerate() {
        numbers[at] = f32::from((both & 15) as i8 - 8) * scale;
        numbers[at + 16] = f32::from((both >> 4) as i8 - 8) * scale;
    }
}

#[inline(always)]
fn q4_1(block: &[u8; 20], numbers: &mut [f32; 32]) {
    let scale = half(block, 0);
    let least = half(block, 2);
    for (at, both) in block[4..].iter().enumerate() {
        numbers[at] = f32::from(both & 15) * scale + least;
        numbers[at + 16] = f32::from(both >> 4) * scale + least;
    }
}

/// Returns the fifth bits of the two numbers in a byte: those of the first 16 numbers, and then of the others.
#[inline(always)]
pub(in crate::linear) fn fifth(bits: u32, at: usize) -> (u8, u8) {
    ((((bits >> at) << 4) & 16) as u8, ((bits >> (at + 12)) & 16) as u8)
}

#[inline(always)]
fn q5_0(block: &[u8; 22], numbers: &mut [f32; 32]) {
    let scale = half(block, 0);
    let bits = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (at, both) in block[6..].iter().enumerate() {
        let (low, high) = fifth(bits, at);
        numbers[at] = f32::from((both & 15 | low) as i8 - 16) * scale;
        numbers[at + 16] = f32::from((both >> 4 | high) as i8 - 16) * scale;
    }
}

#[inline(always)]
fn q5_1(block: &[u8; 24], numbers: &mut [f32; 32]) {
    let scale = half(block, 0);
    let least = half(block, 2);
    let bits = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (at, both) in block[8..].iter().enumerate() {
        let (low, high) = fifth(bits, at);
        numbers[at] = f32::from(both & 15 | low) * scale + least;
        numbers[at + 16] = f32::from(both >> 4 | high) * scale + least;
    }
}

#[inline(always)]
fn q8_0(block: &[u8; 34], numbers: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (number, byte) in numbers.iter_mut().zip(&block[2..]) {
        *number = f32::from(*byte as i8) * scale;
    }
}

/// Returns the scale and the least number of a group of 32: six bits each in twelve bytes, times those of the block.
#[inline(always)]
pub(in crate::linear) fn of_group(group: usize, bytes: &[u8], of_block: [f32; 2]) -> [f32; 2] {
    let (scale, least) = if group < 4 {
        (bytes[group] & 63, bytes[group + 4] & 63)
    } else {
        let low = bytes[group + 4];
        let high = [bytes[group - 4], bytes[group]];
        (low & 15 | (high[0] >> 6) << 4, low >> 4 | (high[1] >> 6) << 4)
    };
    [of_block[0] * f32::from(scale), of_block[1] * f32::from(least)]
}

#[inline(always)]
fn q4_k(block: &[u8; 144], numbers: &mut [f32; 256]) {
    let of_block = [half(block, 0), half(block, 2)];
    let scales = &block[4..16];
    let halves = block[16..].as_chunks::<32>().0;
    for (pair, (numbers, bytes)) in numbers.as_chunks_mut::<64>().0.iter_mut().zip(halves).enumerate() {
        let [low, low_least] = of_group(2 * pair, scales, of_block);
        let [high, high_least] = of_group(2 * pair + 1, scales, of_block);
        for (at, both) in bytes.iter().enumerate() {
            numbers[at] = low * f32::from(both & 15) - low_least;
            numbers[at + 32] = high * f32::from(both >> 4) - high_least;
        }
    }
}

#[inline(always)]
fn q5_k(block: &[u8; 176], numbers: &mut [f32; 256]) {
    let of_block = [half(block, 0), half(block, 2)];
    let scales = &block[4..16];
    let fifths = &block[16..48];
    let halves = block[48..].as_chunks::<32>().0;
    for (pair, (numbers, bytes)) in numbers.as_chunks_mut::<64>().0.iter_mut().zip(halves).enumerate() {
        let [low, low_least] = of_group(2 * pair, scales, of_block);
        let [high, high_least] = of_group(2 * pair + 1, scales, of_block);
        for (at, (both, bits)) in bytes.iter().zip(fifths).enumerate() {
            let first = bits >> (2 * pair) & 1;
            let second = bits >> (2 * pair + 1) & 1;
            numbers[at] = low * f32::from(both & 15 | first << 4) - low_least;
            numbers[at + 32] = high * f32::from(both >> 4 | second << 4) - high_least;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], numbers: &mut [f32; 256]) {
    let scale = half(block, 208);
    for (part, numbers) in numbers.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let low = &block[64 * part..64 * part + 64];
        let high = &block[128 + 32 * part..128 + 32 * part + 32];
        let scales: [f32; 8] = std::array::from_fn(|at| scale * f32::from(block[192 + 8 * part + at] as i8));
        for (quarter, numbers) in numbers.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = &low[32 * (quarter & 1)..][..32];
            let down = 4 * (quarter >> 1);
            let up = 2 * quarter;
            for (at, number) in numbers.iter_mut().enumerate() {
                let six = low[at] >> down & 15 | (high[at] >> up & 3) << 4;
                *number = scales[2 * quarter + at / 16] * f32::from(six as i8 - 32);
            }
        }
    }
}

#[inline(always)]
fn bf16(block: &[u8; 2], [number]: &mut [f32; 1]) {
    *number = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}
