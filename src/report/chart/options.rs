//! The options of charts, and what charts share of them: labels, sizes, axes, annotations and intervals.

use std::ops::Range;

use super::data::{NamedValues, inside, values};
use super::*;
use crate::options::{ElementFault, Setting, number_text};
use crate::tensor::Tensor;

/// The sizes of a chart, in CSS pixels.
pub const SMALLEST: u32 = 160;
pub const LARGEST: u32 = 4000;

/// The sizes of letters, in CSS pixels.
pub const SMALLEST_FONT: f64 = 4.0;
pub const LARGEST_FONT: f64 = 60.0;

/// Numbers as they were given, a list, a tensor or a map of either, which are read once the data are known.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenNumbers(pub Plain);

impl GivenNumbers {
    pub(super) fn named<'a>(&'a self, name: &'a str, task: &'a Task) -> ChartData<'a> {
        ChartData { name, value: &self.0, task }
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

/// Maximum number of labels of a chart.
const MOST_LABELS: u64 = 1 << 20;

/// Returns the labels of numbers that are given together: a range of whole numbers, or a tensor of one dimension.
fn numbered(value: &Plain) -> Option<Vec<String>> {
    if let Some(range) = inside::<Range<i64>>(value) {
        let is_short = range.is_empty() || range.end.abs_diff(range.start) <= MOST_LABELS;
        return is_short.then(|| range.clone().map(|number| number.to_string()).collect());
    }
    let tensor = inside::<Tensor>(value).filter(|tensor| tensor.rank() == 1)?;
    values(tensor, &Task::default()).ok()?.into_iter().map(|number| label(&Plain::Float(number))).collect()
}

/// Names of things: strings, or numbers as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelList(pub Vec<String>);

impl Setting for LabelList {
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

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        let Plain::List(values) = value else { return None };
        let (at, wrong) = values.iter().enumerate().find(|(_, value)| label(value).is_none())?;
        ElementFault::of::<String>(format!("[{at}]"), wrong)
    }

    fn written(&self) -> String {
        self.0.written()
    }
}

/// Texts at points of the data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextAnnotations(pub Vec<Annotation>);

