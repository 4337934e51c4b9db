//! Several charts in one picture, in rows and columns, with axes in common where these are asked for.

mod picture;
mod shared;

use super::data::inside;
use super::options::{LARGEST, LARGEST_FONT, SMALLEST, SMALLEST_FONT};
use super::*;
use crate::base::Error;
use crate::options::Setting;

crate::choices! {
    /// Letters of panels.
    pub enum LetterStyle {
        Lower = "a",
        Upper = "A",
        Bracketed = "(a)",
        None = "none",
    }
}

/// Panels that have an axis in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// No axis in common.
    None,
    /// Panels of a column, or those of a row.
    Line,
    All,
}

impl From<bool> for Sharing {
    fn from(is_shared: bool) -> Self {
        if is_shared { Sharing::Line } else { Sharing::None }
    }
}

impl Setting for Sharing {
    fn wanted() -> String {
        "true, false or \"all\"".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(text) if text == "all" => Some(Sharing::All),
            value => bool::of(value).map(Self::from),
        }
    }

    fn written(&self) -> String {
        match self {
            Sharing::None => "false".into(),
            Sharing::Line => "true".into(),
            Sharing::All => "\"all\"".into(),
        }
    }
}

impl Serialize for Sharing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Sharing::All => serializer.serialize_str("all"),
            some => serializer.serialize_bool(*some == Sharing::Line),
        }
    }
}

/// Size of a panel where none is given, in pixels at letters of the usual size.
const WIDE: f64 = 360.0;
const HIGH: f64 = 290.0;

/// Maximum number of panels: there are so many letters.
const MOST: usize = 26;

crate::options! {
    pub struct PanelOptions {
        /// Whether the panels of a column have one x axis, with its labels below the lowest; "all" gives all panels one
        /// range.
        share_x: Sharing = Sharing::None;
        /// Whether the panels of a row have one y axis, with its labels at the left; "all" gives all panels one range.
        share_y: Sharing = Sharing::None;
        /// Letters of the panels, row by row.
        letters: LetterStyle = LetterStyle::Lower;
        /// The line above all panels.
        title: Option<String> = None;
        /// Width of the picture in pixels.
        width: Option<u32> = None => usually("360 a column").at_least(SMALLEST.into()).at_most(LARGEST.into());
        /// Height of the picture in pixels.
        height: Option<u32> = None => usually("290 a row").at_least(SMALLEST.into()).at_most(LARGEST.into());
        /// Size of the labels in pixels, in all panels; titles, lines, marks and margins scale with it.
        font_size: f64 = LABEL.size => at_least(SMALLEST_FONT).at_most(LARGEST_FONT);
        /// Typeface of all text.
        font: Font = Font::Sans;
        /// Colours of all panels.
        palette: Option<Palette> = None => usually("those of each chart");
        /// Numbers in the palette, by the names of series, in all panels.
        colours: Option<BTreeMap<String, usize>> = None => usually("those of each chart");
    }
}

