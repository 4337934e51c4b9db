//! Labels that a feature stands for: how well its activation separates the tokens with a label from those without.

use super::facts::{Fact, of_labels};
use super::feature::FeatureList;
use super::text_codes::{FeatureTextOptions, TextCodes};
use crate::base::bootstrap::intervals;
use crate::sae::prelude::*;

/// The number of tokens with a label, and without it, below which it is left out.
const FEWEST: u64 = 10;

/// The seed of the bootstrap.
const SEED: u64 = 0;

crate::options! {
    pub struct LabelOptions {
        /// Number of labels listed for each feature.
        count: usize = 5;
        with text: FeatureTextOptions;
    }
}

/// The separation of one label by a feature's activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Separation {
    pub label: String,
    /// The probability that the activation is larger at a token drawn from those that have the label than at one drawn
    /// from the others, ties counted half: 1 where every one is larger, 0.5 for a random feature.
    pub auroc: f64,
    /// The 95 % interval, by the bootstrap over rows of the text, each with all of its tokens: those of one row are not
    /// independent. None for a text of one row, and for a label in too few rows.
    pub interval: Option<[f64; 2]>,
    /// The correlation of the label, as 0 and 1, with the activation. Of two labels that are separated equally well it
    /// is larger for the one that the feature stands for: an AUROC does not fall when tokens besides those of a rare
    /// label are active, too.
    pub correlation: f64,
    /// The number of tokens with the label; `rows` is that of their rows.
    pub positives: u64,
    pub rows: usize,
}

/// Measures how well features separate the labels of a text: for each feature all labels that occur, those with the
/// largest correlation first.
pub fn aurocs(
    model: &Model,
    list: &FeatureList,
    text: &Text,
    options: &FeatureTextOptions,
    task: &Task,
) -> Result<Vec<Vec<Separation>>> {
    let read = TextCodes::of(model, &list.saes, &list.features, text, options.limits(), task)?;
    separations(&read, task).map_err(|e| e.about("text"))
}

/// Measures how well features separate the labels of a text that has been read.
fn separations(read: &TextCodes, task: &Task) -> Result<Vec<Vec<Separation>>> {
    let count = |fact: &[bool]| fact.iter().filter(|holds| **holds).count() as u64;
    let tokens = read.len() as u64;
    let facts = of_labels(read).into_iter().map(|fact| (count(&fact.holds), fact));
    let occurs = |(positives, _): &(u64, _)| *positives >= FEWEST && tokens - *positives >= FEWEST;
    let facts: Vec<Fact> = facts.filter(occurs).map(|(_, fact)| fact).collect();
    if facts.is_empty() {
        return Err(err!(Argument, "expected a label on at least {FEWEST} of the text's {tokens} tokens, found none")
            .hint("read more text"));
    }
    let rows = RowCounts::of(&read.starts, &facts);
    let of_feature = |codes: &Vec<f32>| {
        task.check()?;
        Ok(SortedCodes::new(codes, &rows, &facts).separations())
    };
    parallel::try_map(read.codes.len(), &|at| of_feature(&read.codes[at]))
}

/// Returns a table of the `most` labels with the largest correlation, feature by feature.
pub fn table(names: &[String], found: &[Vec<Separation>], most: usize) -> Table {
    let columns = ["feature", "label", "AUROC", "low", "high", "correlation", "tokens with it", "rows with it"];
    let rows = names.iter().zip(found).flat_map(|(name, found)| {
        found.iter().take(most).map(|one| {
            let [low, high] = Cell::ends(one.interval);
            vec![
                name.as_str().into(),
                one.label.as_str().into(),
                one.auroc.into(),
                low,
                high,
                one.correlation.into(),
                one.positives.into(),
                one.rows.into(),
            ]
        })
    });
    Table::new("labels that features stand for", columns, rows)
}

