//! Bar charts: bars side by side in every category; in the terminal lines of blocks, each with its name and its value.

use super::points::whisker;
use super::text::{legend, mark_notes};
use super::*;
use crate::report::number;
use crate::report::palette::INK;
use crate::report::terminal::screen;

crate::options! {
    #[derive(Debug, Clone)]
    pub struct BarOptions {
        /// Names of the bars.
        labels: Option<LabelList> = None => usually("0, 1, 2 and so on");
        /// Names of the series.
        names: Option<LabelList> = None => usually("their numbers, or the keys of a map");
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with y_axis: YAxisOptions;
        with marks: AnnotationOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a bar chart: one bar for each value, or several side by side.
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
    Chart::bar(categories, series.collect())
        .sized(&options.size)
        .styled(&options.style)
        .dressed(options.label, &options.y_axis, &options.marks, task)?
        .checked("data", task)
}

/// Bars of several series in every category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BarChart {
    pub categories: Vec<String>,
    pub series: Vec<Bars>,
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

    fn check(&self, _: &Chart) -> Result<()> {
        check::some(self.categories.len(), "value")?;
        check::series(self.series.len())?;
        self.series.iter().try_for_each(|s| {
            let found = s.values.len();
            let lengths = check::same("value", found, "label", self.categories.len());
            lengths.and_then(|()| check::spread(&s.spread, found)).map_err(|e| check::named(e, &s.name))
        })
    }

    fn view(&self, chart: &Chart) -> Result<ChartView> {
        let values = || self.points().map(|(_, value)| value);
        if !values().any(|v| scale::shows(v, chart.y.log)) {
            return Err(chart.nothing());
        }
        let ends = self.series.iter().flat_map(|s| Spread::ends(&s.spread));
        // Bars stand on zero, where there is one.
        let base = (!chart.y.log).then_some(0.0);
        let y = chart.up_from(base, values().chain(ends))?;
        let x = Scale { low: -0.5, high: self.categories.len() as f64 - 0.5, log: false };
        let mut view = ChartView::new(x, y);
        view.leave_out(self.points(), "value");
        view.leave_out_ends(self.series.iter().map(|s| (s.values.as_slice(), &s.spread)));
        Ok(view)
    }

    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        Box::new(self.series.iter().flat_map(|s| s.values.iter().enumerate().map(|(i, v)| (i as f64, *v))))
    }

    fn categories(&self) -> Option<&[String]> {
        Some(&self.categories)
    }

    fn margins(&self, chart: &Chart, pane: &Pane) -> Result<Margins> {
        Ok(axes::margins(chart, &chart.view()?, LegendSymbol::Block, pane))
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        axes::draw(chart, chart.view()?, LegendSymbol::Block, pane, |plot| self.paint(plot))
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        let mut view = chart.view()?;
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
            for (index, s) in self.series.iter().enumerate() {
                let label = screen::fitted(if index == 0 { label } else { "" }, label_room);
                let bar = blocks(&view, s.values[category], room, filling(index));
                let bar = screen.ink(&bar, palette::series(index));
                lines.push(format!("{} {bar} {}", screen::right(&label, label_room), values[index][category]));
            }
        }
        if self.categories.len() > most {
            lines.push(format!("… and {}", count(self.categories.len() - most, "more bar")));
        }
        if !chart.y.label.is_empty() {
            lines.push(screen.dim(&screen::fitted(&token(&chart.y.label), screen.width)));
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
    fn paint(&self, plot: &mut Plot) -> Result<()> {
        let each = plot.frame.width() / self.categories.len() as f64 * FILLED / self.series.len() as f64;
        let wide = each.min(WIDEST);
        for category in 0..self.categories.len() {
            let left = plot.x(category as f64) - wide * self.series.len() as f64 / 2.0;
            for (index, s) in self.series.iter().enumerate() {
                let from = left + wide * index as f64;
                let look = plot.style(index);
                bar_of(plot, (from, from + wide), s.values[category], look)?;
                if let Some(spread) = &s.spread {
                    let ends = (spread.low[category], spread.high[category]);
                    whisker(plot, from + wide / 2.0, ends, INK)?;
                }
            }
        }
        Ok(())
    }
}

fn bar_of(plot: &mut Plot, (left, right): (f64, f64), value: f64, look: SeriesStyle) -> Result<()> {
    let y = plot.view.y;
    if !y.shows(value) {
        return Ok(());
    }
    let base = if y.log { plot.frame.bottom } else { plot.y_inside(0.0) };
    // Neighbours keep a hairline between them while there is room for one.
    let gap = if right - left > 6.0 { 0.5 } else { 0.0 };
    let top = plot.y_inside(value);
    plot.canvas.rectangle((left + gap, top), (right - gap, base), look.colour)
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

/// Draws the bar from the zero of the axis to the value, padded to `room` columns.
fn blocks(view: &ChartView, value: f64, room: usize, filling: &str) -> String {
    let scale = &view.y;
    if !scale.shows(value) {
        return " ".repeat(room);
    }
    let share = |v: f64| scale.share(v).clamp(0.0, 1.0) * room as f64;
    let base = if scale.log { 0.0 } else { share(0.0) };
    let start = base.min(share(value)).round();
    let end = base.max(share(value));
    let eighths = ((end - start).max(0.0) * 8.0).round() as usize;
    // Eighths only where a bar grows to the right in full blocks; the others end on whole characters.
    let (whole, rest) =
        if filling == "█" && value >= 0.0 { (eighths / 8, eighths % 8) } else { ((eighths + 4) / 8, 0) };
    let tip = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][rest];
    screen::left(&format!("{}{}{tip}", " ".repeat(start as usize), filling.repeat(whole)), room)
}
