//! Changes of shape: reshape, permute, concatenate, split, repeat, roll, flip, triangles, diagonals.

use candle_core::{DType, Tensor};

use super::{axes, backward, device, dtype, element, index};
use crate::common::*;

/// Returns another shape with as many elements; one size may be -1 and is inferred.
pub fn reshape(t: &Tensor, sizes: &[i64]) -> Result<Tensor> {
    let count = t.elem_count();
    let open: Vec<usize> = (0..sizes.len()).filter(|i| sizes[*i] == -1).collect();
    let known: Vec<i64> = sizes.iter().copied().filter(|s| *s != -1).collect();
    let product = axes::shape(&known)?.iter().try_fold(1_usize, |p, s| p.checked_mul(*s));
    let misfit = || err!(Shape, "expected a shape for {count} elements, as {:?} has, found {sizes:?}", t.dims());
    let mut dims = sizes.to_vec();
    match (open.as_slice(), product) {
        ([], Some(product)) if product == count => {}
        ([axis], Some(product)) if product > 0 && count.is_multiple_of(product) => {
            dims[*axis] = (count / product) as i64
        }
        ([_, _, ..], _) => bail!(Shape, "expected at most one size of -1, found {sizes:?}"),
        _ => return Err(misfit()),
    }
    backward::reshaped(t, &axes::shape(&dims)?)
}

/// Reorders the axes.
pub fn permute(t: &Tensor, order: &[i64]) -> Result<Tensor> {
    let found = order.iter().map(|a| axes::axis(*a, t.rank())).collect::<Result<Vec<_>>>()?;
    if axes::axes(Some(order), t.rank())?.len() != t.rank() {
        bail!(Shape, "expected all {} axes in some order, found {order:?}", t.rank());
    }
    let mut back = vec![0; found.len()];
    found.iter().enumerate().for_each(|(place, axis)| back[*axis] = place);
    Ok(backward::on_tape(t.permute(found)?, &[t], move |_, gradient| Ok(vec![Some(gradient.permute(&back[..])?)])))
}

/// Swaps two axes.
pub fn transpose(t: &Tensor, a: i64, b: i64) -> Result<Tensor> {
    let a = axes::axis(a, t.rank())?;
    let b = axes::axis(b, t.rank())?;
    Ok(backward::on_tape(t.transpose(a, b)?, &[t], move |_, gradient| Ok(vec![Some(gradient.transpose(a, b)?)])))
}

/// Removes axes of size 1: all of them, or those given.
pub fn squeeze(t: &Tensor, given: Option<&[i64]>) -> Result<Tensor> {
    let chosen = match given {
        None => (0..t.rank()).filter(|a| t.dims()[*a] == 1).collect(),
        Some(_) => axes::axes(given, t.rank())?,
    };
    if let Some(wide) = chosen.iter().find(|a| t.dims()[**a] != 1) {
        bail!(Shape, "expected size 1 on axis {wide}, found shape {:?}", t.dims());
    }
    backward::reshaped(t, &axes::reduced(t.dims(), &chosen, false))
}

/// Adds an axis of size 1 before `axis`; -1 adds it at the end.
pub fn unsqueeze(t: &Tensor, axis: i64) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank() + 1)?;
    Ok(backward::on_tape(t.unsqueeze(axis)?, &[t], move |_, gradient| Ok(vec![Some(gradient.squeeze(axis)?)])))
}

/// Flattens the axes from `first` to `last`.
pub fn flatten(t: &Tensor, first: i64, last: i64) -> Result<Tensor> {
    if t.rank() == 0 {
        return Ok(t.reshape(1)?);
    }
    let first = axes::axis(first, t.rank())?;
    let last = axes::axis(last, t.rank())?;
    if first > last {
        bail!(Argument, "expected a first axis before the last one, found {first} and {last}");
    }
    Ok(t.flatten(first, last)?)
}

