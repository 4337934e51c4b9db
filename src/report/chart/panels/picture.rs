//! Panels as one picture: their plots are of one size and aligned, whatever the labels around them take.

use super::super::legend::{Legend, LegendKeys};
use super::super::pane::Panel;
use super::*;
use crate::report::draw::canvas::{Layers, Size};
use crate::report::draw::layout::{self, PAD};

/// The least size of a plot.
const NARROWEST: f64 = 40.0;
const LOWEST: f64 = 30.0;

pub fn draw(chart: &Chart, panels: &Panels, pane: &Pane) -> Result<Drawing> {
    let Pane { width, height, lettering, .. } = *pane;
    let font = lettering.font;
    let mut rows = panels.shared()?;
    let legend = common_keys(&rows).map(|keys| Legend::new(&keys, width, font));
    if legend.is_some() {
        rows.iter_mut().flatten().flatten().for_each(|chart| chart.legend = false);
    }
    let title = layout::title_lines(&chart.title, width, font);
    let below_title = layout::title_height(&title);
    let top = below_title + legend.as_ref().map_or(0.0, Legend::height);
    let sheet_above = |notes: &[String]| {
        PanelSheet::of(panels, &rows, Size { width, height: height - top - layout::notes_height(notes) }, lettering)
    };
    let notes_on = |sheet: &PanelSheet| -> Result<Vec<String>> {
        Ok(layout::note_lines(&notes(panels, &rows, sheet)?, width, font))
    };
    // What notes say depends on the room of the panels, of which notes take some.
    let sheet = sheet_above(&notes_on(&sheet_above(&[])?)?)?;
    let notes = notes_on(&sheet)?;
    let mut layers = Layers::new(width, height, lettering);
    layers.add(|canvas| {
        layout::draw_title(canvas, &title)?;
        if let Some(legend) = &legend {
            legend.draw(canvas, PAD + below_title)?;
        }
        layout::draw_notes(canvas, &notes, height)
    })?;
    for (row, column, chart) in places(&rows) {
        let (left, above) = sheet.corner(row, column);
        let drawing = chart.content.kind().draw(chart, &sheet.pane(row, column))?;
        layers.place((left, top + above), &drawing);
    }
    Ok(layers.finished())
}

/// Returns the keys of all panels that have names of series, if these are several and agree.
fn common_keys(rows: &[Vec<Option<Chart>>]) -> Option<LegendKeys> {
    let all = rows.iter().flatten().flatten().map(LegendKeys::of);
    let named: Vec<LegendKeys> = all.filter(|keys| keys.names.iter().any(|name| !name.is_empty())).collect();
    let [first, others @ ..] = named.as_slice() else { return None };
    let is_like = |other: &LegendKeys| other.names == first.names && other.styles == first.styles;
    if others.is_empty() || !others.iter().all(is_like) {
        return None;
    }
    let is_one = others.iter().all(|other| other.symbol == first.symbol);
    Some(LegendKeys { symbol: if is_one { first.symbol } else { LegendSymbol::Block }, ..first.clone() })
}

/// Returns the notes of all panels, each with the panel it is of.
fn notes(panels: &Panels, rows: &[Vec<Option<Chart>>], sheet: &PanelSheet) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (number, (row, column, chart)) in places(rows).enumerate() {
        let own = chart.content.kind().notes(chart, &sheet.pane(row, column))?;
        notes.extend(own.into_iter().map(|note| format!("{}: {note}", panels.called(number))));
    }
    Ok(notes)
}

/// Returns the charts with their rows and columns.
fn places(rows: &[Vec<Option<Chart>>]) -> impl Iterator<Item = (usize, usize, &Chart)> {
    rows.iter().enumerate().flat_map(|(row, charts)| {
        let charts = charts.iter().enumerate();
        charts.filter_map(move |(column, chart)| Some((row, column, chart.as_ref()?)))
    })
}

