//! Attribution graphs (Ameisen et al. 2025; Lindsey et al. 2025): for one prompt, which features of transcoders, which of their
//! errors and which tokens make up the logits, and each other, by exact linear effects.
//!
//! The model runs once. Then its attention patterns, the scales of its norms and what its MLPs write are held, so that what
//! each feature reads is a sum over what earlier features, errors and tokens wrote, and constants. The edge from a source to a
//! target is its term in that sum. As in the code of circuit-tracer, the first position has neither features nor errors:
//! what is written there is constant, and so are all biases.

mod backward;
pub(in crate::circuit) mod frozen;
mod graph;
mod influence;
pub mod intervene;
pub mod loadings;
pub mod neuronpedia;
pub mod predict;

pub(in crate::circuit) mod layer_writes;
mod rank;
mod rows;
pub mod scores;
mod sources;
mod targets;

pub use graph::{AttributionGraph, PruneOptions};
pub use influence::{InfluenceMatrix, NodeCounts, PrunedGraph};
pub use layer_writes::ActiveFeature;
pub use targets::{GraphTarget, TargetName};

use std::collections::BTreeMap;

use crate::base::task::{Bar, InterruptibleWork};
use crate::base::{Kind, Result, Task, memory};
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::sae::Transcoders;
use crate::tensor::{DType, Tensor};
use frozen::FrozenModel;
use sources::{ContributionRow, GraphSources, ReadPosition};

crate::options! {
    /// Targets and size of an attribution graph.
    #[derive(Debug, Clone)]
    pub struct AttributionGraphOptions {
        /// The number of features whose inputs are computed: the most influential ones.
        nodes: usize = 7_500;
        /// The number of likeliest tokens that are explained, at most.
        logits: usize = 10 => at_least(1.0);
        /// The total probability that the explained tokens reach, if fewer are enough.
        probability: f64 = 0.95 => at_least(0.0).at_most(1.0);
        /// Targets in place of the likeliest tokens: tokens, pairs of tokens for the difference of their logits, or
        /// directions after the final norm as arrays of floats.
        targets: Vec<TargetName> = Vec::new() => usually("the likeliest tokens");
        /// The number of features after which the rest is ranked anew, where there are more than `nodes`.
        ranked: usize = 2_048 => at_least(1.0);
    }
}

/// Computes the attribution graph of a prompt. Ctrl-C ends the search; the graph then has the features found so far.
pub fn attribution_graph(
    model: &Model,
    transcoders: &Transcoders,
    prompt: &[u32],
    options: &AttributionGraphOptions,
    task: &Task,
) -> Result<AttributionGraph> {
    let decoder = &model.decoder;
    let given = transcoders;
    let transcoders = &given.to_device(decoder.device())?;
    frozen::check(decoder, &model.name().to_string(), transcoders)?;
    let batch = Batch::new(vec![prompt.to_vec()]).map_err(|e| e.about("prompt"))?;
    let config = decoder.config();
    // The patterns of all layers, and of one of them its steps to what is held in its place.
    let patterns = 4 * ((config.layers + 3) * config.heads) as u128 * (prompt.len() as u128).pow(2);
    memory::check(patterns, || format!("the attention patterns of {} tokens", prompt.len()))
        .map_err(|e| e.about("prompt"))?;
    let bar = task.begin("running the model", None);
    let ask = Ask { places: frozen::places(decoder, transcoders), ..Ask::default() };
    let mut cache = decoder.cache(&batch, ask, task)?;
    let logits = decoder.logits_at(&batch, &[-1], Vec::new(), task)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let (targets, reading) = targets::targets(model, &logits, options, task)?;
    let held = FrozenModel::of(decoder, &mut cache, transcoders)?;
    let sources = GraphSources::of(decoder, &cache, transcoders, &held)?;
    drop((cache, bar));
    memory::check(needed(&sources, targets.len(), options.nodes), || "the edges of the attribution graph".into())
        .map_err(|e| e.hint("read fewer tokens, or ask for fewer features with #{ nodes: 1000 }"))?;
    let last = ReadPosition { layer: config.layers, position: prompt.len() - 1 };
    let at: Vec<ReadPosition> = vec![last; targets.len()];
    let mut search =
        InfluenceSearch { transcoders, held: &held, sources: &sources, task, rows: Vec::new(), found: BTreeMap::new() };
    search.of_targets(&at, &reading)?;
    let weights: Vec<f64> = targets.iter().map(|target| target.weight).collect();
    let is_whole = search.of_features(&weights, options)?;
    AttributionGraph::assembled(model, given, prompt, targets, search, is_whole)
}

