//! Gathering and scattering along one axis by a tensor of indices.

use candle_core::{DType, Tensor};

use super::{axes, device, dtype, element};
use crate::common::*;

/// Gathers `result[i][j] = t[i][index[i][j]]` for axis 1, and so for every axis. Negative indices count from the end.
pub fn gather(t: &Tensor, axis: i64, index: &Tensor) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank())?;
    same_but(axis, index.dims(), t.dims(), "index")?;
    let index = positions(index, t.dims()[axis])?;
    element::room(index.dims(), t.dtype())?;
    Ok(t.contiguous()?.gather(&index.to_device(t.device())?, axis)?)
}

/// Returns a copy of `t` with `result[i][index[i][j]] = source[i][j]` for axis 1, and so for every axis; of repeated
/// indices the last source wins.
pub fn scatter(t: &Tensor, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
    let (axis, index) = checked(t, axis, index, source)?;
    replaced(t, &index, &dtype::cast(&device::on_device_of(source, t)?, t.dtype())?, axis)
}

/// Returns a copy of `t` with `source[i][j]` added at `[i][index[i][j]]` for axis 1, and so for every axis.
pub fn scatter_add(t: &Tensor, axis: i64, index: &Tensor, source: &Tensor) -> Result<Tensor> {
    let (axis, index) = checked(t, axis, index, source)?;
    let places = flat(&index, t.dims(), axis)?;
    if !dtype::is_float(t.dtype()) {
        return added_integers(t, &places, source);
    }
    let work = dtype::float_for(t.dtype());
    let base = dtype::convert(t, work)?.flatten_all()?;
    let source = dtype::convert(&device::on_device_of(source, t)?, work)?.flatten_all()?.contiguous()?;
    // Flat, since candle's own scattered sum has no right gradient, and its flat one has.
    let places = element::int_tensor(places, &[index.elem_count()], t.device())?;
    dtype::convert(&base.index_add(&places, &source, 0)?.reshape(t.dims())?, t.dtype())
}

/// Adds integers at these places in i64; a sum that does not fit the dtype is refused.
fn added_integers(t: &Tensor, places: &[i64], source: &Tensor) -> Result<Tensor> {
    let mut sums = element::ints(t)?;
    for (place, value) in places.iter().zip(element::ints(source)?) {
        let sum = &mut sums[*place as usize];
        *sum = sum.checked_add(value).ok_or_else(|| err!(Numeric, "the sum of {sum} and {value} does not fit i64"))?;
    }
    dtype::cast(&element::int_tensor(sums, t.dims(), t.device())?, t.dtype())
}

/// Returns the flat offsets, in row order, of the elements that an index along `axis` points to.
fn flat(index: &Tensor, dims: &[usize], axis: usize) -> Result<Vec<i64>> {
    let inner: usize = dims[axis + 1..].iter().product();
    let row = index.dims()[axis] * inner;
    let place = |(i, at): (usize, i64)| {
        let block = i / row;
        let column = i % inner;
        ((block * dims[axis] + at as usize) * inner + column) as i64
    };
    Ok(element::ints(index)?.into_iter().enumerate().map(place).collect())
}

fn checked(t: &Tensor, axis: i64, index: &Tensor, source: &Tensor) -> Result<(usize, Tensor)> {
    let axis = axes::axis(axis, t.rank())?;
    same_but(axis, index.dims(), t.dims(), "index")?;
    if source.dims() != index.dims() {
        bail!(Shape, "expected a source of the index's shape {:?}, found {:?}", index.dims(), source.dims());
    }
    if dtype::is_float(source.dtype()) && !dtype::is_float(t.dtype()) {
        bail!(Argument, "expected a source of integers, as the tensor's, found {}", source.dtype().as_str());
    }
    element::room(t.dims(), t.dtype())?;
    Ok((axis, positions(index, t.dims()[axis])?.to_device(t.device())?))
}

/// Scatters with correct gradients: candle's own passes those of replaced elements on to `t`.
pub(super) fn replaced(t: &Tensor, index: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    // candle cannot scatter f8; the round trip through f32 is lossless.
    let base = element::workable(t)?.contiguous()?;
    let source = element::workable(source)?.contiguous()?;
    let replaced = if base.track_op() || source.track_op() {
        let spread = base.zeros_like()?.scatter(index, &source, axis)?;
        let ones = Tensor::ones(index.dims(), DType::U8, t.device())?;
        let mask = Tensor::zeros(t.dims(), DType::U8, t.device())?.scatter(index, &ones, axis)?;
        mask.where_cond(&spread, &base)?
    } else {
        base.scatter(index, &source, axis)?
    };
    Ok(replaced.to_dtype(t.dtype())?)
}

