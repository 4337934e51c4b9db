//! Sufficiency: how much of a probability some features keep by themselves. `judge` measures necessity, the loss
//! without the features.
//!
//! m is the mean total probability of the tokens, over all positions of a text where they are due. C keeps some
//! features of the dictionaries before the target's and mean-ablates all others there, with the means over the text
//! that the features were selected on; 0 keeps none. Reconstruction errors are kept, and dropped. The share of P is
//! m(C) / m(M), with M the unchanged model, and faithfulness (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024, section
//! 4).

mod runs;
mod table;

use rand::seq::index;

use super::dictionaries::Circuit;
use super::due::Due;
use super::graph::Graph;
use super::judge::by_level;
use super::selection::Selection;
use super::tree::{Stage, check_stream_alone, is_same};
use super::{CONTEXT, check_draws, row_length};
use crate::sae::prelude::*;
use crate::sae::splice::ErrorTreatment;
use runs::KeptRuns;

pub use table::{errors, range};

crate::options! {
    pub struct SufficiencyOptions {
        /// Numbers of features kept.
        sizes: Vec<usize> = Vec::new() => usually("as many as the first tree beside it has, or 40, from a quarter to 16 \
            times that by doubling, and all");
        /// Number of random sets for each.
        draws: usize = 5;
        /// Seed of the draws and the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
        /// Number of tokens of the text.
        tokens: usize = 50_000;
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
    }
}

/// A number with its 95 % interval over rows, where there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanEstimate {
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

/// The results of keeping some features.
#[derive(Debug, Clone, PartialEq)]
pub struct SufficiencyPoint {
    /// The name of the set: how it was selected, or a graph's title.
    pub name: String,
    /// Whether the features are the first of the selection, and not a graph's.
    pub is_first: bool,
    pub features: usize,
    /// Whether reconstruction errors are kept.
    pub rest: ErrorTreatment,
    /// m(C).
    pub p: f64,
    /// m(C) / m(M).
    pub share: MeanEstimate,
    /// (m(C) - m(0)) / (m(M) - m(0)).
    pub faithfulness: MeanEstimate,
    /// m(C) / m(M) of random sets with as many features of each dictionary.
    pub random: Vec<f64>,
}

/// Sufficiency of features: how much of the tokens' probability they keep, over their number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sufficiency {
    /// The score of the selection.
    pub by: String,
    /// The points with errors kept, then with errors dropped: no features, the first of the selection by their number,
    /// graphs.
    pub points: Vec<SufficiencyPoint>,
    /// m(M): the tokens' probability in the unchanged model.
    pub whole: MeanEstimate,
    /// The number of features to select from.
    pub features: usize,
    /// The number of rows in which the tokens are due, and of such positions.
    pub rows: usize,
    pub positions: usize,
    /// The number of tokens of the text.
    pub read: usize,
}

/// Features to keep, level by level.
struct KeptFeatures {
    name: String,
    is_first: bool,
    kept: Vec<Vec<usize>>,
}

/// Computes the curve of a selection over sizes in a text, and the points of circuits of the same dictionaries.
pub fn sufficiency(
    model: &Model,
    selection: &Selection,
    beside: &[Circuit],
    text: &Text,
    options: &SufficiencyOptions,
    task: &Task,
) -> Result<Sufficiency> {
    beside.iter().try_for_each(|circuit| check_beside(selection, circuit)).map_err(|e| e.about("beside"))?;
    let most = selection.ranking.len();
    if let Some(size) = options.sizes.iter().find(|size| **size > most) {
        return Err(err!(Argument, "expected `sizes` of at most {most}, as many as there are features, found {size}")
            .about("sizes"));
    }
    let limited = text.limited(options.tokens.max(1) as u64);
    let context = row_length(model, options.context, CONTEXT);
    let due = Due::of(model, &limited, &selection.tokens, context, task).map_err(|e| e.about("text"))?;
    let graphs: Vec<&Graph> = beside.iter().map(|circuit| &circuit.graph).collect();
    where_due(model, selection, &graphs, &due, options, task)
}