/// The rows of a text, and how often each of them has each label.
struct RowCounts {
    /// The row of each token.
    of_token: Vec<usize>,
    lengths: Vec<f64>,
    /// The rows that have each label, with the number of their tokens that do.
    labels: Vec<Vec<(usize, f64)>>,
}

impl RowCounts {
    fn of(starts: &[usize], facts: &[Fact]) -> Self {
        let ranges = || starts.array_windows().map(|[from, to]| *from..*to);
        let count = |holds: &[bool]| holds.iter().filter(|holds| **holds).count() as f64;
        let of_fact = |fact: &Fact| {
            let rows = ranges().map(|range| count(fact.holds.get(range).unwrap_or_default())).enumerate();
            rows.filter(|(_, count)| *count > 0.0).collect()
        };
        Self {
            of_token: ranges().enumerate().flat_map(|(row, range)| range.map(move |_| row)).collect(),
            lengths: ranges().map(|range| range.len() as f64).collect(),
            labels: facts.iter().map(of_fact).collect(),
        }
    }

    /// Returns the number of tokens with each label, for given weights of the rows.
    fn positives(&self, weights: &[f64]) -> Vec<f64> {
        let sum = |rows: &Vec<(usize, f64)>| rows.iter().map(|(row, count)| weights[*row] * count).sum();
        self.labels.iter().map(sum).collect()
    }
}

/// The activations of a feature, sorted; zeros are counted and not stored.
struct SortedCodes<'a> {
    rows: &'a RowCounts,
    facts: &'a [Fact],
    /// Tokens with activations below 0, in their order; `above` has those above 0.
    below: Vec<Active>,
    above: Vec<Active>,
}

/// A token at which a feature is active, and the labels that it has.
struct Active {
    code: f32,
    token: usize,
    labels: Vec<usize>,
}

impl<'a> SortedCodes<'a> {
    fn new(codes: &[f32], rows: &'a RowCounts, facts: &'a [Fact]) -> Self {
        let labels = |token: usize| (0..facts.len()).filter(|fact| facts[*fact].holds[token]).collect();
        let sorted = |is_meant: &dyn Fn(f32) -> bool| {
            let all = codes.iter().enumerate().filter(|(_, code)| is_meant(**code));
            let mut places: Vec<Active> =
                all.map(|(token, code)| Active { code: *code, token, labels: labels(token) }).collect();
            order::sort_ascending(&mut places, |place| place.code);
            places
        };
        Self { rows, facts, below: sorted(&|code| code < 0.0), above: sorted(&|code| code > 0.0) }
    }

    /// Measures how well each label is separated, that with the largest correlation first.
    fn separations(&self) -> Vec<Separation> {
        let rows = self.rows.lengths.len();
        let whole = self.aurocs(&vec![1.0; rows]);
        let intervals = intervals(rows, SEED, self.facts.len(), |drawn| {
            let mut weights = vec![0.0; rows];
            drawn.iter().for_each(|row| weights[*row] += 1.0);
            self.aurocs(&weights)
        });
        let separation = |(number, fact): (usize, &Fact)| {
            let with_it = &self.rows.labels[number];
            let positives: f64 = with_it.iter().map(|(_, count)| count).sum();
            Separation {
                label: fact.text.clone(),
                auroc: whole[number],
                interval: intervals[number],
                correlation: self.correlation(&fact.holds, positives),
                positives: positives as u64,
                rows: with_it.len(),
            }
        };
        let mut found: Vec<Separation> = self.facts.iter().enumerate().map(separation).collect();
        order::sort_descending(&mut found, |one| one.correlation);
        found
    }

