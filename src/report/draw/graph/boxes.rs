//! The boxes of a circuit's nodes: layer and index, how well the description holds, and the description.

use crate::base::Result;
use crate::circuit::Node;
use crate::report::clip::Frame;
use crate::report::draw::canvas::{Anchor, Canvas, Point, Type};
use crate::report::number;
use crate::report::palette::{GROUND, INK, MUTED, RULE, mixed};
use crate::report::symbols::visible;

use super::place::BOX_WIDTH;

const NAME: Type = Type::bold(10.0);
const SCORE: Type = Type::regular(10.0);
const MEANING: Type = Type::regular(11.0);
const REMARK: Type = Type::regular(9.5);

const LINE: f64 = 13.5;
/// The most lines that a description takes.
const LINES: usize = 3;
/// Between the border and the text.
const INSET: f64 = 8.0;
const ABOVE: f64 = 5.0;
const RADIUS: f64 = 5.0;
const DASH: f64 = 3.0;

/// The text of a box, in lines that fit.
pub struct Text {
    name: String,
    score: Option<String>,
    meaning: Vec<String>,
    is_outlier: bool,
}

impl Text {
    pub fn of(node: &Node, name: &str) -> Self {
        let meaning = node.meaning.as_deref().map(visible).unwrap_or_default();
        let score = node.score.map(|score| number::fixed(score, 2));
        let room = BOX_WIDTH - 2.0 * INSET;
        let taken = score.as_ref().map_or(0.0, |score| SCORE.width(score) + 8.0);
        Self {
            name: NAME.fitted(name, room - taken),
            score,
            meaning: MEANING.wrapped(&meaning, room, LINES),
            is_outlier: node.outlier,
        }
    }

    pub fn height(&self) -> f64 {
        let lines = 1 + self.meaning.len() + usize::from(self.is_outlier);
        lines as f64 * LINE + 2.0 * ABOVE + 2.0
    }
}

pub fn draw(canvas: &mut Canvas, text: &Text, frame: &Frame, is_target: bool) -> Result<()> {
    draw_frame(canvas, frame, is_target, text.is_outlier)?;
    let (left, right) = (frame.left + INSET, frame.right - INSET);
    let middle = |line: usize| frame.top + ABOVE + 1.0 + (line as f64 + 0.5) * LINE;
    canvas.text(&text.name, (left, middle(0)), Anchor::Start, NAME, MUTED)?;
    if let Some(score) = &text.score {
        canvas.text(score, (right, middle(0)), Anchor::End, SCORE, MUTED)?;
    }
    for (i, line) in text.meaning.iter().enumerate() {
        canvas.text(line, (left, middle(i + 1)), Anchor::Start, MEANING, INK)?;
    }
    if text.is_outlier {
        canvas.text("outlier dimension", (left, middle(text.meaning.len() + 1)), Anchor::Start, REMARK, MUTED)?;
    }
    Ok(())
}

/// A border and its ground: thick around the target, dashed around what writes along an outlier dimension.
pub fn draw_frame(canvas: &mut Canvas, frame: &Frame, is_target: bool, is_outlier: bool) -> Result<()> {
    let outline = rounded(frame);
    canvas.polygon(&outline, GROUND)?;
    let (width, ink) = if is_target { (2.0, INK) } else { (1.0, mixed(RULE, MUTED, 0.6)) };
    if is_outlier { canvas.dashed(&outline, DASH, width + 0.4, MUTED) } else { canvas.path(&outline, width, ink) }
}

/// The outline of a frame with round corners, closed.
fn rounded(frame: &Frame) -> Vec<Point> {
    let radius = RADIUS.min(frame.height() / 2.0);
    let corners = [
        (frame.right - radius, frame.top + radius, -0.25),
        (frame.right - radius, frame.bottom - radius, 0.0),
        (frame.left + radius, frame.bottom - radius, 0.25),
        (frame.left + radius, frame.top + radius, 0.5),
    ];
    let arc = |(x, y, turn): (f64, f64, f64)| {
        (0..=6).map(move |i| {
            let angle = (turn + f64::from(i) / 24.0) * std::f64::consts::TAU;
            (x + radius * angle.cos(), y + radius * angle.sin())
        })
    };
    let mut outline: Vec<Point> = corners.into_iter().flat_map(arc).collect();
    outline.extend(outline.first().copied());
    outline
}
