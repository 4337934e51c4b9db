//! Spurious correlation removal (SCR): a probe for one label is fitted where another label is correlated with it, and
//! features of that other one are removed (Marks et al. 2024; SAEBench, Karvonen et al. 2025).
//!
//! SCR = (accuracy without the features - accuracy of that probe) / (accuracy of a probe fitted where both labels are
//! independent - accuracy of that probe), all on tokens where they are independent; 0 where the denominator is under
//! 0.001. Reruns of it differ more than dictionaries do (arXiv 2605.18229).

use super::ablated::{ProbeOnFeatures, factors, largest, probe_on, written};
use super::perturbation::OUT;
use super::questions::{BalancedTokens, ProbeQuestion, QuestionOptions};
use super::reading::{DictionaryCodes, EvaluationReading, EvaluationTokens};
use crate::base::{Cell, Result, Table, Task, parallel};
use crate::tokenizer::labels::ColumnKind;

/// The largest number of pairs of labels, those with the most tokens.
const PAIRS: usize = 6;

/// The least loss by the correlation from which anything can be regained.
const LEAST: f64 = 0.001;

/// A label to predict and another that is correlated with it: samples are of tokens whose first label is one of two
/// kinds (the second is to be predicted), and whose second label is one of two kinds, too.
pub struct Spurious {
    pub name: String,
    /// The question with all four combinations equally often: the label to predict; `other` is that of the other label,
    /// on the same tokens.
    wanted: ProbeQuestion,
    other: ProbeQuestion,
    /// The two combinations in which the labels agree.
    together: BalancedTokens,
}

/// Two kinds of one label and two of another, with the tokens of the four combinations in either half.
struct Cells {
    names: [String; 2],
    tokens: [[Vec<u32>; 4]; 2],
}

impl Cells {
    fn fewest(&self) -> usize {
        self.tokens[0].iter().map(Vec::len).min().unwrap_or(0)
    }
}

