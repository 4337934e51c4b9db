//! A probe judged on rows that it was not fitted on: its measures with bootstrap intervals, beside the rate of a
//! classifier that always answers with the commonest class.

use super::labels::{ClassName, RowGroups};
use super::measures::JudgedRows;
use super::probe::Probe;
use crate::base::bootstrap::intervals;
use crate::base::random::{OF_CALL, Seed};
use crate::base::{Cell, Result, Table};
use crate::tensor::Tensor;

crate::options! {
    pub struct JudgeProbeOptions {
        /// The document, or another group, of each row; the bootstrap draws whole groups.
        groups: Option<RowGroups> = None => usually("each row by itself");
        /// Seed of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// The measures, in the order of their rows in the table.
const MEASURES: [&str; 5] = ["accuracy", "majority rate", "above majority", "AUROC", "calibration error"];

impl Probe {
    /// Computes accuracy, the accuracy of the class that was commonest where the probe was fitted, their difference,
    /// AUROC and expected calibration error, each with a 95 % bootstrap interval over rows or groups of rows.
    pub fn judge(&self, x: &Tensor, names: &[ClassName], options: &JudgeProbeOptions) -> Result<Table> {
        let judged = self.judged(x, names)?;
        let groups = RowGroups::or_rows(options.groups.as_ref(), judged.rows())?;
        let commonest = self.commonest();
        let measure = |weights: &[f64]| measures(&judged, commonest, weights);
        let found = measure(&judged.each_once());
        let intervals =
            intervals(groups.count(), options.seed.draws(), MEASURES.len(), |drawn| measure(&groups.weights(drawn)));
        let row = |((name, value), interval): ((&str, &f64), Option<[f64; 2]>)| {
            let [low, high] = Cell::ends(interval);
            vec![name.into(), Cell::unless_nan(*value), low, high]
        };
        let rows_read = judged.rows();
        let drawn = groups.count();
        let drawn = if drawn == rows_read { String::new() } else { format!(" in {drawn} groups") };
        Ok(Table::new(
            format!("{} probe on {rows_read} rows{drawn}", self.kind.word().replace('_', " ")),
            ["measure", "value", "low", "high"],
            MEASURES.into_iter().zip(&found).zip(intervals).map(row),
        ))
    }
}

fn measures(judged: &JudgedRows, commonest: usize, weights: &[f64]) -> Vec<f64> {
    let accuracy = judged.accuracy(weights);
    let majority = judged.share_of(commonest, weights);
    vec![accuracy, majority, accuracy - majority, judged.auroc(weights), judged.calibration_error(weights)]
}
