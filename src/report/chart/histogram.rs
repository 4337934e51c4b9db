//! Histograms: values counted between edges that suit them, drawn as filled outlines; in the terminal as columns of
//! blocks, several of them as outlines.

use super::view::left_out;
use super::*;
use crate::report::palette::GROUND;
use crate::report::terminal::braille::Braille;

crate::options! {
    /// Division of the values of a histogram into bins.
    pub struct BinOptions {
        /// Number of bins.
        bins: Option<usize> = None => usually("by the Freedman-Diaconis rule, 10 to 80");
        /// Lowest and highest edge of the bins.
        range: Option<[f64; 2]> = None => usually("the extremes of the values");
        /// Whether bins grow by a constant factor, on a logarithmic x axis.
        log: bool = false;
        /// Whether columns are densities, whose area is 1 for each series, in place of counts.
        density: bool = false;
    }

    pub struct HistogramOptions {
        /// The line above the chart.
        title: Option<String> = None;
        /// Quantity that is counted, with its unit.
        x: Option<String> = None;
        /// The label of the y axis.
        y: Option<String> = None => usually("count, or density");
        with division: BinOptions;
        with y_axis: YAxisOptions;
        with marks: AnnotationOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a histogram of one list of values, or of several over the same edges.
pub fn histogram(values: &Plain, options: HistogramOptions, task: &Task) -> Result<Chart> {
    let data = ChartData { name: "values", value: values, task };
    let named = match values {
        Plain::Map(_) => data.series()?,
        _ => vec![(String::new(), data.numbers()?)],
    };
    let count: usize = named.iter().map(|(_, values)| values.len()).sum();
    let division = options.division;
    // They are sorted, for the width of the bins.
    let chart = task.heavy(16.0 * count as f64, move || binned(named, &division)).map_err(|e| e.about("values"))?;
    let label = LabelOptions { title: options.title, x: options.x, y: options.y };
    let chart = chart.sized(&options.size).styled(&options.style);
    chart.dressed(label, &options.y_axis, &options.marks, task)?.checked("values", task)
}

/// Builds a histogram of several named lists of values over common edges. The last bin holds its upper edge, too.
pub fn binned(named: Vec<(String, Vec<f64>)>, bins: &BinOptions) -> Result<Chart> {
    for (name, values) in &named {
        if values.is_empty() {
            return Err(check::named(err!(Argument, "expected at least one value, found none"), name));
        }
    }
    let fits = |v: &f64| v.is_finite() && (!bins.log || *v > 0.0);
    let mut all: Vec<f64> = named.iter().flat_map(|(_, values)| values).copied().filter(fits).collect();
    all.sort_by(f64::total_cmp);
    let edges = edges(&all, bins)?;
    let series = named.into_iter().map(|(name, values)| counted(name, &values, &edges, bins.log)).collect();
    let content = Histogram { edges, series, density: bins.density };
    let mut chart = Chart::new(ChartContent::Histogram(content));
    chart.x.log = bins.log;
    chart.y.label = if bins.density { "density" } else { "count" }.into();
    chart.check()?;
    Ok(chart)
}

fn edges(sorted: &[f64], bins: &BinOptions) -> Result<Vec<f64>> {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        let wanted = if bins.log { "a finite value above zero" } else { "a finite value" };
        bail!(Argument, "expected {wanted} to count, found none");
    };
    let [low, high] = bins.range.unwrap_or([*first, *last]);
    if !(low.is_finite() && high.is_finite() && low <= high && (!bins.log || low > 0.0)) {
        return Err(err!(Argument, "expected finite ends in rising order for the bins, found {low} and {high}")
            .about(if bins.range.is_some() { "range" } else { "values" }));
    }
    let scale = Scale::new(low, high, bins.log);
    let count = match bins.bins {
        Some(count @ 1..=10_000) => count,
        Some(count) => return Err(err!(Argument, "expected from 1 to 10,000 bins, found {count}").about("bins")),
        None => suggested(sorted, &scale),
    };
    let mut edges: Vec<f64> = (0..=count).map(|i| scale.value(i as f64 / count as f64)).collect();
    // The ends exactly, whatever the interpolation rounds to: the extremes must not fall outside.
    edges[0] = scale.low;
    edges[count] = scale.high;
    if !edges.windows(2).all(|w| w[0] < w[1]) {
        return Err(err!(Argument, "expected values further apart for {count} bins, found {low} to {high}")
            .hint("ask for fewer bins"));
    }
    Ok(edges)
}

/// Returns the number of bins of width 2 IQR / n^(1/3) (Freedman and Diaconis 1981), from 10 to 80; 20 where both
/// quartiles are equal.
fn suggested(sorted: &[f64], scale: &Scale) -> usize {
    let quantile = |share: f64| scale.share(sorted[((sorted.len() - 1) as f64 * share) as usize]);
    let width = 2.0 * (quantile(0.75) - quantile(0.25)) / (sorted.len() as f64).cbrt();
    if width > 0.0 { (1.0 / width).ceil().clamp(10.0, 80.0) as usize } else { 20 }
}

fn counted(name: String, values: &[f64], edges: &[f64], log: bool) -> HistogramCounts {
    let mut found = HistogramCounts { name, counts: vec![0; edges.len() - 1], ..HistogramCounts::default() };
    let last = edges[edges.len() - 1];
    for value in values.iter().filter(|value| !is_missing(**value)) {
        if !value.is_finite() {
            found.not_finite += 1;
        } else if log && *value <= 0.0 {
            found.not_positive += 1;
        } else if *value < edges[0] || *value > last {
            found.outside += 1;
        } else {
            let bin = edges.partition_point(|edge| edge <= value).saturating_sub(1);
            found.counts[bin.min(edges.len() - 2)] += 1;
        }
    }
    found
}

/// Counts of several series over the same edges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    #[serde(serialize_with = "json::serialize")]
    pub edges: Vec<f64>,
    pub series: Vec<HistogramCounts>,
    /// Whether columns are drawn as densities, and not as counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub density: bool,
}

