//! Scores of detection and fuzzing: how well the verdicts of a judge separate contexts with a feature from those
//! without.

use rand::seq::SliceRandom;

use super::explanation::{Answerer, Explanation};
use super::fragments::{Fragments, Half};
use super::simulated::holds;
use super::verdicts::{self, TextVerdict};
use super::words::marked;
use crate::common::*;
use crate::features::describe::KnownFacts;
use crate::questions::Question;

/// The length of contexts, which are drawn from tenths of a feature's range, five of them to a question (Paulo et al.
/// 2024).
pub const LENGTH: usize = 32;
const QUANTILES: usize = 10;
const AT_ONCE: usize = 5;

/// The share of the largest activation in a context from which tokens are marked.
const MARKED: f64 = 0.3;

/// The number of contexts, with the feature or without it, below which it is not judged.
const FEWEST: usize = 10;

/// The seed of the bootstrap.
const SEED: u64 = 0;

/// A context that a judge sees.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedContext {
    pub fragment: usize,
    pub is_active: bool,
    /// The tokens that fuzzing marks.
    pub marks: Vec<bool>,
}

/// Returns the contexts that a feature is judged on, shuffled: as many with it, over the tenths of its range, as
/// without it. None where there are too few.
pub fn samples(fragments: &Fragments, feature: usize, count: usize) -> Option<Vec<JudgedContext>> {
    let (active, silent) = fragments.sorted(feature, Half::Judge);
    if active.len() < FEWEST || silent.len() < FEWEST {
        return None;
    }
    let each = count.div_ceil(QUANTILES);
    let tenth = |quantile: usize| active.len() * quantile / QUANTILES..active.len() * (quantile + 1) / QUANTILES;
    let chosen = |quantile: usize| {
        let of = active.get(tenth(quantile)).unwrap_or_default().to_vec();
        fragments.drawn(of, each, feature, "contexts to judge")
    };
    let active: Vec<JudgedContext> = (0..QUANTILES)
        .flat_map(chosen)
        .map(|fragment| JudgedContext { fragment, is_active: true, marks: marks(&fragments.codes(feature, fragment)) })
        .collect();
    // As many marks as other contexts have active tokens on average.
    let tokens: usize = active
        .iter()
        .map(|sample| fragments.codes(feature, sample.fragment).iter().filter(|code| **code > 0.0).count())
        .sum();
    let marked = tokens.div_ceil(active.len().max(1));
    let mut random = stream(fragments.seed, "marks", fragments.numbers.get(feature).copied().unwrap_or_default());
    let silent = fragments.drawn(silent, active.len(), feature, "contexts without it").into_iter().map(|fragment| {
        let length = fragments.places(fragment).len();
        let mut marks: Vec<bool> = (0..length).map(|at| at < marked).collect();
        marks.shuffle(&mut random);
        JudgedContext { fragment, is_active: false, marks }
    });
    let mut all: Vec<JudgedContext> = silent.collect();
    all.extend(active);
    all.shuffle(&mut random);
    Some(all)
}

/// Returns which tokens stand out in a context.
pub fn marks(codes: &[f64]) -> Vec<bool> {
    let least = MARKED * codes.iter().copied().fold(0.0, f64::max);
    codes.iter().map(|code| *code > 0.0 && *code >= least).collect()
}

/// Collects the verdicts of a judge on the samples of several features, each with an explanation: a verdict on each, or
/// why there is none.
pub fn verdicts(
    fragments: &Fragments,
    asked: &[(&Explanation, &[JudgedContext])],
    by: Answerer,
    is_fuzzing: bool,
    task: &Task,
) -> Result<Vec<Vec<Result<TextVerdict>>>> {
    match by {
        Answerer::Rules => {
            let known = KnownFacts::of(&fragments.read);
            let of = |(explanation, samples): &(&Explanation, &[JudgedContext])| {
                task.check()?;
                let holds = holds(explanation, &known)?;
                let verdict = |sample: &JudgedContext| {
                    let there = holds.get(fragments.places(sample.fragment)).unwrap_or_default();
                    Ok(by_rule(there, is_fuzzing.then_some(&sample.marks)))
                };
                Ok(samples.iter().map(verdict).collect())
            };
            asked.iter().map(of).collect()
        }
        Answerer::Words(answers) => {
            let text = |sample: &JudgedContext| {
                let marks: &[bool] = if is_fuzzing { &sample.marks } else { &[] };
                marked(&fragments.tokens(sample.fragment), marks)
            };
            let batch = |explanation: &Explanation, samples: &[JudgedContext]| {
                let texts: Vec<String> = samples.iter().map(text).collect();
                verdicts::question(&explanation.text, &texts.iter().map(String::as_str).collect::<Vec<_>>(), is_fuzzing)
            };
            let questions: Vec<Question> = asked
                .iter()
                .flat_map(|(explanation, samples)| samples.chunks(AT_ONCE).map(|some| batch(explanation, some)))
                .collect();
            let mut replies = answers.answers(&questions, task)?.into_iter();
            let mut read = |some: &[JudgedContext]| {
                let reply = replies.next().unwrap_or_else(|| Err(crate::err!(Bug, "fewer answers than questions")));
                match reply.and_then(|reply| verdicts::read(&reply, some.len())) {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error); some.len()],
                }
            };
            Ok(asked.iter().map(|(_, samples)| samples.chunks(AT_ONCE).flat_map(&mut read).collect()).collect())
        }
    }
}

