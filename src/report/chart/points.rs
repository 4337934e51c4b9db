//! Points, as lines and scatter plots draw them: markers, error bars and labels.

use std::ops::Range;

use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::Anchor;
use crate::report::draw::layout::NOTE;
use crate::report::palette::{INK, Rgb};

/// Look of a series, which tells it from its neighbours: its colour, and dashes and a shape where colours come again or
/// are to be printed in grey.
#[derive(Debug, Clone, Copy)]
pub struct SeriesStyle {
    pub colour: Rgb,
    pattern: usize,
}

impl SeriesStyle {
    pub fn of(index: usize, palette: Palette) -> Self {
        Self { colour: palette.series(index), pattern: palette.pattern(index) }
    }

    pub fn stroke(self, canvas: &mut Canvas, points: &[Point]) -> Result<()> {
        match self.pattern {
            0 => canvas.path(points, 1.8, self.colour),
            1 => canvas.dashed(points, 6.0, 1.8, self.colour),
            _ => canvas.dashed(points, 2.0, 1.8, self.colour),
        }
    }
}

/// Draws one point of a series: a disc, a square or a triangle, as its pattern is.
pub fn marker(canvas: &mut Canvas, (x, y): Point, radius: f64, look: SeriesStyle, opacity: f64) -> Result<()> {
    let ink = look.colour.faint(opacity);
    let r = radius * 0.9;
    match look.pattern {
        0 => canvas.disc((x, y), radius, ink),
        1 => canvas.rectangle((x - r, y - r), (x + r, y + r), ink),
        _ => canvas.polygon(&[(x - r, y + r), (x + r, y + r), (x, y - r)], ink),
    }
}

/// Returns the stretches of neighbouring indices that are `shown`.
pub fn stretches(length: usize, shown: impl Fn(&usize) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for i in 0..=length {
        if i == length || !shown(&i) {
            if start < i {
                found.push(start..i);
            }
            start = i + 1;
        }
    }
    found
}

/// Draws the intervals of some points of a series as error bars.
pub fn error_bars(plot: &mut Plot, s: &Series, indices: impl Iterator<Item = usize>, look: SeriesStyle) -> Result<()> {
    let Some(spread) = &s.spread else { return Ok(()) };
    let across = plot.view.x;
    for i in indices.filter(|i| across.shows(s.x[*i]) && across.contains(s.x[*i])) {
        let x = plot.x(s.x[i]);
        whisker(plot, x, (spread.low[i], spread.high[i]), look.colour)?;
    }
    Ok(())
}

/// Draws an error bar with its two caps.
pub fn whisker(plot: &mut Plot, x: f64, (low, high): (f64, f64), colour: Rgb) -> Result<()> {
    let y = plot.view.y;
    if !y.shows(low) || !y.shows(high) || high.max(low) < y.low || high.min(low) > y.high {
        return Ok(());
    }
    let ends = [plot.y_inside(low), plot.y_inside(high)];
    plot.canvas.line((x, ends[0]), (x, ends[1]), 1.2, colour)?;
    for (value, end) in [low, high].into_iter().zip(ends) {
        if y.contains(value) {
            plot.canvas.line((x - 3.5, end), (x + 3.5, end), 1.2, colour)?;
        }
    }
    Ok(())
}

/// Writes the labels beside some points of a series, leaving out those that would lie upon one already written.
pub fn labels(plot: &mut Plot, s: &Series, indices: impl Iterator<Item = usize>) -> Result<()> {
    let mut taken: Vec<Rectangle> = Vec::new();
    for i in indices.filter(|i| plot.view.shows(s.x[*i], s.y[*i])) {
        let at = plot.place(s.x[i], s.y[i]);
        let Some(label) = s.labels.get(i).filter(|label| !label.is_empty()) else { continue };
        if !plot.frame.contains(at) || taken.len() >= 200 {
            continue;
        }
        let text = elided(&token(label), 24);
        let wide = NOTE.width(&text);
        let left = if at.0 + wide + 8.0 > plot.frame.right { at.0 - wide - 6.0 } else { at.0 + 6.0 };
        let spot = Rectangle { left, top: at.1 - 13.0, right: left + wide, bottom: at.1 - 1.0 };
        let free = |other: &Rectangle| {
            spot.right < other.left || other.right < spot.left || spot.bottom < other.top || other.bottom < spot.top
        };
        if taken.iter().all(free) {
            plot.canvas.text(&text, (left, at.1 - 7.0), Anchor::Left, NOTE, INK)?;
            taken.push(spot);
        }
    }
    Ok(())
}