/// Numbers of values of one series between the edges, and of those that could not be counted there.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct HistogramCounts {
    pub name: String,
    pub counts: Vec<u64>,
    /// Values that were NaN or infinite.
    pub not_finite: usize,
    /// Values that were not above zero, where the edges are logarithmic.
    pub not_positive: usize,
    /// Other values outside the edges.
    pub outside: usize,
}

impl ChartKind for Histogram {
    fn name(&self) -> &'static str {
        "histogram"
    }

    fn names(&self) -> Vec<&str> {
        self.series.iter().map(|s| s.name.as_str()).collect()
    }

    fn check(&self, chart: &Chart) -> Result<()> {
        check::series(self.series.len())?;
        check::rising(&chart.y, "y")?;
        let edges = &self.edges;
        if edges.len() < 2 || !edges.windows(2).all(|w| w[0] < w[1]) || !edges.iter().all(|e| e.is_finite()) {
            bail!(Argument, "expected two or more finite edges in rising order");
        }
        self.series.iter().try_for_each(|s| {
            check::same("count", s.counts.len(), "bin", edges.len() - 1).map_err(|e| check::named(e, &s.name))
        })
    }

    fn view(&self, chart: &Chart) -> Result<ChartView> {
        let x = chart.along(Direction::X, self.edges.iter().copied(), 0.0)?;
        let heights = || self.points().map(|(_, height)| height).filter(|height| *height > 0.0);
        let most = heights().fold(if self.density { 0.0 } else { 1.0 }, f64::max);
        let base = match (chart.y.log, self.density) {
            (false, _) => 0.0,
            (true, false) => 1.0,
            (true, true) => heights().fold(most, f64::min),
        };
        let y = chart.along_from(Direction::Y, Some(base), std::iter::once(most))?;
        let sum = |of: fn(&HistogramCounts) -> usize| self.series.iter().map(of).sum();
        let notes = left_out([sum(|s| s.not_finite), sum(|s| s.not_positive), sum(|s| s.outside)], "value");
        Ok(ChartView { notes, ..ChartView::new(x, y) })
    }

    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        Box::new(self.series.iter().flat_map(move |s| self.edges.iter().copied().zip(self.heights(s))))
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        axes::draw(chart, chart.view()?, pane, |plot| self.paint(plot))
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        let of_series =
            |(s, ink): (&HistogramCounts, Rgb)| Columns { edges: &self.edges, heights: self.heights(s), ink };
        let columns: Vec<Columns> = self.series.iter().zip(chart.inks()).map(of_series).collect();
        text::plot(chart, screen, "■", |area, view| match columns.as_slice() {
            [only] => solid(area, view, only),
            several => outlines(area, view, several, text::is_lettered(chart, screen)),
        })
    }
}

