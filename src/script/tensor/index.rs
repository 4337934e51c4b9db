//! Indexing and assignment, and the properties of tensors.

use std::ops::RangeInclusive;

use super::{arrays, card, growing, on, operand, value_of};
use crate::script::prelude::*;
use crate::tensor::axes::from_end;
use crate::tensor::index::{AxisIndex, get, nonzero as nonzero_of, set};
use crate::tensor::{Operand, dtype, gather as core, steps};

/// Reads the index in `t[..]`: one index, or an array. An array of integers lists entries of the first axis; one with
/// anything else in it has an index for each axis.
fn indices(value: &Dynamic) -> Result<Vec<AxisIndex>> {
    match value.read_lock::<Array>() {
        Some(array) if array.iter().any(|entry| given("index", entry).integer().is_err()) => {
            array.iter().map(one).collect()
        }
        _ => Ok(vec![one(value)?]),
    }
}

/// Estimates how many elements lists of entries select.
fn listed(t: &Tensor, indices: &[AxisIndex]) -> usize {
    let times = indices.iter().zip(t.dims()).filter_map(|(index, size)| match index {
        AxisIndex::List(entries) => Some(entries.len().div_ceil((*size).max(1))),
        _ => None,
    });
    times.fold(steps(t), usize::saturating_mul)
}

/// Reads one index for each axis, also where all are integers.
fn per_axis(value: &Dynamic) -> Result<Vec<AxisIndex>> {
    given("index", value).list()?.iter().map(one).collect()
}

/// Returns a hint for a list of entries that fails: as many integers as there are axes, each within its axis, were
/// probably meant as one element.
fn hint_of_one(index: &Dynamic, t: &Tensor) -> Option<String> {
    let at = given("index", index).integers().ok().filter(|at| at.len() > 1 && at.len() == t.rank())?;
    at.iter().zip(t.dims()).all(|(at, size)| from_end(*at, *size).is_some()).then_some(())?;
    Some(format!("this lists entries of the first axis; one element is `t.at({at:?})`"))
}

fn one(value: &Dynamic) -> Result<AxisIndex> {
    if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
        // Up to and with the last entry, as in `2..=-1`.
        let end = (*range.end() != -1).then(|| range.end().saturating_add(1));
        return Ok(AxisIndex::Range { start: *range.start(), end });
    }
    if let Some((start, end)) = arrays::range(value) {
        return Ok(AxisIndex::Range { start, end: Some(end) });
    }
    if let Some(t) = value.read_lock::<Tensor>() {
        return by_tensor(&t);
    }
    if value.read_lock::<Array>().is_some() {
        return Ok(AxisIndex::List(given("index", value).integers()?));
    }
    match value.read_lock::<ImmutableString>().as_deref().map(|text| text.as_str()) {
        Some(":") => Ok(AxisIndex::All),
        Some(other) => {
            Err(err!(Argument, "expected an index, found the string {other:?}").hint("\":\" is a whole axis"))
        }
        None => match given("index", value).integer() {
            Ok(at) => Ok(AxisIndex::At(at)),
            Err(_) => Err(given("index", value).refuse("an integer, a range, an array, a mask or \":\"")),
        },
    }
}

/// Refuses a string as an unknown property: since there is an indexer, `t.shpae` is `t["shpae"]` to the engine.
fn refuse_properties(index: &Dynamic) -> Fallible<()> {
    match index.read_lock::<ImmutableString>() {
        Some(name) if name.as_str() != ":" => {
            let text = format!("Unknown property '{}' - a getter is not registered for type 'Tensor'", name.as_str());
            Err(Box::new(EvalAltResult::ErrorDotExpr(text, Position::NONE)))
        }
        _ => Ok(()),
    }
}

/// Refuses a property that was changed in place. After a method of the language the engine assigns a property its own
/// value, `t.shape.contains(2)`, which is no change.
fn kept(is_kept: bool, property: &str, instead: &str) -> Fallible<()> {
    if is_kept {
        return Ok(());
    }
    Err(err!(Argument, "the {property} of a tensor cannot be changed in place").hint(instead).into())
}

/// Returns the index that a tensor stands for: a mask if it is u8, else a list of entries.
fn by_tensor(t: &Tensor) -> Result<AxisIndex> {
    match t.dtype() {
        crate::tensor::DType::U8 => Ok(AxisIndex::Mask(t.clone())),
        other if dtype::is_float(other) => {
            bail!(Argument, "expected a mask or integers as index, found {}", other.as_str())
        }
        _ => Ok(AxisIndex::List(dtype::cast(t, crate::tensor::DType::I64)?.flatten_all()?.to_vec1()?)),
    }
}

/// Reads the value of an assignment: a number, a tensor, or an array of numbers.
fn written(value: &Dynamic, into: &Tensor) -> Result<Operand> {
    match value.read_lock::<Array>() {
        Some(_) => Ok(Operand::Tensor(arrays::tensor(value, Some(into.dtype()))?)),
        None => operand("value", value),
    }
}

