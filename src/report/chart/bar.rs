//! Bar charts: bars side by side or stacked in every category, upright or lying; in the terminal lines of blocks, each
//! with its name and its value.

use super::points::whisker;
use super::text::{legend, mark_notes};
use super::*;
use crate::report::number;
use crate::report::palette::INK;
use crate::report::terminal::screen;

crate::choices! {
    /// Ways in which bars lie.
    pub enum Orientation {
        /// Upright, with their labels below.
        Vertical = "vertical",
        /// Level, with their labels at the left and their values along the x axis.
        Horizontal = "horizontal",
    }
}

crate::options! {
    pub struct BarOptions {
        /// Names of the bars.
        labels: Option<LabelList> = None => usually("0, 1, 2 and so on");
        /// Names of the series.
        names: Option<LabelList> = None => usually("their numbers, or the keys of a map");
        /// Whether the bars of all series stand on each other, and not side by side.
        stacked: bool = false;
        /// Direction of the bars; those of long labels are best horizontal, with their values along the x axis.
        orientation: Orientation = Orientation::Vertical;
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with x_axis: XAxisOptions;
        with y_axis: YAxisOptions;
        with marks: AnnotationOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a bar chart: one bar for each value, or several side by side or stacked.
pub fn bar(data: &Plain, options: BarOptions, task: &Task) -> Result<Chart> {
    let data = ChartData { name: "data", value: data, task };
    let (names, named) = match data.pairs() {
        Some((names, values)) => (Some(names), vec![(String::new(), values)]),
        None => (None, data.series()?),
    };
    let named = data.renamed(named, options.names)?;
    let spreads = options.intervals.spreads(&data, &named)?;
    let length = named.first().map_or(0, |(_, values)| values.len());
    if options.labels.is_some() && names.is_some() {
        data.refuse_beside_map("labels")?;
    }
    let numbered = || (0..length).map(|i| i.to_string()).collect();
    let categories = options.labels.map(|LabelList(labels)| labels).or(names).unwrap_or_else(numbered);
    let series = named.into_iter().zip(spreads).map(|((name, values), spread)| Bars { name, values, spread });
    let horizontal = options.orientation == Orientation::Horizontal;
    let content = BarChart { categories, series: series.collect(), stacked: options.stacked, horizontal };
    let labels = content.values().other();
    let chart = Chart::new(ChartContent::Bar(content))
        .sized(&options.size)
        .styled(&options.style)
        .with_x_axis(&options.x_axis)
        .dressed(options.label, &options.y_axis, &options.marks, task)?;
    let Axis { log, range, ticks, .. } = chart.axis(labels);
    let name = if horizontal { "y" } else { "x" };
    let given = [
        (*log, format!("log_{name}")),
        (range.is_some(), format!("{name}_range")),
        (ticks.is_some(), format!("{name}_ticks")),
    ];
    if let Some((_, option)) = given.iter().find(|(is_given, _)| *is_given) {
        let refused = format!("expected no `log_{name}`, `{name}_range` or `{name}_ticks`");
        return Err(err!(Argument, "{refused}: the {name} axis has the labels of the bars").about(option));
    }
    chart.checked("data", task)
}

/// Bars of several series in every category.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct BarChart {
    pub categories: Vec<String>,
    pub series: Vec<Bars>,
    /// Whether the bars of a category stand on each other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stacked: bool,
    /// Whether bars lie under each other, with their values along the x axis.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub horizontal: bool,
}

/// Bars of one series, with one value for each category.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Bars {
    pub name: String,
    #[serde(serialize_with = "json::serialize")]
    pub values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

impl ChartKind for BarChart {
    fn name(&self) -> &'static str {
        "bar"
    }

    fn names(&self) -> Vec<&str> {
        self.series.iter().map(|s| s.name.as_str()).collect()
    }

    fn check(&self, chart: &Chart) -> Result<()> {
        check::some(self.categories.len(), "value")?;
        check::series(self.series.len())?;
        check::rising(chart.axis(self.values()), if self.horizontal { "x" } else { "y" })?;
        if self.stacked && chart.axis(self.values()).log {
            return Err(err!(Argument, "expected a linear axis for stacked bars, found a logarithmic one")
                .hint("lengths add up on a linear axis only")
                .about("stacked"));
        }
        if self.stacked && self.series.iter().any(|s| s.spread.is_some()) {
            return Err(err!(Argument, "expected no intervals on stacked bars")
                .hint("side by side, each bar has its own")
                .about("stacked"));
        }
        self.series.iter().try_for_each(|s| {
            let found = s.values.len();
            let lengths = check::same("value", found, "label", self.categories.len());
            lengths.and_then(|()| check::spread(&s.spread, found)).map_err(|e| check::named(e, &s.name))
        })
    }

    fn view(&self, chart: &Chart) -> Result<ChartView> {
        let is_log = chart.axis(self.values()).log;
        let bars = || self.bars().map(|(_, (_, end))| end);
        if !bars().any(|end| scale::shows(end, is_log)) {
            return Err(chart.nothing());
        }
        let ends = self.series.iter().flat_map(|s| Spread::ends(&s.spread));
        // Bars stand on zero, where there is one.
        let base = (!is_log).then_some(0.0);
        let values = chart.along_from(self.values(), base, bars().chain(ends))?;
        // The first category is on top where they are under each other.
        let across = Scale::new(-0.5, self.categories.len() as f64 - 0.5, false);
        let categories = Scale { reversed: self.horizontal, ..across };
        let (x, y) = if self.horizontal { (values, categories) } else { (categories, values) };
        let mut view = ChartView::new(x, y);
        view.leave_out(self.points(), "value");
        view.leave_out_ends(self.values(), self.series.iter().map(|s| (s.values.as_slice(), &s.spread)));
        Ok(view)
    }

    /// Returns the ends of all bars.
    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        let values = self.values();
        Box::new(self.bars().map(move |(category, (_, end))| values.point(end, category)))
    }

    fn categories(&self) -> Option<(Direction, &[String])> {
        Some((self.values().other(), self.categories.as_slice()))
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        axes::draw(chart, chart.view()?, pane, |plot| self.paint(plot))
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        let mut view = chart.view()?;
        let inks = chart.inks();
        let filling = |index: usize| if screen.colour { "█" } else { FILLINGS[index % FILLINGS.len()] };
        let mut lines = legend(chart, screen, |index| filling(index).into());
        let most = (screen.height.max(24) * 2 / self.series.len()).max(1);
        // Intervals only where they leave as much room for the bars.
        let narrow = screen.width < 60;
        let values: Vec<Vec<String>> = self.series.iter().map(|s| texts(s, !narrow)).collect();
        let shown = self.categories.iter().take(most);
        let labels: Vec<String> = shown.map(|c| screen::fitted(&token(c), LONGEST_NAME)).collect();
        let label_room = labels.iter().map(|l| screen::width(l)).max().unwrap_or(0).min(screen.width / 3);
        let value_room = values.iter().flatten().map(|v| screen::width(v)).max().unwrap_or(0);
        let room = screen.width.min(WIDEST_LINE).saturating_sub(label_room + value_room + 3).max(4);
        for (category, label) in labels.iter().enumerate() {
            for index in 0..self.series.len() {
                let label = screen::fitted(if index == 0 { label } else { "" }, label_room);
                let bar = blocks(view.scale(self.values()), self.bar(index, category), room, filling(index));
                let bar = screen.ink(&bar, inks[index]);
                lines.push(format!("{} {bar} {}", screen::right(&label, label_room), values[index][category]));
            }
        }
        if self.categories.len() > most {
            lines.push(format!("… and {}", count(self.categories.len() - most, "more bar")));
        }
        let label = &chart.axis(self.values()).label;
        if !label.is_empty() {
            lines.push(screen.dim(&screen::fitted(&token(label), screen.width)));
        }
        view.notes.extend(mark_notes(&chart.marks));
        Ok((lines, view.notes))
    }

    fn described(&self, short: String) -> String {
        format!("{short}, {}", count(self.categories.len(), "label"))
    }
}

