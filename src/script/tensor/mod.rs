//! `tensor::` and the methods of tensors, one file for each part of `core/src/tensor`.
//!
//! Work on large tensors runs through [`heavy`], so that Ctrl-C interrupts it.

#[macro_use]
mod methods;

pub mod arithmetic;
pub mod arrays;
pub mod create;
pub mod elementwise;
pub mod files;
pub mod index;
pub mod linalg;
pub mod operators;
pub mod order;
pub mod reduce;
pub mod shape;
pub mod statistics;

use rhai::plugin::ModuleManifest;

use crate::options::seed::SeedOptions;
use crate::report::items::Item;
use crate::script::engine::handle::PAGE;
use crate::script::prelude::*;
use crate::tensor::compare::AllCloseOptions;
use crate::tensor::create::{ArangeOptions, RandnOptions, TensorOptions, UniformOptions};
use crate::tensor::dtype::DTypeOptions;
use crate::tensor::elementwise::NanToNumOptions;
use crate::tensor::files::SaveOptions;
use crate::tensor::index::AxisIndex;
use crate::tensor::linalg::RcondOptions;
use crate::tensor::order::{SortOptions, TopkOptions};
use crate::tensor::reduce::{CorrectionOptions, KeepdimOptions, NormOptions};
use crate::tensor::statistics::{BincountOptions, HistogramOptions};
use crate::tensor::{Number, Operand, axes, card, index as core_index, steps, steps_of};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[NamedOptions] = &[
    ("all_close", fields::<AllCloseOptions>),
    ("arange", fields::<ArangeOptions>),
    ("bincount", fields::<BincountOptions>),
    ("correction", fields::<CorrectionOptions>),
    ("dtype", fields::<DTypeOptions>),
    ("keepdim", fields::<KeepdimOptions>),
    ("nan_to_num", fields::<NanToNumOptions>),
    ("norm", fields::<NormOptions>),
    ("randn", fields::<RandnOptions>),
    ("rcond", fields::<RcondOptions>),
    ("seed", fields::<SeedOptions>),
    ("sort", fields::<SortOptions>),
    ("tensor", fields::<TensorOptions>),
    ("tensor_histogram", fields::<HistogramOptions>),
    ("tensor_save", fields::<SaveOptions>),
    ("topk", fields::<TopkOptions>),
    ("uniform", fields::<UniformOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[large::<Tensor>()];

/// Lists functions of the module: `tensor::zeros(..)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(create::functions),
        exported_manifest!(create::random),
        exported_manifest!(arrays::functions),
        exported_manifest!(files::functions),
        exported_manifest!(linalg::functions),
    ]
}

/// Methods and operators, known everywhere.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(create::globals),
        exported_manifest!(arithmetic::extremes),
        exported_manifest!(arithmetic::methods),
        exported_manifest!(elementwise::methods),
        exported_manifest!(elementwise::functions),
        exported_manifest!(index::methods),
        exported_manifest!(index::positions),
        exported_manifest!(linalg::matrices),
        exported_manifest!(linalg::methods),
        exported_manifest!(operators::binary),
        exported_manifest!(operators::logical),
        exported_manifest!(order::along_axes),
        exported_manifest!(order::methods),
        exported_manifest!(reduce::answers),
        exported_manifest!(reduce::methods),
        exported_manifest!(reduce::simple),
        exported_manifest!(shape::copies),
        exported_manifest!(shape::methods),
        exported_manifest!(shape::views),
        exported_manifest!(statistics::methods),
        exported_manifest!(files::methods),
    ]
}

/// Makes `for row in t` iterate over the entries along the first axis.
pub fn iteration() -> Module {
    let mut module = Module::new();
    module.set_iter_result(std::any::TypeId::of::<Tensor>(), |value| {
        let t = value.cast::<Tensor>();
        // A tensor without axes has no entries, and indexing it gives the error.
        let len = t.dims().first().copied().unwrap_or(1);
        Box::new((0..len).map(move |i| Ok(value_of(core_index::get(&t, &[AxisIndex::At(i as i64)])?)?)))
    });
    module
}

impl Handle for Tensor {
    const NAME: &'static str = "Tensor";

