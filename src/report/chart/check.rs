//! Checks of charts, made before anything is drawn.

use super::options::{LARGEST, LARGEST_FONT, SMALLEST, SMALLEST_FONT};
use super::*;
use crate::base::{Error, names};

/// Maximum number of series. Each has a colour and a dash of its own, and each annotation a place where it hides least,
/// which is looked for.
const MOST_SERIES: usize = 1000;
const MOST_MARKS: usize = 1000;

/// Maximum number of corners of all lines that are annotations.
const MOST_CORNERS: usize = 100_000;

impl Chart {
    /// Refuses sizes and ranges out of bounds, lists that do not fit each other, and charts with nothing to see.
    pub fn check(&self) -> Result<()> {
        for (name, pixels) in [("width", self.width), ("height", self.height)] {
            if !(SMALLEST..=LARGEST).contains(&pixels) {
                bail!(Argument, "expected a {name} from {SMALLEST} to {LARGEST}, found {pixels}");
            }
        }
        self.check_font_size()?;
        self.x.check("x")?;
        self.y.check("y")?;
        self.check_marks()?;
        self.content.kind().check(self)
    }

    /// Refuses letters of a size out of bounds, or so large that they leave no room for a chart.
    fn check_font_size(&self) -> Result<()> {
        let size = self.font_size;
        if !(SMALLEST_FONT..=LARGEST_FONT).contains(&size) {
            let message = format!("expected a font_size from {SMALLEST_FONT} to {LARGEST_FONT}, found {size}");
            return Err(err!(Argument, "{message}").about("font_size"));
        }
        let side = self.width.min(self.height);
        let most = LABEL.size * f64::from(side) / f64::from(SMALLEST);
        if size > LABEL.size && size > most {
            let message = format!("expected a font_size of at most {most} beside {side} pixels, found {size}");
            return Err(err!(Argument, "{message}").hint("larger letters need a larger picture").about("font_size"));
        }
        Ok(())
    }

    fn check_marks(&self) -> Result<()> {
        few(self.marks.len(), MOST_MARKS, "annotation")?;
        let corners = |mark: &Annotation| match mark {
            Annotation::Line { points, .. } => points.len(),
            _ => 0,
        };
        few(self.marks.iter().map(corners).sum(), MOST_CORNERS, "corners of lines").map_err(|e| e.about("lines"))?;
        for mark in &self.marks {
            let option = match mark {
                Annotation::Text { .. } | Annotation::Arrow { .. } => "texts",
                Annotation::Horizontal { .. } => "horizontal",
                Annotation::Vertical { .. } => "vertical",
                Annotation::XSpan { .. } => "x_spans",
                Annotation::YSpan { .. } => "y_spans",
                Annotation::Line { .. } => "lines",
            };
            for (axis, name, places) in [(&self.x, "x", mark.xs()), (&self.y, "y", mark.ys())] {
                if let Some(at) = places.into_iter().find(|at| !at.is_finite() || axis.log && *at <= 0.0) {
                    let message = format!("expected an annotation at a place on the {name} axis, found {at}");
                    return Err(err!(Argument, "{message}").about(option));
                }
            }
            if let Annotation::XSpan { low, high, .. } | Annotation::YSpan { low, high, .. } = mark {
                range(Some([*low, *high]), false, "a span").map_err(|e| e.about(option))?;
            }
        }
        Ok(())
    }
}

impl Axis {
    /// Refuses ends that are no range in either direction, and ticks that have no place.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let what = format!("the {name} axis");
        let about = format!("{name}_range");
        if let Some([from, to]) = self.range {
            if !(from.is_finite() && to.is_finite() && from != to) {
                return Err(err!(Argument, "expected two finite ends that differ for {what}, found {from} and {to}")
                    .about(about));
            }
            range(Some([from.min(to), from.max(to)]), self.log, &what).map_err(|e| e.about(about))?;
        }
        let ticks = self.ticks.iter().flatten();
        few(ticks.clone().count(), MOST_MARKS, "tick")?;
        match ticks.map(|tick| tick.at).find(|at| !scale::shows(*at, self.log)) {
            Some(at) => {
                Err(err!(Argument, "expected ticks at places on {what}, found {at}").about(format!("{name}_ticks")))
            }
            None => Ok(()),
        }
    }
}

