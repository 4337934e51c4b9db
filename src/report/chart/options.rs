//! The options of charts, and what charts share of them: labels, sizes, axes, annotations and intervals.

use std::ops::Range;

use super::data::{Data, inside, values};
use super::{Chart, Mark};
use crate::base::options::{Fault, Plain, Setting, number_text};
use crate::base::{Result, Task};
use crate::tensor::Tensor;

/// The sizes of a chart, in CSS pixels.
pub const SMALLEST: u32 = 160;
pub const LARGEST: u32 = 4000;

/// Numbers as they were given, a list, a tensor or a map of either, which are read once the data are known.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenNumbers(pub Plain);

impl GivenNumbers {
    pub(super) fn named<'a>(&'a self, name: &'a str, task: &'a Task) -> Data<'a> {
        Data { name, value: &self.0, task }
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

/// No chart has names for more.
const MOST_LABELS: u64 = 1 << 20;

/// Numbers that are given together: a range of whole ones, or a tensor of one dimension.
fn numbered(value: &Plain) -> Option<Vec<String>> {
    if let Some(range) = inside::<Range<i64>>(value) {
        let is_short = range.is_empty() || range.end.abs_diff(range.start) <= MOST_LABELS;
        return is_short.then(|| range.clone().map(|number| number.to_string()).collect());
    }
    let tensor = inside::<Tensor>(value).filter(|tensor| tensor.rank() == 1)?;
    values(tensor, &Task::default()).ok()?.into_iter().map(|number| label(&Plain::Float(number))).collect()
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
            Plain::Other(_) => numbered(value).map(Self),
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
        /// The lower ends of the intervals, shaped like the data; needs `high`.
        low: Option<GivenNumbers> = None;
        /// The upper ends of the intervals.
        high: Option<GivenNumbers> = None;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct LineOptions {
        /// Where on the x axis the values stand.
        x_values: Option<GivenNumbers> = None => usually("0, 1, 2 and so on");
        /// What the series are called.
        names: Option<Labels> = None => usually("their numbers, or the keys of a map");
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
        names: Option<Labels> = None => usually("their numbers, or the keys of a map");
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

    pub(super) fn marked_by(mut self, options: &MarkOptions, task: &Task) -> Result<Self> {
        self.legend = options.legend;
        if let Some(given) = &options.horizontal {
            let lines = given.named("horizontal", task).places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Mark::Horizontal { at, text }));
        }
        if let Some(given) = &options.vertical {
            let lines = given.named("vertical", task).places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Mark::Vertical { at, text }));
        }
        self.marks.extend(options.texts.0.iter().cloned());
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::options::Foreign;
    use crate::tensor::Device;

    #[test]
    fn labels_are_names_numbers_ranges_and_tensors() {
        let other = |value: Rc<dyn std::any::Any>| Plain::Other(Foreign { what: "a value".into(), value });
        let labels = |value: Plain| Labels::of(&value).map(|Labels(labels)| labels);
        let three = Some(vec!["0".to_string(), "1".into(), "2".into()]);
        assert_eq!(labels(Plain::List(vec![Plain::Integer(0), Plain::Float(1.0), Plain::Text("2".into())])), three);
        assert_eq!(labels(other(Rc::new(0_i64..3))), three);
        assert_eq!(labels(other(Rc::new(Tensor::new(&[0_f32, 1.0, 2.0], &Device::Cpu).unwrap()))), three);
        assert_eq!(labels(other(Rc::new(Tensor::new(&[[0_f32], [1.0]], &Device::Cpu).unwrap()))), None);
        assert_eq!(labels(other(Rc::new(0..i64::MAX))), None);
    }
}