impl Setting for TextAnnotations {
    fn wanted() -> String {
        "lists of [x, y, text] or [x, y, text, [x, y]]".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let mark = |value: &Plain| match value {
            Plain::List(parts) => match parts.as_slice() {
                [x, y, text] => Some(Annotation::Text { x: f64::of(x)?, y: f64::of(y)?, text: String::of(text)? }),
                [x, y, text, from] => {
                    let from = <[f64; 2]>::of(from)?;
                    Some(Annotation::Arrow { x: f64::of(x)?, y: f64::of(y)?, text: String::of(text)?, from })
                }
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

/// Spans of an axis, each with its name, which may be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpanList(pub Vec<(String, [f64; 2])>);

impl Setting for SpanList {
    fn wanted() -> String {
        "[low, high], lists of such, or a map of names to such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        named(value, <[f64; 2]>::of).map(Self)
    }

    fn written(&self) -> String {
        "none".into()
    }
}

/// Lines through points, each with its name, which may be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineList(pub Vec<(String, Vec<[f64; 2]>)>);

impl Setting for LineList {
    fn wanted() -> String {
        "a list of points [x, y], lists of such, or a map of names to such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        named(value, path).map(Self)
    }

    fn written(&self) -> String {
        "none".into()
    }
}

/// Reads one value, a list of such, or a map of names to such; each with its name, empty where it has none.
fn named<T>(value: &Plain, read: impl Fn(&Plain) -> Option<T>) -> Option<Vec<(String, T)>> {
    let unnamed = |value: &Plain| read(value).map(|found| (String::new(), found));
    match value {
        Plain::Map(map) => map.iter().map(|(name, value)| Some((name.clone(), read(value)?))).collect(),
        Plain::List(several) => {
            unnamed(value).map_or_else(|| several.iter().map(unnamed).collect(), |one| Some(vec![one]))
        }
        one => unnamed(one).map(|one| vec![one]),
    }
}

/// Reads two points or more, from pairs of numbers or a tensor of two columns.
fn path(value: &Plain) -> Option<Vec<[f64; 2]>> {
    let points: Vec<[f64; 2]> = match value {
        Plain::List(points) => points.iter().map(<[f64; 2]>::of).collect::<Option<_>>()?,
        value => {
            let tensor = inside::<Tensor>(value).filter(|tensor| matches!(tensor.dims(), [_, 2]))?;
            let numbers = values(tensor, &Task::default()).ok()?;
            numbers.chunks(2).map(|pair| [pair[0], pair[1]]).collect()
        }
    };
    (points.len() > 1).then_some(points)
}

/// Ticks of an axis, each with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct TickList(pub Vec<Tick>);

impl TickList {
    fn tick(value: &Plain) -> Option<Tick> {
        let Plain::List(pair) = value else { return f64::of(value).map(Tick::numbered) };
        let [at, text] = pair.as_slice() else { return None };
        Some(Tick { at: f64::of(at)?, label: label(text)? })
    }
}

impl Setting for TickList {
    fn wanted() -> String {
        "numbers, or pairs [number, text]".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(ticks) => ticks.iter().map(Self::tick).collect::<Option<_>>().map(Self),
            value => {
                let numbers = values(inside::<Tensor>(value)?, &Task::default()).ok()?;
                Some(Self(numbers.into_iter().map(Tick::numbered).collect()))
            }
        }
    }

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        let Plain::List(ticks) = value else { return None };
        let (at, wrong) = ticks.iter().enumerate().find(|(_, value)| Self::tick(value).is_none())?;
        Some(ElementFault::new(format!("[{at}]"), "a number, or a pair [number, text],".into(), wrong))
    }

    fn written(&self) -> String {
        "none".into()
    }
}

crate::options! {
    pub struct SizeOptions {
        /// Width in pixels; a heat map takes what its cells need, up to this width.
        width: u32 = 720 => at_least(SMALLEST.into()).at_most(LARGEST.into());
        /// Height in pixels; a heat map takes what its cells need, up to this height.
        height: u32 = 440 => at_least(SMALLEST.into()).at_most(LARGEST.into());
    }

    pub struct StyleOptions {
        /// Size of the labels in pixels; titles, lines, marks and margins scale with it.
        font_size: f64 = LABEL.size => at_least(SMALLEST_FONT).at_most(LARGEST_FONT);
        /// Typeface of all text.
        font: Font = Font::Sans;
        /// Colours: by hue, by lightness too so that they print in grey, or greys.
        palette: Palette = Palette::Colour;
    }

    pub struct LabelOptions {
        /// The line above the chart.
        title: Option<String> = None;
        /// The label of the x axis, with its unit.
        x: Option<String> = None;
        /// The label of the y axis, with its unit.
        y: Option<String> = None;
    }

    pub struct XAxisOptions {
        /// Whether the x axis is logarithmic.
        log_x: bool = false;
        /// Ends of the x axis; with the higher one first it is reversed.
        x_range: Option<[f64; 2]> = None => usually("from the data");
        /// Ticks of the x axis: numbers, or pairs [number, text].
        x_ticks: Option<TickList> = None => usually("round numbers");
    }

    pub struct YAxisOptions {
        /// Whether the y axis is logarithmic.
        log_y: bool = false;
        /// Ends of the y axis; with the higher one first it is reversed.
        y_range: Option<[f64; 2]> = None => usually("from the data");
        /// Ticks of the y axis: numbers, or pairs [number, text].
        y_ticks: Option<TickList> = None => usually("round numbers");
    }

    pub struct AnnotationOptions {
        /// Lines across, at a number, a list of numbers, or a map of names to numbers.
        horizontal: Option<GivenNumbers> = None;
        /// Lines up, at a number, a list of numbers, or a map of names to numbers; in a bar chart 0 is the first bar.
        vertical: Option<GivenNumbers> = None;
        /// Annotations, a list of [x, y, text], or of [x, y, text, [x, y]] for a text elsewhere with an arrow to its
        /// point.
        texts: TextAnnotations = TextAnnotations::default();
        /// Shaded spans of the x axis: [low, high], a list of such, or a map of names to such.
        x_spans: SpanList = SpanList::default();
        /// Shaded spans of the y axis.
        y_spans: SpanList = SpanList::default();
        /// Lines over the data: a list of points [x, y], a list of such, or a map of names to such.
        lines: LineList = LineList::default();
        /// Whether the names of the series are listed.
        legend: bool = true;
        /// Numbers in the palette, by the names of series: a name then has one colour, dash and marker in all charts.
        colours: Option<BTreeMap<String, usize>> = None => usually("in the order of the series");
    }

    pub struct IntervalOptions {
        /// The distance from each value to both ends of its interval, shaped like the data.
        error: Option<GivenNumbers> = None;
        /// The lower ends of the intervals, shaped like the data; needs `high`.
        low: Option<GivenNumbers> = None;
        /// The upper ends of the intervals.
        high: Option<GivenNumbers> = None;
    }
}

impl ChartData<'_> {
    /// Returns the series with the names given in place of their numbers. The series of a map have names already.
    pub(super) fn renamed(&self, series: Vec<NamedValues>, names: Option<LabelList>) -> Result<Vec<NamedValues>> {
        let Some(LabelList(names)) = names else { return Ok(series) };
        self.refuse_beside_map("names")?;
        if names.len() != series.len() {
            let message = format!("expected one name for each series, found {} for {}", names.len(), series.len());
            return Err(err!(Shape, "{message}").about("names"));
        }
        Ok(names.into_iter().zip(series).map(|(name, (_, values))| (name, values)).collect())
    }

    /// Refuses an option that lists names beside a map. Entries of a map come in the order of their keys, whatever the
    /// order they were written in, so a list would name the wrong ones without a word.
    pub(super) fn refuse_beside_map(&self, option: &str) -> Result<()> {
        match self.keys() {
            Some(_) => Err(err!(Argument, "expected no `{option}` for a map, whose keys are the names").about(option)),
            None => Ok(()),
        }
    }
}

impl IntervalOptions {
    /// Returns the intervals of all series: `error`, the distance to both sides, or `low` and `high`, the ends
    /// themselves.
    pub(super) fn spreads(&self, data: &ChartData, series: &[NamedValues]) -> Result<Vec<Option<Spread>>> {
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

impl Chart {
    pub(super) fn sized(self, options: &SizeOptions) -> Self {
        Self { width: options.width, height: options.height, ..self }
    }

    pub(super) fn styled(self, options: &StyleOptions) -> Self {
        Self { font_size: options.font_size, font: options.font, palette: options.palette, ..self }
    }

    pub(super) fn with_x_axis(mut self, options: &XAxisOptions) -> Self {
        let ticks = options.x_ticks.clone().map(|TickList(ticks)| ticks);
        self.x = Axis { log: options.log_x, range: options.x_range, ticks, ..self.x };
        self
    }

    /// Returns the chart with its labels, its y axis and its annotations.
    pub fn dressed(
        mut self,
        label: LabelOptions,
        y: &YAxisOptions,
        marks: &AnnotationOptions,
        task: &Task,
    ) -> Result<Self> {
        self.title = label.title.unwrap_or(self.title);
        self.x.label = label.x.unwrap_or(self.x.label);
        let ticks = y.y_ticks.clone().map(|TickList(ticks)| ticks);
        self.y = Axis { label: label.y.unwrap_or(self.y.label), log: y.log_y, range: y.y_range, ticks };
        self.legend = marks.legend;
        self.colour_numbers.extend(marks.colours.iter().flatten().map(|(name, number)| (name.clone(), *number)));
        if let Some(given) = &marks.horizontal {
            let lines = given.named("horizontal", task).places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Annotation::Horizontal { at, text }));
        }
        if let Some(given) = &marks.vertical {
            let lines = given.named("vertical", task).places()?.into_iter();
            self.marks.extend(lines.map(|(text, at)| Annotation::Vertical { at, text }));
        }
        self.marks.extend(marks.texts.0.iter().cloned());
        let spans = marks.x_spans.0.iter().cloned();
        self.marks.extend(spans.map(|(text, [low, high])| Annotation::XSpan { low, high, text }));
        let spans = marks.y_spans.0.iter().cloned();
        self.marks.extend(spans.map(|(text, [low, high])| Annotation::YSpan { low, high, text }));
        let lines = marks.lines.0.iter().cloned();
        self.marks.extend(lines.map(|(text, points)| Annotation::Line { points, text }));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::options::Foreign;
    use crate::tensor::Device;

    #[test]
    fn texts_stand_at_points_or_point_at_them() {
        let number = Plain::Float;
        let text = || Plain::Text("a".into());
        let plain = Plain::List(vec![number(1.0), number(2.0), text()]);
        let elsewhere = Plain::List(vec![number(3.0), Plain::Integer(4)]);
        let pointing = Plain::List(vec![number(1.0), number(2.0), text(), elsewhere.clone()]);
        let at = Annotation::Text { x: 1.0, y: 2.0, text: "a".into() };
        let arrow = Annotation::Arrow { x: 1.0, y: 2.0, text: "a".into(), from: [3.0, 4.0] };
        assert_eq!(TextAnnotations::of(&plain), Some(TextAnnotations(vec![at.clone()])));
        let both = Plain::List(vec![plain, pointing]);
        assert_eq!(TextAnnotations::of(&both), Some(TextAnnotations(vec![at, arrow])));
        assert_eq!(TextAnnotations::of(&Plain::List(vec![elsewhere])), None);
    }

    #[test]
    fn spans_are_one_or_several_or_named() {
        let span = |low, high| Plain::List(vec![Plain::Float(low), Plain::Float(high)]);
        let spans = |value: Plain| SpanList::of(&value).map(|SpanList(spans)| spans);
        assert_eq!(spans(span(1.0, 2.0)), Some(vec![(String::new(), [1.0, 2.0])]));
        let two = vec![(String::new(), [1.0, 2.0]), (String::new(), [3.0, 4.0])];
        assert_eq!(spans(Plain::List(vec![span(1.0, 2.0), span(3.0, 4.0)])), Some(two));
        let named = Plain::Map(vec![("warm-up".into(), span(1.0, 2.0))]);
        assert_eq!(spans(named), Some(vec![("warm-up".into(), [1.0, 2.0])]));
        assert_eq!(spans(Plain::Float(1.0)), None);
    }

    #[test]
    fn lines_are_one_or_several_or_named_or_tensors() {
        let point = |x, y| Plain::List(vec![Plain::Integer(x), Plain::Integer(y)]);
        let line = || Plain::List(vec![point(0, 1), point(2, 3)]);
        let lines = |value: Plain| LineList::of(&value).map(|LineList(lines)| lines);
        let read = || vec![[0.0, 1.0], [2.0, 3.0]];
        assert_eq!(lines(line()), Some(vec![(String::new(), read())]));
        assert_eq!(
            lines(Plain::List(vec![line(), line()])),
            Some(vec![(String::new(), read()), (String::new(), read())])
        );
        assert_eq!(lines(Plain::Map(vec![("fit".into(), line())])), Some(vec![("fit".into(), read())]));
        let tensor = Tensor::new(&[[0_f32, 1.0], [2.0, 3.0]], &Device::Cpu).unwrap();
        let tensor = Plain::Other(Foreign { what: "a Tensor".into(), value: Rc::new(tensor) });
        assert_eq!(lines(tensor), Some(vec![(String::new(), read())]));
        assert_eq!(lines(Plain::List(vec![point(0, 1)])), None);
        assert_eq!(lines(Plain::Float(1.0)), None);
    }

    #[test]
    fn ticks_are_numbers_or_have_texts() {
        let ticks = |value: &Plain| TickList::of(value).map(|TickList(ticks)| ticks);
        let pair = |at, text: &str| Plain::List(vec![Plain::Float(at), Plain::Text(text.into())]);
        let tick = |at, label: &str| Tick { at, label: label.into() };
        assert_eq!(
            ticks(&Plain::List(vec![Plain::Integer(8), pair(64.0, "all")])),
            Some(vec![tick(8.0, "8"), tick(64.0, "all")])
        );
        assert_eq!(ticks(&Plain::List(Vec::new())), Some(Vec::new()));
        assert_eq!(ticks(&Plain::List(vec![pair(1.0, "a"), Plain::Text("b".into())])), None);
        assert_eq!(ticks(&Plain::Integer(1)), None);
    }

    #[test]
    fn labels_are_names_numbers_ranges_and_tensors() {
        let other = |value: Rc<dyn std::any::Any>| Plain::Other(Foreign { what: "a value".into(), value });
        let labels = |value: Plain| LabelList::of(&value).map(|LabelList(labels)| labels);
        let three = Some(vec!["0".to_string(), "1".into(), "2".into()]);
        assert_eq!(labels(Plain::List(vec![Plain::Integer(0), Plain::Float(1.0), Plain::Text("2".into())])), three);
        assert_eq!(labels(other(Rc::new(0_i64..3))), three);
        assert_eq!(labels(other(Rc::new(Tensor::new(&[0_f32, 1.0, 2.0], &Device::Cpu).unwrap()))), three);
        assert_eq!(labels(other(Rc::new(Tensor::new(&[[0_f32], [1.0]], &Device::Cpu).unwrap()))), None);
        assert_eq!(labels(other(Rc::new(0..i64::MAX))), None);
    }
}