/// Refuses numbers in the palette of which none is for a series: their names are misspelt.
pub fn colour_numbers(numbers: &BTreeMap<String, usize>, series: &[&str]) -> Result<()> {
    let Some(first) = numbers.keys().next() else { return Ok(()) };
    if series.iter().any(|name| numbers.contains_key(*name)) {
        return Ok(());
    }
    let named = series.iter().copied().filter(|name| !name.is_empty());
    Err(err!(Argument, "expected names of series for `colours`, found `{first}`")
        .maybe_hint(names::suggestion(first, named))
        .about("colours"))
}

/// Refuses a reversed axis, which bars and columns cannot stand on.
pub fn rising(axis: &Axis, name: &str) -> Result<()> {
    range(axis.range, axis.log, &format!("the {name} axis")).map_err(|e| e.about(format!("{name}_range")))
}

/// Refuses a range whose ends are not finite and rising, or not above zero on a logarithmic axis.
pub fn range(range: Option<[f64; 2]>, log: bool, what: &str) -> Result<()> {
    let Some([low, high]) = range else { return Ok(()) };
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(err!(Argument, "expected two finite ends in rising order for {what}, found {low} and {high}"));
    }
    if log && low <= 0.0 {
        return Err(err!(Argument, "expected a range above zero for {what}, found {low} to {high}")
            .hint("a logarithmic axis has no zero"));
    }
    Ok(())
}

/// Refuses a chart without series, or with more than can be told apart.
pub fn series(found: usize) -> Result<()> {
    some(found, "series")?;
    few(found, MOST_SERIES, "series")
}

/// Refuses an interval that lacks one of its ends for a value.
pub fn spread(spread: &Option<Spread>, length: usize) -> Result<()> {
    let Some(Spread { low, high, .. }) = spread else { return Ok(()) };
    same("lower end", low.len(), "value", length)?;
    same("upper end", high.len(), "value", length)
}

pub fn some(found: usize, noun: &str) -> Result<()> {
    match found {
        0 => Err(err!(Argument, "expected at least one {noun}, found none")),
        _ => Ok(()),
    }
}

fn few(found: usize, most: usize, noun: &str) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    let nouns = if noun.ends_with('s') { noun.into() } else { format!("{noun}s") };
    Err(err!(Argument, "expected at most {most} {nouns} in a chart, found {found}")
        .hint("more cannot be told apart in one picture"))
}

/// Refuses a number of things that differs from the number of what they belong to.
pub fn same(what: &str, found: usize, other: &str, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(err!(Shape, "expected one {what} for each {other}, found {found} for {expected}"))
}