/// Broadcasts to a shape without a copy; -1 keeps a size.
pub fn expand(t: &Tensor, sizes: &[i64]) -> Result<Tensor> {
    let misfit = || err!(Shape, "expected a shape that {:?} can be expanded to, found {sizes:?}", t.dims());
    let ahead = sizes.len().checked_sub(t.rank()).ok_or_else(misfit)?;
    let mut dims = sizes.to_vec();
    for (i, size) in dims.iter_mut().enumerate().filter(|(_, size)| **size == -1) {
        *size = *t.dims().get(i.wrapping_sub(ahead)).ok_or_else(misfit)? as i64;
    }
    let dims = axes::shape(&dims)?;
    if axes::broadcast(t.dims(), &dims).ok().as_ref() != Some(&dims) {
        return Err(misfit());
    }
    element::room(&dims, t.dtype())?;
    Ok(t.broadcast_as(dims)?)
}

/// Repeats the tensor along each axis; more counts than axes add axes in front.
pub fn repeat(t: &Tensor, counts: &[i64]) -> Result<Tensor> {
    let counts = axes::shape(counts)?;
    let Some(ahead) = counts.len().checked_sub(t.rank()) else {
        bail!(Shape, "expected at least {} counts, one for each axis, found {}", t.rank(), counts.len());
    };
    let mut repeated = t.reshape([vec![1; ahead], t.dims().to_vec()].concat())?;
    for (axis, count) in counts.iter().enumerate() {
        let size = repeated.dims()[axis];
        // Each axis is broadcast with a new one of the count's size, and both are flattened.
        let mut dims = repeated.dims().to_vec();
        dims.insert(axis, *count);
        element::room(&dims, t.dtype())?;
        let stretched = repeated.unsqueeze(axis)?.broadcast_as(dims)?;
        let mut joined = repeated.dims().to_vec();
        joined[axis] = size * count;
        repeated = stretched.reshape(joined)?;
    }
    Ok(repeated)
}

/// Concatenates along an axis; dtypes are promoted.
pub fn cat(parts: &[Tensor], axis: i64) -> Result<Tensor> {
    let (parts, first) = promoted(parts)?;
    let axis = axes::axis(axis, first.len())?;
    let alike =
        |dims: &[usize]| dims.len() == first.len() && (0..first.len()).all(|i| i == axis || dims[i] == first[i]);
    if let Some(odd) = parts.iter().find(|p| !alike(p.dims())) {
        bail!(Shape, "expected shapes equal to {first:?} except on axis {axis}, found {:?}", odd.dims());
    }
    let mut dims = first;
    dims[axis] = parts.iter().map(|p| p.dims()[axis]).sum();
    if element::room(&dims, parts[0].dtype())? == 0 {
        return Ok(Tensor::zeros(dims, parts[0].dtype(), parts[0].device())?);
    }
    let filled: Vec<&Tensor> = parts.iter().filter(|p| p.elem_count() > 0).collect();
    Ok(Tensor::cat(&filled, axis)?)
}

/// Stacks along a new axis; all shapes must be equal.
pub fn stack(parts: &[Tensor], axis: i64) -> Result<Tensor> {
    let (parts, first) = promoted(parts)?;
    if let Some(odd) = parts.iter().find(|p| p.dims() != first) {
        bail!(Shape, "expected equal shapes, found {first:?} and {:?}", odd.dims());
    }
    let new = axes::axis(axis, first.len() + 1)?;
    let raised = parts.iter().map(|p| Ok(p.unsqueeze(new)?)).collect::<Result<Vec<_>>>()?;
    cat(&raised, new as i64)
}

fn promoted(parts: &[Tensor]) -> Result<(Vec<Tensor>, Vec<usize>)> {
    let Some(first) = parts.first() else { bail!(Argument, "expected at least one tensor, found none") };
    let common = parts.iter().map(Tensor::dtype).fold(first.dtype(), dtype::promote);
    let parts = device::together(parts)?;
    let parts: Vec<Tensor> = parts.iter().map(|p| dtype::convert(p, common)).collect::<Result<_>>()?;
    Ok((parts, first.dims().to_vec()))
}