/// Builds a picture of charts in rows and columns. A list without rows is one row, and nothing is an empty place.
pub fn panels(charts: &Plain, options: PanelOptions, task: &Task) -> Result<Chart> {
    let mut rows = rows(charts)?;
    let colours = options.colours.unwrap_or_default();
    check::colour_numbers(&colours, &rows.iter().flatten().flatten().flat_map(Chart::names).collect::<Vec<&str>>())?;
    for chart in rows.iter_mut().flatten().flatten() {
        chart.palette = options.palette.unwrap_or(chart.palette);
        chart.colour_numbers.extend(colours.clone());
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let scale = options.font_size / LABEL.size;
    let side = |given: Option<u32>, each: f64, number: usize| {
        let usual = (each * scale * number as f64).round().clamp(SMALLEST.into(), LARGEST.into());
        given.unwrap_or(usual as u32)
    };
    let width = side(options.width, WIDE, columns);
    let height = side(options.height, HIGH, rows.len());
    let PanelOptions { share_x, share_y, letters, title, font_size, font, .. } = options;
    let content = ChartContent::Panels(Panels::new(rows, share_x, share_y, letters));
    let title = title.unwrap_or_default();
    Chart { title, width, height, font_size, font, ..Chart::new(content) }.checked("charts", task)
}

/// Reads charts in rows.
fn rows(charts: &Plain) -> Result<Vec<Vec<Option<Chart>>>> {
    let refused = |place: &str, found: &Plain| -> Error {
        let wanted = format!("expected a chart, or () for an empty place, for `charts{place}`");
        err!(Argument, "{wanted}, found {}", found.described())
            .hint("charts are made by `plot::line` and its like")
            .about("charts")
    };
    let one = |place: String, value: &Plain| match value {
        Plain::Nothing => Ok(None),
        value => inside::<Chart>(value).map(|chart| Some(chart.clone())).ok_or_else(|| refused(&place, value)),
    };
    let row = |before: &str, values: &[Plain]| -> Result<Vec<Option<Chart>>> {
        values.iter().enumerate().map(|(at, value)| one(format!("{before}[{at}]"), value)).collect()
    };
    let Plain::List(list) = charts else { return Err(refused("", charts)) };
    if !list.iter().any(|value| matches!(value, Plain::List(_))) {
        return Ok(vec![row("", list)?]);
    }
    let of_row = |(at, value): (usize, &Plain)| match value {
        Plain::List(values) => row(&format!("[{at}]"), values),
        other => Err(err!(Argument, "expected a row of charts for `charts[{at}]`, found {}", other.described())
            .hint("each row is an array: [[a, b], [c]]")
            .about("charts")),
    };
    list.iter().enumerate().map(of_row).collect()
}

/// Charts in rows of one length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panels {
    /// Charts row by row; a place without one is empty.
    pub rows: Vec<Vec<Option<Chart>>>,
    /// Panels that have one x axis.
    pub share_x: Sharing,
    /// Panels that have one y axis.
    pub share_y: Sharing,
    pub letters: LetterStyle,
}

impl Panels {
    /// Builds panels of rows, of which shorter ones end in empty places.
    pub fn new(
        mut rows: Vec<Vec<Option<Chart>>>,
        share_x: impl Into<Sharing>,
        share_y: impl Into<Sharing>,
        letters: LetterStyle,
    ) -> Self {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row.resize(columns, None));
        Self { rows, share_x: share_x.into(), share_y: share_y.into(), letters }
    }

    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    fn charts(&self) -> impl Iterator<Item = &Chart> {
        self.rows.iter().flatten().flatten()
    }

    /// Returns the letter of panel `number` as it is written, empty where panels have none.
    fn letter(&self, number: usize) -> String {
        let lower = char::from(b'a' + (number % MOST) as u8);
        match self.letters {
            LetterStyle::Lower => lower.to_string(),
            LetterStyle::Upper => lower.to_ascii_uppercase().to_string(),
            LetterStyle::Bracketed => format!("({lower})"),
            LetterStyle::None => String::new(),
        }
    }

    /// Returns what a panel is called in notes and errors, whether its letter is shown or not.
    fn called(&self, number: usize) -> String {
        match self.letter(number) {
            letter if letter.is_empty() => format!("panel {}", number + 1),
            letter => format!("panel {letter}"),
        }
    }
}

