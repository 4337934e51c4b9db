//! Thresholds of a monitor from labelled texts, and its performance on other texts. The score of a text is the largest
//! one of its positions.

use super::{FittedThresholds, Monitor};
use crate::base::bootstrap::intervals;
use crate::common::*;
use crate::probes::measures::{auroc, runs};
use crate::probes::{ClassLabels, RowGroups};

/// Seed of the bootstrap over texts.
const SEED: u64 = 0;

/// The false-positive rates at which the ROC is listed.
const RATES: [f64; 13] = [0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0];

crate::options! {
    pub struct MonitorFitOptions {
        /// The highest share of texts without the label that may raise an alarm.
        false_positive_rate: f64 = 0.01 => at_least(0.0).at_most(1.0);
    }

    pub struct MonitorJudgeOptions {
        /// The document, or another group, of each text; the bootstrap draws whole groups.
        groups: Option<RowGroups> = None => usually("each text by itself");
    }
}

/// A monitor on labelled texts: the largest score of each.
pub struct LabelledTexts<'a> {
    monitor: &'a Monitor,
    /// The scores by sensor and text: `[sensor][text]`.
    scores: Vec<Vec<f64>>,
    has_it: Vec<bool>,
    /// The groups of texts that the bootstrap draws.
    groups: RowGroups,
}

impl Monitor {
    /// Computes the scores of labelled texts once for everything that is judged by them.
    pub fn on(
        &self,
        model: &Model,
        texts: &[Vec<u32>],
        labels: &ClassLabels,
        options: &MonitorJudgeOptions,
        task: &Task,
    ) -> Result<LabelledTexts<'_>> {
        labels.check_rows(texts.len()).map_err(|e| e.about("y"))?;
        if labels.classes.len() != 2 {
            return Err(err!(Argument, "expected labels of two classes, found {}", labels.classes.len())
                .hint("true for a text that should raise an alarm, false for another")
                .about("y"));
        }
        let groups = RowGroups::or_rows(options.groups.as_ref(), texts.len())?;
        let scores = self.largest(model, texts, task)?;
        let has_it = labels.of_row.iter().map(|class| *class == 1).collect();
        Ok(LabelledTexts { monitor: self, scores, has_it, groups })
    }

    /// Returns the sensors with the lowest thresholds above which at most a given share of the texts without the label
    /// has a score, each by itself.
    pub fn fitted(
        &self,
        model: &Model,
        texts: &[Vec<u32>],
        labels: &ClassLabels,
        options: &MonitorFitOptions,
        task: &Task,
    ) -> Result<Self> {
        let read = self.on(model, texts, labels, &MonitorJudgeOptions::default(), task)?;
        let of_sensor = |scores: &Vec<f64>| threshold(scores, &read.has_it, options.false_positive_rate);
        let thresholds = read.scores.iter().map(of_sensor).collect();
        let honest = read.has_it.iter().filter(|has_it| !**has_it).count();
        let rate = options.false_positive_rate;
        let model = model.name().to_string();
        let fitted = FittedThresholds { false_positive_rate: rate, texts: honest, model, on_new_texts: false };
        Ok(Self { thresholds, fitted: Some(fitted), ..self.clone() })
    }
}

impl LabelledTexts<'_> {
    /// Returns a table for each sensor, and for all together where there are several: AUROC, the share of alarms that
    /// are right, the shares of texts with and without the label that raise one, each with a 95 % interval over texts.
    pub fn judged(&self) -> Table {
        let monitor = self.monitor;
        let count = self.has_it.len();
        let mut columns = vec!["watched".to_string(), "threshold".into()];
        for measure in ["AUROC", "precision", "recall", "false-positive rate"] {
            columns.extend([measure, "low", "high"].map(String::from));
        }
        let mut table = Table::new(format!("a monitor on {count} texts"), columns, []);
        let is_above = |sensor: usize| -> Vec<bool> {
            self.scores[sensor].iter().map(|score| *score > monitor.thresholds[sensor]).collect()
        };
        for (number, sensor) in monitor.sensors.iter().enumerate() {
            let begin = vec![sensor.name().into(), Cell::Float(monitor.thresholds[number])];
            let measured = measured(Some(&self.scores[number]), &is_above(number), &self.has_it, &self.groups);
            table.rows.push([begin, measured].concat());
        }
        if monitor.sensors.len() > 1 {
            let each: Vec<Vec<bool>> = (0..monitor.sensors.len()).map(is_above).collect();
            let any: Vec<bool> = (0..count).map(|text| each.iter().any(|alarms| alarms[text])).collect();
            let begin = vec!["any of them".into(), Cell::Missing];
            table.rows.push([begin, measured(None, &any, &self.has_it, &self.groups)].concat());
        }
        table
    }

    /// Returns the ROC of each sensor: the highest share of texts with the label that raises an alarm while at most a
    /// given share of the others does, with a 95 % interval over texts.
    pub fn roc(&self) -> Table {
        let columns = ["watched", "false-positive rate", "recall", "low", "high", "threshold"];
        let mut table = Table::new(format!("ROC on {} texts", self.has_it.len()), columns, []);
        for (sensor, scores) in self.monitor.sensors.iter().zip(&self.scores) {
            let runs = runs(scores);
            let curve = |weights: &[f64]| recalls(&runs, weights, &self.has_it);
            let found = curve(&vec![1.0; scores.len()]);
            let groups = &self.groups;
            let intervals = intervals(groups.count(), SEED, RATES.len(), |drawn| curve(&groups.weights(drawn)));
            for ((rate, recall), interval) in RATES.into_iter().zip(found).zip(intervals) {
                let [low, high] = Cell::ends(interval);
                let threshold = Cell::Float(threshold(scores, &self.has_it, rate));
                table.rows.push(vec![sensor.name().into(), rate.into(), recall.into(), low, high, threshold]);
            }
        }
        table
    }
}

