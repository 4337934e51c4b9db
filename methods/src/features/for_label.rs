//! Features that stand for a label: those whose activations separate it best, chosen on one half of a text and judged
//! on the other.

use super::feature::{place, tokenizer};
use super::text_codes::{FeatureTextOptions, finite};
use crate::data::harvest;
use crate::data::pack::{self, Row};
use crate::probes::RowGroups;
use crate::probes::measures::{auroc, runs};
use crate::sae::prelude::*;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 12;

/// The seed of the bootstrap.
const SEED: u64 = 0;

crate::options! {
    pub struct ForLabelOptions {
        /// The other value of the label, from which tokens are separated.
        against: Option<String> = None => usually("all other tokens");
        /// Number of features.
        count: usize = 10 => at_least(1.0);
        with text: FeatureTextOptions;
    }
}

/// A feature, and how well its activation separates tokens with the label from the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Separator {
    pub feature: usize,
    /// The AUROC by which the feature was chosen.
    pub chosen_by: f64,
    /// The AUROC on the other half of the text.
    pub auroc: f64,
    /// The 95 % interval, by the bootstrap over rows of the text.
    pub interval: Option<[f64; 2]>,
    /// The shares of tokens with the label, and of the others, at which the feature is active, on the other half.
    pub active: [f64; 2],
}

/// The features that stand for a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Separators {
    /// The tokens that are separated: "number is plural".
    pub label: String,
    /// The tokens that they are separated from: "number is singular".
    pub against: String,
    /// The features, the largest AUROC on the first half first.
    pub found: Vec<Separator>,
    /// The number of features that were active where they were chosen; `mean_auroc` is the mean of their AUROC on the
    /// other half: the control.
    pub tried: usize,
    pub mean_auroc: f64,
    /// The number of tokens with the label, and of others, on the other half.
    pub tokens: [usize; 2],
}

/// Activations of all features at the counted tokens.
struct LabelCodes {
    /// Whether a token has the label; `rows` has its row of the text.
    has_it: Vec<bool>,
    rows: Vec<usize>,
    /// The tokens at which each feature is active, with its activations.
    active: Vec<Vec<(u32, f32)>>,
}

impl Separators {
    /// Finds the features of a dictionary that separate tokens where `label` is `value` from those where it is another
    /// value, or from all others.
    pub fn of(
        model: &Model,
        sae: &Sae,
        text: &Text,
        label: &str,
        value: &str,
        options: &ForLabelOptions,
        task: &Task,
    ) -> Result<Self> {
        let place = place(model, sae)?;
        let width = harvest::width(model.decoder.config(), place)?;
        sae.check_fits(width, &model.name(), &place.to_string())?;
        let text = text.labelled();
        let column = pack::column(&text, label, task).map_err(|e| e.about("label"))?;
        let kinds = pack::kinds(&column).map_err(|e| e.about("label"))?;
        let wanted = kind(&kinds, value, label).map_err(|e| e.about("value"))?;
        let other = options.against.as_ref().map(|name| kind(&kinds, name, label)).transpose();
        let other = other.map_err(|e| e.about("against"))?;
        if other == Some(wanted) {
            return Err(err!(Argument, "expected another value than `{value}` for `against`").about("against"));
        }
        let context = harvest::context(model.decoder.config(), options.text.context)?;
        let count = options.text.tokens.div_ceil(context).max(2);
        let rows = pack::gathered(&text, tokenizer(model)?, context, Some(count), task, Ok)?;
        let mut codes = LabelCodes { has_it: Vec::new(), rows: Vec::new(), active: vec![Vec::new(); sae.d_sae()] };
        let bar = task.begin("reading features", Some(rows.len() as u64));
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1).max(1);
        let mut start = 0;
        for part in rows.chunks((AT_ONCE / longest).max(1)) {
            task.check()?;
            let batch = Batch::new(part.iter().map(|row| row.ids.clone()).collect())?;
            let ask = Ask { places: vec![place], ..Ask::default() };
            let x = model.decoder.cache(&batch, ask, task)?.at(place)?;
            let x = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
            let x = x.reshape((batch.rows().len(), batch.width(), width))?;
            finite(&x, place)?;
            let found = sae.encode_sparse(&x, task)?;
            for (number, row) in part.iter().enumerate() {
                codes.take(row, start + number, &pack::values(row, &column)?, wanted, other, |position| {
                    found.row(number * batch.width() + position)
                });
            }
            start += part.len();
            bar.advance(part.len() as u64);
        }
        let against = other.map(|other| format!("{label} is {}", kinds[other as usize]));
        codes.separators(rows.len() / 2, format!("{label} is {value}"), against, options.count, task)
    }

    pub fn table(&self, title: String) -> Table {
        let columns = ["feature", "AUROC where chosen", "AUROC", "low", "high", "active with it", "active without it"];
        let row = |one: &Separator| {
            let [low, high] = Cell::ends(one.interval);
            let [with, without] = one.active.map(Cell::Float);
            vec![one.feature.into(), one.chosen_by.into(), one.auroc.into(), low, high, with, without]
        };
        Table::new(title, columns, self.found.iter().map(row))
    }
}

