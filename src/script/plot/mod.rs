//! `plot::`: charts. Each binding makes the chart; showing and saving it is the same for all results.

pub mod data;
mod options;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map};

use self::data::Data;
use super::options::options as read;
use super::report::make;
use super::value::{Any, Fallible, Given, Options, given};
use crate::base::Result;
use crate::err;
use crate::report::chart::{self, Bars, Bins, Chart, Colours, Content, Series};
use crate::script::docs::declared::Group;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[];

#[export_module(manifest)]
pub mod functions {
    /// A line chart of one series or several.
    ///
    /// The data are a list of numbers, a tensor of one dimension, or several series: a map of names to lists, a list of
    /// lists, or a tensor of two dimensions whose rows are the series. NaN, infinite and missing values, `()`, are gaps,
    /// which a note under the chart counts.
    ///
    /// # Options
    /// - `x_values` = 0, 1, 2 and so on: where on the x axis the values stand
    /// - `names` = their numbers, or the keys of a map: what the series are called
    /// - `labels` = none: texts beside the points, if there is one series
    /// - `error` = none: the distance from each value to both ends of its interval, shaped like the data
    /// - `lower` = none: the lower ends of the intervals, shaped like the data; needs `upper`
    /// - `upper` = none: their upper ends
    /// - `band` = false: intervals as a band behind the line in place of bars
    /// - `title` = none: the line above the chart
    /// - `x` = none: the label of the x axis, with its unit
    /// - `y` = none: the label of the y axis, with its unit
    /// - `log_x` = false: a logarithmic x axis
    /// - `log_y` = false: a logarithmic y axis
    /// - `x_range` = from the data: both ends of the x axis
    /// - `y_range` = from the data: both ends of the y axis
    /// - `horizontal` = none: lines across, at a number, a list of numbers, or a map of names to numbers
    /// - `vertical` = none: lines up, given in the same way
    /// - `texts` = none: annotations, a list of [x, y, text]
    /// - `legend` = true: whether the names of the series are listed
    /// - `width` = 720: in pixels
    /// - `height` = 440: in pixels
    ///
    /// # Example
    /// ```
    /// let loss = #{ topk: [3.1, 2.2, 1.9], l1: [3.3, 2.6, 2.2] };
    /// plot::line(loss, #{ x: "epoch", y: "loss (nats)", horizontal: 1.5 })  //=> line chart of l1, topk
    /// ```
    #[rhai_fn(return_raw)]
    pub fn line(data: Any, options: Options) -> Fallible<Chart> {
        Ok(super::line_chart(&data, options)?)
    }

