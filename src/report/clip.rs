//! Cutting lines and shapes to a rectangle, for pictures and for the terminal alike.

/// A rectangle by its lower and upper corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

type ClipPoint = (f64, f64);

impl Rectangle {
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub fn contains(&self, (x, y): ClipPoint) -> bool {
        self.left <= x && x <= self.right && self.top <= y && y <= self.bottom
    }

    /// Returns the part of a segment inside the frame (Liang and Barsky 1984).
    pub fn segment(&self, a: ClipPoint, b: ClipPoint) -> Option<(ClipPoint, ClipPoint)> {
        let dx = b.0 - a.0;
        let dy = b.1 - a.1;
        let mut from = 0.0_f64;
        let mut to = 1.0_f64;
        let sides = [(-dx, a.0 - self.left), (dx, self.right - a.0), (-dy, a.1 - self.top), (dy, self.bottom - a.1)];
        for (toward, room) in sides {
            if toward == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if toward < 0.0 {
                from = from.max(room / toward);
            } else {
                to = to.min(room / toward);
            }
        }
        let at = |t: f64| (a.0 + dx * t, a.1 + dy * t);
        (from <= to).then(|| (at(from), at(to)))
    }

    /// Returns the parts of a path inside the frame, as paths of their own.
    pub fn path(&self, points: &[ClipPoint]) -> Vec<Vec<ClipPoint>> {
        let mut pieces: Vec<Vec<ClipPoint>> = Vec::new();
        for pair in points.windows(2) {
            let Some((a, b)) = self.segment(pair[0], pair[1]) else { continue };
            match pieces.last_mut() {
                Some(piece) if piece.last() == Some(&a) && a == pair[0] => piece.push(b),
                _ => pieces.push(vec![a, b]),
            }
        }
        pieces
    }

    /// Cuts a shape to its part inside the frame, one side after the other (Sutherland and Hodgman 1974).
    pub fn polygon(&self, points: &[ClipPoint]) -> Vec<ClipPoint> {
        let sides: [fn(&Rectangle, ClipPoint) -> f64; 4] =
            [|f, p| p.0 - f.left, |f, p| f.right - p.0, |f, p| p.1 - f.top, |f, p| f.bottom - p.1];
        let mut shape = points.to_vec();
        for side in sides {
            let mut kept = Vec::with_capacity(shape.len());
            for (i, b) in shape.iter().enumerate() {
                let a = shape[(i + shape.len() - 1) % shape.len()];
                let room_a = side(self, a);
                let room_b = side(self, *b);
                if (room_a < 0.0) != (room_b < 0.0) {
                    let t = room_a / (room_a - room_b);
                    kept.push((a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t));
                }
                if room_b >= 0.0 {
                    kept.push(*b);
                }
            }
            shape = kept;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Rectangle = Rectangle { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };

    #[test]
    fn segments_are_cut_at_the_sides() {
        assert_eq!(UNIT.segment((-1.0, 0.5), (2.0, 0.5)), Some(((0.0, 0.5), (1.0, 0.5))));
        assert_eq!(UNIT.segment((0.2, 0.2), (0.4, 0.4)), Some(((0.2, 0.2), (0.4, 0.4))));
        assert_eq!(UNIT.segment((-1.0, 0.5), (-0.5, 0.5)), None);
        assert_eq!(UNIT.segment((2.0, 3.0), (3.0, 2.0)), None);
    }

    #[test]
    fn a_path_that_leaves_comes_back_as_a_new_piece() {
        let pieces = UNIT.path(&[(0.5, 0.5), (0.5, 2.0), (0.75, 2.0), (0.75, 0.5), (0.9, 0.5)]);
        assert_eq!(pieces, [vec![(0.5, 0.5), (0.5, 1.0)], vec![(0.75, 1.0), (0.75, 0.5), (0.9, 0.5)]]);
    }

    #[test]
    fn a_shape_around_the_frame_becomes_the_frame() {
        let mut cut = UNIT.polygon(&[(-1.0, -1.0), (2.0, -1.0), (2.0, 2.0), (-1.0, 2.0)]);
        cut.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(cut, [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]);
        assert!(UNIT.polygon(&[(2.0, 2.0), (3.0, 2.0), (3.0, 3.0)]).is_empty());
    }
}