/// Returns the error as one of the series of this name.
pub fn named(error: Error, name: &str) -> Error {
    if name.is_empty() { error } else { error.within(format_args!("series `{name}`")) }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use crate::base::Grid;

    fn message(chart: Chart) -> String {
        chart.check().unwrap_err().message
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_in_words() {
        assert_eq!(message(Chart::line(vec![])), "expected at least one series, found none");
        let empty = Series { name: "loss".into(), ..Series::default() };
        assert_eq!(message(Chart::line(vec![empty])), "series `loss`: expected at least one point, found none");
        let uneven = Series { x: vec![1.0], y: vec![1.0, 2.0], ..Series::default() };
        assert_eq!(message(Chart::scatter(vec![uneven])), "expected one x value for each y value, found 1 for 2");
        let bars = Bars { name: "a".into(), values: vec![1.0], spread: None };
        assert_eq!(
            message(Chart::bar(vec!["p".into(), "q".into()], vec![bars])),
            "series `a`: expected one value for each label, found 1 for 2"
        );
        let grid = Grid { rows: vec!["a".into()], columns: vec!["b".into()], ..Grid::default() };
        assert_eq!(message(Chart::heat(grid)), "expected 1 x 1 values, found 0");
    }

    #[test]
    fn more_than_can_be_told_apart_is_refused() {
        let one = Series { x: vec![0.0], y: vec![1.0], ..Series::default() };
        let many = Chart::line(vec![one.clone(); 1001]);
        assert_eq!(message(many), "expected at most 1000 series in a chart, found 1001");
        let rule = Annotation::Horizontal { at: 0.5, text: String::new() };
        let ruled = Chart { marks: vec![rule; 1001], ..Chart::line(vec![one.clone()]) };
        assert_eq!(message(ruled), "expected at most 1000 annotations in a chart, found 1001");
        let long = Annotation::Line { points: vec![[0.5; 2]; 50_001], text: String::new() };
        let tangled = Chart { marks: vec![long; 2], ..Chart::line(vec![one]) };
        assert_eq!(message(tangled), "expected at most 100000 corners of lines in a chart, found 100002");
    }

    #[test]
    fn ranges_sizes_and_marks_are_judged() {
        let good = Chart::line(vec![Series { x: vec![0.0], y: vec![1.0], ..Series::default() }]);
        assert!(good.check().is_ok());
        let small = Chart { width: 10, ..good.clone() };
        assert_eq!(message(small), "expected a width from 160 to 4000, found 10");
        let log = Axis { log: true, range: Some([0.0, 1.0]), ..Axis::default() };
        assert_eq!(
            message(Chart { y: log, ..good.clone() }),
            "expected a range above zero for the y axis, found 0 to 1"
        );
        let lost = vec![Annotation::Horizontal { at: f64::NAN, text: String::new() }];
        assert_eq!(
            message(Chart { marks: lost, ..good.clone() }),
            "expected an annotation at a place on the y axis, found NaN"
        );
        let upside_down = vec![Annotation::XSpan { low: 2.0, high: 1.0, text: String::new() }];
        assert_eq!(
            message(Chart { marks: upside_down, ..good.clone() }),
            "expected two finite ends in rising order for a span, found 2 and 1"
        );
        let axis = |range| Axis { range: Some(range), ..Axis::default() };
        assert!(Chart { x: axis([5.0, 1.0]), y: axis([1.0, 0.0]), ..good.clone() }.check().is_ok());
        assert_eq!(
            message(Chart { y: axis([2.0, 2.0]), ..good.clone() }),
            "expected two finite ends that differ for the y axis, found 2 and 2"
        );
        let bars = Bars { values: vec![1.0], ..Bars::default() };
        assert_eq!(
            message(Chart { y: axis([2.0, 1.0]), ..Chart::bar(vec!["a".into()], vec![bars]) }),
            "expected two finite ends in rising order for the y axis, found 2 and 1"
        );
        let ticks = Some(vec![Tick::numbered(0.0)]);
        assert_eq!(
            message(Chart { x: Axis { log: true, ticks, ..Axis::default() }, ..good.clone() }),
            "expected ticks at places on the x axis, found 0"
        );
        let from_nowhere = Annotation::Arrow { x: 1.0, y: 1.0, text: "a".into(), from: [0.0, 2.0] };
        let log = Axis { log: true, ..Axis::default() };
        assert_eq!(
            message(Chart { x: log, marks: vec![from_nowhere], ..good }),
            "expected an annotation at a place on the x axis, found 0"
        );
    }

    #[test]
    fn letters_leave_room_for_a_chart() {
        let good = Chart::line(vec![Series { x: vec![0.0], y: vec![1.0], ..Series::default() }]);
        assert!(Chart { font_size: 24.0, width: 320, height: 320, ..good.clone() }.check().is_ok());
        assert!(Chart { font_size: 4.0, width: 160, height: 160, ..good.clone() }.check().is_ok());
        assert_eq!(
            message(Chart { font_size: 25.0, width: 320, ..good.clone() }),
            "expected a font_size of at most 24 beside 320 pixels, found 25"
        );
        assert_eq!(message(Chart { font_size: 0.0, ..good }), "expected a font_size from 4 to 60, found 0");
    }
}