/// The share of a category's width that its bars take.
const FILLED: f64 = 0.78;

/// Largest width of a bar, however few there are.
const WIDEST: f64 = 72.0;

impl BarChart {
    /// Returns the axis that the values are along.
    fn values(&self) -> Direction {
        if self.horizontal { Direction::X } else { Direction::Y }
    }

    /// Returns both ends of a bar: zero and its value, or, where bars are stacked, the values before it of its sign and
    /// these with its own.
    fn bar(&self, series: usize, category: usize) -> (f64, f64) {
        let value = self.series[series].values[category];
        if !self.stacked || !value.is_finite() {
            return (0.0, value);
        }
        let before = self.series[..series].iter().filter_map(|s| s.values.get(category));
        let base = before.filter(|v| v.is_finite() && (**v < 0.0) == (value < 0.0)).fold(0.0, |sum: f64, v| sum + v);
        (base, base + value)
    }

    /// Returns both ends of all bars, series by series, each with its category.
    fn bars(&self) -> impl Iterator<Item = (f64, (f64, f64))> {
        let of_series = move |series: usize| {
            let categories = 0..self.series[series].values.len();
            categories.map(move |category| (category as f64, self.bar(series, category)))
        };
        (0..self.series.len()).flat_map(of_series)
    }

    fn paint(&self, plot: &mut Plot) -> Result<()> {
        let values = self.values();
        let side = if self.horizontal { plot.frame.height() } else { plot.frame.width() };
        let beside = if self.stacked { 1 } else { self.series.len() };
        let each = side / self.categories.len() as f64 * FILLED / beside as f64;
        let wide = each.min(WIDEST);
        for category in 0..self.categories.len() {
            let first = plot.at(values.other(), category as f64) - wide * beside as f64 / 2.0;
            for (index, s) in self.series.iter().enumerate() {
                let from = if self.stacked { first } else { first + wide * index as f64 };
                let look = plot.styles[index];
                bar_of(plot, values, (from, from + wide), self.bar(index, category), look)?;
                if let Some(spread) = &s.spread {
                    let ends = (spread.low[category], spread.high[category]);
                    whisker(plot, values, from + wide / 2.0, ends, INK)?;
                }
            }
        }
        Ok(())
    }
}

