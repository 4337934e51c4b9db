//! Which labels a feature stands for: how well its code tells the tokens that have a label from those that do not.

use super::Readings;
use super::facts::of_labels;
use crate::base::{Cell, Result, Table, Task};
use crate::data::Text;
use crate::err;
use crate::model::Model;
use crate::sae::Sae;

/// A label that fewer tokens have, or that fewer do not have, is left out.
const FEWEST: u64 = 10;

/// A feature stands for no label that it tells worse than this.
const STANDS_FOR: f64 = 0.8;

/// How well a feature's code tells one label.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub label: String,
    /// The probability that the code is larger at a token drawn from those that have the label than at one drawn from
    /// the others, equal codes counted half: 1 where every one is larger, 0.5 by chance.
    pub auroc: f64,
    /// Its standard error by Hanley & McNeil 1982, which takes tokens as independent; those of one document are not
    /// quite.
    pub error: f64,
    /// Of the label, as 0 and 1, with the code. Of two labels that are told equally well it is larger for the one that
    /// the feature is about: an AUROC does not fall when tokens beside those of a rare label are active, too.
    pub correlation: f64,
    /// How many tokens have the label.
    pub positives: u64,
}

impl Told {
    /// An interval of 95 %.
    pub fn interval(&self) -> [f64; 2] {
        let margin = 1.96 * self.error;
        [(self.auroc - margin).max(0.0), (self.auroc + margin).min(1.0)]
    }
}

/// How well features tell the labels of a text: for each feature, named by which of `saes` it is of and its index there,
/// all labels that occur, those with the largest correlation first.
pub fn aurocs(
    model: &Model,
    saes: &[Sae],
    features: &[(usize, usize)],
    text: &Text,
    most: Option<usize>,
    task: &Task,
) -> Result<Vec<Vec<Told>>> {
    told(&Readings::of(model, saes, features, text, most, task)?, task)
}

/// The same of a text that has been read.
pub fn told(readings: &Readings, task: &Task) -> Result<Vec<Vec<Told>>> {
    let count = |fact: &[bool]| fact.iter().filter(|holds| **holds).count() as u64;
    let tokens = readings.len() as u64;
    let facts = of_labels(readings).into_iter().map(|fact| (count(&fact.holds), fact));
    let occurs = |(positives, _): &(u64, _)| *positives >= FEWEST && tokens - *positives >= FEWEST;
    let facts: Vec<_> = facts.filter(occurs).collect();
    if facts.is_empty() {
        return Err(err!(
            Argument,
            "expected labels that at least {FEWEST} of the text's {tokens} tokens have, found none"
        )
        .hint("read more text"));
    }
    let mut all = Vec::new();
    for codes in &readings.codes {
        task.check()?;
        let ordered = Ordered::new(codes);
        let mut found: Vec<Told> = facts
            .iter()
            .map(|(positives, fact)| {
                let auroc = ordered.auroc(&fact.holds, *positives);
                let error = error(auroc, *positives as f64, (tokens - positives) as f64);
                let correlation = ordered.correlation(&fact.holds, *positives);
                Told { label: fact.text.clone(), auroc, error, correlation, positives: *positives }
            })
            .collect();
        found.sort_by(|a, b| b.correlation.total_cmp(&a.correlation));
        all.push(found);
    }
    Ok(all)
}

/// The label that a feature stands for: of those that it surely tells, the one with the largest correlation.
pub fn stands_for(told: &[Told]) -> Option<&Told> {
    let tells = told.iter().filter(|told| told.interval()[0] >= STANDS_FOR && told.correlation > 0.0);
    tells.max_by(|a, b| a.correlation.total_cmp(&b.correlation))
}

/// The `most` labels with the largest correlation of each feature, whose names go with them.
pub fn table(names: &[String], told: &[Vec<Told>], most: usize) -> Table {
    let columns = ["feature", "label", "AUROC", "interval to each side", "correlation", "tokens with it"];
    let rows = names.iter().zip(told).flat_map(|(name, told)| {
        told.iter().take(most).map(|told| {
            let positives = Cell::Int(told.positives as i64);
            let numbers = [told.auroc, 1.96 * told.error, told.correlation].map(Cell::Float);
            let [auroc, margin, correlation] = numbers;
            vec![name.as_str().into(), told.label.as_str().into(), auroc, margin, correlation, positives]
        })
    });
    Table {
        title: "labels that features stand for".into(),
        columns: columns.map(String::from).to_vec(),
        rows: rows.collect(),
    }
}

/// The codes of a feature from the smallest to the largest; those that are 0 are counted and not written down.
struct Ordered<'a> {
    codes: &'a [f32],
    /// Positions below 0 and above it, each in the order of their codes.
    below: Vec<usize>,
    above: Vec<usize>,
}

impl<'a> Ordered<'a> {
    fn new(codes: &'a [f32]) -> Self {
        let sorted = |of: &dyn Fn(f32) -> bool| {
            let mut places: Vec<usize> = (0..codes.len()).filter(|at| of(codes[*at])).collect();
            places.sort_by(|a, b| codes[*a].total_cmp(&codes[*b]));
            places
        };
        Self { codes, below: sorted(&|code| code < 0.0), above: sorted(&|code| code > 0.0) }
    }

