//! Bars in categories, and the columns of histograms.

use super::canvas::{Canvas, Point};
use super::plot::Plot;
use super::points::{Look, whisker};
use crate::base::Result;
use crate::report::chart::{Bars, Counts};
use crate::report::palette::INK;

/// The share of a category's width that its bars take.
const FILLED: f64 = 0.78;

/// No bar is wider than this, however few there are.
const WIDEST: f64 = 72.0;

pub fn bars(canvas: &mut Canvas, plot: &Plot, categories: usize, series: &[Bars]) -> Result<()> {
    let wide = (plot.frame.width() / categories as f64 * FILLED / series.len() as f64).min(WIDEST);
    for category in 0..categories {
        let left = plot.x(category as f64) - wide * series.len() as f64 / 2.0;
        for (index, s) in series.iter().enumerate() {
            let from = left + wide * index as f64;
            bar(canvas, plot, (from, from + wide), s.values[category], Look::of(index))?;
            if let Some(spread) = &s.spread {
                let ends = (spread.low[category], spread.high[category]);
                whisker(canvas, plot, from + wide / 2.0, ends, INK)?;
            }
        }
    }
    Ok(())
}

fn bar(canvas: &mut Canvas, plot: &Plot, (left, right): (f64, f64), value: f64, look: Look) -> Result<()> {
    let y = &plot.view.y;
    if !y.shows(value) {
        return Ok(());
    }
    let base = if y.log { plot.frame.bottom } else { plot.y_inside(0.0) };
    // Neighbours keep a hairline between them while there is room for one.
    let gap = if right - left > 6.0 { 0.5 } else { 0.0 };
    canvas.rectangle((left + gap, plot.y_inside(value)), (right - gap, base), look.colour)
}

/// Filled outlines, translucent where several lie upon each other.
pub fn counts(canvas: &mut Canvas, plot: &Plot, edges: &[f64], series: &[Counts]) -> Result<()> {
    let opacity = if series.len() > 1 { 0.3 } else { 0.75 };
    for (index, s) in series.iter().enumerate() {
        let (outline, look) = (outline(plot, edges, &s.counts), Look::of(index));
        canvas.polygon(&plot.frame.polygon(&outline), look.colour.faint(opacity))?;
        if series.len() > 1 {
            for piece in plot.frame.path(&outline) {
                look.stroke(canvas, &piece)?;
            }
        } else {
            separators(canvas, plot, edges, &s.counts)?;
        }
    }
    Ok(())
}

/// Up and down the columns from left to right, beginning and ending on the base line.
fn outline(plot: &Plot, edges: &[f64], counts: &[u64]) -> Vec<Point> {
    let base = plot.frame.bottom;
    let mut points = vec![(plot.x(edges[0]), base)];
    for (pair, count) in edges.windows(2).zip(counts) {
        let top = if *count == 0 { base } else { plot.y_inside(*count as f64) };
        points.extend([(plot.x(pair[0]), top), (plot.x(pair[1]), top)]);
    }
    points.push((plot.x(edges[edges.len() - 1]), base));
    points
}

/// Hairlines in the colour of the ground between neighbouring columns, where these are wide enough.
fn separators(canvas: &mut Canvas, plot: &Plot, edges: &[f64], counts: &[u64]) -> Result<()> {
    if plot.frame.width() / (counts.len() as f64) < 5.0 {
        return Ok(());
    }
    for (edge, pair) in edges[1..].iter().zip(counts.windows(2)) {
        let (x, top) = (plot.x(*edge), plot.y_inside(pair[0].min(pair[1]) as f64));
        if pair[0].min(pair[1]) > 0 && plot.view.x.contains(*edge) {
            canvas.line((x, top), (x, plot.frame.bottom), 1.0, crate::report::palette::GROUND)?;
        }
    }
    Ok(())
}