/// Places of panels: the margins of each row and column, and the size that all plots have.
struct PanelSheet {
    /// Margins at the left and at the right of each column.
    columns: Vec<(f64, f64)>,
    /// Margins above and below each row.
    rows: Vec<(f64, f64)>,
    /// The size of a plot.
    plot: Size,
    /// Panels row by row, without their margins.
    panels: Vec<Vec<Panel>>,
    lettering: Lettering,
}

impl PanelSheet {
    /// Lays out panels on a sheet of this size.
    fn of(panels: &Panels, charts: &[Vec<Option<Chart>>], size: Size, lettering: Lettering) -> Result<Self> {
        let mut sheet = Self {
            columns: vec![(0.0, 0.0); panels.columns()],
            rows: vec![(0.0, 0.0); charts.len()],
            plot: Size { width: size.width / panels.columns() as f64, height: size.height / charts.len() as f64 },
            panels: told(panels, charts),
            lettering,
        };
        // Labels depend on the size of the plot, and its size on the room that labels take.
        for _ in 0..2 {
            sheet = sheet.fitted(charts, size)?;
        }
        Ok(sheet)
    }

    /// Returns the layout with the margins that the labels need on panels of its sizes.
    fn fitted(self, charts: &[Vec<Option<Chart>>], size: Size) -> Result<Self> {
        let mut columns = vec![(0.0_f64, 0.0_f64); self.columns.len()];
        let mut rows = vec![(0.0_f64, 0.0_f64); self.rows.len()];
        for (row, column, chart) in places(charts) {
            let pane = Pane { panel: Some(self.panels[row][column].clone()), ..self.pane(row, column) };
            let Margins { left, top, right, bottom } = chart.content.kind().margins(chart, &pane)?;
            columns[column] = (columns[column].0.max(left), columns[column].1.max(right));
            rows[row] = (rows[row].0.max(top), rows[row].1.max(bottom));
        }
        let sum = |margins: &[(f64, f64)]| margins.iter().map(|(before, after)| before + after).sum::<f64>();
        let width = ((size.width - sum(&columns)) / columns.len() as f64).max(NARROWEST);
        let height = ((size.height - sum(&rows)) / rows.len() as f64).max(LOWEST);
        Ok(Self { columns, rows, plot: Size { width, height }, ..self })
    }

    /// Returns the upper left corner of a panel.
    fn corner(&self, row: usize, column: usize) -> (f64, f64) {
        let before = |margins: &[(f64, f64)], plot: f64| margins.iter().map(|(a, b)| a + plot + b).sum::<f64>();
        (before(&self.columns[..column], self.plot.width), before(&self.rows[..row], self.plot.height))
    }

    /// Returns the part of the sheet that a panel has, with its margins.
    fn pane(&self, row: usize, column: usize) -> Pane {
        let (left, right) = self.columns[column];
        let (top, bottom) = self.rows[row];
        let width = left + self.plot.width + right;
        let height = top + self.plot.height + bottom;
        let margins = Some(Margins { left, top, right, bottom });
        let panel = Panel { margins, ..self.panels[row][column].clone() };
        Pane { width, height, lettering: self.lettering, panel: Some(panel) }
    }
}

