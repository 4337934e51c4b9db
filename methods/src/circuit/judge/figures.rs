//! A figure with its interval: the bootstrap draws rows of text with all their positions.

use super::contexts::{MeasureGroup, MeasuredSpot};
use crate::common::*;

/// A ratio of two sums over positions: the denominator counts positions for a mean, and sums a quantity for a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub value: f64,
    /// The 95 % interval of the bootstrap over rows. None for less than two rows.
    pub interval: Option<[f64; 2]>,
    pub rows: usize,
    pub positions: usize,
}

impl Figure {
    /// Returns the value and the ends of its interval.
    pub fn cells(figure: Option<Self>) -> [Cell; 3] {
        let Some(figure) = figure else { return [Cell::Missing, Cell::Missing, Cell::Missing] };
        let [low, high] = Cell::ends(figure.interval);
        [figure.value.into(), low, high]
    }

    /// Returns the number of rows and positions.
    pub fn counts(figure: Option<Self>) -> [Cell; 2] {
        figure.map_or([0, 0], |figure| [figure.rows, figure.positions]).map(Cell::from)
    }
}

/// Selected rows of a group, each with its selected positions.
pub struct MeasuredRows {
    /// The positions of each row, by their numbers in the group.
    positions: Vec<Vec<usize>>,
    seed: u64,
}

impl MeasuredRows {
    pub fn of(group: &MeasureGroup, seed: u64, is_meant: impl Fn(&MeasuredSpot) -> bool) -> Self {
        let mut positions = vec![Vec::new(); group.rows];
        for (number, spot) in group.spots().enumerate().filter(|(_, spot)| is_meant(spot)) {
            if let Some(row) = positions.get_mut(spot.row) {
                row.push(number);
            }
        }
        positions.retain(|positions| !positions.is_empty());
        Self { positions, seed }
    }

    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    pub fn positions(&self) -> usize {
        self.positions.iter().map(Vec::len).sum()
    }

    /// Computes sum over positions of `part` / sum over positions of `whole`; none without a position, and where it is
    /// NaN.
    pub fn ratio(&self, part: impl Fn(usize) -> f64, whole: impl Fn(usize) -> f64) -> Option<Figure> {
        let sum = |row: &Vec<usize>, of: &dyn Fn(usize) -> f64| row.iter().map(|position| of(*position)).sum::<f64>();
        let sums: Vec<(f64, f64)> = self.positions.iter().map(|row| (sum(row, &part), sum(row, &whole))).collect();
        let value = quotient(sums.iter());
        value.is_finite().then(|| Figure {
            value,
            interval: bootstrap(sums.len(), self.seed, |drawn| quotient(drawn.iter().map(|row| &sums[*row]))),
            rows: self.rows(),
            positions: self.positions(),
        })
    }

    /// Computes the mean over positions.
    pub fn mean(&self, of: impl Fn(usize) -> f64) -> Option<Figure> {
        self.ratio(of, |_| 1.0)
    }
}

fn quotient<'a>(rows: impl Iterator<Item = &'a (f64, f64)>) -> f64 {
    let (part, whole) = rows.fold((0.0, 0.0), |all, row| (all.0 + row.0, all.1 + row.1));
    part / whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::judge::contexts::MeasuredBatch;

    /// Builds a group of rows with given numbers of positions.
    pub fn group(positions: &[usize]) -> MeasureGroup {
        let spot = |row: usize, column: usize| MeasuredSpot { row, within: row, column, is_due: column == 0, label: 0 };
        let spots = positions.iter().enumerate().flat_map(|(row, count)| (0..*count).map(move |at| spot(row, at)));
        let batch = Batch::new(vec![vec![0; 4]; positions.len()]).unwrap();
        MeasureGroup { parts: vec![MeasuredBatch { batch, spots: spots.collect() }], rows: positions.len() }
    }

    #[test]
    fn a_mean_is_one_over_positions_and_its_interval_one_over_rows() {
        let group = group(&[1, 3, 2]);
        let values = [6.0, 0.0, 0.0, 0.0, 3.0, 3.0];
        let all = MeasuredRows::of(&group, 0, |_| true);
        let found = all.mean(|position| values[position]).unwrap();
        assert_eq!((found.value, found.rows, found.positions), (2.0, 3, 6));
        // Three draws of the row of zeros, and of the one of 6, are among the thousand.
        assert_eq!(found.interval, Some([0.0, 6.0]));
        let due = MeasuredRows::of(&group, 0, |spot| spot.is_due);
        assert_eq!((due.rows(), due.positions(), due.mean(|position| values[position]).unwrap().value), (3, 3, 3.0));
    }

    #[test]
    fn a_share_is_a_ratio_of_sums_and_that_of_a_whole_to_itself_is_sure() {
        let group = group(&[2, 1, 1]);
        let whole = [1.0, 3.0, 2.0, 4.0];
        let all = MeasuredRows::of(&group, 0, |_| true);
        assert_eq!(all.ratio(|at| whole[at], |at| whole[at]).unwrap().interval, Some([1.0, 1.0]));
        assert_eq!(all.ratio(|at| whole[at] * whole[at], |at| whole[at]).unwrap().value, 3.0);
        assert_eq!(all.ratio(|at| whole[at], |_| 0.0), None);
        assert_eq!(MeasuredRows::of(&group, 0, |_| false).mean(|_| 1.0), None);
        let one = MeasuredRows::of(&group, 0, |spot| spot.row == 0).mean(|at| whole[at]).unwrap();
        assert_eq!((one.value, one.interval), (2.0, None));
        assert_eq!(Figure::cells(Some(one)), [Cell::Float(2.0), Cell::Missing, Cell::Missing]);
    }
}