/// Draws a bar between two values along an axis, and between two places along the other one.
fn bar_of(
    plot: &mut Plot,
    values: Direction,
    (near, far): (f64, f64),
    (from, to): (f64, f64),
    look: SeriesStyle,
) -> Result<()> {
    let scale = plot.view.scale(values);
    if !scale.shows(to) {
        return Ok(());
    }
    let base = match values {
        Direction::X if scale.log => plot.frame.left,
        Direction::Y if scale.log => plot.frame.bottom,
        _ => plot.inside(values, from),
    };
    // Neighbours keep a hairline between them while there is room for one.
    let gap = if far - near > 6.0 { 0.5 } else { 0.0 };
    let end = plot.inside(values, to);
    plot.canvas.rectangle(values.point(end, near + gap), values.point(base, far - gap), look.colour)
}

/// Characters that fill the bars of each series where there are no colours.
const FILLINGS: [&str; 4] = ["█", "▒", "▓", "░"];

const LONGEST_NAME: usize = 24;
const WIDEST_LINE: usize = 100;

/// Writes the values as text, with the ends of their intervals if `intervals` asks for them.
fn texts(s: &Bars, intervals: bool) -> Vec<String> {
    let ends = |i: usize| match s.spread.as_ref().filter(|_| intervals) {
        Some(spread) => format!(" [{}, {}]", number::digits(spread.low[i], 3), number::digits(spread.high[i], 3)),
        None => String::new(),
    };
    s.values.iter().enumerate().map(|(i, value)| format!("{}{}", number::digits(*value, 4), ends(i))).collect()
}

