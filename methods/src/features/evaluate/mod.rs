//! Evaluation of a dictionary as in SAEBench (Karvonen et al. 2025), on one reading of a text: reconstruction, loss
//! recovered, sparse probing, absorption, and the effect of ablating features on probes. Every measure comes with that
//! of random directions, its interval and its sample.
//!
//! Explained variance is about the mean of each dimension over the whole text. SAEBench 0.6 subtracts the square of the
//! mean of all squares, and takes the mean over batches, which is another number (decoderesearch/SAELens#659).

mod ablated;
pub mod absorption;
pub mod codes;
mod core;
mod downstream;
mod perturbation;
mod probing;
mod questions;
mod ravel;
pub mod reading;
pub mod score;
mod spurious;

#[cfg(test)]
mod tests;

use super::coverage::Coverage;
use crate::probes::Probe;
use crate::sae::prelude::*;
use questions::{ProbeQuestion, QuestionOptions};
use reading::{EvaluationReading, EvaluationTokens, ReadingOptions};
use score::{Evaluation, Score};

crate::options! {
    /// Options of an evaluation.
    pub struct EvaluateOptions {
        /// Number of rows of the text for loss recovered.
        rows: usize = 64 => at_least(1.0);
        /// Number of pairs of prompts of each task, for a text of the labelled language.
        pairs: usize = 100 => at_most(1000.0);
        with questions: QuestionOptions;
        with reading: ReadingOptions;
    }
}

/// Evaluates a dictionary of one site of a model on a text with labels.
pub fn evaluate(model: &Model, sae: &Sae, text: &Text, options: &EvaluateOptions, task: &Task) -> Result<Evaluation> {
    let seed = options.reading.seed.sample();
    let draws = options.reading.seed.draws();
    let tokens = EvaluationTokens::of(model, sae, text, &options.reading, task)?;
    let labels = questions::of_labels(&tokens, &options.questions, seed);
    let letters = questions::of_letters(&tokens, &options.questions, seed);
    let classes = perturbation::of_classes(&tokens, &options.questions, seed);
    let pairs = spurious::of_pairs(&tokens, &options.questions, seed);
    let of_classes = classes.iter().flat_map(|classes| &classes.questions);
    let asked = labels.iter().chain(&letters).chain(of_classes).flat_map(sampled);
    let wanted: BTreeSet<u32> = asked.chain(pairs.iter().flat_map(|pair| pair.tokens())).collect();
    let reading = EvaluationReading::of(tokens, model, sae, &wanted, draws, task)?;

    let mut scores = core::of_activations(&reading, draws);
    scores.extend(core::of_predictions(&reading, model, options.rows, draws, task)?);
    let probed = probing::probed(&reading, &labels, task)?;
    scores.extend(of_probing(&probed));
    let probes: Vec<(&Probe, f64)> = probed.iter().map(|one| (&one.probe, one.activations)).collect();
    let coverage = Coverage::of(&reading, draws, task)?;
    scores.extend(coverage.scores());
    let of_labels = absorption::absorbed(&reading, &labels, &probes, task)?;
    let of_letters = absorbed_letters(&reading, &letters, task)?;
    scores.extend(of_absorption("labels", &of_labels));
    scores.extend(of_absorption("letters", &of_letters));
    let perturbed = perturbation::perturbed(&reading, &classes, task)?;
    let removed = spurious::removed(&reading, &pairs, task)?;
    scores.extend(of_ablation(&perturbed, &removed));
    let tasks = downstream::of_tasks(&reading, model, options.pairs, seed.cast_signed(), task)?;
    scores.push(of_tasks(&tasks));
    let attributes = ravel::of_attributes(&reading, model, options.pairs, seed.cast_signed(), task)?;
    scores.extend(of_attributes(&attributes));
    let mut parts = coverage.parts();
    parts.extend([
        ("probing", probing::table(&probed)),
        ("absorption", absorption::table("absorption of labels", &of_labels)),
        ("letters", absorption::table("absorption of first letters", &of_letters)),
        ("tpp", perturbation::table(&perturbed)),
        ("scr", spurious::table(&removed)),
        ("tasks", downstream::table(&tasks)),
        ("ravel", ravel::table(&attributes)),
    ]);
    let site = reading.tokens.place.to_string();
    let count = reading.own.measures.rows;
    let title = format!("{} features of {site} on {count} tokens", sae.d_sae());
    Ok(Evaluation { title, scores, parts })
}

fn sampled(question: &ProbeQuestion) -> impl Iterator<Item = u32> + '_ {
    question.train.tokens.iter().chain(&question.test.tokens).copied()
}

