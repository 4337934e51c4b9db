//! Rules: a token has a label where a feature's activation is at least a threshold. The best rules are found on one
//! half of a text and counted on the other.

use crate::base::{Result, Task, order, parallel};
use crate::features::evaluate::codes::Active;

/// The labels of each token, and the number of tokens with each label.
pub struct TokenLabels {
    starts: Vec<usize>,
    labels: Vec<u32>,
    pub counts: Vec<usize>,
}

impl TokenLabels {
    /// Builds the labels of tokens `0..tokens`; `holds` has for each label whether each token of the text has it.
    pub fn of(holds: &[&[bool]], tokens: std::ops::Range<usize>) -> Self {
        let mut found = Self { starts: vec![0], labels: Vec::new(), counts: vec![0; holds.len()] };
        for token in tokens {
            for (label, _) in (0..).zip(holds).filter(|(_, holds)| holds[token]) {
                found.labels.push(label);
                found.counts[label as usize] += 1;
            }
            found.starts.push(found.labels.len());
        }
        found
    }

    fn at(&self, token: usize) -> &[u32] {
        &self.labels[self.starts[token]..self.starts[token + 1]]
    }
}

/// A rule: the tokens at which a feature's activation is at least `threshold`; or at most, where that is below 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoverageRule {
    pub feature: usize,
    pub threshold: f32,
    pub label: usize,
    /// The F1 by which the rule was chosen.
    pub chosen_by: f64,
}

impl CoverageRule {
    pub fn holds(&self, code: f32) -> bool {
        if self.threshold > 0.0 { code >= self.threshold } else { code <= self.threshold }
    }
}

/// The best rules on one half: that of each label, and that of each feature; none where no token has both.
pub struct BestRules {
    pub of_label: Vec<Option<CoverageRule>>,
    pub of_feature: Vec<Option<CoverageRule>>,
}

impl BestRules {
    /// Finds the best rules on the first tokens of the text, which `labels` are of.
    pub fn of(active: &[Active], labels: &TokenLabels, task: &Task) -> Result<Self> {
        let bar = task.begin("labels of features", Some(active.len() as u64));
        let end = labels.starts.len() - 1;
        let all = parallel::try_map(active.len(), &|feature| {
            task.check()?;
            let active = &active[feature];
            let first = &active[..active.partition_point(|(token, _)| (*token as usize) < end)];
            Ok(of_feature(feature, first, labels))
        })?;
        bar.advance(active.len() as u64);
        let better = |best: &mut Option<CoverageRule>, rule: CoverageRule| {
            if best.is_none_or(|best| rule.chosen_by > best.chosen_by) {
                *best = Some(rule);
            }
        };
        let mut found = Self { of_label: vec![None; labels.counts.len()], of_feature: vec![None; active.len()] };
        for rule in all.into_iter().flatten() {
            better(&mut found.of_label[rule.label], rule);
            better(&mut found.of_feature[rule.feature], rule);
        }
        Ok(found)
    }
}

/// Returns the best rule of one feature for each label that any token at which it is active has. F1 = 2 tp / (active +
/// labelled) only rises where one more token with the label is in, so only these thresholds are tried.
fn of_feature(feature: usize, active: &[(u32, f32)], labels: &TokenLabels) -> Vec<CoverageRule> {
    let mut best: Vec<Option<CoverageRule>> = vec![None; labels.counts.len()];
    for sign in [1.0, -1.0] {
        let mut side: Vec<(u32, f32)> = active.iter().filter(|(_, code)| code * sign > 0.0).copied().collect();
        order::sort_descending(&mut side, |(_, code)| code * sign);
        let mut both = vec![0_usize; labels.counts.len()];
        let mut inside = 0;
        for equal in side.chunk_by(|a, b| a.1 == b.1) {
            inside += equal.len();
            let found = || equal.iter().flat_map(|(token, _)| labels.at(*token as usize));
            found().for_each(|label| both[*label as usize] += 1);
            for label in found().map(|label| *label as usize) {
                let f1 = 2.0 * both[label] as f64 / (inside + labels.counts[label]) as f64;
                if best[label].is_none_or(|best| f1 > best.chosen_by) {
                    best[label] = Some(CoverageRule { feature, threshold: equal[0].1, label, chosen_by: f1 });
                }
            }
        }
    }
    best.into_iter().flatten().collect()
}

/// Tokens of the other half as bits, row by row.
pub struct Bits {
    words: Vec<u64>,
    per_row: usize,
}

/// The rows of the other half.
pub struct HeldOutRows<'a> {
    /// The first token of each row, and the end of the last.
    pub starts: &'a [usize],
    longest: usize,
}

impl<'a> HeldOutRows<'a> {
    pub fn of(starts: &'a [usize]) -> Self {
        Self { starts, longest: starts.array_windows().map(|[from, to]| to - from).max().unwrap_or(0) }
    }

    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    fn first(&self) -> usize {
        self.starts[0]
    }

    /// Returns the tokens with a label as bits.
    pub fn bits(&self, holds: &[bool]) -> Bits {
        let per_row = self.longest.div_ceil(64);
        let mut bits = Bits { words: vec![0; per_row * self.count()], per_row };
        for (row, [from, to]) in self.starts.array_windows().enumerate() {
            for (position, _) in holds[*from..*to].iter().enumerate().filter(|(_, holds)| **holds) {
                bits.words[row * per_row + position / 64] |= 1 << (position % 64);
            }
        }
        bits
    }

