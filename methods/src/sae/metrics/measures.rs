//! The metrics of a dictionary on a set of activations, with the formula of each number.

use super::dimensions::{DimensionSums, PositionSums};
use super::features::Features;
use crate::base::results::{Cell, Table};
use crate::base::{Result, names};
use crate::err;

/// Sums over all rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeasureSums {
    pub rows: u64,
    pub l1: f64,
    /// Sums of |x|², |x_hat|² and x . x_hat.
    size: f64,
    size_hat: f64,
    product: f64,
    cosine: f64,
    ratio: f64,
    /// Nonzero rows, which the ratio is over.
    with_length: u64,
}

impl MeasureSums {
    /// Takes in |x|², |x_hat|² and x . x_hat of a row.
    pub fn add(&mut self, size: f64, size_hat: f64, product: f64) {
        self.size += size;
        self.size_hat += size_hat;
        self.product += product;
        let lengths = (size * size_hat).sqrt();
        self.cosine += match (size == 0.0, size_hat == 0.0) {
            (true, true) => 1.0,
            _ if lengths > 0.0 => product / lengths,
            _ => 0.0,
        };
        if size > 0.0 {
            self.with_length += 1;
            self.ratio += (size_hat / size).sqrt();
        }
    }
}

/// One dimension of the activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dimension {
    /// Mean of (x_j - x_hat_j)².
    pub mse: f64,
    /// Fraction of variance explained: 1 - sum (x_j - x_hat_j)² / sum (x_j - mean_j)².
    pub fve: Option<f64>,
}

/// The rows at one position of their texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    pub position: usize,
    pub rows: u64,
    /// 1 - sum |x - x_hat|² / sum |x - mean|² over these rows, about the mean of the whole set: so the average over
    /// positions, weighted by their part of the variance, is that of the whole set.
    pub fve: Option<f64>,
}

/// Metrics of a dictionary; sums and means are over the whole set, never over the ratios of batches. What has no value,
/// such as the share of a variance of 0, is None.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    pub rows: u64,
    /// Mean of (x - x_hat)² over rows and dimensions.
    pub mse: f64,
    /// The fraction of variance explained: 1 - sum |x - x_hat|² / sum |x - mean|². Predicting the mean gives 0. It is 1
    /// minus the FVU of Cunningham et al. 2023.
    pub fve: Option<f64>,
    /// Fraction explained about 0: 1 - sum |x - x_hat|² / sum |x|².
    pub fve_raw: Option<f64>,
    pub dimensions: Vec<Dimension>,
    /// Mean over rows of x . x_hat / (|x| |x_hat|); 0 where one of them is 0, and 1 where both are.
    pub cosine: f64,
    /// Mean of |x_hat| / |x| over the rows that are not 0.
    pub norm_ratio: Option<f64>,
    /// Mean number of codes that are not 0.
    pub l0: f64,
    /// Mean of the sum of |code|.
    pub l1: f64,
    /// The slope of x_hat on x about their means: sum (x - mean x) . (x_hat - mean x_hat) / sum |x - mean x|². Below 1
    /// the reconstruction is shrunk (Wright & Sharkey 2024).
    pub slope: Option<f64>,
    /// The g with the least sum |x_hat / g - x|²: sum |x_hat|² / sum x . x_hat; 1 where there is no bias, below 1 where
    /// codes are too small (Rajamanoharan et al. 2024).
    pub relative_bias: Option<f64>,
    pub features: Features,
    /// Positions that had rows, where positions were given.
    pub positions: Vec<Position>,
}

