//! Charts with an x and a y axis: the frame, its ticks and labels; what is inside is drawn by the files of each kind.

use super::canvas::{Anchor, Canvas, Drawing, draw as on_canvas};
use super::layout::{self, LABEL, Labels, PAD, TICK};
use super::legend::{Key, Legend};
use super::plot::Plot;
use super::{bars, marks, points};
use crate::base::Result;
use crate::report::chart::{Chart, Content, View};
use crate::report::clip::Frame;
use crate::report::palette::{INK, MUTED, RULE};
use crate::report::scale::Tick;
use crate::report::symbols::visible;

/// What stands along the x axis.
enum Below {
    Ticks(Vec<Tick>),
    Categories(Labels),
}

/// Everything around the plot, measured before anything is drawn.
struct Around {
    title: Vec<String>,
    legend: Legend,
    notes: Vec<String>,
    y_ticks: Vec<Tick>,
    below: Below,
}

pub fn draw(chart: &Chart, spelling: bool) -> Result<Drawing> {
    let (width, height) = (f64::from(chart.width), f64::from(chart.height));
    let mut view = chart.view()?;
    let thinned = points::thinned(chart, &view);
    view.notes.extend(thinned.note.clone());
    let (plot, around) = lay_out(chart, view, width, height);
    on_canvas(width, height, spelling, |canvas| {
        layout::draw_title(canvas, &around.title)?;
        around.legend.draw(canvas, PAD + layout::title_height(&around.title))?;
        layout::draw_notes(canvas, &around.notes, height)?;
        draw_axes(canvas, chart, &plot, &around, height)?;
        match &*chart.content {
            Content::Line { series } => points::lines(canvas, &plot, series)?,
            Content::Scatter { series } => points::scatter(canvas, &plot, series, &thinned)?,
            Content::Bar { categories, series } => bars::bars(canvas, &plot, categories.len(), series)?,
            Content::Histogram { edges, series } => bars::counts(canvas, &plot, edges, series)?,
            Content::Heat { .. } => {}
        }
        draw_frame(canvas, &plot)?;
        marks::draw(canvas, &plot, chart)
    })
}

fn lay_out(chart: &Chart, view: View, width: f64, height: f64) -> (Plot, Around) {
    let title = layout::title_lines(&chart.title, width);
    let names = if chart.legend { chart.names() } else { Vec::new() };
    let legend = Legend::new(&names, key(chart), width);
    let notes = layout::note_lines(&view.notes, width);
    let top = PAD + layout::title_height(&title) + legend.height() + 4.0;
    let foot = height - PAD - layout::notes_height(&notes) - label_height(&chart.x.label);
    // Ticks are chosen for the height there would be with one line of labels; longer labels only make them denser.
    let y_ticks = view.y.ticks(((foot - 20.0 - top) / 52.0).max(2.0) as usize);
    let widest = y_ticks.iter().map(|t| TICK.width(&t.label)).fold(0.0, f64::max);
    let left = PAD + label_height(&chart.y.label) + widest + 8.0;
    let right = (width - PAD - 6.0).max(left + 40.0);
    let below = match &*chart.content {
        Content::Bar { categories, .. } => {
            let slot = (right - left) / categories.len() as f64;
            Below::Categories(layout::labels_below(categories, slot, (height * 0.3).min(150.0)))
        }
        _ => Below::Ticks(ticks_that_fit(&view, right - left)),
    };
    let depth = match &below {
        Below::Ticks(_) => 20.0,
        Below::Categories(labels) => labels.depth + 8.0,
    };
    let frame = Frame { left, top, right, bottom: (foot - depth).max(top + 30.0) };
    (Plot { frame, view }, Around { title, legend, notes, y_ticks, below })
}

fn key(chart: &Chart) -> Key {
    match &*chart.content {
        Content::Line { .. } => Key::Line,
        Content::Scatter { .. } => Key::Point,
        Content::Bar { .. } | Content::Histogram { .. } | Content::Heat { .. } => Key::Block,
    }
}

fn label_height(label: &str) -> f64 {
    if label.is_empty() { 0.0 } else { 20.0 }
}

/// As many ticks as stand clear of each other.
fn ticks_that_fit(view: &View, width: f64) -> Vec<Tick> {
    let most = (width / 80.0).max(1.0) as usize;
    let clear = |ticks: &[Tick]| {
        ticks.windows(2).all(|pair| {
            let apart = (view.x.share(pair[1].at) - view.x.share(pair[0].at)) * width;
            apart > (TICK.width(&pair[0].label) + TICK.width(&pair[1].label)) / 2.0 + 12.0
        })
    };
    let mut ticks = view.x.ticks(most);
    for wanted in (1..most).rev() {
        if clear(&ticks) {
            break;
        }
        ticks = view.x.ticks(wanted);
    }
    // Very long labels on a very small plot: one of them is better than a heap.
    if !clear(&ticks) {
        ticks.truncate(1);
    }
    ticks
}

fn draw_axes(canvas: &mut Canvas, chart: &Chart, plot: &Plot, around: &Around, height: f64) -> Result<()> {
    let frame = &plot.frame;
    for tick in &around.y_ticks {
        let y = plot.y(tick.at);
        canvas.line((frame.left, y), (frame.right, y), 1.0, RULE)?;
        canvas.text(&tick.label, (frame.left - 7.0, y), Anchor::End, TICK, MUTED)?;
    }
    match &around.below {
        Below::Categories(labels) => labels.draw(canvas, frame.bottom + 6.0, |i| plot.x(i as f64))?,
        Below::Ticks(ticks) => {
            for tick in ticks {
                let x = plot.x(tick.at);
                canvas.line((x, frame.top), (x, frame.bottom), 1.0, RULE)?;
                canvas.text(&tick.label, (x, frame.bottom + 13.0), Anchor::Middle, TICK, MUTED)?;
            }
        }
    }
    let centre = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
    let x_label = LABEL.fitted(&visible(&chart.x.label), frame.width());
    let y_label = LABEL.fitted(&visible(&chart.y.label), frame.height());
    let foot = height - PAD - layout::notes_height(&around.notes);
    canvas.text(&x_label, (centre.0, foot - 8.0), Anchor::Middle, LABEL, INK)?;
    canvas.text_upwards(&y_label, (PAD + 7.0, centre.1), Anchor::Middle, LABEL, INK)
}

/// The base line, and the zero line where zero lies inside.
fn draw_frame(canvas: &mut Canvas, plot: &Plot) -> Result<()> {
    let frame = &plot.frame;
    if !plot.view.y.log && plot.view.y.low < 0.0 && plot.view.y.high > 0.0 {
        let y = plot.y(0.0);
        canvas.line((frame.left, y), (frame.right, y), 1.0, MUTED)?;
    }
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), 1.0, INK)
}
