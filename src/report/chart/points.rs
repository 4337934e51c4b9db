//! Points, as lines and scatter plots draw them: markers, error bars and labels.

use std::ops::Range;

use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::Anchor;
use crate::report::draw::layout::NOTE;
use crate::report::palette::{INK, Rgb};

/// Look of a series, which tells it from its neighbours: its colour, and dashes and a shape where colours come again or
/// are to be printed in grey.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesStyle {
    pub colour: Rgb,
    pattern: usize,
}

impl SeriesStyle {
    pub fn of(number: usize, palette: Palette) -> Self {
        Self { colour: palette.series(number), pattern: palette.pattern(number) }
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

/// Draws the intervals of some points of a series as error bars, up and across.
pub fn error_bars(
    plot: &mut Plot,
    s: &Series,
    indices: impl Iterator<Item = usize> + Clone,
    look: SeriesStyle,
) -> Result<()> {
    for (along, spread, places) in [(Direction::Y, &s.spread, &s.x), (Direction::X, &s.x_spread, &s.y)] {
        let Some(spread) = spread else { continue };
        let beside = plot.view.scale(along.other());
        for i in indices.clone().filter(|i| beside.shows(places[*i]) && beside.contains(places[*i])) {
            let at = plot.at(along.other(), places[i]);
            whisker(plot, along, at, (spread.low[i], spread.high[i]), look.colour)?;
        }
    }
    Ok(())
}

/// Draws an error bar with its two caps along an axis, at a place on the other one.
pub fn whisker(plot: &mut Plot, along: Direction, at: f64, (low, high): (f64, f64), colour: Rgb) -> Result<()> {
    let scale = plot.view.scale(along);
    if !scale.shows(low) || !scale.shows(high) || high.max(low) < scale.low || high.min(low) > scale.high {
        return Ok(());
    }
    let point = |beside: f64, end: f64| along.point(end, at + beside);
    let ends = [plot.inside(along, low), plot.inside(along, high)];
    plot.canvas.line(point(0.0, ends[0]), point(0.0, ends[1]), 1.2, colour)?;
    for (value, end) in [low, high].into_iter().zip(ends) {
        if scale.contains(value) {
            plot.canvas.line(point(-3.5, end), point(3.5, end), 1.2, colour)?;
        }
    }
    Ok(())
}

/// Writes the labels beside some points of a series, leaving out those that would lie upon one already written.
pub fn labels(plot: &mut Plot, s: &Series, indices: impl Iterator<Item = usize>) -> Result<()> {
    let mut taken: Vec<Rectangle> = Vec::new();
    let note = NOTE.of(plot.canvas.font());
    for i in indices.filter(|i| plot.view.shows(s.x[*i], s.y[*i])) {
        let at = plot.place(s.x[i], s.y[i]);
        let Some(label) = s.labels.get(i).filter(|label| !label.is_empty()) else { continue };
        if !plot.frame.contains(at) || taken.len() >= 200 {
            continue;
        }
        let text = elided(&token(label), 24);
        let wide = note.width(&text);
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