/// Returns the number of a value of the label.
fn kind(kinds: &[&str], value: &str, label: &str) -> Result<u32> {
    kinds.iter().position(|kind| *kind == value).map(|at| at as u32).ok_or_else(|| {
        err!(Name, "the label `{label}` has no value `{value}`")
            .maybe_hint(names::suggestion(value, kinds.iter().copied()))
    })
}

impl LabelCodes {
    /// Takes the tokens of a row that have the label, and those that they are separated from.
    fn take<'a>(
        &mut self,
        row: &Row,
        number: usize,
        values: &[u32],
        wanted: u32,
        other: Option<u32>,
        codes: impl Fn(usize) -> (&'a [u32], &'a [f32]),
    ) {
        for (position, value) in values.iter().enumerate().take(row.ids.len()) {
            if *value != wanted && other.is_some_and(|other| *value != other) {
                continue;
            }
            let token = self.has_it.len() as u32;
            self.has_it.push(*value == wanted);
            self.rows.push(number);
            let (features, codes) = codes(position);
            for (feature, code) in features.iter().zip(codes) {
                self.active[*feature as usize].push((token, *code));
            }
        }
    }

    /// Chooses on the rows before the middle and judges on the others.
    fn separators(
        &self,
        middle: usize,
        label: String,
        against: Option<String>,
        count: usize,
        task: &Task,
    ) -> Result<Separators> {
        let against = against.unwrap_or_else(|| "all other tokens".into());
        let cut = self.rows.partition_point(|row| *row < middle);
        let halves = [0..cut, cut..self.rows.len()];
        for (half, what) in halves.iter().zip(["first", "second"]) {
            let has_it = self.has_it[half.clone()].iter().filter(|has_it| **has_it).count();
            if has_it == 0 || has_it == half.len() {
                let missing = if has_it == 0 { &label } else { &against };
                return Err(err!(
                    Argument,
                    "expected tokens of both sorts in the {what} half of the text, found none where {missing}"
                )
                .hint("read more text with `tokens`")
                .about("text"));
            }
        }
        let [chosen_on, judged_on] = halves;
        let on = |feature: usize, half: &std::ops::Range<usize>| {
            let scores = self.scores(feature, half.clone());
            auroc(&runs(&scores), &vec![1.0; scores.len()], |at| self.has_it[half.start + at])
        };
        let is_active =
            |feature: &usize| self.active[*feature].first().is_some_and(|(token, _)| (*token as usize) < cut);
        let tried: Vec<usize> = (0..self.active.len()).filter(is_active).collect();
        let mut ranked = parallel::try_map(tried.len(), &|at| {
            task.check()?;
            Ok((tried[at], on(tried[at], &chosen_on), on(tried[at], &judged_on)))
        })?;
        let mean_auroc = ranked.iter().map(|(.., auroc)| auroc).sum::<f64>() / ranked.len() as f64;
        order::sort_descending(&mut ranked, |(_, chosen, _)| *chosen);
        ranked.truncate(count);
        let groups = RowGroups::of(self.rows[judged_on.clone()].iter());
        let has_it = &self.has_it[judged_on.clone()];
        let share = |scores: &[f64], wanted: bool| {
            let tokens = || scores.iter().zip(has_it).filter(|(_, has_it)| **has_it == wanted);
            tokens().filter(|(score, _)| **score != 0.0).count() as f64 / tokens().count() as f64
        };
        let found = parallel::try_map(ranked.len(), &|at| {
            task.check()?;
            let (feature, chosen_by, found) = ranked[at];
            let scores = self.scores(feature, judged_on.clone());
            let runs = runs(&scores);
            let interval =
                bootstrap(groups.count(), SEED, |drawn| auroc(&runs, &groups.weights(drawn), |at| has_it[at]));
            Ok(Separator {
                feature,
                chosen_by,
                auroc: found,
                interval,
                active: [share(&scores, true), share(&scores, false)],
            })
        })?;
        let with_it = has_it.iter().filter(|has_it| **has_it).count();
        let tokens = [with_it, has_it.len() - with_it];
        Ok(Separators { label, against, found, tried: tried.len(), mean_auroc, tokens })
    }

    /// Returns a feature's activation at each token of a part, 0 where it is inactive.
    fn scores(&self, feature: usize, part: std::ops::Range<usize>) -> Vec<f64> {
        let mut scores = vec![0.0; part.len()];
        let from = self.active[feature].partition_point(|(token, _)| (*token as usize) < part.start);
        for (token, code) in self.active[feature][from..].iter().take_while(|(token, _)| (*token as usize) < part.end) {
            scores[*token as usize - part.start] = f64::from(*code);
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds tokens of ten rows, every third with the label: feature 0 is active there, 1 at all others, 2 everywhere
    /// at random.
    fn codes() -> LabelCodes {
        let tokens = 0..200_u32;
        let has_it: Vec<bool> = tokens.clone().map(|token| token % 3 == 0).collect();
        let where_ = |holds: &dyn Fn(u32) -> bool| tokens.clone().filter(|t| holds(*t)).map(|t| (t, 1.0)).collect();
        let chance = tokens.clone().map(|token| (token, (token * 7919 % 101) as f32 + 1.0)).collect();
        LabelCodes {
            rows: tokens.clone().map(|token| token as usize / 20).collect(),
            active: vec![where_(&|token| token % 3 == 0), where_(&|token| token % 3 != 0), chance, Vec::new()],
            has_it,
        }
    }

    #[test]
    fn the_feature_of_the_label_comes_first_and_its_opposite_last() {
        let label = "number is plural".to_string();
        let found = codes().separators(5, label, None, 10, &Task::default()).unwrap();
        assert_eq!(found.found.iter().map(|one| one.feature).collect::<Vec<_>>(), [0, 2, 1]);
        let first = &found.found[0];
        assert_eq!(
            (first.chosen_by, first.auroc, first.interval, first.active),
            (1.0, 1.0, Some([1.0; 2]), [1.0, 0.0])
        );
        let chance = found.found[1].interval.unwrap();
        assert!(chance[0] < 0.5 && 0.5 < chance[1], "{chance:?}");
        assert_eq!((found.found[2].auroc, found.tried, found.tokens), (0.0, 3, [33, 67]));
        assert!((found.mean_auroc - (1.0 + found.found[1].auroc) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_half_without_the_label_is_refused() {
        let mut codes = codes();
        codes.has_it[100..].fill(false);
        let error = codes.separators(5, "number is plural".into(), None, 3, &Task::default()).unwrap_err();
        assert!(
            error.message.ends_with("in the second half of the text, found none where number is plural"),
            "{error}"
        );
    }
}