fn of_probing(found: &[probing::ProbeScores]) -> Vec<Score> {
    let accuracies = |of: &dyn Fn(&probing::ProbeScores) -> f64| found.iter().map(of).collect::<Vec<f64>>();
    let mut scores: Vec<Score> = (0..)
        .zip(probing::KS)
        .map(|(at, k)| {
            let formula =
                "mean accuracy of probes on the k features with the largest difference of means; chance is 0.5";
            let [own, random] = [accuracies(&|one| one.own[at]), accuracies(&|one| one.random[at])];
            Score::mean(format!("probing, k = {k}"), &own, &random, "labels", formula)
        })
        .collect();
    let whole = accuracies(&|one| one.activations);
    let formula = "the same of probes on the activations themselves, of any dictionary";
    scores.push(Score::mean("probing, activations", &whole, &[], "labels", formula));
    scores
}

fn absorbed_letters(
    reading: &EvaluationReading,
    letters: &[ProbeQuestion],
    task: &Task,
) -> Result<Vec<absorption::AbsorbedLabel>> {
    let probes: Vec<(Probe, f64)> =
        letters.iter().map(|letter| probing::on_activations(&reading.kept, letter, task)).collect::<Result<_>>()?;
    let probes: Vec<(&Probe, f64)> = probes.iter().map(|(probe, accuracy)| (probe, *accuracy)).collect();
    absorption::absorbed(reading, letters, &probes, task)
}

fn of_absorption(what: &'static str, found: &[absorption::AbsorbedLabel]) -> [Score; 2] {
    let values = |of: fn(&absorption::AbsorbedLabel) -> f64| found.iter().map(of).collect::<Vec<f64>>();
    let part = "mean share of a label that other features write, at tokens where a probe finds it";
    let full = "share of these tokens where none of the label's features is active and one other writes it";
    [
        Score::mean(
            format!("absorption of {what}"),
            &values(|one| one.fraction),
            &values(|one| one.random[0]),
            what,
            part,
        ),
        Score::mean(
            format!("full absorption of {what}"),
            &values(|one| one.full),
            &values(|one| one.random[1]),
            what,
            full,
        ),
    ]
}

/// The index in [`perturbation::OUT`] of the number of features that are removed for the TPP and SCR shown.
const SHOWN: usize = 3;

fn of_ablation(perturbed: &[perturbation::LabelPerturbation], removed: &[spurious::SpuriousRemoval]) -> [Score; 2] {
    let n = perturbation::OUT[SHOWN];
    let of_tpp = |of: fn(&perturbation::LabelPerturbation) -> &Vec<f64>| {
        perturbed.iter().map(|one| of(one)[SHOWN]).collect::<Vec<f64>>()
    };
    let of_scr = |of: fn(&spurious::SpuriousRemoval) -> &Vec<f64>| {
        removed.iter().map(|one| of(one)[SHOWN]).collect::<Vec<f64>>()
    };
    let tpp = "accuracy that the probe of a class loses without its features, less the mean loss of other classes' probes; \
               unreliable (arXiv 2605.18229)";
    let scr = "share of the accuracy lost to a correlated label that is regained without that label's features; unreliable \
               (arXiv 2605.18229)";
    [
        Score::mean(format!("tpp, {n} features"), &of_tpp(|one| &one.own), &of_tpp(|one| &one.random), "labels", tpp),
        Score::mean(format!("scr, {n} features"), &of_scr(|one| &one.own), &of_scr(|one| &one.random), "pairs", scr),
    ]
}

fn of_tasks(found: &[downstream::TaskAccuracy]) -> Score {
    let lost =
        |of: fn(&downstream::TaskAccuracy) -> f64| found.iter().map(|one| one.clean - of(one)).collect::<Vec<f64>>();
    let formula = "mean over tasks of the accuracy that the model loses when the dictionary is spliced in";
    Score::mean("tasks, loss", &lost(|one| one.spliced), &lost(|one| one.random), "tasks", formula)
}

/// The index in [`ravel::PATCHED`] of the number of features for the cause and isolation shown.
const PATCHED: usize = 2;

fn of_attributes(found: &[ravel::Attribute]) -> [Score; 3] {
    let n = ravel::PATCHED[PATCHED];
    let score = |name: &str, of: fn([f64; 2]) -> f64, formula: &str| {
        let own: Vec<f64> = found.iter().map(|one| of(one.own[PATCHED])).collect();
        let random: Vec<f64> = found.iter().map(|one| of(one.random[PATCHED])).collect();
        Score::mean(format!("{name}, {n} features"), &own, &random, "attributes", formula)
    };
    let cause = "share of facts whose answer becomes another entity's with its codes of the attribute's features";
    let isolation = "share of facts about the entity's other attributes whose answer stays";
    [
        score("cause", |[cause, _]| cause, cause),
        score("isolation", |[_, isolation]| isolation, isolation),
        score("ravel", |[cause, isolation]| (cause + isolation) / 2.0, "mean of cause and isolation"),
    ]
}
