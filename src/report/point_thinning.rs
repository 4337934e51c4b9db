//! Fewer points that look the same: a picture has only so many pixels.

use std::collections::HashSet;

type SeriesPoint = (f64, f64);

/// Returns a path whose points share a pixel column only where that changes what is seen: of each run of points in a
/// column the first, the highest, the lowest and the last are kept.
pub fn path(points: &[SeriesPoint]) -> Vec<SeriesPoint> {
    if points.len() < 2_000 {
        return points.to_vec();
    }
    let mut kept = Vec::new();
    let mut start = 0;
    for i in 1..=points.len() {
        if i < points.len() && points[i].0.floor() == points[start].0.floor() {
            continue;
        }
        let run = start..i;
        let highest = run.clone().min_by(|a, b| points[*a].1.total_cmp(&points[*b].1)).unwrap_or(start);
        let lowest = run.max_by(|a, b| points[*a].1.total_cmp(&points[*b].1)).unwrap_or(start);
        let mut some = [start, highest, lowest, i - 1];
        some.sort_unstable();
        let mut last = usize::MAX;
        for index in some {
            if index != last {
                kept.push(points[index]);
            }
            last = index;
        }
        start = i;
    }
    kept
}

/// Returns the first of the `indices` in each square of a raster, which is made coarser until at most `most` are left.
pub fn apart(indices: &[usize], place: impl Fn(usize) -> SeriesPoint, most: usize) -> Vec<usize> {
    if indices.len() <= most {
        return indices.to_vec();
    }
    let mut kept = indices.to_vec();
    let mut side = 1.0;
    while kept.len() > most && side < 1000.0 {
        let mut taken = HashSet::new();
        kept.retain(|i| {
            let (x, y) = place(*i);
            taken.insert(((x / side) as i64, (y / side) as i64))
        });
        side *= 1.5;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_keeps_its_outline() {
        let points: Vec<SeriesPoint> = (0..100_000).map(|i| (f64::from(i) / 100.0, f64::from(i % 7))).collect();
        let kept = path(&points);
        assert!(kept.len() <= 4 * 1001, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[99_999]));
        assert!(kept.iter().any(|p| p.1 == 6.0) && kept.iter().any(|p| p.1 == 0.0));
        assert_eq!(path(&points[..100]), points[..100]);
    }

    #[test]
    fn points_on_top_of_each_other_are_kept_once() {
        let indices: Vec<usize> = (0..10_000).collect();
        let kept = apart(&indices, |i| ((i % 10) as f64 * 5.0, 0.0), 20);
        assert_eq!(kept, (0..10).collect::<Vec<_>>());
    }
}
