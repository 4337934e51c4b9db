//! Charts in the terminal: between an x and a y axis of characters, and the legend, the title and the notes around.

use super::*;
use crate::report::clip::Rectangle;
use crate::report::number;
use crate::report::scale::Tick;
use crate::report::terminal::inline;
use crate::report::terminal::screen;

/// Maximum width of a chart in characters, however wide the screen is.
const WIDEST: usize = 100;

/// The body of a picture, line by line, and the notes to stand under it.
pub type TextPicture = (Vec<String>, Vec<String>);

impl Chart {
    /// Draws the chart for this screen: as a picture where the terminal can show one, else as text. The text ends in a
    /// line end.
    pub fn text(&self, screen: &Screen) -> Result<String> {
        self.check()?;
        if let Some(picture) = inline::picture(self, screen)? {
            return Ok(picture);
        }
        let lines = self.lines(screen)?;
        let trimmed: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        Ok(trimmed.join("\n") + "\n")
    }

    /// Draws the chart as lines of text: its title, its body and its notes.
    pub(super) fn lines(&self, screen: &Screen) -> Result<Vec<String>> {
        let (body, notes) = self.content.kind().text(self, screen)?;
        let mut out = Vec::new();
        out.extend(screen::wrapped(&visible(&self.title), screen.width).iter().map(|line| screen.bold(line)));
        out.extend(body);
        out.extend(notes.iter().flat_map(|note| screen::wrapped(note, screen.width)).map(|line| screen.dim(&line)));
        Ok(out)
    }
}

/// Draws the body of a chart with axes: `fill` makes the characters between them. Where there are colours, or only one
/// series, the key beside a name is `sign`.
pub fn plot(
    chart: &Chart,
    screen: &Screen,
    sign: &str,
    fill: impl FnOnce(&TextArea, &ChartView) -> PlotCharacters,
) -> Result<TextPicture> {
    let mut view = chart.view()?;
    let area = TextArea::new(chart, &view, screen);
    let is_lettered = is_lettered(chart, screen);
    let mut lines = legend(chart, screen, |index| if is_lettered { letter(index).into() } else { sign.into() });
    let mut cells = fill(&area, &view);
    area.mark(&mut cells, &view, &chart.marks);
    lines.extend(area.framed(chart, &view, &cells, screen));
    view.notes.extend(mark_notes(&chart.marks));
    let right = right_note(chart, &view);
    view.notes.extend(right);
    Ok((lines, view.notes))
}

/// Tells the range of the right axis, as there is no room for its ticks.
fn right_note(chart: &Chart, view: &ChartView) -> Option<String> {
    let right = chart.content.kind().right()?;
    let Scale { low, high, .. } = view.right?;
    let names: Vec<String> = right.series.iter().map(|name| token(name)).collect();
    Some(format!("{}: on the right axis, {} to {}.", names.join(", "), number::digits(low, 3), number::digits(high, 3)))
}

/// Returns whether series are told apart by letters.
pub fn is_lettered(chart: &Chart, screen: &Screen) -> bool {
    !screen.colour && chart.names().len() > 1
}

/// Returns the letter that stands for a series where there are no colours.
pub fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// Writes the names of the series with their keys, in lines that fit.
pub fn legend(chart: &Chart, screen: &Screen, key: impl Fn(usize) -> String) -> Vec<String> {
    let inks = chart.inks();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (index, name) in chart.listed().into_iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let name = screen::fitted(&token(&name), screen.width.saturating_sub(4).min(40));
        let wide = screen::width(&name) + 2;
        let entry = format!("{} {name}", screen.ink(&key(index), inks[index]));
        match lines.last_mut() {
            Some((line, used)) if *used + 2 + wide <= screen.width => {
                line.push_str(&format!("  {entry}"));
                *used += 2 + wide;
            }
            _ => lines.push((entry, wide)),
        }
    }
    let hidden = lines.len().saturating_sub(4);
    lines.truncate(4);
    let more = (hidden > 0).then(|| format!("and {hidden} more lines of names"));
    lines.into_iter().map(|(line, _)| line).chain(more).collect()
}

/// A character of a plot.
#[derive(Clone, Copy)]
pub struct PlotCharacter {
    pub text: char,
    pub colour: Option<palette::Rgb>,
}

const EMPTY: PlotCharacter = PlotCharacter { text: ' ', colour: None };

/// The characters of a plot, row by row.
pub type PlotCharacters = Vec<Vec<PlotCharacter>>;

/// The part of the screen between the axes.
pub struct TextArea {
    pub columns: usize,
    pub rows: usize,
    /// Columns that the labels of the y axis take.
    margin: usize,
}