/// Approximate bytes of a view of a tensor.
const PIECE: u128 = 512;

/// Splits into pieces of these sizes along an axis.
pub fn split(t: &Tensor, sizes: &[i64], axis: i64) -> Result<Vec<Tensor>> {
    let axis = axes::axis(axis, t.rank())?;
    let sizes = axes::shape(sizes)?;
    let total = sizes.iter().try_fold(0_usize, |sum, s| sum.checked_add(*s));
    if total != Some(t.dims()[axis]) {
        bail!(Shape, "expected sizes that add up to {}, found {sizes:?}", t.dims()[axis]);
    }
    memory::check(sizes.len() as u128 * PIECE, || format!("{} pieces", sizes.len()))?;
    let mut start = 0;
    let mut cut = |len: usize| {
        let piece = t.narrow(axis, start, len)?;
        start += len;
        Ok(piece)
    };
    sizes.iter().map(|len| cut(*len)).collect()
}

/// Returns the sizes of pieces of `size` each; the last one may be smaller.
pub fn even_sizes(t: &Tensor, size: i64, axis: i64) -> Result<Vec<i64>> {
    let len = t.dims()[axes::axis(axis, t.rank())?] as i64;
    if size < 1 {
        bail!(Argument, "expected pieces of 1 or more, found {size}");
    }
    let rest = len % size;
    element::room_for_rows((len / size) as usize, size_of::<i64>())?;
    let mut sizes = vec![size; (len / size) as usize];
    sizes.extend((rest > 0).then_some(rest));
    Ok(sizes)
}

/// Bytes for each index of a new order: while it is computed, and while it is used.
const ORDER: usize = 2 * size_of::<usize>();

/// Rolls the entries along an axis; those beyond the end come back at the start.
pub fn roll(t: &Tensor, by: i64, axis: i64) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank())?;
    let len = t.dims()[axis] as i64;
    if len == 0 {
        return Ok(t.clone());
    }
    // Taken modulo the length first, so that no shift is too large.
    let by = by.rem_euclid(len);
    element::room_for_rows(len as usize, ORDER)?;
    let order: Vec<usize> = (0..len).map(|i| (i - by).rem_euclid(len) as usize).collect();
    index::take(t, &order, axis)
}

/// Reverses the entries along these axes.
pub fn flip(t: &Tensor, given: Option<&[i64]>) -> Result<Tensor> {
    axes::axes(given, t.rank())?.into_iter().try_fold(t.clone(), |flipped, axis| {
        element::room_for_rows(t.dims()[axis], ORDER)?;
        let order: Vec<usize> = (0..t.dims()[axis]).rev().collect();
        index::take(&flipped, &order, axis)
    })
}

/// Keeps the lower triangle of the last two axes, the diagonal included; the rest is 0. `diagonal` shifts it to the
/// right.
pub fn tril(t: &Tensor, diagonal: i64) -> Result<Tensor> {
    triangle(t, |row, column| column - row <= diagonal)
}

/// Keeps the upper triangle of the last two axes, the diagonal included; the rest is 0.
pub fn triu(t: &Tensor, diagonal: i64) -> Result<Tensor> {
    triangle(t, |row, column| column - row >= diagonal)
}

fn triangle(t: &Tensor, keeps: impl Fn(i64, i64) -> bool) -> Result<Tensor> {
    let &[.., rows, columns] = t.dims() else {
        bail!(Shape, "expected at least two axes, found shape {:?}", t.dims());
    };
    element::room_beside(t.dims(), t.dtype(), &[t.dtype(), DType::U8])?;
    let mut bits = Vec::with_capacity(rows * columns);
    for row in 0..rows as i64 {
        bits.extend((0..columns as i64).map(|column| u8::from(keeps(row, column))));
    }
    let mask = Tensor::from_vec(bits, (rows, columns), t.device())?;
    super::compare::select(&mask, &t.into(), &super::Number::Int(0).into())
}

