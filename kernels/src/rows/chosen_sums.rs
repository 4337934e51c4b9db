//! Sums of some of many tensors, all of them in one pass over memory.

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::thread_pool;
use crate::numbers::{FlatNumbers, Fresh, flat, fusible};

/// Number of numbers of each tensor that are read at a time: of some fifty tensors these stay in the cache of a core.
const AT_ONCE: usize = 1 << 11;

/// Computes for each of some starts the sum of the parts that are chosen for it, in their order, and of the start, which is
/// repeated as often as it fits: `[sums, ..]`, where the rest is the shape of all parts. Without gradients.
pub fn chosen_sums(starts: &[&Tensor], parts: &[&Tensor], chosen: &[Vec<usize>]) -> Result<Tensor> {
    let Some(shape) = parts.first().map(|part| part.dims()) else { bail!(Bug, "expected parts to add, found none") };
    let len: usize = shape.iter().product();
    let period = starts.iter().map(|start| start.elem_count()).min().unwrap_or(len);
    let fits = |whole: usize, part: usize| part > 0 && whole.is_multiple_of(part);
    let is_regular = parts.iter().all(|part| part.dims() == shape)
        && starts.iter().all(|start| fits(len, start.elem_count()) && fits(start.elem_count(), period))
        && starts.len() == chosen.len()
        && chosen.iter().flatten().all(|part| *part < parts.len());
    if !is_regular {
        let starts: Vec<&[usize]> = starts.iter().map(|start| start.dims()).collect();
        bail!(Bug, "expected parts of the shape {shape:?} and starts that fit into it, found starts {starts:?}");
    }
    let all: Vec<&Tensor> = starts.iter().chain(parts).copied().collect();
    if !fusible(&all) || all.iter().any(|tensor| tensor.dtype() != DType::F32) {
        let sums = starts.iter().zip(chosen).map(|(start, chosen)| chosen_sum_plain(start, parts, chosen));
        return Ok(Tensor::stack(&sums.collect::<Result<Vec<_>>>()?, 0)?);
    }
    let starts = starts.iter().map(|start| flat(start)).collect::<Result<Vec<_>>>()?;
    let starts = starts.iter().map(FlatNumbers::of).collect::<Result<Vec<_>>>()?;
    let parts = parts.iter().map(|part| flat(part)).collect::<Result<Vec<_>>>()?;
    let parts = parts.iter().map(FlatNumbers::of).collect::<Result<Vec<_>>>()?;
    let starts: Vec<&[f32]> = starts.iter().map(FlatNumbers::slice).collect();
    let parts: Vec<&[f32]> = parts.iter().map(FlatNumbers::slice).collect();
    let mut sums = Fresh::new(starts.len() * len)?;
    let place = sums.pointer();
    let pieces = period.div_ceil(AT_ONCE);
    let arch = arch();
    thread_pool::each(len / period * pieces, &|piece, (): &mut ()| {
        let within = piece % pieces * AT_ONCE;
        let begin = piece / pieces * period + within;
        let count = AT_ONCE.min(period - within);
        for (number, (start, chosen)) in starts.iter().zip(chosen).enumerate() {
            let from = begin % start.len();
            let start = &start[from..from + count];
            let parts: Vec<&[f32]> = chosen.iter().map(|part| &parts[*part][begin..begin + count]).collect();
            // SAFETY: pieces lie within the result, do not overlap, and are written whole.
            let sum = unsafe { place.part(number * len + begin, count) };
            arch.dispatch(Sum { sum, start, parts: &parts });
        }
    });
    sums.tensor(&[&[starts.len()], shape].concat(), DType::F32)
}

struct Sum<'a> {
    sum: &'a mut [f32],
    start: &'a [f32],
    parts: &'a [&'a [f32]],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (sums, sums_rest) = S::as_mut_simd_f32s(self.sum);
        let (starts, starts_rest) = S::as_simd_f32s(self.start);
        let parts: Vec<(&[S::f32s], &[f32])> = self.parts.iter().map(|part| S::as_simd_f32s(part)).collect();
        for (at, (sum, start)) in sums.iter_mut().zip(starts).enumerate() {
            let mut of_parts = simd.splat_f32s(0.0);
            for (part, _) in &parts {
                of_parts = simd.add_f32s(of_parts, part[at]);
            }
            *sum = simd.add_f32s(*start, of_parts);
        }
        if !starts_rest.is_empty() {
            let mut of_parts = simd.splat_f32s(0.0);
            for (_, part_rest) in &parts {
                of_parts = simd.add_f32s(of_parts, simd.partial_load_f32s(part_rest));
            }
            simd.partial_store_f32s(sums_rest, simd.add_f32s(simd.partial_load_f32s(starts_rest), of_parts));
        }
    }
}

/// Computes one sum of [`chosen_sums`] in candle's operations.
fn chosen_sum_plain(start: &Tensor, parts: &[&Tensor], chosen: &[usize]) -> Result<Tensor> {
    let mut of_parts = parts[0].zeros_like()?;
    for part in chosen {
        of_parts = (of_parts + parts[*part])?;
    }
    let repeats = of_parts.elem_count() / start.elem_count();
    let start = Tensor::cat(&vec![start.flatten_all()?; repeats], 0)?;
    Ok((start.reshape(of_parts.shape())? + of_parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{at_every_level, list, numbers};

    #[test]
    fn sums_of_chosen_parts_are_those_of_candle_to_the_last_bit() {
        at_every_level(|| {
            for (texts, width) in [(1, 1), (1, 17), (2, 65), (3, 2500)] {
                let parts: Vec<Tensor> = (0..5).map(|seed| numbers(&[4 * texts, width], 2.0, seed)).collect();
                let parts: Vec<&Tensor> = parts.iter().collect();
                let [one, other] = [7, 8].map(|seed| numbers(&[texts, width], 3.0, seed));
                let whole = numbers(&[4 * texts, width], 3.0, 9);
                let starts = [&one, &whole, &other];
                let chosen = [vec![0, 2, 4], vec![1], Vec::new()];
                let found = chosen_sums(&starts, &parts, &chosen).unwrap();
                for (number, (start, chosen)) in starts.iter().zip(&chosen).enumerate() {
                    let expected = chosen_sum_plain(start, &parts, chosen).unwrap();
                    let found = found.get(number).unwrap();
                    assert_eq!((found.dims(), list(&found)), (expected.dims(), list(&expected)));
                }
            }
        });
        let x = numbers(&[4, 3], 1.0, 1);
        let y = numbers(&[3, 3], 1.0, 1);
        assert!(chosen_sums(&[&y], &[&x], &[vec![0]]).is_err());
        assert!(chosen_sums(&[&x], &[&x], &[vec![1]]).is_err());
        assert!(chosen_sums(&[&x], &[], &[vec![]]).is_err());
    }
}
