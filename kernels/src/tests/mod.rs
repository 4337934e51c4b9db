//! Every kernel against its reference implementation: odd shapes, strided and half-precision arguments, NaN and
//! infinities, and every level of instructions.

mod adamw;
mod attention;
mod back;
mod by_words;
mod columns;
mod delta_rule;
mod linear;
mod math;
mod recurrence;
mod rows;

use candle_core::{DType, Device, Tensor};

use super::Activation;
use crate::base::instructions::InstructionSet;

const ACTS: [Activation; 5] =
    [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::SquaredRelu];

/// Lengths around those of registers and of unrolled loops.
const LENGTHS: [usize; 9] = [1, 2, 3, 15, 17, 63, 64, 65, 130];

/// Returns numbers between -scale and scale, determined by the seed.
pub(crate) fn numbers(shape: &[usize], scale: f32, seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 * scale - scale
    };
    let all: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(all, shape, &Device::Cpu).unwrap()
}

/// Returns the tensor with the strides of a transpose, so that it is not contiguous.
fn strided(x: &Tensor) -> Tensor {
    let last = x.rank() - 1;
    let turned = x.transpose(0, last).unwrap().contiguous().unwrap();
    turned.transpose(0, last).unwrap()
}

/// Replaces the first numbers by special ones: NaN, infinities, subnormal, huge.
pub(crate) fn troubled(x: &Tensor) -> Tensor {
    let trouble = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-42, 3e38, -3e38];
    let mut all = list(x);
    for (x, trouble) in all.iter_mut().zip(trouble) {
        *x = trouble;
    }
    Tensor::from_vec(all, x.dims(), &Device::Cpu).unwrap()
}

pub(crate) fn list(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that numbers are within `tolerance` of the larger of `floor` and their size, with NaN and infinities at the
/// same places.
#[track_caller]
pub(crate) fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f32, floor: f32) {
    assert_eq!((found.dims(), found.dtype()), (expected.dims(), expected.dtype()));
    for (at, (found, expected)) in list(found).into_iter().zip(list(expected)).enumerate() {
        let same = found == expected || found.is_nan() && expected.is_nan();
        let near = (found - expected).abs() <= tolerance * expected.abs().max(floor);
        assert!(same || near, "at {at}: found {found:e}, expected {expected:e}");
    }
}

#[track_caller]
pub(crate) fn at_every_level(test: impl Fn()) {
    for level in InstructionSet::ALL {
        level.limit(&test);
    }
}