/// Returns a copy of a tensor with a source at the places of an index, which may have more elements than the tensor.
fn scattered(
    ctx: &NativeCallContext,
    t: &Tensor,
    axis: &Dynamic,
    index: Tensor,
    source: Tensor,
    scatter: fn(&Tensor, i64, &Tensor, &Tensor) -> Result<Tensor>,
) -> Fallible<Tensor> {
    let axis = given("axis", axis).integer()?;
    growing(ctx, t, steps(&index), move |t| scatter(t, axis, &index, &source))
}

methods! { positions by on:
    /// Returns the indices of the elements that are not 0: `[n]` for a tensor with one axis, `[n, axes]` for one with
    /// several. NaN is not 0.
    ///
    /// # Example
    /// ```
    /// let t = tensor([3, 1, 2]);
    /// (t > 1).nonzero()  //=> tensor([0, 2], i64)
    /// t[(t > 1).nonzero()]  //=> tensor([3.0, 2.0])
    /// tensor([[0, 1], [2, 0]]).nonzero()  //=> tensor([[0, 1], [1, 0]], i64)
    /// ```
    nonzero() => nonzero_of;
}

#[export_module(manifest)]
pub mod methods {
    /// Gathers elements along an axis by a tensor of indices: `result[i][j] = t[i][index[i][j]]` for axis 1.
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2, 3], [4, 5, 6]]);
    /// t.gather(1, tensor([[2], [0]], #{ dtype: "i64" }))  //=> tensor([[3.0], [4.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn gather(ctx: NativeCallContext, t: &mut Tensor, axis: Int, index: Tensor) -> Fallible<Tensor> {
        let axis = given("axis", &axis).integer()?;
        growing(&ctx, t, steps(&index), move |t| core::gather(t, axis, &index))
    }

    /// Returns a copy in which the elements at the given indices are replaced: `result[i][index[i][j]] = source[i][j]`
    /// for axis 1.
    ///
    /// # Example
    /// ```
    /// let index = tensor([1], #{ dtype: "i64" });
    /// tensor([1, 2, 3]).scatter(0, index, tensor([9]))  //=> tensor([1.0, 9.0, 3.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn scatter(
        ctx: NativeCallContext,
        t: &mut Tensor,
        axis: Int,
        index: Tensor,
        source: Tensor,
    ) -> Fallible<Tensor> {
        super::scattered(&ctx, t, &axis, index, source, core::scatter)
    }

    /// Returns a copy to which the source is added at the given indices, repeated ones included.
    ///
    /// # Example
    /// ```
    /// let index = tensor([1, 1], #{ dtype: "i64" });
    /// tensor([1, 2, 3]).scatter_add(0, index, tensor([9, 1]))  //=> tensor([1.0, 12.0, 3.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn scatter_add(
        ctx: NativeCallContext,
        t: &mut Tensor,
        axis: Int,
        index: Tensor,
        source: Tensor,
    ) -> Fallible<Tensor> {
        super::scattered(&ctx, t, &axis, index, source, core::scatter_add)
    }

    /// Returns a part of a tensor: an entry, a range, a list of entries, or those where a mask is 1.
    ///
    /// `t[3]`, `t[-1]` and `t[1..4]` index the first axis, `t[[0, 2]]` selects entries of it, and `t[mask]` selects the
    /// elements where a mask, such as `t > 0`, is 1. An array that does not consist of integers alone has an index for
    /// each axis: `t[[":", 0..2]]`, where ":" is a whole axis; for integers alone there is `t.at([0, 2])`. Negative
    /// indices count from the end, and `2..=-1` runs to the end. One element is returned as a plain number.
    ///
    /// `for row in t` iterates over the first axis.
    ///
    /// Parts can be assigned: `t[0] = 5`, `t[t < 0] = 0`, `t[[":", 1]] = [1, 2]`. An assignment copies the
    /// tensor, so other variables with the same tensor do not change.
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2, 3], [4, 5, 6]]);
    /// t[1]  //=> tensor([4.0, 5.0, 6.0])
    /// t[-1][0]  //=> 4.0
    /// t[[":", 0..2]]  //=> tensor([[1.0, 2.0], [4.0, 5.0]])
    /// t[t > 4]  //=> tensor([5.0, 6.0])
    /// t[0][2] = 9;
    /// t[0]  //=> tensor([1.0, 2.0, 9.0])
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn read(ctx: NativeCallContext, t: &mut Tensor, index: Any) -> Fallible<Dynamic> {
        super::refuse_properties(&index)?;
        let indices = super::indices(&index)?;
        let hint = super::hint_of_one(&index, t);
        let cost = super::listed(t, &indices);
        Ok(value_of(growing(&ctx, t, cost, move |t| get(t, &indices).map_err(|e| e.maybe_hint(hint)))?)?)
    }

    #[rhai_fn(global, index_set, return_raw)]
    pub fn write(ctx: NativeCallContext, t: &mut Tensor, index: Any, value: Any) -> Fallible<()> {
        if let Some(name @ ("rank" | "len" | "count")) =
            index.read_lock::<ImmutableString>().as_deref().map(|n| n.as_str())
        {
            return super::kept(false, name, "`t.reshape([..])` is a tensor of another shape");
        }
        super::refuse_properties(&index)?;
        let indices = super::indices(&index)?;
        let value = super::written(&value, t)?;
        *t = growing(&ctx, t, super::listed(t, &indices), move |t| super::set(t, &indices, &value))?;
        Ok(())
    }

    /// Returns the part with an index for each axis: `t.at([0, 2])` is row 0, column 2.
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2], [3, 4]]);
    /// t.at([1, 0])  //=> 3.0
    /// t.at([0..2, 1])  //=> tensor([2.0, 4.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn at(ctx: NativeCallContext, t: &mut Tensor, indices: Array) -> Fallible<Dynamic> {
        let indices = super::per_axis(&indices.into())?;
        Ok(value_of(growing(&ctx, t, super::listed(t, &indices), move |t| get(t, &indices))?)?)
    }

    /// Replaces the part with an index for each axis.
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2], [3, 4]]);
    /// t.set([1, 0], 7);
    /// t  //=> tensor([[1.0, 2.0], [7.0, 4.0]])
    /// ```
    #[rhai_fn(global, return_raw)]
    pub fn set(ctx: NativeCallContext, t: &mut Tensor, indices: Array, value: Any) -> Fallible<()> {
        let indices = super::per_axis(&indices.into())?;
        let value = super::written(&value, t)?;
        *t = growing(&ctx, t, super::listed(t, &indices), move |t| super::set(t, &indices, &value))?;
        Ok(())
    }

    /// Returns the shape: the sizes of all axes.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3]).shape  //=> [2, 3]
    /// ```
    #[rhai_fn(global, get = "shape", pure)]
    pub fn shape(t: &mut Tensor) -> Array {
        t.dims().iter().map(|size| Dynamic::from(*size as i64)).collect()
    }

    #[rhai_fn(global, set = "shape", pure, return_raw)]
    pub fn keep_shape(t: &mut Tensor, shape: Array) -> Fallible<()> {
        let is_kept = given("shape", &shape.into()).sizes()?.as_slice() == t.dims();
        super::kept(is_kept, "shape", "`t.reshape([..])` is a tensor of another shape")
    }

    /// Returns the name of the dtype.
    ///
    /// # Example
    /// ```
    /// tensor([1]).dtype  //=> "f32"
    /// ```
    #[rhai_fn(global, get = "dtype", pure)]
    pub fn dtype(t: &mut Tensor) -> String {
        t.dtype().as_str().into()
    }

    #[rhai_fn(global, set = "dtype", pure, return_raw)]
    pub fn keep_dtype(t: &mut Tensor, dtype: &str) -> Fallible<()> {
        super::kept(dtype == t.dtype().as_str(), "dtype", "`t.to(\"f64\")` is a tensor of another dtype")
    }

    /// Returns the number of axes.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3]).rank  //=> 2
    /// ```
    #[rhai_fn(global, get = "rank", pure)]
    pub fn rank(t: &mut Tensor) -> i64 {
        t.rank() as i64
    }

    /// Returns the size of the first axis, as of an array; 1 for a tensor without axes.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3]).len  //=> 2
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(t: &mut Tensor) -> i64 {
        t.dims().first().map_or(1, |size| *size as i64)
    }

    /// Returns the number of elements.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3]).count  //=> 6
    /// ```
    #[rhai_fn(global, get = "count", pure)]
    pub fn count(t: &mut Tensor) -> i64 {
        t.elem_count() as i64
    }

    /// Returns the device of the tensor: "cpu", "cuda" or "metal".
    ///
    /// # Example
    /// ```
    /// tensor([1]).device  //=> "cpu"
    /// ```
    #[rhai_fn(global, get = "device", pure)]
    pub fn device(t: &mut Tensor) -> String {
        card::device(t.device()).into()
    }

    #[rhai_fn(global, set = "device", pure, return_raw)]
    pub fn keep_device(t: &mut Tensor, device: &str) -> Fallible<()> {
        super::kept(device == card::device(t.device()), "device", "the option `--device` chooses it for a run")
    }

    /// Returns the elements as nested arrays of numbers.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).to_array()  //=> [[1.0, 2.0], [3.0, 4.0]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_array(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Dynamic> {
        Ok(arrays::nested(t, &env(&ctx)?.task)?)
    }

    /// Returns the tensor in one line, as in a string or a list.
    ///
    /// # Example
    /// ```
    /// "t = " + tensor([1, 2])  //=> "t = tensor([1.0, 2.0])"
    /// ```
    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn to_string(t: &mut Tensor) -> String {
        t.short()
    }

    /// Returns the only element of a tensor, as a plain number.
    ///
    /// # Example
    /// ```
    /// tensor([[7]]).item()  //=> 7.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn item(t: &mut Tensor) -> Fallible<Num> {
        Ok(super::super::plain(crate::tensor::Number::of(t)?))
    }
}
