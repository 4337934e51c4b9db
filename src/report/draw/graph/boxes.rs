//! Texts of the boxes of a circuit: what a node is, a number that tells how much it is to be believed or how strong it
//! is, and what it means; of a supernode its members.

use super::node_names;
use super::node_style::NodeStyle;
use super::view::{GraphView, NodeBox};
use crate::base::Result;
use crate::circuit::{Node, Part};
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{Anchor, Canvas, TypeStyle};
use crate::report::number;
use crate::report::palette::{INK, MUTED, Rgb};
use crate::report::visible_text::{count, token, visible};

const REMARK: TypeStyle = TypeStyle::regular(9.5);
/// Type of the names of ports at the bottom of a box, and the height of their line.
pub const PORT: TypeStyle = TypeStyle::regular(8.5);
const PORTS: f64 = 9.0;
/// Maximum number of members of a supernode that are named.
const MEMBERS: usize = 4;

/// The measures of a box.
#[derive(Debug, Clone, Copy)]
pub struct BoxSize {
    pub width: f64,
    name: TypeStyle,
    meaning: TypeStyle,
    /// The most lines that a meaning takes.
    lines: usize,
    line: f64,
    /// Space between the border and the text: at the sides, and above.
    inset: f64,
    above: f64,
}

impl BoxSize {
    /// Returns the width that a line may take.
    fn room(self) -> f64 {
        self.width - 2.0 * self.inset
    }

    /// Returns the measures of boxes in rows by level: narrow where there are names and nothing else.
    pub fn in_rows(view: &GraphView) -> Self {
        let has_words =
            |shown: &NodeBox| shown.group.is_some() || nodes(view, shown).any(|node| node.meaning.is_some());
        let width = if view.boxes.iter().any(has_words) { 150.0 } else { 96.0 };
        let name = TypeStyle::bold(10.0);
        let meaning = TypeStyle::regular(11.0);
        Self { width, name, meaning, lines: 3, line: 13.5, inset: 8.0, above: 5.0 }
    }

    /// Returns the measures of boxes in columns by position: the narrower the more columns there are.
    pub fn in_columns(columns: usize) -> Self {
        let width = match columns {
            0..=7 => 112.0,
            8..=16 => 92.0,
            _ => 76.0,
        };
        let name = TypeStyle::bold(8.5);
        let meaning = TypeStyle::regular(9.0);
        Self { width, name, meaning, lines: 2, line: 11.0, inset: 6.0, above: 3.0 }
    }
}

/// The lines of a box, as they fit.
pub struct BoxText {
    size: BoxSize,
    pub look: NodeStyle,
    lines: Vec<(String, TypeStyle, Rgb)>,
    /// Text at the right of the first line.
    aside: Option<String>,
    is_outlier: bool,
    is_target: bool,
    /// Whether there is a line for the names of ports.
    has_ports: bool,
}

impl BoxText {
    pub fn of(view: &GraphView, at: usize, size: BoxSize, names: &[String]) -> Self {
        let shown = &view.boxes[at];
        let mut text = Self {
            size,
            look: NodeStyle::of(view.graph, shown),
            lines: Vec::new(),
            aside: None,
            is_outlier: false,
            is_target: shown.is_target,
            has_ports: view.edges.iter().any(|edge| edge.high == at && edge.port.is_some()),
        };
        let name_of = |node: &usize| names.get(*node).map(String::as_str).unwrap_or_default();
        if let Some(group) = shown.group.and_then(|group| view.graph.supernodes.get(group)) {
            text.list(&group.name, &shown.nodes.iter().map(name_of).collect::<Vec<_>>());
        } else if let Some(node) = nodes(view, shown).next() {
            text.describe(node, shown.nodes.first().map(name_of).unwrap_or_default(), view.is_by_position());
        }
        text
    }

    fn add(&mut self, line: &str, kind: TypeStyle, ink: Rgb) {
        self.lines.push((kind.fitted(line, self.size.room()), kind, ink));
    }

    /// Adds the name of a supernode, and its members.
    fn list(&mut self, name: &str, members: &[&str]) {
        let bold = TypeStyle::bold(self.size.meaning.size);
        for line in bold.wrapped(&visible(name), self.size.room(), self.size.lines) {
            self.lines.push((line, bold, INK));
        }
        self.add(&count(members.len(), "node"), TypeStyle::regular(self.size.name.size), MUTED);
        let named = if members.len() > MEMBERS { MEMBERS - 1 } else { members.len() };
        for member in &members[..named] {
            self.add(member, REMARK, MUTED);
        }
        if named < members.len() {
            self.add(&format!("and {} more", members.len() - named), REMARK, MUTED);
        }
    }

    fn describe(&mut self, node: &Node, name: &str, is_narrow: bool) {
        let BoxSize { name: kind, meaning: plain, lines, .. } = self.size;
        self.aside = aside(node, is_narrow);
        self.is_outlier = node.outlier;
        let taken = self.aside.as_ref().map_or(0.0, |aside| kind.width(aside) + 6.0);
        let room = self.size.room() - taken;
        let meaning = node.meaning.as_deref().filter(|meaning| !meaning.is_empty());
        match (node.part, meaning) {
            // What is read says more than its number.
            (Part::Token(_), Some(text)) => {
                let bold = TypeStyle::bold(plain.size);
                self.lines.push((bold.fitted(&token(text), room), bold, INK));
                self.add(name, TypeStyle::regular(kind.size), MUTED);
            }
            (_, meaning) => {
                self.lines.push((kind.fitted(name, room), kind, MUTED));
                for line in plain.wrapped(&visible(meaning.unwrap_or_default()), self.size.room(), lines) {
                    self.lines.push((line, plain, INK));
                }
            }
        }
        if node.outlier {
            self.add("outlier dimension", REMARK, MUTED);
        }
    }

    pub fn height(&self) -> f64 {
        let ports = if self.has_ports { PORTS } else { 0.0 };
        self.lines.len() as f64 * self.size.line + 2.0 * self.size.above + 2.0 + ports
    }

    pub fn draw(&self, canvas: &mut Canvas, frame: &Rectangle) -> Result<()> {
        self.look.draw(canvas, frame, self.is_target, self.is_outlier)?;
        let left = frame.left + self.size.inset;
        let right = frame.right - self.size.inset;
        let middle = |line: usize| frame.top + self.size.above + 1.0 + (line as f64 + 0.5) * self.size.line;
        for (i, (line, kind, ink)) in self.lines.iter().enumerate() {
            canvas.text(line, (left, middle(i)), Anchor::Left, *kind, *ink)?;
        }
        if let Some(aside) = &self.aside {
            let kind = TypeStyle::regular(self.size.name.size);
            canvas.text(aside, (right, middle(0)), Anchor::Right, kind, MUTED)?;
        }
        Ok(())
    }
}

/// Returns the nodes of a box.
fn nodes<'a>(view: &'a GraphView, shown: &'a NodeBox) -> impl Iterator<Item = &'a Node> {
    shown.nodes.iter().filter_map(|node| view.graph.nodes.get(*node))
}

/// Returns the score of a description, else the probability of a logit's token, else the node's own effect where there
/// is room.
pub fn aside(node: &Node, is_narrow: bool) -> Option<String> {
    if let Some(score) = node.score {
        return Some(number::fixed(score, 2));
    }
    match (node.part, node.value, node.effect) {
        (Part::Token(_), Some(probability), _) if node_names::is_logit(node) => {
            Some(format!("p {}", number::digits(probability, 2)))
        }
        (_, _, Some(effect)) if !is_narrow => Some(number::digits(effect, 2)),
        _ => None,
    }
}
