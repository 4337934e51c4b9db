//! Measures of how well a probe tells classes apart: accuracy, AUROC, the confusion of classes, calibration. Every
//! measure takes a weight for each row, by which the bootstrap counts it.

use faer::{Mat, MatRef};

use super::labels::{ClassLabels, ClassName};
use super::probe::{Probe, class_chances, likeliest};
use crate::base::{Cell, Result, Table, order};
use crate::tensor::Tensor;

/// Bins of the reliability table.
pub const BINS: usize = 10;

/// Labelled rows with the probabilities that a probe gives them.
pub struct JudgedRows {
    pub labels: ClassLabels,
    /// The probability of each class, `[rows, classes]`.
    chances: Mat<f64>,
    /// The likeliest class of each row.
    predicted: Vec<usize>,
    /// The rows by rising score, in runs of equal ones, for each class that AUROC is computed of.
    ranked: Vec<(usize, Vec<Vec<usize>>)>,
}

/// A bin of the reliability table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    pub weight: f64,
    /// The mean probability of the predicted class.
    pub confidence: f64,
    /// The share of rows of which the prediction is right.
    pub accuracy: f64,
}

impl Probe {
    /// Returns the rows as measures need them, with their labels.
    pub fn judged(&self, x: &Tensor, names: &[ClassName]) -> Result<JudgedRows> {
        let outputs = self.outputs_of(x).map_err(|e| e.about("x"))?;
        let labels = ClassLabels::among(names, &self.classes).map_err(|e| e.about("y"))?;
        labels.check_rows(outputs.nrows()).map_err(|e| e.about("y"))?;
        Ok(JudgedRows::new(outputs.as_ref(), labels))
    }
}

impl JudgedRows {
    pub fn new(outputs: MatRef<'_, f64>, labels: ClassLabels) -> Self {
        let chances = class_chances(outputs);
        let classes = chances.ncols();
        // Of two classes one is enough: the AUROC of the other is the same.
        let of_classes = if classes == 2 { 1..2 } else { 0..classes };
        let rank = |class: usize| {
            let scores: Vec<f64> = (0..outputs.nrows()).map(|i| log_odds(outputs, i, class)).collect();
            (class, runs(&scores))
        };
        let ranked = of_classes.map(rank).collect();
        Self { predicted: likeliest(chances.as_ref()), chances, ranked, labels }
    }

    pub fn rows(&self) -> usize {
        self.predicted.len()
    }

    /// Returns a weight of 1 for each row.
    pub fn each_once(&self) -> Vec<f64> {
        vec![1.0; self.rows()]
    }

    /// Computes the share of rows whose likeliest class is theirs.
    pub fn accuracy(&self, weights: &[f64]) -> f64 {
        self.share(weights, |row| self.predicted[row] == self.labels.of_row[row])
    }

    /// Computes the share of rows of one class: the accuracy of a classifier that always answers with it.
    pub fn share_of(&self, class: usize, weights: &[f64]) -> f64 {
        self.share(weights, |row| self.labels.of_row[row] == class)
    }

    fn share(&self, weights: &[f64], holds: impl Fn(usize) -> bool) -> f64 {
        let right: f64 = weights.iter().enumerate().filter(|(row, _)| holds(*row)).map(|(_, weight)| weight).sum();
        right / weights.iter().sum::<f64>()
    }

    /// Computes the probability that a row of the second class has a larger score than one of the first, ties counted
    /// half; for several classes the mean over all of them, each against the rest by its log odds. A class without
    /// rows, or without others, has none and is left out; NaN where none is left.
    pub fn auroc(&self, weights: &[f64]) -> f64 {
        let of_class =
            |(class, runs): &(usize, Vec<Vec<usize>>)| auroc(runs, weights, |row| self.labels.of_row[row] == *class);
        let found: Vec<f64> = self.ranked.iter().map(of_class).filter(|auroc| auroc.is_finite()).collect();
        found.iter().sum::<f64>() / found.len() as f64
    }

    /// Counts the rows of each class (rows) by their predicted class (columns).
    pub fn confusion(&self) -> Vec<Vec<usize>> {
        let classes = self.labels.classes.len();
        let mut counts = vec![vec![0; classes]; classes];
        self.labels.of_row.iter().zip(&self.predicted).for_each(|(class, predicted)| counts[*class][*predicted] += 1);
        counts
    }

