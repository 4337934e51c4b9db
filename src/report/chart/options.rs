//! The options of charts, and what charts share of them: labels, sizes, axes, annotations and intervals.

use super::data::Data;
use super::{Chart, Mark};
use crate::base::Result;
use crate::base::options::{Fault, Plain, Setting, number_text};

/// The sizes of a chart, in CSS pixels.
pub const SMALLEST: u32 = 160;
pub const LARGEST: u32 = 4000;

/// Numbers as they were given, a list, a tensor or a map of either, which are read once the data are known.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenNumbers(pub Plain);

impl GivenNumbers {
    pub(super) fn named<'a>(&'a self, name: &'a str) -> Data<'a> {
        Data { name, value: &self.0 }
    }
}

impl Setting for GivenNumbers {
    fn wanted() -> String {
        "numbers".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        (*value != Plain::Nothing).then(|| Self(value.clone()))
    }

    fn written(&self) -> String {
        self.0.described()
    }
}

fn label(value: &Plain) -> Option<String> {
    match (i64::of(value), value) {
        (Some(whole), _) => Some(whole.to_string()),
        (None, Plain::Float(number)) => Some(number_text(*number)),
        _ => String::of(value),
    }
}

/// What things are called: strings, or numbers as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels(pub Vec<String>);

impl Setting for Labels {
    fn wanted() -> String {
        "a name or an array of names".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(values) => values.iter().map(label).collect::<Option<_>>().map(Self),
            one => label(one).map(|label| Self(vec![label])),
        }
    }

    fn fault(value: &Plain) -> Option<Fault<'_>> {
        let Plain::List(values) = value else { return None };
        let (at, wrong) = values.iter().enumerate().find(|(_, value)| label(value).is_none())?;
        Fault::of::<String>(format!("[{at}]"), wrong)
    }

    fn written(&self) -> String {
        self.0.written()
    }
}

/// Texts at points of the data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextMarks(pub Vec<Mark>);

impl Setting for TextMarks {
    fn wanted() -> String {
        "lists of [x, y, text]".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let mark = |value: &Plain| match value {
            Plain::List(parts) => match parts.as_slice() {
                [x, y, text] => Some(Mark::Text { x: f64::of(x)?, y: f64::of(y)?, text: String::of(text)? }),
                _ => None,
            },
            _ => None,
        };
        let Plain::List(values) = value else { return None };
        let several = || values.iter().map(mark).collect::<Option<_>>();
        mark(value).map(|one| vec![one]).or_else(several).map(Self)
    }

