//! Charts as plain data, and how they are shown: each kind is a file of its own, behind `ChartKind`.
//!
//! A new kind is one more file here, with its options, its making and its `ChartKind`, and its line in `ChartContent`
//! and in `ChartContent::kind`.

mod annotations;
mod axes;
mod bar;
mod check;
mod data;
mod heat;
mod histogram;
mod legend;
mod line;
mod options;
mod pane;
mod panels;
mod plot;
mod points;
mod right;
mod scatter;
mod series;
mod text;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::draw::canvas::{Canvas, Drawing, Point};
use super::draw::layout::LABEL;
use super::draw::lettering::{Font, Lettering};
use super::palette::{Palette, Rgb};
use super::picture::Picture;
use super::scale::{self, Scale, Tick};
use super::terminal::Screen;
use super::visible_text::{count, elided, token, visible};
use super::{json, palette};
use crate::base::results::is_missing;
use crate::base::{Grid, Result, Task};
use crate::options::Plain;
use crate::{bail, err};
use legend::LegendSymbol;
use pane::{Margins, Pane};
use plot::Plot;
use points::SeriesStyle;
use text::{PlotCharacter, PlotCharacters, TextArea, TextPicture};

pub use bar::{BarChart, BarOptions, Bars, bar};
pub use data::ChartData;
pub use heat::{Colours, GridOptions, HeatMap, HeatOptions, grid, heat};
pub use histogram::{BinOptions, Histogram, HistogramCounts, HistogramOptions, binned, histogram};
pub use line::{LineChart, LineOptions, line};
pub use options::{
    AnnotationOptions, GivenNumbers, IntervalOptions, LabelList, LabelOptions, SizeOptions, StyleOptions, XAxisOptions,
    YAxisOptions,
};
pub use panels::{LetterStyle, PanelOptions, Panels, panels};
pub use right::{RightAxis, RightAxisOptions};
pub use scatter::{ScatterChart, ScatterOptions, scatter};
pub use series::{Series, Spread};
pub use view::ChartView;

/// A picture of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// The kind of the chart with its data, shared, since charts are copied and the data may be large.
    #[serde(flatten)]
    pub content: Arc<ChartContent>,
    /// Annotations, drawn over the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Annotation>,
    /// Whether the names of the series are listed above the plot.
    pub legend: bool,
    /// Size in CSS pixels; heat maps take what their cells need up to this size.
    pub width: u32,
    pub height: u32,
    /// Size of the labels in CSS pixels, with which everything else grows.
    #[serde(skip_serializing_if = "is_usual_size")]
    pub font_size: f64,
    #[serde(skip_serializing_if = "is_usual_font")]
    pub font: Font,
    #[serde(skip_serializing_if = "is_usual_palette")]
    pub palette: Palette,
    /// Numbers in the palette, by the names of series; all other series have those that are left, in their order.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub colour_numbers: BTreeMap<String, usize>,
}

fn is_usual_size(size: &f64) -> bool {
    *size == LABEL.size
}

fn is_usual_font(font: &Font) -> bool {
    *font == Font::Sans
}

fn is_usual_palette(palette: &Palette) -> bool {
    *palette == Palette::Colour
}

/// An axis of a chart: its quantity and its range.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    pub log: bool,
    /// Ends of the axis, where they are not to follow from the data; a reversed axis begins at the higher one.
    pub range: Option<[f64; 2]>,
    /// Ticks, where they are not to be round numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticks: Option<Vec<Tick>>,
}

impl Axis {
    /// Returns the ticks within a range of the axis: those that were given, or about `wanted` round numbers.
    fn ticks_on(&self, scale: &Scale, wanted: usize) -> Vec<Tick> {
        match &self.ticks {
            Some(given) => {
                let shown = given.iter().filter(|tick| scale.contains(tick.at));
                shown.map(|tick| Tick { at: tick.at, label: elided(&visible(&tick.label), 24) }).collect()
            }
            None => scale.ticks(wanted),
        }
    }
}

/// Axis of a chart, by its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    X,
    Y,
}

impl Direction {
    fn other(self) -> Self {
        match self {
            Direction::X => Direction::Y,
            Direction::Y => Direction::X,
        }
    }

    /// Returns the point at a place along this axis, and at one along the other.
    fn point(self, along: f64, beside: f64) -> Point {
        match self {
            Direction::X => (along, beside),
            Direction::Y => (beside, along),
        }
    }
}

/// A kind of chart, with its data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ChartContent {
    Line(LineChart),
    Scatter(ScatterChart),
    Bar(BarChart),
    Histogram(Histogram),
    Heat(HeatMap),
    Panels(Panels),
}

impl ChartContent {
    fn kind(&self) -> &dyn ChartKind {
        match self {
            ChartContent::Line(line) => line,
            ChartContent::Scatter(scatter) => scatter,
            ChartContent::Bar(bar) => bar,
            ChartContent::Histogram(histogram) => histogram,
            ChartContent::Heat(heat) => heat,
            ChartContent::Panels(panels) => panels,
        }
    }
}