impl ChartKind for Panels {
    fn name(&self) -> &'static str {
        "panels"
    }

    fn points(&self) -> Box<dyn Iterator<Item = (f64, f64)> + '_> {
        Box::new(self.charts().flat_map(|chart| chart.content.kind().points()))
    }

    fn check(&self, chart: &Chart) -> Result<()> {
        if !chart.marks.is_empty() {
            return Err(err!(Argument, "expected no annotations on panels, found {}", chart.marks.len())
                .hint("each chart has its own"));
        }
        let found = self.charts().count();
        check::some(found, "chart")?;
        if found > MOST {
            return Err(err!(Argument, "expected at most {MOST} charts, found {found}")
                .hint("they have the letters a to z")
                .about("charts"));
        }
        self.check_room(chart)?;
        for (number, chart) in self.charts().enumerate() {
            if matches!(*chart.content, ChartContent::Panels(_)) {
                let error = err!(Argument, "expected a chart with axes in {}, found panels", self.called(number));
                return Err(error.hint("put all charts into one list of rows").about("charts"));
            }
            chart.check().map_err(|e| e.within(self.called(number)))?;
        }
        self.shared().map(drop)
    }

    fn view(&self, _: &Chart) -> Result<ChartView> {
        for (number, chart) in self.charts().enumerate() {
            chart.content.kind().view(chart).map_err(|e| e.within(self.called(number)))?;
        }
        let none = Scale::new(0.0, 1.0, false);
        Ok(ChartView::new(none, none))
    }

    fn margins(&self, _: &Chart, _: &Pane) -> Result<Margins> {
        // They are not within a panel, which has only one chart.
        Ok(Margins::default())
    }

    fn draw(&self, chart: &Chart, pane: &Pane) -> Result<Drawing> {
        picture::draw(chart, self, pane)
    }

    fn text(&self, _: &Chart, screen: &Screen) -> Result<TextPicture> {
        let mut lines = Vec::new();
        let rows = self.shared()?;
        for (number, chart) in rows.iter().flatten().flatten().enumerate() {
            let letter = self.letter(number);
            let title = [letter.as_str(), chart.title.as_str()].join(" ").trim().to_string();
            lines.extend((number > 0).then(String::new));
            lines.extend(Chart { title, ..chart.clone() }.lines(screen)?);
        }
        Ok((lines, Vec::new()))
    }

    fn noun(&self) -> String {
        format!("chart of {}", count(self.charts().count(), "panel"))
    }

    fn described(&self, short: String) -> String {
        let panels: Vec<String> = self.charts().map(Chart::short).collect();
        format!("{short}: {}", panels.join("; "))
    }
}

