//! Sparse probing: how well the activations of a few features predict whether a token has a label (Gurnee et al. 2023;
//! SAEBench, Karvonen et al. 2025).

use faer::MatRef;

use super::codes::TokenCodes;
use super::questions::{BalancedTokens, ProbeQuestion};
use super::reading::{EvaluationReading, KeptActivations};
use crate::base::{Cell, Result, Table, Task, parallel};
use crate::probes::fit::most_different;
use crate::probes::{Probe, ProbeOptions};

/// Numbers of features that a probe reads.
pub const KS: [usize; 3] = [1, 2, 5];

/// The answers to one question.
#[derive(Debug, Clone)]
pub struct ProbeScores {
    pub name: String,
    pub train: usize,
    pub test: usize,
    /// The accuracy of probes on as many features as each of [`KS`]; `random` is that of random directions.
    pub own: Vec<f64>,
    pub random: Vec<f64>,
    /// The accuracy of a probe on the activations themselves; `probe` is the probe.
    pub activations: f64,
    pub probe: Probe,
}

/// Measures the accuracies on all questions. Half of each sample has the label, so that the random baseline is 0.5.
pub fn probed(reading: &EvaluationReading, questions: &[ProbeQuestion], task: &Task) -> Result<Vec<ProbeScores>> {
    let bar = task.begin("probing", Some(questions.len() as u64));
    let of = |question: &ProbeQuestion| {
        task.check()?;
        let (probe, activations) = on_activations(&reading.kept, question, task)?;
        let accuracies = |codes: &TokenCodes| -> Result<Vec<f64>> {
            KS.iter().map(|k| Ok(sparse(codes, question, *k, task)?.accuracy)).collect()
        };
        Ok(ProbeScores {
            name: question.name.clone(),
            train: question.train.tokens.len(),
            test: question.test.tokens.len(),
            own: accuracies(&reading.own.codes)?,
            random: accuracies(&reading.random.codes)?,
            activations,
            probe,
        })
    };
    let found = parallel::try_map(questions.len(), &|at| of(&questions[at]))?;
    bar.advance(questions.len() as u64);
    Ok(found)
}

/// Fits the probe on the activations themselves, and returns it with its accuracy.
pub fn on_activations(kept: &KeptActivations, question: &ProbeQuestion, task: &Task) -> Result<(Probe, f64)> {
    let probe = fitted(kept.matrix(&question.train.tokens)?.as_ref(), &question.train, task)?;
    let accuracy = question.test.accuracy(&scores(&probe, kept.matrix(&question.test.tokens)?.as_ref()));
    Ok((probe, accuracy))
}

/// A probe on few features.
pub struct SparseProbe {
    pub features: Vec<usize>,
    /// The accuracy on the sample to judge on.
    pub accuracy: f64,
    /// The F1 on the sample that the probe was fitted on.
    pub f1: f64,
}

/// Fits logistic regression (C = 1) on the `k` features with the largest |mean with the label - mean without| on the
/// sample to fit on; all features, where there are fewer.
pub fn sparse(codes: &TokenCodes, question: &ProbeQuestion, k: usize, task: &Task) -> Result<SparseProbe> {
    let ProbeQuestion { train, test, .. } = question;
    let [without, with] = [false, true].map(|side| codes.means(train.side(side)));
    let means = [without, with].concat();
    let means = MatRef::from_row_major_slice(&means, 2, codes.d_sae());
    let features = most_different(means, &train.labels().counts(), k.min(codes.d_sae()))?;
    let on_train = codes.matrix(&train.tokens, &features);
    let probe = fitted(on_train.as_ref(), train, task)?;
    let accuracy = test.accuracy(&scores(&probe, codes.matrix(&test.tokens, &features).as_ref()));
    Ok(SparseProbe { accuracy, f1: train.f1(&scores(&probe, on_train.as_ref())), features })
}

pub fn fitted(x: MatRef<'_, f64>, sample: &BalancedTokens, task: &Task) -> Result<Probe> {
    Probe::of_matrix(x, &sample.labels(), &ProbeOptions::default(), task)
}

/// Returns the log odds of the label.
pub fn scores(probe: &Probe, x: MatRef<'_, f64>) -> Vec<f64> {
    let outputs = probe.on(x);
    (0..outputs.nrows()).map(|row| outputs[(row, 0)]).collect()
}

/// Returns a table with a row for each question.
pub fn table(found: &[ProbeScores]) -> Table {
    let names = |whose: &str| KS.map(|k| format!("{whose}k = {k}"));
    let columns = ["label", "fitted on", "judged on"].map(String::from).into_iter();
    let columns = columns.chain(names("")).chain(names("random, ")).chain(["activations".into()]);
    let row = |one: &ProbeScores| {
        let numbers = one.own.iter().chain(&one.random).chain([&one.activations]).map(|value| Cell::Float(*value));
        let first: [Cell; 3] = [one.name.as_str().into(), one.train.into(), one.test.into()];
        first.into_iter().chain(numbers).collect()
    };
    Table::new("accuracy of probes on k features; chance is 0.5", columns, found.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{floats, ints};

    #[test]
    fn accuracies_are_those_of_sae_bench() {
        let truth = kit::tensors("probes/sparse_probing.safetensors");
        let expected = kit::json("scores/sparse_probing.json");
        let n = ints(&truth["n_train"]).unwrap()[0] as u32;
        let x = floats(&truth["codes"]).unwrap();
        let y = ints(&truth["labels"]).unwrap();
        let mut codes = TokenCodes::new(30);
        x.chunks(30).for_each(|row| codes.push(&row.iter().map(|code| *code as f32).collect::<Vec<_>>()));
        let part = |range: std::ops::Range<u32>| BalancedTokens {
            has_it: range.clone().map(|row| y[row as usize] == 1).collect(),
            tokens: range.collect(),
        };
        let question = ProbeQuestion { name: "y".into(), train: part(0..n), test: part(n..2 * n) };
        for k in [1, 2, 5, 30] {
            let found = sparse(&codes, &question, k, &Task::default()).unwrap();
            let theirs = &expected[format!("k{k}")];
            assert_eq!(serde_json::json!(found.features), theirs["features"], "{k}");
            assert!((found.accuracy - theirs["test_accuracy"].as_f64().unwrap()).abs() < 1e-9, "{k}");
        }
    }

    #[test]
    fn a_feature_that_is_the_label_answers_all_and_chance_half() {
        let mut codes = TokenCodes::new(2);
        for token in 0..400_u32 {
            let noise = (token * 7919 % 101) as f32;
            codes.push(&[if token % 2 == 0 { 3.0 } else { 0.0 }, noise]);
        }
        let part = |range: std::ops::Range<u32>, of: fn(u32) -> bool| BalancedTokens {
            has_it: range.clone().map(of).collect(),
            tokens: range.collect(),
        };
        let ask = |of: fn(u32) -> bool| {
            let question = ProbeQuestion { name: "q".into(), train: part(0..200, of), test: part(200..400, of) };
            sparse(&codes, &question, 1, &Task::default()).unwrap()
        };
        assert_eq!((ask(|t| t % 2 == 0).accuracy, ask(|t| t % 2 == 0).features), (1.0, vec![0]));
        let chance = ask(|t| t / 2 % 2 == 0).accuracy;
        assert!((chance - 0.5).abs() < 0.12, "{chance}");
    }
}
