//! The strokes of edges: as wide as the effect is large, dashed and of another colour where it is negative.

use crate::base::Result;
use crate::report::draw::canvas::{Canvas, Point};
use crate::report::palette::{GROUND, Rgb, SERIES};

/// Edges by which the later node falls, and by which it grows, when the earlier one is ablated.
const FALLS: Rgb = SERIES[0];
pub const GROWS: Rgb = SERIES[1];
const DASH: f64 = 5.0;
/// Half the width of the tip of an edge that leads down.
const TIP: f64 = 4.0;

/// Width and depth of the strokes of a drawing: of the weakest, and what the strongest has beyond that.
#[derive(Debug, Clone, Copy)]
pub struct StrokeStyle {
    width: (f64, f64),
    depth: (f64, f64),
}

impl StrokeStyle {
    pub const WIDE: Self = Self { width: (0.9, 7.0), depth: (0.4, 0.5) };
    /// Strokes of many edges, or of edges that run behind boxes.
    pub const THIN: Self = Self { width: (0.5, 2.5), depth: (0.28, 0.62) };
    /// Strokes of very many edges: only the strong ones are deep.
    pub const FAINT: Self = Self { width: (0.4, 2.2), depth: (0.22, 0.68) };

    fn of(self, share: f64) -> f64 {
        self.width.0 + self.width.1 * share.abs()
    }
}

pub fn draw(canvas: &mut Canvas, points: &[Point], share: f64, weight: StrokeStyle) -> Result<()> {
    let depth = weight.depth.0 + weight.depth.1 * share.abs().sqrt();
    match share {
        share if share < 0.0 => canvas.dashed(points, DASH, weight.of(share), GROWS.faint(depth)),
        share => canvas.path(points, weight.of(share), FALLS.faint(depth)),
    }
}

/// Cuts off what runs below an edge beside it, so that crossings are seen as such.
pub fn clear(canvas: &mut Canvas, points: &[Point], share: f64, weight: StrokeStyle) -> Result<()> {
    canvas.path(points, weight.of(share) + 2.4, GROUND)
}

/// Draws the tip of an edge that leads down, where it ends.
pub fn arrow(canvas: &mut Canvas, (x, y): Point, share: f64) -> Result<()> {
    let ink = if share < 0.0 { GROWS } else { FALLS };
    canvas.polygon(&[(x, y), (x - TIP, y - 2.0 * TIP), (x + TIP, y - 2.0 * TIP)], ink)
}
