//! Results of keeping features, as a table.

use super::{MeanEstimate, Sufficiency, SufficiencyPoint};
use crate::base::{Cell, Table};
use crate::sae::splice::ErrorTreatment;

/// Names of the table's columns; `lowest` and `highest` are those of the random sets.
pub const COLUMNS: [&str; 13] = [
    "kept",
    "features",
    "errors",
    "P(tokens)",
    "share of P",
    "share from",
    "share to",
    "faithfulness",
    "faithfulness from",
    "faithfulness to",
    "random sets",
    "lowest",
    "highest",
];

impl Sufficiency {
    pub fn table(&self) -> Table {
        Table::new(
            "the share of P(tokens) that features keep, all others at their means",
            COLUMNS,
            self.points.iter().map(row),
        )
    }
}

/// Returns the word for kept or dropped errors.
pub fn errors(rest: ErrorTreatment) -> &'static str {
    match rest {
        ErrorTreatment::Kept => "kept",
        ErrorTreatment::Dropped => "dropped",
    }
}

fn row(point: &SufficiencyPoint) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        if point.features == 0 { "none".into() } else { point.name.as_str().into() },
        point.features.into(),
        errors(point.rest).into(),
        cell(Some(point.p)),
    ];
    row.extend(estimate(&point.share));
    row.extend(estimate(&point.faithfulness));
    row.extend(range(&point.random).map(cell));
    row
}

fn estimate(of: &MeanEstimate) -> [Cell; 3] {
    let [low, high] = of.interval.map_or([None; 2], |ends| ends.map(Some));
    [Some(of.value), low, high].map(cell)
}

/// Returns the mean, the lowest and the highest, or none if there are no numbers.
pub fn range(numbers: &[f64]) -> [Option<f64>; 3] {
    let of = |fold: fn(f64, f64) -> f64| numbers.iter().copied().reduce(fold);
    [of(|a, b| a + b).map(|sum| sum / numbers.len() as f64), of(f64::min), of(f64::max)]
}

/// Returns a cell, missing where the number is not finite: there is no share of nothing.
fn cell(number: Option<f64>) -> Cell {
    number.filter(|number| number.is_finite()).into()
}
