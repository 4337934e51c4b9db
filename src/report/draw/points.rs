//! Lines and points: strokes, bands, error bars, markers and their labels.

use super::canvas::{Anchor, Canvas, Point};
use super::layout::NOTE;
use super::plot::Plot;
use crate::base::Result;
use crate::err;
use crate::report::chart::{Chart, Content, Series, Spread, View};
use crate::report::clip::Frame;
use crate::report::palette::{self, INK, Rgb};
use crate::report::symbols::{count, elided, token};
use crate::report::thin;

/// How a series is told from its neighbours: by colour, and from the seventh on also by dashes and shape.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: Rgb,
    round: usize,
}

impl Look {
    pub fn of(index: usize) -> Self {
        Self { colour: palette::series(index), round: index / palette::SERIES.len() }
    }

    pub fn stroke(self, canvas: &mut Canvas, points: &[Point]) -> Result<()> {
        match self.round {
            0 => canvas.path(points, 1.8, self.colour),
            1 => canvas.dashed(points, 6.0, 1.8, self.colour),
            _ => canvas.dashed(points, 2.0, 1.8, self.colour),
        }
    }
}

/// One point of a series: a disc, and from the seventh series on a square or a triangle.
pub fn marker(canvas: &mut Canvas, (x, y): Point, radius: f64, look: Look, opacity: f64) -> Result<()> {
    let ink = look.colour.faint(opacity);
    let r = radius * 0.9;
    match look.round {
        0 => canvas.disc((x, y), radius, ink),
        1 => canvas.rectangle((x - r, y - r), (x + r, y + r), ink),
        _ => canvas.polygon(&[(x - r, y + r), (x + r, y + r), (x, y - r)], ink),
    }
}

/// Which points of each series are drawn, when there are more than a picture can show.
pub struct Thinned {
    kept: Vec<Vec<usize>>,
    pub note: Option<String>,
}

/// More marks than this make a file heavy and a picture no richer.
const MOST_MARKS: usize = 8_000;

/// Corners of one line. Lines along the x axis have four in a pixel at most; only a tangle has more.
const MOST_VERTICES: usize = 100_000;

/// Intervals along a line that are drawn as bars; more are drawn as a band.
const MOST_ERROR_BARS: usize = 400;

/// Chooses the points of a scatter plot; other charts are thinned when their strokes are known.
pub fn thinned(chart: &Chart, view: &View) -> Thinned {
    let Content::Scatter { series } = &*chart.content else { return Thinned { kept: Vec::new(), note: None } };
    let size = (f64::from(chart.width), f64::from(chart.height));
    let place = |x: f64, y: f64| (view.x.share(x) * size.0, view.y.share(y) * size.1);
    let shown: Vec<Vec<usize>> = series
        .iter()
        .map(|s| (0..s.y.len()).filter(|i| view.shows(s.x[*i], s.y[*i]) && view.contains(s.x[*i], s.y[*i])).collect())
        .collect();
    let all: usize = shown.iter().map(Vec::len).sum();
    let kept: Vec<Vec<usize>> = series
        .iter()
        .zip(shown)
        .map(|(s, shown)| {
            // Every series keeps its share, so that a small group does not drown in a large one.
            let most = (MOST_MARKS * shown.len()).div_ceil(all.max(1));
            thin::apart(&shown, |i| place(s.x[i], s.y[i]), most.max(64))
        })
        .collect();
    let drawn: usize = kept.iter().map(Vec::len).sum();
    let note = (drawn < all)
        .then(|| format!("{} drawn for {}; the others lie upon them.", count(drawn, "mark"), count(all, "point")));
    Thinned { kept, note }
}

pub fn lines(canvas: &mut Canvas, plot: &Plot, series: &[Series]) -> Result<()> {
    for (index, s) in series.iter().enumerate() {
        if let Some(spread) = &s.spread {
            // Error bars beyond some hundred would be a grey cloud.
            match spread.band || s.y.len() > MOST_ERROR_BARS {
                true => band(canvas, plot, s, spread, Look::of(index))?,
                false => error_bars(canvas, plot, s, spread, &Vec::from_iter(0..s.y.len()), Look::of(index))?,
            }
        }
    }
    for (index, s) in series.iter().enumerate() {
        line(canvas, plot, s, Look::of(index))?;
        let here = |i: usize| plot.view.shows(s.x[i], s.y[i]).then(|| plot.place(s.x[i], s.y[i]));
        point_labels(canvas, plot, s, &(0..s.y.len()).collect::<Vec<_>>(), here)?;
    }
    Ok(())
}

fn line(canvas: &mut Canvas, plot: &Plot, s: &Series, look: Look) -> Result<()> {
    let dotted = s.y.len() <= 24;
    for run in runs(plot, s) {
        let path = thin::path(&run);
        if path.len() > MOST_VERTICES {
            let error = err!(
                Argument,
                "expected a line that runs along the x axis, found one of {} points that doubles back",
                s.y.len()
            );
            return Err(error.hint("draw so many points with plot::scatter"));
        }
        for piece in plot.frame.path(&path) {
            look.stroke(canvas, &piece)?;
        }
        // A point between two gaps has no line to be seen by.
        if dotted || run.len() == 1 {
            for point in run.iter().filter(|p| plot.frame.contains(**p)) {
                marker(canvas, *point, 2.8, look, 1.0)?;
            }
        }
    }
    Ok(())
}

