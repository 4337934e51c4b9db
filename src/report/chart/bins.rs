//! From values to a histogram: edges that suit the data, and counts between them.

use super::{Axis, BinOptions, Chart, Content, Counts};
use crate::base::Result;
use crate::base::results::is_missing;
use crate::{bail, err};

/// A histogram of several named lists of values over common edges. The last bin holds its upper edge, too.
pub fn binned(named: Vec<(String, Vec<f64>)>, bins: &BinOptions) -> Result<Chart> {
    for (name, values) in &named {
        if values.is_empty() {
            let error = err!(Argument, "expected at least one value, found none");
            return Err(if name.is_empty() { error } else { error.within(format_args!("series `{name}`")) });
        }
    }
    let fits = |v: &f64| v.is_finite() && (!bins.log || *v > 0.0);
    let mut all: Vec<f64> = named.iter().flat_map(|(_, values)| values).copied().filter(fits).collect();
    all.sort_by(f64::total_cmp);
    let edges = edges(&all, bins)?;
    let series = named.into_iter().map(|(name, values)| counted(name, &values, &edges, bins.log)).collect();
    let mut chart = Chart::new(Content::Histogram { edges, series });
    chart.x.log = bins.log;
    chart.y = Axis { label: "count".into(), ..Axis::default() };
    chart.check()?;
    Ok(chart)
}

fn edges(sorted: &[f64], bins: &BinOptions) -> Result<Vec<f64>> {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        let wanted = if bins.log { "a finite value above zero" } else { "a finite value" };
        bail!(Argument, "expected {wanted} to count, found none");
    };
    let [low, high] = bins.range.unwrap_or([*first, *last]);
    if !(low.is_finite() && high.is_finite() && low <= high && (!bins.log || low > 0.0)) {
        return Err(err!(Argument, "expected finite ends in rising order for the bins, found {low} and {high}")
            .about(if bins.range.is_some() { "range" } else { "values" }));
    }
    let scale = super::super::scale::Scale::new(low, high, bins.log);
    let count = match bins.bins {
        Some(count @ 1..=10_000) => count,
        Some(count) => return Err(err!(Argument, "expected from 1 to 10,000 bins, found {count}").about("bins")),
        None => suggested(sorted, &scale),
    };
    let mut edges: Vec<f64> = (0..=count).map(|i| scale.value(i as f64 / count as f64)).collect();
    // The ends exactly, whatever the interpolation rounds to: the extremes must not fall outside.
    edges[0] = scale.low;
    edges[count] = scale.high;
    if !edges.windows(2).all(|w| w[0] < w[1]) {
        return Err(err!(Argument, "expected values further apart for {count} bins, found {low} to {high}")
            .hint("ask for fewer bins"));
    }
    Ok(edges)
}

/// Freedman and Diaconis 1981: bins of width 2 IQR / n^(1/3).
fn suggested(sorted: &[f64], scale: &super::super::scale::Scale) -> usize {
    let quantile = |share: f64| scale.share(sorted[((sorted.len() - 1) as f64 * share) as usize]);
    let width = 2.0 * (quantile(0.75) - quantile(0.25)) / (sorted.len() as f64).cbrt();
    if width > 0.0 { (1.0 / width).ceil().clamp(10.0, 80.0) as usize } else { 20 }
}

fn counted(name: String, values: &[f64], edges: &[f64], log: bool) -> Counts {
    let mut found = Counts { name, counts: vec![0; edges.len() - 1], ..Counts::default() };
    let last = edges[edges.len() - 1];
    for value in values.iter().filter(|value| !is_missing(**value)) {
        if !value.is_finite() {
            found.not_finite += 1;
        } else if log && *value <= 0.0 {
            found.not_positive += 1;
        } else if *value < edges[0] || *value > last {
            found.outside += 1;
        } else {
            let bin = edges.partition_point(|edge| edge <= value).saturating_sub(1);
            found.counts[bin.min(edges.len() - 2)] += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::results::MISSING;

    fn of(values: Vec<f64>, bins: BinOptions) -> (Vec<f64>, Counts) {
        match binned(vec![(String::new(), values)], &bins).unwrap().content.as_ref() {
            Content::Histogram { edges, series } => (edges.clone(), series[0].clone()),
            other => panic!("not a histogram: {other:?}"),
        }
    }

    #[test]
    fn every_value_is_counted_once_the_last_edge_included() {
        let (edges, found) = of(vec![0.0, 1.0, 2.0, 3.0, 4.0], BinOptions { bins: Some(4), ..BinOptions::default() });
        assert_eq!(edges, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found.counts, [1, 1, 1, 2]);
    }

    #[test]
    fn what_cannot_be_counted_is_said() {
        let bins = BinOptions { bins: Some(3), log: true, range: None };
        let (edges, found) = of(vec![1.0, 10.0, 1000.0, -1.0, 0.0, f64::NAN, MISSING, f64::INFINITY], bins);
        assert_eq!((edges[0], edges[3]), (1.0, 1000.0));
        assert_eq!((found.counts.iter().sum::<u64>(), found.not_finite, found.not_positive), (3, 2, 2));
        assert!(binned(vec![("a".into(), vec![])], &BinOptions::default()).is_err());
        assert!(binned(vec![("a".into(), vec![f64::NAN])], &BinOptions::default()).is_err());
    }

    #[test]
    fn constants_and_single_values_have_a_bin() {
        for values in [vec![3.0], vec![3.0; 100], vec![0.0], vec![1e308, -1e308]] {
            let n = values.len() as u64;
            assert_eq!(of(values, BinOptions::default()).1.counts.iter().sum::<u64>(), n);
        }
    }
}
