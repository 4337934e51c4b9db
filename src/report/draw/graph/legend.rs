//! The legend of a circuit: what the shapes, colours, widths and borders say, as far as they occur.

use super::boxes::{self, BoxText};
use super::labels::EdgeText;
use super::node_style::NodeStyle;
use super::stroke::{self, StrokeStyle};
use super::view::GraphView;
use super::{EFFECT, node_names};
use crate::base::Result;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{Anchor, Canvas};
use crate::report::draw::layout::{NOTE, PAD};
use crate::report::number;
use crate::report::palette::MUTED;
use crate::report::visible_text::visible;

const ROW: f64 = 20.0;
/// The width of a key, and the space between it and its words.
const KEY: f64 = 26.0;
const SPACE: f64 = 7.0;
const BETWEEN: f64 = 22.0;

#[derive(Clone)]
enum LegendKey {
    /// An edge of this share of the largest effect.
    Edge(f64),
    /// An edge that leads down.
    Down,
    Shape(NodeStyle),
    Target,
    Outlier,
    /// An edge's label.
    Label(EdgeText),
    /// A number in a box.
    Number(String),
}

/// Keys with their words, in rows.
pub struct GraphLegend {
    entries: Vec<(LegendKey, String, (f64, usize))>,
    rows: usize,
    weight: StrokeStyle,
}

impl GraphLegend {
    pub fn of(view: &GraphView, texts: &[BoxText], weight: StrokeStyle, has_labels: bool, width: f64) -> Self {
        let words = [of_boxes(view, texts), of_edges(view), of_numbers(view, has_labels)].concat();
        let mut legend = Self { entries: Vec::new(), rows: 1, weight };
        let mut x = PAD;
        for (key, words) in words {
            let words = NOTE.fitted(&words, width - 2.0 * PAD - key.width() - SPACE);
            let wide = key.width() + SPACE + NOTE.width(&words);
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
            key.draw(canvas, self.weight, *x, y)?;
            canvas.text(words, (x + key.width() + SPACE, y), Anchor::Left, NOTE, MUTED)?;
        }
        Ok(())
    }
}

/// Returns the keys of the kinds of nodes where there are several, and of the borders of single ones.
fn of_boxes(view: &GraphView, texts: &[BoxText]) -> Vec<(LegendKey, String)> {
    let looks =
        [NodeStyle::Feature, NodeStyle::Error, NodeStyle::Head, NodeStyle::Whole, NodeStyle::End, NodeStyle::Group];
    let found: Vec<NodeStyle> = looks.into_iter().filter(|look| texts.iter().any(|text| text.look == *look)).collect();
    let mut words = Vec::new();
    if view.boxes.iter().any(|shown| shown.is_target) {
        words.push((LegendKey::Target, "target".to_string()));
    }
    if found != [NodeStyle::Feature] {
        words.extend(found.into_iter().map(|look| (LegendKey::Shape(look), look.words().to_string())));
    }
    if view.graph.nodes.iter().any(|node| node.outlier) {
        words.push((LegendKey::Outlier, "writes along an outlier dimension".into()));
    }
    words
}

/// Returns the keys of edges, which say what their width means.
fn of_edges(view: &GraphView) -> Vec<(LegendKey, String)> {
    if view.edges.is_empty() {
        return Vec::new();
    }
    let (strong, weak, against) = match (&view.graph.quantity, node_names::is_restored(view.graph)) {
        (Some(quantity), _) => {
            let size = |share: f64| number::digits(view.largest * share, 3);
            let strong = (1.0, format!("{}: {}", visible(quantity), size(1.0)));
            (strong, size(0.1), "negative")
        }
        (None, true) => {
            let half = (0.5, "the lower feature alone restores half of the upper one".into());
            (half, "a tenth".into(), "it takes away instead")
        }
        (None, false) => {
            let half = (0.5, "the upper feature falls by half when the lower one is ablated".into());
            (half, "by a tenth".into(), "it grows instead")
        }
    };
    let mut words = vec![(LegendKey::Edge(strong.0), strong.1), (LegendKey::Edge(0.1), weak)];
    if view.edges.iter().any(|edge| edge.share < 0.0) {
        words.push((LegendKey::Edge(-0.1), against.into()));
    }
    if view.edges.iter().any(|edge| edge.is_down) {
        words.push((LegendKey::Down, "leads down, from the upper one to the lower one".into()));
    }
    words
}

/// Returns the keys of the numbers at edges and in boxes.
fn of_numbers(view: &GraphView, has_labels: bool) -> Vec<(LegendKey, String)> {
    let mut words = Vec::new();
    if has_labels {
        let effect = if view.graph.quantity.is_some() { "0.57" } else { "57 %" };
        let has_ports = view.edges.iter().any(|edge| edge.port.is_some());
        let effect = if has_ports { format!("{effect} k") } else { effect.to_string() };
        let cosine = view.edges.iter().any(|edge| edge.cosine.is_some()).then(|| "0.62".to_string());
        let input = if has_ports { ", and the input of a head: q, k or v" } else { "" };
        let angle = if cosine.is_some() { ", and cosine of the two directions" } else { "" };
        words.push((LegendKey::Label(EdgeText { effect, cosine }), format!("effect{input}{angle}")));
    }
    let nodes = || view.boxes.iter().filter(|shown| shown.group.is_none()).flat_map(|shown| &shown.nodes);
    let nodes: Vec<_> = nodes().filter_map(|node| view.graph.nodes.get(*node)).collect();
    let asides: Vec<String> = nodes.iter().filter_map(|node| boxes::aside(node, view.is_by_position())).collect();
    if nodes.iter().any(|node| node.score.is_some()) {
        words.push((LegendKey::Number("0.71".into()), "how well the description holds on held-out text".into()));
    }
    if asides.iter().any(|aside| aside.starts_with('p')) {
        words.push((LegendKey::Number("p 0.4".into()), "probability of the token".into()));
    }
    let has_effect = |node: &&crate::circuit::Node| {
        node.score.is_none() && node.effect.is_some() && !(node_names::is_logit(node) && node.value.is_some())
    };
    if !view.is_by_position() && nodes.iter().any(has_effect) {
        words.push((LegendKey::Number("0.3".into()), "the node's own effect".into()));
    }
    words
}

impl LegendKey {
    fn width(&self) -> f64 {
        match self {
            LegendKey::Label(words) => words.width(),
            LegendKey::Number(text) => EFFECT.width(text).max(KEY),
            _ => KEY,
        }
    }

    fn draw(&self, canvas: &mut Canvas, weight: StrokeStyle, x: f64, y: f64) -> Result<()> {
        let frame = Rectangle { left: x + 1.0, top: y - 6.0, right: x + KEY - 1.0, bottom: y + 6.0 };
        match self {
            LegendKey::Edge(share) => stroke::draw(canvas, &[(x, y), (x + KEY, y)], *share, weight),
            LegendKey::Down => stroke::arrow(canvas, (x + KEY / 2.0, y + 4.0), 1.0),
            LegendKey::Shape(look) => look.draw(canvas, &frame, false, false),
            LegendKey::Target => NodeStyle::Feature.draw(canvas, &frame, true, false),
            LegendKey::Outlier => NodeStyle::Feature.draw(canvas, &frame, false, true),
            LegendKey::Label(words) => words.draw(canvas, (x, y)),
            LegendKey::Number(text) => canvas.text(text, (x + self.width(), y), Anchor::Right, EFFECT, MUTED),
        }
    }
}