    /// A bar chart: one bar for each value, or several side by side.
    ///
    /// The data are a map of names to numbers, a list of [name, number] pairs (which keeps its order), or series as
    /// `plot::line` takes them, whose values are then named by `labels`.
    ///
    /// # Options
    /// - `labels` = 0, 1, 2 and so on: what the bars stand for
    /// - `names` = their numbers, or the keys of a map: what the series are called
    /// - `error` = none: the distance from each value to both ends of its interval, shaped like the data
    /// - `lower` = none: the lower ends of the intervals, shaped like the data; needs `upper`
    /// - `upper` = none: their upper ends
    /// - `title` = none: the line above the chart
    /// - `x` = none: the label of the x axis
    /// - `y` = none: the label of the y axis, with its unit
    /// - `log_y` = false: a logarithmic y axis
    /// - `y_range` = from the data: both ends of the y axis
    /// - `horizontal` = none: lines across, at a number, a list of numbers, or a map of names to numbers
    /// - `vertical` = none: lines up, where 0 is the first bar
    /// - `texts` = none: annotations, a list of [x, y, text]
    /// - `legend` = true: whether the names of the series are listed
    /// - `width` = 720: in pixels
    /// - `height` = 440: in pixels
    ///
    /// # Example
    /// ```
    /// plot::bar(#{ prose: 0.4, code: 0.1 }, #{ y: "share" }).to_map().categories  //=> ["code", "prose"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bar(data: Any, options: Options) -> Fallible<Chart> {
        Ok(super::bar_chart(&data, options)?)
    }

    /// A histogram of one list of values, or of several over the same edges.
    ///
    /// The values are a list or a tensor of any shape, or a map of names to such. The last bin holds its upper edge.
    ///
    /// # Options
    /// - `bins` = by the Freedman-Diaconis rule, 10 to 80: how many bins
    /// - `range` = the extremes of the values: both ends of the bins
    /// - `log` = false: bins that grow by a constant factor, on a logarithmic x axis
    /// - `log_y` = false: a logarithmic axis of counts
    /// - `y_range` = from the data: both ends of the axis of counts
    /// - `title` = none: the line above the chart
    /// - `x` = none: what is counted, with its unit
    /// - `y` = "count": the label of the y axis
    /// - `horizontal` = none: lines across, at a number, a list of numbers, or a map of names to numbers
    /// - `vertical` = none: lines up, given in the same way
    /// - `texts` = none: annotations, a list of [x, y, text]
    /// - `legend` = true: whether the names of the series are listed
    /// - `width` = 720: in pixels
    /// - `height` = 440: in pixels
    ///
    /// # Example
    /// ```
    /// plot::histogram([1, 2, 2, 3], #{ bins: 2 }).to_map().series[0].counts  //=> [1, 3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn histogram(values: Any, options: Options) -> Fallible<Chart> {
        Ok(super::histogram_chart(&values, options)?)
    }

    /// A scatter plot of points.
    ///
    /// Both coordinates are lists or tensors with one number for each point. Where there are too many points to be
    /// seen apart, marks that would lie upon each other are drawn once, and a note says so.
    ///
    /// # Options
    /// - `groups` = none: the name of each point's group, which gives it its colour
    /// - `labels` = none: a text beside each point, as far as there is room
    /// - `title` = none: the line above the chart
    /// - `x` = none: the label of the x axis, with its unit
    /// - `y` = none: the label of the y axis, with its unit
    /// - `log_x` = false: a logarithmic x axis
    /// - `log_y` = false: a logarithmic y axis
    /// - `x_range` = from the data: both ends of the x axis
    /// - `y_range` = from the data: both ends of the y axis
    /// - `horizontal` = none: lines across, at a number, a list of numbers, or a map of names to numbers
    /// - `vertical` = none: lines up, given in the same way
    /// - `texts` = none: annotations, a list of [x, y, text]
    /// - `legend` = true: whether the names of the groups are listed
    /// - `width` = 720: in pixels
    /// - `height` = 440: in pixels
    ///
    /// # Example
    /// ```
    /// plot::scatter([1, 2, 3], [2, 4, 9], #{ groups: ["a", "b", "a"] })  //=> scatter chart of a, b
    /// ```
    #[rhai_fn(return_raw)]
    pub fn scatter(xs: Any, ys: Any, options: Options) -> Fallible<Chart> {
        Ok(super::scatter_chart(&xs, &ys, options)?)
    }

    /// A heat map of a matrix: a tensor of two dimensions, a list of lists, or a grid.
    ///
    /// Data of both signs get colours from blue over white at zero to red, other data colours that rise from dark to
    /// light; `centre` and `range` choose otherwise. Values are written into the cells where there is room.
    ///
    /// # Options
    /// - `rows` = 0, 1, 2 and so on: the names of the rows
    /// - `columns` = 0, 1, 2 and so on: the names of the columns
    /// - `quantity` = none: what the numbers are, with their unit; it labels the bar of colours
    /// - `centre` = 0 where there are both signs: the value that is white
    /// - `range` = from the data: the values at both ends of the colours
    /// - `title` = none: the line above the map
    /// - `x` = none: what the columns are
    /// - `y` = none: what the rows are
    /// - `width` = 720: the most that it may take, in pixels
    /// - `height` = 440: the most that it may take, in pixels
    ///
    /// # Example
    /// ```
    /// plot::heat([[0.1, 0.9], [0.4, 0.2]], #{ rows: ["layer 0", "layer 1"] }).to_map().grid.columns  //=> ["0", "1"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heat(data: Any, options: Options) -> Fallible<Chart> {
        Ok(super::heat_map(&data, options)?)
    }
}

fn line_chart(data: &Dynamic, map: Map) -> Result<Chart> {
    let mut options = read(map);
    let mut named = Data { name: "data", value: data }.series()?;
    options::renamed(&mut options, data, &mut named)?;
    let x_values = options.value("x_values");
    let x = x_values.map(|value| Data { name: "x_values", value: &value }.numbers()).transpose()?;
    let labels = options.get("labels", Given::labels)?;
    if labels.is_some() && named.len() != 1 {
        return Err(err!(Argument, "expected one series with `labels`, found {}", named.len()).about("labels"));
    }
    let band = options.flag("band", false)?;
    let spreads = options::spreads(&mut options, data, &named)?;
    let series = named.into_iter().zip(spreads).map(|((name, y), mut spread)| {
        if let Some(spread) = &mut spread {
            spread.band = band;
        }
        let x = x.clone().unwrap_or_else(|| (0..y.len()).map(|i| i as f64).collect());
        Series { name, x, y, spread, labels: labels.clone().unwrap_or_default() }
    });
    let mut chart = Chart::line(series.collect());
    options::title_and_size(&mut options, &mut chart)?;
    options::x_axis(&mut options, &mut chart.x)?;
    options::y_axis(&mut options, &mut chart.y)?;
    options::legend_and_marks(&mut options, &mut chart)?;
    options.finish()?;
    checked(chart)
}

