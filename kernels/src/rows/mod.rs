//! Selecting, centring and scaling rows of activations.

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