/// Returns the diagonal of a matrix.
pub fn diag(t: &Tensor, diagonal: i64) -> Result<Tensor> {
    let (down, right) = shifts(diagonal);
    let &[rows, columns] = t.dims() else {
        let error = err!(Shape, "expected a matrix to take the diagonal of, found shape {:?}", t.dims());
        return Err(match t.rank() {
            1 => error.hint(
                "a vector is no matrix: it may be what you want already, as with `tensor::cosine(a, b)`, which compares \
                 row by row; `t.diag_embed()` is the matrix with it as its diagonal",
            ),
            _ => error,
        });
    };
    let len = rows.saturating_sub(down).min(columns.saturating_sub(right));
    element::room(&[rows, columns], t.dtype())?;
    element::room_for_rows(len, ORDER)?;
    let places: Vec<usize> = (0..len).map(|i| (i + down) * columns + i + right).collect();
    index::take(&t.flatten_all()?, &places, 0)
}

/// Returns the matrix with a vector as its diagonal, and 0 elsewhere.
pub fn diag_embed(t: &Tensor, diagonal: i64) -> Result<Tensor> {
    let (down, right) = shifts(diagonal);
    let &[len] = t.dims() else {
        bail!(Shape, "expected a vector to put on the diagonal, found shape {:?}", t.dims());
    };
    let side = len.saturating_add(down + right);
    // The zeros, and the copy of them that the elements are set in.
    element::room_beside(&[side, side], t.dtype(), &[t.dtype()])?;
    element::room_for_rows(len, ORDER)?;
    let places: Vec<i64> = (0..len).map(|i| ((i + down) * side + i + right) as i64).collect();
    let flat = Tensor::zeros(side * side, t.dtype(), t.device())?;
    let spread = index::set(&flat, &[index::AxisIndex::List(places)], &t.into())?;
    Ok(spread.reshape((side, side))?)
}

