//! Reductions over chosen axes: sums, moments, extremes, norms, quantiles.
//!
//! Sums are computed in f64 and in a fixed order, so that they are the same on any number of threads, and ten million ones
//! give ten million. Sums, extremes and quantiles of NaN are NaN.

mod gradient;

use candle_core::{DType, Tensor};

use super::element::{self, BLOCK, Element, dispatch};
use super::{Number, axes, dtype, walk};
use crate::base::{Result, parallel};
use crate::options::{Plain, Setting};
use crate::{bail, err};

crate::options! {
    pub struct KeepdimOptions {
        /// Whether reduced axes are kept, with size 1.
        keepdim: bool = false;
    }

    pub struct CorrectionOptions {
        /// Number that is subtracted from the number of observations; 0 gives the population's variance.
        correction: f64 = 1.0 => at_least(0.0);
    }

    pub struct NormOptions {
        /// The power; with 1 the norm is the sum of absolute values, with 0 the number of elements that are not 0, with
        /// "inf" the largest absolute value.
        p: NormPower = NormPower(2.0);
    }
}

/// The power of a norm: a number, or "inf".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormPower(pub f64);

impl Setting for NormPower {
    fn wanted() -> String {
        "a number or \"inf\"".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(text) => (text == "inf").then_some(Self(f64::INFINITY)),
            number => f64::of(number).map(Self),
        }
    }

    fn written(&self) -> String {
        self.0.written()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reduction {
    Sum,
    Prod,
    Mean,
    /// sum (x - mean)^2 / (n - correction).
    Var {
        correction: f64,
    },
    Std {
        correction: f64,
    },
    Min,
    Max,
    /// 1 if any element is not 0, else 0.
    Any,
    All,
    /// (sum |x|^p)^(1/p); for p = 0 the number of elements that are not 0, for infinity the largest |x|.
    Norm {
        p: f64,
    },
    /// log sum exp(x).
    LogSumExp,
    /// The middle element in order, or the mean of the two middle ones.
    Median,
    /// Linear interpolation between the two nearest ranks, for q from 0 to 1.
    Quantile {
        q: f64,
    },
}

use Reduction::*;

impl Reduction {
    /// Names what is taken of the elements, for errors.
    fn word(self) -> &'static str {
        match self {
            Sum => "sum",
            Prod => "prod",
            Mean => "mean",
            Var { .. } => "var",
            Std { .. } => "std",
            Min => "min",
            Max => "max",
            Any => "any",
            All => "all",
            Norm { .. } => "norm",
            LogSumExp => "logsumexp",
            Median => "median",
            Quantile { .. } => "quantile",
        }
    }
}

/// Reduces a tensor over axes. Sums of integers are i64, extremes keep the dtype, all others of integers are f32.
pub fn reduce(t: &Tensor, how: Reduction, over: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    let over = axes::axes(over, t.rank())?;
    check(t, how, &over)?;
    let dims = axes::reduced(t.dims(), &over, keepdim);
    let to = result_dtype(t.dtype(), how);
    if in_integers(t.dtype(), how) {
        let values = element::int_tensor(integers(t, how, &over)?, &dims, t.device())?;
        dtype::cast(&values, to)
    } else {
        let result = element::tensor(floats(t, how, &over)?, &dims, to, t.device())?;
        // The others have the derivative 0 wherever they have one.
        let passes = !matches!(how, Any | All | Norm { p: 0.0 });
        if t.track_op() && passes { gradient::noted(result, t, how, over) } else { Ok(result) }
    }
}

/// Reduces the whole tensor to a plain number, in full precision.
pub fn number(t: &Tensor, how: Reduction) -> Result<Number> {
    let over = axes::axes(None, t.rank())?;
    check(t, how, &over)?;
    if in_integers(t.dtype(), how) {
        Ok(Number::Int(integers(t, how, &over)?[0]))
    } else {
        let value = floats(t, how, &over)?[0];
        Ok(if matches!(how, Any | All) { Number::Int(value as i64) } else { Number::Float(value) })
    }
}

