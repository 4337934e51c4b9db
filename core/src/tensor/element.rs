//! Reading the elements of tensors and making tensors of them, for every dtype, layout and device.

use candle_core::{DType, Device, Layout, Storage, Tensor, WithDType};
use half::{bf16, f16};

use crate::base::{Result, memory, parallel};
use crate::{bail, err};

/// A number type that kernels work on.
pub trait Element: WithDType {
    fn float(self) -> f64;
    /// Returns the value as an integer; only for integers.
    fn int(self) -> i64;
}

macro_rules! elements {
    ($($type:ty),*) => { $(impl Element for $type {
        fn float(self) -> f64 { f64::from(self) }
        fn int(self) -> i64 { f64::from(self) as i64 }
    })* };
}
elements!(f32, f16, bf16);

impl Element for f64 {
    fn float(self) -> f64 {
        self
    }
    fn int(self) -> i64 {
        self as i64
    }
}

macro_rules! integers {
    ($($type:ty),*) => { $(impl Element for $type {
        fn float(self) -> f64 { self as f64 }
        fn int(self) -> i64 { self as i64 }
    })* };
}
integers!(u8, u32, i16, i32, i64);

/// Runs `body` with `$T` bound to the Rust type of a dtype; f8 has no arithmetic and must be converted before.
macro_rules! dispatch {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::U8 => {
                type $T = u8;
                $body
            }
            candle_core::DType::U32 => {
                type $T = u32;
                $body
            }
            candle_core::DType::I16 => {
                type $T = i16;
                $body
            }
            candle_core::DType::I32 => {
                type $T = i32;
                $body
            }
            candle_core::DType::I64 => {
                type $T = i64;
                $body
            }
            candle_core::DType::F16 => {
                type $T = half::f16;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => return Err($crate::err!(Argument, "expected a dtype with arithmetic, found {}", other.as_str())),
        }
    };
}
pub(super) use dispatch;

/// Returns the tensor in a dtype that kernels work on: f8 as f32, everything else as it is.
pub fn workable(t: &Tensor) -> Result<Tensor> {
    match t.dtype() {
        DType::F8E4M3 => Ok(t.to_dtype(DType::F32)?),
        _ => Ok(t.clone()),
    }
}

/// Refuses a tensor that tracks gradients, by the name of the function where they would end.
pub fn detached(name: &str, t: &Tensor) -> Result<()> {
    if !t.track_op() {
        return Ok(());
    }
    Err(err!(Argument, "expected a constant for `{name}`, which passes no gradient, found a tensor that needs one")
        .hint("`.detach()` makes a constant of it, if that is meant"))
}

/// Calls `read` with the elements in row order, without a copy if the tensor is contiguous.
pub fn with_slice<T: Element, R>(t: &Tensor, read: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    if t.elem_count() == 0 {
        return read(&[]);
    }
    let t = laid_out(t)?;
    let (storage, layout) = t.storage_and_layout();
    read(elements(&storage, layout)?)
}

/// Returns the tensor on the CPU and contiguous. Code that is not generic is apart, since three hundred closures read
/// elements.
fn laid_out(t: &Tensor) -> Result<Tensor> {
    Ok(t.to_device(&Device::Cpu)?.contiguous()?)
}

fn elements<'a, T: Element>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    let Storage::Cpu(storage) = storage else { bail!(Bug, "a tensor copied to the CPU is not there") };
    let elements = storage.as_slice::<T>()?;
    match layout.contiguous_offsets().and_then(|(from, to)| elements.get(from..to)) {
        Some(elements) => Ok(elements),
        None => bail!(Bug, "a tensor made contiguous is not so"),
    }
}

/// Returns all elements as f64, in row order.
pub fn floats(t: &Tensor) -> Result<Vec<f64>> {
    let t = workable(t)?;
    room(t.dims(), DType::F64)?;
    dispatch!(t.dtype(), T => with_slice::<T, _>(&t, |x| Ok(x.iter().map(|x| x.float()).collect())))
}

