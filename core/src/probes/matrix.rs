//! Rows of numbers as matrices in f64, and the products that fitting needs, the same on any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::common::*;
use crate::tensor::linalg::of_rows;
use crate::tensor::{DType, Device, Tensor, floats};

/// Returns the rows `[n, d]`; other shapes, no rows, and numbers that are not finite are refused.
pub fn matrix(x: &Tensor) -> Result<Mat<f64>> {
    let &[rows, width] = x.dims() else {
        return Err(err!(Shape, "expected rows of numbers, [rows, width], found shape {:?}", x.dims())
            .hint("`x.reshape([-1, width])` makes rows of all positions"));
    };
    if rows == 0 || width == 0 {
        bail!(Shape, "expected at least one row of at least one number, found shape {:?}", x.dims());
    }
    memory::check(rows as u128 * width as u128 * 24, || format!("{rows} rows of {width} numbers"))?;
    let values = floats(x)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let row = at / width;
        let column = at % width;
        bail!(Numeric, "expected finite numbers, found {} at [{row}, {column}]", values[at]);
    }
    Ok(of_rows(&values, rows, width))
}

/// Returns the matrix as a tensor of this dtype.
pub fn tensor(m: MatRef<'_, f64>, dtype: DType) -> Result<Tensor> {
    let values: Vec<f64> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    Ok(Tensor::from_vec(values, (m.nrows(), m.ncols()), &Device::Cpu)?.to_dtype(dtype)?)
}

/// Computes a b, on one thread: the order of the sums, and so their rounding, is always the same.
pub fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

/// Computes the mean of each column.
pub fn means(x: MatRef<'_, f64>) -> Vec<f64> {
    (0..x.ncols()).map(|j| (0..x.nrows()).map(|i| x[(i, j)]).sum::<f64>() / x.nrows() as f64).collect()
}

/// Returns the rows with these numbers.
pub fn picked(x: MatRef<'_, f64>, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), x.ncols(), |i, j| x[(rows[i], j)])
}

/// Returns the columns with these numbers.
pub fn columns(x: MatRef<'_, f64>, wanted: &[usize]) -> Mat<f64> {
    Mat::from_fn(x.nrows(), wanted.len(), |i, j| x[(i, wanted[j])])
}

/// Refuses rows of another width.
pub fn check_width(x: MatRef<'_, f64>, width: usize, whose: &str) -> Result<()> {
    if x.ncols() != width {
        bail!(Shape, "expected rows of {width} numbers, as {whose} was fitted on, found rows of {}", x.ncols());
    }
    Ok(())
}
