//! Scores of explanations, each compared with another feature's explanation, and as a table.

use super::classified::{self, Confusion, JudgedVerdict};
use super::explainer;
use super::explanation::{Answerer, Explanation};
use super::fragments::{FragmentOptions, Fragments};
use super::simulated::{self, CorrelationSums, JudgedFragment, SimulationScores};
use super::verdicts::TextVerdict;
use crate::features::feature::FeatureList;
use crate::sae::prelude::*;

crate::choices! {
    /// Methods to judge an explanation.
    pub enum Method {
        /// Activations at every token, simulated from the explanation.
        Simulation = "simulation",
        /// A verdict on whether the feature is active anywhere in a context.
        Detection = "detection",
        /// A verdict on whether the feature is active at the marked tokens.
        Fuzzing = "fuzzing",
    }
}

impl Method {
    /// Returns the usual length of a fragment.
    pub fn length(self) -> usize {
        match self {
            Method::Simulation => explainer::LENGTH,
            Method::Detection | Method::Fuzzing => classified::LENGTH,
        }
    }
}

crate::options! {
    pub struct ScoreOptions {
        /// The method by which explanations are judged.
        method: Method = Method::Simulation;
        /// Number of contexts with the feature, and as many without it.
        contexts: usize = 50 => at_least(10.0).at_most(1e6).only("method", &["detection", "fuzzing"]);
        /// Seed of what is drawn to judge on; without one, the fragments are those of seed 0, as of `features::explain`.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with fragments: FragmentOptions;
    }
}

/// The score of an explanation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExplanationScore {
    /// The correlation over the strongest and the drawn fragments, in simulation; the balanced accuracy, in detection
    /// and fuzzing. None for a feature that is too seldom active, and where no answer could be read.
    pub score: Option<f64>,
    /// The 95 % interval, by the bootstrap over fragments or contexts.
    pub interval: Option<[f64; 2]>,
    /// The score by another feature's explanation, or, where there is one feature alone, by predictions in a shifted
    /// order.
    pub by_other: Option<f64>,
    /// The number of fragments or contexts whose answer could be read.
    pub count: usize,
    /// The number of those whose answer could not be read.
    pub failed: usize,
    /// The reason why the first answer could not be read.
    pub why: Option<String>,
    pub details: Details,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Details {
    Simulation { top: Option<f64>, random: Option<f64> },
    Verdicts { confusion: Confusion, auc: Option<f64> },
}

impl Default for Details {
    fn default() -> Self {
        Details::Simulation { top: None, random: None }
    }
}

impl ExplanationScore {
    /// Builds the score of a simulation with given predictions and its baseline.
    pub fn of_simulation(found: &SimulationScores, own: &[Result<Vec<f64>>], by_other: Option<f64>) -> Self {
        Self {
            score: found.both,
            interval: found.interval,
            by_other,
            count: found.fragments,
            failed: own.len() - found.fragments,
            why: first_failure(own),
            details: Details::Simulation { top: found.top, random: found.random },
        }
    }

    /// Builds the score of verdicts: `answered` are those that could be read, with the truth; `own` are all of them.
    pub fn of_verdicts(answered: &[JudgedVerdict], own: &[Result<TextVerdict>], by_other: Option<f64>) -> Self {
        let confusion = classified::confusion(answered);
        Self {
            score: confusion.balanced(),
            interval: classified::interval(answered),
            by_other,
            count: answered.len(),
            failed: own.len() - answered.len(),
            why: first_failure(own),
            details: Details::Verdicts { confusion, auc: classified::auc(answered) },
        }
    }
}

/// Computes the score of an explanation of each feature by where it is active in a text.
pub fn score(
    model: &Model,
    list: &FeatureList,
    explanations: &[Explanation],
    text: &Text,
    by: Answerer,
    options: &ScoreOptions,
    task: &Task,
) -> Result<Vec<ExplanationScore>> {
    let features = list.features.len();
    let found = explanations.len();
    if features != found {
        return Err(err!(Argument, "expected one explanation for each of {features} features, found {found}")
            .about("explanation"));
    }
    let length = options.method.length();
    let fragments = Fragments::of(model, list, text, &options.fragments, length, options.seed, task)?;
    of_fragments(&fragments, 0, explanations, by, options, task)
}

/// Computes the scores of explanations on fragments that were read; the explanations are of the features from `first`
/// on.
pub fn of_fragments(
    fragments: &Fragments,
    first: usize,
    explanations: &[Explanation],
    by: Answerer,
    options: &ScoreOptions,
    task: &Task,
) -> Result<Vec<ExplanationScore>> {
    let found = match options.method {
        Method::Simulation => by_simulation(fragments, first, explanations, by, task)?,
        method => by_verdicts(fragments, first, explanations, by, method == Method::Fuzzing, options.contexts, task)?,
    };
    say_failures(&found, task);
    Ok(found)
}

/// Reports how many answers were left out, and why the first of them was.
pub fn say_failures(scored: &[ExplanationScore], task: &Task) {
    let failed: usize = scored.iter().map(|one| one.failed).sum();
    if let Some(why) = scored.iter().find_map(|one| one.why.as_ref()) {
        task.say(&format!("{failed} answers could not be read and are left out; of the first: {why}"));
    }
}

/// Returns for each explanation the next one of another feature, if there is any.
fn others(explanations: &[Explanation]) -> Vec<Option<&Explanation>> {
    let other = |at: usize| {
        let after = explanations.iter().cycle().skip(at + 1).take(explanations.len().saturating_sub(1));
        after.into_iter().find(|other| !other.text.is_empty())
    };
    (0..explanations.len()).map(other).collect()
}