impl TextArea {
    fn new(chart: &Chart, view: &ChartView, screen: &Screen) -> Self {
        let names = usize::from(!chart.title.is_empty()) + usize::from(!chart.x.label.is_empty()) + 6;
        let rows = screen.height.saturating_sub(names).clamp(5, 16);
        let widest = y_ticks(chart, view, rows).iter().map(|t| screen::width(&t.label)).max().unwrap_or(0);
        let margin = widest.min(screen.width / 2);
        let columns = screen.width.min(WIDEST).saturating_sub(margin + 2).max(10);
        Self { columns, rows, margin }
    }

    pub fn cells(&self, at: impl Fn(usize, usize) -> Option<PlotCharacter>) -> PlotCharacters {
        (0..self.rows).map(|row| (0..self.columns).map(|column| at(column, row).unwrap_or(EMPTY)).collect()).collect()
    }

    /// Draws lines across and up where nothing else is drawn, and texts at their points.
    fn mark(&self, cells: &mut [Vec<PlotCharacter>], view: &ChartView, marks: &[Annotation]) {
        let column = |x: f64| view.x.contains(x).then(|| self.nearest(view.x.share(x), self.columns));
        let row = |y: f64| view.y.contains(y).then(|| self.nearest(1.0 - view.y.share(y), self.rows));
        for mark in marks {
            match mark {
                Annotation::Horizontal { at, .. } => {
                    let Some(row) = row(*at) else { continue };
                    cells[row].iter_mut().filter(|c| c.text == ' ').for_each(|c| c.text = '╌');
                }
                Annotation::Vertical { at, .. } => {
                    let Some(column) = column(*at) else { continue };
                    cells.iter_mut().map(|row| &mut row[column]).filter(|c| c.text == ' ').for_each(|c| c.text = '┊');
                }
                // The spans are told in the notes: shades would hide what is drawn there.
                Annotation::XSpan { .. } | Annotation::YSpan { .. } => {}
                Annotation::Line { points, .. } => {
                    for (column, row) in points.windows(2).flat_map(|pair| self.between(view, pair[0], pair[1])) {
                        if cells[row][column].text == ' ' {
                            cells[row][column].text = '·';
                        }
                    }
                }
                Annotation::Text { x, y, text } | Annotation::Arrow { x, y, text, .. } => {
                    let Some((column, row)) = column(*x).zip(row(*y)) else { continue };
                    let text = format!("•{}", visible(text));
                    for (cell, c) in cells[row][column..].iter_mut().zip(text.chars()) {
                        *cell = PlotCharacter { text: narrow(c), colour: None };
                    }
                }
            }
        }
    }

    /// Returns the cells of a straight line between two points, those within the axes.
    fn between(&self, view: &ChartView, from: [f64; 2], to: [f64; 2]) -> impl Iterator<Item = (usize, usize)> {
        let [from, to] = [from, to].map(|[x, y]| (view.x.share(x), view.y.share(y)));
        // All steps are within the axes, however far the line goes on.
        let seen = Rectangle { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 }.segment(from, to);
        let steps = self.columns.max(self.rows) * 2;
        let mix = move |a: f64, b: f64, step: usize| a + (b - a) * step as f64 / steps as f64;
        let place = move |from: Point, to: Point, step: usize| (mix(from.0, to.0, step), mix(from.1, to.1, step));
        let places = move |(from, to): (Point, Point)| (0..=steps).map(move |step| place(from, to, step));
        let is_inside = |(x, y): &(f64, f64)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y);
        let cell = move |(x, y): (f64, f64)| (self.nearest(x, self.columns), self.nearest(1.0 - y, self.rows));
        seen.into_iter().flat_map(places).filter(is_inside).map(cell)
    }

    fn nearest(&self, share: f64, cells: usize) -> usize {
        ((share * cells as f64) as usize).min(cells - 1)
    }

    /// Frames the cells with ticks at the left and below, and the labels of the axes.
    fn framed(&self, chart: &Chart, view: &ChartView, cells: &[Vec<PlotCharacter>], screen: &Screen) -> Vec<String> {
        let ticks = y_ticks(chart, view, self.rows);
        let mut lines = Vec::new();
        if !chart.y.label.is_empty() {
            lines.push(screen.dim(&screen::fitted(&visible(&chart.y.label), screen.width)));
        }
        for (row, cells) in cells.iter().enumerate() {
            let tick = ticks.iter().find(|t| self.nearest(1.0 - view.y.share(t.at), self.rows) == row);
            let label = tick.map_or(String::new(), |t| screen::fitted(&t.label, self.margin));
            let label = screen::right(&label, self.margin);
            let side = if tick.is_some() { "┤" } else { "│" };
            lines.push(format!("{label} {side}{}", painted(cells, screen)));
        }
        lines.extend(self.foot(chart, view));
        if !chart.x.label.is_empty() {
            let label = screen::fitted(&visible(&chart.x.label), screen.width);
            let before = (self.margin + 2 + self.columns / 2).saturating_sub(screen::width(&label) / 2);
            lines.push(screen.dim(&format!("{}{label}", " ".repeat(before.min(screen.width - screen::width(&label))))));
        }
        lines
    }

    /// Draws the x axis and its labels.
    fn foot(&self, chart: &Chart, view: &ChartView) -> [String; 2] {
        let mut axis = vec!['─'; self.columns];
        let mut labels = vec![' '; self.margin + 2 + self.columns];
        let mut free = 0;
        let mut ticks = chart.x.ticks_on(&view.x, (self.columns / 12).max(2));
        ticks.sort_by(|a, b| view.x.share(a.at).total_cmp(&view.x.share(b.at)));
        for tick in ticks {
            let column = self.nearest(view.x.share(tick.at), self.columns);
            let wide = tick.label.chars().count();
            let middle = self.margin + 2 + column;
            let start = middle.saturating_sub(wide / 2).min(labels.len().saturating_sub(wide));
            if start < free || wide > labels.len() {
                continue;
            }
            axis[column] = '┬';
            labels[start..start + wide].iter_mut().zip(tick.label.chars()).for_each(|(place, c)| *place = narrow(c));
            free = start + wide + 1;
        }
        let axis: String = axis.into_iter().collect();
        [format!("{} └{axis}", " ".repeat(self.margin)), labels.into_iter().collect()]
    }
}

