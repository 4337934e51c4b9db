//! Sorting, top-k, argmin and argmax, cumulative sums.
//!
//! NaN is last in both directions, and of equal elements the lower index comes first, so that results are deterministic.

use std::cmp::Ordering;

use candle_core::{DType, Tensor};
use rayon::slice::ParallelSliceMut;

use super::element::{self, BLOCK, Element, dispatch};
use super::{axes, backward, dtype, gather, shape, walk};
use crate::common::*;

/// The direction of sorting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

crate::options! {
    pub struct SortOptions {
        /// Whether the largest comes first.
        descending: bool = false;
    }
}

impl SortOptions {
    pub fn direction(&self) -> Direction {
        if self.descending { Direction::Descending } else { Direction::Ascending }
    }
}

crate::options! {
    pub struct TopkOptions {
        /// Whether to take the largest, and not the smallest.
        largest: bool = true;
    }
}

impl TopkOptions {
    pub fn direction(&self) -> Direction {
        if self.largest { Direction::Descending } else { Direction::Ascending }
    }
}

/// Compares two elements, NaN after all others.
fn compare<T: Element>(a: T, b: T, direction: Direction) -> Ordering {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    match (a.partial_cmp(&b), direction) {
        (Some(order), Direction::Ascending) => order,
        (Some(order), Direction::Descending) => order.reverse(),
        (None, _) => is_nan(a).cmp(&is_nan(b)),
    }
}

/// Returns the indices that sort a tensor along an axis.
pub fn argsort(t: &Tensor, axis: i64, direction: Direction) -> Result<Tensor> {
    leading(t, axis, None, direction)
}

/// Sorts the elements along an axis; returns their indices, too.
pub fn sort(t: &Tensor, axis: i64, direction: Direction) -> Result<(Tensor, Tensor)> {
    let order = argsort(t, axis, direction)?;
    Ok((gathered(t, axis, &order)?, order))
}

/// Returns the first k elements in order along an axis (the largest if descending), and their indices.
pub fn topk(t: &Tensor, k: usize, axis: i64, direction: Direction) -> Result<(Tensor, Tensor)> {
    let len = t.dims().get(axes::axis(axis, t.rank())?).copied().unwrap_or_default();
    if k > len {
        bail!(Argument, "expected k from 0 to {len}, the size of the axis, found {k}");
    }
    let order = leading(t, axis, Some(k), direction)?;
    Ok((gathered(t, axis, &order)?, order))
}

fn gathered(t: &Tensor, axis: i64, order: &Tensor) -> Result<Tensor> {
    dtype::convert(&gather::gather(&element::workable(t)?, axis, order)?, t.dtype())
}

fn leading(t: &Tensor, axis: i64, k: Option<usize>, direction: Direction) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank())?;
    // The elements of a row are sorted with their indices. A row that is the whole tensor is in memory beside the result.
    let copies = if t.rank() == 1 { &[DType::I64; 3][..] } else { &[DType::I64] };
    element::room_beside(t.dims(), DType::I64, copies)?;
    element::room_for_rows(t.dims()[axis], 2 * size_of::<i64>())?;
    let work = element::workable(t)?;
    let k = k.unwrap_or(t.dims()[axis]);
    let (order, mut dims) =
        dispatch!(work.dtype(), T => walk::along::<T, _>(&work, axis, |row| first(row, k, direction)))?;
    // Without rows the length is not known from them.
    dims[t.rank() - 1] = k;
    walk::back(&element::int_tensor(order, &dims, t.device())?, axis)
}

/// Returns the indices of the first k elements of a row in order.
fn first<T: Element>(row: &[T], k: usize, direction: Direction) -> Vec<i64> {
    if k == 0 {
        return Vec::new();
    }
    // The elements are sorted with their indices, so that a comparison reads neighbouring memory.
    let mut pairs: Vec<(T, i64)> = row.iter().copied().zip(0..).collect();
    let by = |a: &(T, i64), b: &(T, i64)| compare(a.0, b.0, direction).then(a.1.cmp(&b.1));
    if k < pairs.len() {
        pairs.select_nth_unstable_by(k - 1, by);
        pairs.truncate(k);
    }
    // No two pairs are equal, so the order is the same on any number of threads.
    if pairs.len() > BLOCK {
        pairs.par_sort_unstable_by(by)
    } else {
        pairs.sort_unstable_by(by)
    }
    pairs.into_iter().map(|(_, position)| position).collect()
}

/// Returns the index of the largest (descending) or smallest (ascending) element, along one axis or, without one, in
/// the flattened tensor. If there is NaN, it is the index of the first.
pub fn arg_extreme(t: &Tensor, axis: Option<i64>, keepdim: bool, direction: Direction) -> Result<Tensor> {
    let over = match axis {
        Some(axis) => vec![axes::axis(axis, t.rank())?],
        None => (0..t.rank()).collect(),
    };
    let count: usize = over.iter().map(|a| t.dims()[*a]).product();
    if count == 0 {
        bail!(Numeric, "expected elements to find the extreme of, found none: shape {:?}", t.dims());
    }
    let work = element::workable(t)?;
    let found = dispatch!(work.dtype(), T => walk::each::<T, _>(&work, &over, |row| extreme(row, direction)))?;
    element::int_tensor(found, &axes::reduced(t.dims(), &over, keepdim), t.device())
}

fn extreme<T: Element>(row: &[T], direction: Direction) -> i64 {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if x.partial_cmp(x).is_none() {
            return i as i64;
        }
        if compare(*x, row[best], direction) == Ordering::Less {
            best = i;
        }
    }
    best as i64
}

