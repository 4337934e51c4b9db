//! Heat maps: the cells of a grid in colours.

mod picture;
mod text;

use super::view::are;
use super::*;
use crate::report::palette::ColourMap;

crate::options! {
    /// The names of a grid.
    pub struct GridOptions {
        /// The names of the rows.
        rows: Option<LabelList> = None => usually("0, 1, 2 and so on");
        /// The names of the columns.
        columns: Option<LabelList> = None => usually("0, 1, 2 and so on");
        /// Quantity of the numbers, with its unit; it labels the bar of colours.
        quantity: Option<String> = None;
        /// The line above the grid.
        title: Option<String> = None;
        /// Label of the x axis, along the columns.
        x: Option<String> = None;
        /// Label of the y axis, along the rows.
        y: Option<String> = None;
    }

    pub struct HeatOptions {
        /// The value that is white.
        centre: Option<f64> = None => usually("0 where there are both signs");
        /// The values at both ends of the colours.
        range: Option<[f64; 2]> = None => usually("from the data");
        /// Whether colours rise by the logarithm of the values.
        log: bool = false;
        /// Whether cells grow until the picture has its width and height.
        stretch: bool = false;
        with grid: GridOptions;
        with size: SizeOptions;
        with style: StyleOptions;
    }
}

/// Builds a heat map of a matrix or a grid.
pub fn heat(data: &Plain, options: HeatOptions, task: &Task) -> Result<Chart> {
    let mut chart = Chart::heat(grid(data, options.grid, task)?);
    if options.log && options.centre.is_some() {
        return Err(err!(Argument, "expected no `centre` beside `log`, whose colours rise from the lowest value")
            .about("centre"));
    }
    if let ChartContent::Heat(HeatMap { colours, stretch, .. }) = Arc::make_mut(&mut chart.content) {
        let centre = options.centre.or(colours.centre).filter(|_| !options.log);
        *colours = Colours { centre, range: options.range, log: options.log };
        *stretch = options.stretch;
    }
    chart.sized(&options.size).styled(&options.style).checked("data", task)
}

/// Returns a grid, or a matrix with names, as a grid.
pub fn grid(data: &Plain, options: GridOptions, task: &Task) -> Result<Grid> {
    let grid = ChartData { name: "data", value: data, task }.grid()?;
    let sizes = (grid.rows.len(), grid.columns.len());
    let named = |given: Option<LabelList>, known: Vec<String>| given.map_or(known, |LabelList(names)| names);
    let grid = Grid {
        rows: named(options.rows, grid.rows),
        columns: named(options.columns, grid.columns),
        quantity: options.quantity.unwrap_or(grid.quantity),
        title: options.title.unwrap_or(grid.title),
        row_axis: options.y.unwrap_or(grid.row_axis),
        column_axis: options.x.unwrap_or(grid.column_axis),
        values: grid.values,
        intervals: grid.intervals,
    };
    let found = (grid.rows.len(), grid.columns.len());
    if found != sizes {
        let wrong = if found.0 == sizes.0 { "columns" } else { "rows" };
        let of = |(rows, columns): (usize, usize), and: &str| format!("{rows}{and}{columns}");
        let wanted = of(sizes, " rows and ");
        let found = of(found, " and ");
        return Err(err!(Shape, "expected names for {wanted} columns, found {found}").about(wrong));
    }
    Ok(grid)
}

/// A grid in colours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatMap {
    #[serde(serialize_with = "json::serialize_grid")]
    pub grid: Grid,
    pub colours: Colours,
    /// Whether cells grow until the picture has its size.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stretch: bool,
}

/// Colours of the cells of a heat map: the value in their middle, and the ends of their range.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Colours {
    /// The value drawn white between blue and red; without one, colours rise from the lowest value to the highest.
    pub centre: Option<f64>,
    /// The values at the ends of the colours, where they are not to follow from the data.
    pub range: Option<[f64; 2]>,
    /// Whether colours rise by the logarithm of the values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
}

