//! Derivatives of any function of tensors, by backward passes: the gradient of one number, products of a vector with the
//! Jacobian matrix, and that matrix.
//!
//! The function gets variables of its own, which end with the call. There are no second derivatives: a backward pass is
//! made of plain numbers, so what it returns would count as a constant in a gradient around it. That is refused.

use candle_core::Var;
use kernels::{Gradients, TapedTensor};

use super::{DType, Tensor, device, dtype, element};
use crate::base::clock::Instant;
use crate::common::*;

/// A function of several tensors.
pub type TensorFunction<'a> = dyn FnMut(&[Tensor]) -> Result<Tensor> + 'a;

/// One number, and its gradient for each argument.
#[derive(Debug)]
pub struct ValueAndGradients {
    pub value: f64,
    pub gradients: Vec<Tensor>,
}

impl ValueAndGradients {
    /// Returns the value and the gradients of the sum of two functions of the same arguments.
    pub fn plus(&self, other: &Self) -> Result<Self> {
        let gradients = self.gradients.iter().zip(&other.gradients).map(|(a, b)| Ok((a + b)?));
        Ok(Self { value: self.value + other.value, gradients: gradients.collect::<Result<_>>()? })
    }
}

/// A function's result with the tape of its computation.
struct TapedResult {
    variables: Vec<Var>,
    taped: TapedTensor,
    result: Tensor,
    /// Number of elementary operations of the computation, as [`Task::heavy`] counts them.
    cost: f64,
}

/// Computes the value of a function of one number, and its gradient for each argument, of the argument's shape and
/// dtype. An argument that the value does not depend on has a gradient of zeros.
pub fn value_and_gradients(f: &mut TensorFunction, at: &[Tensor], task: &Task) -> Result<ValueAndGradients> {
    let computed = TapedResult::of(f, at)?;
    let result = &computed.result;
    if result.elem_count() != 1 {
        return Err(err!(Shape, "expected one number from the function, found shape {:?}", result.dims())
            .hint("reduce it, with .sum() or .mean() for instance; `tensor::jacobian` is for functions of several"));
    }
    let value = element::floats(result)?[0];
    if value.is_nan() {
        return Err(err!(Numeric, "the function's value is NaN").hint(
            "0 / 0, log and sqrt of negative numbers, and logits after the end of a shorter text are NaN, and NaN times 0 is",
        ));
    }
    let TapedResult { variables, taped, cost, .. } = computed;
    let gradients = task.heavy(cost, move || gathered(&variables, taped.backward()?))?;
    Ok(ValueAndGradients { value, gradients })
}

/// Computes the gradients of the sum of `weights` times the function's result: the vector-Jacobian product.
pub fn vector_jacobian(f: &mut TensorFunction, at: &[Tensor], weights: &Tensor, task: &Task) -> Result<Vec<Tensor>> {
    let TapedResult { variables, taped, result, cost } = TapedResult::of(f, at)?;
    if weights.dims() != result.dims() {
        bail!(Shape, "expected a vector of the result's shape {:?}, found {:?}", result.dims(), weights.dims());
    }
    let weights = dtype::convert(&device::on_device_of(&weights.detach(), &result)?, result.dtype())?;
    task.heavy(cost, move || gathered(&variables, taped.pulled_back(&weights)?))
}

