//! A second y axis at the right of a line chart, for series of another quantity.

use super::*;
use crate::base::names;

crate::options! {
    pub struct RightAxisOptions {
        /// Names of the series whose values are on a second y axis, at the right.
        right: Option<LabelList> = None;
        /// The label of the right axis, with its unit.
        y_right: Option<String> = None;
        /// Whether the right axis is logarithmic.
        log_right: bool = false;
        /// Ends of the right axis.
        right_range: Option<[f64; 2]> = None => usually("from the data");
    }
}

/// A second y axis, at the right, and the series whose values are on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RightAxis {
    pub axis: Axis,
    /// Names of the series.
    pub series: Vec<String>,
}

impl RightAxisOptions {
    /// Returns the axis, if it is asked for.
    pub(super) fn axis(self) -> Result<Option<RightAxis>> {
        let label = self.y_right.unwrap_or_default();
        let axis = Axis { label, log: self.log_right, range: self.right_range, ..Axis::default() };
        match self.right {
            Some(LabelList(series)) => Ok(Some(RightAxis { axis, series })),
            None if axis == Axis::default() => Ok(None),
            None => Err(err!(Argument, "expected names of series for `right`, found nothing")
                .hint("`y_right`, `log_right` and `right_range` are of the axis that `right` asks for")
                .about("right")),
        }
    }
}

impl RightAxis {
    /// Returns whether the values of the series of this name are on the axis.
    pub fn holds(&self, name: &str) -> bool {
        self.series.iter().any(|own| own == name)
    }

    /// Refuses names that no series has, and axes that leave none to the left one.
    pub(super) fn check(&self, all: &[Series]) -> Result<()> {
        let named: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
        if let Some(unknown) = self.series.iter().find(|name| !named.contains(&name.as_str())) {
            let error = err!(Argument, "expected names of series for `right`, found `{unknown}`").about("right");
            return Err(error.maybe_hint(names::suggestion(unknown, named.iter().copied())));
        }
        let right = named.iter().filter(|name| self.holds(name)).count();
        if right == 0 || right == named.len() {
            let found = if right == 0 { "none" } else { "all" };
            return Err(err!(Argument, "expected some of the series on the right axis, found {found}").about("right"));
        }
        self.axis.check("right")
    }

    /// Returns the ranges of a chart with series on both axes.
    pub(super) fn view(&self, all: &[Series], chart: &Chart) -> Result<ChartView> {
        let of_side = move |is_right: bool| all.iter().filter(move |s| self.holds(&s.name) == is_right);
        let left = series::view(of_side(false), chart)?;
        // Annotations stand at values of the left axis.
        let on_right = Chart { y: self.axis.clone(), marks: Vec::new(), ..chart.clone() };
        let right = series::view(of_side(true), &on_right)?;
        let low = left.x.low.min(right.x.low);
        let high = left.x.high.max(right.x.high);
        let of_right = right.notes.into_iter().map(|note| format!("right axis: {note}"));
        let notes = left.notes.into_iter().chain(of_right).collect();
        Ok(ChartView { x: Scale { low, high, ..left.x }, y: left.y, right: Some(right.y), notes })
    }

    /// Returns the colour of the only series on a side, which its axis then has, too.
    pub(super) fn tie(&self, chart: &Chart, is_right: bool) -> Option<palette::Rgb> {
        let names = chart.names();
        let mut own = (0..names.len()).filter(|index| self.holds(names[*index]) == is_right);
        let first = own.next()?;
        own.next().is_none().then(|| chart.styles()[first].colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::{Picture, inline_svg};

    fn chart(right: &[&str]) -> Chart {
        let series = |name: &str, y: [f64; 3]| Series {
            name: name.into(),
            x: vec![0.0, 1.0, 2.0],
            y: y.to_vec(),
            ..Series::default()
        };
        let axis = Axis { label: "accuracy".into(), ..Axis::default() };
        let series = vec![series("loss", [300.0, 200.0, 100.0]), series("accuracy", [0.1, 0.5, 0.9])];
        let right = RightAxis { axis, series: right.iter().map(|name| name.to_string()).collect() };
        Chart::new(ChartContent::Line(LineChart { series, right: Some(right) }))
    }

    #[test]
    fn each_side_has_the_range_of_its_series_and_both_have_one_x_axis() {
        let view = chart(&["accuracy"]).view().unwrap();
        assert!(view.y.low > 80.0 && view.y.high < 320.0, "{:?}", view.y);
        let right = view.right.unwrap();
        assert!(right.low > 0.0 && right.high < 1.0 && right.contains(0.9), "{right:?}");
        assert_eq!(view.of_side(true).y, right);
        assert!(view.x.contains(0.0) && view.x.contains(2.0));
    }

    #[test]
    fn the_right_axis_has_its_ticks_at_the_right_in_the_colour_of_its_series() {
        let chart = chart(&["accuracy"]);
        let body = chart.draw(false).unwrap().body;
        let text = |wanted: &str| {
            let end = format!(">\n{wanted}\n</text>");
            // The labels of the right axis are drawn last.
            body.rsplit("<text ").find(|text| text.contains(&end)).unwrap_or_else(|| panic!("{wanted}: {body}"))
        };
        let x = |text: &str| text.split("x=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap();
        assert!(x(text("0.8")) > 6500.0 && text("0.8").contains(&palette::series(1).hex()));
        assert!(x(text("300")) < 700.0 && text("300").contains(&palette::series(0).hex()));
        assert!(x(text("accuracy")) > x(text("0.8")), "{body}");
        assert!(inline_svg(&chart).unwrap().contains("accuracy (right)"));
    }

    #[test]
    fn names_of_no_series_and_an_empty_left_side_are_refused() {
        let message = |right: &[&str]| chart(right).check().unwrap_err().message;
        assert_eq!(message(&["accurac"]), "expected names of series for `right`, found `accurac`");
        assert_eq!(message(&[]), "expected some of the series on the right axis, found none");
        assert_eq!(message(&["loss", "accuracy"]), "expected some of the series on the right axis, found all");
        let lonely = RightAxisOptions { y_right: Some("P".into()), ..RightAxisOptions::default() };
        assert_eq!(lonely.axis().unwrap_err().about.as_deref(), Some("right"));
        assert_eq!(RightAxisOptions::default().axis(), Ok(None));
    }
}
