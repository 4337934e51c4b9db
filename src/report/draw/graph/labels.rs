//! Labels of the edges of a circuit, where there is room for them.

use std::collections::BTreeMap;

use super::EFFECT;
use super::node_names::effect;
use super::placement::NodePlacement;
use super::view::{BoxEdge, GraphView};
use crate::base::Result;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{Anchor, Canvas, Point};
use crate::report::number;
use crate::report::palette::{INK, MUTED};

/// Places for a label along the curve of its edge, the best one first.
const PLACES: [f64; 11] = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82, 0.12, 0.88];
/// Half the height of a label.
const HALF: f64 = 6.5;
/// Space beside the words on their plate.
pub const MARGIN: f64 = 3.0;
/// Maximum number of points of other curves below a label.
const HIDDEN: usize = 4;
/// The side of the squares in which points are looked up.
const SQUARE: f64 = 24.0;

/// Space between the effect and the cosine.
const SPACE: f64 = 5.0;
/// Number of edges beyond which the cosines are left out.
const FEW: usize = 40;

/// Words of a label.
#[derive(Clone)]
pub struct EdgeText {
    pub effect: String,
    pub cosine: Option<String>,
}

/// Words and the plate on which they stand.
pub struct EdgeLabel {
    /// The edge that it belongs to.
    pub edge: usize,
    pub words: EdgeText,
    pub plate: Rectangle,
}

impl EdgeText {
    pub fn width(&self) -> f64 {
        EFFECT.width(&self.effect) + self.cosine.as_ref().map_or(0.0, |cosine| SPACE + EFFECT.width(cosine))
    }

    /// Writes the words from `left` on.
    pub fn draw(&self, canvas: &mut Canvas, (left, middle): Point) -> Result<()> {
        canvas.text(&self.effect, (left, middle), Anchor::Left, EFFECT, INK)?;
        let Some(cosine) = &self.cosine else { return Ok(()) };
        canvas.text(cosine, (left + self.width(), middle), Anchor::Right, EFFECT, MUTED)
    }
}

/// Returns the labels that have room, those of the strongest edges first. Each says the effect and the input of a head
/// that it acts through, and the cosine of the two directions where that hides nothing.
pub fn labels(view: &GraphView, placed: &NodePlacement, curves: &[Vec<Point>]) -> Vec<EdgeLabel> {
    // Between the narrow columns of a text there is room for few.
    if !placed.columns.is_empty() && view.edges.len() > FEW {
        return Vec::new();
    }
    let points = CurvePoints::of(curves);
    let mut labels: Vec<EdgeLabel> = Vec::new();
    for i in view.by_strength().into_iter().rev() {
        let effect = words(view, &view.edges[i]);
        let cosine = view.edges[i].cosine.map(|cosine| number::fixed(cosine, 2));
        let long = EdgeText { effect: effect.clone(), cosine };
        let short = EdgeText { effect, cosine: None };
        let long = (view.edges.len() <= FEW).then_some((long, 0));
        let found = long.into_iter().chain([(short, HIDDEN)]).find_map(|(words, most)| {
            let plate = free(words.width(), &curves[i], placed, &labels, |plate| points.hidden(plate, i), most)?;
            Some(EdgeLabel { edge: i, words, plate })
        });
        labels.extend(found);
    }
    labels
}

/// Writes the effect of an edge, and the input of a head that it ends at.
fn words(view: &GraphView, edge: &BoxEdge) -> String {
    let port = edge.port.map(|port| format!(" {port}")).unwrap_or_default();
    effect(view.graph, edge.effect) + port.as_str()
}

