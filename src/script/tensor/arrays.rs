//! Conversion between script arrays and tensors, and functions of several tensors.

use std::ops::RangeInclusive;

use super::{heavy, number_arg, operand, tensor_arg};
use crate::script::engine::room::check_room;
use crate::script::engine::value::{TensorNumbers, tensor_numbers};
use crate::script::prelude::*;
use crate::script::tensor::values;
use crate::tensor::{DType, Number, compare, create, dtype, einsum, fourier, index, matmul, normalise, shape, steps};

/// The deepest nesting of arrays that becomes a tensor.
const DEEPEST: usize = 64;

/// Converts a value of a script to a tensor: f32 unless a dtype is given, but a tensor keeps its own.
pub(super) fn tensor(value: &Dynamic, to: Option<DType>) -> Result<Tensor> {
    if let Some(t) = value.read_lock::<Tensor>() {
        return dtype::cast(&t, to.unwrap_or(t.dtype()));
    }
    let to = to.unwrap_or(DType::F32);
    if let Some(range) = range(value) {
        return create::arange(range.0.into(), range.1.into(), 1.into(), Some(to));
    }
    let mut numbers = Vec::new();
    let mut dims = Vec::new();
    collect(value, 0, &mut dims, &mut numbers)?;
    let plain = create::from_numbers(&numbers, &dims, to)?;
    let mut tracked = Vec::new();
    collect_tracked(value, &mut 0, &mut tracked);
    if tracked.is_empty() {
        return Ok(plain);
    }
    // Those that track gradients are put in again, as themselves.
    let (places, parts): (Vec<i64>, Vec<Tensor>) = tracked.into_iter().unzip();
    let parts = dtype::cast(&shape::stack(&parts, 0)?, to)?;
    let changed = index::set(&plain.flatten_all()?, &[index::AxisIndex::List(places)], &parts.into())?;
    Ok(changed.reshape(dims)?)
}

/// Collects the numbers among the elements that track gradients, with their places.
fn collect_tracked(value: &Dynamic, place: &mut i64, found: &mut Vec<(i64, Tensor)>) {
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().for_each(|element| collect_tracked(element, place, found));
    }
    if let Some(t) = value.read_lock::<Tensor>().filter(|t| t.track_op()) {
        found.push((*place, t.clone()));
    }
    *place += 1;
}

/// The bounds of a range, the upper one excluded.
pub(in crate::script) fn range(value: &Dynamic) -> Option<(i64, i64)> {
    if let Some(range) = value.read_lock::<Range<i64>>() {
        return Some((range.start, range.end));
    }
    value.read_lock::<RangeInclusive<i64>>().map(|range| (*range.start(), range.end().saturating_add(1)))
}

/// Collects the numbers of nested arrays; all arrays of one depth must have the same length.
fn collect(value: &Dynamic, depth: usize, dims: &mut Vec<usize>, numbers: &mut Vec<Number>) -> Result<()> {
    let Some(array) = value.read_lock::<Array>() else {
        if depth != dims.len() {
            bail!(Shape, "expected numbers {} arrays deep everywhere, found one {depth} deep", dims.len());
        }
        let single = value.read_lock::<Tensor>().filter(|t| t.rank() == 0);
        numbers.push(match (value.as_bool(), single) {
            (Ok(truth), _) => Number::Int(truth.into()),
            (_, Some(t)) => Number::of(&t)?,
            _ => number_arg("values", value)?,
        });
        return Ok(());
    };
    let known = dims.get(depth).copied();
    match known {
        // Numbers were found at this depth before.
        None if !numbers.is_empty() || depth >= DEEPEST => {
            bail!(Shape, "expected numbers {} arrays deep everywhere, found an array there", dims.len())
        }
        None => dims.push(array.len()),
        Some(len) if len != array.len() => {
            bail!(Shape, "expected arrays of equal length, found {len} and {} elements", array.len())
        }
        Some(_) => {}
    }
    array.iter().try_for_each(|element| collect(element, depth + 1, dims, numbers))
}

/// Bytes of a script's array beside its elements.
const LIST: usize = 64;

/// Number of elements that are converted between two checks for an interruption.
const PIECE: usize = 1 << 14;

