//! The correlations of features by their codes, over rows in which both are known (Pearson's).

use crate::base::{Result, Task, memory};
use crate::sae::encode::SparseCodes;

/// The correlation of each feature of one dictionary with each of another.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeCorrelations {
    /// Row after row, those of a feature; NaN where the codes of either do not vary.
    values: Vec<f64>,
    theirs: usize,
    /// The number of rows in which each feature is active.
    pub fired: Vec<usize>,
}

impl CodeCorrelations {
    /// Computes the correlations of codes of the same rows.
    pub fn of(a: &SparseCodes, b: &SparseCodes, task: &Task) -> Result<Self> {
        let ours = a.d_sae();
        let theirs = b.d_sae();
        memory::check(8 * ours as u128 * theirs as u128, || {
            format!("the correlations of {ours} and {theirs} features")
        })?;
        let mut values = vec![0.0_f64; ours * theirs];
        for row in 0..a.rows() {
            if row % 256 == 0 {
                task.check()?;
            }
            let (others, sizes) = b.row(row);
            for (feature, code) in a.row(row).0.iter().zip(a.row(row).1) {
                let products = &mut values[*feature as usize * theirs..][..theirs];
                for (other, size) in others.iter().zip(sizes) {
                    products[*other as usize] += f64::from(*code) * f64::from(*size);
                }
            }
        }
        let n = a.rows() as f64;
        let of_a = sums(a);
        let of_b = sums(b);
        let spreads: Vec<f64> = of_b.iter().map(|sums| sums.spread(n)).collect();
        for (products, own) in values.chunks_exact_mut(theirs).zip(&of_a) {
            let size = own.spread(n);
            for ((product, sums), spread) in products.iter_mut().zip(&of_b).zip(&spreads) {
                let both = size * spread;
                *product = if both > 0.0 { (n * *product - own.sum * sums.sum) / both } else { f64::NAN };
            }
        }
        Ok(Self { values, theirs, fired: of_a.iter().map(|own| own.fired).collect() })
    }

    /// Lists the features of the other dictionary with their correlations with a feature, where there are any.
    pub fn row(&self, feature: usize) -> impl Iterator<Item = (usize, f64)> {
        let row = &self.values[feature * self.theirs..][..self.theirs];
        row.iter().copied().enumerate().filter(|(_, correlation)| !correlation.is_nan())
    }

    /// Returns the correlation of two features; 0 where the codes of either do not vary.
    pub fn between(&self, feature: usize, other: usize) -> f64 {
        let correlation = self.values[feature * self.theirs + other];
        if correlation.is_nan() { 0.0 } else { correlation }
    }
}

/// Sums of the codes of a feature.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodeSums {
    pub sum: f64,
    pub squares: f64,
    /// The number of rows in which it is active.
    pub fired: usize,
}

impl CodeSums {
    /// Returns the root of `n` times the sum of squares about the mean of `n` codes.
    pub fn spread(&self, n: f64) -> f64 {
        (n * self.squares - self.sum * self.sum).max(0.0).sqrt()
    }
}

/// Sums the codes of each feature.
pub fn sums(codes: &SparseCodes) -> Vec<CodeSums> {
    let mut sums = vec![CodeSums::default(); codes.d_sae()];
    for (feature, code) in codes.features().iter().zip(codes.codes()) {
        let sum = &mut sums[*feature as usize];
        let code = f64::from(*code);
        sum.sum += code;
        sum.squares += code * code;
        sum.fired += usize::from(code != 0.0);
    }
    sums
}