/// Returns what each panel is told: its letter, and whether labels of its axes stand at it or at another one.
fn told(panels: &Panels, charts: &[Vec<Option<Chart>>]) -> Vec<Vec<Panel>> {
    let is_lowest = |row: usize, column: usize| charts[row + 1..].iter().all(|below| below[column].is_none());
    let is_first = |row: usize, column: usize| charts[row][..column].iter().all(Option::is_none);
    let mut number = 0;
    let mut panel = |row: usize, column: usize| {
        let letter = if charts[row][column].is_some() { panels.letter(number) } else { String::new() };
        number += usize::from(charts[row][column].is_some());
        Panel {
            letter,
            has_x_labels: panels.share_x == Sharing::None || is_lowest(row, column),
            has_y_labels: panels.share_y == Sharing::None || is_first(row, column),
            margins: None,
        }
    };
    (0..charts.len()).map(|row| (0..panels.columns()).map(|column| panel(row, column)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panel as it was drawn: its corner, the ends of its base line on the sheet, and its tick labels at the left and
    /// below.
    struct Drawn {
        base: [(f64, f64); 2],
        left: usize,
        below: usize,
    }

    fn pair(text: &str) -> (f64, f64) {
        let (x, y) = text.trim().split_once(',').unwrap();
        (x.trim().parse().unwrap(), y.trim().parse().unwrap())
    }

    fn drawn(chart: &Chart) -> Vec<Drawn> {
        let body = chart.draw(false).unwrap().body;
        let panel = |group: &str| {
            let (place, content) = group.split_once(")\">\n").unwrap();
            let corner = pair(place);
            let mut lines = content.lines().filter(|line| line.contains("stroke=\"#1F2329\" stroke-width=\"10\""));
            let base = lines.next_back().unwrap().split('"').nth(1).unwrap();
            let ends: Vec<(f64, f64)> = base.split_whitespace().map(pair).collect();
            let labels = |anchor: &str| {
                let of_ticks = |line: &&str| line.contains("font-size=\"110\"") && line.contains(anchor);
                content.lines().filter(of_ticks).count()
            };
            Drawn {
                base: [0, 1].map(|end| (corner.0 + ends[end].0, corner.1 + ends[end].1)),
                left: labels("\"end\""),
                below: labels("\"middle\""),
            }
        };
        body.split("<g transform=\"translate(").skip(1).map(panel).collect()
    }

    fn line(y: [f64; 3]) -> Option<Chart> {
        let series = Series { x: vec![0.0, 1.0, 2.0], y: y.to_vec(), ..Series::default() };
        let mut chart = Chart::line(vec![series]);
        chart.y.label = "loss".into();
        chart.x.label = "step".into();
        Some(chart)
    }

    fn four(share_x: bool, share_y: bool) -> Chart {
        let rows = vec![
            vec![line([1.0, 2.0, 3.0]), line([-1e6, 0.0, 2e6])],
            vec![line([0.001, 0.002, 0.003]), line([5.0, 5.5, 6.0])],
        ];
        let panels = Panels::new(rows, share_x, share_y, LetterStyle::Bracketed);
        Chart { height: 600, ..Chart::new(ChartContent::Panels(panels)) }
    }

    #[test]
    fn plots_are_of_one_size_and_aligned() {
        for share in [false, true] {
            let panels = drawn(&four(share, share));
            assert_eq!(panels.len(), 4);
            let near = |a: f64, b: f64| (a - b).abs() <= 2.0;
            let width = |panel: &Drawn| panel.base[1].0 - panel.base[0].0;
            assert!(panels.iter().all(|panel| near(width(panel), width(&panels[0])) && width(panel) > 1500.0));
            for (one, other) in [(0, 2), (1, 3)] {
                assert!(near(panels[one].base[0].0, panels[other].base[0].0), "the left sides of a column");
            }
            for (one, other) in [(0, 1), (2, 3)] {
                assert!(near(panels[one].base[0].1, panels[other].base[0].1), "the base lines of a row");
            }
            assert!(panels[1].base[0].0 > panels[0].base[1].0 && panels[2].base[0].1 > panels[0].base[0].1);
        }
    }

    #[test]
    fn shared_axes_have_one_range_and_their_labels_at_the_border() {
        let labels = |panel: &Drawn| (panel.left > 0, panel.below > 0);
        let counts = |chart: &Chart| drawn(chart).iter().map(labels).collect::<Vec<_>>();
        assert_eq!(counts(&four(false, false)), [(true, true); 4]);
        assert_eq!(counts(&four(true, true)), [(true, false), (false, false), (true, true), (false, true)]);
        let shared = four(false, true);
        let ChartContent::Panels(panels) = &*shared.content else { panic!("no panels") };
        let rows = panels.shared().unwrap();
        let range = |row: usize, column: usize| rows[row][column].as_ref().unwrap().y.range.unwrap();
        assert_eq!(range(0, 0), range(0, 1));
        assert!(range(0, 0)[0] < -1e6 && range(0, 0)[1] > 2e6 && range(1, 0)[1] < 7.0);
        assert_eq!(rows[0][0].as_ref().unwrap().x.range, None);
        // With an empty place, the labels stand at the panel that is next to it.
        let rows = vec![vec![line([1.0, 2.0, 3.0]), line([1.0, 2.0, 3.0])], vec![line([1.0, 2.0, 3.0]), None]];
        let panels = Panels::new(rows, true, false, LetterStyle::None);
        let chart = Chart::new(ChartContent::Panels(panels));
        assert_eq!(counts(&chart), [(true, false), (true, true), (true, true)]);
    }

    #[test]
    fn names_that_agree_are_listed_once_above_all_panels() {
        let named = |names: [&str; 2]| {
            let series = |name: &str| Series { name: name.into(), x: vec![0.0], y: vec![1.0], ..Series::default() };
            Some(Chart::line(names.map(series).into()))
        };
        let bars = || {
            let bars = |name: &str| Bars { name: name.into(), values: vec![1.0], spread: None };
            Some(Chart::bar(vec!["x".into()], ["topk", "l1"].map(bars).into()))
        };
        let listed = |rows: Vec<Vec<Option<Chart>>>| {
            let panels = Panels::new(rows, false, false, LetterStyle::None);
            let body = Chart::new(ChartContent::Panels(panels)).draw(false).unwrap().body;
            let first = body.split("<g transform").next().unwrap();
            let count = |text: &str| text.matches(">\ntopk\n<").count();
            (count(first), count(&body))
        };
        assert_eq!(listed(vec![vec![named(["topk", "l1"]), named(["topk", "l1"]), line([1.0; 3])]]), (1, 1));
        assert_eq!(listed(vec![vec![named(["topk", "l1"]), bars()]]), (1, 1));
        // Others stay where they are.
        assert_eq!(listed(vec![vec![named(["topk", "l1"]), named(["l1", "topk"])]]), (0, 2));
        assert_eq!(listed(vec![vec![named(["topk", "l1"]), line([1.0; 3])]]), (0, 1));
    }

    #[test]
    fn notes_count_the_marks_that_a_panel_has_room_for() {
        let all: Vec<f64> = (0..20_000).map(|i| crate::report::samples::noise(i) * 50.0).collect();
        let y = (0..20_000).map(|i| crate::report::samples::noise(i + 20_000) * 50.0).collect();
        let cloud = Some(Chart::scatter(vec![Series { x: all, y, ..Series::default() }]));
        let panels = Panels::new(vec![vec![cloud, line([1.0; 3])]], false, false, LetterStyle::Lower);
        let body = Chart::new(ChartContent::Panels(panels)).draw(false).unwrap().body;
        let note = body.lines().find(|line| line.starts_with("panel a: ")).unwrap();
        let number: usize = note.split_whitespace().nth(2).unwrap().replace(',', "").parse().unwrap();
        // The line has three.
        assert_eq!(number + 3, body.matches("<circle").count(), "{note}");
    }

    #[test]
    fn panels_have_letters_titles_and_notes() {
        let mut chart = four(false, false).titled("Four of them");
        let ChartContent::Panels(panels) = Arc::make_mut(&mut chart.content) else { panic!("no panels") };
        panels.rows[0][1] = line([1.0, f64::NAN, 2.0]);
        let body = chart.draw(false).unwrap().body;
        for text in ["(a)", "(d)", "Four of them", "panel (b): 1 point is NaN or infinite and left out."] {
            assert_eq!(body.matches(&format!(">\n{text}\n<")).count(), 1, "{text}");
        }
        assert!(!body.contains(">\n1 point is"), "notes stand below all panels");
        let letters = four(true, true).described();
        assert!(letters.starts_with("chart of 4 panels: line chart; line chart"), "{letters}");
    }
}
