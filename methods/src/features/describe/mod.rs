//! Short descriptions of features without any language model: the tokens, neighbours, positions and labels that best
//! predict where a feature is active.
//!
//! A description is selected on the first half of a text's rows and scored on the second, by the correlation of its
//! prediction (0 or 1) with the activations, as Bills et al. 2023 score explanations.

mod formula;
mod rule;

use rand::seq::SliceRandom;

use super::facts::{Fact, looks, of_labels, strings};
use super::feature::FeatureList;
use super::text_codes::{FeatureTextOptions, TextCodes};
use crate::sae::prelude::*;
use formula::{CodeColumn, Formula, Mask, best};

pub use rule::{KnownFacts, Rule};

/// The correlation below which a description is "unclear".
pub const CLEAR: f64 = 0.3;

/// The number of tokens tried by name, those with the largest sums of activations.
const NAMED: usize = 8;

/// The length of fragments, and their number of each sort (Bills et al. 2023 and Cunningham et al. 2023).
const FRAGMENT: usize = 64;
const FRAGMENTS: usize = 20;

crate::options! {
    pub struct DescribeOptions {
        /// Seed of the fragments drawn for the scores.
        seed: Seed = Seed::default() => usually(OF_CALL);
        /// Number of first positions of each row where features count as inactive.
        without_first: Option<usize> = None => usually("for the nodes of a tree that of its search, else 0");
        with text: FeatureTextOptions;
    }
}

impl DescribeOptions {
    /// Returns the activations of features that are described. `first` is the number of first positions where they count
    /// as inactive if the options do not say it.
    pub fn read(&self, model: &Model, list: &FeatureList, text: &Text, first: usize, task: &Task) -> Result<TextCodes> {
        let mut read = TextCodes::of(model, &list.saes, &list.features, text, self.text.limits(), task)?;
        read.silence_first(self.without_first.unwrap_or(first));
        Ok(read)
    }
}

/// The description of a feature by facts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureDescription {
    /// The description, or "unclear" where its score is low.
    pub text: String,
    /// The best description, whatever its score; empty where the feature is inactive.
    pub best: String,
    /// The correlation of the description with the activations, over all tokens of the held-out half.
    pub score: f64,
    /// The correlation over the 20 held-out fragments of 64 tokens in which the feature is strongest.
    pub top: Option<f64>,
    /// The correlation over 20 other held-out fragments, drawn at random, in which the feature is active; none where
    /// there are no others.
    pub random: Option<f64>,
    /// The number of descriptions that were tried.
    pub tried: usize,
}

impl FeatureDescription {
    pub fn is_clear(&self) -> bool {
        self.score >= CLEAR
    }
}

/// Facts, with the tokens at which they are true in the half for selection.
type MaskedFacts = Vec<(Fact, Mask)>;

/// Describes features by the tokens at which they are active in a text.
pub fn describe(
    model: &Model,
    list: &FeatureList,
    text: &Text,
    options: &DescribeOptions,
    task: &Task,
) -> Result<Vec<FeatureDescription>> {
    let read = options.read(model, list, text, 0, task)?;
    of_codes(&read, options.seed.draws(), task).map_err(|e| e.about("text"))
}

/// Describes the features that were read. The seed is that of the fragments that are drawn.
pub fn of_codes(read: &TextCodes, seed: u64, task: &Task) -> Result<Vec<FeatureDescription>> {
    let rows = read.starts.len().saturating_sub(1);
    if rows < 2 {
        return Err(err!(
            Argument,
            "expected a text of at least two rows, one to select and one to score, found {rows}"
        )
        .hint("read more text"));
    }
    let middle = read.starts.get(rows / 2).copied().unwrap_or_default();
    let pieces = fragments(read, rows / 2);
    selected(read, middle, task, |number, codes, facts, formula| match formula {
        Some(formula) => judge(formula, facts, codes, middle..codes.len(), &pieces, seed, number),
        None => FeatureDescription { text: "unclear".into(), ..FeatureDescription::default() },
    })
    .map(|found| found.into_iter().map(|(described, tried)| FeatureDescription { tried, ..described }).collect())
}