/// Computes cumulative sums along an axis, in f64; of integers in i64.
pub fn cumsum(t: &Tensor, axis: i64) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank())?;
    if t.elem_count() == 0 {
        return Ok(t.clone());
    }
    let to = if dtype::is_float(t.dtype()) { dtype::float_for(t.dtype()) } else { DType::I64 };
    element::room(t.dims(), DType::F64)?;
    let work = dtype::convert(t, to)?;
    let sums = if to == DType::I64 {
        let (sums, dims) = walk::along::<i64, _>(&work, axis, |row| running(row, 0_i64, |sum, x| sum.checked_add(x)))?;
        match sums.into_iter().collect::<Option<Vec<_>>>() {
            Some(sums) => element::int_tensor(sums, &dims, t.device())?,
            None => bail!(Numeric, "a cumulative sum does not fit i64"),
        }
    } else {
        let (sums, dims) = dispatch!(to, T => walk::along::<T, _>(&work, axis, |row| {
            running(row, 0.0, |sum, x| Some(sum + x.float()))
        }))?;
        element::tensor(sums.into_iter().flatten().collect(), &dims, to, t.device())?
    };
    backward::with_gradient("cumsum", walk::back(&sums, axis)?, &[&work], move |_, gradient| {
        // Each element is in its own sum and in all that follow.
        let turned = shape::flip(gradient, Some(&[axis as i64]))?;
        Ok(vec![Some(shape::flip(&cumsum(&turned, axis as i64)?, Some(&[axis as i64]))?)])
    })
}

fn running<T: Element, S: Copy>(row: &[T], zero: S, add: impl Fn(S, T) -> Option<S>) -> Vec<Option<S>> {
    let mut sum = Some(zero);
    row.iter()
        .map(|x| {
            sum = sum.and_then(|sum| add(sum, *x));
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Direction::*;
    use super::*;
    use crate::tensor::fixture::{f64s, t};
    use proptest::prelude::*;

    #[test]
    fn over_every_dtype() {
        for dtype in dtype::ALL {
            let x = t(&[3.0, 1.0, 2.0, 1.0, 5.0, 4.0], &[2, 3], dtype);
            let (values, order) = sort(&x, -1, Descending).unwrap();
            assert_eq!((f64s(&values), values.dtype()), (vec![3.0, 2.0, 1.0, 5.0, 4.0, 1.0], dtype));
            assert_eq!(f64s(&order), [0.0, 2.0, 1.0, 1.0, 2.0, 0.0]);
            let (values, order) = sort(&x, 0, Ascending).unwrap();
            assert_eq!(f64s(&values), [1.0, 1.0, 2.0, 3.0, 5.0, 4.0]);
            assert_eq!(f64s(&order), [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
            assert_eq!(f64s(&topk(&x, 2, 1, Descending).unwrap().0), [3.0, 2.0, 5.0, 4.0]);
            assert_eq!(f64s(&arg_extreme(&x, Some(1), false, Descending).unwrap()), [0.0, 1.0]);
            assert_eq!(f64s(&arg_extreme(&x, None, false, Ascending).unwrap()), [1.0]);
            assert_eq!(f64s(&cumsum(&x, 1).unwrap()), [3.0, 4.0, 6.0, 1.0, 6.0, 10.0]);
            assert_eq!(f64s(&cumsum(&x, 0).unwrap()), [3.0, 1.0, 2.0, 4.0, 6.0, 6.0]);
        }
    }

    #[test]
    fn nan_is_last_and_never_among_the_top() {
        let x = t(&[f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY], &[4], DType::F32);
        assert_eq!(f64s(&argsort(&x, 0, Ascending).unwrap()), [3.0, 1.0, 2.0, 0.0]);
        assert_eq!(f64s(&argsort(&x, 0, Descending).unwrap()), [2.0, 1.0, 3.0, 0.0]);
        assert_eq!(f64s(&topk(&x, 3, 0, Descending).unwrap().1), [2.0, 1.0, 3.0]);
        assert_eq!(f64s(&arg_extreme(&x, Some(0), true, Descending).unwrap()), [0.0]);
    }

    #[test]
    fn empty_and_out_of_range() {
        let none = t(&[], &[0, 3], DType::F32);
        assert_eq!(sort(&none, 0, Ascending).unwrap().0.dims(), [0, 3]);
        assert_eq!(topk(&none, 2, 1, Descending).unwrap().0.dims(), [0, 2]);
        assert_eq!(topk(&t(&[1.0], &[1], DType::F32), 0, 0, Descending).unwrap().1.dims(), [0]);
        assert!(topk(&none, 4, 1, Descending).is_err());
        assert!(arg_extreme(&none, Some(0), false, Ascending).is_err());
        assert!(sort(&t(&[1.0], &[], DType::F32), 0, Ascending).is_err());
        assert_eq!(cumsum(&none, 0).unwrap().dims(), [0, 3]);
    }

    proptest! {
        #[test]
        fn sorting_is_a_permutation_in_order(values in prop::collection::vec(-5_i64..5, 1..40)) {
            let floats: Vec<f64> = values.iter().map(|v| *v as f64).collect();
            let x = t(&floats, &[floats.len()], DType::F32);
            let (sorted, order) = sort(&x, 0, Ascending).unwrap();
            let mut expected = floats.clone();
            expected.sort_by(f64::total_cmp);
            prop_assert_eq!(f64s(&sorted), expected);
            let order = element::ints(&order).unwrap();
            // Of equals the lower index comes first.
            prop_assert!(order.windows(2).all(|w| (values[w[0] as usize], w[0]) < (values[w[1] as usize], w[1])));
            let k = values.len() / 2;
            let (_, top) = topk(&x, k, 0, Ascending).unwrap();
            prop_assert_eq!(element::ints(&top).unwrap(), order[..k].to_vec());
        }
    }
}
