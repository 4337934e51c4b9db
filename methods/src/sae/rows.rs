//! Activations as rows of plain numbers, all of them finite.

use crate::base::Result;
use crate::tensor::{DType, Tensor, dtype};
use crate::{bail, err};

/// Returns the number and the width of the rows of `x`. All axes but the last are flattened to rows.
pub fn extent(x: &Tensor, what: &str) -> Result<(usize, usize)> {
    match x.dims() {
        [] => Err(err!(Shape, "expected {what} with rows, found one number")),
        [.., 0] => Err(err!(Shape, "expected {what} that are not empty, found the shape {:?}", x.dims())),
        [outer @ .., width] => Ok((outer.iter().product(), *width)),
    }
}

/// Returns `x` as `[rows, width]`, and refuses rows of another width.
pub fn matrix(x: &Tensor, width: usize, what: &str) -> Result<Tensor> {
    let (rows, found) = extent(x, what)?;
    if found != width {
        bail!(Shape, "expected {what} of width {width}, found the shape {:?}", x.dims());
    }
    Ok(x.detach().reshape((rows, width))?)
}

/// Returns the numbers of a matrix in f32, row after row. The first NaN or infinity is an error with its position;
/// `before` is the number of rows before these.
pub fn finite(x: &Tensor, what: &str, before: u64) -> Result<Vec<f32>> {
    let (_, width) = extent(x, what)?;
    let numbers = dtype::convert(x, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let Some(place) = numbers.iter().position(|number| !number.is_finite()) else { return Ok(numbers) };
    let row = before + (place / width) as u64;
    let column = place % width;
    Err(err!(Numeric, "expected finite {what}, found {} in row {row}, column {column}", numbers[place])
        .hint("rows are counted from 0; leave this one out, or look at where it comes from"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn what_is_not_finite_is_named_with_its_place() {
        let x = Tensor::new(&[[[1.0_f32, 2.0], [3.0, f32::INFINITY]]], &Device::Cpu).unwrap();
        let x = matrix(&x, 2, "activations").unwrap();
        let error = finite(&x, "activations", 10).unwrap_err();
        assert_eq!(error.message, "expected finite activations, found inf in row 11, column 1");
        assert_eq!(finite(&x.narrow(0, 0, 1).unwrap(), "activations", 0).unwrap(), [1.0, 2.0]);
        let error = matrix(&x, 3, "codes").unwrap_err();
        assert_eq!(error.message, "expected codes of width 3, found the shape [2, 2]");
        assert!(extent(&Tensor::zeros((3, 0), DType::F32, &Device::Cpu).unwrap(), "codes").is_err());
    }
}