/// The stretches of a series between values that cannot be shown.
fn runs(plot: &Plot, s: &Series) -> Vec<Vec<Point>> {
    let shown = |i: &usize| plot.view.shows(s.x[*i], s.y[*i]);
    stretches(s.y.len(), shown).into_iter().map(|run| run.map(|i| plot.place(s.x[i], s.y[i])).collect()).collect()
}

/// The stretches of neighbouring indices that are `shown`.
fn stretches(length: usize, shown: impl Fn(&usize) -> bool) -> Vec<std::ops::Range<usize>> {
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

fn band(canvas: &mut Canvas, plot: &Plot, s: &Series, spread: &Spread, look: Look) -> Result<()> {
    let shown = |i: &usize| plot.view.shows(s.x[*i], spread.low[*i]) && plot.view.y.shows(spread.high[*i]);
    for run in stretches(s.y.len(), shown) {
        let upper: Vec<Point> = run.clone().map(|i| plot.place(s.x[i], spread.high[i])).collect();
        let lower: Vec<Point> = run.map(|i| plot.place(s.x[i], spread.low[i])).collect();
        let mut shape = thin::path(&upper);
        shape.extend(thin::path(&lower).into_iter().rev());
        canvas.polygon(&plot.frame.polygon(&shape), look.colour.faint(0.18))?;
    }
    Ok(())
}

fn error_bars(
    canvas: &mut Canvas,
    plot: &Plot,
    s: &Series,
    spread: &Spread,
    indices: &[usize],
    look: Look,
) -> Result<()> {
    for i in indices.iter().copied() {
        if plot.view.x.shows(s.x[i]) && plot.view.x.contains(s.x[i]) {
            whisker(canvas, plot, plot.x(s.x[i]), (spread.low[i], spread.high[i]), look.colour)?;
        }
    }
    Ok(())
}

/// An error bar with its two caps.
pub fn whisker(canvas: &mut Canvas, plot: &Plot, x: f64, (low, high): (f64, f64), colour: Rgb) -> Result<()> {
    let y = &plot.view.y;
    if !y.shows(low) || !y.shows(high) || high.max(low) < y.low || high.min(low) > y.high {
        return Ok(());
    }
    let ends = [plot.y_inside(low), plot.y_inside(high)];
    canvas.line((x, ends[0]), (x, ends[1]), 1.2, colour)?;
    for (value, end) in [low, high].into_iter().zip(ends) {
        if y.contains(value) {
            canvas.line((x - 3.5, end), (x + 3.5, end), 1.2, colour)?;
        }
    }
    Ok(())
}

pub fn scatter(canvas: &mut Canvas, plot: &Plot, series: &[Series], thinned: &Thinned) -> Result<()> {
    let all: usize = thinned.kept.iter().map(Vec::len).sum();
    for (index, (s, kept)) in series.iter().zip(&thinned.kept).enumerate() {
        let look = Look::of(index);
        // Many points are drawn smaller and fainter, so that their density shows; beside a great many those of a small
        // group keep their size, that they can be found.
        let (radius, opacity) = match if all <= 3000 { all } else { kept.len() } {
            0..=60 => (4.0, 0.9),
            61..=600 => (3.0, 0.75),
            601..=3000 => (2.2, 0.55),
            _ => (1.6, 0.45),
        };
        if let Some(spread) = &s.spread {
            error_bars(canvas, plot, s, spread, kept, look)?;
        }
        for i in kept {
            marker(canvas, plot.place(s.x[*i], s.y[*i]), radius, look, opacity)?;
        }
    }
    for (s, kept) in series.iter().zip(&thinned.kept) {
        point_labels(canvas, plot, s, kept, |i| Some(plot.place(s.x[i], s.y[i])))?;
    }
    Ok(())
}

/// Writes the labels beside their points, leaving out those that would lie upon one already written.
fn point_labels(
    canvas: &mut Canvas,
    plot: &Plot,
    s: &Series,
    kept: &[usize],
    place: impl Fn(usize) -> Option<Point>,
) -> Result<()> {
    let mut taken: Vec<Frame> = Vec::new();
    for i in kept {
        let (Some(label), Some(at)) = (s.labels.get(*i), place(*i)) else { continue };
        if label.is_empty() || !plot.frame.contains(at) || taken.len() >= 200 {
            continue;
        }
        let text = elided(&token(label), 24);
        let wide = NOTE.width(&text);
        let left = if at.0 + wide + 8.0 > plot.frame.right { at.0 - wide - 6.0 } else { at.0 + 6.0 };
        let spot = Frame { left, top: at.1 - 13.0, right: left + wide, bottom: at.1 - 1.0 };
        let free = |other: &Frame| {
            spot.right < other.left || other.right < spot.left || spot.bottom < other.top || other.bottom < spot.top
        };
        if taken.iter().all(free) {
            canvas.text(&text, (left, at.1 - 7.0), Anchor::Start, NOTE, INK)?;
            taken.push(spot);
        }
    }
    Ok(())
}
