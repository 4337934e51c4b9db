//! The score of simulation: the correlation of simulated with real activations over all tokens of some fragments.

use super::explainer::every_second;
use super::explanation::{Answerer, Explanation};
use super::fragments::{Fragments, Half};
use super::simulation::{self, MOST};
use crate::common::*;
use crate::features::describe::KnownFacts;
use crate::questions::Question;

/// The number of fragments of each sort, the strongest and random ones (Cunningham et al. 2023).
pub const OF_EACH: usize = 5;

/// The seed of the bootstrap.
const SEED: u64 = 0;

/// A fragment that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedFragment {
    pub fragment: usize,
    /// Whether the fragment is one of the strongest; else it was drawn.
    pub is_top: bool,
}

/// Returns every second one of the ten strongest fragments of the judge's half, and as many others, drawn from those in
/// which the feature is active; none where it is active in less than ten.
pub fn judged(fragments: &Fragments, feature: usize) -> Option<Vec<JudgedFragment>> {
    let (mut active, _) = fragments.sorted(feature, Half::Judge);
    if active.len() < 2 * OF_EACH {
        return None;
    }
    let rest = active.split_off((2 * OF_EACH).min(active.len() / 2));
    let top = every_second(&active, OF_EACH);
    let random = fragments.drawn(rest, OF_EACH, feature, "fragments to judge");
    let of =
        |fragments: Vec<usize>, is_top| fragments.into_iter().map(move |fragment| JudgedFragment { fragment, is_top });
    Some(of(top, true).chain(of(random, false)).collect())
}

/// Returns the predictions of an explanation on fragments: one for each token, or why there is none.
pub fn predictions(
    fragments: &Fragments,
    asked: &[(&Explanation, usize)],
    by: Answerer,
    task: &Task,
) -> Result<Vec<Result<Vec<f64>>>> {
    match by {
        Answerer::Rules => {
            let known = KnownFacts::of(&fragments.read);
            let mut found = Vec::with_capacity(asked.len());
            // All fragments of an explanation come together.
            let mut last: Option<(&Explanation, Vec<bool>)> = None;
            for (explanation, fragment) in asked {
                task.check()?;
                let holds = match last.take() {
                    Some((same, holds)) if std::ptr::eq(same, *explanation) => holds,
                    _ => holds(explanation, &known)?,
                };
                let there = holds.get(fragments.places(*fragment)).unwrap_or_default();
                found.push(Ok(there.iter().map(|holds| if *holds { MOST } else { 0.0 }).collect()));
                last = Some((*explanation, holds));
            }
            Ok(found)
        }
        Answerer::Words(answers) => {
            let tokens: Vec<Vec<&str>> = asked.iter().map(|(_, fragment)| fragments.tokens(*fragment)).collect();
            let question = |((explanation, _), tokens): (&(&Explanation, usize), &Vec<&str>)| {
                simulation::question(&explanation.text, tokens)
            };
            let questions: Vec<Question> = asked.iter().zip(&tokens).map(question).collect();
            let replies = answers.answers(&questions, task)?;
            Ok(replies.into_iter().zip(&tokens).map(|(reply, tokens)| simulation::read(&reply?, tokens)).collect())
        }
    }
}

/// Returns where the rule of an explanation is true.
pub fn holds(explanation: &Explanation, known: &KnownFacts) -> Result<Vec<bool>> {
    let rule = explanation.rule.as_ref().ok_or_else(|| {
        err!(Argument, "expected an explanation made by rules, found one in words alone")
            .hint("rules read no words: a language model does, #{ by: model::endpoint(..) }")
            .about("explanation")
    })?;
    rule.holds(known)
}

/// The correlations of simulated and real activations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimulationScores {
    /// The correlation over the strongest fragments and the drawn ones together; none where all answers failed.
    pub both: Option<f64>,
    /// The interval by the bootstrap over fragments.
    pub interval: Option<[f64; 2]>,
    pub top: Option<f64>,
    pub random: Option<f64>,
    /// The number of fragments whose answer could be read.
    pub fragments: usize,
}

