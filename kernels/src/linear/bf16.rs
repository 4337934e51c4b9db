//! Rounding to bf16, as the CPU's own instruction does it.

/// Rounds numbers to bf16, half to even. Subnormal ones become 0, as the instruction takes them.
pub(super) fn round(numbers: &mut [f32]) {
    numbers.iter_mut().for_each(|x| *x = f32::from_bits(bits(*x) << 16));
}

/// Returns the bits of a number rounded to bf16.
#[inline(always)]
pub(super) fn bits(x: f32) -> u32 {
    const EXPONENT: u32 = 0x7f80_0000;
    const QUIET: u32 = 0x40;
    let bits = x.to_bits();
    if x.is_nan() {
        (bits >> 16) | QUIET
    } else if bits & EXPONENT == 0 {
        (bits >> 16) & 0x8000
    } else {
        (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
    }
}
