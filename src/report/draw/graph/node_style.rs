//! Looks of the kinds of nodes: the outlines and grounds of their boxes.

use super::view::NodeBox;
use crate::base::Result;
use crate::circuit::{Graph, Part};
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{Canvas, Point};
use crate::report::palette::{GROUND, INK, MUTED, RULE, mixed};

const RADIUS: f64 = 5.0;
const CORNER: f64 = 7.0;
const DASH: f64 = 3.0;
/// Distance between the lines across an error.
const HATCH: f64 = 7.0;
/// Distance by which the second sheet of a group looks out.
const BEHIND: f64 = 3.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStyle {
    Feature,
    Channel,
    /// The part of a site that a dictionary leaves unexplained.
    Error,
    Head,
    /// A whole site: an MLP.
    Whole,
    /// The beginning or the end of a model: tokens, the embedding, logits.
    End,
    Group,
}

impl NodeStyle {
    pub fn of(graph: &Graph, shown: &NodeBox) -> Self {
        let node = match (shown.group, shown.nodes.first().and_then(|node| graph.nodes.get(*node))) {
            (None, Some(node)) => node,
            _ => return NodeStyle::Group,
        };
        match node.part {
            Part::Feature(_) => NodeStyle::Feature,
            Part::Channel(_) => NodeStyle::Channel,
            Part::Error => NodeStyle::Error,
            Part::Head(_) => NodeStyle::Head,
            Part::Token(_) => NodeStyle::End,
            Part::Whole if matches!(node.site.as_str(), "embed" | "logits") => NodeStyle::End,
            Part::Whole => NodeStyle::Whole,
        }
    }

    /// Returns the words for the look in the legend.
    pub fn words(self) -> &'static str {
        match self {
            NodeStyle::Feature => "feature",
            NodeStyle::Channel => "channel: a neuron, or a coordinate of its site",
            NodeStyle::Error => "error: what the dictionary leaves unexplained",
            NodeStyle::Head => "head",
            NodeStyle::Whole => "MLP, or all of another site",
            NodeStyle::End => "tokens, embedding, logits",
            NodeStyle::Group => "group: its members' edges are added up",
        }
    }

    /// Draws a border and its ground: thick around a target, dashed around a node that writes along an outlier
    /// dimension.
    pub fn draw(self, canvas: &mut Canvas, frame: &Rectangle, is_target: bool, is_outlier: bool) -> Result<()> {
        let rule = mixed(RULE, MUTED, 0.6);
        if self == NodeStyle::Group {
            let left = frame.left + BEHIND;
            let right = frame.right + BEHIND;
            let behind =
                self.outline(&Rectangle { left, right, top: frame.top - BEHIND, bottom: frame.bottom - BEHIND });
            canvas.polygon(&behind, GROUND)?;
            canvas.path(&behind, 1.0, rule)?;
        }
        let outline = self.outline(frame);
        canvas.polygon(&outline, GROUND)?;
        if matches!(self, NodeStyle::Whole | NodeStyle::End) {
            canvas.polygon(&outline, RULE.faint(0.7))?;
        }
        if self == NodeStyle::Error {
            for (from, to) in hatch(frame) {
                canvas.line(from, to, 1.0, MUTED.faint(0.3))?;
            }
        }
        let (width, ink) = if is_target { (2.0, INK) } else { (1.0, rule) };
        if is_outlier { canvas.dashed(&outline, DASH, width + 0.4, MUTED) } else { canvas.path(&outline, width, ink) }
    }

    /// Returns the closed outline of a box.
    fn outline(self, frame: &Rectangle) -> Vec<Point> {
        let Rectangle { left, top, right, bottom } = *frame;
        let mut outline = match self {
            NodeStyle::Feature | NodeStyle::Group => rounded(frame, RADIUS),
            NodeStyle::End => rounded(frame, 13.0),
            NodeStyle::Channel | NodeStyle::Error | NodeStyle::Whole => {
                vec![(left, top), (right, top), (right, bottom), (left, bottom)]
            }
            NodeStyle::Head => {
                let c = CORNER.min(frame.height() / 2.0);
                let upper = [(left, top + c), (left + c, top), (right - c, top), (right, top + c)];
                let lower = [(right, bottom - c), (right - c, bottom), (left + c, bottom), (left, bottom - c)];
                [upper, lower].concat()
            }
        };
        outline.extend(outline.first().copied());
        outline
    }
}

/// Returns lines across a frame, upwards to the right.
fn hatch(frame: &Rectangle) -> Vec<(Point, Point)> {
    let reach = frame.width() + frame.height();
    let lines = (1..).map(|i| f64::from(i) * HATCH).take_while(|along| *along < reach);
    let line = |along: f64| frame.segment((frame.left, frame.top + along), (frame.left + along, frame.top));
    lines.filter_map(line).collect()
}

/// Returns the outline of a frame with round corners.
fn rounded(frame: &Rectangle, radius: f64) -> Vec<Point> {
    let radius = radius.min(frame.height() / 2.0);
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
    corners.into_iter().flat_map(arc).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_across_an_error_stay_inside() {
        let frame = Rectangle { left: 10.0, top: 5.0, right: 60.0, bottom: 25.0 };
        let lines = hatch(&frame);
        assert_eq!(lines.len(), 9);
        assert!(lines.iter().all(|(from, to)| frame.contains(*from) && frame.contains(*to)));
    }

    #[test]
    fn outlines_are_closed_and_reach_the_sides() {
        let frame = Rectangle { left: 0.0, top: 0.0, right: 50.0, bottom: 20.0 };
        for look in
            [NodeStyle::Feature, NodeStyle::Error, NodeStyle::Head, NodeStyle::Whole, NodeStyle::End, NodeStyle::Group]
        {
            let outline = look.outline(&frame);
            assert_eq!(outline.first(), outline.last());
            let reaches = |to: f64, of: fn(&Point) -> f64| outline.iter().any(|point| (of(point) - to).abs() < 1e-9);
            assert!(reaches(0.0, |p| p.0) && reaches(50.0, |p| p.0) && reaches(0.0, |p| p.1) && reaches(20.0, |p| p.1));
        }
    }
}