/// Returns both directions of the pairs of labels whose four combinations are frequent enough.
pub fn of_pairs(tokens: &EvaluationTokens, options: &QuestionOptions, seed: u64) -> Vec<Spurious> {
    let halves = tokens.halves();
    let columns: Vec<(&str, &Vec<&'static str>, &Vec<u32>)> = tokens
        .text
        .labels
        .iter()
        .filter_map(|(column, values)| match &column.values {
            ColumnKind::Kind(kinds) if kinds.len() >= 2 => Some((column.name, kinds, values)),
            _ => None,
        })
        .collect();
    let mut cells: Vec<Cells> = Vec::new();
    for (at, first) in columns.iter().enumerate() {
        for second in &columns[at + 1..] {
            let mut counts = vec![vec![0_usize; second.1.len() + 1]; first.1.len() + 1];
            halves[0]
                .iter()
                .for_each(|token| counts[first.2[*token as usize] as usize][second.2[*token as usize] as usize] += 1);
            let Some([a, b, c, d]) = commonest(&counts) else { continue };
            let of_cell = |half: &Vec<u32>, x: usize, y: usize| -> Vec<u32> {
                let is_it =
                    |token: &&u32| first.2[**token as usize] as usize == x && second.2[**token as usize] as usize == y;
                half.iter().filter(is_it).copied().collect()
            };
            let of_half =
                |half: &Vec<u32>| [of_cell(half, a, c), of_cell(half, a, d), of_cell(half, b, c), of_cell(half, b, d)];
            let name = |(label, kinds, _): &(&str, &Vec<&'static str>, &Vec<u32>), one: usize, other: usize| {
                format!("{label} {} or {}", kinds[one - 1], kinds[other - 1])
            };
            cells.push(Cells {
                names: [name(first, a, b), name(second, c, d)],
                tokens: [of_half(&halves[0]), of_half(&halves[1])],
            });
        }
    }
    cells.sort_by_key(|cells| std::cmp::Reverse(cells.fewest()));
    let both = cells.into_iter().filter_map(|cells| {
        let turned = |[a, b, c, d]: [Vec<u32>; 4]| [a, c, b, d];
        let [first, second] = cells.names.clone();
        let there = Spurious::drawn([&first, &second], cells.tokens.clone(), options, seed)?;
        let back = Spurious::drawn([&second, &first], cells.tokens.map(turned), options, seed)?;
        Some([there, back])
    });
    both.take(PAIRS).flatten().collect()
}

/// Returns two kinds of either label, of which the rarest combination is as frequent as possible; kinds count from 1.
fn commonest(counts: &[Vec<usize>]) -> Option<[usize; 4]> {
    let mut best = (0, None);
    for a in 1..counts.len() {
        for b in a + 1..counts.len() {
            for c in 1..counts[a].len() {
                for d in c + 1..counts[a].len() {
                    let fewest = counts[a][c].min(counts[a][d]).min(counts[b][c]).min(counts[b][d]);
                    if fewest > best.0 {
                        best = (fewest, Some([a, b, c, d]));
                    }
                }
            }
        }
    }
    best.1
}

impl Spurious {
    /// Draws the samples. The cells are (not wanted, not other), (not wanted, other), (wanted, not other), (wanted,
    /// other).
    fn drawn(
        [wanted, other]: [&str; 2],
        cells: [[Vec<u32>; 4]; 2],
        options: &QuestionOptions,
        seed: u64,
    ) -> Option<Self> {
        let name = format!("{wanted}, with {other}");
        let sizes = [options.train / 2, options.test / 2];
        // A question for either value of the other label, and both as one.
        let of_other = |is_other: usize| {
            let parts = cells.clone().map(|[a, b, c, d]| if is_other == 1 { [d, b] } else { [c, a] });
            ProbeQuestion::drawn(format!("{name} {is_other}"), parts, sizes, seed)
        };
        let mut without = of_other(0)?;
        let mut with = of_other(1)?;
        // As many of each combination.
        for (a, b) in [(&mut without.train, &mut with.train), (&mut without.test, &mut with.test)] {
            let count = a.tokens.len().min(b.tokens.len());
            a.shorten(count);
            b.shorten(count);
        }
        let joined = |a: &BalancedTokens, b: &BalancedTokens| BalancedTokens {
            tokens: [a.tokens.clone(), b.tokens.clone()].concat(),
            has_it: [a.has_it.clone(), b.has_it.clone()].concat(),
        };
        let is_other = |a: &BalancedTokens, b: &BalancedTokens| BalancedTokens {
            has_it: [vec![false; a.tokens.len()], vec![true; b.tokens.len()]].concat(),
            ..joined(a, b)
        };
        let together: (Vec<u32>, Vec<bool>) = {
            let of_a = without.train.side(false);
            let of_b = with.train.side(true);
            of_a.map(|token| (token, false)).chain(of_b.map(|token| (token, true))).unzip()
        };
        Some(Self {
            wanted: ProbeQuestion {
                name: wanted.into(),
                train: joined(&without.train, &with.train),
                test: joined(&without.test, &with.test),
            },
            other: ProbeQuestion {
                name: other.into(),
                train: is_other(&without.train, &with.train),
                test: is_other(&without.test, &with.test),
            },
            together: BalancedTokens { tokens: together.0, has_it: together.1 },
            name,
        })
    }

    /// Returns all tokens that are in a sample.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.wanted.train.tokens.iter().chain(&self.wanted.test.tokens).copied()
    }
}

/// SCR of one label and one that is correlated with it.
#[derive(Debug, Clone)]
pub struct SpuriousRemoval {
    pub name: String,
    /// The accuracy of the probe fitted where the labels agree; `clean` is that of the probe fitted where they are
    /// independent.
    pub biased: f64,
    pub clean: f64,
    /// SCR for each number of removed features; `random` is that of random directions.
    pub own: Vec<f64>,
    pub random: Vec<f64>,
}