    fn written(&self) -> String {
        "none".into()
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct SizeOptions {
        /// Width in pixels; a heat map takes what its cells need, up to this.
        width: u32 = 720 => at_least(SMALLEST.into()).at_most(LARGEST.into());
        /// Height in pixels; a heat map takes what its cells need, up to this.
        height: u32 = 440 => at_least(SMALLEST.into()).at_most(LARGEST.into());
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct LabelOptions {
        /// The line above the chart.
        title: Option<String> = None;
        /// The label of the x axis, with its unit.
        x: Option<String> = None;
        /// The label of the y axis, with its unit.
        y: Option<String> = None;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct XAxisOptions {
        /// A logarithmic x axis.
        log_x: bool = false;
        /// Both ends of the x axis.
        x_range: Option<[f64; 2]> = None => usually("from the data");
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct YAxisOptions {
        /// A logarithmic y axis.
        log_y: bool = false;
        /// Both ends of the y axis.
        y_range: Option<[f64; 2]> = None => usually("from the data");
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct MarkOptions {
        /// Lines across, at a number, a list of numbers, or a map of names to numbers.
        horizontal: Option<GivenNumbers> = None;
        /// Lines up, given in the same way; in a bar chart 0 is the first bar.
        vertical: Option<GivenNumbers> = None;
        /// Annotations, a list of [x, y, text].
        texts: TextMarks = TextMarks::default();
        /// Whether the names of the series are listed.
        legend: bool = true;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct IntervalOptions {
        /// The distance from each value to both ends of its interval, shaped like the data.
        error: Option<GivenNumbers> = None;
        /// The lower ends of the intervals, shaped like the data; needs `upper`.
        lower: Option<GivenNumbers> = None;
        /// The upper ends of the intervals.
        upper: Option<GivenNumbers> = None;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct LineOptions {
        /// Where on the x axis the values stand.
        x_values: Option<GivenNumbers> = None => usually("0, 1, 2 and so on");
        /// What the series are called.
        names: Option<Vec<String>> = None => usually("their numbers, or the keys of a map");
        /// Texts beside the points, if there is one series.
        labels: Option<Labels> = None;
        /// Intervals as a band behind the line in place of bars.
        band: bool = false;
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with x_axis: XAxisOptions;
        with y_axis: YAxisOptions;
        with marks: MarkOptions;
        with size: SizeOptions;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct BarOptions {
        /// What the bars stand for.
        labels: Option<Labels> = None => usually("0, 1, 2 and so on");
        /// What the series are called.
        names: Option<Vec<String>> = None => usually("their numbers, or the keys of a map");
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with y_axis: YAxisOptions;
        with marks: MarkOptions;
        with size: SizeOptions;
    }
}

crate::options! {
    /// How the values of a histogram are divided.
    #[derive(Debug, Clone)]
    pub struct BinOptions {
        /// Number of bins.
        bins: Option<usize> = None => usually("by the Freedman-Diaconis rule, 10 to 80");
        /// Both ends of the bins.
        range: Option<[f64; 2]> = None => usually("the extremes of the values");
        /// Bins that grow by a constant factor, on a logarithmic x axis.
        log: bool = false;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct HistogramOptions {
        /// The line above the chart.
        title: Option<String> = None;
        /// What is counted, with its unit.
        x: Option<String> = None;
        /// The label of the y axis.
        y: String = "count".into();
        with division: BinOptions;
        with y_axis: YAxisOptions;
        with marks: MarkOptions;
        with size: SizeOptions;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct ScatterOptions {
        /// The name of each point's group, which gives it its colour.
        groups: Option<Labels> = None;
        /// A text beside each point, as far as there is room.
        labels: Option<Labels> = None;
        with label: LabelOptions;
        with x_axis: XAxisOptions;
        with y_axis: YAxisOptions;
        with marks: MarkOptions;
        with size: SizeOptions;
    }
}

crate::options! {
    /// The names of a grid.
    #[derive(Debug, Clone)]
    pub struct GridOptions {
        /// The names of the rows.
        rows: Option<Labels> = None => usually("0, 1, 2 and so on");
        /// The names of the columns.
        columns: Option<Labels> = None => usually("0, 1, 2 and so on");
        /// What the numbers are, with their unit; it labels the bar of colours.
        quantity: Option<String> = None;
        /// The line above the grid.
        title: Option<String> = None;
        /// What the columns are.
        x: Option<String> = None;
        /// What the rows are.
        y: Option<String> = None;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct HeatOptions {
        /// The value that is white.
        centre: Option<f64> = None => usually("0 where there are both signs");
        /// The values at both ends of the colours.
        range: Option<[f64; 2]> = None => usually("from the data");
        with grid: GridOptions;
        with size: SizeOptions;
    }
}

impl Chart {
    pub(super) fn labelled(mut self, options: LabelOptions) -> Self {
        self.title = options.title.unwrap_or(self.title);
        self.x.label = options.x.unwrap_or(self.x.label);
        self.y.label = options.y.unwrap_or(self.y.label);
        self
    }

    pub(super) fn sized(self, options: &SizeOptions) -> Self {
        Self { width: options.width, height: options.height, ..self }
    }

    pub(super) fn with_x_axis(mut self, options: &XAxisOptions) -> Self {
        (self.x.log, self.x.range) = (options.log_x, options.x_range);
        self
    }

    pub(super) fn with_y_axis(mut self, options: &YAxisOptions) -> Self {
        (self.y.log, self.y.range) = (options.log_y, options.y_range);
        self
    }

    pub(super) fn marked_by(mut self, options: &MarkOptions) -> Result<Self> {
        self.legend = options.legend;
        if let Some(given) = &options.horizontal {
            let lines = given.named("horizontal").places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Mark::Horizontal { at, text }));
        }
        if let Some(given) = &options.vertical {
            let lines = given.named("vertical").places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Mark::Vertical { at, text }));
        }
        self.marks.extend(options.texts.0.iter().cloned());
        Ok(self)
    }
}
