//! The curves that edges are drawn of.

use crate::report::draw::canvas::Point;

/// Number of straight pieces that one bend is drawn of.
const PIECES: usize = 20;
/// Length along which an edge between columns stays upright at its ends.
const UPRIGHT: f64 = 46.0;
/// Rise beyond which an edge may have boxes in its way.
const HIGH: f64 = 80.0;

/// Returns a line through the corners that leaves and arrives at each of them upright.
pub fn smooth(corners: &[Point]) -> Vec<Point> {
    let mut points: Vec<Point> = corners.first().copied().into_iter().collect();
    for pair in corners.windows(2) {
        match (pair[0], pair[1]) {
            (from, to) if from.0 == to.0 => points.push(to),
            (from, to) => points.extend((1..=PIECES).map(|i| on_bend(from, to, i as f64 / PIECES as f64))),
        }
    }
    points
}

/// Returns a point of the cubic curve between two points that is upright at both.
fn on_bend(from: Point, to: Point, t: f64) -> Point {
    let half = (from.1 + to.1) / 2.0;
    on_cubic([from, (from.0, half), (to.0, half), to], t)
}

/// Returns a point of the cubic Bezier curve with these corners.
fn on_cubic([p, q, r, u]: [Point; 4], t: f64) -> Point {
    let s = 1.0 - t;
    let mix =
        |p: f64, q: f64, r: f64, u: f64| s * s * s * p + 3.0 * s * s * t * q + 3.0 * s * t * t * r + t * t * t * u;
    (mix(p.0, q.0, r.0, u.0), mix(p.1, q.1, r.1, u.1))
}

/// Returns the curve of an edge from the top of a box to the bottom of another one, both of which are `wide`: upright
/// at both ends, and past what stands between them where it stays in its column.
pub fn aside(from: Point, to: Point, wide: f64) -> Vec<Point> {
    let rise = from.1 - to.1;
    let upright = UPRIGHT.min(rise / 2.0);
    let shift = if (from.0 - to.0).abs() < wide / 2.0 && rise > HIGH { -0.85 * wide } else { 0.0 };
    let (near, far) = if shift == 0.0 { (upright, upright) } else { (rise * 0.3, rise * 0.3) };
    let corners = [from, (from.0 + shift, from.1 - near), (to.0 + shift, to.1 + far), to];
    (0..=PIECES).map(|i| on_cubic(corners, i as f64 / PIECES as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bends_are_upright_at_both_ends() {
        let points = smooth(&[(0.0, 100.0), (50.0, 60.0), (50.0, 40.0), (20.0, 0.0)]);
        assert_eq!(points.len(), 2 + 2 * PIECES);
        assert_eq!((points[0], points[PIECES], points[PIECES + 1]), ((0.0, 100.0), (50.0, 60.0), (50.0, 40.0)));
        let steep = |a: Point, b: Point| (b.1 - a.1).abs() > 4.0 * (b.0 - a.0).abs();
        assert!(steep(points[0], points[1]) && steep(points[PIECES - 1], points[PIECES]));
    }

    #[test]
    fn curves_end_where_they_should_and_rise() {
        for (from, to) in [((0.0, 100.0), (300.0, 0.0)), ((10.0, 400.0), (12.0, 0.0)), ((0.0, 30.0), (0.0, 0.0))] {
            let points = aside(from, to, 90.0);
            assert_eq!((points[0], points[PIECES]), (from, to));
            assert!(points.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
        assert!(aside((10.0, 400.0), (12.0, 0.0), 90.0)[PIECES / 2].0 < -40.0, "past its column");
    }
}