/// A kind of chart: its data, its checks, its picture and its version for the terminal.
trait ChartKind {
    /// Returns one word for the kind, as scripts and files spell it.
    fn name(&self) -> &'static str;

    /// Returns the shape of the key beside the name of a series.
    fn symbol(&self) -> LegendSymbol {
        LegendSymbol::Block
    }

    /// Returns the points of the chart, if these are all of its data.
    fn series(&self) -> &[Series] {
        &[]
    }

    /// Returns the names of the series, empty where one has none.
    fn names(&self) -> Vec<&str> {
        self.series().iter().map(|s| s.name.as_str()).collect()
    }

    /// Returns all values, each with its place along the x axis.
    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        Box::new(self.series().iter().flat_map(Series::points))
    }

    /// Refuses lists that do not fit each other, and charts with nothing to see.
    fn check(&self, _: &Chart) -> Result<()> {
        series::check(self.series(), self.name())
    }

    /// Returns the ranges of the axes, and notes on what they leave out.
    fn view(&self, chart: &Chart) -> Result<ChartView> {
        series::view(self.series().iter(), chart)
    }

    /// Returns notes on what the picture leaves out in a pane.
    fn notes(&self, chart: &Chart, _: &Pane) -> Result<Vec<String>> {
        Ok(self.view(chart)?.notes)
    }

    /// Returns the categories that stand along an axis in place of numbers, if there are any.
    fn categories(&self) -> Option<(Direction, &[String])> {
        None
    }

    /// Returns the second y axis, if there is one.
    fn right(&self) -> Option<&RightAxis> {
        None
    }

    /// Returns the room that is taken around the plot in a panel of this size.
    fn margins(&self, chart: &Chart, pane: &Pane) -> Result<Margins> {
        Ok(axes::margins(chart, &chart.view()?, pane))
    }

    /// Draws the chart as a picture, or as a part of one.
    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing>;

    /// Draws the chart for the terminal.
    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture>;

    /// Describes the chart in a few words, without its series.
    fn noun(&self) -> String {
        format!("{} chart", self.name())
    }

    /// Describes the chart in words, of which `short` are some.
    fn described(&self, short: String) -> String {
        short
    }
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "mark", rename_all = "lowercase")]
pub enum Annotation {
    /// A text at a point of the data.
    Text { x: f64, y: f64, text: String },
    /// A text that stands at `from`, with an arrow to a point of the data.
    Arrow { x: f64, y: f64, text: String, from: [f64; 2] },
    /// A line across the plot at one value of y, named at its end.
    Horizontal { at: f64, text: String },
    /// A line up the plot at one value of x; in a bar chart x counts the categories from 0.
    Vertical { at: f64, text: String },
    /// A shaded span of the x axis, behind the data.
    XSpan { low: f64, high: f64, text: String },
    /// A shaded span of the y axis, behind the data.
    YSpan { low: f64, high: f64, text: String },
    /// A line through points, such as a fit, over the data.
    Line { points: Vec<[f64; 2]>, text: String },
}

impl Annotation {
    /// Returns the places of the annotation on the x axis.
    fn xs(&self) -> Vec<f64> {
        match self {
            Annotation::Text { x, .. } => vec![*x],
            Annotation::Arrow { x, from, .. } => vec![*x, from[0]],
            Annotation::Vertical { at, .. } => vec![*at],
            Annotation::XSpan { low, high, .. } => vec![*low, *high],
            Annotation::Line { points, .. } => points.iter().map(|[x, _]| *x).collect(),
            Annotation::Horizontal { .. } | Annotation::YSpan { .. } => Vec::new(),
        }
    }

    /// Returns the places of the annotation on the y axis.
    fn ys(&self) -> Vec<f64> {
        match self {
            Annotation::Text { y, .. } => vec![*y],
            Annotation::Arrow { y, from, .. } => vec![*y, from[1]],
            Annotation::Horizontal { at, .. } => vec![*at],
            Annotation::YSpan { low, high, .. } => vec![*low, *high],
            Annotation::Line { points, .. } => points.iter().map(|[_, y]| *y).collect(),
            Annotation::Vertical { .. } | Annotation::XSpan { .. } => Vec::new(),
        }
    }
}