impl ChartKind for HeatMap {
    fn name(&self) -> &'static str {
        "heat"
    }

    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        let columns = self.grid.columns.len();
        Box::new(self.grid.values.iter().enumerate().map(move |(i, value)| ((i % columns) as f64, *value)))
    }

    fn check(&self, chart: &Chart) -> Result<()> {
        if !chart.marks.is_empty() {
            return Err(err!(Argument, "expected no annotations on a heat map, found {}", chart.marks.len())
                .hint("annotations have x and y values, which cells have not"));
        }
        let grid = &self.grid;
        check::some(grid.rows.len(), "row")?;
        check::some(grid.columns.len(), "column")?;
        let cells = grid.rows.len().saturating_mul(grid.columns.len());
        if cells != grid.values.len() {
            bail!(Shape, "expected {} x {} values, found {}", grid.rows.len(), grid.columns.len(), grid.values.len());
        }
        check::range(self.colours.range, self.colours.log, "the colours").map_err(|e| e.about("range"))
    }

    fn view(&self, _: &Chart) -> Result<ChartView> {
        let (_, notes) = self.map(Palette::Colour)?;
        let span = |cells: usize| Scale::new(0.0, cells as f64, false);
        let view = ChartView::new(span(self.grid.columns.len()), span(self.grid.rows.len()));
        Ok(ChartView { notes, ..view })
    }

    fn notes(&self, chart: &Chart, _: &Pane) -> Result<Vec<String>> {
        picture::notes(chart, self)
    }

    fn margins(&self, chart: &Chart, pane: &Pane) -> Result<Margins> {
        picture::margins(chart, self, pane)
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        picture::draw(chart, self, pane)
    }

    fn text(&self, chart: &Chart, screen: &Screen) -> Result<TextPicture> {
        text::grid(chart, self, screen)
    }

    fn described(&self, _: String) -> String {
        let grid = &self.grid;
        let of = if grid.quantity.is_empty() { String::new() } else { format!(" of {}", visible(&grid.quantity)) };
        format!("heat map{of}, {} by {} cells", grid.rows.len(), grid.columns.len())
    }
}

impl HeatMap {
    /// Returns the colours of a heat map's cells, and the notes that stand under it.
    fn map(&self, palette: Palette) -> Result<(ColourMap, Vec<String>)> {
        let HeatMap { grid, colours, .. } = self;
        let finite = || grid.values.iter().copied().filter(|v| v.is_finite());
        let scale = Scale::around(finite(), colours.log).ok_or_else(|| {
            let wanted = if colours.log { "value above zero" } else { "finite value" };
            err!(Argument, "expected at least one {wanted} to draw, found none among {}", grid.values.len())
        })?;
        let [low, high] = colours.range.unwrap_or([scale.low, scale.high]);
        let map = match colours.centre {
            _ if colours.log => ColourMap::logarithmic(low, high),
            Some(centre) if centre.is_finite() => {
                let reach = (high - centre).abs().max((centre - low).abs()).min(f64::MAX);
                ColourMap::signed(centre, if reach > 0.0 { reach } else { 1.0 })
            }
            _ => ColourMap::rising(low, high),
        };
        let map = map.painted(palette);
        let mut notes = Vec::new();
        let blank = grid.values.iter().filter(|value| !value.is_finite() && !is_missing(**value)).count();
        if blank > 0 {
            notes.push(format!("{} NaN or infinite (grey).", are(blank, "cell")));
        }
        let lost = finite().filter(|v| !map.shows(*v)).count();
        if lost > 0 {
            notes.push(format!("{} not above zero (grey).", are(lost, "cell")));
        }
        let beyond = finite().filter(|v| map.shows(*v) && (*v < map.low() || *v > map.high())).count();
        if beyond > 0 {
            notes.push(format!("{} beyond the ends of the colours.", are(beyond, "cell")));
        }
        Ok((map, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_colours_are_centred_and_count_what_they_cannot_show() {
        let grid = |values: Vec<f64>| Grid {
            rows: vec!["a".into()],
            columns: values.iter().map(|v| v.to_string()).collect(),
            values,
            ..Grid::default()
        };
        let map = |values: Vec<f64>, colours: Colours| {
            HeatMap { grid: grid(values), colours, stretch: false }.map(Palette::Colour)
        };
        let centred = Colours { centre: Some(0.0), ..Colours::default() };
        let (map_around, notes) = map(vec![-1.0, 3.0, f64::NAN], centred).unwrap();
        assert_eq!((map_around.low(), map_around.high()), (-3.0, 3.0));
        assert_eq!(notes, ["1 cell is NaN or infinite (grey)."]);
        let range = Colours { range: Some([0.0, 1.0]), ..Colours::default() };
        assert_eq!(map(vec![0.5, 2.0], range).unwrap().1, ["1 cell is beyond the ends of the colours."]);
        let log = Colours { log: true, ..Colours::default() };
        let (map_of_factors, notes) = map(vec![0.0, 1e-4, 1.0], log).unwrap();
        assert_eq!((map_of_factors.low(), map_of_factors.high()), (1e-4, 1.0));
        assert_eq!(notes, ["1 cell is not above zero (grey)."]);
        assert!(map(vec![-1.0, 0.0], log).is_err());
        assert!(map(vec![f64::NAN], Colours::default()).is_err());
    }
}
