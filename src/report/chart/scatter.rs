//! Scatter plots: points by groups, thinned where more of them lie upon each other than can be seen.

use std::collections::BTreeMap;

use super::points::{error_bars, labels, marker};
use super::*;
use crate::report::point_thinning;

crate::options! {
    pub struct ScatterOptions {
        /// The name of each point's group, which gives it its colour.
        groups: Option<LabelList> = None;
        /// A text beside each point, as far as there is room.
        labels: Option<LabelList> = None;
        /// Distance from each place on the x axis to both ends of its interval.
        x_error: Option<GivenNumbers> = None;
        with intervals: IntervalOptions;
        with label: LabelOptions;
        with x_axis: XAxisOptions;
        with y_axis: YAxisOptions;
        with marks: AnnotationOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a scatter plot of points.
pub fn scatter(xs: &Plain, ys: &Plain, options: ScatterOptions, task: &Task) -> Result<Chart> {
    let x = ChartData { name: "xs", value: xs, task }.numbers()?;
    let y = ChartData { name: "ys", value: ys, task }.numbers()?;
    if x.len() != y.len() {
        return Err(err!(Shape, "expected as many ys as xs, found {} for {}", y.len(), x.len()).about("ys"));
    }
    let labels = options.labels.map_or_else(Vec::new, |LabelList(labels)| labels);
    let data = ChartData { name: "ys", value: ys, task };
    let spread = options.intervals.spreads(&data, &[(String::new(), y.clone())])?.pop().flatten();
    check::spread(&spread, y.len())?;
    let reach = options.x_error.map(|given| given.named("x_error", task).numbers()).transpose()?;
    let x_spread = reach.map(|reach| Spread::symmetric(&x, &reach));
    check::spread(&x_spread, x.len()).map_err(|e| e.about("x_error"))?;
    let all = Series { x, y, spread, x_spread, labels, ..Series::default() };
    let series = match options.groups {
        Some(LabelList(groups)) => grouped(&all, &groups).map_err(|e| e.about("groups"))?,
        None => vec![all],
    };
    Chart::scatter(series)
        .sized(&options.size)
        .styled(&options.style)
        .with_x_axis(&options.x_axis)
        .dressed(options.label, &options.y_axis, &options.marks, task)?
        .checked("xs", task)
}

/// Divides the points of one series by the group that each belongs to, in the order in which groups appear.
fn grouped(all: &Series, groups: &[String]) -> Result<Vec<Series>> {
    let points = all.y.len();
    if groups.len() != points {
        return Err(err!(Shape, "expected one group for each point, found {} for {points}", groups.len()));
    }
    if !all.labels.is_empty() && all.labels.len() != points {
        return Err(err!(Shape, "expected one label for each point, found {} for {points}", all.labels.len()));
    }
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    let mut members: Vec<(&str, Vec<usize>)> = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let at = *order.entry(group).or_insert(members.len());
        if at == members.len() {
            members.push((group, Vec::new()));
        }
        members[at].1.push(i);
    }
    let series = |(name, indices): (&str, Vec<usize>)| Series { name: name.into(), ..all.picked(&indices) };
    Ok(members.into_iter().map(series).collect())
}

/// Points that stand alone, series by series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScatterChart {
    pub series: Vec<Series>,
}

impl ChartKind for ScatterChart {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn symbol(&self) -> LegendSymbol {
        LegendSymbol::Point
    }

    fn series(&self) -> &[Series] {
        &self.series
    }

    fn notes(&self, chart: &Chart, pane: &Pane) -> Result<Vec<String>> {
        let mut view = chart.view()?;
        self.thinned(pane, &mut view);
        Ok(view.notes)
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        let mut view = chart.view()?;
        let kept = self.thinned(pane, &mut view);
        axes::draw(chart, view, pane, |plot| self.paint(plot, &kept))
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        series::text(&self.series, false, chart, screen)
    }
}

/// Maximum number of marks: more make a file heavy and a picture no richer.
const MOST_MARKS: usize = 8_000;

