//! Points by series, which lines and scatter plots have in common: their checks, what can be seen of them, and the
//! terminal's version in braille.

use super::*;
use crate::report::terminal::braille::Braille;

/// Points of one name and colour.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    pub name: String,
    #[serde(serialize_with = "json::serialize")]
    pub x: Vec<f64>,
    #[serde(serialize_with = "json::serialize")]
    pub y: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Intervals of the places on the x axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_spread: Option<Spread>,
    /// A text beside each point, or none at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Intervals of the values of a series: their ends, on the axis of the values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    #[serde(serialize_with = "json::serialize")]
    pub low: Vec<f64>,
    #[serde(serialize_with = "json::serialize")]
    pub high: Vec<f64>,
    /// Whether the intervals are a band behind the line in place of a bar at every point.
    pub band: bool,
}

impl Spread {
    /// Builds intervals that reach as far down as up from every value; an interval without a distance is missing.
    pub fn symmetric(values: &[f64], reach: &[f64]) -> Self {
        // Without a value the end is NaN, and the lengths are found not to agree when the chart is checked.
        let value = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        let end = |sign: f64, i: usize, reach: f64| if is_missing(reach) { reach } else { value(i) + sign * reach };
        let ends = |sign: f64| reach.iter().enumerate().map(|(i, reach)| end(sign, i, *reach)).collect();
        Self { low: ends(-1.0), high: ends(1.0), band: false }
    }

    /// Returns the ends of all intervals.
    pub fn ends(spread: &Option<Self>) -> impl Iterator<Item = f64> {
        spread.iter().flat_map(|s| s.low.iter().chain(&s.high)).copied()
    }
}

impl Series {
    fn check(&self, kind: &str) -> Result<()> {
        let length = self.y.len();
        if length == 0 {
            let error = err!(Argument, "expected at least one point, found none");
            return Err(error.hint(format!("a {kind} chart needs data")));
        }
        check::same("x value", self.x.len(), "y value", length)?;
        check::spread(&self.spread, length)?;
        check::spread(&self.x_spread, length)?;
        match self.labels.len() {
            0 => Ok(()),
            labels => check::same("label", labels, "point", length),
        }
    }

    /// Returns all points of the series.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.x.iter().copied().zip(self.y.iter().copied())
    }

    /// Returns the series with some of its points only.
    pub fn picked(&self, indices: &[usize]) -> Self {
        let pick = |values: &[f64]| -> Vec<f64> { indices.iter().map(|i| values[*i]).collect() };
        let ends = |s: &Spread| Spread { low: pick(&s.low), high: pick(&s.high), band: s.band };
        Self {
            name: self.name.clone(),
            x: pick(&self.x),
            y: pick(&self.y),
            spread: self.spread.as_ref().map(ends),
            x_spread: self.x_spread.as_ref().map(ends),
            labels: indices.iter().filter_map(|i| self.labels.get(*i).cloned()).collect(),
        }
    }
}

pub fn check(all: &[Series], kind: &str) -> Result<()> {
    check::series(all.len())?;
    all.iter().try_for_each(|s| s.check(kind).map_err(|e| check::named(e, &s.name)))
}

/// The share of an axis left free at both ends of the data.
const MARGIN: f64 = 0.04;

pub fn view<'a>(all: impl Iterator<Item = &'a Series> + Clone, chart: &Chart) -> Result<ChartView> {
    let points = || all.clone().flat_map(Series::points);
    let is_drawn = |(x, y): &(f64, f64)| scale::shows(*x, chart.x.log) && scale::shows(*y, chart.y.log);
    let drawn = || points().filter(is_drawn);
    if drawn().next().is_none() {
        return Err(chart.nothing());
    }
    let ends = all.clone().flat_map(|s| Spread::ends(&s.spread));
    let x_ends = all.clone().flat_map(|s| Spread::ends(&s.x_spread));
    let x = chart.along(Direction::X, drawn().map(|(x, _)| x).chain(x_ends), MARGIN)?;
    let y = chart.along(Direction::Y, drawn().map(|(_, y)| y).chain(ends), MARGIN)?;
    let mut view = ChartView::new(x, y);
    view.leave_out(points(), "point");
    view.leave_out_ends(Direction::Y, all.clone().map(|s| (s.y.as_slice(), &s.spread)));
    view.leave_out_ends(Direction::X, all.clone().map(|s| (s.x.as_slice(), &s.x_spread)));
    Ok(view)
}

/// Maximum number of points that are drawn one by one in the terminal.
const FEW: usize = 200;

/// Draws all series in braille, their points joined or not.
pub fn text(all: &[Series], joined: bool, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
    let lettered = text::is_lettered(chart, screen);
    let inks = chart.inks();
    // A single dot of braille is hard to see; where points are few each gets a character of its own.
    let few = !joined && all.iter().map(|s| s.y.len()).sum::<usize>() <= FEW;
    text::plot(chart, screen, "●", |area, view| {
        let mut raster = Braille::new(area.columns, area.rows);
        for (index, s) in all.iter().enumerate() {
            strokes(&mut raster, &view.of_side(chart.is_right(&s.name)), s, index, joined);
        }
        area.cells(|column, row| {
            let (dots, owner) = raster.cell(column, row)?;
            let text = match owner {
                owner if lettered => text::letter(owner),
                _ if few => '•',
                _ => dots,
            };
            Some(PlotCharacter { text, colour: Some(inks[owner]) })
        })
    })
}

fn strokes(raster: &mut Braille, view: &ChartView, s: &Series, owner: usize, joined: bool) {
    let frame = raster.frame();
    let place = |x: f64, y: f64| (view.x.share(x) * frame.right, (1.0 - view.y.share(y)) * frame.bottom);
    let mut before = None;
    for (i, (x, y)) in s.points().enumerate() {
        let shown = view.shows(x, y).then(|| place(x, y));
        if let Some(at) = shown {
            match before.filter(|_| joined) {
                Some(from) => raster.stroke(from, at, owner),
                None => raster.dot(at, owner),
            }
        }
        for (along, spread, at) in [(Direction::Y, &s.spread, x), (Direction::X, &s.x_spread, y)] {
            let Some(spread) = spread.as_ref().filter(|_| shown.is_some()) else { continue };
            let scale = view.scale(along);
            let [from, to] = [spread.low[i], spread.high[i]].map(|end| along.point(end, at));
            if scale.shows(spread.low[i]) && scale.shows(spread.high[i]) {
                raster.stroke(place(from.0, from.1), place(to.0, to.1), owner);
            }
        }
        before = shown;
    }
}