/// Finds the rule that best predicts where each feature is active among the first `until` tokens, and its words; none
/// for a feature that is inactive there.
pub fn rules(read: &TextCodes, until: usize, task: &Task) -> Result<Vec<Option<Rule>>> {
    let found = selected(read, until, task, |_, _, facts, formula| formula.map(|formula| Rule::of(formula, facts)))?;
    Ok(found.into_iter().map(|(rule, _)| rule).collect())
}

/// Returns what `make` makes of the best formula for each feature among the first `until` tokens, and how many were
/// tried.
fn selected<T: Send>(
    read: &TextCodes,
    until: usize,
    task: &Task,
    make: impl Fn(usize, &[f32], &[&Fact], Option<&Formula>) -> T + Sync,
) -> Result<Vec<(T, usize)>> {
    // The same for every feature.
    let common = masked([of_labels(read), looks(read)].concat(), 0..until);
    parallel::try_map(read.codes.len(), &|number| {
        task.check()?;
        let codes = &read.codes[number];
        let own = masked(strings(read, codes, 0..until, NAMED), 0..until);
        let facts: Vec<&(Fact, Mask)> = common.iter().chain(&own).collect();
        let chosen = codes.get(..until).ok_or_else(|| err!(Bug, "fewer codes than tokens"))?;
        let masks: Vec<&Mask> = facts.iter().map(|(_, mask)| mask).collect();
        let (formula, tried) = best(&CodeColumn::of(chosen), &masks);
        let facts: Vec<&Fact> = facts.iter().map(|(fact, _)| fact).collect();
        Ok((make(number, codes, &facts, formula.as_ref()), tried))
    })
}

fn masked(facts: Vec<Fact>, range: Range<usize>) -> MaskedFacts {
    let mask = |fact: Fact| {
        let mask = Mask::of(&fact, range.clone());
        (fact, mask)
    };
    facts.into_iter().map(mask).collect()
}

/// Cuts the rows from one on into fragments.
fn fragments(read: &TextCodes, from: usize) -> Vec<Range<usize>> {
    let rows = read.starts.array_windows().skip(from);
    rows.flat_map(|[start, end]| (*start..*end).step_by(FRAGMENT).map(|at| at..(at + FRAGMENT).min(*end))).collect()
}

fn judge(
    formula: &Formula,
    facts: &[&Fact],
    codes: &[f32],
    judged: Range<usize>,
    pieces: &[Range<usize>],
    seed: u64,
    number: usize,
) -> FeatureDescription {
    let on = |places: &[usize]| {
        let there: Vec<f32> = places.iter().filter_map(|at| codes.get(*at)).copied().collect();
        let holds = |at: usize| places.get(at).is_some_and(|at| formula.holds(facts, *at));
        (!there.is_empty()).then(|| CodeColumn::of(&there).correlation_with(there.len(), holds))
    };
    let largest =
        |piece: &Range<usize>| codes.get(piece.clone()).unwrap_or_default().iter().copied().fold(0.0, f32::max);
    let mut active: Vec<(f32, &Range<usize>)> =
        pieces.iter().map(|piece| (largest(piece), piece)).filter(|(code, _)| *code > 0.0).collect();
    active.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.start.cmp(&b.1.start)));
    let mut others = active.split_off(active.len().min(FRAGMENTS));
    let (drawn, _) = others.partial_shuffle(&mut stream(seed, "fragments to judge", number as u64), FRAGMENTS);
    let places =
        |pieces: &[(f32, &Range<usize>)]| pieces.iter().flat_map(|(_, piece)| (*piece).clone()).collect::<Vec<_>>();
    let score = on(&judged.collect::<Vec<_>>()).unwrap_or_default();
    let best = formula.text(facts);
    let text = if score < CLEAR { "unclear".into() } else { best.clone() };
    FeatureDescription { text, best, score, top: on(&places(&active)), random: on(&places(drawn)), tried: 0 }
}

