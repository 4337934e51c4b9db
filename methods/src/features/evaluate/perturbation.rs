//! Targeted probe perturbation (TPP): whether removing the features of one class harms the probe of that class and no
//! other (Marks et al. 2024; SAEBench, Karvonen et al. 2025).
//!
//! With n features removed for class i, and d_ij the accuracy that the probe of class j loses by it, TPP is the mean
//! over i of d_ii less the mean of d_ij over j != i. Reruns of it differ more than dictionaries do (arXiv 2605.18229).

use super::ablated::{ProbeOnFeatures, factors, largest, probe_on, written};
use super::questions::{ProbeQuestion, QuestionOptions};
use super::reading::{DictionaryCodes, EvaluationReading, EvaluationTokens};
use crate::base::{Cell, Result, Table, Task, parallel};
use crate::probes::Probe;
use crate::tokenizer::labels::ColumnKind;

/// Numbers of features that are removed.
pub const OUT: [usize; 7] = [2, 5, 10, 20, 50, 100, 500];

/// The classes of one label, each against the others.
pub struct Classes {
    pub label: &'static str,
    pub questions: Vec<ProbeQuestion>,
}

/// The numbers of classes that a label needs, since of two one is the other's opposite, and of those that are used at
/// most.
const CLASSES: [usize; 2] = [3, 5];

/// Returns the labels of a text with several classes.
pub fn of_classes(tokens: &EvaluationTokens, options: &QuestionOptions, seed: u64) -> Vec<Classes> {
    let halves = tokens.halves();
    let mut found = Vec::new();
    for (column, values) in &tokens.text.labels {
        let ColumnKind::Kind(kinds) = &column.values else { continue };
        let question = |(kind, name): (u32, &&str)| {
            let parts = halves.clone().map(|half| {
                let labelled = half.into_iter().filter(|token| values[*token as usize] > 0);
                let (with, without) = labelled.partition(|token| values[*token as usize] == kind);
                [with, without]
            });
            ProbeQuestion::drawn(format!("{} {name}", column.name), parts, [options.train, options.test], seed)
        };
        let mut questions: Vec<ProbeQuestion> = (1..).zip(kinds).filter_map(question).collect();
        questions.sort_by_key(|question| std::cmp::Reverse(question.train.tokens.len()));
        questions.truncate(CLASSES[1]);
        if questions.len() >= CLASSES[0] {
            found.push(Classes { label: column.name, questions });
        }
    }
    found
}

/// TPP of the classes of one label.
#[derive(Debug, Clone)]
pub struct LabelPerturbation {
    pub label: &'static str,
    pub classes: usize,
    /// The mean accuracy of the probes on untouched activations.
    pub accuracy: f64,
    /// The TPP for each number of removed features; `random` is that of random directions.
    pub own: Vec<f64>,
    pub random: Vec<f64>,
}

pub fn perturbed(reading: &EvaluationReading, all: &[Classes], task: &Task) -> Result<Vec<LabelPerturbation>> {
    let bar = task.begin("targeted perturbation", Some(all.len() as u64));
    let of = |classes: &Classes| {
        let fitted = |question: &ProbeQuestion| probe_on(&reading.kept, &question.train, &question.test, task);
        let probes = parallel::try_map(classes.questions.len(), &|at| fitted(&classes.questions[at]))?;
        let accuracy = |(question, (_, said)): (&ProbeQuestion, &(Probe, Vec<f64>))| question.test.accuracy(said);
        let accuracies: Vec<f64> = classes.questions.iter().zip(&probes).map(accuracy).collect();
        let found = LabelPerturbation {
            label: classes.label,
            classes: probes.len(),
            accuracy: accuracies.iter().sum::<f64>() / accuracies.len() as f64,
            own: of_dictionary(reading, &reading.own, classes, &probes, task)?,
            random: of_dictionary(reading, &reading.random, classes, &probes, task)?,
        };
        bar.advance(1);
        Ok(found)
    };
    all.iter().map(of).collect()
}

fn of_dictionary(
    reading: &EvaluationReading,
    coded: &DictionaryCodes,
    classes: &Classes,
    probes: &[(Probe, Vec<f64>)],
    task: &Task,
) -> Result<Vec<f64>> {
    let directions = written(coded)?;
    let on_features =
        probes.iter().map(|(probe, _)| ProbeOnFeatures::of(&directions, probe)).collect::<Result<Vec<_>>>()?;
    let factors = classes
        .questions
        .iter()
        .map(|question| factors(coded, &reading.kept, &question.test.tokens))
        .collect::<Result<Vec<_>>>()?;
    let effects: Vec<Vec<f64>> = classes
        .questions
        .iter()
        .zip(&on_features)
        .map(|(question, probe)| probe.effects(&coded.codes, &question.train))
        .collect();
    let of_number = |n: usize| {
        task.check()?;
        let drops: Vec<Vec<f64>> = effects
            .iter()
            .map(|effects| {
                let out = largest(effects, n);
                let drop = |class: usize| {
                    let test = &classes.questions[class].test;
                    let clean = &probes[class].1;
                    let said = on_features[class].without(clean, &coded.codes, &test.tokens, &factors[class], &out);
                    test.accuracy(clean) - test.accuracy(&said)
                };
                (0..probes.len()).map(drop).collect()
            })
            .collect();
        Ok(targeted(&drops))
    };
    parallel::try_map(OUT.len(), &|at| of_number(OUT[at]))
}

/// Returns the mean over classes of the loss of their own probe less the mean loss of the others; `drops[i][j]` is the
/// loss of the probe of class j without the features of class i.
pub fn targeted(drops: &[Vec<f64>]) -> f64 {
    let of_class = |(class, drops): (usize, &Vec<f64>)| {
        let others = drops.iter().sum::<f64>() - drops[class];
        drops[class] - others / (drops.len() - 1) as f64
    };
    drops.iter().enumerate().map(of_class).sum::<f64>() / drops.len() as f64
}

/// Returns a table with a row for each label.
pub fn table(found: &[LabelPerturbation]) -> Table {
    let named = |whose: &str| OUT.map(|n| format!("{whose}{n} out"));
    let columns = ["label", "classes", "accuracy"].map(String::from).into_iter();
    let row = |one: &LabelPerturbation| {
        let first: [Cell; 3] = [one.label.into(), one.classes.into(), one.accuracy.into()];
        first.into_iter().chain(one.own.iter().chain(&one.random).map(|value| Cell::Float(*value))).collect()
    };
    Table::new(
        "targeted probe perturbation by the number of features taken out",
        columns.chain(named("")).chain(named("random, ")),
        found.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_harms_all_probes_alike_is_not_targeted() {
        assert!(targeted(&[vec![0.3; 3], vec![0.1; 3], vec![0.2; 3]]).abs() < 1e-12);
        let found = targeted(&[vec![0.5, 0.0, 0.0], vec![0.1, 0.4, 0.0], vec![0.0, 0.0, 0.0]]);
        assert!((found - (0.5 + 0.35 + 0.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_largest_are_those_above_0() {
        assert_eq!(largest(&[0.5, -9.0, 2.0, 1.0, 0.0], 2), [false, false, true, true, false]);
        assert_eq!(largest(&[0.5, -9.0, 2.0, 1.0, 0.0], 9), [true, false, true, true, false]);
    }
}