/// Returns all elements of an integer tensor as i64, in row order.
pub fn ints(t: &Tensor) -> Result<Vec<i64>> {
    if t.dtype().is_float() {
        bail!(Argument, "expected a tensor of integers, found {}", t.dtype().as_str());
    }
    room(t.dims(), DType::I64)?;
    dispatch!(t.dtype(), T => with_slice::<T, _>(t, |x| Ok(x.iter().map(|x| x.int()).collect())))
}

/// Builds a tensor of `dtype` from f64 values that are known to fit it.
pub fn tensor(values: Vec<f64>, dims: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    let t = match dtype {
        DType::F64 => Tensor::from_vec(values, dims, device)?,
        DType::F8E4M3 => {
            let wide: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
            Tensor::from_vec(wide, dims, device)?.to_dtype(dtype)?
        }
        _ => dispatch!(dtype, T => {
            let narrow: Vec<T> = values.into_iter().map(<T as WithDType>::from_f64).collect();
            Tensor::from_vec(narrow, dims, device)?
        }),
    };
    Ok(t)
}

/// Builds a tensor of i64 values.
pub fn int_tensor(values: Vec<i64>, dims: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, dims, device)?)
}

/// Refuses a tensor for which there is not enough memory, before it is made; returns its element count.
pub fn room(dims: &[usize], dtype: DType) -> Result<usize> {
    room_beside(dims, dtype, &[])
}

/// Refuses a tensor for which there is not enough memory beside working copies of its elements in other dtypes; returns
/// its element count.
pub fn room_beside(dims: &[usize], dtype: DType, copies: &[DType]) -> Result<usize> {
    // Sizes of 0 count as 1 here: candle multiplies sizes and strides in any order, and none may overflow.
    let places = dims.iter().try_fold(1_u128, |product, dim| product.checked_mul((*dim).max(1) as u128));
    let Some(places) = places.filter(|places| *places <= isize::MAX as u128) else {
        bail!(Memory, "a tensor of shape {dims:?} has more elements than can be counted");
    };
    let is_empty = dims.contains(&0);
    let each = width(dtype) + copies.iter().map(|copy| width(*copy)).sum::<u128>();
    // Memory for each row is allocated for the rows of an empty tensor, too, so they are counted like elements.
    let bytes = if is_empty { places * ROW } else { places * each };
    memory::check(bytes, || {
        let beside = if copies.is_empty() { "" } else { ", with what it is made from," };
        format!("a tensor of shape {dims:?} and dtype {}{beside}", dtype.as_str())
    })?;
    Ok(if is_empty { 0 } else { places as usize })
}

/// Refuses a tensor from f64 values for which there is not enough memory; returns its element count.
pub fn room_from_floats(dims: &[usize], to: DType) -> Result<usize> {
    room_beside(dims, to, if to == DType::F64 { &[] } else { &[DType::F64] })
}

/// Returns the bytes that an element takes. Tensors of f8 are made and worked on as f32.
fn width(dtype: DType) -> u128 {
    let own = dtype.size_in_bytes() as u128;
    if dtype == DType::F8E4M3 { own + DType::F32.size_in_bytes() as u128 } else { own }
}

/// Approximate bytes for each row: a vector, or an array of a script, with its content.
const ROW: u128 = 64;

/// Refuses `each` bytes for every one of `rows` rows if there is not enough memory.
pub fn room_for_rows(rows: usize, each: usize) -> Result<()> {
    memory::check(rows as u128 * each as u128, || format!("something for each of {rows} rows"))
}

/// Returns the cost of a pass over a tensor: its number of elements, or of rows if it is empty.
pub fn steps(t: &Tensor) -> usize {
    steps_of(t.dims())
}

/// Returns the cost of a pass over a tensor of a shape, as [`steps`] counts it.
pub fn steps_of(dims: &[usize]) -> usize {
    dims.iter().fold(1_usize, |product, dim| product.saturating_mul((*dim).max(1)))
}

