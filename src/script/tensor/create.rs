//! New tensors: from arrays, filled, ranges, and random ones.

use super::{arrays, heavy, number_arg};
use crate::base::random::generator;
use crate::options::seed::SeedOptions;
use crate::script::engine::value::Ints;
use crate::script::prelude::*;
use crate::tensor::create;
use crate::tensor::create::{ArangeOptions, RandnOptions, TensorOptions, UniformOptions};
use crate::tensor::dtype::DTypeOptions;

/// Makes a tensor, on its own thread if it is large, and moves it to the device of the run.
fn made(
    ctx: &NativeCallContext,
    dims: &[usize],
    make: impl FnOnce() -> Result<Tensor> + Send + 'static,
) -> Fallible<Tensor> {
    // The estimate only decides whether a thread is worth it; a size that is too large is refused by `make`.
    let cost = dims.iter().fold(1_usize, |product, size| product.saturating_mul(*size));
    let device = env(ctx)?.device.clone();
    heavy(ctx, cost, move || Ok(make()?.to_device(&device)?))
}

#[export_module(manifest)]
pub mod globals {
    /// Makes a tensor from nested arrays of numbers, a range, a single number, or another tensor.
    ///
    /// The dtype is f32 by default, for integers too. Booleans count as 1 and 0.
    ///
    /// # Options
    /// - [tensor]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]])  //=> tensor([[1.0, 2.0], [3.0, 4.0]])
    /// tensor([1, 0, 2], #{ dtype: "i64" })  //=> tensor([1, 0, 2], i64)
    /// ```
    #[rhai_fn(name = "tensor", return_raw)]
    pub fn tensor(ctx: NativeCallContext, values: Any, options: Options) -> Fallible<Tensor> {
        let TensorOptions { dtype } = taken(options)?;
        let device = env(&ctx)?.device.clone();
        Ok(arrays::tensor(&values, dtype)?.to_device(&device).map_err(Error::from)?)
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Makes a tensor of zeros.
    ///
    /// # Options
    /// - [dtype]
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3])  //=> tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn zeros(ctx: NativeCallContext, shape: Ints, options: Options) -> Fallible<Tensor> {
        full(ctx, shape, 0_i64.into(), options)
    }

    /// Makes a tensor of ones.
    ///
    /// # Options
    /// - [dtype]
    ///
    /// # Example
    /// ```
    /// tensor::ones(3, #{ dtype: "u8" })  //=> tensor([1, 1, 1], u8)
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ones(ctx: NativeCallContext, shape: Ints, options: Options) -> Fallible<Tensor> {
        full(ctx, shape, 1_i64.into(), options)
    }

    /// Makes a tensor filled with one number.
    ///
    /// # Options
    /// - [dtype]
    ///
    /// # Example
    /// ```
    /// tensor::full([2], 7)  //=> tensor([7.0, 7.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn full(ctx: NativeCallContext, shape: Ints, value: Num, options: Options) -> Fallible<Tensor> {
        let DTypeOptions { dtype } = taken(options)?;
        let dims = given("shape", &shape).sizes()?;
        let value = number_arg("value", &value)?;
        super::made(&ctx, &dims.clone(), move || create::full(&dims, value, dtype))
    }

    /// Returns evenly spaced numbers from `start` (by default 0) to `end`, which is excluded. Where `start`, `end` and
    /// `step` are whole, the result is i64 and can index: `t[tensor::arange(10)]`.
    ///
    /// # Options
    /// - [arange]
    ///
    /// # Example
    /// ```
    /// tensor::arange(6)  //=> tensor([0, 1, 2, 3, 4, 5], i64)
    /// tensor::arange(2, 0, #{ step: -0.5 })  //=> tensor([2.0, 1.5, 1.0, 0.5])
    /// tensor::arange(0, 6, #{ step: 2, dtype: "f32" })  //=> tensor([0.0, 2.0, 4.0])
    /// ```
    #[rhai_fn(name = "arange", return_raw)]
    pub fn arange_to(ctx: NativeCallContext, end: Num, options: Options) -> Fallible<Tensor> {
        let end = number_arg("end", &end)?;
        arange(ctx, 0_i64.into(), super::super::plain(end), options)
    }

    #[rhai_fn(return_raw)]
    pub fn arange(ctx: NativeCallContext, start: Num, end: Num, options: Options) -> Fallible<Tensor> {
        let ArangeOptions { step, dtype } = taken(options)?;
        let start = number_arg("start", &start)?;
        let end = number_arg("end", &end)?;
        let count = create::arange_count(start.as_f64(), end.as_f64(), step);
        super::made(&ctx, &[count], move || create::arange(start, end, step.into(), dtype))
    }

    /// Returns `count` numbers evenly spaced from `start` to `end`, both included.
    ///
    /// # Options
    /// - [dtype]
    ///
    /// # Example
    /// ```
    /// tensor::linspace(0, 1, 5)  //=> tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn linspace(ctx: NativeCallContext, start: Num, end: Num, count: Int, options: Options) -> Fallible<Tensor> {
        let DTypeOptions { dtype } = taken(options)?;
        let start = given("start", &start).number()?;
        let end = given("end", &end).number()?;
        let count = given("count", &count).size()?;
        super::made(&ctx, &[count], move || create::linspace(start, end, count, dtype))
    }

    /// Returns the identity matrix; two sizes give one that is not square.
    ///
    /// # Options
    /// - [dtype]
    ///
    /// # Example
    /// ```
    /// tensor::eye(2)  //=> tensor([[1.0, 0.0], [0.0, 1.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn eye(ctx: NativeCallContext, size: Ints, options: Options) -> Fallible<Tensor> {
        let DTypeOptions { dtype } = taken(options)?;
        let size = given("size", &size);
        let (rows, columns) = match size.sizes()?.as_slice() {
            [side] => (*side, *side),
            [rows, columns] => (*rows, *columns),
            _ => return Err(size.refuse("one or two sizes").into()),
        };
        super::made(&ctx, &[rows, columns], move || create::eye(rows, columns, dtype))
    }
}