    /// Returns the row and the position of each token at which a rule holds.
    pub fn places(&self, rule: &CoverageRule, active: &[(u32, f32)]) -> Vec<(u32, u32)> {
        let from = active.partition_point(|(token, _)| (*token as usize) < self.first());
        let mut row = 0;
        let mut places = Vec::new();
        for (token, _) in active[from..].iter().filter(|(_, code)| rule.holds(*code)) {
            while self.starts[row + 1] <= *token as usize {
                row += 1;
            }
            places.push((row as u32, *token - self.starts[row] as u32));
        }
        places
    }
}

impl Bits {
    pub fn has(&self, row: u32, position: u32) -> bool {
        self.words[row as usize * self.per_row + position as usize / 64] >> (position % 64) & 1 == 1
    }

    /// Counts the tokens of a row that have the label.
    fn in_row(&self, row: usize) -> f64 {
        let words = &self.words[row * self.per_row..(row + 1) * self.per_row];
        f64::from(words.iter().map(|word| word.count_ones()).sum::<u32>())
    }
}

/// A rule counted in each row: tokens with both the rule and the label, with the rule, and with the label.
pub struct RuleRows(Vec<[f64; 3]>);

impl RuleRows {
    pub fn of(places: &[(u32, u32)], label: &Bits, rows: &HeldOutRows) -> Self {
        let mut counts: Vec<[f64; 3]> = (0..rows.count()).map(|row| [0.0, 0.0, label.in_row(row)]).collect();
        for (row, position) in places {
            counts[*row as usize][0] += f64::from(u8::from(label.has(*row, *position)));
            counts[*row as usize][1] += 1.0;
        }
        Self(counts)
    }

    fn sums(&self, rows: impl Iterator<Item = usize>) -> [f64; 3] {
        rows.fold([0.0; 3], |sums, row| std::array::from_fn(|i| sums[i] + self.0[row][i]))
    }

    /// Computes 2 tp / (active + labelled) over some rows; 0 where there are neither.
    pub fn f1(&self, rows: impl Iterator<Item = usize>) -> f64 {
        let [both, inside, labelled] = self.sums(rows);
        if inside + labelled > 0.0 { 2.0 * both / (inside + labelled) } else { 0.0 }
    }

    /// Computes F1, precision and recall over all rows, and counts the tokens with the label; the precision is 0 where
    /// the rule never holds.
    pub fn judged(&self) -> RuleMeasures {
        let [both, inside, labelled] = self.sums(0..self.0.len());
        RuleMeasures {
            f1: self.f1(0..self.0.len()),
            precision: if inside > 0.0 { both / inside } else { 0.0 },
            recall: both / labelled,
            active: inside as usize,
            labelled: labelled as usize,
        }
    }
}

/// The measures of a rule on the half that it was not chosen on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RuleMeasures {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    /// The number of tokens at which the rule holds; `labelled` is that of tokens with the label.
    pub active: usize,
    pub labelled: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_rule_is_that_of_all_thresholds_of_all_features() {
        // Activations of two features at 60 tokens, with ties and activations below 0, and two labels.
        let code = |feature: usize, token: usize| ((token * (7 + 4 * feature) + token / 5) % 9) as f32 - 3.0;
        let active: Vec<Active> = (0..2)
            .map(|f| (0..60).map(|t| (t as u32, code(f, t))).filter(|(_, code)| *code != 0.0).collect())
            .collect();
        let labels: Vec<Vec<bool>> = vec![
            (0..60).map(|t| code(0, t) >= 4.0 || t % 13 == 0).collect(),
            (0..60).map(|t| code(1, t) <= -2.0 && t % 11 != 0).collect(),
        ];
        let holds: Vec<&[bool]> = labels.iter().map(Vec::as_slice).collect();
        let found = BestRules::of(&active, &TokenLabels::of(&holds, 0..60), &Task::default()).unwrap();
        for (label, holds) in labels.iter().enumerate() {
            let labelled = holds.iter().filter(|holds| **holds).count();
            let f1 = |feature: usize, threshold: f32| {
                let rule = CoverageRule { feature, threshold, label, chosen_by: 0.0 };
                let inside: Vec<usize> =
                    (0..60).filter(|t| code(feature, *t) != 0.0 && rule.holds(code(feature, *t))).collect();
                2.0 * inside.iter().filter(|t| holds[**t]).count() as f64 / (inside.len() + labelled) as f64
            };
            let all = (0..2).flat_map(|f| (0..60).map(move |t| (f, code(f, t)))).filter(|(_, t)| *t != 0.0);
            let best = all.map(|(f, t)| f1(f, t)).fold(0.0, f64::max);
            let rule = found.of_label[label].unwrap();
            assert!((rule.chosen_by - best).abs() < 1e-12 && (f1(rule.feature, rule.threshold) - best).abs() < 1e-12);
            assert_eq!(rule.feature, label);
        }
        assert_eq!(found.of_feature[1].map(|rule| rule.label), Some(1));
    }

    #[test]
    fn rules_are_counted_on_the_other_half_alone() {
        let starts = [4, 8, 12];
        let rows = HeldOutRows::of(&starts);
        let mut holds = vec![true; 12];
        holds[4..].copy_from_slice(&[true, false, false, true, false, false, true, true]);
        let rule = CoverageRule { feature: 0, threshold: 2.0, label: 0, chosen_by: 0.0 };
        let active = [(1, 9.0), (4, 2.0), (5, 3.0), (7, 1.0), (10, 5.0), (11, 2.5)];
        let places = rows.places(&rule, &active);
        assert_eq!(places, [(0, 0), (0, 1), (1, 2), (1, 3)]);
        let counted = RuleRows::of(&places, &rows.bits(&holds), &rows);
        let found = counted.judged();
        assert_eq!((found.f1, found.precision, found.recall, found.labelled), (0.75, 0.75, 0.75, 4));
        assert_eq!(counted.f1([1, 1].into_iter()), 1.0);
    }
}