/// Returns descriptions as rows of a table, with the names of their features.
pub fn table(names: &[String], described: &[FeatureDescription]) -> Table {
    let columns = ["feature", "description", "score", "top", "random", "tried"];
    let row = |(name, found): (&String, &FeatureDescription)| {
        let text = if found.is_clear() || found.best.is_empty() {
            found.text.clone()
        } else {
            format!("unclear (best: {})", found.best)
        };
        let FeatureDescription { score, top, random, tried, .. } = *found;
        vec![name.as_str().into(), text.into(), score.into(), top.into(), random.into(), tried.into()]
    };
    Table::new(
        "what features stand for; scores are correlations on held-out text",
        columns,
        names.iter().zip(described).map(row),
    )
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::features::text_codes::tests::WORDS;

    /// A function that returns a feature's activation at a position of a row.
    type Code<'a> = &'a dyn Fn(&[u32], usize) -> f32;

    /// Builds 80 rows of words without order, with the activations that functions give each.
    fn read(codes: &[Code]) -> TextCodes {
        let rows: Vec<Vec<u32>> = (0..80)
            .map(|row| stream(1, "words", row).random_iter::<u32>().map(|id| id % 8).take(16).collect())
            .collect();
        let each = |code: &Code| {
            rows.iter().flat_map(|row| (0..row.len()).map(|at| code(row, at)).collect::<Vec<_>>()).collect()
        };
        TextCodes {
            starts: (0..=80).map(|row| 16 * row).collect(),
            ids: rows.concat(),
            texts: (0..8).map(|id| (id, format!(" {}", WORDS[id as usize]))).collect(),
            labels: Vec::new(),
            codes: codes.iter().map(each).collect(),
        }
    }

    fn described(code: &dyn Fn(&[u32], usize) -> f32) -> FeatureDescription {
        of_codes(&read(&[code]), 0, &Task::default()).unwrap().remove(0)
    }

    #[test]
    fn a_feature_of_one_token_is_named_by_it() {
        let found = described(&|ids, at| if ids[at] == 1 { 3.0 } else { 0.0 });
        assert_eq!((found.text.as_str(), found.is_clear()), ("token is \"cat\"", true));
        let scores = [Some(found.score), found.top, found.random];
        assert!(scores.iter().all(|score| score.is_some_and(|score| (score - 1.0).abs() < 1e-9)), "{found:?}");
        assert!(found.tried > 20);
    }

    #[test]
    fn conditions_are_joined_where_both_count() {
        let found = described(&|ids, at| if at > 0 && ids[at - 1] == 2 && ids[at] == 4 { 1.0 } else { 0.0 });
        assert!(found.score > 0.99, "{found:?}");
        assert!(found.text.contains("capital letters") && found.text.contains("after \"(\""), "{found:?}");
    }

    #[test]
    fn what_nothing_tells_is_unclear() {
        let code = |ids: &[u32], at: usize| {
            let mixed = (ids.iter().fold(at as u32, |hash, id| hash.wrapping_mul(31).wrapping_add(*id))) / 7;
            if mixed.is_multiple_of(5) { 1.0 } else { 0.0 }
        };
        let found = described(&code);
        assert!(found.text == "unclear" && !found.best.is_empty() && found.score < 0.3, "{found:?}");
        let silent = described(&|_, _| 0.0);
        assert_eq!((silent.text.as_str(), silent.best.as_str(), silent.score), ("unclear", "", 0.0));
        let none: TextCodes = TextCodes { starts: vec![0, 3], ids: vec![0, 1, 2], ..TextCodes::default() };
        assert!(of_codes(&none, 0, &Task::default()).unwrap_err().message.contains("at least two rows"));
    }

    #[test]
    fn what_chooses_does_not_judge() {
        // Active at one token in the first half of the rows, and at another one in the second.
        let of = read(&[&|_, _| 0.0]);
        let code = |(at, id): (usize, &u32)| if *id == if at < 640 { 1 } else { 7 } { 1.0 } else { 0.0 };
        let codes = vec![of.ids.iter().enumerate().map(code).collect::<Vec<f32>>()];
        let found = of_codes(&TextCodes { codes, ..of }, 0, &Task::default()).unwrap().remove(0);
        assert_eq!((found.text.as_str(), found.best.as_str()), ("unclear", "token is \"cat\""));
        assert!(found.score < 0.0, "{found:?}");
    }

    #[test]
    fn many_are_described_as_each_by_itself() {
        let codes: [Code; 2] = [&|ids, at| ids[at] as f32, &|ids, at| if ids[at] == 5 { 1.0 } else { 0.0 }];
        let both = of_codes(&read(&codes), 3, &Task::default()).unwrap();
        assert_eq!(both[0], of_codes(&read(&codes[..1]), 3, &Task::default()).unwrap()[0]);
        assert_eq!(both[1].text, "a number");
    }
}