    pub fn confusion_table(&self) -> Table {
        let names: Vec<String> = self.labels.classes.iter().map(ToString::to_string).collect();
        let columns = std::iter::once("class".to_string()).chain(names.iter().map(|name| format!("taken for {name}")));
        let row = |(name, counts): (&String, Vec<usize>)| {
            std::iter::once(Cell::from(name.as_str())).chain(counts.into_iter().map(Cell::from)).collect()
        };
        Table::new("which class is taken for which", columns, names.iter().zip(self.confusion()).map(row))
    }

    /// Sorts the rows by the probability of the predicted class into ten bins of equal width (Guo et al. 2017).
    pub fn bins(&self, weights: &[f64]) -> Vec<ReliabilityBin> {
        let mut sums = vec![[0.0; 3]; BINS];
        for (row, weight) in weights.iter().enumerate() {
            let predicted = self.predicted[row];
            let class = self.labels.of_row[row];
            let confidence = self.chances[(row, predicted)];
            let [total, sure, right] = &mut sums[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *total += weight;
            *sure += weight * confidence;
            *right += if predicted == class { *weight } else { 0.0 };
        }
        let bin = |[weight, sure, right]: [f64; 3]| ReliabilityBin {
            weight,
            confidence: sure / weight,
            accuracy: right / weight,
        };
        sums.into_iter().map(bin).collect()
    }

    /// Computes the expected calibration error: the sum over bins of (rows in it / all rows) |accuracy - mean
    /// probability|.
    pub fn calibration_error(&self, weights: &[f64]) -> f64 {
        let bins = self.bins(weights);
        let all: f64 = bins.iter().map(|bin| bin.weight).sum();
        let filled = bins.iter().filter(|bin| bin.weight > 0.0);
        filled.map(|bin| bin.weight / all * (bin.accuracy - bin.confidence).abs()).sum()
    }

    pub fn reliability_table(&self) -> Table {
        let columns = ["from", "to", "rows", "mean probability", "accuracy"];
        let row = |(number, bin): (usize, ReliabilityBin)| {
            let [from, to] = [number, number + 1].map(|end| Cell::Float(end as f64 / BINS as f64));
            let [confidence, accuracy] =
                [bin.confidence, bin.accuracy].map(|mean| Cell::from((bin.weight > 0.0).then_some(mean)));
            vec![from, to, Cell::Int(bin.weight as i64), confidence, accuracy]
        };
        let rows = self.bins(&self.each_once()).into_iter().enumerate().map(row);
        Table::new("how often the predicted class is right, by its probability", columns, rows)
    }
}

/// Computes log(p / (1 - p)) of a class: unlike p it has no ties where p is nearly 1.
fn log_odds(outputs: MatRef<'_, f64>, row: usize, class: usize) -> f64 {
    if outputs.ncols() == 1 {
        return outputs[(row, 0)];
    }
    let others = || (0..outputs.ncols()).filter(|other| *other != class).map(|other| outputs[(row, other)]);
    let most = others().fold(f64::NEG_INFINITY, f64::max);
    outputs[(row, class)] - most - others().map(|score| (score - most).exp()).sum::<f64>().ln()
}

/// Returns the rows by rising score, in runs of equal ones.
pub fn runs(scores: &[f64]) -> Vec<Vec<usize>> {
    let order = order::ascending(scores);
    order.chunk_by(|a, b| scores[*a] == scores[*b]).map(<[usize]>::to_vec).collect()
}

/// Computes U / (positives * negatives), where U is the weight of pairs of a positive and a negative of which the
/// positive has the larger score, equal ones half (Mann & Whitney 1947). NaN unless there are both.
pub fn auroc(runs: &[Vec<usize>], weights: &[f64], is_positive: impl Fn(usize) -> bool) -> f64 {
    let mut below = 0.0;
    let mut positives = 0.0;
    let mut won = 0.0;
    for run in runs {
        let mut yes = 0.0;
        let mut no = 0.0;
        run.iter().for_each(|row| *(if is_positive(*row) { &mut yes } else { &mut no }) += weights[*row]);
        won += yes * (below + no / 2.0);
        below += no;
        positives += yes;
    }
    won / (positives * below)
}