/// Draws a bar between its two ends, padded to `room` columns.
fn blocks(scale: Scale, (from, value): (f64, f64), room: usize, filling: &str) -> String {
    if !scale.shows(value) {
        return " ".repeat(room);
    }
    let share = |v: f64| scale.share(v).clamp(0.0, 1.0) * room as f64;
    let base = if scale.log { 0.0 } else { share(from) };
    let start = base.min(share(value)).round();
    let end = base.max(share(value));
    let eighths = ((end - start).max(0.0) * 8.0).round() as usize;
    // Eighths only where a bar grows to the right in full blocks; the others end on whole characters.
    let (whole, rest) =
        if filling == "█" && value >= 0.0 { (eighths / 8, eighths % 8) } else { ((eighths + 4) / 8, 0) };
    let tip = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][rest];
    screen::left(&format!("{}{}{tip}", " ".repeat(start as usize), filling.repeat(whole)), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(stacked: bool, horizontal: bool) -> Chart {
        let bars = |name: &str, values: [f64; 3]| Bars { name: name.into(), values: values.to_vec(), spread: None };
        let series = vec![bars("a", [1.0, -1.0, f64::NAN]), bars("b", [2.0, 3.0, 1.0]), bars("c", [4.0, -2.0, 1.0])];
        let categories = ["p", "q", "r"].map(String::from).into();
        Chart::new(ChartContent::Bar(BarChart { categories, series, stacked, horizontal }))
    }

    /// Returns left, top, width and height of the bars in the colour of a series, in tenths of a pixel.
    fn rectangles(chart: &Chart, series: usize) -> Vec<[i32; 4]> {
        let body = chart.draw(false).unwrap().body;
        let fill = format!("fill=\"{}\"", palette::series(series).hex());
        // The first is the key in the legend.
        let bars = body.lines().filter(|line| line.starts_with("<rect") && line.contains(&fill)).skip(1);
        let number = |bar: &str, name: &str| {
            let (_, rest) = bar.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse::<i32>().unwrap()
        };
        bars.map(|bar| ["x", "y", "width", "height"].map(|name| number(bar, name))).collect()
    }

    #[test]
    fn stacked_bars_stand_on_those_of_their_sign() {
        let stacked = chart(true, false);
        let ChartContent::Bar(bars) = &*stacked.content else { panic!("no bars") };
        let ends = |series: usize| -> Vec<(f64, f64)> { (0..2).map(|category| bars.bar(series, category)).collect() };
        assert_eq!((ends(0), ends(1)), (vec![(0.0, 1.0), (0.0, -1.0)], vec![(1.0, 3.0), (0.0, 3.0)]));
        assert_eq!(ends(2), [(3.0, 7.0), (-1.0, -3.0)]);
        // What is no number adds nothing.
        assert_eq!((bars.bar(1, 2), bars.bar(2, 2)), ((0.0, 1.0), (1.0, 2.0)));
        let view = stacked.view().unwrap();
        assert!(view.y.contains(7.0) && view.y.contains(-3.0));
        assert_eq!(view.notes, ["1 value is NaN or infinite and left out."]);
        let drawn = [0, 1, 2].map(|series| rectangles(&stacked, series)[0]);
        assert!(drawn.iter().all(|[left, _, wide, _]| (*left, *wide) == (drawn[0][0], drawn[0][2])), "{drawn:?}");
        assert!((drawn[1][1] + drawn[1][3] - drawn[0][1]).abs() <= 1 && drawn[2][1] < drawn[1][1], "{drawn:?}");
    }

    #[test]
    fn horizontal_bars_lie_under_each_other_beside_their_labels() {
        let lying = chart(false, true);
        let view = lying.view().unwrap();
        assert!(view.x.contains(4.0) && view.x.contains(-2.0) && view.y.share(0.0) > view.y.share(2.0));
        let [above, below] = [0, 1].map(|at| rectangles(&lying, 2)[at]);
        assert!(above[1] < below[1] && above[2] > above[3], "{above:?} {below:?}");
        // One to the right of zero, and one to its left that is half as long.
        assert!((below[0] + below[2] - above[0]).abs() <= 1 && (above[2] - 2 * below[2]).abs() <= 3);
        let body = lying.draw(false).unwrap().body;
        let label = body.split("<text ").find(|text| text.contains(">\np\n<")).unwrap();
        assert!(label.contains("text-anchor=\"end\""), "{label}");
        // In the terminal all bars lie.
        let text = |chart: &Chart| chart.text(&Screen { width: 40, ..Screen::default() }).unwrap();
        assert_eq!(text(&lying), text(&chart(false, false)));
    }

    #[test]
    fn stacked_bars_have_no_logarithm_and_no_intervals() {
        let mut log = chart(true, true);
        log.x.log = true;
        assert_eq!(
            log.check().unwrap_err().message,
            "expected a linear axis for stacked bars, found a logarithmic one"
        );
        let mut intervals = chart(true, false);
        if let ChartContent::Bar(bars) = Arc::make_mut(&mut intervals.content) {
            bars.series[0].spread = Some(Spread::symmetric(&[1.0, -1.0, f64::NAN], &[0.5; 3]));
        }
        assert_eq!(intervals.check().unwrap_err().message, "expected no intervals on stacked bars");
    }
}