/// Refuses a circuit with other dictionaries than the selection's.
fn check_beside(selection: &Selection, circuit: &Circuit) -> Result<()> {
    for sae in circuit.dictionaries()? {
        let about = &sae.parts().about;
        let same_site = selection.saes.iter().find(|own| own.parts().about.sites == about.sites);
        if !same_site.is_some_and(|own| is_same(own, sae)) {
            let sites = about.site();
            return Err(err!(
                Argument,
                "expected a tree of the selection's dictionaries, found one of another at {sites}"
            ));
        }
    }
    Ok(())
}

/// Computes the curve over the positions where the tokens are due.
fn where_due(
    model: &Model,
    selection: &Selection,
    graphs: &[&Graph],
    due: &Due,
    options: &SufficiencyOptions,
    task: &Task,
) -> Result<Sufficiency> {
    let stages = Stage::in_order(model, &selection.saes)?;
    check_stream_alone(model, &stages, "keeping features of several layers")?;
    let sites: Vec<String> = stages.iter().map(|stage| stage.place.to_string()).collect();
    if sites != selection.sites {
        let found = sites.join(", ");
        let wanted = selection.sites.join(", ");
        return Err(err!(Argument, "expected the dictionaries of the selection, for {wanted}, found some for {found}"));
    }
    let mut sets = Vec::new();
    for graph in graphs {
        let kept = by_level(graph, &stages)?;
        if kept.len() != selection.means.len() {
            let wanted = selection.sites.last().cloned().unwrap_or_default();
            let found = &graph.title;
            return Err(err!(Argument, "expected a graph of what comes before {wanted}, found the {found}"));
        }
        sets.push(KeptFeatures { name: graph.title.clone(), is_first: false, kept });
    }
    let most = selection.ranking.len();
    let asked = match options.sizes.as_slice() {
        [] => sizes(sets.first().map(KeptFeatures::len), most),
        sizes => sizes.iter().copied().filter(|size| *size > 0).collect(),
    };
    let name = format!("first by {}", selection.by);
    let first = |size: usize| KeptFeatures { name: name.clone(), is_first: true, kept: selection.best(size) };
    let sets: Vec<KeptFeatures> = [0].into_iter().chain(asked).map(first).chain(sets).collect();
    check_draws(options.draws, sets.iter().map(|set| set.len() + 3).sum())?;
    let levels = stages.get(..selection.means.len()).unwrap_or(&stages);
    let seed = options.seed.draws();
    let runs = KeptRuns { model, stages: levels, means: &selection.means, due };
    let shown = runs.all(&sets, |set, draw| drawn(set, &selection.means, seed, draw), options.draws, task)?;
    Ok(Sufficiency {
        by: selection.by.clone(),
        points: shown.points(&sets, &due.by_row(), seed),
        whole: shown.whole(&due.by_row(), seed),
        features: most,
        rows: due.rows(),
        positions: due.positions(),
        read: due.read,
    })
}

/// Returns the default sizes: the number of features of a graph, or else 40, from a quarter of that by doubling to
/// sixteen times; and all.
pub fn sizes(graph: Option<usize>, all: usize) -> Vec<usize> {
    let middle = graph.unwrap_or(40).max(1);
    let below = [middle.div_ceil(4), middle.div_ceil(2)];
    let above = (0..=4).map(|doublings| middle << doublings);
    let mut sizes: Vec<usize> = below.into_iter().chain(above).filter(|size| *size < all).chain([all]).collect();
    sizes.dedup();
    sizes
}

/// Draws as many features of each dictionary as a set has, uniformly from those that were active in the text of the
/// means. None where there is no choice.
fn drawn(set: &KeptFeatures, means: &[Vec<f32>], seed: u64, draw: usize) -> Option<Vec<Vec<usize>>> {
    let mut random = stream(seed, "random features to keep", draw as u64);
    let mut is_choice = false;
    let level = |(kept, means): (&Vec<usize>, &Vec<f32>)| {
        let active: Vec<usize> = (0..means.len()).filter(|feature| means[*feature] != 0.0).collect();
        is_choice |= !kept.is_empty() && kept.len() < active.len();
        let chosen = index::sample(&mut random, active.len(), kept.len().min(active.len()));
        chosen.iter().map(|i| active[i]).collect()
    };
    let levels = set.kept.iter().zip(means).map(level).collect();
    is_choice.then_some(levels)
}

impl KeptFeatures {
    fn len(&self) -> usize {
        self.kept.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests;
