//! Element types: their names, promotion, and casts that refuse numbers that do not fit.

use candle_core::{DType, Tensor};

use super::element;
use crate::common::*;
use crate::options::{Plain, Setting};

/// All dtypes that scripts may use.
pub const ALL: [DType; 10] = [
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::U32,
    DType::U8,
    DType::I32,
    DType::I16,
    DType::F8E4M3,
];

/// The names of the dtypes in [`ALL`].
const NAMES: [&str; ALL.len()] = ["f32", "f64", "f16", "bf16", "i64", "u32", "u8", "i32", "i16", "f8e4m3"];

impl Setting for DType {
    const CHOICES: &'static [&'static str] = &NAMES;

    fn wanted() -> String {
        "the name of a dtype".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Text(name) = value else { return None };
        named(name)
    }

    fn written(&self) -> String {
        format!("{:?}", self.as_str())
    }
}

crate::options! {
    pub struct DTypeOptions {
        /// The dtype of the elements.
        dtype: DType = DType::F32;
    }
}

pub fn parse(name: &str) -> Result<DType> {
    named(name).ok_or_else(|| {
        err!(Name, "expected the name of a dtype, found `{name}`").maybe_hint(names::suggestion(name, NAMES))
    })
}

fn named(name: &str) -> Option<DType> {
    ALL.into_iter().find(|dtype| dtype.as_str() == name)
}

pub fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3)
}

/// Returns the promoted dtype of two: a float one before an integer one, the wider of two, and where neither contains
/// the other (f16 and bf16, u32 and i32) the next wider one.
pub fn promote(a: DType, b: DType) -> DType {
    use DType::*;
    match (a, b) {
        _ if a == b => a,
        _ if is_float(a) && !is_float(b) => a,
        _ if is_float(b) && !is_float(a) => b,
        (F64, _) | (_, F64) => F64,
        (F32, _) | (_, F32) => F32,
        (F8E4M3, wide) | (wide, F8E4M3) => wide,
        (F16 | BF16, _) => F32,
        (I64, _) | (_, I64) => I64,
        (U32, U8) | (U8, U32) => U32,
        (U32, _) | (_, U32) => I64,
        (I32, _) | (_, I32) => I32,
        _ => I16,
    }
}

/// Returns the float dtype for element-wise functions of `dtype`: `dtype` itself, or f32 for integers and f8.
pub fn float_for(dtype: DType) -> DType {
    if is_float(dtype) && dtype != DType::F8E4M3 { dtype } else { DType::F32 }
}

/// Converts without a check: to integers only numbers that are known to fit.
pub fn convert(t: &Tensor, to: DType) -> Result<Tensor> {
    // GPUs run no kernel on nothing.
    if t.elem_count() == 0 && t.dtype() != to {
        return Ok(Tensor::zeros(t.dims(), to, t.device())?);
    }
    // candle 0.11 never returns from converting f8 to f64; through f32 it is exact.
    let wide = t.dtype() == DType::F8E4M3 && to == DType::F64;
    let t = if wide { t.to_dtype(DType::F32)? } else { t.clone() };
    Ok(t.to_dtype(to)?)
}

/// Rounds a number to a float dtype.
pub fn rounded(x: f64, to: DType) -> f64 {
    match to {
        DType::F32 => f64::from(x as f32),
        DType::F16 => half::f16::from_f64(x).to_f64(),
        DType::BF16 => half::bf16::from_f64(x).to_f64(),
        DType::F8E4M3 if x != 0.0 => {
            // Four significant bits; below 2^-6 the last one has a fixed value.
            let last = 2.0_f64.powf(x.abs().log2().floor().max(-6.0) - 3.0);
            (x / last).round_ties_even() * last
        }
        _ => x,
    }
}

/// Casts, and refuses numbers that do not fit the integer dtype; floats are truncated towards zero.
pub fn cast(t: &Tensor, to: DType) -> Result<Tensor> {
    if t.dtype() == to {
        return Ok(t.clone());
    }
    if let Some((below, above)) = bounds(to) {
        element::detached(&format!("to(\"{}\")", to.as_str()), t)?;
        let element::Extent { least, most, nans } = element::extent(t)?;
        if nans > 0 {
            bail!(Argument, "expected numbers that fit {}, found {nans} NaN", to.as_str());
        }
        if least <= below || most >= above {
            let found = if least <= below { least } else { most };
            return Err(err!(Argument, "expected numbers that fit {}, found {found}", to.as_str())
                .hint("clamp them first, or choose a wider dtype"));
        }
    }
    convert(t, to)
}

/// Returns the numbers next to the range of an integer dtype, below and above. Floats are truncated, so -0.9 fits where
/// 0 does.
fn bounds(dtype: DType) -> Option<(f64, f64)> {
    let power = |n: i32| 2.0_f64.powi(n);
    match dtype {
        DType::U8 => Some((-1.0, power(8))),
        DType::U32 => Some((-1.0, power(32))),
        DType::I16 => Some((-power(15) - 1.0, power(15))),
        DType::I32 => Some((-power(31) - 1.0, power(31))),
        DType::I64 => Some(((-power(63)).next_down(), power(63))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;

    #[test]
    fn promotion_is_symmetric_and_never_narrows() {
        for a in ALL {
            for b in ALL {
                assert_eq!(promote(a, b), promote(b, a), "{a:?} {b:?}");
                assert_eq!(is_float(promote(a, b)), is_float(a) || is_float(b));
            }
        }
        assert_eq!(promote(DType::F16, DType::BF16), DType::F32);
        assert_eq!(promote(DType::I64, DType::F16), DType::F16);
        assert_eq!(promote(DType::U32, DType::I32), DType::I64);
    }

    #[test]
    fn casts_reach_every_dtype_and_come_back() {
        let t = create::from_floats(vec![0.0, 1.0, 2.0, 100.0], &[2, 2], DType::F32).unwrap();
        for dtype in ALL {
            let there = cast(&t, dtype).unwrap();
            assert_eq!(there.dtype(), dtype);
            let back = element::floats(&cast(&there, DType::F32).unwrap()).unwrap();
            let expected = if dtype == DType::F8E4M3 { 96.0 } else { 100.0 };
            assert_eq!(back, [0.0, 1.0, 2.0, expected], "{dtype:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let t = |x: f64| create::from_floats(vec![x], &[1], DType::F64).unwrap();
        assert!(cast(&t(256.0), DType::U8).unwrap_err().message.contains("found 256"));
        assert!(cast(&t(-1.0), DType::U32).is_err());
        assert!(cast(&t(f64::NAN), DType::I64).unwrap_err().message.contains("1 NaN"));
        assert!(cast(&t(f64::INFINITY), DType::I64).is_err());
        assert_eq!(element::ints(&cast(&t(-0.9), DType::U8).unwrap()).unwrap(), [0]);
        assert_eq!(element::ints(&cast(&t(255.9), DType::U8).unwrap()).unwrap(), [255]);
    }

    #[test]
    fn a_wrong_name_is_answered() {
        assert_eq!(ALL.map(|dtype| dtype.as_str()), NAMES);
        assert_eq!(
            parse("float32").unwrap_err().hint.unwrap(),
            "expected one of bf16, f16, f32, f64, f8e4m3, i16, i32, i64, u32, u8"
        );
        assert_eq!(parse("bf-16").unwrap_err().hint.unwrap(), "did you mean `bf16`?");
    }
}
