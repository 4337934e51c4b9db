//! Charts as plain data: what is drawn, apart from how.

mod bins;
mod check;
mod data;
mod make;
mod options;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::base::results::is_missing;
use crate::base::{Grid, Result};
use crate::err;
use crate::report::json;
use crate::report::symbols::{count, elided, visible};

pub use bins::binned;
pub use data::Data;
pub use make::{bar, grid, heat, histogram, line, scatter};
pub use options::{
    BarOptions, BinOptions, GridOptions, HeatOptions, HistogramOptions, IntervalOptions, LabelOptions, Labels,
    LineOptions, MarkOptions, ScatterOptions, SizeOptions, XAxisOptions, YAxisOptions,
};
pub use view::{View, colours};

/// One picture of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// Shared, since charts are copied and the data may be large.
    #[serde(flatten)]
    pub content: Arc<Content>,
    /// Annotations, drawn over the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// Whether the names of the series are listed above the plot.
    pub legend: bool,
    /// In CSS pixels; heat maps take what their cells need up to this size.
    pub width: u32,
    pub height: u32,
}

/// One axis: what it shows and how.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    pub log: bool,
    /// Both ends, where they are not to follow from the data.
    pub range: Option<[f64; 2]>,
}

/// What kind of chart, with its data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    Line {
        series: Vec<Series>,
    },
    Scatter {
        series: Vec<Series>,
    },
    /// Bars side by side in every category.
    Bar {
        categories: Vec<String>,
        series: Vec<Bars>,
    },
    /// Several counts over the same edges.
    Histogram {
        #[serde(serialize_with = "json::serialize")]
        edges: Vec<f64>,
        series: Vec<Counts>,
    },
    Heat {
        #[serde(serialize_with = "json::serialize_grid")]
        grid: Grid,
        colours: Colours,
    },
}

/// Points of one name and colour.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    pub name: String,
    #[serde(serialize_with = "json::serialize")]
    pub x: Vec<f64>,
    #[serde(serialize_with = "json::serialize")]
    pub y: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// A text beside each point, or none at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// One value for each category.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Bars {
    pub name: String,
    #[serde(serialize_with = "json::serialize")]
    pub values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// How sure each value is: the ends of its interval, on the axis of the value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    #[serde(serialize_with = "json::serialize")]
    pub low: Vec<f64>,
    #[serde(serialize_with = "json::serialize")]
    pub high: Vec<f64>,
    /// A band behind the line in place of a bar at every point.
    pub band: bool,
}

impl Spread {
    /// The same distance down and up from every value, but where none is given.
    pub fn symmetric(values: &[f64], reach: &[f64]) -> Self {
        // Without a value the end is NaN, and the lengths are found not to agree when the chart is checked.
        let value = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        let end = |sign: f64, i: usize, reach: f64| if is_missing(reach) { reach } else { value(i) + sign * reach };
        let ends = |sign: f64| reach.iter().enumerate().map(|(i, reach)| end(sign, i, *reach)).collect();
        Self { low: ends(-1.0), high: ends(1.0), band: false }
    }
}

/// How many values of one name fell between the edges, and how many could not.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Counts {
    pub name: String,
    pub counts: Vec<u64>,
    /// Values that were NaN or infinite.
    pub not_finite: usize,
    /// Values that were not above zero, where the edges are logarithmic.
    pub not_positive: usize,
    /// Other values outside the edges.
    pub outside: usize,
}

/// Which colours the cells of a heat map get.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Colours {
    /// The value drawn white between blue and red; without one, colours rise from the lowest value to the highest.
    pub centre: Option<f64>,
    /// The values at the ends of the colours, where they are not to follow from the data.
    pub range: Option<[f64; 2]>,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "mark", rename_all = "lowercase")]
pub enum Mark {
    /// A text at a point of the data.
    Text { x: f64, y: f64, text: String },
    /// A line across the plot at one value of y, named at its end.
    Horizontal { at: f64, text: String },
    /// A line up the plot at one value of x; in a bar chart x counts the categories from 0.
    Vertical { at: f64, text: String },
}

