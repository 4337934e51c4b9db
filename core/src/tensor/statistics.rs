//! Statistics: covariance and correlation, histograms, counts, distinct values, several quantiles at once.

use candle_core::{DType, Tensor};

use super::element::{self, BLOCK, Element, dispatch};
use super::index::{self, AxisIndex};
use super::reduce::{self, Reduction};
use super::{Number, arithmetic, compare, dtype, matmul, shape};
use crate::base::results::Histogram;
use crate::common::*;

crate::options! {
    pub struct HistogramOptions {
        /// The lower and the upper bound.
        range: Option<[f64; 2]> = None => usually("from the smallest to the largest element");
    }

    pub struct BincountOptions {
        /// The smallest number of counts.
        length: usize = 0;
    }
}

/// Computes the covariance matrix of the columns of a matrix whose rows are observations: sum (x - mean x)(y - mean y)
/// / (n - correction).
pub fn covariance(t: &Tensor, correction: f64) -> Result<Tensor> {
    let (centred, count) = centred(t)?;
    if correction.is_nan() || correction < 0.0 {
        bail!(Argument, "expected a correction of 0 or more, found {correction}");
    }
    if count as f64 <= correction {
        bail!(Numeric, "expected more than {correction} rows for a covariance, found {count}");
    }
    let products = matmul::matmul(&centred.transpose(0, 1)?, &centred)?;
    Ok((products / (count as f64 - correction))?.to_dtype(dtype::float_for(t.dtype()))?)
}

/// Computes Pearson correlations of the columns of a matrix whose rows are observations; NaN for a constant column.
pub fn correlation(t: &Tensor) -> Result<Tensor> {
    let (centred, _) = centred(t)?;
    let products = matmul::matmul(&centred.transpose(0, 1)?, &centred)?;
    let sizes = shape::diag(&products, 0)?.sqrt()?;
    let correlations = (products / matmul::outer(&sizes, &sizes)?)?;
    let within = compare::clamp(&correlations, Some(Number::Float(-1.0)), Some(Number::Float(1.0)))?;
    Ok(within.to_dtype(dtype::float_for(t.dtype()))?)
}

/// Computes the Pearson correlation of two vectors, a number in f64.
pub fn correlation_of(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() != 1 || a.dims() != b.dims() {
        bail!(Shape, "expected two vectors of the same length, found shapes {:?} and {:?}", a.dims(), b.dims());
    }
    let pair = shape::stack(&[dtype::convert(a, DType::F64)?, dtype::convert(b, DType::F64)?], 1)?;
    index::get(&correlation(&pair)?, &[AxisIndex::At(0), AxisIndex::At(1)])
}

/// Returns the centred columns, in f64, and the number of rows.
fn centred(t: &Tensor) -> Result<(Tensor, usize)> {
    let &[rows, columns] = t.dims() else {
        bail!(Shape, "expected a matrix with observations as rows, found shape {:?}", t.dims());
    };
    if rows == 0 {
        bail!(Numeric, "expected rows to take the covariance of, found none: shape {:?}", t.dims());
    }
    element::room(&[columns, columns], DType::F64)?;
    let wide = dtype::convert(t, DType::F64)?;
    let means = reduce::reduce(&wide, Reduction::Mean, Some(&[0]), true)?;
    Ok((arithmetic::sub(&wide.into(), &means.into())?, rows))
}

/// Bytes of a bin: an edge and a count, each also as a value of a script.
const BIN: u128 = 2 * 8 + 2 * 16;

/// Number of elements that are in no bin of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    pub nan: u64,
    pub infinite: u64,
    /// Finite elements outside the range.
    pub outside: u64,
}

/// Counts elements in evenly spaced bins over `range`, or over all finite elements. The last bin includes its upper
/// edge; NaN, infinities and elements outside the range are in no bin, and counted apart.
pub fn histogram(t: &Tensor, bins: usize, range: Option<[f64; 2]>) -> Result<(Histogram, LeftOut)> {
    if bins == 0 {
        bail!(Argument, "expected at least one bin, found 0");
    }
    element::detached("histogram", t)?;
    memory::check(bins as u128 * BIN, || format!("a histogram of {bins} bins"))?;
    let (low, high) = match range {
        Some([low, high]) if low.is_finite() && high.is_finite() && low < high => (low, high),
        Some([low, high]) => bail!(Argument, "expected a finite range with low < high, found {low} and {high}"),
        None => span(t)?,
    };
    let width = high / bins as f64 - low / bins as f64;
    let mut counts = vec![0_u64; bins];
    let mut left = LeftOut::default();
    let t = element::workable(t)?;
    dispatch!(t.dtype(), T => element::with_slice::<T, _>(&t, |x| {
        for value in x.iter().map(|x| x.float()) {
            match value {
                v if v.is_nan() => left.nan += 1,
                v if v.is_infinite() => left.infinite += 1,
                v if !(low..=high).contains(&v) => left.outside += 1,
                v => counts[(((v - low) / width) as usize).min(bins - 1)] += 1,
            }
        }
        Ok(())
    }))?;
    let edges = (0..=bins).map(|i| if i < bins { low + i as f64 * width } else { high }).collect();
    Ok((Histogram { edges, counts }, left))
}