/// Computes the Jacobian matrix for each argument, of the result's shape and then the argument's, by one backward pass
/// for each element of the result.
pub fn jacobians(f: &mut TensorFunction, at: &[Tensor], task: &Task) -> Result<Vec<Tensor>> {
    let TapedResult { variables, taped, result, cost } = TapedResult::of(f, at)?;
    let count = result.elem_count();
    // Weights of a row, and the gradients on the way back.
    element::room(&[4, count], DType::F64)?;
    for variable in &variables {
        element::room(&[count, variable.elem_count()], variable.dtype())?;
    }
    let within = task.clone();
    task.heavy(cost * count as f64, move || {
        let mut rows: Vec<Vec<Tensor>> = variables.iter().map(|_| Vec::with_capacity(count)).collect();
        for i in 0..count {
            within.check()?;
            let mut weights = vec![0.0; count];
            weights[i] = 1.0;
            let weights = element::tensor(weights, result.dims(), result.dtype(), result.device())?;
            let found = gathered(&variables, taped.pulled_back(&weights)?)?;
            rows.iter_mut().zip(found).for_each(|(rows, row)| rows.push(row));
        }
        rows.iter().zip(&variables).map(|(rows, variable)| stacked(rows, &result, variable)).collect()
    })
}

fn stacked(rows: &[Tensor], result: &Tensor, variable: &Tensor) -> Result<Tensor> {
    let dims = [result.dims(), variable.dims()].concat();
    if rows.is_empty() {
        return Ok(Tensor::zeros(dims, variable.dtype(), variable.device())?);
    }
    Ok(Tensor::stack(rows, 0)?.reshape(dims)?)
}

impl TapedResult {
    fn of(f: &mut TensorFunction, at: &[Tensor]) -> Result<Self> {
        let variables = at.iter().map(variable).collect::<Result<Vec<_>>>()?;
        let arguments: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let begun = Instant::now();
        let taped = TapedTensor::of_tensor(|| {
            let result = f(&arguments)?;
            if result.track_op() {
                return Ok(result);
            }
            Err(err!(
                Argument,
                "the function's value does not depend on its argument by operations that have gradients"
            )
            .hint("`.item()`, comparisons, rounding and counts give constants; return a tensor made by arithmetic"))
        })?;
        let known = |id| variables.iter().any(|variable| variable.id() == id);
        if taped.variables().into_iter().any(|id| !known(id)) {
            return Err(err!(Argument, "the function depends on a variable of another gradient around it")
                .hint("there are no second derivatives; `.detach()` makes a constant of it, if that is meant"));
        }
        // A nanosecond is an elementary operation or so.
        let cost = begun.elapsed().as_secs_f64() * 1e9;
        Ok(Self { variables, result: taped.result(), taped, cost })
    }
}

/// Builds a new variable with these numbers.
fn variable(t: &Tensor) -> Result<Var> {
    if t.track_op() {
        return Err(err!(
            Argument,
            "expected constants to take a gradient at, found what another gradient is taken of"
        )
        .hint("there are no second derivatives; `.detach()` makes a constant of it, if that is meant"));
    }
    if !dtype::is_float(t.dtype()) || t.dtype() == DType::F8E4M3 {
        return Err(err!(Argument, "expected floats to take a gradient at, found a tensor of {}", t.dtype().as_str())
            .hint("t.to(\"f32\") makes floats of it"));
    }
    Ok(Var::from_tensor(t)?)
}