/// The points of one series divided by the group that each belongs to, in the order in which groups appear.
pub fn grouped(all: &Series, groups: &[String]) -> Result<Vec<Series>> {
    let points = all.y.len();
    if groups.len() != points {
        return Err(err!(Shape, "expected one group for each point, found {} for {points}", groups.len()));
    }
    if !all.labels.is_empty() && all.labels.len() != points {
        return Err(err!(Shape, "expected one label for each point, found {} for {points}", all.labels.len()));
    }
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    let mut series: Vec<Series> = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let at = *order.entry(group).or_insert(series.len());
        if at == series.len() {
            series.push(Series { name: group.clone(), ..Series::default() });
        }
        series[at].x.push(all.x[i]);
        series[at].y.push(all.y[i]);
        series[at].labels.extend(all.labels.get(i).cloned());
    }
    Ok(series)
}

impl Chart {
    pub fn new(content: Content) -> Self {
        let SizeOptions { width, height } = SizeOptions::default();
        Self {
            title: String::new(),
            x: Axis::default(),
            y: Axis::default(),
            content: Arc::new(content),
            marks: Vec::new(),
            legend: true,
            width,
            height,
        }
    }

    pub fn line(series: Vec<Series>) -> Self {
        Self::new(Content::Line { series })
    }

    pub fn scatter(series: Vec<Series>) -> Self {
        Self::new(Content::Scatter { series })
    }

    pub fn bar(categories: Vec<String>, series: Vec<Bars>) -> Self {
        Self::new(Content::Bar { categories, series })
    }

    /// A heat map with the title and axes of the grid. Data of both signs get colours centred on zero.
    pub fn heat(grid: Grid) -> Self {
        let below = grid.values.iter().any(|v| v.is_finite() && *v < 0.0);
        let above = grid.values.iter().any(|v| v.is_finite() && *v > 0.0);
        let colours = Colours { centre: (below && above).then_some(0.0), range: None };
        Self {
            title: grid.title.clone(),
            x: Axis { label: grid.column_axis.clone(), ..Axis::default() },
            y: Axis { label: grid.row_axis.clone(), ..Axis::default() },
            ..Self::new(Content::Heat { grid, colours })
        }
    }

    /// One word for the kind, as scripts and files spell it.
    pub fn kind(&self) -> &'static str {
        match *self.content {
            Content::Line { .. } => "line",
            Content::Scatter { .. } => "scatter",
            Content::Bar { .. } => "bar",
            Content::Histogram { .. } => "histogram",
            Content::Heat { .. } => "heat",
        }
    }

    /// The names of the series, empty where one has none.
    pub fn names(&self) -> Vec<&str> {
        match &*self.content {
            Content::Line { series } | Content::Scatter { series } => series.iter().map(|s| s.name.as_str()).collect(),
            Content::Bar { series, .. } => series.iter().map(|s| s.name.as_str()).collect(),
            Content::Histogram { series, .. } => series.iter().map(|s| s.name.as_str()).collect(),
            Content::Heat { .. } => Vec::new(),
        }
    }

    /// A few words: `line chart of loss, accuracy`.
    pub fn short(&self) -> String {
        let names: Vec<&str> = self.names().into_iter().filter(|name| !name.is_empty()).collect();
        let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
        elided(&visible(&format!("{} chart{of}", self.kind())), 72)
    }

    /// One sentence for those who cannot see the picture.
    pub fn described(&self) -> String {
        let what = match &*self.content {
            Content::Bar { categories, .. } => format!("{}, {}", self.short(), count(categories.len(), "label")),
            Content::Heat { grid, .. } => {
                let of =
                    if grid.quantity.is_empty() { String::new() } else { format!(" of {}", visible(&grid.quantity)) };
                format!("heat map{of}, {} by {} cells", grid.rows.len(), grid.columns.len())
            }
            _ => self.short(),
        };
        match (self.x.label.as_str(), self.y.label.as_str()) {
            ("", "") => format!("{what}."),
            (x, "") => format!("{what}; across: {x}."),
            ("", y) => format!("{what}; up: {y}."),
            (x, y) => format!("{what}; across: {x}; up: {y}."),
        }
    }
}
