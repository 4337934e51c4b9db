//! Checks of what a hook returns: same shape and dtype, no new NaN.

use std::fmt::Display;

use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Tensor};

/// Refuses another shape or dtype.
pub fn same_form(place: &dyn Display, before: &Tensor, after: &Tensor) -> Result<()> {
    if after.dims() != before.dims() {
        let wanted = before.dims();
        let found = after.dims();
        return Err(err!(Shape, "expected a tensor of shape {wanted:?} from the hook at `{place}`, found {found:?}"));
    }
    if after.dtype() != before.dtype() {
        let wanted = before.dtype().as_str();
        let found = after.dtype().as_str();
        return Err(err!(Argument, "expected {wanted} from the hook at `{place}`, found {found}")
            .hint(format!("return x.to(\"{wanted}\")")));
    }
    Ok(())
}

/// Refuses NaN where there was none before.
pub fn no_new_nan(place: &dyn Display, before: &Tensor, after: &Tensor) -> Result<()> {
    match first_nan(after)? {
        Some(index) if first_nan(before)?.is_none() => {
            Err(err!(Numeric, "the hook at `{place}` returned NaN, first at {index:?}"))
        }
        _ => Ok(()),
    }
}

/// Returns the index of the first NaN.
pub fn first_nan(x: &Tensor) -> Result<Option<Vec<usize>>> {
    first_unlike_itself(&x.detach(), x.dims())
}

/// Refuses NaN and infinities among `what`, and says where the first one is.
pub fn finite(x: &Tensor, what: impl Display) -> Result<()> {
    if !x.dtype().is_float() {
        return Ok(());
    }
    // Times 0 a finite number is 0, and any other NaN.
    let Some(index) = first_unlike_itself(&(x.detach() * 0.0)?, x.dims())? else { return Ok(()) };
    let found = index.iter().try_fold(x.detach(), |rest, place| rest.get(*place))?;
    let found = found.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Err(err!(Numeric, "expected finite {what}, found {found} at {index:?}"))
}

/// Refuses a weight of another shape or dtype than f32, or with numbers that are not finite.
pub fn weight(name: &str, tensor: &Tensor, wanted: &[usize]) -> Result<()> {
    let dtype = tensor.dtype();
    let found = tensor.dims();
    if found != wanted || dtype != DType::F32 {
        return Err(err!(Format, "expected `{name}` as f32 {wanted:?}, found {dtype:?} {found:?}"));
    }
    finite(tensor, format!("`{name}`"))
}

/// Returns the index of the first number that is not equal to itself, which NaN alone is not.
fn first_unlike_itself(x: &Tensor, dims: &[usize]) -> Result<Option<Vec<usize>>> {
    if x.elem_count() == 0 || is_free_of_nan(x)? {
        return Ok(None);
    }
    let flat = x.flatten_all()?;
    let strange = flat.ne(&flat)?;
    // By rows first: a device gives each number of a result to one block of threads.
    let rows = strange.to_dtype(DType::F32)?.reshape(((), dims.last().copied().unwrap_or(1)))?;
    if rows.max(1)?.max(0)?.to_scalar::<f32>()? == 0.0 {
        return Ok(None);
    }
    let mut rest = strange.to_vec1::<u8>()?.iter().position(|flag| *flag != 0).unwrap_or(0);
    let mut index = vec![0; dims.len()];
    for (axis, size) in dims.iter().enumerate().rev() {
        index[axis] = rest % size;
        rest /= size;
    }
    Ok(Some(index))
}

/// Returns whether these are numbers of f32 in the CPU's memory without NaN, as the logits of each token that is written
/// should be.
fn is_free_of_nan(x: &Tensor) -> Result<bool> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() {
        return Ok(false);
    }
    let x = kernels::flat(x)?;
    let numbers = kernels::FlatNumbers::of(&x)?;
    // A part is gone through without branches.
    let is_in = |part: &[f32]| part.iter().fold(false, |found, x| found | x.is_nan());
    Ok(!numbers.slice().chunks(1 << 12).any(is_in))
}
