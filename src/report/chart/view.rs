//! What of a chart can be seen: the ranges of its axes, and in words what they leave out.

use super::{Axis, Bars, Chart, Colours, Content, Counts, Mark, Series, Spread};
use crate::base::results::is_missing;
use crate::base::{Grid, Result};
use crate::err;
use crate::report::palette::ColourMap;
use crate::report::scale::Scale;
use crate::report::symbols::count;

/// The ranges of both axes, and notes to stand under the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub x: Scale,
    pub y: Scale,
    pub notes: Vec<String>,
}

impl View {
    /// Whether both coordinates can be shown on their kind of axis; they may still lie outside its range.
    pub fn shows(&self, x: f64, y: f64) -> bool {
        self.x.shows(x) && self.y.shows(y)
    }

    pub fn contains(&self, x: f64, y: f64) -> bool {
        self.x.contains(x) && self.y.contains(y)
    }
}

/// The share of an axis left free at both ends of the data.
const MARGIN: f64 = 0.04;

impl Chart {
    /// The view of anything but a heat map, which has cells in place of axes.
    pub fn view(&self) -> Result<View> {
        self.check()?;
        match &*self.content {
            Content::Line { series } | Content::Scatter { series } => self.points_view(series),
            Content::Bar { categories, series } => self.bars_view(categories.len(), series),
            Content::Histogram { edges, series } => self.counts_view(edges, series),
            Content::Heat { grid, .. } => {
                let span = |cells: usize| Scale { low: 0.0, high: cells as f64, log: false };
                Ok(View { x: span(grid.columns.len()), y: span(grid.rows.len()), notes: Vec::new() })
            }
        }
    }

    fn points_view(&self, series: &[Series]) -> Result<View> {
        let (x_log, y_log) = (self.x.log, self.y.log);
        let drawn = |x: f64, y: f64| x.is_finite() && y.is_finite() && !(x_log && x <= 0.0) && !(y_log && y <= 0.0);
        let points = || series.iter().flat_map(|s| s.x.iter().copied().zip(s.y.iter().copied()));
        let (marked_x, marked_y) = self.marked();
        let xs = points().filter(|(x, y)| drawn(*x, *y)).map(|(x, _)| x);
        let ys =
            points().filter(|(x, y)| drawn(*x, *y)).map(|(_, y)| y).chain(series.iter().flat_map(|s| ends(&s.spread)));
        let x = range(&self.x, xs.chain(marked_x), MARGIN).ok_or_else(|| nothing(&self.x, &self.y))?;
        let y = range(&self.y, ys.chain(marked_y), MARGIN).ok_or_else(|| nothing(&self.x, &self.y))?;
        if !points().any(|(x, y)| drawn(x, y)) {
            return Err(nothing(&self.x, &self.y));
        }
        let mut view = View { x, y, notes: Vec::new() };
        let mut left_out = LeftOut::default();
        for (x, y) in points().filter(|(x, y)| !is_missing(*x) && !is_missing(*y)) {
            if !x.is_finite() || !y.is_finite() {
                left_out.not_finite += 1;
            } else if !drawn(x, y) {
                left_out.not_positive += 1;
            } else if !view.contains(x, y) {
                left_out.outside += 1;
            }
        }
        view.notes = left_out.notes("point");
        view.notes.extend(lost_intervals(series.iter().map(|s| (s.y.as_slice(), &s.spread)), y_log));
        Ok(view)
    }

    fn bars_view(&self, categories: usize, series: &[Bars]) -> Result<View> {
        let values = || series.iter().flat_map(|s| s.values.iter().copied());
        // Bars stand on zero, where there is one.
        let base = (!self.y.log).then_some(0.0);
        let shown = values().chain(series.iter().flat_map(|s| ends(&s.spread))).chain(self.marked().1);
        if !values().any(|v| v.is_finite() && (!self.y.log || v > 0.0)) {
            return Err(nothing(&self.x, &self.y));
        }
        let y = range(&self.y, shown.chain(base), 0.0).ok_or_else(|| nothing(&self.x, &self.y))?;
        let y = if self.y.range.is_none() { headroom(y) } else { y };
        let mut left_out = LeftOut::default();
        for value in values().filter(|value| !is_missing(*value)) {
            if !value.is_finite() {
                left_out.not_finite += 1;
            } else if self.y.log && value <= 0.0 {
                left_out.not_positive += 1;
            } else if !y.contains(value) {
                left_out.outside += 1;
            }
        }
        let mut notes = left_out.notes("value");
        notes.extend(lost_intervals(series.iter().map(|s| (s.values.as_slice(), &s.spread)), self.y.log));
        Ok(View { x: Scale { low: -0.5, high: categories as f64 - 0.5, log: false }, y, notes })
    }