    /// Returns for each label U / (positives * negatives), where U counts the pairs of a token with the label and one
    /// without of which the former has the larger activation, equal ones half (Mann & Whitney 1947), and rows are
    /// weighted. U is the sum of the ranks of the positives, the middle one where activations are equal, less that of
    /// their pairs with each other: positives^2 / 2. NaN where all tokens have the label, or none. The function is
    /// `probes::measures::auroc` for all labels at once, in time that grows with the active tokens only.
    fn aurocs(&self, weights: &[f64]) -> Vec<f64> {
        let weight = |active: &Active| weights[self.rows.of_token[active.token]];
        let tokens: f64 = self.rows.lengths.iter().zip(weights).map(|(length, weight)| length * weight).sum();
        let positives = self.rows.positives(weights);
        let mut ranks = vec![0.0; positives.len()];
        let mut silent = positives.clone();
        let mut before = 0.0;
        let mut add = |active: &[Active], before: &mut f64| {
            for equal in active.chunk_by(|a, b| a.code == b.code) {
                let count: f64 = equal.iter().map(weight).sum();
                let rank = *before + count / 2.0;
                for one in equal.iter().filter(|one| weight(one) > 0.0) {
                    for label in &one.labels {
                        ranks[*label] += weight(one) * rank;
                        silent[*label] -= weight(one);
                    }
                }
                *before += count;
            }
        };
        add(&self.below, &mut before);
        let zeros = tokens - self.below.iter().chain(&self.above).map(weight).sum::<f64>();
        let middle = before + zeros / 2.0;
        before += zeros;
        add(&self.above, &mut before);
        let of_label = |((rank, silent), positives): ((&f64, &f64), &f64)| {
            let won = rank + silent * middle - positives * positives / 2.0;
            won / (positives * (tokens - positives))
        };
        ranks.iter().zip(&silent).zip(&positives).map(of_label).collect()
    }

