//! Histograms as columns of blocks, several of them as outlines.

use super::braille::Braille;
use super::legend::{legend, letter};
use super::plot::{Area, Body, Cell, mark_notes};
use super::screen::Screen;
use crate::base::Result;
use crate::report::chart::{Chart, Counts, View};
use crate::report::palette;

/// Blocks that fill a character by eighths from below.
pub const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub fn counts(chart: &Chart, edges: &[f64], series: &[Counts], screen: &Screen) -> Result<Body> {
    let mut view = chart.view()?;
    let area = Area::new(chart, &view, screen);
    let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
    let lettered = !screen.colour && series.len() > 1;
    let key = |index: usize| if lettered { letter(index).to_string() } else { "■".into() };
    let mut lines = if chart.legend { legend(&names, key, screen) } else { Vec::new() };
    let mut cells = match series {
        [only] => solid(&area, &view, edges, only),
        several => outlines(&area, &view, edges, several, lettered),
    };
    area.mark(&mut cells, &view, &chart.marks);
    lines.extend(area.framed(chart, &view, &cells, screen));
    view.notes.extend(mark_notes(&chart.marks));
    Ok((lines, view.notes))
}

/// How high the columns stand at a share of the width: the highest bin that the stretch touches.
fn height(view: &View, edges: &[f64], counts: &[u64], from: f64, to: f64) -> f64 {
    let bin = |share: f64| edges.partition_point(|edge| *edge <= view.x.value(share));
    let (first, last) = (bin(from), bin(to));
    let touched = first.max(1)..=last.min(counts.len()).max(first.max(1));
    let most = touched.filter_map(|i| counts.get(i - 1)).max().copied().unwrap_or(0);
    if most == 0 { 0.0 } else { view.y.share(most as f64).clamp(0.0, 1.0) }
}

fn solid(area: &Area, view: &View, edges: &[f64], counts: &Counts) -> Vec<Vec<Cell>> {
    let heights: Vec<f64> = (0..area.columns)
        .map(|column| {
            // The middle of the column decides, so that a bin does not run over into its neighbour's character; only
            // bins narrower than a character are looked at together.
            let (wide, middle) = (1.0 / area.columns as f64, (column as f64 + 0.5) / area.columns as f64);
            let reach = if counts.counts.len() > area.columns { wide / 2.0 } else { 0.0 };
            height(view, edges, &counts.counts, middle - reach, middle + reach)
        })
        .collect();
    area.cells(|column, row| {
        let filled = heights[column] * area.rows as f64 - (area.rows - 1 - row) as f64;
        let eighths = (filled * 8.0).round().clamp(0.0, 8.0) as usize;
        // What is there at all is seen, however little it is.
        let least = usize::from(heights[column] > 0.0 && row == area.rows - 1);
        let text = EIGHTHS[eighths.max(least)];
        (text != ' ').then_some(Cell { text, colour: Some(palette::series(0)) })
    })
}

fn outlines(area: &Area, view: &View, edges: &[f64], series: &[Counts], lettered: bool) -> Vec<Vec<Cell>> {
    let mut raster = Braille::new(area.columns, area.rows);
    let frame = raster.frame();
    for (index, s) in series.iter().enumerate() {
        let mut before = (0.0, frame.bottom);
        for column in 0..area.columns * 2 {
            let middle = (column as f64 + 0.5) / (area.columns * 2) as f64;
            let top = frame.bottom * (1.0 - height(view, edges, &s.counts, middle, middle));
            raster.stroke((column as f64, before.1), (column as f64, top), index);
            before = (column as f64, top);
        }
    }
    area.cells(|column, row| {
        let (dots, owner) = raster.cell(column, row)?;
        Some(Cell { text: if lettered { letter(owner) } else { dots }, colour: Some(palette::series(owner)) })
    })
}