/// The tensor as nested arrays of numbers.
pub(in crate::script) fn nested(t: &Tensor, task: &Task) -> Result<Dynamic> {
    // One list for each row, and for each row of rows.
    let lists: u128 = (0..t.rank()).map(|axis| t.dims()[..axis].iter().map(|d| *d as u128).product::<u128>()).sum();
    // Each element exists as a number and as a value.
    let bytes = t.elem_count() as u128 * (size_of::<Dynamic>() + size_of::<f64>()) as u128 + lists * LIST as u128;
    check_room(bytes, || "an array of all elements".into())?;
    match tensor_numbers(t, task)? {
        TensorNumbers::Floats(all) => fold(&mut all.into_iter(), t.dims(), task),
        TensorNumbers::Ints(all) => fold(&mut all.into_iter(), t.dims(), task),
    }
}

fn fold<T: Into<Dynamic>>(numbers: &mut impl Iterator<Item = T>, dims: &[usize], task: &Task) -> Result<Dynamic> {
    let Some((len, rest)) = dims.split_first() else {
        return Ok(numbers.next().map(Into::into).unwrap_or_default());
    };
    heard((0..*len).map(|_| fold(numbers, rest, task)), task).map(Dynamic::from_array)
}

/// Collects values, of which there may be many, in an array.
pub(super) fn heard(values: impl ExactSizeIterator<Item = Result<Dynamic>>, task: &Task) -> Result<Array> {
    let mut list = Array::with_capacity(values.len());
    for (i, value) in values.enumerate() {
        if i % PIECE == 0 {
            task.check()?;
        }
        list.push(value?);
    }
    Ok(list)
}

/// Reads an array of tensors.
fn tensors(value: &Dynamic) -> Result<Vec<Tensor>> {
    given("tensors", value).list()?.iter().map(|t| tensor_arg("tensors", t)).collect()
}

fn places(tensors: &[Tensor]) -> usize {
    tensors.iter().map(steps).fold(0, usize::saturating_add)
}

