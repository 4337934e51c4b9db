//! Lines and points in braille between an x and a y axis.

use super::braille::Braille;
use super::legend::{legend, letter};
use super::screen::{self, Screen};
use crate::base::Result;
use crate::report::chart::{Chart, Mark, Series, View};
use crate::report::palette;
use crate::report::scale::Scale;
use crate::report::symbols::visible;

/// A picture is no wider than this, however wide the screen is.
const WIDEST: usize = 100;

/// Points of a scatter plot that are drawn one by one.
const FEW: usize = 200;

/// The body of a picture, line by line, and the notes to stand under it.
pub type Body = (Vec<String>, Vec<String>);

pub fn points(chart: &Chart, series: &[Series], screen: &Screen) -> Result<Body> {
    let mut view = chart.view()?;
    let area = Area::new(chart, &view, screen);
    let mut raster = Braille::new(area.columns, area.rows);
    let joined = matches!(*chart.content, crate::report::chart::Content::Line { .. });
    for (index, s) in series.iter().enumerate() {
        strokes(&mut raster, &view, s, index, joined);
    }
    let lettered = !screen.colour && series.len() > 1;
    let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
    let key = |index: usize| if lettered { letter(index).to_string() } else { "●".into() };
    let mut lines = if chart.legend { legend(&names, key, screen) } else { Vec::new() };
    // A single dot of braille is hard to see; where points are few each gets a character of its own.
    let few = !joined && series.iter().map(|s| s.y.len()).sum::<usize>() <= FEW;
    let mut cells = area.cells(|column, row| {
        let (dots, owner) = raster.cell(column, row)?;
        let text = if lettered {
            letter(owner)
        } else if few {
            '•'
        } else {
            dots
        };
        Some(Cell { text, colour: Some(palette::series(owner)) })
    });
    area.mark(&mut cells, &view, &chart.marks);
    lines.extend(area.framed(chart, &view, &cells, screen));
    view.notes.extend(mark_notes(&chart.marks));
    Ok((lines, view.notes))
}

fn strokes(raster: &mut Braille, view: &View, s: &Series, owner: usize, joined: bool) {
    let frame = raster.frame();
    let place = |x: f64, y: f64| (view.x.share(x) * frame.right, (1.0 - view.y.share(y)) * frame.bottom);
    let mut before = None;
    for i in 0..s.y.len() {
        let shown = view.shows(s.x[i], s.y[i]).then(|| place(s.x[i], s.y[i]));
        if let Some(at) = shown {
            match before.filter(|_| joined) {
                Some(from) => raster.stroke(from, at, owner),
                None => raster.dot(at, owner),
            }
        }
        if let Some(spread) = s.spread.as_ref().filter(|_| shown.is_some()) {
            let (low, high) = (spread.low[i], spread.high[i]);
            if view.y.shows(low) && view.y.shows(high) {
                raster.stroke(place(s.x[i], low), place(s.x[i], high), owner);
            }
        }
        before = shown;
    }
}

/// One character of a plot.
#[derive(Clone, Copy)]
pub struct Cell {
    pub text: char,
    pub colour: Option<palette::Rgb>,
}

const EMPTY: Cell = Cell { text: ' ', colour: None };

/// The part of the screen between the axes.
pub struct Area {
    pub columns: usize,
    pub rows: usize,
    /// Columns that the labels of the y axis take.
    margin: usize,
}

impl Area {
    pub fn new(chart: &Chart, view: &View, screen: &Screen) -> Self {
        let names = usize::from(!chart.title.is_empty()) + usize::from(!chart.x.label.is_empty()) + 6;
        let rows = screen.height.saturating_sub(names).clamp(5, 16);
        let margin = y_ticks(&view.y, rows).iter().map(|t| screen::width(&t.label)).max().unwrap_or(0);
        let columns = screen.width.min(WIDEST).saturating_sub(margin + 2).max(10);
        Self { columns, rows, margin }
    }

    pub fn cells(&self, at: impl Fn(usize, usize) -> Option<Cell>) -> Vec<Vec<Cell>> {
        (0..self.rows).map(|row| (0..self.columns).map(|column| at(column, row).unwrap_or(EMPTY)).collect()).collect()
    }

