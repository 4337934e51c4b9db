//! Dashed strokes, which plotters' backend does not know.

use super::canvas::Point;

/// The pieces of a path that are drawn when the pen is down for `dash` and up for `dash`, in turn.
pub fn split(points: &[Point], dash: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    let (mut down, mut left) = (true, dash);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let share = left / length;
            from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            length -= left;
            if down {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![from];
            }
            (down, left) = (!down, dash);
        }
        left -= length;
        if down {
            piece.push(to);
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_gaps_alternate_around_corners() {
        let pieces = split(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], 2.0);
        assert_eq!(
            pieces,
            [vec![(0.0, 0.0), (2.0, 0.0)], vec![(4.0, 0.0), (5.0, 0.0), (5.0, 1.0)], vec![(5.0, 3.0), (5.0, 5.0)],]
        );
        assert!(split(&[], 2.0).is_empty());
    }
}