/// The smallest and largest number of a tensor, and the number of NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// The smallest number; infinity if there is none.
    pub least: f64,
    /// The largest number; -infinity if there is none.
    pub most: f64,
    pub nans: usize,
}

impl Extent {
    const EMPTY: Self = Self { least: f64::INFINITY, most: f64::NEG_INFINITY, nans: 0 };

    /// Returns the extent of two parts together.
    fn join(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most), nans: self.nans + other.nans }
    }
}

/// Returns the extent of a tensor.
pub fn extent(t: &Tensor) -> Result<Extent> {
    let t = workable(t)?;
    dispatch!(t.dtype(), T => with_slice::<T, _>(&t, |x| {
        let part = |x: &[T]| x.iter().fold(Extent::EMPTY, |found, x| {
            let x = x.float();
            found.join(Extent { least: x, most: x, nans: usize::from(x.is_nan()) })
        });
        let parts = parallel::map(x.len().div_ceil(BLOCK), &|block| part(blocked(x, block)));
        Ok(parts.into_iter().fold(Extent::EMPTY, Extent::join))
    }))
}

/// Elements of one parallel piece: fixed, so that sums are the same on any number of threads.
pub const BLOCK: usize = 1 << 16;

fn blocked<T>(x: &[T], block: usize) -> &[T] {
    &x[block * BLOCK..x.len().min((block + 1) * BLOCK)]
}

/// Returns the results of `one` for each element; the result is first filled with `empty`.
fn filled<T: Sync, U: Clone + Send>(x: &[T], empty: U, one: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let mut places = vec![empty; x.len()];
    parallel::fill(&mut places, BLOCK, &|first, part| {
        for (place, x) in part.iter_mut().zip(&x[first..]) {
            *place = one(x);
        }
    });
    places
}

/// Applies a function to every element, keeping dtype, shape and device; without gradients.
pub fn map(t: &Tensor, f: impl Fn(f64) -> f64 + Sync) -> Result<Tensor> {
    let work = workable(t)?;
    room(t.dims(), t.dtype())?;
    let mapped = dispatch!(work.dtype(), T => with_slice::<T, _>(&work, |x| {
        let one = |x: &T| <T as WithDType>::from_f64(f(x.float()));
        let mapped = filled(x, <T as WithDType>::from_f64(0.0), one);
        Ok(Tensor::from_vec(mapped, t.dims(), t.device())?)
    }))?;
    Ok(mapped.to_dtype(t.dtype())?)
}

/// Returns the elements of a tensor where a condition holds of those of another tensor of the same shape and dtype, and
/// 0 elsewhere; without gradients.
pub fn kept_where(t: &Tensor, of: &Tensor, holds: impl Fn(f64) -> bool + Sync) -> Result<Tensor> {
    let work = workable(t)?;
    let of = workable(of)?;
    room(t.dims(), t.dtype())?;
    let kept = dispatch!(work.dtype(), T => with_slice::<T, _>(&work, |x| with_slice::<T, _>(&of, |of| {
        let one = |(x, of): (&T, &T)| if holds(of.float()) { *x } else { <T as WithDType>::from_f64(0.0) };
        Ok(Tensor::from_vec(x.iter().zip(of).map(one).collect::<Vec<T>>(), t.dims(), t.device())?)
    })))?;
    Ok(kept.to_dtype(t.dtype())?)
}

/// Returns a u8 mask of the elements for which a condition holds.
pub fn mask(t: &Tensor, f: impl Fn(f64) -> bool + Sync) -> Result<Tensor> {
    let work = workable(t)?;
    dispatch!(work.dtype(), T => with_slice::<T, _>(&work, |x| {
        let mapped = filled(x, 0_u8, |x| u8::from(f(x.float())));
        Ok(Tensor::from_vec(mapped, t.dims(), t.device())?)
    }))
}

/// Returns all elements of a u8 tensor, in row order.
pub fn bytes(t: &Tensor) -> Result<Vec<u8>> {
    with_slice::<u8, _>(t, |x| Ok(x.to_vec()))
}