impl ScatterChart {
    /// Chooses the points of each series that are drawn; the view gets a note if these are not all that it holds.
    fn thinned(&self, pane: &Pane, view: &mut ChartView) -> Vec<Vec<usize>> {
        let place = |(x, y): (f64, f64)| (view.x.share(x) * pane.width, view.y.share(y) * pane.height);
        let is_inside = |(x, y): (f64, f64)| view.shows(x, y) && view.contains(x, y);
        let inside = |s: &Series| (0..s.y.len()).filter(|i| is_inside((s.x[*i], s.y[*i]))).collect();
        let shown: Vec<Vec<usize>> = self.series.iter().map(inside).collect();
        let all: usize = shown.iter().map(Vec::len).sum();
        let thinned = |(s, shown): (&Series, Vec<usize>)| {
            // Every series keeps its share, so that a small group does not drown in a large one.
            let most = (MOST_MARKS * shown.len()).div_ceil(all.max(1));
            point_thinning::apart(&shown, |i| place((s.x[i], s.y[i])), most.max(64))
        };
        let kept: Vec<Vec<usize>> = self.series.iter().zip(shown).map(thinned).collect();
        let drawn: usize = kept.iter().map(Vec::len).sum();
        if drawn < all {
            let marks = count(drawn, "mark");
            view.notes.push(format!("{marks} drawn for {}; the others lie upon them.", count(all, "point")));
        }
        kept
    }

    fn paint(&self, plot: &mut Plot, kept: &[Vec<usize>]) -> Result<()> {
        let all: usize = kept.iter().map(Vec::len).sum();
        for (index, (s, kept)) in self.series.iter().zip(kept).enumerate() {
            let look = plot.styles[index];
            // Many points are drawn smaller and fainter, so that their density shows; beside a great many those of a small
            // group keep their size, that they can be found.
            let (radius, opacity) = match if all <= 3000 { all } else { kept.len() } {
                0..=60 => (4.0, 0.9),
                61..=600 => (3.0, 0.75),
                601..=3000 => (2.2, 0.55),
                _ => (1.6, 0.45),
            };
            error_bars(plot, s, kept.iter().copied(), look)?;
            for i in kept {
                let at = plot.place(s.x[*i], s.y[*i]);
                marker(plot.canvas, at, radius, look, opacity)?;
            }
        }
        for (s, kept) in self.series.iter().zip(kept) {
            labels(plot, s, kept.iter().copied())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_intervals_both_ways() {
        let x = vec![1.0, 2.0];
        let x_spread = Some(Spread::symmetric(&x, &[0.5, f64::NAN]));
        let chart = Chart::scatter(vec![Series { y: vec![3.0, 4.0], x, x_spread, ..Series::default() }]);
        let view = chart.view().unwrap();
        assert!(view.x.low < 0.5 && view.x.contains(1.5), "{:?}", view.x);
        assert_eq!(view.notes, ["1 interval is without ends that can be shown."]);
        // A level bar with two caps.
        let body = chart.draw(false).unwrap().body;
        let bars: Vec<&str> = body.lines().filter(|line| line.contains("stroke-width=\"12\"")).collect();
        let heights = |line: &str| -> Vec<String> {
            let points = line.split('"').nth(1).unwrap().split_whitespace();
            points.map(|point| point.split_once(',').unwrap().1.to_string()).collect()
        };
        let level: Vec<bool> = bars.iter().map(|bar| heights(bar)[0] == heights(bar)[1]).collect();
        assert_eq!(level, [true, false, false]);
    }

    #[test]
    fn groups_keep_their_intervals() {
        let y = vec![1.0, 2.0, 3.0];
        let spread = Some(Spread { low: vec![0.5, 1.5, 2.5], high: vec![1.5, 2.5, 3.5], band: false });
        let all = Series { x: vec![0.0, 1.0, 2.0], y, spread, ..Series::default() };
        let series = grouped(&all, &["a", "b", "a"].map(String::from)).unwrap();
        let low = |at: usize| series[at].spread.as_ref().unwrap().low.clone();
        assert_eq!((series.len(), low(0), low(1)), (2, vec![0.5, 2.5], vec![1.5]));
        let bars = |chart: Chart| chart.draw(false).unwrap().body.matches("stroke-width=\"12\"").count();
        // A bar and two caps for each of the points.
        assert_eq!(bars(Chart::scatter(vec![all])), 9);
        assert_eq!(bars(Chart::scatter(series)), 9);
    }
}
