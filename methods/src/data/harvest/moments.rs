//! Statistics of the activations of a site: count, mean, norms.

use serde::{Deserialize, Serialize};

/// Running statistics in f64, merged block by block, so that they are stable and depend only on the order of the blocks
/// (Chan, Golub and LeVeque 1983).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    pub count: u64,
    /// The mean activation.
    pub mean: Vec<f64>,
    /// The mean of |x|^2.
    pub mean_square_norm: f64,
    /// The largest |x_i|.
    pub max: f64,
}

impl Moments {
    pub fn new(width: usize) -> Self {
        Self { count: 0, mean: vec![0.0; width], mean_square_norm: 0.0, max: 0.0 }
    }

    /// Adds concatenated rows of finite numbers.
    pub fn take(&mut self, rows: &[f32]) {
        let width = self.mean.len();
        let count = rows.len() / width.max(1);
        if count == 0 {
            return;
        }
        let mut sums = vec![0.0; width];
        let mut squares = 0.0;
        for row in rows.chunks_exact(width) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += f64::from(*x);
            }
            squares += row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        }
        let max = rows.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        self.count += count as u64;
        let share = count as f64 / self.count as f64;
        for (mean, sum) in self.mean.iter_mut().zip(sums) {
            *mean += (sum / count as f64 - *mean) * share;
        }
        self.mean_square_norm += (squares / count as f64 - self.mean_square_norm) * share;
        self.max = self.max.max(f64::from(max));
    }

    /// Returns the variance summed over all dimensions: the mean of |x - mean|^2.
    pub fn variance(&self) -> f64 {
        (self.mean_square_norm - self.mean.iter().map(|x| x * x).sum::<f64>()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_those_of_the_definition() {
        let mut moments = Moments::new(2);
        moments.take(&[1.0, -2.0, 3.0, 4.0]);
        moments.take(&[5.0, -5.0]);
        moments.take(&[]);
        assert_eq!((moments.count, moments.max), (3, 5.0));
        assert_eq!(moments.mean, [3.0, -1.0]);
        assert!((moments.mean_square_norm - 80.0 / 3.0).abs() < 1e-12);
        assert!((moments.variance() - (80.0 / 3.0 - 10.0)).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn it_does_not_matter_where_rows_are_cut(numbers in prop::collection::vec(-1e3_f32..1e3, 3..60), at in 0_usize..20) {
            let rows = numbers.get(..numbers.len() / 3 * 3).unwrap();
            let (first, second) = rows.split_at((at * 3).min(rows.len()));
            let mut whole = Moments::new(3);
            let mut parts = Moments::new(3);
            whole.take(rows);
            parts.take(first);
            parts.take(second);
            prop_assert_eq!((whole.count, whole.max), (parts.count, parts.max));
            prop_assert!((whole.mean_square_norm - parts.mean_square_norm).abs() < 1e-6);
            prop_assert!(whole.mean.iter().zip(&parts.mean).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
}
