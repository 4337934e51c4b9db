//! Charts of data as they are given, with all of their options.

use std::sync::Arc;

use super::data::{Data, Named};
use super::options::{
    BarOptions, GridOptions, HeatOptions, HistogramOptions, IntervalOptions, LabelOptions, Labels, LineOptions,
    ScatterOptions,
};
use super::{Bars, Chart, Colours, Content, Series, Spread, binned, colours, grouped};
use crate::base::options::Plain;
use crate::base::{Grid, Result, Task};
use crate::err;

/// A line chart of one series or several.
pub fn line(data: &Plain, options: LineOptions, task: &Task) -> Result<Chart> {
    let data = Data { name: "data", value: data, task };
    let named = renamed(data.series()?, options.names, &data)?;
    let x = options.x_values.map(|given| given.named("x_values", task).numbers()).transpose()?;
    if options.labels.is_some() && named.len() != 1 {
        return Err(err!(Argument, "expected one series with `labels`, found {}", named.len()).about("labels"));
    }
    let labels = options.labels.map_or_else(Vec::new, |Labels(labels)| labels);
    let spreads = options.intervals.spreads(&data, &named)?;
    let series = named.into_iter().zip(spreads).map(|((name, y), mut spread)| {
        if let Some(spread) = &mut spread {
            spread.band = options.band;
        }
        let x = x.clone().unwrap_or_else(|| (0..y.len()).map(|i| i as f64).collect());
        Series { name, x, y, spread, labels: labels.clone() }
    });
    Chart::line(series.collect())
        .labelled(options.label)
        .with_x_axis(&options.x_axis)
        .with_y_axis(&options.y_axis)
        .sized(&options.size)
        .marked_by(&options.marks, task)?
        .checked("data", task)
}

/// A bar chart: one bar for each value, or several side by side.
pub fn bar(data: &Plain, options: BarOptions, task: &Task) -> Result<Chart> {
    let data = Data { name: "data", value: data, task };
    let (names, named) = match data.pairs() {
        Some((names, values)) => (Some(names), vec![(String::new(), values)]),
        None => (None, data.series()?),
    };
    let named = renamed(named, options.names, &data)?;
    let spreads = options.intervals.spreads(&data, &named)?;
    let length = named.first().map_or(0, |(_, values)| values.len());
    if options.labels.is_some() && names.is_some() {
        refuse_beside_map("labels", &data)?;
    }
    let numbered = || (0..length).map(|i| i.to_string()).collect();
    let categories = options.labels.map(|Labels(labels)| labels).or(names).unwrap_or_else(numbered);
    let series = named.into_iter().zip(spreads).map(|((name, values), spread)| Bars { name, values, spread });
    Chart::bar(categories, series.collect())
        .labelled(options.label)
        .with_y_axis(&options.y_axis)
        .sized(&options.size)
        .marked_by(&options.marks, task)?
        .checked("data", task)
}

/// A histogram of one list of values, or of several over the same edges.
pub fn histogram(values: &Plain, options: HistogramOptions, task: &Task) -> Result<Chart> {
    let data = Data { name: "values", value: values, task };
    let named = match values {
        Plain::Map(_) => data.series()?,
        _ => vec![(String::new(), data.numbers()?)],
    };
    let (count, division) = (named.iter().map(|(_, values)| values.len()).sum::<usize>(), options.division);
    // They are sorted, for the width of the bins.
    let chart = task.heavy(16.0 * count as f64, move || binned(named, &division)).map_err(|e| e.about("values"))?;
    chart
        .labelled(LabelOptions { title: options.title, x: options.x, y: Some(options.y) })
        .with_y_axis(&options.y_axis)
        .sized(&options.size)
        .marked_by(&options.marks, task)?
        .checked("values", task)
}

/// A scatter plot of points.
pub fn scatter(xs: &Plain, ys: &Plain, options: ScatterOptions, task: &Task) -> Result<Chart> {
    let x = Data { name: "xs", value: xs, task }.numbers()?;
    let y = Data { name: "ys", value: ys, task }.numbers()?;
    if x.len() != y.len() {
        return Err(err!(Shape, "expected as many ys as xs, found {} for {}", y.len(), x.len()).about("ys"));
    }
    let labels = options.labels.map_or_else(Vec::new, |Labels(labels)| labels);
    let all = Series { x, y, labels, ..Series::default() };
    let series = match options.groups {
        Some(Labels(groups)) => grouped(&all, &groups).map_err(|e| e.about("groups"))?,
        None => vec![all],
    };
    Chart::scatter(series)
        .labelled(options.label)
        .with_x_axis(&options.x_axis)
        .with_y_axis(&options.y_axis)
        .sized(&options.size)
        .marked_by(&options.marks, task)?
        .checked("xs", task)
}