/// Returns the lowest threshold above which at most `rate` of the negatives lies. With rate 1 it is below all scores.
fn threshold(scores: &[f64], has_it: &[bool], rate: f64) -> f64 {
    let mut others: Vec<f64> = scores.iter().zip(has_it).filter(|(_, has_it)| !**has_it).map(|(s, _)| *s).collect();
    order::sort_descending(&mut others, |score| *score);
    let allowed = (rate * others.len() as f64 + 1e-9).floor() as usize;
    let lowest = || scores.iter().copied().fold(f64::INFINITY, f64::min).next_down();
    others.get(allowed).copied().unwrap_or_else(lowest)
}

/// Returns the measures with their intervals; AUROC only where there is one score.
fn measured(scores: Option<&Vec<f64>>, alarms: &[bool], has_it: &[bool], groups: &RowGroups) -> Vec<Cell> {
    let runs = scores.map(|scores| runs(scores));
    let measure = |weights: &[f64]| {
        let sum = |holds: &dyn Fn(usize) -> bool| {
            weights.iter().enumerate().filter(|(text, _)| holds(*text)).map(|(_, weight)| weight).sum::<f64>()
        };
        let positives = sum(&|text| has_it[text]);
        let negatives = sum(&|text| !has_it[text]);
        let right = sum(&|text| alarms[text] && has_it[text]);
        let wrong = sum(&|text| alarms[text] && !has_it[text]);
        let auroc = runs.as_ref().map_or(f64::NAN, |runs| auroc(runs, weights, |text| has_it[text]));
        vec![auroc, right / (right + wrong), right / positives, wrong / negatives]
    };
    let values = measure(&vec![1.0; has_it.len()]);
    let intervals = intervals(groups.count(), SEED, values.len(), |drawn| measure(&groups.weights(drawn)));
    let cells = values.into_iter().zip(intervals).flat_map(|(value, interval)| {
        let [low, high] = Cell::ends(interval);
        [Cell::unless_nan(value), low, high]
    });
    cells.collect()
}

/// Returns the recall at each of [`RATES`]: that of the lowest threshold whose false-positive rate is not above it.
fn recalls(runs: &[Vec<usize>], weights: &[f64], has_it: &[bool]) -> Vec<f64> {
    let sum = |wanted: bool| {
        weights.iter().zip(has_it).filter(|(_, has_it)| **has_it == wanted).map(|(weight, _)| weight).sum::<f64>()
    };
    let positives = sum(true);
    let negatives = sum(false);
    let mut found = vec![0.0; RATES.len()];
    let mut right = 0.0;
    let mut wrong = 0.0;
    for run in runs.iter().rev() {
        run.iter().for_each(|text| *(if has_it[*text] { &mut right } else { &mut wrong }) += weights[*text]);
        for (rate, recall) in RATES.iter().zip(&mut found) {
            if wrong <= rate * negatives + 1e-9 {
                *recall = right / positives;
            }
        }
    }
    // No one can say without texts of both sorts.
    if positives == 0.0 || negatives == 0.0 { vec![f64::NAN; RATES.len()] } else { found }
}

#[cfg(test)]
mod formula_tests {
    use super::*;

    #[test]
    fn thresholds_let_no_more_through_than_they_may() {
        let scores = [5.0, 4.0, 3.0, 2.0, 9.0, 1.0];
        let has_it = [false, false, false, false, true, true];
        let above = |threshold: f64| (0..4).filter(|text| scores[*text] > threshold).count();
        for (rate, most) in [(0.0, 0), (0.2, 0), (0.25, 1), (0.5, 2), (1.0, 4)] {
            assert_eq!(above(threshold(&scores, &has_it, rate)), most, "{rate}");
        }
        // Scores that are equal raise an alarm together or not at all.
        assert_eq!(threshold(&[3.0, 3.0, 3.0, 7.0], &[false, false, false, true], 0.4), 3.0);
    }

    #[test]
    fn the_roc_is_that_of_counting() {
        let scores = [5.0, 4.0, 3.0, 2.0, 9.0, 3.5, 1.0];
        let has_it = [false, false, false, false, true, true, true];
        let found = recalls(&runs(&scores), &[1.0; 7], &has_it);
        for (rate, recall) in RATES.iter().zip(found) {
            let threshold = threshold(&scores, &has_it, *rate);
            let above = (0..7).filter(|text| has_it[*text] && scores[*text] > threshold).count();
            assert!((recall - above as f64 / 3.0).abs() < 1e-12, "{rate}: {recall} {above}");
        }
    }
}