    fn short(&self) -> String {
        card::short(self).unwrap_or_else(|error| format!("tensor that cannot be read: {error}"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        card::card(self, screen.width)?.terminal(screen)
    }

    fn json(&self) -> Result<serde_json::Value> {
        crate::script::engine::value::json(&arrays::nested(self, &Task::default())?, &Task::default())
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(card::card(self, PAGE)?)))
    }
}

/// Runs small work in place, and large work on its own thread, which Ctrl-C abandons. `cost` is the approximate number of
/// operations.
fn heavy<T: Send + 'static>(
    ctx: &NativeCallContext,
    cost: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Fallible<T> {
    Ok(env(ctx)?.task.heavy(cost as f64, work)?)
}

/// Runs a function of one tensor as [`heavy`] does.
fn on<T: Send + 'static>(
    ctx: &NativeCallContext,
    t: &Tensor,
    work: impl FnOnce(&Tensor) -> Result<T> + Send + 'static,
) -> Fallible<T> {
    growing(ctx, t, 0, work)
}

/// Runs a function as [`on`] does, where the result is larger than the tensor, or takes more than a pass over it.
fn growing<T: Send + 'static>(
    ctx: &NativeCallContext,
    t: &Tensor,
    cost: usize,
    work: impl FnOnce(&Tensor) -> Result<T> + Send + 'static,
) -> Fallible<T> {
    let t = t.clone();
    heavy(ctx, steps(&t).max(cost), move || work(&t))
}

/// Computes the cost of an operation on tensors of these shapes, which broadcast: the number of elements of its result,
/// or of its rows if it is empty. Shapes that do not broadcast are refused by the operation.
fn together(shapes: &[&[usize]]) -> usize {
    match shapes {
        // The usual case: as many elements on both sides, or a number on one.
        [first, rest @ ..] if rest.iter().all(|dims| dims == first || dims.is_empty()) => steps_of(first),
        _ => {
            let none = Vec::new();
            let joined = shapes.iter().try_fold(none, |joined: Vec<usize>, dims| axes::broadcast(&joined, dims));
            joined.map_or(0, |dims| steps_of(&dims))
        }
    }
}

/// Computes a view of a tensor, which costs nothing whatever its size.
fn view<T>(_: &NativeCallContext, t: &Tensor, work: impl FnOnce(&Tensor) -> Result<T>) -> Fallible<T> {
    Ok(work(t)?)
}

/// Returns a number as a value of scripts.
fn plain(number: Number) -> Dynamic {
    match number {
        Number::Int(value) => value.into(),
        Number::Float(value) => value.into(),
    }
}

/// Returns a tensor without axes as a plain number, unless it tracks gradients, which a number would lose.
pub(super) fn value_of(t: Tensor) -> Result<Dynamic> {
    if t.rank() == 0 && !t.track_op() { Ok(plain(Number::of(&t)?)) } else { Ok(Dynamic::from(t)) }
}

/// Reads an argument that is a tensor.
pub(super) fn tensor_arg(name: &str, value: &Dynamic) -> Result<Tensor> {
    value.read_lock::<Tensor>().map(|t| t.clone()).ok_or_else(|| given(name, value).refuse("a tensor"))
}

/// Reads an argument that is a tensor or an array of numbers.
pub(super) fn values(name: &str, value: &Dynamic) -> Result<Tensor> {
    if value.is_array() { arrays::tensor(value, None).map_err(|e| e.about(name)) } else { tensor_arg(name, value) }
}

/// Reads an argument that is a tensor or a number.
fn operand(name: &str, value: &Dynamic) -> Result<Operand> {
    if let Some(t) = value.read_lock::<Tensor>() {
        return Ok(Operand::Tensor(t.clone()));
    }
    number_arg(name, value).map(Operand::Number).map_err(|_| given(name, value).refuse("a tensor or a number"))
}

/// Reads an argument that is a number.
fn number_arg(name: &str, value: &Dynamic) -> Result<Number> {
    match (value.as_int(), value.as_float()) {
        (Ok(int), _) => Ok(Number::Int(int)),
        (_, Ok(float)) => Ok(Number::Float(float)),
        _ => Err(given(name, value).refuse("a number")),
    }
}