    fn counts_view(&self, edges: &[f64], series: &[Counts]) -> Result<View> {
        let (marked_x, marked_y) = self.marked();
        let x = range(&self.x, edges.iter().copied().chain(marked_x), 0.0).ok_or_else(|| nothing(&self.x, &self.y))?;
        let most = series.iter().flat_map(|s| s.counts.iter().copied()).max().unwrap_or(0).max(1) as f64;
        let base = if self.y.log { 1.0 } else { 0.0 };
        let y =
            range(&self.y, [base, most].into_iter().chain(marked_y), 0.0).ok_or_else(|| nothing(&self.x, &self.y))?;
        let y = if self.y.range.is_none() { headroom(y) } else { y };
        let left_out = LeftOut {
            not_finite: series.iter().map(|s| s.not_finite).sum(),
            not_positive: series.iter().map(|s| s.not_positive).sum(),
            outside: series.iter().map(|s| s.outside).sum(),
        };
        Ok(View { x, y, notes: left_out.notes("value") })
    }

    /// Where annotations stand, so that the axes reach them.
    fn marked(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for mark in &self.marks {
            match mark {
                Mark::Text { x, y, .. } => {
                    xs.push(*x);
                    ys.push(*y);
                }
                Mark::Horizontal { at, .. } => ys.push(*at),
                Mark::Vertical { at, .. } => xs.push(*at),
            }
        }
        (xs, ys)
    }
}

/// The colours of a heat map's cells, and notes to stand under it.
pub fn colours(grid: &Grid, colours: &Colours) -> Result<(ColourMap, Vec<String>)> {
    let finite = || grid.values.iter().copied().filter(|v| v.is_finite());
    let scale = Scale::around(finite(), false).ok_or_else(|| {
        err!(Argument, "expected at least one finite value to draw, found none among {}", grid.values.len())
    })?;
    let [low, high] = colours.range.unwrap_or([scale.low, scale.high]);
    let map = match colours.centre {
        Some(centre) if centre.is_finite() => {
            let reach = (high - centre).abs().max((centre - low).abs()).min(f64::MAX);
            ColourMap::signed(centre, if reach > 0.0 { reach } else { 1.0 })
        }
        _ => ColourMap::rising(low, high),
    };
    let mut notes = Vec::new();
    let blank = grid.values.iter().filter(|value| !value.is_finite() && !is_missing(**value)).count();
    if blank > 0 {
        notes.push(format!("{} NaN or infinite (grey).", are(blank, "cell")));
    }
    let beyond = finite().filter(|v| *v < map.low() || *v > map.high()).count();
    if beyond > 0 {
        notes.push(format!("{} beyond the ends of the colours.", are(beyond, "cell")));
    }
    Ok((map, notes))
}

/// What could not be drawn, and why.
#[derive(Debug, Default)]
struct LeftOut {
    not_finite: usize,
    not_positive: usize,
    outside: usize,
}

impl LeftOut {
    fn notes(&self, noun: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.not_finite > 0 {
            notes.push(format!("{} NaN or infinite and left out.", are(self.not_finite, noun)));
        }
        if self.not_positive > 0 {
            notes.push(format!("{} not above zero and left off the log axis.", are(self.not_positive, noun)));
        }
        if self.outside > 0 {
            notes.push(format!("{} outside the range shown.", are(self.outside, noun)));
        }
        notes
    }
}

/// A note on intervals that have an end which cannot be shown, though their value can.
fn lost_intervals<'a>(series: impl Iterator<Item = (&'a [f64], &'a Option<Spread>)>, log: bool) -> Option<String> {
    let shown = |v: f64| v.is_finite() && (!log || v > 0.0);
    let is_lost = |(value, (low, high)): &(&f64, (&f64, &f64))| {
        let is_given = !is_missing(**low) || !is_missing(**high);
        is_given && shown(**value) && !(shown(**low) && shown(**high))
    };
    let lost = |(values, spread): (&[f64], &Option<Spread>)| {
        let Some(spread) = spread else { return 0 };
        values.iter().zip(spread.low.iter().zip(&spread.high)).filter(is_lost).count()
    };
    let lost: usize = series.map(lost).sum();
    (lost > 0).then(|| format!("{} without ends that can be shown.", are(lost, "interval")))
}

fn are(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "is" } else { "are" })
}

/// Both ends of every interval.
fn ends(spread: &Option<Spread>) -> impl Iterator<Item = f64> {
    spread.iter().flat_map(|s| s.low.iter().chain(&s.high)).copied()
}

fn range(axis: &Axis, values: impl Iterator<Item = f64>, margin: f64) -> Option<Scale> {
    match axis.range {
        Some([low, high]) => Some(Scale::new(low, high, axis.log)),
        None => Scale::around(values, axis.log).map(|scale| scale.padded(margin)),
    }
}

/// Room beyond the longest bar, and none at the end where the bars stand; with logarithms there is no such end, and
/// even the shortest bar needs some length.
fn headroom(scale: Scale) -> Scale {
    let wider = scale.padded(0.06);
    Scale {
        low: match scale.low {
            low if scale.log => wider.low.min(low / 2.0).max(f64::MIN_POSITIVE),
            0.0 => 0.0,
            _ => wider.low,
        },
        high: if scale.high == 0.0 { scale.high } else { wider.high },
        ..scale
    }
}

