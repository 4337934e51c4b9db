//! Layout that all pictures share: their type sizes, their margins, the title above and the notes below.

use super::canvas::{Anchor, Canvas, TypeStyle};
use super::lettering::Font;
use crate::base::Result;
use crate::report::palette::{INK, MUTED};
use crate::report::visible_text::{token, visible};

pub const TITLE: TypeStyle = TypeStyle::bold(15.0);
pub const LABEL: TypeStyle = TypeStyle::regular(12.0);
pub const TICK: TypeStyle = TypeStyle::regular(11.0);
pub const NOTE: TypeStyle = TypeStyle::regular(10.5);

/// Free space at every side of a picture.
pub const PAD: f64 = 14.0;

const TITLE_LEADING: f64 = 20.0;
const NOTE_LEADING: f64 = 15.0;

/// Breaks a title into lines that fit the width.
pub fn title_lines(title: &str, width: f64, font: Font) -> Vec<String> {
    TITLE.of(font).wrapped(&visible(title), width - 2.0 * PAD, 3)
}

/// Returns the height that a title takes, the space under it included.
pub fn title_height(lines: &[String]) -> f64 {
    if lines.is_empty() { 0.0 } else { lines.len() as f64 * TITLE_LEADING + 6.0 }
}

pub fn draw_title(canvas: &mut Canvas, lines: &[String]) -> Result<()> {
    draw_title_from(canvas, lines, PAD)
}

/// Draws a title whose lines begin at `left`.
pub fn draw_title_from(canvas: &mut Canvas, lines: &[String], left: f64) -> Result<()> {
    for (i, line) in lines.iter().enumerate() {
        let y = PAD + (i as f64 + 0.5) * TITLE_LEADING;
        canvas.text(line, (left, y), Anchor::Left, TITLE, INK)?;
    }
    Ok(())
}

/// Breaks notes into lines that fit the width.
pub fn note_lines(notes: &[String], width: f64, font: Font) -> Vec<String> {
    notes.iter().flat_map(|note| NOTE.of(font).wrapped(&visible(note), width - 2.0 * PAD, 3)).collect()
}

/// Returns the height that notes take, the space above them included.
pub fn notes_height(lines: &[String]) -> f64 {
    if lines.is_empty() { 0.0 } else { lines.len() as f64 * NOTE_LEADING + 6.0 }
}

/// Draws the notes so that they end at the bottom margin of a picture of this height.
pub fn draw_notes(canvas: &mut Canvas, lines: &[String], height: f64) -> Result<()> {
    for (i, line) in lines.iter().enumerate() {
        let y = height - PAD - (lines.len() as f64 - i as f64 - 0.5) * NOTE_LEADING;
        canvas.text(line, (PAD, y), Anchor::Left, NOTE, MUTED)?;
    }
    Ok(())
}

/// Returns the space that the label of an axis takes.
pub fn label_room(label: &str) -> f64 {
    if label.is_empty() { 0.0 } else { 20.0 }
}

/// Labels of categories along one side: as they are written, whether they read upwards, and how many are skipped.
pub struct AxisLabels {
    pub texts: Vec<String>,
    pub upwards: bool,
    /// Number of labels of which one is drawn: 2 where every second one is.
    pub every: usize,
    /// Room that the labels take away from the side.
    pub depth: f64,
}

/// The height of a line of tick labels.
const TICK_LEADING: f64 = 14.0;

/// Least height of slots whose labels at the left do not overlap.
const LEAST_SLOT: f64 = 13.0;

/// Lays out labels under slots of this width: level where all fit, else upwards, and only some where they would
/// overlap.
pub fn labels_below(labels: &[String], slot: f64, deepest: f64, font: Font) -> AxisLabels {
    let (texts, widest) = fitted(labels, deepest, font);
    let upwards = widest > slot - 4.0 && (widest > 28.0 || slot < 8.0);
    let every = if upwards { (TICK_LEADING / slot).ceil() } else { ((widest + 6.0) / slot).ceil() };
    let depth = if upwards { widest } else { TICK_LEADING };
    AxisLabels { texts, upwards, every: (every as usize).max(1), depth }
}

/// Lays out labels at the left of slots, no wider than `widest`.
pub fn labels_beside(labels: &[String], widest: f64, font: Font) -> AxisLabels {
    let (texts, depth) = fitted(labels, widest, font);
    AxisLabels { texts, upwards: false, every: 1, depth }
}

/// Returns the labels as they are written in so much room, and the width of the widest.
fn fitted(labels: &[String], room: f64, font: Font) -> (Vec<String>, f64) {
    let tick = TICK.of(font);
    let texts: Vec<String> = labels.iter().map(|label| tick.fitted(&token(label), room)).collect();
    let widest = texts.iter().map(|text| tick.width(text)).fold(0.0, f64::max);
    (texts, widest)
}

impl AxisLabels {
    /// Draws labels at the left of a place, beside slots of this height, and only some where they would overlap;
    /// `middle` gives the height of slot `i`.
    pub fn draw_beside(&self, canvas: &mut Canvas, right: f64, slot: f64, middle: impl Fn(usize) -> f64) -> Result<()> {
        let every = (LEAST_SLOT / slot).ceil().max(1.0) as usize;
        for (i, text) in self.texts.iter().enumerate().step_by(every) {
            canvas.text(text, (right, middle(i)), Anchor::Right, TICK, MUTED)?;
        }
        Ok(())
    }

    /// Draws the labels that have room; `centre` gives the middle of slot `i`, `top` where they begin.
    pub fn draw(&self, canvas: &mut Canvas, top: f64, centre: impl Fn(usize) -> f64) -> Result<()> {
        for (i, text) in self.texts.iter().enumerate().step_by(self.every) {
            if self.upwards {
                canvas.text_upwards(text, (centre(i), top), Anchor::Right, TICK, MUTED)?;
            } else {
                canvas.text(text, (centre(i), top + TICK_LEADING / 2.0), Anchor::Center, TICK, MUTED)?;
            }
        }
        Ok(())
    }
}