/// Finds the place along the curve where a label covers no box, no other label, and the least of other curves.
fn free(
    width: f64,
    curve: &[Point],
    placed: &NodePlacement,
    labels: &[EdgeLabel],
    hidden: impl Fn(&Rectangle) -> usize,
    most: usize,
) -> Option<Rectangle> {
    let half = width / 2.0 + MARGIN;
    let plates = PLACES.iter().map(|share| {
        let (x, y) = along(curve, *share);
        Rectangle { left: x - half, top: y - HALF, right: x + half, bottom: y + HALF }
    });
    let inside = |plate: &Rectangle| plate.left >= 0.0 && plate.right <= placed.width;
    let clear = |plate: &Rectangle| {
        !placed.boxes.iter().any(|frame| overlap(plate, frame, 3.0))
            && !labels.iter().any(|label| overlap(plate, &label.plate, 2.0))
    };
    let open = plates.filter(|plate| inside(plate) && clear(plate)).map(|plate| (hidden(&plate), plate));
    open.filter(|(hidden, _)| *hidden <= most).min_by_key(|(hidden, _)| *hidden).map(|(_, plate)| plate)
}

fn overlap(a: &Rectangle, b: &Rectangle, space: f64) -> bool {
    a.left < b.right + space && b.left < a.right + space && a.top < b.bottom + space && b.top < a.bottom + space
}

/// Returns the point at a share of a curve's length.
fn along(curve: &[Point], share: f64) -> Point {
    let length = |pair: &[Point]| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
    let mut left = share * curve.windows(2).map(length).sum::<f64>();
    for pair in curve.windows(2) {
        let here = length(pair);
        if here > 0.0 && left <= here {
            let t = left / here;
            return (pair[0].0 + (pair[1].0 - pair[0].0) * t, pair[0].1 + (pair[1].1 - pair[0].1) * t);
        }
        left -= here;
    }
    curve.last().copied().unwrap_or_default()
}

/// The points of all curves, by where they lie.
struct CurvePoints(BTreeMap<(i64, i64), Vec<(usize, Point)>>);

impl CurvePoints {
    fn of(curves: &[Vec<Point>]) -> Self {
        let mut points: BTreeMap<(i64, i64), Vec<(usize, Point)>> = BTreeMap::new();
        for (i, curve) in curves.iter().enumerate() {
            for point in curve {
                points.entry(square(*point)).or_default().push((i, *point));
            }
        }
        Self(points)
    }

    /// Counts the points of other curves than `own` that lie below a plate.
    fn hidden(&self, plate: &Rectangle, own: usize) -> usize {
        let low = square((plate.left, plate.top));
        let high = square((plate.right, plate.bottom));
        let squares = (low.0..=high.0).flat_map(|x| (low.1..=high.1).map(move |y| (x, y)));
        let found = squares.filter_map(|square| self.0.get(&square)).flatten();
        found.filter(|(curve, point)| *curve != own && plate.contains(*point)).count()
    }
}

fn square((x, y): Point) -> (i64, i64) {
    ((x / SQUARE).floor() as i64, (y / SQUARE).floor() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::graph::{route, samples};

    #[test]
    fn labels_cover_no_box_and_not_each_other_and_the_strongest_edges_have_one() {
        for graph in samples::all() {
            let view = GraphView::of(&graph);
            let placed = NodePlacement::of(&view, &vec![50.0; view.boxes.len()], 80.0, 150.0);
            let labels = labels(&view, &placed, &route::curves(&view, &placed));
            for (i, label) in labels.iter().enumerate() {
                let plate = &label.plate;
                assert!(plate.left >= 0.0 && plate.right <= placed.width);
                assert!(label.words.width() <= plate.width());
                assert!(!placed.boxes.iter().any(|frame| overlap(plate, frame, 0.0)));
                assert!(!labels[..i].iter().any(|other| overlap(plate, &other.plate, 0.0)));
            }
            assert!(2 * labels.len() >= graph.edges.len(), "{} of {}", labels.len(), graph.edges.len());
            if let Some(strongest) = view.edges.iter().max_by(|a, b| a.effect.abs().total_cmp(&b.effect.abs())) {
                assert_eq!(labels[0].words.effect, words(&view, strongest));
            }
        }
    }

    #[test]
    fn places_are_shares_of_the_length() {
        let curve = [(0.0, 0.0), (0.0, 0.0), (3.0, 0.0), (3.0, 1.0)];
        assert_eq!((along(&curve, 0.5), along(&curve, 1.0)), ((2.0, 0.0), (3.0, 1.0)));
        assert_eq!(along(&[(2.0, 5.0)], 0.5), (2.0, 5.0));
    }
}
