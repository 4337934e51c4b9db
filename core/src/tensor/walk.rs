//! Functions of the rows of a tensor, where a row is what lies along the axes to be reduced.

use candle_core::Tensor;

use super::element::{self, Element};
use crate::base::{Result, parallel};

/// Rows that are copied together if they are not contiguous: enough to use whole cache lines.
const TILE: usize = 32;

/// Returns `f` of every row along `axes` (sorted), in the order of the other axes.
pub fn each<T: Element, U: Send>(t: &Tensor, axes: &[usize], f: impl Fn(&[T]) -> U + Sync) -> Result<Vec<U>> {
    let (t, [outer, row, inner]) = in_rows(t, axes, size_of::<U>())?;
    element::with_slice(&t, |data| Ok(walk(data, outer, row, inner, &f)))
}

/// Returns the tensor as [outer, row, inner], where a row is what lies along `axes`, and these extents.
fn in_rows(t: &Tensor, axes: &[usize], bytes_of_result: usize) -> Result<(Tensor, [usize; 3])> {
    let dims = t.dims();
    element::room(dims, t.dtype())?;
    let adjacent = axes.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let first = axes.first().copied().unwrap_or(dims.len());
    let last = axes.last().map_or(dims.len(), |a| a + 1);
    let (t, extents): (Tensor, [usize; 3]) = if adjacent {
        let extents = [&dims[..first], &dims[first..last], &dims[last..]];
        (t.clone(), extents.map(|dims| dims.iter().product()))
    } else {
        let kept: Vec<usize> = (0..dims.len()).filter(|a| !axes.contains(a)).collect();
        let of = |axes: &[usize]| axes.iter().map(|a| dims[*a]).product();
        let extents = [of(&kept), of(axes), 1];
        (t.permute([kept, axes.to_vec()].concat())?, extents)
    };
    element::room_for_rows(extents[0] * extents[2], bytes_of_result)?;
    Ok((t, extents))
}

/// Returns `f` of every row of data laid out as [outer, row, inner].
fn walk<T: Element, U: Send>(
    data: &[T],
    outer: usize,
    row: usize,
    inner: usize,
    f: &(impl Fn(&[T]) -> U + Sync),
) -> Vec<U> {
    if row == 0 {
        return (0..outer * inner).map(|_| f(&[])).collect();
    }
    let few = 1 + 4096 / row;
    if inner == 1 {
        let rows = data.len().div_ceil(row);
        let part = |number: usize| data.chunks(row).skip(number * few).take(few).map(f).collect::<Vec<U>>();
        return joined(rows, parallel::map(rows.div_ceil(few), &part));
    }
    let tiles = inner.div_ceil(TILE);
    let tile = |index: usize| {
        let block = index / tiles;
        let start = index % tiles * TILE;
        let end = inner.min(start + TILE);
        let block = &data[block * row * inner..][..row * inner];
        let mut copied = vec![T::zero(); row * (end - start)];
        // Transposed in squares, so that what is read and what is written both stay in the L1 cache.
        for (square, lines) in block.chunks(TILE * inner).enumerate() {
            for j in 0..end - start {
                let place = &mut copied[j * row + square * TILE..];
                for (value, line) in place.iter_mut().zip(lines.chunks(inner)) {
                    *value = line[start + j];
                }
            }
        }
        copied.chunks(row).map(f).collect::<Vec<U>>()
    };
    joined(outer * inner, parallel::map(outer * tiles, &tile))
}

fn joined<U>(count: usize, parts: Vec<Vec<U>>) -> Vec<U> {
    let mut all = Vec::with_capacity(count);
    for mut part in parts {
        all.append(&mut part);
    }
    all
}

/// Returns the values of `f` for every row along one axis, equally many for each, which replace the row; and the shape.
pub fn along<T: Element, U: Send>(
    t: &Tensor,
    axis: usize,
    f: impl Fn(&[T]) -> Vec<U> + Sync,
) -> Result<(Vec<U>, Vec<usize>)> {
    element::room(t.dims(), t.dtype())?;
    let len = t.dims()[axis].max(1);
    element::room_for_rows(element::steps(t) / len, 2 * size_of::<Vec<U>>() + len * size_of::<U>())?;
    let values = each(t, &[axis], f)?;
    // The axis is removed, and the values of a row are the last axis.
    let mut dims: Vec<usize> = t.dims().to_vec();
    dims.remove(axis);
    dims.push(values.first().map_or(0, Vec::len));
    Ok((values.into_iter().flatten().collect(), dims))
}

/// Moves the last axis back to the place that `along` took it from.
pub fn back(t: &Tensor, axis: usize) -> Result<Tensor> {
    let mut order: Vec<usize> = (0..t.rank() - 1).collect();
    order.insert(axis, t.rank() - 1);
    Ok(t.permute(order)?.contiguous()?)
}