/// Returns the smallest and largest finite element; an empty range is widened to 1.
fn span(t: &Tensor) -> Result<(f64, f64)> {
    let t = element::workable(t)?;
    let (low, high) = dispatch!(t.dtype(), T => element::with_slice::<T, _>(&t, |x| {
        let finite = x.iter().map(|x| x.float()).filter(|v| v.is_finite());
        Ok(finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v))))
    }))?;
    Ok(if low < high {
        (low, high)
    } else if low.is_finite() {
        (low - 0.5, low + 0.5)
    } else {
        (0.0, 1.0)
    })
}

/// Counts how often each of 0, 1, 2, .. occurs, up to the largest element, and at least up to `length` - 1.
pub fn bincount(t: &Tensor, length: usize) -> Result<Tensor> {
    let values = element::ints(t)?;
    if let Some(negative) = values.iter().find(|v| **v < 0) {
        bail!(Argument, "expected numbers of 0 or more to count, found {negative}");
    }
    let most = values.iter().max().map_or(0, |most| *most as usize + 1).max(length);
    element::room(&[most], DType::I64)?;
    let mut counts = vec![0_i64; most];
    for value in values {
        counts[value as usize] += 1;
    }
    element::int_tensor(counts, &[most], t.device())
}

/// Returns the distinct elements in order, and how often each occurs; all NaN count as one, which is last.
pub fn unique(t: &Tensor) -> Result<(Tensor, Tensor)> {
    element::detached("unique", t)?;
    let (sorted, _) = super::order::sort(&t.flatten_all()?, 0, super::order::Direction::Ascending)?;
    let work = element::workable(&sorted)?;
    let (firsts, counts) = dispatch!(work.dtype(), T => element::with_slice::<T, _>(&work, |x| {
        let is_nan = |v: &T| v.partial_cmp(v).is_none();
        let groups = x.chunk_by(|a, b| a == b || (is_nan(a) && is_nan(b)));
        let mut place = 0;
        let mut found: (Vec<usize>, Vec<i64>) = Default::default();
        for group in groups {
            found.0.push(place);
            found.1.push(group.len() as i64);
            place += group.len();
        }
        Ok(found)
    }))?;
    let count = counts.len();
    Ok((super::index::take(&sorted, &firsts, 0)?, element::int_tensor(counts, &[count], t.device())?))
}

/// Computes several quantiles, as a new first axis.
pub fn quantiles(t: &Tensor, qs: &[f64], over: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    let each: Vec<Tensor> =
        qs.iter().map(|q| reduce::reduce(t, Reduction::Quantile { q: *q }, over, keepdim)).collect::<Result<_>>()?;
    shape::stack(&each, 0)
}

/// The statistics on a card of a tensor. Moments and extremes are of the finite elements only.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub finite: usize,
    pub nan: usize,
    pub infinite: usize,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    /// The standard deviation with n in the denominator, so that it is 0 for one number.
    pub std: f64,
}

pub fn summary(t: &Tensor) -> Result<Summary> {
    let t = element::workable(t)?;
    dispatch!(t.dtype(), T => element::with_slice::<T, _>(&t, |x| Ok(summarised(x))))
}