fn in_integers(of: DType, how: Reduction) -> bool {
    !dtype::is_float(of) && matches!(how, Sum | Prod | Min | Max)
}

fn result_dtype(of: DType, how: Reduction) -> DType {
    match how {
        Any | All => DType::U8,
        Min | Max => of,
        Sum | Prod if !dtype::is_float(of) => DType::I64,
        _ => dtype::float_for(of),
    }
}

/// Bytes of a row's result: an integer that may not fit, the one that does, and two more on the way to the dtype.
const RESULT: usize = size_of::<Option<i64>>() + 3 * size_of::<i64>();

/// Refuses reductions that are undefined: the mean of no elements, the variance of one, a quantile above 1.
fn check(t: &Tensor, how: Reduction, over: &[usize]) -> Result<()> {
    let rows = (0..t.rank()).filter(|axis| !over.contains(axis)).map(|axis| t.dims()[axis]).product();
    element::room_for_rows(rows, RESULT)?;
    let count: usize = over.iter().map(|a| t.dims()[*a]).product();
    let answers_for_nothing = matches!(how, Sum | Prod | Any | All | Norm { .. });
    if count == 0 && !answers_for_nothing {
        bail!(Numeric, "expected elements to take the {} of, found none: shape {:?}", how.word(), t.dims());
    }
    match how {
        Var { correction } | Std { correction } => {
            if !(correction >= 0.0 && correction.is_finite()) {
                bail!(Argument, "expected a correction of 0 or more, found {correction}");
            }
            if count as f64 <= correction {
                return Err(err!(Numeric, "expected more than {correction} elements for a variance, found {count}")
                    .hint("`t.variance(0, #{ correction: 0 })` divides the sum of squares by their number"));
            }
        }
        Quantile { q } if !(0.0..=1.0).contains(&q) => bail!(Argument, "expected a quantile from 0 to 1, found {q}"),
        Norm { p } if p.is_nan() => bail!(Argument, "expected a power p, found NaN"),
        _ => {}
    }
    Ok(())
}

fn integers(t: &Tensor, how: Reduction, over: &[usize]) -> Result<Vec<i64>> {
    let rows = dispatch!(t.dtype(), T => walk::each::<T, _>(t, over, |row| {
        let mut ints = row.iter().map(|x| x.int());
        match how {
            Sum => i64::try_from(ints.map(i128::from).sum::<i128>()).ok(),
            Prod => ints.try_fold(1_i64, i64::checked_mul),
            Min => ints.min(),
            _ => ints.max(),
        }
    }))?;
    rows.into_iter()
        .map(|row| row.ok_or_else(|| err!(Numeric, "the result does not fit i64").hint("cast to f64 first")))
        .collect()
}

fn floats(t: &Tensor, how: Reduction, over: &[usize]) -> Result<Vec<f64>> {
    let t = element::workable(t)?;
    if !t.device().is_cpu()
        && t.elem_count() > 0
        && let Some(found) = there(&t.detach(), how, over)?
    {
        return Ok(found);
    }
    dispatch!(t.dtype(), T => walk::each::<T, _>(&t, over, |row| one(row, how)))
}

/// Reduces a tensor on a GPU, in f64, so that only results are copied from there; None for reductions that are computed
/// on the CPU.
fn there(t: &Tensor, how: Reduction, over: &[usize]) -> Result<Option<Vec<f64>>> {
    let wide = || t.to_dtype(DType::F64);
    // From the last axis on: a GPU gives each number of a result to one block of threads.
    let summed = |mut t: Tensor| -> Result<Tensor> {
        let mut axes = over.to_vec();
        axes.sort_unstable_by(|a, b| b.cmp(a));
        for axis in axes {
            t = t.sum_keepdim(axis)?;
        }
        Ok(t)
    };
    let count: usize = over.iter().map(|axis| t.dims()[*axis]).product();
    let found = match how {
        Sum => summed(wide()?)?,
        Mean => (summed(wide()?)? / count as f64)?,
        Norm { p: 2.0 } => summed(wide()?.sqr()?)?.sqrt()?,
        Var { correction } | Std { correction } => {
            let mean = (summed(wide()?)? / count as f64)?;
            let squares = summed(wide()?.broadcast_sub(&mean)?.sqr()?)?;
            let variance = (squares / (count as f64 - correction))?;
            if matches!(how, Std { .. }) { variance.sqrt()? } else { variance }
        }
        _ => return Ok(None),
    };
    Ok(Some(found.flatten_all()?.to_vec1()?))
}

