//! Interpretability of the features of several methods (Cunningham et al. 2023, figure 4): explained, judged and
//! averaged, a row for each.

use super::explainer::{self, LENGTH};
use super::explanation::Answerer;
use super::fragments::Fragments;
use super::score::{self, Details, ExplanationScore, ScoreOptions};
use crate::features::feature::FeatureList;
use crate::sae::prelude::*;

/// The seed of the bootstrap.
const SEED: u64 = 0;

/// Returns the mean score of each named group of features, with its 95 % interval by the bootstrap over features.
pub fn interpretability(
    model: &Model,
    groups: &[(String, FeatureList)],
    text: &Text,
    explainer: Answerer,
    judge: Answerer,
    options: &ScoreOptions,
    task: &Task,
) -> Result<Table> {
    let all = together(groups);
    let to_explain = Fragments::of(model, &all, text, &options.fragments, LENGTH, options.seed, task)?;
    let explanations = explainer::of_fragments(&to_explain, explainer, task)?;
    let usual = options.method.length();
    let to_judge = if usual == LENGTH {
        to_explain
    } else {
        Fragments::of(model, &all, text, &options.fragments, usual, options.seed, task)?
    };
    let mut rows = Vec::new();
    let mut first = 0;
    for (name, list) in groups {
        let own = explanations.get(first..first + list.features.len()).unwrap_or_default();
        let scored = score::of_fragments(&to_judge, first, own, judge, options, task)?;
        rows.push(row(name, &scored));
        first += list.features.len();
    }
    let columns = ["of", "score", "low", "high", "by another's", "top", "random", "scored", "features", "failed"];
    Ok(Table::new(
        format!("mean scores of explanations, {}, judged by {}", options.method.word(), judge.name()),
        columns,
        rows,
    ))
}

/// Joins the features of all groups, one after the other, so that the model reads the text once.
fn together(groups: &[(String, FeatureList)]) -> FeatureList {
    let mut all = FeatureList::default();
    for (_, list) in groups {
        let before = all.saes.len();
        all.saes.extend(list.saes.iter().cloned());
        all.features.extend(list.features.iter().map(|(sae, feature)| (before + sae, *feature)));
        all.names.extend(list.names.iter().cloned());
    }
    all
}

fn row(name: &str, scored: &[ExplanationScore]) -> Vec<Cell> {
    let own: Vec<f64> = scored.iter().filter_map(|one| one.score).collect();
    let of = |value: &dyn Fn(&ExplanationScore) -> Option<f64>| mean(scored.iter().filter_map(value));
    let drawn = |drawn: &[usize]| drawn.iter().filter_map(|at| own.get(*at)).sum::<f64>() / drawn.len() as f64;
    let [low, high] = Cell::ends(bootstrap(own.len(), SEED, drawn));
    let top = of(&|one| if let Details::Simulation { top, .. } = one.details { top } else { None });
    let random = of(&|one| if let Details::Simulation { random, .. } = one.details { random } else { None });
    let failed: usize = scored.iter().map(|one| one.failed).sum();
    let score = mean(own.iter().copied());
    let by_other = of(&|one| one.by_other);
    vec![name.into(), score, low, high, by_other, top, random, own.len().into(), scored.len().into(), failed.into()]
}

fn mean(of: impl Iterator<Item = f64>) -> Cell {
    let all: Vec<f64> = of.collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64).into()
}