fn by_simulation(
    fragments: &Fragments,
    first: usize,
    explanations: &[Explanation],
    by: Answerer,
    task: &Task,
) -> Result<Vec<ExplanationScore>> {
    let judged = |(at, explanation): (usize, &Explanation)| {
        if explanation.text.is_empty() { None } else { simulated::judged(fragments, first + at) }
    };
    let judged: Vec<Vec<JudgedFragment>> =
        explanations.iter().enumerate().map(|one| judged(one).unwrap_or_default()).collect();
    let others = others(explanations);
    let mut asked = Vec::new();
    for ((explanation, other), judged) in explanations.iter().zip(&others).zip(&judged) {
        for explanation in std::iter::once(explanation).chain(*other) {
            asked.extend(judged.iter().map(|judged| (explanation, judged.fragment)));
        }
    }
    let mut predicted = simulated::predictions(fragments, &asked, by, task)?.into_iter();
    let mut scored = Vec::new();
    for (at, (judged, other)) in judged.iter().zip(&others).enumerate() {
        if judged.is_empty() {
            scored.push(ExplanationScore::default());
            continue;
        }
        let own: Vec<_> = predicted.by_ref().take(judged.len()).collect();
        let read = simulated::read(fragments, first + at, judged, &own);
        let by_other = match other {
            Some(_) => {
                let of_other: Vec<_> = predicted.by_ref().take(judged.len()).collect();
                let read = simulated::read(fragments, first + at, judged, &of_other);
                SimulationScores::of(&read, CorrelationSums::correlation_or_0).both
            }
            None => simulated::shuffled(&read),
        };
        scored.push(ExplanationScore::of_simulation(
            &SimulationScores::of(&read, CorrelationSums::correlation_or_0),
            &own,
            by_other,
        ));
    }
    Ok(scored)
}

fn by_verdicts(
    fragments: &Fragments,
    first: usize,
    explanations: &[Explanation],
    by: Answerer,
    is_fuzzing: bool,
    contexts: usize,
    task: &Task,
) -> Result<Vec<ExplanationScore>> {
    let samples = |(at, explanation): (usize, &Explanation)| {
        if explanation.text.is_empty() { None } else { classified::samples(fragments, first + at, contexts) }
    };
    let samples: Vec<_> = explanations.iter().enumerate().map(|one| samples(one).unwrap_or_default()).collect();
    let others = others(explanations);
    let mut asked = Vec::new();
    for ((explanation, other), samples) in explanations.iter().zip(&others).zip(&samples) {
        if !samples.is_empty() {
            asked.extend(std::iter::once(explanation).chain(*other).map(|one| (one, samples.as_slice())));
        }
    }
    let mut verdicts = classified::verdicts(fragments, &asked, by, is_fuzzing, task)?.into_iter();
    let mut scored = Vec::new();
    for (samples, other) in samples.iter().zip(&others) {
        if samples.is_empty() {
            let details = Details::Verdicts { confusion: Confusion::default(), auc: None };
            scored.push(ExplanationScore { details, ..ExplanationScore::default() });
            continue;
        }
        let own = verdicts.next().unwrap_or_default();
        let answered = classified::answered(samples, &own);
        let by_other = match other {
            Some(_) => {
                let of_other = verdicts.next().unwrap_or_default();
                classified::confusion(&classified::answered(samples, &of_other)).balanced()
            }
            None => classified::shuffled(&answered),
        };
        scored.push(ExplanationScore::of_verdicts(&answered, &own, by_other));
    }
    Ok(scored)
}

fn first_failure<T>(found: &[Result<T>]) -> Option<String> {
    found.iter().find_map(|found| found.as_ref().err()).map(|error| error.message.clone())
}

/// Returns scores as rows of a table, with the names of their features and of the judge.
pub fn table(
    names: &[String],
    explanations: &[Explanation],
    scored: &[ExplanationScore],
    by: &str,
    method: Method,
) -> Table {
    let (what, own): (&str, &[&str]) = match method {
        Method::Simulation => ("correlation of simulated and real codes", &["top", "random", "fragments"]),
        Method::Detection => {
            ("balanced accuracy of detection", &["AUC", "F1", "precision", "recall", "accuracy", "contexts"])
        }
        Method::Fuzzing => {
            ("balanced accuracy of fuzzing", &["AUC", "F1", "precision", "recall", "accuracy", "contexts"])
        }
    };
    let columns = [&["feature", "explanation", "score", "low", "high", "by another's"], own, &["failed"]].concat();
    let row = |((name, explanation), found): ((&String, &Explanation), &ExplanationScore)| {
        let [low, high] = Cell::ends(found.interval);
        let mut row = vec![
            name.as_str().into(),
            explanation.text.as_str().into(),
            found.score.into(),
            low,
            high,
            found.by_other.into(),
        ];
        row.extend(match &found.details {
            Details::Simulation { top, random } => [*top, *random].map(Cell::from).to_vec(),
            Details::Verdicts { confusion, auc } => {
                let all = [*auc, confusion.f1(), confusion.precision(), confusion.recall(), confusion.accuracy()];
                all.map(Cell::from).to_vec()
            }
        });
        row.extend([found.count.into(), found.failed.into()]);
        row
    };
    Table::new(
        format!("explanations judged by {by}: {what}"),
        columns,
        names.iter().zip(explanations).zip(scored).map(row),
    )
}