impl Histogram {
    /// Returns the heights of the columns of a series: its counts, or these as shares of all that were counted and of
    /// the width of the bin.
    fn heights(&self, s: &HistogramCounts) -> Vec<f64> {
        let all: f64 = s.counts.iter().map(|count| *count as f64).sum();
        let height = |(pair, count): (&[f64], &u64)| match *count as f64 {
            count if self.density => count / all.max(1.0) / (pair[1] - pair[0]),
            count => count,
        };
        self.edges.windows(2).zip(&s.counts).map(height).collect()
    }

    /// Draws filled outlines, translucent where several lie upon each other.
    fn paint(&self, plot: &mut Plot) -> Result<()> {
        let is_alone = self.series.len() == 1;
        for (s, look) in self.series.iter().zip(plot.styles) {
            let heights = self.heights(s);
            let outline = outline(plot, &self.edges, &heights);
            let opacity = if is_alone { 0.75 } else { 0.3 };
            plot.canvas.polygon(&plot.frame.polygon(&outline), look.colour.faint(opacity))?;
            if is_alone {
                separators(plot, &self.edges, &heights)?;
                continue;
            }
            for piece in plot.frame.path(&outline) {
                look.stroke(plot.canvas, &piece)?;
            }
        }
        Ok(())
    }
}

/// Returns the outline of the columns from left to right, beginning and ending on the base line.
fn outline(plot: &Plot, edges: &[f64], heights: &[f64]) -> Vec<Point> {
    let base = plot.frame.bottom;
    let mut points = vec![(plot.x(edges[0]), base)];
    for (pair, height) in edges.windows(2).zip(heights) {
        let top = if *height == 0.0 { base } else { plot.y_inside(*height) };
        points.extend([(plot.x(pair[0]), top), (plot.x(pair[1]), top)]);
    }
    points.push((plot.x(edges[edges.len() - 1]), base));
    points
}

/// Draws hairlines in the colour of the ground between neighbouring columns, where these are wide enough.
fn separators(plot: &mut Plot, edges: &[f64], heights: &[f64]) -> Result<()> {
    if plot.frame.width() / (heights.len() as f64) < 5.0 {
        return Ok(());
    }
    for (edge, pair) in edges[1..].iter().zip(heights.windows(2)) {
        let lower = pair[0].min(pair[1]);
        if lower > 0.0 && plot.view.x.contains(*edge) {
            let x = plot.x(*edge);
            let top = plot.y_inside(lower);
            plot.canvas.line((x, top), (x, plot.frame.bottom), 1.0, GROUND)?;
        }
    }
    Ok(())
}

/// Blocks that fill a character by eighths from below.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns of a series as the terminal draws them.
struct Columns<'a> {
    edges: &'a [f64],
    heights: Vec<f64>,
    ink: Rgb,
}

impl Columns<'_> {
    /// Returns the height of the columns at a stretch of the width, as a share of the axis: that of the highest bin
    /// that the stretch touches.
    fn height(&self, view: &ChartView, from: f64, to: f64) -> f64 {
        let bin = |share: f64| self.edges.partition_point(|edge| *edge <= view.x.value(share));
        let first = bin(from).max(1);
        let touched = first..=bin(to).min(self.heights.len()).max(first);
        let most = touched.filter_map(|i| self.heights.get(i - 1)).copied().fold(0.0, f64::max);
        if most == 0.0 { 0.0 } else { view.y.share(most).clamp(0.0, 1.0) }
    }
}

fn solid(area: &TextArea, view: &ChartView, columns: &Columns) -> PlotCharacters {
    let heights: Vec<f64> = (0..area.columns)
        .map(|column| {
            // The middle of the column decides, so that a bin does not run over into its neighbour's character; only
            // bins narrower than a character are looked at together.
            let middle = (column as f64 + 0.5) / area.columns as f64;
            let reach = if columns.heights.len() > area.columns { 0.5 / area.columns as f64 } else { 0.0 };
            columns.height(view, middle - reach, middle + reach)
        })
        .collect();
    area.cells(|column, row| {
        let filled = heights[column] * area.rows as f64 - (area.rows - 1 - row) as f64;
        let eighths = (filled * 8.0).round().clamp(0.0, 8.0) as usize;
        // What is there at all is seen, however little it is.
        let least = usize::from(heights[column] > 0.0 && row == area.rows - 1);
        let text = EIGHTHS[eighths.max(least)];
        (text != ' ').then_some(PlotCharacter { text, colour: Some(columns.ink) })
    })
}

