//! Line charts: strokes, with intervals as bars or bands.

use super::data::NamedValues;
use super::points::{error_bars, labels, marker, stretches};
use super::*;
use crate::report::point_thinning;

crate::options! {
    pub struct LineOptions {
        /// Places of the values on the x axis: numbers for all series, or for each, shaped like the data.
        x_values: Option<GivenNumbers> = None => usually("0, 1, 2 and so on");
        /// Names of the series.
        names: Option<LabelList> = None => usually("their numbers, or the keys of a map");
        /// Texts beside the points, if there is one series.
        labels: Option<LabelList> = None;
        /// Whether intervals are a band behind the line in place of bars.
        band: bool = false;
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with x_axis: XAxisOptions;
        with y_axis: YAxisOptions;
        with right: RightAxisOptions;
        with marks: AnnotationOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a line chart of one series or several.
pub fn line(data: &Plain, options: LineOptions, task: &Task) -> Result<Chart> {
    let data = ChartData { name: "data", value: data, task };
    let named = data.renamed(data.series()?, options.names)?;
    let numbered = |(_, y): &NamedValues| -> Vec<f64> { (0..y.len()).map(|i| i as f64).collect() };
    let places = match &options.x_values {
        Some(given) => given.named("x_values", task).along(&data, &named)?,
        None => named.iter().map(numbered).collect(),
    };
    if options.labels.is_some() && named.len() != 1 {
        return Err(err!(Argument, "expected one series with `labels`, found {}", named.len()).about("labels"));
    }
    let labels = options.labels.map_or_else(Vec::new, |LabelList(labels)| labels);
    let spreads = options.intervals.spreads(&data, &named)?;
    let series = named.into_iter().zip(places).zip(spreads).map(|(((name, y), x), mut spread)| {
        if let Some(spread) = &mut spread {
            spread.band = options.band;
        }
        Series { name, x, y, spread, labels: labels.clone(), ..Series::default() }
    });
    let content = LineChart { series: series.collect(), right: options.right.axis()? };
    Chart::new(ChartContent::Line(content))
        .sized(&options.size)
        .styled(&options.style)
        .with_x_axis(&options.x_axis)
        .dressed(options.label, &options.y_axis, &options.marks, task)?
        .checked("data", task)
}

/// Points that are joined, series by series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineChart {
    pub series: Vec<Series>,
    /// The second y axis, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<RightAxis>,
}

impl ChartKind for LineChart {
    fn name(&self) -> &'static str {
        "line"
    }

    fn symbol(&self) -> LegendSymbol {
        LegendSymbol::Line
    }

    fn series(&self) -> &[Series] {
        &self.series
    }

    fn check(&self, _: &Chart) -> Result<()> {
        series::check(&self.series, self.name())?;
        self.right.as_ref().map_or(Ok(()), |right| right.check(&self.series))
    }

    fn view(&self, chart: &Chart) -> Result<ChartView> {
        match &self.right {
            Some(right) => right.view(&self.series, chart),
            None => series::view(self.series.iter(), chart),
        }
    }

    fn right(&self) -> Option<&RightAxis> {
        self.right.as_ref()
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        axes::draw(chart, chart.view()?, pane, |plot| {
            for (s, look) in self.series.iter().zip(plot.styles) {
                intervals(&mut plot.of_side(chart.is_right(&s.name)), s, *look)?;
            }
            for (s, look) in self.series.iter().zip(plot.styles) {
                let plot = &mut plot.of_side(chart.is_right(&s.name));
                line_of(plot, s, *look)?;
                labels(plot, s, 0..s.y.len())?;
            }
            Ok(())
        })
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        series::text(&self.series, true, chart, screen)
    }
}

/// Maximum number of corners of one line. Lines along the x axis have four in a pixel at most; only a tangle has more.
const MOST_VERTICES: usize = 100_000;

/// Maximum number of intervals along a line that are drawn as bars; more would be a grey cloud and are drawn as a band.
const MOST_ERROR_BARS: usize = 400;

/// Draws the intervals of a series, behind all lines.
fn intervals(plot: &mut Plot, s: &Series, look: SeriesStyle) -> Result<()> {
    let Some(spread) = s.spread.as_ref().filter(|spread| spread.band || s.y.len() > MOST_ERROR_BARS) else {
        return error_bars(plot, s, 0..s.y.len(), look);
    };
    let shown = |i: &usize| plot.view.shows(s.x[*i], spread.low[*i]) && plot.view.y.shows(spread.high[*i]);
    for run in stretches(s.y.len(), shown) {
        let upper: Vec<Point> = run.clone().map(|i| plot.place(s.x[i], spread.high[i])).collect();
        let lower: Vec<Point> = run.map(|i| plot.place(s.x[i], spread.low[i])).collect();
        let mut shape = point_thinning::path(&upper);
        shape.extend(point_thinning::path(&lower).into_iter().rev());
        plot.canvas.polygon(&plot.frame.polygon(&shape), look.colour.faint(0.18))?;
    }
    Ok(())
}

fn line_of(plot: &mut Plot, s: &Series, look: SeriesStyle) -> Result<()> {
    let dotted = s.y.len() <= 24;
    // A value that cannot be shown is a gap.
    let shown = |i: &usize| plot.view.shows(s.x[*i], s.y[*i]);
    for run in stretches(s.y.len(), shown) {
        let run: Vec<Point> = run.map(|i| plot.place(s.x[i], s.y[i])).collect();
        let path = point_thinning::path(&run);
        if path.len() > MOST_VERTICES {
            let error = err!(
                Argument,
                "expected a line that runs along the x axis, found one of {} points that doubles back",
                s.y.len()
            );
            return Err(error.hint("draw so many points with plot::scatter"));
        }
        for piece in plot.frame.path(&path) {
            look.stroke(plot.canvas, &piece)?;
        }
        // A point between two gaps has no line to be seen by.
        if dotted || run.len() == 1 {
            for point in run.iter().filter(|p| plot.frame.contains(**p)) {
                marker(plot.canvas, *point, 2.8, look, 1.0)?;
            }
        }
    }
    Ok(())
}
