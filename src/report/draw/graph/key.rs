//! The legend of a circuit: what the colours, widths and borders say, as far as they occur.

use super::boxes;
use super::labels::Words;
use super::{EFFECT, names, stroke};
use crate::base::Result;
use crate::circuit::Graph;
use crate::report::clip::Frame;
use crate::report::draw::canvas::{Anchor, Canvas};
use crate::report::draw::layout::{NOTE, PAD};
use crate::report::palette::MUTED;

const ROW: f64 = 20.0;
/// The width of a key, and the space between it and its words.
const KEY: f64 = 26.0;
const SPACE: f64 = 7.0;
const BETWEEN: f64 = 22.0;

#[derive(Clone, Copy)]
enum Key {
    /// An edge of this effect.
    Edge(f64),
    Target,
    Outlier,
    /// An edge's label.
    Label,
    /// A description's score.
    Score,
}

/// Keys with their words, in rows.
pub struct Legend {
    entries: Vec<(Key, &'static str, (f64, usize))>,
    rows: usize,
}

impl Legend {
    pub fn of(graph: &Graph, width: f64) -> Self {
        let (half, tenth, opposite) = match names::is_restored(graph) {
            true => ("the lower feature alone restores half of the upper one", "a tenth", "it takes away instead"),
            false => {
                ("the upper feature falls by half when the lower one is ablated", "by a tenth", "it grows instead")
            }
        };
        let mut words = vec![(Key::Target, "the target")];
        if !graph.edges.is_empty() {
            words.extend([(Key::Edge(0.5), half), (Key::Edge(0.1), tenth)]);
        }
        if graph.edges.iter().any(|edge| edge.effect < 0.0) {
            words.push((Key::Edge(-0.1), opposite));
        }
        if !graph.edges.is_empty() {
            words.push((Key::Label, "effect, and cosine of the two directions"));
        }
        if graph.nodes.iter().any(|node| node.outlier) {
            words.push((Key::Outlier, "writes along an outlier dimension"));
        }
        if graph.nodes.iter().any(|node| node.score.is_some()) {
            words.push((Key::Score, "how well the description holds on other text"));
        }
        let mut legend = Self { entries: Vec::new(), rows: 1 };
        let mut x = PAD;
        for (key, words) in words {
            let wide = key.width() + SPACE + NOTE.width(words);
            if x > PAD && x + wide > width - PAD {
                (x, legend.rows) = (PAD, legend.rows + 1);
            }
            legend.entries.push((key, words, (x, legend.rows - 1)));
            x += wide + BETWEEN;
        }
        legend
    }

    pub fn height(&self) -> f64 {
        self.rows as f64 * ROW + 8.0
    }

    pub fn draw(&self, canvas: &mut Canvas, top: f64) -> Result<()> {
        for (key, words, (x, row)) in &self.entries {
            let y = top + (*row as f64 + 0.5) * ROW;
            key.draw(canvas, *x, y)?;
            canvas.text(words, (x + key.width() + SPACE, y), Anchor::Start, NOTE, MUTED)?;
        }
        Ok(())
    }
}

impl Key {
    fn width(self) -> f64 {
        match self {
            Key::Label => example().width(),
            _ => KEY,
        }
    }

    fn draw(self, canvas: &mut Canvas, x: f64, y: f64) -> Result<()> {
        let frame = Frame { left: x + 1.0, top: y - 6.0, right: x + KEY - 1.0, bottom: y + 6.0 };
        match self {
            Key::Edge(effect) => stroke(canvas, &[(x, y), (x + KEY, y)], effect),
            Key::Target => boxes::draw_frame(canvas, &frame, true, false),
            Key::Outlier => boxes::draw_frame(canvas, &frame, false, true),
            Key::Label => example().draw(canvas, (x, y)),
            Key::Score => canvas.text("0.71", (x + KEY, y), Anchor::End, EFFECT, MUTED),
        }
    }
}

fn example() -> Words {
    Words { effect: "57 %".into(), cosine: Some("0.62".into()) }
}
