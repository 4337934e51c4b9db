//! Constraints of a parameter after each step of a descent: rows of length 1, orthonormal columns, or bounds.

use super::options::DescentOptions;
use crate::common::*;
use crate::tensor::reduce::{Reduction, reduce};
use crate::tensor::{DType, Number, Operand, Tensor, arithmetic, compare, dtype, floats, linalg, matmul, shape};

/// A constraint of a parameter after each step.
pub struct Constraint<'a> {
    name: &'a str,
    is_unit: bool,
    is_orthogonal: bool,
    range: Option<[f64; 2]>,
}

impl<'a> Constraint<'a> {
    pub fn of(name: &'a str, options: &DescentOptions) -> Result<Self> {
        let is_unit = options.unit.has(name);
        let is_orthogonal = options.orthogonal.has(name);
        let range = options.range.of_parameter(name);
        if u8::from(is_unit) + u8::from(is_orthogonal) + u8::from(range.is_some()) > 1 {
            return Err(err!(Argument, "expected one of `unit`, `orthogonal` and `range` for `{name}`, found several")
                .hint("they would undo each other"));
        }
        Ok(Self { name, is_unit, is_orthogonal, range })
    }

    pub fn is_none(&self) -> bool {
        !self.is_unit && !self.is_orthogonal && self.range.is_none()
    }

    /// Returns the nearest tensor within the constraint, or for `orthogonal` the Q of its QR decomposition.
    pub fn enforced(&self, t: &Tensor) -> Result<Tensor> {
        if self.is_unit {
            return self.unit_rows(t);
        }
        if self.is_orthogonal {
            return self.orthonormal(t, |t| Ok(linalg::qr(t)?.0));
        }
        let Some([low, high]) = self.range else { return Ok(t.clone()) };
        compare::clamp(t, Some(Number::Float(low)), Some(Number::Float(high)))
    }

    /// Returns the tensor after a step within the constraint. The step of an orthonormal matrix W is first projected
    /// onto the tangent space, D - W sym(W^T D) (Edelman et al. 1998, section 2.4.2), and then retracted by a QR
    /// decomposition (Absil et al. 2008, example 4.1.3).
    pub fn moved(&self, before: &Tensor, after: &Tensor) -> Result<Tensor> {
        if !self.is_orthogonal {
            return self.enforced(after);
        }
        let side = |t: &Tensor| -> Result<Tensor> {
            if is_wide(t) { Ok(shape::transpose(t, 0, 1)?.contiguous()?) } else { Ok(t.clone()) }
        };
        let w = dtype::convert(&side(before)?, DType::F64)?;
        self.orthonormal(after, |tall| {
            let step = arithmetic::sub(&tall.into(), &(&w).into())?;
            let inner = matmul::matmul(&shape::transpose(&w, 0, 1)?, &step)?;
            let symmetric = ((&inner + shape::transpose(&inner, 0, 1)?)? * 0.5)?;
            let tangent = (step - matmul::matmul(&w, &symmetric)?)?;
            Ok(linalg::qr(&(&w + tangent)?)?.0)
        })
    }

    /// Applies `of` to the tall form of a matrix in f64, and returns the result in the matrix's own form and dtype.
    fn orthonormal(&self, t: &Tensor, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if t.rank() != 2 {
            let name = self.name;
            return Err(err!(Shape, "expected a matrix for `{name}` in `orthogonal`, found shape {:?}", t.dims()));
        }
        let wide = dtype::convert(t, DType::F64)?;
        let found = if is_wide(t) {
            shape::transpose(&of(&shape::transpose(&wide, 0, 1)?.contiguous()?)?, 0, 1)?.contiguous()?
        } else {
            of(&wide)?
        };
        dtype::convert(&found, t.dtype())
    }

    fn unit_rows(&self, t: &Tensor) -> Result<Tensor> {
        let name = self.name;
        if t.rank() == 0 {
            bail!(Shape, "expected rows for `{name}` in `unit`, found a number");
        }
        let sizes = reduce(t, Reduction::Norm { p: 2.0 }, Some(&[-1]), true)?;
        if floats(&sizes)?.contains(&0.0) {
            return Err(err!(Numeric, "a row of `{name}` is 0, and has no direction to keep at length 1"));
        }
        arithmetic::div(&t.into(), &Operand::Tensor(sizes))
    }
}

fn is_wide(t: &Tensor) -> bool {
    matches!(t.dims(), [rows, columns] if rows < columns)
}
