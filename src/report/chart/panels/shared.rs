//! Axes that panels have in common: one range that holds the data of all of them.

use super::*;

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::X => "x",
            Direction::Y => "y",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Direction::X => "share_x",
            Direction::Y => "share_y",
        }
    }

    fn axis(self, chart: &mut Chart) -> &mut Axis {
        match self {
            Direction::X => &mut chart.x,
            Direction::Y => &mut chart.y,
        }
    }

    fn scale(self, chart: &Chart) -> Result<Scale> {
        Ok(chart.content.kind().view(chart)?.scale(self))
    }

    /// Returns the categories of a chart that stand along the axis.
    fn categories(self, chart: &Chart) -> Option<&[String]> {
        let along = chart.content.kind().categories().filter(|(direction, _)| *direction == self);
        along.map(|(_, names)| names)
    }
}

impl Panels {
    /// Returns the charts row by row, with the ranges of the axes that they share.
    pub(super) fn shared(&self) -> Result<Vec<Vec<Option<Chart>>>> {
        let mut rows = self.rows.clone();
        for (sharing, direction) in [(self.share_x, Direction::X), (self.share_y, Direction::Y)] {
            match (sharing, direction) {
                (Sharing::None, _) => {}
                (Sharing::All, _) => share(rows.iter_mut().flatten().flatten().collect(), direction)?,
                (Sharing::Line, Direction::X) => {
                    for column in 0..self.columns() {
                        share(rows.iter_mut().filter_map(|row| row[column].as_mut()).collect(), direction)?;
                    }
                }
                (Sharing::Line, Direction::Y) => {
                    for row in &mut rows {
                        share(row.iter_mut().flatten().collect(), direction)?;
                    }
                }
            }
        }
        Ok(rows)
    }
}

/// Gives all charts the range of one axis that holds those of each of them.
fn share(charts: Vec<&mut Chart>, direction: Direction) -> Result<()> {
    let name = direction.name();
    let refused = |what: &str, found: String| {
        Err(err!(Argument, "expected {what} to share one {name} axis, found {found}").about(direction.option()))
    };
    if charts.len() < 2 {
        return Ok(());
    }
    if let Some(heat) = charts.iter().find(|chart| matches!(*chart.content, ChartContent::Heat(_))) {
        return refused("charts between two axes", heat.short());
    }
    let categories: Vec<_> = charts.iter().map(|chart| direction.categories(chart)).collect();
    if categories.iter().any(Option::is_some) {
        let is_one = categories.iter().all(|other| *other == categories[0]);
        let found = || charts.iter().map(|chart| chart.short()).collect::<Vec<_>>().join(" and ");
        return if is_one { Ok(()) } else { refused("bars with the same labels", found()) };
    }
    let scales: Vec<Scale> = charts.iter().map(|chart| direction.scale(chart)).collect::<Result<_>>()?;
    if scales.iter().any(|scale| scale.log != scales[0].log) {
        return refused("axes of one kind", "a logarithmic and a linear one".into());
    }
    let reversed = scales[0].reversed;
    if scales.iter().any(|scale| scale.reversed != reversed) {
        return refused("axes of one direction", "a reversed one and another".into());
    }
    let low = scales.iter().map(|scale| scale.low).fold(f64::INFINITY, f64::min);
    let high = scales.iter().map(|scale| scale.high).fold(f64::NEG_INFINITY, f64::max);
    for chart in charts {
        direction.axis(chart).range = Some(if reversed { [high, low] } else { [low, high] });
    }
    Ok(())
}