    /// U / (positives * negatives), where U counts the pairs of a token with the label and one without of which the
    /// former has the larger code, equal ones half (Mann & Whitney 1947).
    fn auroc(&self, holds: &[bool], positives: u64) -> f64 {
        let negatives = holds.len() as u64 - positives;
        let with = |places: &[usize]| places.iter().filter(|at| holds[**at]).count() as u64;
        let active = with(&self.below) + with(&self.above);
        let silent = (positives - active, (self.codes.len() - self.below.len() - self.above.len()) as u64);
        let groups = self.groups(&self.below, holds).into_iter();
        let groups = groups.chain([(silent.0, silent.1 - silent.0)]).chain(self.groups(&self.above, holds));
        let (mut pairs, mut before) = (0.0, 0_u64);
        for (positives, negatives) in groups {
            pairs += positives as f64 * (before as f64 + 0.5 * negatives as f64);
            before += negatives;
        }
        pairs / (positives as f64 * negatives as f64)
    }

    /// How many have the label and how many do not, among those of each code.
    fn groups(&self, places: &[usize], holds: &[bool]) -> Vec<(u64, u64)> {
        let equal = places.chunk_by(|a, b| self.codes[*a] == self.codes[*b]);
        let counted = equal.map(|group| {
            let positives = group.iter().filter(|at| holds[**at]).count();
            (positives as u64, (group.len() - positives) as u64)
        });
        counted.collect()
    }

    /// Pearson's; 0 where the code never changes.
    fn correlation(&self, holds: &[bool], positives: u64) -> f64 {
        let (n, p) = (holds.len() as f64, positives as f64);
        let (mut sum, mut squares, mut both) = (0.0, 0.0, 0.0);
        for at in self.below.iter().chain(&self.above) {
            let code = f64::from(self.codes[*at]);
            sum += code;
            squares += code * code;
            both += if holds[*at] { code } else { 0.0 };
        }
        let spreads = (p - p * p / n) * (squares - sum * sum / n);
        if spreads > 0.0 { (both - sum * p / n) / spreads.sqrt() } else { 0.0 }
    }
}

/// The standard error of an AUROC (Hanley & McNeil 1982, equation 2).
fn error(auroc: f64, positives: f64, negatives: f64) -> f64 {
    let two_positives = auroc / (2.0 - auroc);
    let two_negatives = 2.0 * auroc * auroc / (1.0 + auroc);
    let square = auroc * auroc;
    let sum =
        auroc - square + (positives - 1.0) * (two_positives - square) + (negatives - 1.0) * (two_negatives - square);
    (sum.max(0.0) / (positives * negatives)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn auroc(codes: &[f32], holds: &[bool]) -> f64 {
        Ordered::new(codes).auroc(holds, holds.iter().filter(|holds| **holds).count() as u64)
    }

    #[test]
    fn the_label_itself_has_1_and_its_opposite_0() {
        let holds: Vec<bool> = (0..50).map(|i| i % 7 == 2).collect();
        let code = |is_opposite: bool| holds.iter().map(move |holds| if *holds != is_opposite { 2.5 } else { 0.0 });
        assert_eq!(auroc(&code(false).collect::<Vec<f32>>(), &holds), 1.0);
        assert_eq!(auroc(&code(true).collect::<Vec<f32>>(), &holds), 0.0);
        assert_eq!(auroc(&[0.0; 50], &holds), 0.5);
        assert_eq!(auroc(&[3.0; 50], &holds), 0.5);
        let codes: Vec<f32> = code(false).collect();
        assert!((Ordered::new(&codes).correlation(&holds, 7) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_code_of_chance_has_half() {
        let codes: Vec<f32> = (0..10_000_u64).map(|i| (i * 2_654_435_761 % 9_973) as f32 - 5_000.0).collect();
        let holds: Vec<bool> = (0..10_000).map(|i| i % 11 == 3).collect();
        let found = auroc(&codes, &holds);
        let margin = 3.0 * error(found, 909.0, 9_091.0);
        assert!((found - 0.5).abs() < margin && margin < 0.04, "{found} {margin}");
    }

    #[test]
    fn the_error_is_that_of_the_paper() {
        // Hanley & McNeil 1982, table II: 51 abnormal and 58 normal images, area 0.893.
        assert!((error(0.893, 51.0, 58.0) - 0.032).abs() < 1e-3);
        assert_eq!(error(1.0, 20.0, 30.0), 0.0);
    }

    #[test]
    fn a_feature_stands_for_the_label_that_it_is_about() {
        // Tokens in brackets, a tenth of them acronyms: a feature of all brackets tells both.
        let label = |label: &str, correlation, auroc, error| Told {
            label: label.into(),
            auroc,
            error,
            correlation,
            positives: 10,
        };
        let told = [label("inside", 0.9, 1.0, 0.0), label("acronym", 0.3, 0.97, 0.01), label("topic", 0.95, 0.81, 0.2)];
        assert_eq!(stands_for(&told).unwrap().label, "inside");
        assert_eq!(stands_for(&told[2..]), None);
        assert_eq!(told[1].interval(), [0.97 - 0.0196, 0.97 + 0.0196]);
    }

    proptest! {
        #[test]
        fn it_counts_the_pairs(pairs in proptest::collection::vec((-2_i8..4, any::<bool>()), 2..40)) {
            let codes: Vec<f32> = pairs.iter().map(|(code, _)| f32::from(*code)).collect();
            let holds: Vec<bool> = pairs.iter().map(|(_, holds)| *holds).collect();
            prop_assume!(holds.contains(&true) && holds.contains(&false));
            let (mut won, mut all) = (0.0, 0.0);
            for (a, _) in codes.iter().zip(&holds).filter(|(_, holds)| **holds) {
                for (b, _) in codes.iter().zip(&holds).filter(|(_, holds)| !**holds) {
                    won += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                    all += 1.0;
                }
            }
            prop_assert!((auroc(&codes, &holds) - won / all).abs() < 1e-12);
        }
    }
}