fn outlines(area: &TextArea, view: &ChartView, series: &[Columns], lettered: bool) -> PlotCharacters {
    let mut raster = Braille::new(area.columns, area.rows);
    let frame = raster.frame();
    for (index, columns) in series.iter().enumerate() {
        let mut before = (0.0, frame.bottom);
        for column in 0..area.columns * 2 {
            let middle = (column as f64 + 0.5) / (area.columns * 2) as f64;
            let top = frame.bottom * (1.0 - columns.height(view, middle, middle));
            raster.stroke((column as f64, before.1), (column as f64, top), index);
            before = (column as f64, top);
        }
    }
    area.cells(|column, row| {
        let (dots, owner) = raster.cell(column, row)?;
        Some(PlotCharacter { text: if lettered { text::letter(owner) } else { dots }, colour: Some(series[owner].ink) })
    })
}

#[cfg(test)]
mod tests {
    use super::super::ChartContent;
    use super::*;
    use crate::base::results::MISSING;

    fn of(values: Vec<f64>, bins: BinOptions) -> (Vec<f64>, HistogramCounts) {
        match binned(vec![(String::new(), values)], &bins).unwrap().content.as_ref() {
            ChartContent::Histogram(Histogram { edges, series, .. }) => (edges.clone(), series[0].clone()),
            other => panic!("not a histogram: {other:?}"),
        }
    }

    #[test]
    fn every_value_is_counted_once_the_last_edge_included() {
        let (edges, found) = of(vec![0.0, 1.0, 2.0, 3.0, 4.0], BinOptions { bins: Some(4), ..BinOptions::default() });
        assert_eq!(edges, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found.counts, [1, 1, 1, 2]);
    }

    #[test]
    fn the_area_of_densities_is_one() {
        let bins = BinOptions { bins: Some(4), density: true, log: true, ..BinOptions::default() };
        let mut chart = binned(vec![(String::new(), vec![1.0, 2.0, 3.0, 50.0, 1e4, -1.0])], &bins).unwrap();
        let content = chart.content.clone();
        let ChartContent::Histogram(histogram) = &*content else { panic!("no histogram") };
        let heights = histogram.heights(&histogram.series[0]);
        let area: f64 =
            histogram.edges.windows(2).zip(&heights).map(|(pair, height)| (pair[1] - pair[0]) * height).sum();
        assert!((area - 1.0).abs() < 1e-12 && heights[0] > 0.05, "{heights:?}");
        assert_eq!(chart.y.label, "density");
        // Even the lowest column has some height on a logarithmic axis.
        chart.y.log = true;
        let view = chart.view().unwrap();
        let least = heights.iter().copied().filter(|height| *height > 0.0).fold(f64::INFINITY, f64::min);
        assert!(view.y.low < least && view.y.contains(heights[0]), "{:?} {heights:?}", view.y);
    }

    #[test]
    fn what_cannot_be_counted_is_said() {
        let bins = BinOptions { bins: Some(3), log: true, ..BinOptions::default() };
        let (edges, found) = of(vec![1.0, 10.0, 1000.0, -1.0, 0.0, f64::NAN, MISSING, f64::INFINITY], bins);
        assert_eq!((edges[0], edges[3]), (1.0, 1000.0));
        assert_eq!((found.counts.iter().sum::<u64>(), found.not_finite, found.not_positive), (3, 2, 2));
        assert!(binned(vec![("a".into(), vec![])], &BinOptions::default()).is_err());
        assert!(binned(vec![("a".into(), vec![f64::NAN])], &BinOptions::default()).is_err());
    }

    #[test]
    fn constants_and_single_values_have_a_bin() {
        for values in [vec![3.0], vec![3.0; 100], vec![0.0], vec![1e308, -1e308]] {
            let n = values.len() as u64;
            assert_eq!(of(values, BinOptions::default()).1.counts.iter().sum::<u64>(), n);
        }
    }
}
