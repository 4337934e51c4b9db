//! Dictionaries against known truth: the best feature of each label and the best label of each feature, and how much of
//! the labels a dictionary covers.
//!
//! A rule predicts a label at tokens where a feature's activation is at least a threshold. Rules are chosen by F1 on
//! the first half of a text and judged on the second. The coverage is the mean F1 of the best rule of each label
//! (Karvonen et al. 2024, section 4, who choose and judge on the same text).

mod chance;
mod rules;

#[cfg(test)]
mod tests;

use super::evaluate::codes::Active;
use super::evaluate::reading::{EvaluationReading, EvaluationTokens, ReadingOptions};
use super::evaluate::score::{Evaluation, Score};
use crate::base::bootstrap::intervals;
use crate::probes::measures::{auroc, runs};
use crate::sae::prelude::*;
use chance::{PERMUTATIONS, corrected};
use rules::{BestRules, Bits, CoverageRule, HeldOutRows, RuleMeasures, RuleRows, TokenLabels};

/// The number of tokens that a label needs in either half, and as many without it.
const FEWEST: usize = 20;

/// The significance level, after the correction.
const LEVEL: f64 = 0.05;

/// Measures how much of the labels of a text a dictionary covers.
pub fn coverage(model: &Model, sae: &Sae, text: &Text, options: &ReadingOptions, task: &Task) -> Result<Evaluation> {
    let tokens = EvaluationTokens::of(model, sae, text, options, task)?;
    let reading = EvaluationReading::of(tokens, model, sae, &BTreeSet::new(), options.seed.draws(), task)?;
    let found = Coverage::of(&reading, options.seed.draws(), task)?;
    let site = reading.tokens.place.to_string();
    let count = reading.own.measures.rows;
    let title = format!("labels that {} features of {site} cover, on {count} tokens", sae.d_sae());
    Ok(Evaluation { title, scores: found.scores(), parts: found.parts() })
}

/// A rule with its counts on the second half.
#[derive(Debug, Clone)]
struct JudgedRule {
    rule: CoverageRule,
    counts: RuleMeasures,
    /// The p value, corrected for the number of rules.
    p: f64,
}

/// The best feature of a label.
#[derive(Debug, Clone)]
struct LabelCoverage {
    label: String,
    /// The best rule; none where no feature is active at a token with the label.
    best: Option<JudgedRule>,
    interval: Option<[f64; 2]>,
    /// The AUROC of the best feature, whatever its threshold.
    auroc: f64,
    random: f64,
    random_auroc: f64,
}

/// The coverage of a dictionary, and of random directions.
#[derive(Debug, Clone)]
pub struct Coverage {
    labels: Vec<LabelCoverage>,
    features: Vec<JudgedRule>,
    /// The number of features that are active in the first half, of the dictionary and of random directions; `named` is
    /// that of features that stand for a label.
    alive: [usize; 2],
    named: [usize; 2],
    interval: Option<[f64; 2]>,
}

/// The labels of the second half.
struct Truth<'a> {
    rows: HeldOutRows<'a>,
    names: Vec<String>,
    holds: Vec<&'a [bool]>,
    bits: Vec<Bits>,
    first: TokenLabels,
}

/// The rules of one dictionary, and their counts.
struct DictionaryRules {
    of_label: Vec<Option<JudgedRule>>,
    counted: Vec<Option<RuleRows>>,
    aurocs: Vec<f64>,
    of_feature: Vec<JudgedRule>,
    alive: usize,
}

impl Coverage {
    pub fn of(reading: &EvaluationReading, seed: u64, task: &Task) -> Result<Self> {
        let truth = Truth::of(reading)?;
        let own = DictionaryRules::of(&truth, &reading.own.codes.by_feature(), seed, task)?;
        let random = DictionaryRules::of(&truth, &reading.random.codes.by_feature(), seed, task)?;
        let count = truth.names.len();
        // The F1 of each label on the same draws of rows, and their mean.
        let mut intervals = intervals(truth.rows.count(), seed, count + 1, |drawn| {
            let f1 = |one: &Option<RuleRows>| one.as_ref().map_or(0.0, |one| one.f1(drawn.iter().copied()));
            let mut all: Vec<f64> = own.counted.iter().map(f1).collect();
            all.push(all.iter().sum::<f64>() / count as f64);
            all
        });
        let interval = intervals.pop().flatten();
        let labels = (0..count).map(|label| LabelCoverage {
            label: truth.names[label].clone(),
            best: own.of_label[label].clone(),
            interval: intervals[label],
            auroc: own.aurocs[label],
            random: random.of_label[label].as_ref().map_or(0.0, |one| one.counts.f1),
            random_auroc: random.aurocs[label],
        });
        let named = |found: &DictionaryRules| found.of_feature.iter().filter(|one| one.p < LEVEL).count();
        Ok(Self {
            labels: labels.collect(),
            alive: [own.alive, random.alive],
            named: [named(&own), named(&random)],
            features: own.of_feature,
            interval,
        })
    }