impl Chart {
    pub fn new(content: ChartContent) -> Self {
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
            font_size: LABEL.size,
            font: Font::Sans,
            palette: Palette::Colour,
            colour_numbers: BTreeMap::new(),
        }
    }

    pub fn line(series: Vec<Series>) -> Self {
        Self::new(ChartContent::Line(LineChart { series, right: None }))
    }

    pub fn scatter(series: Vec<Series>) -> Self {
        Self::new(ChartContent::Scatter(ScatterChart { series }))
    }

    pub fn bar(categories: Vec<String>, series: Vec<Bars>) -> Self {
        Self::new(ChartContent::Bar(BarChart { categories, series, ..BarChart::default() }))
    }

    pub fn histogram(edges: Vec<f64>, series: Vec<HistogramCounts>) -> Self {
        Self::new(ChartContent::Histogram(Histogram { edges, series, density: false }))
    }

    /// Builds a heat map with the title and axes of the grid. Data of both signs get colours centred on zero.
    pub fn heat(grid: Grid) -> Self {
        let below = grid.values.iter().any(|v| v.is_finite() && *v < 0.0);
        let above = grid.values.iter().any(|v| v.is_finite() && *v > 0.0);
        let colours = Colours { centre: (below && above).then_some(0.0), ..Colours::default() };
        Self {
            title: grid.title.clone(),
            x: Axis { label: grid.column_axis.clone(), ..Axis::default() },
            y: Axis { label: grid.row_axis.clone(), ..Axis::default() },
            ..Self::new(ChartContent::Heat(HeatMap { grid, colours, stretch: false }))
        }
    }

    /// Returns an axis, of the y axes the left one.
    fn axis(&self, direction: Direction) -> &Axis {
        match direction {
            Direction::X => &self.x,
            Direction::Y => &self.y,
        }
    }

    /// Returns one word for the kind, as scripts and files spell it.
    pub fn kind(&self) -> &'static str {
        self.content.kind().name()
    }

    /// Returns the names of the series, empty where one has none.
    pub fn names(&self) -> Vec<&str> {
        self.content.kind().names()
    }

    /// Returns the names that the legend lists, empty where one has none.
    fn listed(&self) -> Vec<String> {
        let names = if self.legend { self.names() } else { Vec::new() };
        let listed = |name: &str| if self.is_right(name) { format!("{name} (right)") } else { name.to_string() };
        names.into_iter().map(listed).collect()
    }

    /// Returns the number in the palette that each series has: the one that was given to its name, or the next that
    /// none was given.
    fn numbers(&self) -> Vec<usize> {
        let mut free = (0..).filter(|number| !self.colour_numbers.values().any(|given| given == number));
        let number = |name: &str| self.colour_numbers.get(name).copied().or_else(|| free.next()).unwrap_or_default();
        self.names().into_iter().map(number).collect()
    }

    /// Returns the looks of the series.
    fn styles(&self) -> Vec<SeriesStyle> {
        self.numbers().into_iter().map(|number| SeriesStyle::of(number, self.palette)).collect()
    }

    /// Returns the colours of the series in the terminal.
    fn inks(&self) -> Vec<Rgb> {
        self.numbers().into_iter().map(palette::series).collect()
    }

    /// Returns whether the values of the series of this name are on the right axis.
    fn is_right(&self, name: &str) -> bool {
        self.content.kind().right().is_some_and(|right| right.holds(name))
    }

    /// Returns how much larger the chart is drawn than with letters of the usual size.
    fn scale(&self) -> f64 {
        self.font_size / LABEL.size
    }

    /// Checks the chart, and returns the ranges of its axes with notes on what they leave out.
    pub fn view(&self) -> Result<ChartView> {
        self.check()?;
        self.content.kind().view(self)
    }

    /// Returns the chart, if it can be drawn: an error is better heard when a chart is made than when it is shown.
    fn checked(self, data: &str, task: &Task) -> Result<Self> {
        check::colour_numbers(&self.colour_numbers, &self.names())?;
        let chart = self.clone();
        let work = 8.0 * self.content.kind().points().count() as f64;
        task.heavy(work, move || chart.view().map(drop)).map_err(|e| e.about(data))?;
        Ok(self)
    }

    /// Describes the chart in a few words: `line chart of loss, accuracy`.
    pub fn short(&self) -> String {
        let names: Vec<&str> = self.names().into_iter().filter(|name| !name.is_empty()).collect();
        let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
        elided(&visible(&format!("{}{of}", self.content.kind().noun())), 72)
    }

    /// Describes the chart in one sentence, for those who cannot see the picture.
    pub fn described(&self) -> String {
        let what = self.content.kind().described(self.short());
        match (self.x.label.as_str(), self.y.label.as_str()) {
            ("", "") => format!("{what}."),
            (x, "") => format!("{what}; across: {x}."),
            ("", y) => format!("{what}; up: {y}."),
            (x, y) => format!("{what}; across: {x}; up: {y}."),
        }
    }
}

impl Picture for Chart {
    fn title(&self) -> String {
        if self.title.is_empty() { self.kind().into() } else { self.title.clone() }
    }

    fn description(&self) -> String {
        self.described()
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        self.check()?;
        let scale = self.scale();
        let width = f64::from(self.width) / scale;
        let height = f64::from(self.height) / scale;
        let lettering = Lettering { font: self.font, spelling };
        Ok(self.content.kind().draw(self, &Pane { width, height, lettering, panel: None })?.scaled(scale))
    }
}