pub fn removed(reading: &EvaluationReading, all: &[Spurious], task: &Task) -> Result<Vec<SpuriousRemoval>> {
    let bar = task.begin("spurious correlations", Some(all.len() as u64));
    let of = |pair: &Spurious| {
        task.check()?;
        let test = &pair.wanted.test;
        let (biased, said) = probe_on(&reading.kept, &pair.together, test, task)?;
        let (_, of_clean) = probe_on(&reading.kept, &pair.wanted.train, test, task)?;
        let (other, _) = probe_on(&reading.kept, &pair.other.train, test, task)?;
        let before = test.accuracy(&said);
        let clean = test.accuracy(&of_clean);
        let of_dictionary = |coded: &DictionaryCodes| -> Result<Vec<f64>> {
            let directions = written(coded)?;
            let on_biased = ProbeOnFeatures::of(&directions, &biased)?;
            let on_other = ProbeOnFeatures::of(&directions, &other)?;
            let effects: Vec<f64> =
                on_other.effects(&coded.codes, &pair.other.train).into_iter().map(f64::abs).collect();
            let factors = factors(coded, &reading.kept, &test.tokens)?;
            let of_number = |n: &usize| {
                let out = largest(&effects, *n);
                let said = on_biased.without(&said, &coded.codes, &test.tokens, &factors, &out);
                regained(test.accuracy(&said), before, clean)
            };
            Ok(OUT.iter().map(of_number).collect())
        };
        Ok(SpuriousRemoval {
            name: pair.name.clone(),
            biased: before,
            clean,
            own: of_dictionary(&reading.own)?,
            random: of_dictionary(&reading.random)?,
        })
    };
    let found = parallel::try_map(all.len(), &|at| of(&all[at]))?;
    bar.advance(all.len() as u64);
    Ok(found)
}

/// Returns the share of the loss by the correlation that is regained; 0 where there is no loss.
fn regained(found: f64, before: f64, clean: f64) -> f64 {
    if clean - before < LEAST { 0.0 } else { (found - before) / (clean - before) }
}

/// Returns a table with a row for each pair.
pub fn table(found: &[SpuriousRemoval]) -> Table {
    let named = |whose: &str| OUT.map(|n| format!("{whose}{n} out"));
    let columns = ["label, with another", "biased", "clean"].map(String::from).into_iter();
    let row = |one: &SpuriousRemoval| {
        let first: [Cell; 3] = [one.name.as_str().into(), one.biased.into(), one.clean.into()];
        first.into_iter().chain(one.own.iter().chain(&one.random).map(|value| Cell::Float(*value))).collect()
    };
    Table::new(
        "spurious correlations removed by the number of features taken out",
        columns.chain(named("")).chain(named("random, ")),
        found.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_regained_is_a_share_of_what_was_lost() {
        assert!((regained(0.8, 0.6, 0.9) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((regained(0.6, 0.6, 0.9), regained(0.9, 0.8, 0.8), regained(0.5, 0.9, 0.8)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_two_kinds_whose_combinations_are_most_frequent_are_found() {
        let counts = vec![vec![99; 4], vec![9, 5, 1, 6], vec![9, 2, 8, 7], vec![9, 4, 0, 5]];
        // Kinds 1 and 3 of the first with 1 and 3 of the second: the rarest of their combinations has 4.
        assert_eq!(commonest(&counts), Some([1, 3, 1, 3]));
        assert_eq!(commonest(&[vec![0, 0, 0], vec![0, 3, 3], vec![0, 3, 0]]), None);
    }

    #[test]
    fn samples_have_all_combinations_as_often_and_the_biased_one_two_of_them() {
        let cell = |from: u32| (from..from + 60).collect::<Vec<u32>>();
        let half = |from: u32| [cell(from), cell(from + 100), cell(from + 200), cell(from + 300)];
        let options = QuestionOptions { train: 160, test: 120, ..QuestionOptions::default() };
        let found = Spurious::drawn(["a", "b"], [half(0), half(1000)], &options, 1).unwrap();
        let kind = |token: &u32| token % 1000 / 100;
        for (sample, each) in [(&found.wanted.train, 40), (&found.wanted.test, 30)] {
            for cell in 0..4 {
                assert_eq!(sample.tokens.iter().filter(|token| kind(token) == cell).count(), each);
            }
            assert!(sample.tokens.iter().zip(&sample.has_it).all(|(token, has_it)| (kind(token) >= 2) == *has_it));
        }
        let other = &found.other.train;
        assert!(other.tokens.iter().zip(&other.has_it).all(|(token, has_it)| (kind(token) % 2 == 1) == *has_it));
        let biased = &found.together;
        assert!(
            biased.tokens.iter().zip(&biased.has_it).all(|(token, has_it)| kind(token) == if *has_it { 3 } else { 0 })
        );
        assert_eq!(biased.side(true).count(), 40);
    }
}
