//! Annotations: texts at points and lines across, each on a plate of ground so that it reads over data.

use super::axes::Plot;
use super::canvas::{Anchor, Canvas};
use super::layout::NOTE;
use crate::base::Result;
use crate::report::chart::Mark;
use crate::report::palette::{GROUND, INK, MUTED};
use crate::report::symbols::{elided, visible};

const DASH: f64 = 4.0;

pub fn draw(canvas: &mut Canvas, plot: &Plot, marks: &[Mark]) -> Result<()> {
    let frame = &plot.frame;
    for mark in marks {
        match mark {
            Mark::Text { x, y, text } if plot.view.contains(*x, *y) => {
                let at = plot.place(*x, *y);
                canvas.disc(at, 2.2, INK)?;
                plate(canvas, plot, text, (at.0 + 7.0, at.1 - 10.0))?;
            }
            Mark::Horizontal { at, text } if plot.view.y.contains(*at) => {
                let y = plot.y(*at);
                canvas.dashed(&[(frame.left, y), (frame.right, y)], DASH, 1.2, MUTED)?;
                plate(canvas, plot, text, (frame.right, y - 9.0))?;
            }
            Mark::Vertical { at, text } if plot.view.x.contains(*at) => {
                let x = plot.x(*at);
                canvas.dashed(&[(x, frame.top), (x, frame.bottom)], DASH, 1.2, MUTED)?;
                plate(canvas, plot, text, (x + 6.0, frame.top + 9.0))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The text from `at` on to the right, moved so far that it lies inside of the plot.
fn plate(canvas: &mut Canvas, plot: &Plot, text: &str, at: (f64, f64)) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let frame = &plot.frame;
    let text = NOTE.fitted(&elided(&visible(text), 80), frame.width() - 12.0);
    let wide = NOTE.width(&text);
    let left = at.0.min(frame.right - wide - 6.0).max(frame.left + 4.0);
    let middle = at.1.clamp(frame.top + 8.0, (frame.bottom - 8.0).max(frame.top + 8.0));
    canvas.rectangle((left - 3.0, middle - 7.0), (left + wide + 3.0, middle + 7.0), GROUND.faint(0.8))?;
    canvas.text(&text, (left, middle), Anchor::Start, NOTE, INK)
}