/// Returns an upper bound on the bytes of a graph's rows, those of the largest cones, and of the matrix that is made of
/// them.
fn needed(sources: &GraphSources, targets: usize, nodes: usize) -> u128 {
    let place = |one: &ActiveFeature| ReadPosition { layer: one.layer, position: one.position };
    let mut lengths: Vec<usize> = sources.active.iter().map(|one| sources.row_length(place(one))).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.truncate(nodes);
    let whole = sources.count() as u128 * targets as u128;
    let rows = lengths.len() + targets;
    let matrix = rows as u128 * (rows + (sources.layers + 1) * sources.tokens) as u128;
    4 * (whole + lengths.iter().map(|length| *length as u128).sum::<u128>() + matrix)
}

/// A search for the most influential features, with the rows computed so far.
struct InfluenceSearch<'a> {
    transcoders: &'a Transcoders,
    held: &'a FrozenModel,
    sources: &'a GraphSources,
    task: &'a Task,
    /// The rows of the targets, then those of features in the order in which they were chosen.
    rows: Vec<ContributionRow>,
    /// The place of the row of each active feature that has one.
    found: BTreeMap<usize, usize>,
}

impl InfluenceSearch<'_> {
    fn of_targets(&mut self, targets: &[ReadPosition], reading: &Tensor) -> Result<()> {
        let tokens = self.sources.tokens;
        let count = rows::at_once(self.held, tokens);
        for (number, part) in targets.chunks(count).enumerate() {
            let reading = reading.narrow(0, number * count, part.len())?;
            self.rows.extend(rows::rows(self.held, self.sources, part, &reading, self.task)?);
        }
        Ok(())
    }

    /// Computes the rows of the most influential features; returns false if interrupted.
    fn of_features(&mut self, weights: &[f64], options: &AttributionGraphOptions) -> Result<bool> {
        let all = self.sources.active.len();
        let wanted = options.nodes.min(all);
        let bar = self.task.begin("attributing features", Some(wanted as u64));
        let piece = self.task.piece();
        while self.found.len() < wanted {
            let next: Vec<usize> = if wanted == all {
                (0..all).collect()
            } else {
                let ranked = rank::by_influence(self.sources, &self.rows, &self.found, weights);
                let left = ranked.into_iter().filter(|feature| !self.found.contains_key(feature));
                left.take(options.ranked.min(wanted - self.found.len())).collect()
            };
            match self.of_some(next, &piece, bar.as_ref()) {
                Err(error) if error.kind == Kind::Interrupted => {
                    piece.answer(self.found.len() as u64);
                    return Ok(false);
                }
                other => other?,
            }
        }
        Ok(true)
    }

    /// Computes the rows of some features, those of one layer and of near positions together.
    fn of_some(&mut self, mut features: Vec<usize>, piece: &InterruptibleWork, bar: &dyn Bar) -> Result<()> {
        // Active features are in the order of layers and positions. In reverse order the first has the largest cone.
        features.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = features.as_slice();
        while let Some(first) = left.first().map(|feature| self.sources.active[*feature]) {
            piece.check(self.found.len() as u64)?;
            let most = rows::at_once(self.held, first.position + 1);
            let alike =
                left.iter().take(most).take_while(|feature| self.sources.active[**feature].layer == first.layer);
            let (part, rest) = left.split_at(alike.count());
            left = rest;
            let one = |feature: &usize| self.sources.active[*feature];
            let at: Vec<ReadPosition> =
                part.iter().map(one).map(|one| ReadPosition { layer: one.layer, position: one.position }).collect();
            let rows_of: Vec<u32> = part.iter().map(one).map(|one| one.feature as u32).collect();
            let Some(layer) = self.transcoders.layers().get(first.layer) else {
                return Err(err!(Bug, "a feature without its layer"));
            };
            let reading =
                layer.encoder.index_select(&Tensor::from_vec(rows_of, part.len(), layer.encoder.device())?, 0)?;
            let found = rows::rows(self.held, self.sources, &at, &reading, self.task)?;
            for (feature, row) in part.iter().zip(found) {
                self.found.insert(*feature, self.rows.len());
                self.rows.push(row);
            }
            bar.advance(part.len() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod loading_tests;
#[cfg(test)]
mod sum_tests;
#[cfg(test)]
mod tests;
