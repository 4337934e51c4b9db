//! Rotary position embeddings: pairs of coordinates are rotated by an angle proportional to the position.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use crate::arguments::reach::Gap;
use crate::arguments::rotation::Rotation;
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::device;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// Rotates the first coordinates of every head of x `[rows, columns, heads, d_head]`. Column c of the tensor is
/// column `past + c` of the text, whose position depends on the `gap`.
pub fn rotate(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Tensor> {
    let (_, columns, _, size) = x.dims4()?;
    let (positions, half) = rotation.cos.dims2()?;
    let fits = past + columns <= positions && 2 * half <= size && x.elem_count() > 0;
    let way = if fits { Implementation::of(&[x, &rotation.cos, &rotation.sin]) } else { Implementation::Plain };
    match way {
        Implementation::Fused => fused(x, rotation, false, past, gap)?.tensor(x.dims(), x.dtype()),
        Implementation::Recorded if !rotation.cos.track_op() && !rotation.sin.track_op() => {
            let back_rotation = rotation.clone();
            let back_gap = gap.cloned();
            let result = fused(x, rotation, false, past, gap)?;
            record_by_gradient("rotate", result, x.dims(), &[x], move |gradient| {
                let turned = fused(gradient, &back_rotation, true, past, back_gap.as_ref())?;
                Ok(vec![Some(turned.tensor(gradient.dims(), DType::F32)?)])
            })
        }
        _ => {
            let found = if fits { device::rotate(x, rotation, past, gap)? } else { None };
            found.map_or_else(|| rotate_plain(x, rotation, past, gap), Ok)
        }
    }
}

/// Rotates x, or rotates it back, as gradients are.
fn fused(x: &Tensor, rotation: &Rotation, back: bool, past: usize, gap: Option<&Gap>) -> Result<Fresh> {
    let (_, columns, heads, size) = x.dims4()?;
    let half = rotation.cos.dim(1)?;
    let arch = arch();
    let flat_x = flat(x)?;
    let cos = flat(&rotation.cos)?;
    let sin = flat(&rotation.sin)?;
    let numbers = FlatNumbers::of(&flat_x)?;
    let cos = FlatNumbers::of(&cos)?;
    let sin = FlatNumbers::of(&sin)?;
    let numbers = numbers.slice();
    let cos = cos.slice();
    let sin = sin.slice();
    let mut out = Fresh::new(numbers.len())?;
    out.write(heads * size, heads * size, |first, out| {
        let mut negative = Vec::new();
        for (index, out) in out.chunks_exact_mut(heads * size).enumerate() {
            let place = first + index;
            let x = &numbers[place * heads * size..(place + 1) * heads * size];
            let column = past + place % columns;
            let position = gap.map_or(column, |gap| gap.position(place / columns, column));
            let angle = position * half..(position + 1) * half;
            let cos = &cos[angle.clone()];
            let mut sin = &sin[angle];
            if back {
                negative.clear();
                negative.extend(sin.iter().map(|sin| -sin));
                sin = &negative;
            }
            let neighbours = rotation.neighbours;
            arch.dispatch(HeadRotation { out, x, size, cos, sin, neighbours });
        }
    });
    Ok(out)
}

/// Rotation of the heads of one position.
struct HeadRotation<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    /// The size of a head.
    size: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    neighbours: bool,
}

impl WithSimd for HeadRotation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.cos.len();
        for (out, x) in self.out.chunks_exact_mut(self.size).zip(self.x.chunks_exact(self.size)) {
            let (out, still) = out.split_at_mut(2 * half);
            let (x, x_still) = x.split_at(2 * half);
            still.copy_from_slice(x_still);
            if self.neighbours {
                let pairs = out.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
                for (([first, second], [a, b]), (cos, sin)) in pairs.zip(self.cos.iter().zip(self.sin)) {
                    *first = a * cos - b * sin;
                    *second = b * cos + a * sin;
                }
            } else {
                let (first, second) = out.split_at_mut(half);
                let (a, b) = x.split_at(half);
                turn_halves(simd, [first, second], a, b, self.cos, self.sin);
            }
        }
    }
}

#[inline(always)]
fn turn_halves<S: Simd>(simd: S, out: [&mut [f32]; 2], a: &[f32], b: &[f32], cos: &[f32], sin: &[f32]) {
    let [first, second] = out;
    let (first, first_rest) = S::as_mut_simd_f32s(first);
    let (second, second_rest) = S::as_mut_simd_f32s(second);
    let (a, a_rest) = S::as_simd_f32s(a);
    let (b, b_rest) = S::as_simd_f32s(b);
    let (cos, cos_rest) = S::as_simd_f32s(cos);
    let (sin, sin_rest) = S::as_simd_f32s(sin);
    let angles = cos.iter().zip(sin);
    for (((first, second), (a, b)), (cos, sin)) in first.iter_mut().zip(second).zip(a.iter().zip(b)).zip(angles) {
        (*first, *second) = turn(simd, [*a, *b], *cos, *sin);
    }
    if !a_rest.is_empty() {
        let pair = [simd.partial_load_f32s(a_rest), simd.partial_load_f32s(b_rest)];
        let cos = simd.partial_load_f32s(cos_rest);
        let sin = simd.partial_load_f32s(sin_rest);
        let (first, second) = turn(simd, pair, cos, sin);
        simd.partial_store_f32s(first_rest, first);
        simd.partial_store_f32s(second_rest, second);
    }
}

#[inline(always)]
fn turn<S: Simd>(simd: S, [a, b]: [S::f32s; 2], cos: S::f32s, sin: S::f32s) -> (S::f32s, S::f32s) {
    let first = simd.sub_f32s(simd.mul_f32s(a, cos), simd.mul_f32s(b, sin));
    (first, simd.add_f32s(simd.mul_f32s(b, cos), simd.mul_f32s(a, sin)))
}

pub(crate) fn rotate_plain(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Tensor> {
    let (rows, columns, heads, size) = x.dims4()?;
    let half = rotation.cos.dim(1)?;
    let table = |table: &Tensor| -> Result<Tensor> {
        Ok(match gap {
            None => table.narrow(0, past, columns)?.reshape((1, columns, 1, half))?,
            Some(gap) => {
                let places: Vec<u32> = (0..rows)
                    .flat_map(|row| (past..past + columns).map(move |column| gap.position(row, column) as u32))
                    .collect();
                let places = Tensor::from_vec(places, rows * columns, x.device())?;
                table.index_select(&places, 0)?.reshape((rows, columns, 1, half))?
            }
        }
        .to_dtype(x.dtype())?)
    };
    let cos = table(&rotation.cos)?;
    let sin = table(&rotation.sin)?;
    let turning = x.narrow(3, 0, 2 * half)?;
    let (a, b) = if rotation.neighbours {
        let pairs = turning.reshape((rows, columns, heads, half, 2))?;
        (pairs.narrow(4, 0, 1)?.squeeze(4)?, pairs.narrow(4, 1, 1)?.squeeze(4)?)
    } else {
        (turning.narrow(3, 0, half)?, turning.narrow(3, half, half)?)
    };
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let turned = if rotation.neighbours {
        Tensor::stack(&[first, second], 4)?.reshape((rows, columns, heads, 2 * half))?
    } else {
        Tensor::cat(&[first, second], 3)?
    };
    if 2 * half == size {
        return Ok(turned);
    }
    Ok(Tensor::cat(&[turned, x.narrow(3, 2 * half, size - 2 * half)?], 3)?)
}