impl Measures {
    pub(super) fn of(sums: &MeasureSums, along: &[DimensionSums], groups: &[PositionSums], features: Features) -> Self {
        let rows = sums.rows as f64;
        let error: f64 = along.iter().map(|along| along.error).sum();
        let spread: f64 = along.iter().map(|along| along.spread).sum();
        let shared: f64 = along.iter().map(|along| along.shared).sum();
        let fired: f64 = features.fired.iter().map(|fired| *fired as f64).sum();
        let dimension =
            |along: &DimensionSums| Dimension { mse: along.error / rows, fve: explained(along.error, along.spread) };
        let position = |(position, group): (usize, &PositionSums)| {
            let spread = group.spread_about(along.iter().map(|along| along.mean));
            Position { position, rows: group.count, fve: explained(group.error, spread) }
        };
        Self {
            rows: sums.rows,
            mse: error / rows / along.len() as f64,
            fve: explained(error, spread),
            fve_raw: explained(error, sums.size),
            dimensions: along.iter().map(dimension).collect(),
            cosine: sums.cosine / rows,
            norm_ratio: ratio(sums.ratio, sums.with_length as f64),
            l0: fired / rows,
            l1: sums.l1 / rows,
            slope: explained(shared, spread),
            relative_bias: ratio(sums.size_hat, sums.product),
            features,
            positions: groups.iter().enumerate().filter(|(_, group)| group.count > 0).map(position).collect(),
        }
    }

    /// Tabulates each number with its formula.
    pub fn table(&self) -> Table {
        let at_most = self.features.dead_at_most;
        let rows: Vec<(&str, Cell, String)> = vec![
            ("rows", self.rows.into(), "activations that were measured".into()),
            ("mse", self.mse.into(), "mean of (x - x_hat)²".into()),
            ("fve", self.fve.into(), "1 - sum |x - x_hat|² / sum |x - mean|²".into()),
            ("fve_raw", self.fve_raw.into(), "1 - sum |x - x_hat|² / sum |x|²".into()),
            ("cosine", self.cosine.into(), "mean cosine of x and x_hat".into()),
            ("norm_ratio", self.norm_ratio.into(), "mean of |x_hat| / |x|".into()),
            ("slope", self.slope.into(), "of x_hat on x about their means; below 1: shrunk".into()),
            ("relative_bias", self.relative_bias.into(), "sum |x_hat|² / sum x . x_hat; below 1: shrunk".into()),
            ("l0", self.l0.into(), "mean number of codes that are not 0".into()),
            ("l1", self.l1.into(), "mean sum of |code|".into()),
            ("features", self.features.fired.len().into(), "of the dictionary".into()),
            ("dead_share", self.features.dead_share().into(), format!("of them, that fire in at most {at_most} rows")),
        ];
        Table::new(
            "how well activations are reconstructed",
            ["measure", "value", "what it is"],
            rows.into_iter().map(|(name, value, what)| vec![name.into(), value, what.into()]),
        )
    }

    /// Returns the value of a measure by its name in the table; a missing cell where it has none.
    pub fn value(&self, name: &str) -> Result<Cell> {
        let table = self.table();
        let named = |row: &&Vec<Cell>| row.first() == Some(&Cell::from(name));
        let value = table.rows.iter().find(named).and_then(|row| row.get(1).cloned());
        value.ok_or_else(|| {
            let known = table.rows.iter().filter_map(|row| match row.first() {
                Some(Cell::Text(name)) => Some(name.as_str()),
                _ => None,
            });
            let hint = names::suggestion(name, known.clone())
                .unwrap_or_else(|| format!("measures are {}", known.collect::<Vec<_>>().join(", ")));
            err!(Name, "unknown measure `{name}`").hint(hint)
        })
    }

    /// Tabulates the mean square error and the explained variance of each dimension.
    pub fn by_dimension(&self) -> Table {
        let row = |(number, along): (usize, &Dimension)| vec![number.into(), along.mse.into(), along.fve.into()];
        Table::new(
            "explained variance by dimension",
            ["dimension", "mse", "fve"],
            self.dimensions.iter().enumerate().map(row),
        )
    }

    /// Tabulates the explained variance at each position.
    pub fn by_position(&self) -> Table {
        let row = |at: &Position| vec![at.position.into(), at.rows.into(), at.fve.into()];
        Table::new("explained variance by position", ["position", "rows", "fve"], self.positions.iter().map(row))
    }
}

/// Returns 1 - rest / whole; None where there is nothing to explain.
fn explained(rest: f64, whole: f64) -> Option<f64> {
    ratio(rest, whole).map(|ratio| 1.0 - ratio)
}

fn ratio(a: f64, b: f64) -> Option<f64> {
    (b != 0.0).then(|| a / b)
}

#[cfg(test)]
mod tests;