/// Returns how far a diagonal is below the main one, and how far to the right of it.
fn shifts(diagonal: i64) -> (usize, usize) {
    let shift = diagonal.unsigned_abs() as usize;
    if diagonal < 0 { (shift, 0) } else { (0, shift) }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;

    fn count(dims: &[usize]) -> Tensor {
        let len = dims.iter().product::<usize>();
        create::from_floats((0..len).map(|i| i as f64).collect(), dims, DType::F32).unwrap()
    }

    fn f64s(t: Result<Tensor>) -> Vec<f64> {
        element::floats(&t.unwrap()).unwrap()
    }

    #[test]
    fn shapes_that_are_worked_out_and_shapes_that_are_refused() {
        let t = count(&[2, 3]);
        assert_eq!(reshape(&t, &[3, -1]).unwrap().dims(), [3, 2]);
        for wrong in [vec![4], vec![-1, -1], vec![-1, 4], vec![-2, 3], vec![i64::MAX, i64::MAX], vec![0, -1]] {
            assert_eq!(reshape(&t, &wrong).unwrap_err().kind, crate::base::Kind::Shape, "{wrong:?}");
        }
        assert_eq!(reshape(&count(&[0, 3]), &[3, -1]).unwrap().dims(), [3, 0]);
        assert_eq!(f64s(permute(&t, &[1, 0])), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(permute(&t, &[0]).is_err() && permute(&t, &[0, 0]).is_err());
        assert_eq!(f64s(transpose(&t, 0, -1)), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let thin = count(&[1, 2, 1]);
        assert_eq!(squeeze(&thin, None).unwrap().dims(), [2]);
        assert_eq!(squeeze(&thin, Some(&[-1])).unwrap().dims(), [1, 2]);
        assert!(squeeze(&thin, Some(&[1])).is_err());
        assert_eq!(unsqueeze(&t, -1).unwrap().dims(), [2, 3, 1]);
        assert_eq!(flatten(&count(&[2, 3, 4]), 1, -1).unwrap().dims(), [2, 12]);
        assert!(flatten(&t, 1, 0).is_err());
        assert_eq!(flatten(&count(&[]), 0, -1).unwrap().dims(), [1]);
    }

    #[test]
    fn stretching_and_repeating() {
        let t = count(&[2, 1]);
        assert_eq!(expand(&t, &[3, -1, 2]).unwrap().dims(), [3, 2, 2]);
        assert!(expand(&t, &[3, 2]).is_err() && expand(&t, &[2]).is_err() && expand(&t, &[-1, 2, 1]).is_err());
        assert_eq!(f64s(repeat(&t, &[2, 2])), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(repeat(&t, &[3, 1, 1]).unwrap().dims(), [3, 2, 1]);
        assert_eq!(repeat(&t, &[0, 1]).unwrap().dims(), [0, 1]);
        assert!(repeat(&t, &[2]).is_err() && repeat(&t, &[-1, 1]).is_err());
        for wrong in [repeat(&t, &[i64::MAX, i64::MAX]), expand(&t, &[i64::MAX, 2, 1])] {
            assert_eq!(wrong.unwrap_err().kind, crate::base::Kind::Memory);
        }
    }

    #[test]
    fn joining_and_cutting_are_inverses() {
        let t = count(&[4, 3]);
        let pieces = split(&t, &[1, 0, 3], 0).unwrap();
        assert_eq!(f64s(cat(&pieces, 0)), f64s(Ok(t.clone())));
        assert_eq!(even_sizes(&t, 3, 0).unwrap(), [3, 1]);
        let stacked = stack(&[t.clone(), t.clone()], -1).unwrap();
        assert_eq!(stacked.dims(), [4, 3, 2]);
        assert!(cat(&[t.clone(), count(&[2])], 0).is_err() && cat(&[], 0).is_err());
        assert!(split(&t, &[2, 1], 0).is_err() && even_sizes(&t, 0, 0).is_err());
        let mixed = cat(&[count(&[1]), create::zeros(&[1], DType::I64).unwrap()], 0).unwrap();
        assert_eq!(mixed.dtype(), DType::F32);
        for dtype in dtype::ALL {
            let x = t.to_dtype(dtype).unwrap();
            assert_eq!(f64s(cat(&[x.clone(), x.clone()], 1)).len(), 24, "{dtype:?}");
            assert_eq!(f64s(flip(&x, Some(&[0]))).len(), 12);
            assert_eq!(f64s(tril(&x, 0)).len(), 12);
        }
    }

    #[test]
    fn orders_triangles_and_diagonals() {
        let t = count(&[2, 3]);
        assert_eq!(f64s(roll(&t, 1, 1)), [2.0, 0.0, 1.0, 5.0, 3.0, 4.0]);
        assert_eq!(f64s(roll(&t, i64::MIN, 0)), f64s(Ok(t.clone())));
        assert_eq!(f64s(flip(&t, None)), [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
        assert_eq!(f64s(tril(&t, 0)), [0.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
        assert_eq!(f64s(triu(&t, 1)), [0.0, 1.0, 2.0, 0.0, 0.0, 5.0]);
        assert!(tril(&count(&[3]), 0).is_err());
        assert_eq!(f64s(diag(&t, 0)), [0.0, 4.0]);
        assert_eq!(f64s(diag(&t, -1)), [3.0]);
        assert_eq!(f64s(diag(&t, 9)), [] as [f64; 0]);
        assert_eq!(f64s(diag_embed(&count(&[2]), 1)), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(diag_embed(&count(&[2]), i64::MIN).unwrap_err().kind, crate::base::Kind::Memory);
    }
}
