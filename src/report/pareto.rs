//! The chart of dictionaries compared by FVE and L0.

use super::chart::{Axis, Chart, Series};
use crate::base::results::MISSING;
use crate::sae::metrics::Pareto;

/// Builds the chart of FVE against L0, with a line for each kind.
pub fn chart(pareto: &Pareto) -> Chart {
    let series = pareto.lines().into_iter().map(|(name, points)| Series {
        name,
        x: points.iter().map(|point| point.l0).collect(),
        y: points.iter().map(|point| point.fve.unwrap_or(MISSING)).collect(),
        ..Series::default()
    });
    // A negative FVE, as of a dictionary of another site, would leave no room for all others.
    let is_below = pareto.points.iter().any(|point| point.fve.is_some_and(|fve| fve < 0.0));
    let more = if is_below { " (negative values are in the table)" } else { "" };
    Chart {
        title: "FVE against L0".into(),
        x: Axis { label: "L0: codes per row that are not 0".into(), log: true, ..Axis::default() },
        y: Axis {
            label: format!("fraction of variance explained{more}"),
            range: is_below.then_some([0.0, 1.0]),
            ..Axis::default()
        },
        ..Chart::line(series.collect())
    }
}
