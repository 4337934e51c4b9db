//! Kernels for GPUs: of our own for NVIDIA's, where candle's are slow or pass through CPU memory, and of candle-nn for
//! Metal.
//!
//! Each function gives None where it has no kernel: on the CPU, for other dtypes, and in a build without the feature of
//! the device. It is tested against its reference implementation in candle's operations, which its caller then takes.

#[cfg(feature = "cuda")]
mod cuda;
pub(super) mod metal;
#[cfg(feature = "cuda")]
mod passes;
#[cfg(feature = "cuda")]
mod pool;
#[cfg(feature = "cuda")]
pub mod rows;

use candle_core::{Device, Tensor, Var};

use crate::arguments::activation::Activation;
use crate::arguments::adam::AdamW;
use crate::arguments::norm::{Affine, NormKind};
use crate::arguments::reach::{Gap, Reach};
use crate::arguments::rotation::Rotation;
use crate::base::error::Result;
use crate::base::memory;

/// Returns the bytes that are free on a device; None for the CPU, and where the number is not known.
pub fn free(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return cuda::free(device).map(Some);
    }
    let _elsewhere = device;
    Ok(None)
}

/// Keeps the freed memory of a device with this program, since the next step wants it again.
pub fn keep_freed(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return pool::keep(device);
    }
    let _elsewhere = device;
    Ok(())
}

/// Returns the most bytes that tensors had at once on a device since the last call; None for the CPU, and where the
/// device does not count.
pub fn most_since(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let most = pool::most(device)?;
        return pool::forget_most(device).map(|()| most);
    }
    let _elsewhere = device;
    Ok(None)
}

/// Refuses an allocation of `bytes` that cannot fit where it is to be made: on a device, or in CPU memory.
pub fn check(device: &Device, bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    match free(device)?.filter(|_| bytes >= memory::SMALL) {
        Some(free) => memory::check_within(bytes, free, || format!("on the device, {}", what())),
        None => memory::check(bytes, what),
    }
}

/// Returns 1 where a number is among the k largest of its row `[.., width]`, else 0; of equal ones the first count.
pub fn mask_of_largest(numbers: &Tensor, k: usize) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if cuda::has(&[numbers]) && numbers.elem_count() > 0 && k > 0 {
        return rows::mask_of_largest(&numbers.detach(), k).map(Some);
    }
    let _elsewhere = (numbers, k);
    Ok(None)
}

/// Returns the product of rows `[n, features]`, each with at most `most` numbers that are not 0, with a table
/// `[features, width]`. The gradient at a number that is 0 is 0: what chose the others passes none to it.
pub fn sparse_product(rows: &Tensor, table: &Tensor, most: usize) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if cuda::has(&[rows, table]) && rows.elem_count() > 0 && table.elem_count() > 0 && most > 0 {
        return rows::sparse_product(rows, table, most).map(Some);
    }
    let _elsewhere = (rows, table, most);
    Ok(None)
}

/// Computes layer norm or RMS norm.
pub(super) fn norm(x: &Tensor, kind: NormKind, eps: f64, affine: Affine) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if let Some(found) = passes::norm(x, kind, eps, affine)? {
        return Ok(Some(found));
    }
    if x.device().is_metal() { metal::norm(x, kind, eps, affine) } else { Ok(None) }
}

/// Applies rotary position embeddings, where the table has every position.
pub(super) fn rotate(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if let Some(found) = passes::rotate(x, rotation, past, gap)? {
        return Ok(Some(found));
    }
    if x.device().is_metal() { metal::rotate(x, rotation, past, gap) } else { Ok(None) }
}

/// Computes the softmax of scores, times a scale and capped, over the keys that a query attends to.
pub(super) fn pattern(
    scores: &Tensor,
    scale: f64,
    cap: Option<f64>,
    reach: &Reach,
    sinks: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if let Some(found) = passes::pattern(scores, scale, cap, reach, sinks)? {
        return Ok(Some(found));
    }
    let _elsewhere = (scores, scale, cap, reach, sinks);
    Ok(None)
}

/// Computes act(x + bias), or the sum alone without an activation.
pub(super) fn biased(x: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if let Some(found) = passes::biased(x, bias, act)? {
        return Ok(Some(found));
    }
    let _elsewhere = (x, bias, act);
    Ok(None)
}

/// Computes act(gate) * up.
pub(super) fn gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if let Some(found) = passes::gated(gate, up, act)? {
        return Ok(Some(found));
    }
    let _elsewhere = (gate, up, act);
    Ok(None)
}

/// Returns the component of each row of a gradient that is orthogonal to a row of directions.
pub fn across(gradient: &Tensor, directions: &Tensor) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if cuda::has(&[gradient, directions]) && gradient.rank() == 2 && gradient.elem_count() > 0 {
        return cuda::across(&gradient.detach(), &directions.detach()).map(Some);
    }
    let _elsewhere = (gradient, directions);
    Ok(None)
}

/// Makes a step of Adam in one pass; returns false where there is no kernel, and nothing was changed. `unit`: rows are
/// scaled to norm 1.
pub fn adam(weight: &Var, gradient: &Tensor, moments: [&Var; 2], settings: AdamW, unit: bool) -> Result<bool> {
    #[cfg(feature = "cuda")]
    if cuda::has(&[weight, moments[0], moments[1], gradient]) && weight.elem_count() > 0 {
        return cuda::adam(weight, &gradient.detach(), moments, settings, unit).map(|()| true);
    }
    let _elsewhere = (weight, gradient, moments, settings, unit);
    Ok(false)
}