fn one<T: Element>(row: &[T], how: Reduction) -> f64 {
    let count = row.len() as f64;
    match how {
        Sum => total(row, |x| x),
        Prod => row.iter().map(|x| x.float()).product(),
        Mean => total(row, |x| x) / count,
        Var { correction } => variance(row, correction),
        Std { correction } => variance(row, correction).sqrt(),
        Min => row.iter().map(|x| x.float()).fold(f64::INFINITY, f64_min),
        Max => row.iter().map(|x| x.float()).fold(f64::NEG_INFINITY, f64_max),
        Any => f64::from(u8::from(row.iter().any(|x| x.float() != 0.0))),
        All => f64::from(u8::from(row.iter().all(|x| x.float() != 0.0))),
        Norm { p } => norm(row, p),
        LogSumExp => log_sum_exp(row),
        Median => quantile(row, 0.5),
        Quantile { q } => quantile(row, q),
    }
}

/// Computes the sum of `f` over a row: in blocks of fixed size, each in eight lanes, so that the order does not depend
/// on threads.
fn total<T: Element>(row: &[T], f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let block = |block: &[T]| {
        let mut lanes = [0.0; 8];
        let eights = block.chunks_exact(8);
        let rest: f64 = eights.remainder().iter().map(|x| f(x.float())).sum();
        for eight in eights {
            for (lane, x) in lanes.iter_mut().zip(eight) {
                *lane += f(x.float());
            }
        }
        lanes.iter().sum::<f64>() + rest
    };
    if row.len() <= BLOCK {
        return block(row);
    }
    let sums: Vec<f64> =
        parallel::map(row.len().div_ceil(BLOCK), &|at| block(&row[at * BLOCK..row.len().min((at + 1) * BLOCK)]));
    sums.iter().sum()
}

fn variance<T: Element>(row: &[T], correction: f64) -> f64 {
    let count = row.len() as f64;
    let mean = total(row, |x| x) / count;
    total(row, |x| (x - mean) * (x - mean)) / (count - correction)
}

fn f64_min(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

fn f64_max(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

fn norm<T: Element>(row: &[T], p: f64) -> f64 {
    let sizes = row.iter().map(|x| x.float().abs());
    match p {
        f64::INFINITY => sizes.fold(0.0, f64_max),
        f64::NEG_INFINITY if row.is_empty() => 0.0,
        f64::NEG_INFINITY => sizes.fold(f64::INFINITY, f64_min),
        0.0 => total(row, |x| f64::from(u8::from(x != 0.0))),
        1.0 => total(row, f64::abs),
        2.0 => total(row, |x| x * x).sqrt(),
        p => total(row, |x| x.abs().powf(p)).powf(1.0 / p),
    }
}

fn log_sum_exp<T: Element>(row: &[T]) -> f64 {
    let most = row.iter().map(|x| x.float()).fold(f64::NEG_INFINITY, f64_max);
    // If it is infinite or NaN, it is the result, and subtracting it would give NaN.
    if most.is_finite() { most + total(row, |x| (x - most).exp()).ln() } else { most }
}

fn quantile<T: Element>(row: &[T], q: f64) -> f64 {
    let mut sorted: Vec<f64> = row.iter().map(|x| x.float()).collect();
    if sorted.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let place = q * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let part = place.fract();
    let (_, low, above) = sorted.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    // Equal neighbours are not interpolated: between two infinities that would give NaN.
    match above.iter().copied().min_by(f64::total_cmp) {
        Some(high) if part > 0.0 && high != low => low + (high - low) * part,
        _ => low,
    }
}

#[cfg(test)]
mod tests;