fn nothing(x: &Axis, y: &Axis) -> crate::base::Error {
    let error = err!(Argument, "expected at least one point that can be drawn, found none");
    match x.log || y.log {
        true => error.hint("a logarithmic axis shows finite values above zero only"),
        false => error.hint("every value is missing, NaN or infinite"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::results::MISSING;

    fn line(x: &[f64], y: &[f64]) -> Chart {
        Chart::line(vec![Series { x: x.to_vec(), y: y.to_vec(), ..Series::default() }])
    }

    #[test]
    fn ranges_hold_the_data_their_spread_and_the_annotations() {
        let mut chart = line(&[0.0, 10.0], &[0.0, 1.0]);
        let view = chart.view().unwrap();
        assert!((view.x.low + 0.4).abs() < 1e-12 && (view.y.high - 1.04).abs() < 1e-12);
        chart.marks = vec![Mark::Horizontal { at: 5.0, text: String::new() }];
        assert!(chart.view().unwrap().y.contains(5.0));
        chart.y.range = Some([0.0, 0.5]);
        let view = chart.view().unwrap();
        assert_eq!((view.y.low, view.y.high), (0.0, 0.5));
        assert_eq!(view.notes, ["1 point is outside the range shown."]);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let mut chart = line(&[0.0, 1.0, 2.0, 3.0], &[f64::NAN, 1.0, 10.0, f64::INFINITY]);
        assert_eq!(chart.view().unwrap().notes, ["2 points are NaN or infinite and left out."]);
        chart.x.log = true;
        assert_eq!(chart.view().unwrap().notes, ["2 points are NaN or infinite and left out."]);
        let mut chart = line(&[0.0, 1.0], &[1.0, 1.0]);
        chart.x.log = true;
        assert_eq!(chart.view().unwrap().notes, ["1 point is not above zero and left off the log axis."]);
        assert!(line(&[0.0], &[f64::NAN]).view().is_err());
    }

    #[test]
    fn intervals_without_ends_are_counted() {
        let mut chart = line(&[0.0, 1.0], &[1.0, 2.0]);
        if let Content::Line { series } = Arc::make_mut(&mut chart.content) {
            series[0].spread = Some(Spread::symmetric(&[1.0, 2.0], &[f64::NAN, 1.0]));
        }
        assert_eq!(chart.view().unwrap().notes, ["1 interval is without ends that can be shown."]);
    }

    #[test]
    fn what_is_missing_is_not_counted_among_what_is_left_out() {
        let mut chart = line(&[0.0, 1.0, 2.0], &[1.0, MISSING, f64::NAN]);
        if let Content::Line { series } = Arc::make_mut(&mut chart.content) {
            series[0].spread = Some(Spread::symmetric(&[1.0, MISSING, f64::NAN], &[MISSING; 3]));
        }
        assert_eq!(chart.view().unwrap().notes, ["1 point is NaN or infinite and left out."]);
        let bars = |values: Vec<f64>| {
            let names = values.iter().map(|v| v.to_string()).collect();
            Chart::bar(names, vec![Bars { values, ..Bars::default() }]).view().unwrap().notes
        };
        assert_eq!(bars(vec![1.0, MISSING, f64::INFINITY]), ["1 value is NaN or infinite and left out."]);
        assert!(bars(vec![1.0, MISSING]).is_empty());
        let grid = Grid {
            rows: vec!["a".into()],
            columns: ["b", "c"].map(String::from).into(),
            values: vec![0.5, MISSING],
            ..Grid::default()
        };
        assert!(colours(&grid, &Colours::default()).unwrap().1.is_empty());
    }

    #[test]
    fn bars_stand_on_zero_with_room_above() {
        let bars = |values: Vec<f64>| {
            let names = values.iter().map(|v| v.to_string()).collect();
            Chart::bar(names, vec![Bars { values, ..Bars::default() }]).view().unwrap()
        };
        let up = bars(vec![1.0, 2.0]);
        assert_eq!((up.y.low, up.y.high), (0.0, 2.12));
        let both = bars(vec![-1.0, 1.0]);
        assert_eq!((both.y.low, both.y.high), (-1.12, 1.12));
        let none = bars(vec![0.0, 0.0]);
        assert!(none.y.low <= 0.0 && none.y.high > 0.0);
    }

    #[test]
    fn heat_colours_are_centred_and_count_what_they_cannot_show() {
        let grid = |values: Vec<f64>| Grid {
            rows: vec!["a".into()],
            columns: values.iter().map(|v| v.to_string()).collect(),
            values,
            ..Grid::default()
        };
        let (map, notes) =
            colours(&grid(vec![-1.0, 3.0, f64::NAN]), &Colours { centre: Some(0.0), range: None }).unwrap();
        assert_eq!((map.low(), map.high()), (-3.0, 3.0));
        assert_eq!(notes, ["1 cell is NaN or infinite (grey)."]);
        let range = Colours { centre: None, range: Some([0.0, 1.0]) };
        assert_eq!(colours(&grid(vec![0.5, 2.0]), &range).unwrap().1, ["1 cell is beyond the ends of the colours."]);
        assert!(colours(&grid(vec![f64::NAN]), &Colours::default()).is_err());
    }
}
