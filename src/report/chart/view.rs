//! Ranges of the axes of a chart, and in words what they leave out.

use super::*;
use crate::base::Error;

/// The ranges of the axes, and notes to stand under the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartView {
    pub x: Scale,
    pub y: Scale,
    /// The y axis at the right, if there is a second one.
    pub right: Option<Scale>,
    pub notes: Vec<String>,
}

impl ChartView {
    pub fn new(x: Scale, y: Scale) -> Self {
        Self { x, y, right: None, notes: Vec::new() }
    }

    /// Returns the range of an axis, of the y axes the left one.
    pub fn scale(&self, direction: Direction) -> Scale {
        match direction {
            Direction::X => self.x,
            Direction::Y => self.y,
        }
    }

    /// Returns the ranges for series of the left axis, or of the right one.
    pub fn of_side(&self, is_right: bool) -> Self {
        let y = self.right.filter(|_| is_right).unwrap_or(self.y);
        Self { y, ..self.clone() }
    }

    /// Returns whether both coordinates can be shown on their kind of axis; they may still lie outside its range.
    pub fn shows(&self, x: f64, y: f64) -> bool {
        self.x.shows(x) && self.y.shows(y)
    }

    pub fn contains(&self, x: f64, y: f64) -> bool {
        self.x.contains(x) && self.y.contains(y)
    }

    /// Writes a note on the points that cannot be drawn, and why.
    pub(super) fn leave_out(&mut self, points: impl Iterator<Item = (f64, f64)>, noun: &str) {
        let mut numbers = [0; 3];
        for (x, y) in points.filter(|(x, y)| !is_missing(*x) && !is_missing(*y)) {
            if !x.is_finite() || !y.is_finite() {
                numbers[0] += 1;
            } else if !self.shows(x, y) {
                numbers[1] += 1;
            } else if !self.contains(x, y) {
                numbers[2] += 1;
            }
        }
        self.notes.extend(left_out(numbers, noun));
    }

    /// Writes a note on the number of intervals along an axis with an end that cannot be shown, though their value can.
    pub(super) fn leave_out_ends<'a>(
        &mut self,
        direction: Direction,
        series: impl Iterator<Item = (&'a [f64], &'a Option<Spread>)>,
    ) {
        let scale = self.scale(direction);
        let is_lost = |(value, (low, high)): &(&f64, (&f64, &f64))| {
            let is_given = !is_missing(**low) || !is_missing(**high);
            is_given && scale.shows(**value) && !(scale.shows(**low) && scale.shows(**high))
        };
        let lost = |(values, spread): (&[f64], &Option<Spread>)| {
            let Some(spread) = spread else { return 0 };
            values.iter().zip(spread.low.iter().zip(&spread.high)).filter(is_lost).count()
        };
        let lost: usize = series.map(lost).sum();
        if lost > 0 {
            self.notes.push(format!("{} without ends that can be shown.", are(lost, "interval")));
        }
    }
}

/// Writes notes on how many could not be drawn: as they are not finite, as a log axis has no place for them, as they
/// lie outside of the range.
pub(super) fn left_out(numbers: [usize; 3], noun: &str) -> Vec<String> {
    let reasons =
        ["NaN or infinite and left out", "not above zero and left off the log axis", "outside the range shown"];
    let some = numbers.into_iter().zip(reasons).filter(|(number, _)| *number > 0);
    some.map(|(number, reason)| format!("{} {reason}.", are(number, noun))).collect()
}

/// Writes a number of things, with the verb that follows.
pub(super) fn are(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "is" } else { "are" })
}

impl Chart {
    /// Returns an axis: its own range, or one that holds these values, the annotations and the given ticks, with a
    /// share left free at both ends.
    pub(super) fn along(&self, direction: Direction, values: impl Iterator<Item = f64>, margin: f64) -> Result<Scale> {
        let axis = self.axis(direction);
        if let Some([from, to]) = axis.range {
            return Ok(Scale { reversed: to < from, ..Scale::new(from, to, axis.log) });
        }
        let places = match direction {
            Direction::X => Annotation::xs,
            Direction::Y => Annotation::ys,
        };
        let ticks = axis.ticks.iter().flatten().map(|tick| tick.at);
        let all = values.chain(self.marks.iter().flat_map(places)).chain(ticks);
        Scale::around(all, axis.log).map(|scale| scale.padded(margin)).ok_or_else(|| self.nothing())
    }

    /// Returns the axis of bars, which stand on `base`: with room beyond the longest, and none at the end where they
    /// stand. With logarithms there is no such end, and even the shortest bar needs some length.
    pub(super) fn along_from(
        &self,
        direction: Direction,
        base: Option<f64>,
        values: impl Iterator<Item = f64>,
    ) -> Result<Scale> {
        let scale = self.along(direction, values.chain(base), 0.0)?;
        if self.axis(direction).range.is_some() {
            return Ok(scale);
        }
        let wider = scale.padded(0.06);
        let low = match scale.low {
            low if scale.log => wider.low.min(low / 2.0).max(f64::MIN_POSITIVE),
            0.0 => 0.0,
            _ => wider.low,
        };
        let high = if scale.high == 0.0 { scale.high } else { wider.high };
        Ok(Scale { low, high, ..scale })
    }

    /// Builds the error that says why there is nothing to see.
    pub(super) fn nothing(&self) -> Error {
        let error = err!(Argument, "expected at least one point that can be drawn, found none");
        if self.x.log || self.y.log {
            error.hint("a logarithmic axis shows finite values above zero only")
        } else {
            error.hint("every value is missing, NaN or infinite")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Annotation, Bars, ChartContent, Series};
    use super::*;
    use crate::base::Grid;
    use crate::base::results::MISSING;

    fn line(x: &[f64], y: &[f64]) -> Chart {
        Chart::line(vec![Series { x: x.to_vec(), y: y.to_vec(), ..Series::default() }])
    }

    #[test]
    fn ranges_hold_the_data_their_spread_and_the_annotations() {
        let mut chart = line(&[0.0, 10.0], &[0.0, 1.0]);
        let view = chart.view().unwrap();
        assert!((view.x.low + 0.4).abs() < 1e-12 && (view.y.high - 1.04).abs() < 1e-12);
        chart.marks = vec![Annotation::Horizontal { at: 5.0, text: String::new() }];
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
        if let ChartContent::Line(line) = Arc::make_mut(&mut chart.content) {
            line.series[0].spread = Some(Spread::symmetric(&[1.0, 2.0], &[f64::NAN, 1.0]));
        }
        assert_eq!(chart.view().unwrap().notes, ["1 interval is without ends that can be shown."]);
    }

    #[test]
    fn what_is_missing_is_not_counted_among_what_is_left_out() {
        let mut chart = line(&[0.0, 1.0, 2.0], &[1.0, MISSING, f64::NAN]);
        if let ChartContent::Line(line) = Arc::make_mut(&mut chart.content) {
            line.series[0].spread = Some(Spread::symmetric(&[1.0, MISSING, f64::NAN], &[MISSING; 3]));
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
        assert!(Chart::heat(grid).view().unwrap().notes.is_empty());
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
}