    /// Returns the coverage by F1 and by AUROC, and the shares of labels and of features that have each other.
    pub fn scores(&self) -> Vec<Score> {
        let f1: Vec<f64> = self.labels.iter().map(|one| one.best.as_ref().map_or(0.0, |one| one.counts.f1)).collect();
        let random: Vec<f64> = self.labels.iter().map(|one| one.random).collect();
        let of_f1 = "mean over labels of the F1 of the best feature; the interval is over rows";
        let coverage = Score { interval: self.interval, ..Score::mean("coverage", &f1, &random, "labels", of_f1) };
        let aurocs: Vec<f64> = self.labels.iter().map(|one| one.auroc).collect();
        let random: Vec<f64> = self.labels.iter().map(|one| one.random_auroc).collect();
        let of_auroc = "mean over labels of the AUROC of that feature; the interval is over labels";
        let share = |named: usize, alive: usize| (alive > 0).then(|| named as f64 / alive as f64);
        let said = format!(
            "share of active features whose best label is no chance: p < {LEVEL} by {PERMUTATIONS} permutations of rows, corrected for all features"
        );
        let features = Score {
            name: "features with a label".into(),
            value: share(self.named[0], self.alive[0]),
            interval: None,
            random: share(self.named[1], self.alive[1]),
            n: self.alive[0],
            of: "features",
            formula: said,
        };
        vec![coverage, Score::mean("coverage, AUROC", &aurocs, &random, "labels", of_auroc), features]
    }

    /// Returns the best feature of each label, and the best label of each feature.
    pub fn parts(&self) -> Vec<(&'static str, Table)> {
        vec![("labels", self.of_labels()), ("features", self.of_features())]
    }

    fn of_labels(&self) -> Table {
        let columns = [
            "label",
            "tokens",
            "feature",
            "threshold",
            "F1 where chosen",
            "F1",
            "low",
            "high",
            "precision",
            "recall",
            "AUROC",
            "p",
            "random, F1",
        ];
        let row = |one: &LabelCoverage| {
            let mut row = vec![one.label.as_str().into()];
            match &one.best {
                None => row.extend(vec![Cell::Missing; 11]),
                Some(JudgedRule { rule, counts, p }) => {
                    row.extend([counts.labelled.into(), rule.feature.into(), f64::from(rule.threshold).into()]);
                    row.extend([rule.chosen_by, counts.f1].map(Cell::Float));
                    row.extend(Cell::ends(one.interval));
                    row.extend([counts.precision, counts.recall, one.auroc, *p].map(Cell::Float));
                }
            }
            row.push(one.random.into());
            row
        };
        let mut labels: Vec<&LabelCoverage> = self.labels.iter().collect();
        let f1 = |one: &LabelCoverage| one.best.as_ref().map_or(0.0, |one| one.counts.f1);
        order::sort_descending(&mut labels, |one| f1(one));
        Table::new("the best feature of each label", columns, labels.into_iter().map(row))
    }

    fn of_features(&self) -> Table {
        let columns = ["feature", "label", "threshold", "F1 where chosen", "F1", "precision", "recall", "p", "tokens"];
        let row = |one: &JudgedRule| -> Vec<Cell> {
            let JudgedRule { rule, counts, p } = one;
            let label = self.labels.get(rule.label).map_or("", |one| one.label.as_str());
            let first = vec![rule.feature.into(), label.into(), f64::from(rule.threshold).into()];
            let numbers = [rule.chosen_by, counts.f1, counts.precision, counts.recall, *p].map(Cell::Float);
            [first, numbers.to_vec(), vec![counts.active.into()]].concat()
        };
        let mut features: Vec<&JudgedRule> = self.features.iter().collect();
        order::sort_descending(&mut features, |rule| rule.counts.f1);
        Table::new("the best label of each feature", columns, features.into_iter().map(row))
    }
}