/// Checks that all sizes except that of `axis` are equal.
fn same_but(axis: usize, found: &[usize], wanted: &[usize], what: &str) -> Result<()> {
    let fits = |(i, (a, b)): (usize, (&usize, &usize))| i == axis || a == b;
    if found.len() != wanted.len() || !found.iter().zip(wanted).enumerate().all(fits) {
        bail!(Shape, "expected an {what} of shape {wanted:?} except on axis {axis}, found {found:?}");
    }
    Ok(())
}

/// Returns the positions as contiguous i64, all counted from the front.
fn positions(index: &Tensor, size: usize) -> Result<Tensor> {
    let given = element::ints(index)?;
    let found = given.into_iter().map(|at| Ok(axes::position(at, size)? as i64)).collect::<Result<_>>()?;
    element::int_tensor(found, index.dims(), index.device())
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::t;

    #[test]
    fn over_every_dtype() {
        let index = t(&[2.0, -3.0, 1.0, 1.0], &[2, 2], DType::I64);
        for dtype in dtype::ALL {
            let x = t(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 3], dtype);
            let f64s = |r: Result<Tensor>| {
                let r = r.unwrap();
                assert_eq!(r.dtype(), dtype);
                element::floats(&r).unwrap()
            };
            assert_eq!(f64s(gather(&x, 1, &index)), [2.0, 0.0, 4.0, 4.0]);
            let source = t(&[7.0, 8.0, 1.0, 2.0], &[2, 2], dtype);
            assert_eq!(f64s(scatter(&x, -1, &index, &source)), [8.0, 1.0, 7.0, 3.0, 2.0, 5.0]);
            assert_eq!(f64s(scatter_add(&x, 1, &index, &source)), [8.0, 1.0, 9.0, 3.0, 7.0, 5.0]);
        }
    }

    #[test]
    fn gradients_of_scattering() {
        let index = t(&[2.0], &[1], DType::I64);
        let source = t(&[5.0], &[1], DType::F32);
        for (scatter, expected) in
            [(scatter as fn(&_, _, &_, &_) -> _, [2.0, 4.0, 0.0]), (scatter_add, [2.0, 4.0, 16.0])]
        {
            let x = candle_core::Var::from_tensor(&t(&[1.0, 2.0, 3.0], &[3], DType::F32)).unwrap();
            let y: Result<Tensor> = scatter(&x, 0, &index, &source);
            let grads = y.unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
            assert_eq!(element::floats(grads.get(&x).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_arguments() {
        let x = t(&[0.0; 6], &[2, 3], DType::F32);
        let ok = t(&[0.0; 2], &[2, 1], DType::I64);
        assert!(gather(&x, 1, &t(&[3.0, 0.0], &[2, 1], DType::I64)).unwrap_err().message.contains("from -3 to 2"));
        assert!(gather(&x, 1, &t(&[0.0; 3], &[3, 1], DType::I64)).is_err());
        assert!(gather(&x, 2, &ok).is_err());
        assert!(gather(&x, 1, &t(&[0.0; 2], &[2, 1], DType::F32)).is_err());
        assert!(scatter(&x, 1, &ok, &t(&[0.0; 4], &[2, 2], DType::F32)).is_err());
        let bytes = t(&[200.0], &[1], DType::U8);
        assert!(scatter_add(&bytes, 0, &t(&[0.0], &[1], DType::I64), &bytes).unwrap_err().message.contains("fit u8"));
        let none = t(&[], &[2, 0], DType::I64);
        assert_eq!(gather(&x, 1, &none).unwrap().dims(), [2, 0]);
        for unchanged in [scatter(&x, 1, &none, &none), scatter_add(&x, 1, &none, &none)] {
            assert_eq!(element::floats(&unchanged.unwrap()).unwrap(), [0.0; 6]);
        }
        let most = create::from_numbers(&[crate::tensor::Number::Int(i64::MAX)], &[1], DType::I64).unwrap();
        let first = t(&[0.0], &[1], DType::I64);
        assert_eq!(scatter_add(&most, 0, &first, &most).unwrap_err().kind, crate::base::Kind::Numeric);
    }
}