#[export_module(manifest)]
pub mod random {
    /// Draws random numbers from the normal distribution with mean 0 and standard deviation 1.
    ///
    /// # Options
    /// - [randn]
    ///
    /// # Example
    /// ```
    /// let a = tensor::randn([2, 3], #{ seed: 1 });
    /// a.equal(tensor::randn([2, 3], #{ seed: 1 }))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn randn(ctx: NativeCallContext, shape: Ints, options: Options) -> Fallible<Tensor> {
        let RandnOptions { dtype, seed } = taken(options)?;
        let dims = given("shape", &shape).sizes()?;
        env(&ctx)?.drawing(&ctx, "tensor::randn", seed.seed, |seed| {
            let mut random = generator(seed.draws());
            super::made(&ctx, &dims.clone(), move || create::randn(&dims, dtype, &mut random))
        })
    }

    /// Draws random numbers from the uniform distribution on [`low`, `high`).
    ///
    /// # Options
    /// - [uniform]
    ///
    /// # Example
    /// ```
    /// let a = tensor::uniform(100, #{ low: -1, seed: 1 });
    /// a.min() >= -1.0 && a.max() < 1.0  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn uniform(ctx: NativeCallContext, shape: Ints, options: Options) -> Fallible<Tensor> {
        let UniformOptions { low, high, dtype, seed } = taken(options)?;
        let dims = given("shape", &shape).sizes()?;
        env(&ctx)?.drawing(&ctx, "tensor::uniform", seed.seed, |seed| {
            let mut random = generator(seed.draws());
            super::made(&ctx, &dims.clone(), move || create::uniform(&dims, low, high, dtype, &mut random))
        })
    }

    /// Draws random integers from `low` to `high`, which is excluded, as i64.
    ///
    /// # Options
    /// - [seed]
    ///
    /// # Example
    /// ```
    /// let a = tensor::randint([100], 0, 6, #{ seed: 1 });
    /// [a.min(), a.max()]  //=> [0, 5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn randint(ctx: NativeCallContext, shape: Ints, low: Int, high: Int, options: Options) -> Fallible<Tensor> {
        let seed: SeedOptions = taken(options)?;
        let dims = given("shape", &shape).sizes()?;
        let low = given("low", &low).integer()?;
        let high = given("high", &high).integer()?;
        env(&ctx)?.drawing(&ctx, "tensor::randint", seed.seed, |seed| {
            let mut random = generator(seed.draws());
            super::made(&ctx, &dims.clone(), move || create::randint(&dims, low, high, &mut random))
        })
    }

    /// Draws a random permutation of the numbers from 0 to `count` - 1, as i64.
    ///
    /// # Options
    /// - [seed]
    ///
    /// # Example
    /// ```
    /// tensor::permutation(4, #{ seed: 1 }).sort().values  //=> tensor([0, 1, 2, 3], i64)
    /// ```
    #[rhai_fn(return_raw)]
    pub fn permutation(ctx: NativeCallContext, count: Int, options: Options) -> Fallible<Tensor> {
        let seed: SeedOptions = taken(options)?;
        let count = given("count", &count).size()?;
        env(&ctx)?.drawing(&ctx, "tensor::permutation", seed.seed, |seed| {
            let mut random = generator(seed.draws());
            super::made(&ctx, &[count], move || create::permutation(count, &mut random))
        })
    }
}