impl<'a> Truth<'a> {
    fn of(reading: &'a EvaluationReading) -> Result<Self> {
        let tokens = &reading.tokens;
        let half = reading.tokens.rows.len() / 2;
        let halves = tokens.halves();
        let is_there = |holds: &[bool]| {
            halves.iter().all(|half| {
                let with = half.iter().filter(|token| holds[**token as usize]).count();
                with >= FEWEST && half.len() - with >= FEWEST
            })
        };
        let facts: Vec<_> = tokens.facts.iter().filter(|fact| is_there(&fact.holds)).collect();
        if facts.is_empty() {
            return Err(err!(
                Argument,
                "expected a label on at least {FEWEST} tokens of either half of the text, found none"
            )
            .hint("read more text with `tokens`; the text \"grammar\" has labels of its own")
            .about("text"));
        }
        let rows = HeldOutRows::of(&tokens.text.starts[half..]);
        let holds: Vec<&[bool]> = facts.iter().map(|fact| fact.holds.as_slice()).collect();
        Ok(Self {
            names: facts.iter().map(|fact| fact.text.clone()).collect(),
            bits: holds.iter().map(|holds| rows.bits(holds)).collect(),
            first: TokenLabels::of(&holds, 0..tokens.middle),
            rows,
            holds,
        })
    }

    /// Judges rules together, and returns each with its counts.
    fn judged(
        &self,
        rules: &[CoverageRule],
        active: &[Active],
        seed: u64,
        task: &Task,
    ) -> Result<Vec<(JudgedRule, RuleRows)>> {
        let places: Vec<Vec<(u32, u32)>> =
            rules.iter().map(|rule| self.rows.places(rule, &active[rule.feature])).collect();
        let family: Vec<(&[(u32, u32)], &Bits)> =
            rules.iter().zip(&places).map(|(rule, places)| (places.as_slice(), &self.bits[rule.label])).collect();
        let chances = corrected(&family, self.rows.count(), seed, task)?;
        let judged = rules.iter().zip(&places).zip(chances).map(|((rule, places), p)| {
            let counted = RuleRows::of(places, &self.bits[rule.label], &self.rows);
            (JudgedRule { rule: *rule, counts: counted.judged(), p }, counted)
        });
        Ok(judged.collect())
    }

    /// Returns the AUROC of a feature's activation for a label on the second half.
    fn auroc(&self, active: &[(u32, f32)], rule: &CoverageRule) -> f64 {
        let first = self.rows.starts[0];
        let holds = self.holds[rule.label];
        let mut scores = vec![0.0; holds.len() - first];
        let from = active.partition_point(|(token, _)| (*token as usize) < first);
        let sign = f64::from(rule.threshold.signum());
        active[from..].iter().for_each(|(token, code)| scores[*token as usize - first] = sign * f64::from(*code));
        auroc(&runs(&scores), &vec![1.0; scores.len()], |at| holds[first + at])
    }
}

impl DictionaryRules {
    fn of(truth: &Truth, active: &[Active], seed: u64, task: &Task) -> Result<Self> {
        let best = BestRules::of(active, &truth.first, task)?;
        let rules: Vec<CoverageRule> = best.of_label.iter().flatten().copied().collect();
        let mut of_label: Vec<Option<JudgedRule>> = vec![None; truth.names.len()];
        let mut counted: Vec<Option<RuleRows>> = truth.names.iter().map(|_| None).collect();
        for (judged, counts) in truth.judged(&rules, active, seed, task)? {
            let label = judged.rule.label;
            (of_label[label], counted[label]) = (Some(judged), Some(counts));
        }
        // A label that no feature is active at has no rule.
        let of_rule =
            |rule: &Option<CoverageRule>| rule.as_ref().map_or(0.5, |rule| truth.auroc(&active[rule.feature], rule));
        let aurocs = parallel::map(best.of_label.len(), &|at| of_rule(&best.of_label[at]));
        let rules: Vec<CoverageRule> = best.of_feature.iter().flatten().copied().collect();
        let of_feature = truth.judged(&rules, active, seed, task)?.into_iter().map(|(judged, _)| judged).collect();
        let middle = truth.rows.starts[0];
        let is_alive = |of: &&Active| of.first().is_some_and(|(token, _)| (*token as usize) < middle);
        Ok(Self { of_label, counted, aurocs, of_feature, alive: active.iter().filter(is_alive).count() })
    }
}