fn y_ticks(chart: &Chart, view: &ChartView, rows: usize) -> Vec<Tick> {
    chart.y.ticks_on(&view.y, (rows / 4).max(2))
}

/// Returns a character if it takes one column: of two, it would push the axis aside.
fn narrow(c: char) -> char {
    if screen::width(c.encode_utf8(&mut [0; 4])) == 1 { c } else { '?' }
}

/// Writes a row of cells, with one code for each stretch of a colour.
fn painted(cells: &[PlotCharacter], screen: &Screen) -> String {
    cells
        .chunk_by(|a, b| a.colour == b.colour)
        .map(|run| {
            let text: String = run.iter().map(|c| c.text).collect();
            match run[0].colour {
                Some(colour) => screen.ink(&text, colour),
                None => text,
            }
        })
        .collect()
}

/// Tells what the lines across and up, and the spans, stand for, as there is no room beside them.
pub fn mark_notes(marks: &[Annotation]) -> Vec<String> {
    let span = |low: f64, high: f64| format!("{} to {}", number::digits(low, 4), number::digits(high, 4));
    let line = |mark: &Annotation| {
        let (sign, place, text) = match mark {
            Annotation::Horizontal { at, text } => ("╌", number::digits(*at, 4), text),
            Annotation::Vertical { at, text } => ("┊", number::digits(*at, 4), text),
            Annotation::XSpan { low, high, text } => ("x", span(*low, *high), text),
            Annotation::YSpan { low, high, text } => ("y", span(*low, *high), text),
            Annotation::Line { points, text } => ("·", count(points.len(), "point"), text),
            Annotation::Text { .. } | Annotation::Arrow { .. } => return None,
        };
        (!text.is_empty()).then(|| format!("{sign} {place}: {}", visible(text)))
    };
    marks.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use crate::base::Grid;
    use crate::base::results::MISSING;

    /// Draws the chart on a small screen without colours, starting on a line of its own to be read more easily.
    fn drawn(chart: &Chart) -> String {
        let screen = Screen { width: 40, height: 12, ..Screen::default() };
        format!("\n{}", chart.text(&screen).unwrap())
    }

    fn series(name: &str, y: &[f64]) -> Series {
        let x = (0..y.len()).map(|i| i as f64).collect();
        Series { name: name.into(), x, y: y.to_vec(), ..Series::default() }
    }

    #[test]
    fn lines_have_gaps_and_annotations() {
        let mut chart = Chart::line(vec![series("loss", &[3.0, 1.0, f64::NAN, 1.0])]).titled("Loss");
        chart.x.label = "step".into();
        chart.marks = vec![Annotation::Horizontal { at: 2.0, text: "target".into() }];
        assert_eq!(
            drawn(&chart),
            "
Loss
● loss
3 ┤ ⠐⠢⡀
  │   ⠈⠒⢄
2 ┤╌╌╌╌╌╌⠑⢄⡀╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
  │        ⠈⠢⢄
1 ┤           ⠑⠤                      ⠄
  └─┬──────────┬───────────┬──────────┬─
    0          1           2          3
                   step
1 point is NaN or infinite and left out.
╌ 2: target
"
        );
    }

    #[test]
    fn axes_have_the_ticks_that_are_given_and_the_direction_that_is_asked_for() {
        let mut chart = Chart::line(vec![series("", &[1.0, 2.0, 3.0])]);
        let tick = |at: f64, label: &str| Tick { at, label: label.into() };
        chart.x.ticks = Some(vec![tick(0.0, "first"), tick(2.0, "last")]);
        chart.x.range = Some([2.0, 0.0]);
        chart.marks = vec![Annotation::Line { points: vec![[0.0, 3.0], [2.0, 1.0]], text: "fit".into() }];
        let text = drawn(&chart);
        let foot = text.lines().find(|line| line.contains("first")).unwrap();
        assert!(foot.find("last").unwrap() < foot.find("first").unwrap(), "{text}");
        assert!(text.contains("· 2 points: fit") && text.matches('·').count() > 10, "{text}");
        // One that goes on far beyond the axes is drawn as closely.
        chart.marks = vec![Annotation::Line { points: vec![[-2000.0, 2002.0], [2000.0, -1998.0]], text: "far".into() }];
        chart.y.range = Some([0.0, 3.0]);
        assert!(drawn(&chart).matches('·').count() > 10, "{}", drawn(&chart));
    }

    #[test]
    fn points_of_several_groups_are_letters_where_there_is_no_colour() {
        let chart = Chart::scatter(vec![series("first", &[1.0, 2.0, 3.0]), series("second", &[3.0, 2.5])]);
        assert_eq!(
            drawn(&chart),
            "
a first  b second
3 ┤ b                                 a
  │                  b
  │
2 ┤                  a
  │
1 ┤ a
  └─┬───────┬────────┬────────┬───────┬─
   0.0     0.5      1.0      1.5     2.0
"
        );
    }

    #[test]
    fn bars_grow_both_ways_from_zero() {
        let bars = Bars { values: vec![1.0, -0.5, f64::NAN, MISSING], ..Bars::default() };
        let chart = Chart::bar(vec![" the".into(), "\n".into(), ")".into(), "(".into()], vec![bars]);
        assert_eq!(
            drawn(&chart),
            "
␣the           █████████████████▌  1
   ↵   ████████                    -0.5
   )                               NaN
   (                               –
1 value is NaN or infinite and left out.
"
        );
    }

    #[test]
    fn histograms_stand_in_columns() {
        let bins = BinOptions { bins: Some(3), ..BinOptions::default() };
        let chart = binned(vec![(String::new(), vec![0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0])], &bins).unwrap();
        assert_eq!(
            drawn(&chart),
            "
count
4 ┤                         ▅▅▅▅▅▅▅▅▅▅▅▅
  │                         ████████████
  │                         ████████████
2 ┤            ▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
  │▃▃▃▃▃▃▃▃▃▃▃▃█████████████████████████
0 ┤█████████████████████████████████████
  └┬───────────┬───────────┬───────────┬
   0           1           2           3
"
        );
    }

    #[test]
    fn heat_maps_are_numbers_or_shades_where_there_is_no_colour() {
        let grid = Grid {
            title: "Patching".into(),
            rows: vec!["0".into(), "1".into()],
            columns: vec![" the".into(), " cat".into()],
            quantity: "effect".into(),
            values: vec![0.5, -1.0, 0.25, f64::NAN],
            ..Grid::default()
        };
        assert_eq!(
            drawn(&Chart::heat(grid.clone())),
            "
Patching
0    0.50   -1.00
1    0.25
     ␣the    ␣cat
  -1 -█-▒+░+▓ 1  effect
1 cell is NaN or infinite (grey).
"
        );
        let quantity = "effect on the logit difference of the answers".into();
        let missing = Grid { quantity, values: vec![0.5, -1.0, 0.25, MISSING], ..grid };
        assert_eq!(
            drawn(&Chart::heat(missing)),
            "
Patching
0    0.50   -1.00
1    0.25
     ␣the    ␣cat
  -1 -█-▒+░+▓ 1
effect on the logit difference of the
answers
"
        );
        let names: Vec<String> = ["the", "committee", "met"].map(String::from).into();
        let values = vec![1.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.0, 0.5, 0.5];
        let pattern = drawn(&Chart::heat(Grid { rows: names.clone(), columns: names, values, ..Grid::default() }));
        let numbers: Vec<Vec<&str>> =
            pattern.lines().skip(1).take(3).map(|line| line.split_whitespace().skip(1).collect()).collect();
        assert_eq!(numbers, [vec!["1.00"], vec!["0.25", "0.75"], vec!["0.00", "0.50", "0.50"]]);
        let wide = Grid {
            rows: vec!["0".into()],
            columns: (0..30).map(|i| i.to_string()).collect(),
            values: (0..30).map(|i| f64::from(i) - 15.0).collect(),
            ..Grid::default()
        };
        assert_eq!(
            drawn(&Chart::heat(wide)),
            "
0 ##====----····   ░░░░▒▒▒▒▓▓▓▓█
  0  3  6  9  12 15 18 21 24 27
  -15 #=-·░▒▓█ 15
"
        );
    }
}