/// Returns the verdict of a rule: on a context whether it is true anywhere, and on marks for which share of them.
fn by_rule(holds: &[bool], marks: Option<&Vec<bool>>) -> TextVerdict {
    let chance = match marks {
        None => f64::from(u8::from(holds.contains(&true))),
        Some(marks) => {
            let marked = || holds.iter().zip(marks).filter(|(_, marked)| **marked);
            marked().filter(|(holds, _)| **holds).count() as f64 / marked().count().max(1) as f64
        }
    };
    TextVerdict { is_active: chance >= 0.5, chance: Some(chance) }
}

/// Counts of right and wrong verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    pub true_positives: usize,
    pub true_negatives: usize,
    pub false_positives: usize,
    pub false_negatives: usize,
}

impl Confusion {
    /// Counts pairs of truth and verdict.
    pub fn of(said: impl Iterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for found in said {
            *match found {
                (true, true) => &mut counts.true_positives,
                (false, false) => &mut counts.true_negatives,
                (false, true) => &mut counts.false_positives,
                (true, false) => &mut counts.false_negatives,
            } += 1;
        }
        counts
    }

    pub fn count(&self) -> usize {
        self.true_positives + self.true_negatives + self.false_positives + self.false_negatives
    }

    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    pub fn f1(&self) -> Option<f64> {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    pub fn accuracy(&self) -> Option<f64> {
        share(self.true_positives + self.true_negatives, self.count())
    }

    /// Returns the mean of the shares of contexts with the feature and of those without it that were judged right.
    pub fn balanced(&self) -> Option<f64> {
        Some((self.recall()? + share(self.true_negatives, self.true_negatives + self.false_positives)?) / 2.0)
    }
}

fn share(some: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// A verdict that could be read, with the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedVerdict {
    /// Whether the feature is active in the text.
    pub truth: bool,
    pub verdict: TextVerdict,
}

impl JudgedVerdict {
    /// Returns the verdict on a text, if it could be read.
    pub fn of(truth: bool, verdict: &Result<TextVerdict>) -> Option<Self> {
        Some(Self { truth, verdict: *verdict.as_ref().ok()? })
    }
}

/// Returns the verdicts that could be read, with the truth.
pub fn answered(samples: &[JudgedContext], verdicts: &[Result<TextVerdict>]) -> Vec<JudgedVerdict> {
    let both = samples.iter().zip(verdicts);
    both.filter_map(|(sample, verdict)| JudgedVerdict::of(sample.is_active, verdict)).collect()
}

/// Counts verdicts against the truth.
pub fn confusion(answered: &[JudgedVerdict]) -> Confusion {
    Confusion::of(answered.iter().map(|one| (one.truth, one.verdict.is_active)))
}

/// Returns the interval of the balanced accuracy, by the bootstrap over contexts.
pub fn interval(answered: &[JudgedVerdict]) -> Option<[f64; 2]> {
    bootstrap(answered.len(), SEED, |drawn| {
        let some = drawn.iter().filter_map(|at| answered.get(*at)).map(|one| (one.truth, one.verdict.is_active));
        Confusion::of(some).balanced().unwrap_or(f64::NAN)
    })
}

/// Returns the probability that a context with the feature gets a larger probability than one without it, ties counted
/// half; a verdict without a probability counts as 0 or 1.
pub fn auc(answered: &[JudgedVerdict]) -> Option<f64> {
    let chance = |verdict: &TextVerdict| verdict.chance.unwrap_or(f64::from(u8::from(verdict.is_active)));
    let of = |wanted: bool| answered.iter().filter(move |one| one.truth == wanted).map(|one| chance(&one.verdict));
    let wins = of(true).flat_map(|with| {
        of(false).map(move |without| match with.total_cmp(&without) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
    });
    let pairs = of(true).count() * of(false).count();
    (pairs > 0).then(|| wins.sum::<f64>() / pairs as f64)
}

/// Returns the balanced accuracy of a random baseline: each context with the verdict on another, a mean over all cyclic
/// shifts.
pub fn shuffled(answered: &[JudgedVerdict]) -> Option<f64> {
    let turned = |by: usize| {
        let others = answered.iter().cycle().skip(by);
        let said = answered.iter().zip(others).map(|(one, other)| (one.truth, other.verdict.is_active));
        Confusion::of(said).balanced()
    };
    let all: Option<Vec<f64>> = (1..answered.len()).map(turned).collect();
    all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
}
