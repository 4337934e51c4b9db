//! Covariance and correlation, histograms, counts, distinct values.

use super::{arrays, growing, on};
use crate::script::prelude::*;
use crate::tensor::reduce::CorrectionOptions;
use crate::tensor::statistics::{BincountOptions, HistogramOptions};
use crate::tensor::{statistics, steps};

/// Computes the cost of a product of each column with each.
fn pairs(t: &Tensor) -> usize {
    steps(t).saturating_mul(t.dims().last().copied().unwrap_or(1))
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the covariance matrix of the columns of a matrix whose rows are observations.
    ///
    /// # Options
    /// - [correction]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [2, 4], [3, 6]]).covariance()  //=> tensor([[1.0, 2.0], [2.0, 4.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn covariance(ctx: NativeCallContext, t: &mut Tensor, options: Options) -> Fallible<Tensor> {
        let CorrectionOptions { correction } = taken(options)?;
        growing(&ctx, t, super::pairs(t), move |t| statistics::covariance(t, correction))
    }

    /// Computes pearson correlations of the columns of a matrix whose rows are observations, or of two vectors.
    ///
    /// The correlation with a constant column is NaN.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3]).corr(tensor([-1, -2, -3]))  //=> -1.0
    /// tensor([[1, 2], [2, 4], [3, 6]]).corr().shape  //=> [2, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn corr(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        growing(&ctx, t, super::pairs(t), statistics::correlation)
    }

    #[rhai_fn(global, name = "corr", pure, return_raw)]
    pub fn corr_of(ctx: NativeCallContext, t: &mut Tensor, other: Tensor) -> Fallible<Dynamic> {
        Ok(super::super::value_of(on(&ctx, t, move |t| statistics::correlation_of(t, &other))?)?)
    }

    /// Counts elements in evenly spaced bins: `edges`, one more than bins, and `counts`.
    ///
    /// The last bin includes its upper edge. How many elements are in no bin is counted apart: `nan`, `infinite`, and
    /// `outside`, those beyond the range.
    ///
    /// # Options
    /// - [tensor_histogram]
    ///
    /// # Example
    /// ```
    /// let h = tensor([0, 1, 1, 4]).histogram(2);
    /// h.counts  //=> [3, 1]
    /// h.edges  //=> [0.0, 2.0, 4.0]
    /// tensor([0, 1, 4]).log().histogram(1)  //=> #{ counts: [2], edges: [0.0, 1.3862944], infinite: 1, nan: 0, outside: 0 }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn histogram(ctx: NativeCallContext, t: &mut Tensor, bins: Int, options: Options) -> Fallible<Map> {
        let HistogramOptions { range } = taken(options)?;
        let bins = given("bins", &bins).size()?;
        let (found, left) = growing(&ctx, t, bins, move |t| statistics::histogram(t, bins, range))?;
        let task = &env(&ctx)?.task;
        let edges = arrays::heard(found.edges.into_iter().map(|edge| Ok(edge.into())), task)?;
        let counts = arrays::heard(found.counts.into_iter().map(|count| Ok((count as i64).into())), task)?;
        let number = |count: u64| Dynamic::from(count as i64);
        Ok(Map::from_iter([
            ("edges".into(), edges.into()),
            ("counts".into(), counts.into()),
            ("nan".into(), number(left.nan)),
            ("infinite".into(), number(left.infinite)),
            ("outside".into(), number(left.outside)),
        ]))
    }

    /// Counts how often each of 0, 1, 2, .. occurs in a tensor of integers.
    ///
    /// # Options
    /// - [bincount]
    ///
    /// # Example
    /// ```
    /// tensor([1, 3, 1], #{ dtype: "i64" }).bincount()  //=> tensor([0, 2, 0, 1], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn bincount(ctx: NativeCallContext, t: &mut Tensor, options: Options) -> Fallible<Tensor> {
        let BincountOptions { length } = taken(options)?;
        // The result is as long as the largest element says.
        growing(&ctx, t, usize::MAX, move |t| statistics::bincount(t, length))
    }

    /// Returns the distinct elements in ascending order as `values`, and how often each occurs as `counts`.
    ///
    /// # Example
    /// ```
    /// let u = tensor([3, 1, 3]).unique();
    /// u.values  //=> tensor([1.0, 3.0])
    /// u.counts  //=> tensor([1, 2], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn unique(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Map> {
        let (values, counts) = on(&ctx, t, statistics::unique)?;
        Ok(Map::from_iter([("values".into(), Dynamic::from(values)), ("counts".into(), Dynamic::from(counts))]))
    }
}