fn summarised<T: Element>(x: &[T]) -> Summary {
    // Sums by blocks, so that the rounding error stays small in long tensors.
    let total = |f: &mut dyn FnMut(f64) -> f64| -> f64 {
        x.chunks(BLOCK).map(|block| block.iter().map(|x| f(x.float())).sum::<f64>()).sum()
    };
    let mut finite = 0;
    let mut nan = 0;
    let mut infinite = 0;
    let mut min = f64::INFINITY;
    let mut max = f64::NEG_INFINITY;
    let sum = total(&mut |v| {
        nan += usize::from(v.is_nan());
        infinite += usize::from(v.is_infinite());
        if !v.is_finite() {
            return 0.0;
        }
        finite += 1;
        (min, max) = (v.min(min), v.max(max));
        v
    });
    let mean = sum / finite as f64;
    let squares = total(&mut |v| if v.is_finite() { (v - mean) * (v - mean) } else { 0.0 });
    Summary { finite, nan, infinite, min, max, mean, std: (squares / finite as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::{f64s, t};

    #[test]
    fn covariance_and_correlation() {
        for dtype in dtype::ALL {
            let x = t(&[1.0, 2.0, 2.0, 4.0, 3.0, 6.0], &[3, 2], dtype);
            assert_eq!(f64s(&covariance(&x, 1.0).unwrap()), [1.0, 2.0, 2.0, 4.0], "{dtype:?}");
            let r = f64s(&correlation(&x).unwrap());
            assert!(r.iter().all(|r| (r - 1.0).abs() < 1e-6), "{dtype:?} {r:?}");
        }
        let a = t(&[1.0, 2.0, 3.0], &[3], DType::F32);
        let b = t(&[3.0, 2.0, 1.0], &[3], DType::I64);
        assert!((element::floats(&correlation_of(&a, &b).unwrap()).unwrap()[0] + 1.0).abs() < 1e-12);
        assert!(element::floats(&correlation_of(&a, &t(&[1.0; 3], &[3], DType::F32)).unwrap()).unwrap()[0].is_nan());
        assert!(covariance(&t(&[1.0], &[1, 1], DType::F32), 1.0).is_err());
        assert!(covariance(&a, 1.0).is_err() && correlation(&t(&[], &[0, 2], DType::F32)).is_err());
        assert!(correlation_of(&a, &t(&[1.0], &[1], DType::F32)).is_err());
    }

    #[test]
    fn histograms_count_what_is_finite_and_inside_and_say_what_is_not() {
        let x = t(&[0.0, 0.4, 0.5, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY], &[7], DType::F32);
        let (h, left) = histogram(&x, 2, None).unwrap();
        assert_eq!((h.edges, h.counts), (vec![0.0, 0.5, 1.0], vec![2, 2]));
        assert_eq!(left, LeftOut { nan: 1, infinite: 2, outside: 0 });
        let (h, left) = histogram(&x, 1, Some([0.3, 0.45])).unwrap();
        assert_eq!((h.counts, left), (vec![1], LeftOut { nan: 1, infinite: 2, outside: 3 }));
        let (same, _) = histogram(&t(&[3.0; 4], &[4], DType::U8), 4, None).unwrap();
        assert_eq!((same.edges[0], same.counts.iter().sum::<u64>()), (2.5, 4));
        assert_eq!(histogram(&t(&[], &[0], DType::F32), 3, None).unwrap().0.counts, [0, 0, 0]);
        assert!(histogram(&x, 0, None).is_err() && histogram(&x, 2, Some([1.0, 1.0])).is_err());
        assert_eq!(histogram(&x, usize::MAX / 32, None).unwrap_err().kind, crate::base::Kind::Memory);
        let wide = t(&[-f64::MAX, f64::MAX], &[2], DType::F64);
        assert_eq!(histogram(&wide, 2, None).unwrap().0.counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn counts_and_distinct_values() {
        assert_eq!(f64s(&bincount(&t(&[1.0, 3.0, 1.0], &[3], DType::U32), 5).unwrap()), [0.0, 2.0, 0.0, 1.0, 0.0]);
        assert_eq!(bincount(&t(&[], &[0], DType::I64), 0).unwrap().dims(), [0]);
        assert!(
            bincount(&t(&[-1.0], &[1], DType::I64), 0).is_err() && bincount(&t(&[1.0], &[1], DType::F32), 0).is_err()
        );
        let huge = create::from_numbers(&[super::super::Number::Int(i64::MAX)], &[1], DType::I64).unwrap();
        assert_eq!(bincount(&huge, 0).unwrap_err().kind, crate::base::Kind::Memory);
        for dtype in dtype::ALL {
            let (values, counts) = unique(&t(&[3.0, 1.0, 3.0, 2.0], &[2, 2], dtype)).unwrap();
            assert_eq!((f64s(&values), f64s(&counts)), (vec![1.0, 2.0, 3.0], vec![1.0, 1.0, 2.0]));
        }
        let (values, counts) = unique(&t(&[f64::NAN, 1.0, f64::NAN], &[3], DType::F32)).unwrap();
        assert!(f64s(&values)[1].is_nan() && f64s(&counts) == [1.0, 2.0]);
    }

    #[test]
    fn several_quantiles_and_summaries() {
        let x = t(&[0.0, 1.0, 2.0, 3.0], &[2, 2], DType::F32);
        let q = quantiles(&x, &[0.0, 0.5, 1.0], Some(&[0]), false).unwrap();
        assert_eq!((q.dims(), f64s(&q)), (&[3, 2][..], vec![0.0, 1.0, 1.0, 2.0, 2.0, 3.0]));
        let odd = t(&[1.0, 3.0, f64::NAN, f64::INFINITY], &[4], DType::F16);
        let s = summary(&odd).unwrap();
        assert_eq!(s, Summary { finite: 2, nan: 1, infinite: 1, min: 1.0, max: 3.0, mean: 2.0, std: 1.0 });
    }
}
