//! Checks of what a hook returns: same shape and dtype, no new NaN.

use std::fmt::Display;

use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Tensor};

/// Refuses another shape or dtype.
pub fn same_form(place: &dyn Display, before: &Tensor, after: &Tensor) -> Result<()> {
    if after.dims() != before.dims() {
        let (wanted, found) = (before.dims(), after.dims());
        return Err(err!(Shape, "expected a tensor of shape {wanted:?} from the hook at `{place}`, found {found:?}"));
    }
    if after.dtype() != before.dtype() {
        let (wanted, found) = (before.dtype().as_str(), after.dtype().as_str());
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

/// The index of the first NaN.
pub fn first_nan(x: &Tensor) -> Result<Option<Vec<usize>>> {
    if x.elem_count() == 0 {
        return Ok(None);
    }
    let flat = x.detach().flatten_all()?;
    let strange = flat.ne(&flat)?;
    // By rows first: a device gives each number of a result to one block of threads.
    let rows = strange.to_dtype(DType::F32)?.reshape(((), x.dims().last().copied().unwrap_or(1)))?;
    if rows.max(1)?.max(0)?.to_scalar::<f32>()? == 0.0 {
        return Ok(None);
    }
    let mut rest = strange.to_vec1::<u8>()?.iter().position(|flag| *flag != 0).unwrap_or(0);
    let mut index = vec![0; x.rank()];
    for (axis, size) in x.dims().iter().enumerate().rev() {
        index[axis] = rest % size;
        rest /= size;
    }
    Ok(Some(index))
}
