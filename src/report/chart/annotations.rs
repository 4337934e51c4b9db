//! Annotations: texts at points and lines across, each where it hides least, on a plate of ground so that it reads.

use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::Anchor;
use crate::report::draw::layout::NOTE;
use crate::report::palette::{GROUND, INK, MUTED};

const DASH: f64 = 4.0;

pub fn draw(plot: &mut Plot, chart: &Chart) -> Result<()> {
    let frame = plot.frame;
    let mut covered = if chart.marks.is_empty() { Vec::new() } else { data(plot, chart) };
    for mark in &chart.marks {
        let (text, spots) = match mark {
            Annotation::Text { x, y, text } if plot.view.contains(*x, *y) => {
                let (x, y) = plot.place(*x, *y);
                plot.canvas.disc((x, y), 2.2, INK)?;
                let right = x + 7.0;
                let left = x - width(plot, text) - 7.0;
                (text, [(right, y - 10.0), (right, y + 10.0), (left, y - 10.0), (left, y + 10.0)])
            }
            Annotation::Horizontal { at, text } if plot.view.y.contains(*at) => {
                let y = plot.y(*at);
                plot.canvas.dashed(&[(frame.left, y), (frame.right, y)], DASH, 1.2, MUTED)?;
                (text, [(frame.right, y - 9.0), (frame.right, y + 9.0), (frame.left, y - 9.0), (frame.left, y + 9.0)])
            }
            Annotation::Vertical { at, text } if plot.view.x.contains(*at) => {
                let x = plot.x(*at);
                plot.canvas.dashed(&[(x, frame.top), (x, frame.bottom)], DASH, 1.2, MUTED)?;
                let right = x + 6.0;
                let left = x - width(plot, text) - 6.0;
                let high = frame.top + 9.0;
                let low = frame.bottom - 9.0;
                (text, [(right, high), (left, high), (right, low), (left, low)])
            }
            _ => continue,
        };
        plate(plot, text, &spots, &mut covered)?;
    }
    Ok(())
}

/// Returns places of the data, at most four thousand, which annotations are to keep clear of.
fn data(plot: &Plot, chart: &Chart) -> Vec<Point> {
    let points = || chart.content.kind().points();
    let every = points().count().div_ceil(4000).max(1);
    let shown = points().step_by(every).filter(|(x, y)| plot.view.shows(*x, *y));
    shown.map(|(x, y)| plot.place(x, y)).collect()
}

fn fitted(plot: &Plot, text: &str) -> String {
    NOTE.fitted(&elided(&visible(text), 80), plot.frame.width() - 12.0)
}

fn width(plot: &Plot, text: &str) -> f64 {
    NOTE.width(&fitted(plot, text))
}

/// Writes the text at the one of `spots` where it covers least; a spot is the left end of a text and its middle line.
fn plate(plot: &mut Plot, text: &str, spots: &[Point], covered: &mut Vec<Point>) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let text = fitted(plot, text);
    let wide = NOTE.width(&text);
    let around = |spot: &Point| inside(&plot.frame, *spot, wide);
    let hidden = |plate: &Rectangle| covered.iter().filter(|point| plate.contains(**point)).count();
    let Some(plate) = spots.iter().map(around).min_by_key(hidden) else { return Ok(()) };
    plot.canvas.rectangle((plate.left, plate.top), (plate.right, plate.bottom), GROUND.faint(0.8))?;
    let middle = (plate.top + plate.bottom) / 2.0;
    plot.canvas.text(&text, (plate.left + 3.0, middle), Anchor::Left, NOTE, INK)?;
    // The next annotation is to keep clear of this one, too.
    let steps = (wide / 6.0) as usize + 1;
    covered.extend((0..=steps).map(|i| (plate.left + plate.width() * i as f64 / steps as f64, middle)));
    Ok(())
}

/// Returns the plate of a text at this spot, moved so far that it lies inside of the plot.
fn inside(frame: &Rectangle, (left, middle): Point, wide: f64) -> Rectangle {
    let left = left.min(frame.right - wide - 6.0).max(frame.left + 4.0);
    let middle = middle.clamp(frame.top + 8.0, (frame.bottom - 8.0).max(frame.top + 8.0));
    Rectangle { left: left - 3.0, top: middle - 7.0, right: left + wide + 3.0, bottom: middle + 7.0 }
}