fn gathered(variables: &[Var], mut found: Gradients) -> Result<Vec<Tensor>> {
    let one = |variable: &Var| match found.take(variable) {
        Some(gradient) => Ok(gradient.detach().contiguous()?),
        None => Ok(variable.as_detached_tensor().zeros_like()?),
    };
    variables.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fixture::{f64s, t};
    use crate::tensor::{arithmetic, elementwise, matmul, reduce};

    fn sum(x: &Tensor) -> Result<Tensor> {
        reduce::reduce(x, reduce::Reduction::Sum, None, false)
    }

    #[test]
    fn a_value_and_the_gradient_of_each_argument() {
        let x = t(&[1.0, 2.0], &[2], DType::F64);
        let y = t(&[3.0], &[1], DType::F32);
        let mut f = |p: &[Tensor]| sum(&arithmetic::pow(&(&p[0]).into(), &2.into())?);
        let found = value_and_gradients(&mut f, &[x.clone(), y.clone()], &Task::default()).unwrap();
        assert_eq!((found.value, f64s(&found.gradients[0])), (5.0, vec![2.0, 4.0]));
        // The value does not depend on the second.
        assert_eq!((f64s(&found.gradients[1]), found.gradients[1].dtype()), (vec![0.0], DType::F32));
        assert!(found.gradients.iter().all(|gradient| !gradient.track_op()));
    }

    #[test]
    fn jacobians_and_products_with_them_agree() {
        let a = t(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2], DType::F64);
        let x = t(&[0.5, -1.0], &[2], DType::F64);
        let mut f = |p: &[Tensor]| elementwise::tanh(&matmul::matmul(&a, &p[0])?);
        let task = Task::default();
        let whole = jacobians(&mut f, std::slice::from_ref(&x), &task).unwrap().remove(0);
        assert_eq!(whole.dims(), [3, 2]);
        let weights = t(&[0.3, -0.7, 2.0], &[3], DType::F64);
        let product = vector_jacobian(&mut f, std::slice::from_ref(&x), &weights, &task).unwrap().remove(0);
        let expected = f64s(&matmul::matmul(&weights, &whole).unwrap());
        assert!(f64s(&product).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14));
        let wrong = vector_jacobian(&mut f, &[x], &t(&[1.0], &[1], DType::F64), &task).unwrap_err();
        assert_eq!(wrong.message, "expected a vector of the result's shape [3], found [1]");
    }

    #[test]
    fn what_has_no_gradient_is_refused() {
        let x = t(&[1.0, 2.0], &[2], DType::F64);
        let task = Task::default();
        let refused = |f: &mut TensorFunction, at: &Tensor| {
            value_and_gradients(f, std::slice::from_ref(at), &task).unwrap_err().message
        };
        assert!(refused(&mut |p| Ok(p[0].clone()), &x).contains("one number"));
        assert!(refused(&mut |p| sum(&p[0].detach()), &x).contains("does not depend"));
        assert!(refused(&mut |p| sum(&elementwise::log(&(&p[0] * -1.0)?)?), &x).contains("NaN"));
        assert!(refused(&mut |p| sum(&p[0]), &t(&[1.0], &[1], DType::I64)).contains("floats"));
    }

    #[test]
    fn a_gradient_within_a_gradient_is_refused_where_it_would_count_as_a_constant() {
        let x = t(&[1.0, 2.0], &[2], DType::F64);
        let task = Task::default();
        let one = std::slice::from_ref(&x);
        let square = |t: &Tensor| arithmetic::mul(&t.into(), &t.into());
        // Of the outer argument, and of a function that depends on it.
        let mut of_argument = |p: &[Tensor]| {
            let inner = value_and_gradients(&mut |q| sum(&square(&q[0])?), p, &task)?;
            sum(&inner.gradients[0])
        };
        assert!(value_and_gradients(&mut of_argument, one, &task).unwrap_err().message.contains("another gradient"));
        let mut of_captured = |p: &[Tensor]| {
            let outer = square(&p[0])?;
            let mut inner = |q: &[Tensor]| sum(&arithmetic::mul(&(&q[0]).into(), &(&outer).into())?);
            let inner = value_and_gradients(&mut inner, one, &task)?;
            sum(&arithmetic::mul(&(&p[0]).into(), &(&inner.gradients[0]).into())?)
        };
        assert!(value_and_gradients(&mut of_captured, one, &task).unwrap_err().message.contains("another gradient"));
        // One that is a constant to the outer one is none of its business.
        let mut constant = |p: &[Tensor]| {
            let inner = value_and_gradients(&mut |q| sum(&square(&q[0])?), one, &task)?;
            sum(&arithmetic::mul(&(&p[0]).into(), &(&inner.gradients[0]).into())?)
        };
        let found = value_and_gradients(&mut constant, one, &task).unwrap();
        assert_eq!(f64s(&found.gradients[0]), [2.0, 4.0]);
    }
}
