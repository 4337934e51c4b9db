//! Selecting, centring and scaling rows of activations.

pub(crate) mod chosen_sums;
pub(crate) mod embed;

use candle_core::{DType, Device, Tensor};
use pulp::Simd;

use crate::base::error::{Result, err};
use crate::base::instructions::arch;
use crate::numbers::elementwise::{BinaryFunction, zip};
use crate::numbers::{FlatNumbers, Fresh, flat};

/// Returns some rows of a table `[rows, width]`, in the order of `places`: `[places, width]`, without gradients.
pub fn picked(table: &Tensor, places: &[u32]) -> Result<Tensor> {
    let (rows, width) = table.dims2()?;
    let table = table.detach();
    if let Some(beyond) = places.iter().find(|place| **place as usize >= rows) {
        return Err(err!(Bug, "expected places among {rows} rows, found {beyond}"));
    }
    if !is_here(&table) || width == 0 {
        return Ok(table.index_select(&Tensor::new(places, table.device())?, 0)?);
    }
    let table = flat(&table)?;
    let numbers = FlatNumbers::of(&table)?;
    let mut picked = Fresh::new(places.len() * width)?;
    let numbers = numbers.slice();
    picked.write(width, width, |first, picked| {
        for (row, place) in picked.chunks_exact_mut(width).zip(&places[first..]) {
            row.copy_from_slice(&numbers[*place as usize * width..(*place as usize + 1) * width]);
        }
    });
    picked.tensor(&[places.len(), width], DType::F32)
}

/// Computes `(x - centre) * scale` of rows `[rows, width]`, without gradients.
pub fn centred(x: &Tensor, centre: &Tensor, scale: f64) -> Result<Tensor> {
    let x = x.detach();
    let centre = centre.detach();
    let (rows, width) = x.dims2()?;
    if !is_here(&x) || !is_here(&centre) || centre.dims() != [width] || width == 0 {
        return centred_plain(&x, &centre, scale);
    }
    let x = flat(&x)?;
    let centre = flat(&centre)?;
    let numbers = FlatNumbers::of(&x)?;
    let middle = FlatNumbers::of(&centre)?;
    let numbers = numbers.slice();
    let middle = middle.slice();
    let arch = arch();
    let mut result = Fresh::new(rows * width)?;
    let scale = scale as f32;
    result.write(width, width, |first, result| {
        let rows = numbers[first * width..].chunks_exact(width);
        for (out, row) in result.chunks_exact_mut(width).zip(rows) {
            zip(arch, out, row, middle, LessTimes(scale));
        }
    });
    result.tensor(&[rows, width], DType::F32)
}

/// Returns 1 for the `count` numbers of each row that are largest by size, of equals the first, and 0 for the others; a row is
/// the last axis. Without gradients.
pub fn largest(x: &Tensor, count: usize) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or_default();
    if count >= width {
        return Ok(x.detach().ones_like()?);
    }
    if count == 0 {
        return Ok(x.detach().zeros_like()?);
    }
    let here = x.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
    let here = flat(&here)?;
    let numbers = FlatNumbers::of(&here)?;
    let numbers = numbers.slice();
    let mut mask = Fresh::new(numbers.len())?;
    mask.write(width, 16 * width, |first, mask| {
        let mut sizes = vec![0.0_f32; width];
        for (mask, row) in mask.chunks_exact_mut(width).zip(numbers[first * width..].chunks_exact(width)) {
            sizes.iter_mut().zip(row).for_each(|(size, x)| *size = x.abs());
            // NaN counts as the largest, so that it stays and is seen.
            let (_, least, _) = sizes.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
            let least = *least;
            let above = row.iter().filter(|x| x.abs().total_cmp(&least).is_gt()).count();
            let mut equals = count - above;
            for (mask, x) in mask.iter_mut().zip(row) {
                let order = x.abs().total_cmp(&least);
                let stays = order.is_gt() || (order.is_eq() && equals > 0);
                equals -= usize::from(stays && order.is_eq());
                *mask = f32::from(u8::from(stays));
            }
        }
    });
    Ok(mask.tensor(x.dims(), DType::F32)?.to_device(x.device())?.to_dtype(x.dtype())?)
}

/// Computes [`centred`] in candle's operations.
pub(super) fn centred_plain(x: &Tensor, centre: &Tensor, scale: f64) -> Result<Tensor> {
    Ok((x.broadcast_sub(centre)? * scale)?)
}

fn is_here(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::F32 && matches!(tensor.device(), Device::Cpu)
}

/// The difference of two numbers, scaled.
#[derive(Clone, Copy)]
struct LessTimes(f32);

impl BinaryFunction for LessTimes {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(simd.sub_f32s(a, b), simd.splat_f32s(self.0))
    }
}