impl Panels {
    /// Refuses pictures whose panels are too small for a chart.
    fn check_room(&self, chart: &Chart) -> Result<()> {
        let scale = chart.scale();
        let wide = ("width", chart.width, self.columns(), "column");
        let high = ("height", chart.height, self.rows.len(), "row");
        for (name, pixels, number, each) in [wide, high] {
            let least = (f64::from(SMALLEST) * scale * number as f64).ceil();
            if f64::from(pixels) < least {
                let all = count(number, each);
                let message = format!("expected a {name} of at least {least} for {all}, found {pixels}");
                return Err(err!(Argument, "{message}").hint("smaller letters need less room").about(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Grid;

    fn line(y: f64) -> Option<Chart> {
        Some(Chart::line(vec![Series { x: vec![1.0, 2.0], y: vec![y, 2.0 * y], ..Series::default() }]))
    }

    fn of(rows: Vec<Vec<Option<Chart>>>, share_x: bool, share_y: bool) -> Chart {
        Chart::new(ChartContent::Panels(Panels::new(rows, share_x, share_y, LetterStyle::Lower)))
    }

    fn message(chart: Chart) -> String {
        chart.check().unwrap_err().message
    }

    #[test]
    fn rows_are_filled_with_empty_places() {
        let chart = of(vec![vec![line(1.0)], vec![line(2.0), line(3.0)]], false, false);
        assert!(chart.check().is_ok());
        let ChartContent::Panels(panels) = &*chart.content else { panic!("no panels") };
        assert_eq!((panels.columns(), panels.charts().count(), panels.rows[0][1].is_none()), (2, 3, true));
        assert_eq!(chart.short(), "chart of 3 panels");
    }

    #[test]
    fn what_makes_no_panel_is_refused_in_words() {
        assert_eq!(message(of(vec![], false, false)), "expected at least one chart, found none");
        let inner = of(vec![vec![line(1.0)]], false, false);
        assert_eq!(
            message(of(vec![vec![line(1.0), Some(inner)]], false, false)),
            "expected a chart with axes in panel b, found panels"
        );
        let empty = Chart::line(vec![]);
        assert_eq!(
            message(of(vec![vec![Some(empty)]], false, false)),
            "panel a: expected at least one series, found none"
        );
        let narrow = Chart { width: 300, ..of(vec![vec![line(1.0), line(2.0)]], false, false) };
        assert_eq!(message(narrow), "expected a width of at least 320 for 2 columns, found 300");
        let many = of(vec![vec![line(1.0); 27]], false, false);
        assert_eq!(message(many), "expected at most 26 charts, found 27");
    }

    #[test]
    fn axes_of_two_kinds_are_not_shared() {
        let grid = Grid { rows: vec!["a".into()], columns: vec!["b".into()], values: vec![1.0], ..Grid::default() };
        let heat = Some(Chart::heat(grid));
        assert_eq!(
            message(of(vec![vec![line(1.0), heat.clone()]], false, true)),
            "expected charts between two axes to share one y axis, found heat chart"
        );
        assert!(of(vec![vec![line(1.0), heat]], false, false).check().is_ok());
        let mut log = line(1.0);
        if let Some(chart) = &mut log {
            chart.x.log = true;
        }
        let mixed = of(vec![vec![line(1.0)], vec![log]], true, false);
        assert_eq!(mixed.check().unwrap_err().about.as_deref(), Some("share_x"));
        assert_eq!(
            message(mixed),
            "expected axes of one kind to share one x axis, found a logarithmic and a linear one"
        );
        let bars = |labels: [&str; 2]| {
            let bars = Bars { values: vec![1.0, 2.0], ..Bars::default() };
            Some(Chart::bar(labels.map(String::from).into(), vec![bars]))
        };
        assert!(of(vec![vec![bars(["a", "b"])], vec![bars(["a", "b"])]], true, true).check().is_ok());
        assert!(of(vec![vec![bars(["a", "b"])], vec![bars(["a", "c"])]], true, true).check().is_err());
    }

    #[test]
    fn one_range_may_be_that_of_all_panels() {
        let rows = || vec![vec![line(1.0), line(10.0)], vec![line(100.0)]];
        let ranges = |sharing: Sharing| -> Vec<Option<[f64; 2]>> {
            let panels = Panels::new(rows(), false, sharing, LetterStyle::None);
            panels.shared().unwrap().iter().flatten().flatten().map(|chart| chart.y.range).collect()
        };
        let by_row = ranges(Sharing::Line);
        assert!(by_row[0] == by_row[1] && by_row[0].unwrap()[1] < 50.0 && by_row[2].is_none(), "{by_row:?}");
        let all = ranges(Sharing::All);
        assert!(all.iter().all(|range| *range == all[0]) && all[0].unwrap()[1] > 200.0, "{all:?}");
        let mut reversed = line(1.0);
        if let Some(chart) = &mut reversed {
            chart.y.range = Some([5.0, 0.0]);
        }
        let shared = of(vec![vec![reversed.clone(), reversed.clone()]], false, true);
        let ChartContent::Panels(panels) = &*shared.content else { panic!("no panels") };
        assert_eq!(panels.shared().unwrap()[0][1].as_ref().unwrap().y.range, Some([5.0, 0.0]));
        assert_eq!(
            message(of(vec![vec![reversed, line(1.0)]], false, true)),
            "expected axes of one direction to share one y axis, found a reversed one and another"
        );
        let sharing = [Plain::Flag(true), Plain::Flag(false), Plain::Text("all".into())];
        assert_eq!(sharing.map(|value| Sharing::of(&value).unwrap().written()), ["true", "false", "\"all\""]);
    }

    #[test]
    fn the_terminal_shows_the_panels_one_after_the_other() {
        let chart = of(vec![vec![line(1.0).map(|chart| chart.titled("First")), line(2.0)]], false, false);
        let text = chart.text(&Screen { width: 40, height: 12, ..Screen::default() }).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a First");
        assert!(lines.contains(&"b"), "{text}");
        assert!(lines.iter().filter(|line| line.contains('└')).count() == 2, "{text}");
    }
}