/// A heat map of a matrix or a grid.
pub fn heat(data: &Plain, options: HeatOptions, task: &Task) -> Result<Chart> {
    let mut chart = Chart::heat(grid(data, options.grid, task)?);
    if let Content::Heat { colours, .. } = Arc::make_mut(&mut chart.content) {
        *colours = Colours { centre: options.centre.or(colours.centre), range: options.range };
    }
    chart.sized(&options.size).checked("data", task)
}

/// A grid, or a matrix with names.
pub fn grid(data: &Plain, options: GridOptions, task: &Task) -> Result<Grid> {
    let grid = Data { name: "data", value: data, task }.grid()?;
    let sizes = (grid.rows.len(), grid.columns.len());
    let named = |given: Option<Labels>, known: Vec<String>| given.map_or(known, |Labels(names)| names);
    let grid = Grid {
        rows: named(options.rows, grid.rows),
        columns: named(options.columns, grid.columns),
        quantity: options.quantity.unwrap_or(grid.quantity),
        title: options.title.unwrap_or(grid.title),
        row_axis: options.y.unwrap_or(grid.row_axis),
        column_axis: options.x.unwrap_or(grid.column_axis),
        values: grid.values,
        intervals: grid.intervals,
    };
    let found = (grid.rows.len(), grid.columns.len());
    if found != sizes {
        let wrong = if found.0 == sizes.0 { "columns" } else { "rows" };
        let of = |(rows, columns): (usize, usize), and: &str| format!("{rows}{and}{columns}");
        let (wanted, found) = (of(sizes, " rows and "), of(found, " and "));
        return Err(err!(Shape, "expected names for {wanted} columns, found {found}").about(wrong));
    }
    Ok(grid)
}

impl IntervalOptions {
    /// The intervals of all series: `error`, the distance to both sides, or `low` and `high`, the ends themselves.
    fn spreads(&self, data: &Data, series: &[Named]) -> Result<Vec<Option<Spread>>> {
        match (&self.error, &self.low, &self.high) {
            (None, None, None) => Ok(vec![None; series.len()]),
            (Some(error), None, None) => {
                let reaches = error.named("error", data.task).like(data, series)?.into_iter();
                Ok(series.iter().zip(reaches).map(|((_, y), reach)| Some(Spread::symmetric(y, &reach))).collect())
            }
            (None, Some(low), Some(high)) => {
                let low = low.named("low", data.task).like(data, series)?.into_iter();
                let ends = low.zip(high.named("high", data.task).like(data, series)?);
                Ok(ends.map(|(low, high)| Some(Spread { low, high, band: false })).collect())
            }
            (error, low, _) => {
                let about = match (error, low) {
                    (Some(_), _) => "error",
                    (None, Some(_)) => "low",
                    (None, None) => "high",
                };
                Err(err!(Argument, "expected either `error`, or `low` and `high` together").about(about))
            }
        }
    }
}

/// Series with the names given in place of their numbers. The series of a map have names already.
fn renamed(series: Vec<Named>, names: Option<Labels>, data: &Data) -> Result<Vec<Named>> {
    let Some(Labels(names)) = names else { return Ok(series) };
    refuse_beside_map("names", data)?;
    if names.len() != series.len() {
        return Err(
            err!(Shape, "expected one name for each series, found {} for {}", names.len(), series.len()).about("names")
        );
    }
    Ok(names.into_iter().zip(series).map(|(name, (_, values))| (name, values)).collect())
}

/// A map's entries come in the order of their keys, whatever the order they were written in, so a list beside it would
/// name the wrong ones without a word.
fn refuse_beside_map(option: &str, data: &Data) -> Result<()> {
    match data.keys() {
        Some(_) => Err(err!(Argument, "expected no `{option}` for a map, whose keys are the names").about(option)),
        None => Ok(()),
    }
}

impl Chart {
    /// The chart, if it can be drawn: better to hear of it here than when it is shown.
    fn checked(self, data: &str, task: &Task) -> Result<Self> {
        let (chart, count) = (self.clone(), self.values());
        let drawn = task.heavy(8.0 * count as f64, move || match &*chart.content {
            Content::Heat { grid, colours: wanted } => chart.check().and_then(|()| colours(grid, wanted).map(drop)),
            _ => chart.view().map(drop),
        });
        drawn.map_err(|e| e.about(data)).map(|()| self)
    }

    /// The number of values that are read to draw it.
    fn values(&self) -> usize {
        match &*self.content {
            Content::Line { series } | Content::Scatter { series } => series.iter().map(|s| s.y.len()).sum(),
            Content::Bar { series, .. } => series.iter().map(|s| s.values.len()).sum(),
            Content::Histogram { series, .. } => series.iter().map(|s| s.counts.len()).sum(),
            Content::Heat { grid, .. } => grid.values.len(),
        }
    }
}