#[export_module(manifest)]
pub mod functions {
    /// Concatenates tensors along an axis, by default 0. All other sizes must be equal; the result has the widest dtype.
    ///
    /// # Example
    /// ```
    /// tensor::cat([tensor([1, 2]), tensor([3])])  //=> tensor([1.0, 2.0, 3.0])
    /// tensor::cat([tensor([[1], [2]]), tensor([[3], [4]])], 1)  //=> tensor([[1.0, 3.0], [2.0, 4.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn cat(ctx: NativeCallContext, tensors: Array) -> Fallible<Tensor> {
        cat_along(ctx, tensors, 0_i64.into())
    }

    #[rhai_fn(name = "cat", return_raw)]
    pub fn cat_along(ctx: NativeCallContext, tensors: Array, axis: Int) -> Fallible<Tensor> {
        let parts = super::tensors(&tensors.into())?;
        let axis = given("axis", &axis).integer()?;
        heavy(&ctx, super::places(&parts), move || shape::cat(&parts, axis))
    }

    /// Stacks tensors of one shape along a new axis, by default the first; the rows of a tensor are stacked already.
    ///
    /// # Example
    /// ```
    /// tensor::stack([tensor([1, 2]), tensor([3, 4])])  //=> tensor([[1.0, 2.0], [3.0, 4.0]])
    /// tensor::stack([tensor([1, 2]), tensor([3, 4])], 1)  //=> tensor([[1.0, 3.0], [2.0, 4.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stack(ctx: NativeCallContext, tensors: Array) -> Fallible<Tensor> {
        stack_along(ctx, tensors, 0_i64.into())
    }

    #[rhai_fn(name = "stack")]
    pub fn stack_rows(tensors: Tensor) -> Tensor {
        tensors
    }

    #[rhai_fn(name = "stack", return_raw)]
    pub fn stack_along(ctx: NativeCallContext, tensors: Array, axis: Int) -> Fallible<Tensor> {
        let parts = super::tensors(&tensors.into())?;
        let axis = given("axis", &axis).integer()?;
        heavy(&ctx, super::places(&parts), move || shape::stack(&parts, axis))
    }

    /// Computes an Einstein summation over any number of tensors: letters name axes, and those that the result lacks
    /// are summed over.
    ///
    /// A letter that occurs twice in one tensor takes its diagonal. Without `->` the result has the letters that occur
    /// once, in alphabetical order. `...` stands for any axes without letters, which broadcast; without `->` they are the
    /// first of the result.
    ///
    /// # Example
    /// ```
    /// let a = tensor([[1, 2], [3, 4]]);
    /// tensor::einsum("ij,jk->ik", [a, a])  //=> tensor([[7.0, 10.0], [15.0, 22.0]])
    /// tensor::einsum("ii->i", [a])  //=> tensor([1.0, 4.0])
    /// tensor::einsum("ij->", [a])  //=> 10.0
    /// tensor::einsum("...i,ij->...j", [tensor::ones([5, 3, 2]), a]).shape  //=> [5, 3, 2]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn einsum(ctx: NativeCallContext, letters: &str, tensors: Array) -> Fallible<Dynamic> {
        let letters = letters.to_string();
        let parts = super::tensors(&tensors.into())?;
        let cost = parts.iter().map(steps).fold(64, usize::saturating_mul);
        Ok(super::super::value_of(heavy(&ctx, cost, move || einsum::einsum(&letters, &parts))?)?)
    }

    /// Selects elements of `a` where the mask is not 0, elsewhere of `b`; all three broadcast, and `a` and `b` may be
    /// numbers.
    ///
    /// # Example
    /// ```
    /// let t = tensor([-1, 2, -3]);
    /// tensor::where(t > 0, t, 0)  //=> tensor([0.0, 2.0, 0.0])
    /// ```
    #[rhai_fn(name = "where", return_raw)]
    pub fn choose(ctx: NativeCallContext, mask: Tensor, a: Any, b: Any) -> Fallible<Tensor> {
        let a = operand("a", &a)?;
        let b = operand("b", &b)?;
        let cost = super::super::together(&[mask.dims(), a.dims(), b.dims()]);
        heavy(&ctx, cost, move || compare::select(&mask, &a, &b))
    }

    /// Computes the discrete Fourier transform of real numbers along an axis, by default the last: n numbers give n / 2
    /// + 1 frequencies.
    ///
    /// Returns a map of tensors: `real` and `imag`, the parts of `X[k] = sum_j x[j] exp(-2 pi i j k / n)` as in numpy's
    /// `rfft`, and `power`, the sum of their squares. It is fast for every n, not only for powers of two.
    ///
    /// # Example
    /// ```
    /// let found = tensor::rfft([1, 0, -1, 0]);
    /// found.real  //=> tensor([0.0, 2.0, 0.0])
    /// found.power.argmax()  //=> 1
    /// tensor::rfft([[1, 2], [1, 4]], 0).real  //=> tensor([[2.0, 6.0], [0.0, -2.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn rfft(ctx: NativeCallContext, x: Any) -> Fallible<Map> {
        rfft_along(ctx, x, (-1_i64).into())
    }

    #[rhai_fn(name = "rfft", return_raw)]
    pub fn rfft_along(ctx: NativeCallContext, x: Any, axis: Int) -> Fallible<Map> {
        let x = values("x", &x)?;
        let axis = given("axis", &axis).integer()?;
        // Each element takes part in log2(n) steps.
        let cost = steps(&x).saturating_mul(64);
        let found = heavy(&ctx, cost, move || fourier::rfft(&x, axis))?;
        let parts = [("real", found.real), ("imag", found.imag), ("power", found.power)];
        Ok(parts.into_iter().map(|(name, part)| (name.into(), Dynamic::from(part))).collect())
    }

    /// Computes the outer product of two vectors.
    ///
    /// # Example
    /// ```
    /// tensor::outer(tensor([1, 2]), tensor([3, 4]))  //=> tensor([[3.0, 4.0], [6.0, 8.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn outer(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        heavy(&ctx, steps(&a).saturating_mul(steps(&b)), move || matmul::outer(&a, &b))
    }

    /// Computes the cosine similarity of vectors along an axis, by default the last; 0 where one of them is 0.
    ///
    /// Two matrices `[n, d]` give `[n]`: each row of the first with the row of the second at the same place. The cosines of
    /// all rows with all rows are a product of matrices whose rows have length 1.
    ///
    /// # Example
    /// ```
    /// tensor::cosine(tensor([1, 0]), tensor([-3, 0]))  //=> -1.0
    /// tensor::cosine(tensor([[1, 0], [0, 2]]), tensor([[2, 0], [3, 0]]))  //=> tensor([1.0, 0.0])
    /// tensor::cosine(tensor([[1, 0], [0, 2]]), tensor([0, 1]), 1)  //=> tensor([0.0, 1.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn cosine(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Dynamic> {
        cosine_along(ctx, a, b, (-1_i64).into())
    }

    #[rhai_fn(name = "cosine", return_raw)]
    pub fn cosine_along(ctx: NativeCallContext, a: Tensor, b: Tensor, axis: Int) -> Fallible<Dynamic> {
        let axis = given("axis", &axis).integer()?;
        let cost = super::super::together(&[a.dims(), b.dims()]);
        Ok(super::super::value_of(heavy(&ctx, cost, move || normalise::cosine(&a, &b, axis))?)?)
    }
}