    /// Computes Pearson's correlation; 0 where the activation never changes.
    fn correlation(&self, holds: &[bool], positives: f64) -> f64 {
        let n = holds.len() as f64;
        let p = positives;
        let mut sum = 0.0;
        let mut squares = 0.0;
        let mut both = 0.0;
        for active in self.below.iter().chain(&self.above) {
            let code = f64::from(active.code);
            sum += code;
            squares += code * code;
            both += if holds[active.token] { code } else { 0.0 };
        }
        let spreads = (p - p * p / n) * (squares - sum * sum / n);
        if spreads > 0.0 { (both - sum * p / n) / spreads.sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::facts::FactRole;
    use crate::probes::measures;
    use proptest::prelude::*;

    /// Measures how well a feature separates one label, in rows of given length.
    fn separation_of(codes: &[f32], holds: &[bool], row: usize) -> Separation {
        let starts: Vec<usize> = (0..=codes.len() / row).map(|i| i * row).collect();
        let facts = [Fact::new("a label", FactRole::What, holds.to_vec())];
        SortedCodes::new(codes, &RowCounts::of(&starts, &facts), &facts).separations().remove(0)
    }

    fn auroc(codes: &[f32], holds: &[bool]) -> f64 {
        separation_of(codes, holds, codes.len()).auroc
    }

    #[test]
    fn the_label_itself_has_1_and_its_opposite_0() {
        let holds: Vec<bool> = (0..50).map(|i| i % 7 == 2).collect();
        let code = |is_opposite: bool| holds.iter().map(move |holds| if *holds != is_opposite { 2.5 } else { 0.0 });
        let found = separation_of(&code(false).collect::<Vec<f32>>(), &holds, 10);
        assert_eq!((found.auroc, found.interval, found.positives, found.rows), (1.0, Some([1.0, 1.0]), 7, 5));
        assert!((found.correlation - 1.0).abs() < 1e-12);
        assert_eq!(auroc(&code(true).collect::<Vec<f32>>(), &holds), 0.0);
        assert_eq!(auroc(&[0.0; 50], &holds), 0.5);
        assert_eq!(auroc(&[3.0; 50], &holds), 0.5);
        // Of one row nothing can be drawn again, and of a label in one of many rows most draws have none.
        assert_eq!(separation_of(&[3.0; 50], &holds, 50).interval, None);
        let once: Vec<bool> = (0..50).map(|i| i == 3).collect();
        assert_eq!(separation_of(&[3.0; 50], &once, 10).interval, None);
    }

    #[test]
    fn it_is_the_plain_auroc_also_where_codes_are_equal_and_below_0() {
        for seed in 0..20_u64 {
            let code = |i: u64| ((i + seed) * 2_654_435_761 % 7) as f32 - 2.0;
            let codes: Vec<f32> = (0..60).map(code).collect();
            let holds: Vec<bool> = (0..60).map(|i| (i * 7 + seed) % 5 < 2).collect();
            let scores: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
            let plain = measures::auroc(&measures::runs(&scores), &[1.0; 60], |row| holds[row]);
            assert!((auroc(&codes, &holds) - plain).abs() < 1e-12, "seed {seed}");
        }
    }

    #[test]
    fn a_code_of_chance_has_half_and_an_interval_as_wide_as_the_rows_are_alike() {
        let code = |i: u64| (i * 2_654_435_761 % 9_973) as f32 - 5_000.0;
        let single: Vec<f32> = (0..10_000).map(code).collect();
        let holds: Vec<bool> = (0..10_000).map(|i| i % 11 == 3).collect();
        let found = separation_of(&single, &holds, 10);
        let width = |one: &Separation| one.interval.map(|[low, high]| high - low).unwrap();
        assert!(found.interval.is_some_and(|[low, high]| low < 0.5 && 0.5 < high), "{found:?}");
        // For independent tokens it is that of Hanley & McNeil 1982, equation 2: 2 * 1.96 * .0101 at 909 and 9,091.
        assert!((width(&found) - 0.0396).abs() < 0.006, "{found:?}");
        // A hundred rows, the tokens of each alike: as if there were a hundredth of them.
        let alike: Vec<f32> = (0..10_000).map(|i| code(i / 100)).collect();
        let in_rows: Vec<bool> = (0..10_000).map(|i| i / 100 % 11 == 3).collect();
        assert!(width(&separation_of(&alike, &in_rows, 100)) > 5.0 * width(&found));
    }

    #[test]
    fn rows_that_are_drawn_twice_count_twice() {
        let codes = [0.5, 0.0, 2.0, 1.0, 0.0, -1.0];
        let holds = [true, false, false, true, false, true];
        let facts = [Fact::new("a label", FactRole::What, holds.to_vec())];
        let rows = RowCounts::of(&[0, 2, 4, 6], &facts);
        let found = SortedCodes::new(&codes, &rows, &facts).aurocs(&[2.0, 0.0, 1.0]);
        let again: Vec<usize> = vec![0, 1, 0, 1, 4, 5];
        let of = |at: &usize| (codes[*at], holds[*at]);
        let (codes, holds): (Vec<f32>, Vec<bool>) = again.iter().map(of).unzip();
        assert_eq!(found, [auroc(&codes, &holds)]);
    }

    #[test]
    fn a_label_without_an_interval_has_empty_ends_in_the_table() {
        let once =
            Separation { label: "once".into(), auroc: 1.0, interval: None, correlation: 0.99, positives: 10, rows: 5 };
        let row = table(&["f".into()], &[vec![once]], 9).rows.pop().unwrap();
        assert_eq!(row[2..5], [Cell::Float(1.0), Cell::Missing, Cell::Missing]);
    }

    proptest! {
        #[test]
        fn it_counts_the_pairs(pairs in proptest::collection::vec((-2_i8..4, any::<bool>()), 2..40)) {
            let codes: Vec<f32> = pairs.iter().map(|(code, _)| f32::from(*code)).collect();
            let holds: Vec<bool> = pairs.iter().map(|(_, holds)| *holds).collect();
            prop_assume!(holds.contains(&true) && holds.contains(&false));
            let mut won = 0.0;
            let mut all = 0.0;
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