/// The prediction for a fragment, and its real activations.
pub struct FragmentPrediction<'a> {
    pub is_top: bool,
    pub predicted: &'a [f64],
    pub codes: Vec<f64>,
}

/// Returns the judged fragments of a feature whose predictions could be read.
pub fn read<'a>(
    fragments: &Fragments,
    feature: usize,
    judged: &[JudgedFragment],
    predicted: &'a [Result<Vec<f64>, Error>],
) -> Vec<FragmentPrediction<'a>> {
    let of = |(judged, found): (&JudgedFragment, &'a Result<Vec<f64>, Error>)| {
        let predicted = found.as_ref().ok()?;
        let codes = fragments.codes(feature, judged.fragment);
        Some(FragmentPrediction { is_top: judged.is_top, predicted, codes })
    };
    judged.iter().zip(predicted).filter_map(of).collect()
}

impl SimulationScores {
    /// Computes the scores of predictions; `score` computes one from the sums over some fragments.
    pub fn of(read: &[FragmentPrediction], score: fn(CorrelationSums) -> Option<f64>) -> Self {
        let sums: Vec<(bool, CorrelationSums)> =
            read.iter().map(|one| (one.is_top, CorrelationSums::of(one.predicted, &one.codes))).collect();
        let of = |wanted: &dyn Fn(bool) -> bool| {
            let some = sums.iter().filter(|(is_top, _)| wanted(*is_top)).map(|(_, sums)| *sums);
            some.reduce(CorrelationSums::and).and_then(score)
        };
        let drawn = |drawn: &[usize]| {
            let all = drawn.iter().filter_map(|at| sums.get(*at)).map(|(_, sums)| *sums).reduce(CorrelationSums::and);
            all.and_then(score).unwrap_or(f64::NAN)
        };
        Self {
            both: of(&|_| true),
            interval: bootstrap(sums.len(), SEED, drawn),
            top: of(&|is_top| is_top),
            random: of(&|is_top| !is_top),
            fragments: sums.len(),
        }
    }
}

/// Returns the score of a random baseline: each fragment judged by the predictions of another one, a mean over all
/// cyclic shifts.
pub fn shuffled(read: &[FragmentPrediction]) -> Option<f64> {
    let turned = |by: usize| {
        let others = read.iter().cycle().skip(by);
        let sums = read.iter().zip(others).map(|(one, other)| CorrelationSums::of(other.predicted, &one.codes));
        sums.reduce(CorrelationSums::and).and_then(CorrelationSums::correlation).unwrap_or_default()
    };
    (read.len() > 1).then(|| (1..read.len()).map(turned).sum::<f64>() / (read.len() - 1) as f64)
}

/// Sums that a correlation is computed from, so that those of fragments add up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrelationSums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl CorrelationSums {
    pub fn of(x: &[f64], y: &[f64]) -> Self {
        let sum = |of: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| of(*x, *y)).sum();
        Self {
            n: x.len().min(y.len()) as f64,
            x: sum(&|x, _| x),
            y: sum(&|_, y| y),
            xx: sum(&|x, _| x * x),
            yy: sum(&|_, y| y * y),
            xy: sum(&|x, y| x * y),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            x: self.x + other.x,
            y: self.y + other.y,
            xx: self.xx + other.xx,
            yy: self.yy + other.yy,
            xy: self.xy + other.xy,
        }
    }

    /// Returns the correlation, or 0 where there is none.
    pub fn correlation_or_0(self) -> Option<f64> {
        Some(self.correlation().unwrap_or_default())
    }

    /// Computes Pearson's correlation; none where one of the two is constant.
    pub fn correlation(self) -> Option<f64> {
        let spread = |sum: f64, squares: f64| squares - sum * sum / self.n;
        let x = spread(self.x, self.xx);
        let y = spread(self.y, self.yy);
        let varies = x > 1e-12 * self.xx && y > 1e-12 * self.yy;
        varies.then(|| (self.xy - self.x * self.y / self.n) / (x * y).sqrt())
    }
}
