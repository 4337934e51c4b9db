//! `tensor::grad` and what belongs to it: derivatives of a function of the script.

use super::parameters::Parameters;
use crate::base::error::both;
use crate::script::prelude::*;
use crate::script::tensor::values;
use crate::tensor::derivative::{self, TensorFunction, ValueAndGradients};

/// Computes `work` of a function of the script and its parameters.
fn differentiated<T>(
    ctx: &NativeCallContext,
    f: &FnPtr,
    parameters: &Parameters,
    work: impl FnOnce(&mut TensorFunction, &[Tensor], &Task) -> Result<T>,
) -> Fallible<T> {
    let calls = Callbacks::new(ctx);
    let mut function = |arguments: &[Tensor]| parameters.call(&calls, f, arguments);
    calls.outcome(work(&mut function, &parameters.tensors, &env(ctx)?.task))
}

fn value_and_gradients(ctx: &NativeCallContext, f: &FnPtr, parameters: &Parameters) -> Fallible<ValueAndGradients> {
    differentiated(ctx, f, parameters, derivative::value_and_gradients)
}

#[export_module(manifest)]
pub mod functions {
    /// Computes the gradient of a function `|x|` that returns one number, in the form of `x`.
    ///
    /// `x` is a tensor, a number, or an array or a map of such, also in each other. The function gets variables in its
    /// place, and returns a tensor without axes; whatever else it uses is a constant. It may run a model, whose hooks may
    /// use `x`. What the value does not depend on has a gradient of zeros.
    ///
    /// All of `tensor::` and all methods of tensors pass gradients, but for these: comparisons, rounding, `sign`, `any`,
    /// `all`, `argmax`, `argmin`, `argsort`, `nonzero` and `matrix_rank` are constant almost everywhere; `detach`, `item`
    /// and `to_array` give constants on purpose; `unique`, `histogram` and casts to integers refuse. There are no second
    /// derivatives: a gradient within a gradient is refused where it would count as a constant.
    ///
    /// # Example
    /// ```
    /// tensor::grad(|x| (x ** 2).sum(), tensor([1, 2, 3]))  //=> tensor([2.0, 4.0, 6.0])
    /// tensor::grad(|x| x ** 3, 2)  //=> 12.0
    /// let x = tensor([1, 2]);
    /// tensor::grad(|p| (p.w @ x - p.b) ** 2, #{ w: tensor([3, 4]), b: 1 })  //=> #{ b: -20.0, w: tensor([20.0, 40.0]) }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn grad(ctx: NativeCallContext, f: FnPtr, x: Any) -> Fallible<Any> {
        let parameters = Parameters::of("x", &x)?;
        let found = super::value_and_gradients(&ctx, &f, &parameters)?;
        Ok(parameters.like(&found.gradients)?)
    }

    /// Computes the value of a function `|x|` that returns one number, and its gradient in the form of `x`, as
    /// `#{ value, grad }`.
    ///
    /// See `tensor::grad`.
    ///
    /// # Example
    /// ```
    /// let found = tensor::value_and_grad(|p| (p.a * p.b).sum(), #{ a: tensor([1, 2]), b: tensor([3, 4]) });
    /// [found.value, found.grad]  //=> [11.0, #{ a: tensor([3.0, 4.0]), b: tensor([1.0, 2.0]) }]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn value_and_grad(ctx: NativeCallContext, f: FnPtr, x: Any) -> Fallible<Map> {
        let parameters = Parameters::of("x", &x)?;
        let found = super::value_and_gradients(&ctx, &f, &parameters)?;
        let grad = parameters.like(&found.gradients)?;
        Ok([("value".into(), found.value.into()), ("grad".into(), grad)].into())
    }

    /// Computes the Jacobian matrix of a function `|x|` that returns a tensor: for each tensor of `x` one with the axes
    /// of the result and then those of the tensor.
    ///
    /// It takes one backward pass for each element of the result. See `tensor::grad` for what `x` may be.
    ///
    /// # Example
    /// ```
    /// let a = tensor([[1, 2], [3, 4], [5, 6]]);
    /// tensor::jacobian(|x| a @ x, tensor([1, 1]))  //=> tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    /// tensor::jacobian(|x| x ** 2, tensor([1, 2]))  //=> tensor([[2.0, 0.0], [0.0, 4.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn jacobian(ctx: NativeCallContext, f: FnPtr, x: Any) -> Fallible<Any> {
        let parameters = Parameters::of("x", &x)?.of_tensors();
        let found = super::differentiated(&ctx, &f, &parameters, derivative::jacobians)?;
        Ok(parameters.like(&found)?)
    }

    /// Computes the product of a vector and the Jacobian matrix of a function `|x|` that returns a tensor: the gradient
    /// of `(v * f(x)).sum()`, in the form of `x`.
    ///
    /// `v` has the shape of the result. It is one backward pass. See `tensor::grad` for what `x` may be.
    ///
    /// # Example
    /// ```
    /// let a = tensor([[1, 2], [3, 4], [5, 6]]);
    /// tensor::vjp(|x| a @ x, tensor([1, 1]), [1, 0, 1])  //=> tensor([6.0, 8.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn vjp(ctx: NativeCallContext, f: FnPtr, x: Any, v: Any) -> Fallible<Any> {
        let (parameters, weights) = both(Parameters::of("x", &x), values("v", &v))?;
        let found = super::differentiated(&ctx, &f, &parameters, |f, at, task| {
            derivative::vector_jacobian(f, at, &weights, task)
        })?;
        Ok(parameters.like(&found)?)
    }
}
