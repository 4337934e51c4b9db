//! Operators between tensors, and between tensors and numbers on either side.

use super::{heavy, together};
use crate::script::prelude::*;
use crate::tensor::compare::{Comparison, compare};
use crate::tensor::{Operand, arithmetic, compare as masks, matmul, steps};

fn both(
    ctx: &NativeCallContext,
    a: Operand,
    b: Operand,
    f: fn(&Operand, &Operand) -> Result<Tensor>,
) -> Fallible<Tensor> {
    heavy(ctx, together(&[a.dims(), b.dims()]), move || f(&a, &b))
}

fn masked(
    ctx: &NativeCallContext,
    a: Tensor,
    b: Tensor,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Fallible<Tensor> {
    heavy(ctx, together(&[a.dims(), b.dims()]), move || f(&a, &b))
}

/// Each operator for two tensors, and for a tensor and a number of either type on either side.
macro_rules! operators {
    ($($(#[doc = $doc:tt])* $tensors:ident $int:ident $float:ident $int_left:ident $float_left:ident = $sign:tt => $f:expr;)*) => {
        #[export_module(manifest)]
        pub mod binary {
            $(
                $(#[doc = $doc])*
                #[rhai_fn(name = $sign, return_raw)]
                pub fn $tensors(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
                    super::both(&ctx, a.into(), b.into(), $f)
                }

                #[rhai_fn(name = $sign, return_raw)]
                pub fn $int(ctx: NativeCallContext, a: Tensor, b: i64) -> Fallible<Tensor> {
                    super::both(&ctx, a.into(), b.into(), $f)
                }

                #[rhai_fn(name = $sign, return_raw)]
                pub fn $float(ctx: NativeCallContext, a: Tensor, b: f64) -> Fallible<Tensor> {
                    super::both(&ctx, a.into(), b.into(), $f)
                }

                #[rhai_fn(name = $sign, return_raw)]
                pub fn $int_left(ctx: NativeCallContext, a: i64, b: Tensor) -> Fallible<Tensor> {
                    super::both(&ctx, a.into(), b.into(), $f)
                }

                #[rhai_fn(name = $sign, return_raw)]
                pub fn $float_left(ctx: NativeCallContext, a: f64, b: Tensor) -> Fallible<Tensor> {
                    super::both(&ctx, a.into(), b.into(), $f)
                }
            )*
        }
    };
}

operators! {
    /// Adds with broadcasting; integers are added in i64.
    add add_int add_float int_add float_add = "+" => arithmetic::add;
    /// Subtracts with broadcasting; integers are subtracted in i64, so that masks can be subtracted.
    sub sub_int sub_float int_sub float_sub = "-" => arithmetic::sub;
    /// Multiplies element by element, with broadcasting.
    mul mul_int mul_float int_mul float_mul = "*" => arithmetic::mul;
    /// Divides with broadcasting, always in floats.
    div div_int div_float int_div float_div = "/" => arithmetic::div;
    /// Computes the remainder of a division, with the sign of the dividend.
    rem rem_int rem_float int_rem float_rem = "%" => arithmetic::rem;
    /// Computes powers with broadcasting.
    pow pow_int pow_float int_pow float_pow = "**" => arithmetic::pow;
    /// Returns a mask that is 1 where both are equal; `a.equal(b)` compares whole tensors.
    eq eq_int eq_float int_eq float_eq = "==" => |a, b| compare(Comparison::Eq, a, b);
    /// Returns a mask that is 1 where both differ.
    ne ne_int ne_float int_ne float_ne = "!=" => |a, b| compare(Comparison::Ne, a, b);
    /// Returns a mask that is 1 where the left is less.
    lt lt_int lt_float int_lt float_lt = "<" => |a, b| compare(Comparison::Lt, a, b);
    /// Returns a mask that is 1 where the left is less or equal.
    le le_int le_float int_le float_le = "<=" => |a, b| compare(Comparison::Le, a, b);
    /// Returns a mask that is 1 where the left is greater.
    gt gt_int gt_float int_gt float_gt = ">" => |a, b| compare(Comparison::Gt, a, b);
    /// Returns a mask that is 1 where the left is greater or equal.
    ge ge_int ge_float int_ge float_ge = ">=" => |a, b| compare(Comparison::Ge, a, b);
}

#[export_module(manifest)]
pub mod logical {
    /// Computes the matrix product with the rules of numpy: vectors are rows on the left and columns on the right, and
    /// axes before the last two are a batch.
    #[rhai_fn(name = "@", return_raw)]
    pub fn product(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Dynamic> {
        let columns = b.dims().last().copied().unwrap_or(1);
        let cost = steps(&a).saturating_mul(columns);
        Ok(super::super::value_of(heavy(&ctx, cost, move || matmul::matmul(&a, &b))?)?)
    }

    /// Negates every element.
    #[rhai_fn(name = "-", return_raw)]
    pub fn neg(ctx: NativeCallContext, t: Tensor) -> Fallible<Tensor> {
        super::super::on(&ctx, &t, arithmetic::neg)
    }

    /// Returns a mask that is 1 where both are not 0.
    #[rhai_fn(name = "&", return_raw)]
    pub fn and(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        super::masked(&ctx, a, b, masks::and)
    }

    /// Returns a mask that is 1 where at least one of both is not 0.
    #[rhai_fn(name = "|", return_raw)]
    pub fn or(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        super::masked(&ctx, a, b, masks::or)
    }

    /// Returns a mask that is 1 where exactly one of both is not 0.
    #[rhai_fn(name = "^", return_raw)]
    pub fn xor(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        super::masked(&ctx, a, b, masks::xor)
    }

    /// Returns a mask that is 1 where the tensor is 0.
    #[rhai_fn(name = "!", return_raw)]
    pub fn not(ctx: NativeCallContext, t: Tensor) -> Fallible<Tensor> {
        super::super::on(&ctx, &t, masks::not)
    }
}