    /// Lines across and up where nothing is drawn, and texts at their points.
    pub fn mark(&self, cells: &mut [Vec<Cell>], view: &View, marks: &[Mark]) {
        let column = |x: f64| view.x.contains(x).then(|| self.nearest(view.x.share(x), self.columns));
        let row = |y: f64| view.y.contains(y).then(|| self.nearest(1.0 - view.y.share(y), self.rows));
        for mark in marks {
            match mark {
                Mark::Horizontal { at, .. } => {
                    let Some(row) = row(*at) else { continue };
                    cells[row].iter_mut().filter(|c| c.text == ' ').for_each(|c| c.text = '╌');
                }
                Mark::Vertical { at, .. } => {
                    let Some(column) = column(*at) else { continue };
                    cells.iter_mut().map(|row| &mut row[column]).filter(|c| c.text == ' ').for_each(|c| c.text = '┊');
                }
                Mark::Text { x, y, text } => {
                    let (Some(column), Some(row)) = (column(*x), row(*y)) else { continue };
                    let text = format!("•{}", visible(text));
                    for (cell, c) in cells[row][column..].iter_mut().zip(text.chars()) {
                        // Characters of two columns would push the axis aside.
                        *cell = Cell {
                            text: if screen::width(c.encode_utf8(&mut [0; 4])) == 1 { c } else { '?' },
                            colour: None,
                        };
                    }
                }
            }
        }
    }

    fn nearest(&self, share: f64, cells: usize) -> usize {
        ((share * cells as f64) as usize).min(cells - 1)
    }

    /// The cells with ticks at the left and below, and the labels of the axes.
    pub fn framed(&self, chart: &Chart, view: &View, cells: &[Vec<Cell>], screen: &Screen) -> Vec<String> {
        let ticks = y_ticks(&view.y, self.rows);
        let mut lines = Vec::new();
        if !chart.y.label.is_empty() {
            lines.push(screen.dim(&screen::fitted(&visible(&chart.y.label), screen.width)));
        }
        for (row, cells) in cells.iter().enumerate() {
            let tick = ticks.iter().find(|t| self.nearest(1.0 - view.y.share(t.at), self.rows) == row);
            let label = screen::right(tick.map_or("", |t| &t.label), self.margin);
            let side = if tick.is_some() { "┤" } else { "│" };
            lines.push(format!("{label} {side}{}", painted(cells, screen)));
        }
        lines.extend(self.foot(view));
        if !chart.x.label.is_empty() {
            let label = screen::fitted(&visible(&chart.x.label), screen.width);
            let before = (self.margin + 2 + self.columns / 2).saturating_sub(screen::width(&label) / 2);
            lines.push(screen.dim(&format!("{}{label}", " ".repeat(before.min(screen.width - screen::width(&label))))));
        }
        lines
    }

    /// The x axis and its labels.
    fn foot(&self, view: &View) -> [String; 2] {
        let mut axis = vec!['─'; self.columns];
        let mut labels = vec![' '; self.margin + 2 + self.columns];
        let mut free = 0;
        for tick in view.x.ticks((self.columns / 12).max(2)) {
            let column = self.nearest(view.x.share(tick.at), self.columns);
            let wide = tick.label.chars().count();
            let middle = self.margin + 2 + column;
            let start = middle.saturating_sub(wide / 2).min(labels.len().saturating_sub(wide));
            if start < free || wide > labels.len() {
                continue;
            }
            axis[column] = '┬';
            labels[start..start + wide].iter_mut().zip(tick.label.chars()).for_each(|(place, c)| *place = c);
            free = start + wide + 1;
        }
        let axis: String = axis.into_iter().collect();
        [format!("{} └{axis}", " ".repeat(self.margin)), labels.into_iter().collect()]
    }
}

fn y_ticks(scale: &Scale, rows: usize) -> Vec<crate::report::scale::Tick> {
    scale.ticks((rows / 4).max(2))
}

/// A row of cells, one code for each stretch of a colour.
pub fn painted(cells: &[Cell], screen: &Screen) -> String {
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

/// What the lines across and up stand for, as there is no room beside them.
pub fn mark_notes(marks: &[Mark]) -> Vec<String> {
    let line = |mark: &Mark| match mark {
        Mark::Horizontal { at, text } if !text.is_empty() => {
            Some(format!("╌ {}: {}", crate::report::number::digits(*at, 4), visible(text)))
        }
        Mark::Vertical { at, text } if !text.is_empty() => {
            Some(format!("┊ {}: {}", crate::report::number::digits(*at, 4), visible(text)))
        }
        _ => None,
    };
    marks.iter().filter_map(line).collect()
}