fn bar_chart(data: &Dynamic, map: Map) -> Result<Chart> {
    let mut options = read(map);
    let (names, mut named) = match pairs(data)? {
        Some((names, values)) => (Some(names), vec![(String::new(), values)]),
        None => (None, Data { name: "data", value: data }.series()?),
    };
    options::renamed(&mut options, data, &mut named)?;
    let spreads = options::spreads(&mut options, data, &named)?;
    let length = named.first().map_or(0, |(_, values)| values.len());
    let numbered = || (0..length).map(|i| i.to_string()).collect();
    let labels = options.get("labels", Given::labels)?;
    if labels.is_some() && names.is_some() {
        options::refuse_beside_map("labels", data)?;
    }
    let categories = labels.or(names).unwrap_or_else(numbered);
    let series = named.into_iter().zip(spreads).map(|((name, values), spread)| Bars { name, values, spread });
    let mut chart = Chart::bar(categories, series.collect());
    options::title_and_size(&mut options, &mut chart)?;
    options::y_axis(&mut options, &mut chart.y)?;
    options::legend_and_marks(&mut options, &mut chart)?;
    options.finish()?;
    checked(chart)
}

/// Names with a number each, if that is what the data are.
fn pairs(data: &Dynamic) -> Result<Option<(Vec<String>, Vec<f64>)>> {
    let is_number = |value: &Dynamic| value.is_int() || value.is_float();
    if let Some(map) = data.read_lock::<Map>()
        && map.values().all(is_number)
    {
        let number = |value: &Dynamic| given("data", value).number();
        let values: Result<Vec<f64>> = map.values().map(number).collect();
        return Ok(Some((map.keys().map(|key| key.to_string()).collect(), values?)));
    }
    let Some(list) = data.read_lock::<Array>() else { return Ok(None) };
    let pair = |value: &Dynamic| match &value.read_lock::<Array>()?[..] {
        [name, number] if name.is_string() && is_number(number) => Some((name.to_string(), number.clone())),
        _ => None,
    };
    let Some(found) = list.iter().map(pair).collect::<Option<Vec<_>>>().filter(|found| !found.is_empty()) else {
        return Ok(None);
    };
    let (names, numbers): (Vec<String>, Array) = found.into_iter().unzip();
    Ok(Some((names, given("data", &numbers.into()).numbers()?)))
}

fn histogram_chart(values: &Dynamic, map: Map) -> Result<Chart> {
    let mut options = read(map);
    let bins = Bins {
        count: options.get("bins", Given::size)?,
        log: options.flag("log", false)?,
        range: options.get("range", Given::range)?,
    };
    let data = Data { name: "values", value: values };
    let named = if values.is_map() { data.series()? } else { vec![(String::new(), data.numbers()?)] };
    let mut chart = chart::histogram(named, &bins).map_err(|e| e.about("values"))?;
    options::title_and_size(&mut options, &mut chart)?;
    options::y_axis(&mut options, &mut chart.y)?;
    options::legend_and_marks(&mut options, &mut chart)?;
    options.finish()?;
    checked(chart)
}

fn scatter_chart(xs: &Dynamic, ys: &Dynamic, map: Map) -> Result<Chart> {
    let mut options = read(map);
    let x = Data { name: "xs", value: xs }.numbers()?;
    let y = Data { name: "ys", value: ys }.numbers()?;
    if x.len() != y.len() {
        return Err(err!(Shape, "expected as many ys as xs, found {} for {}", y.len(), x.len()).about("y"));
    }
    let labels = options.get("labels", Given::labels)?.unwrap_or_default();
    let all = Series { x, y, labels, ..Series::default() };
    let series = match options.get("groups", Given::labels)? {
        Some(groups) => chart::grouped(&all, &groups).map_err(|e| e.about("groups"))?,
        None => vec![all],
    };
    let mut chart = Chart::scatter(series);
    options::title_and_size(&mut options, &mut chart)?;
    options::x_axis(&mut options, &mut chart.x)?;
    options::y_axis(&mut options, &mut chart.y)?;
    options::legend_and_marks(&mut options, &mut chart)?;
    options.finish()?;
    checked(chart)
}

fn heat_map(data: &Dynamic, map: Map) -> Result<Chart> {
    let mut options = read(map);
    let grid = make::grid(Data { name: "data", value: data }, &mut options)?;
    let mut chart = Chart::heat(grid);
    if let Content::Heat { colours, .. } = &mut chart.content {
        let centre = options.get("centre", Given::number)?.or(colours.centre);
        *colours = Colours { centre, range: options.get("range", Given::range)? };
    }
    options::size(&mut options, &mut chart)?;
    options.finish()?;
    checked(chart)
}

/// The chart, if it can be drawn: better to hear of it here than when it is shown.
fn checked(chart: Chart) -> Result<Chart> {
    match &chart.content {
        Content::Heat { grid, colours } => {
            chart.check()?;
            chart::colours(grid, colours).map(drop)
        }
        _ => chart.view().map(drop),
    }
    .map_err(|e| e.about("values"))?;
    Ok(chart)
}
