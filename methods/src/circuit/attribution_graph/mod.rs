//! Attribution graphs (Ameisen et al. 2025; Lindsey et al. 2025): for one prompt, which features of transcoders, which of their
//! errors and which tokens make up the logits, and each other, by exact linear effects.
//!
//! The model runs once. Then its attention patterns, the scales of its norms and what its MLPs write are held, so that what
//! each feature reads is a sum over what earlier features, errors and tokens wrote, and constants. The edge from a source to a
//! target is its term in that sum. As in the code of circuit-tracer, the first position has neither features nor errors:
//! what is written there is constant, and so are all biases.
//!
//! With Lorsas (He et al. 2025) for all layers nothing passes the model's attention: it has heads of Lorsas and errors
//! as nodes, as an MLP has features and errors. A head reads the values that it mixes, by its own pattern, which is
//! held.

mod backward;
pub(in crate::circuit) mod dictionaries;
pub(in crate::circuit) mod frozen;
mod graph;
mod influence;
pub mod intervene;
pub mod loadings;
pub mod lorsa_paths;
pub mod neuronpedia;
pub mod predict;

pub(in crate::circuit) mod layer_writes;
mod mixing;
mod mlps;
mod prompt_run;
mod rank;
mod rows;
pub mod scores;
mod sources;
mod steps;
mod targets;

pub use dictionaries::GraphDictionaries;
pub use graph::{AttributionGraph, PruneOptions};
pub use influence::{InfluenceMatrix, NodeCounts, PrunedGraph};
pub use layer_writes::ActiveFeature;
pub use mlps::MlpPaths;
pub use steps::{GraphSteps, LayerPart};
pub use targets::{GraphTarget, TargetName};

use crate::base::task::{Bar, InterruptibleWork};
use crate::common::*;
use backward::Backward;
use frozen::FrozenModel;
use mixing::Patterns;
use prompt_run::PromptRun;
use sources::{ContributionRow, GraphSources, ReadPosition};

crate::options! {
    /// Targets and size of an attribution graph.
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
        /// Treatment of the model's own MLPs, beside which transcoder adapters write: what they write is held, and an error of
        /// the graph; or edges pass them by relevance propagation, which leaves no errors (Hu et al. 2026).
        mlps: MlpPaths = MlpPaths::Held;
    }
}

/// Computes the attribution graph of a prompt by transcoders, or by transcoders and Lorsas. Ctrl-C ends the search; the
/// graph then has the features found so far.
pub fn attribution_graph(
    model: &Model,
    dictionaries: impl Into<GraphDictionaries>,
    prompt: &[u32],
    options: &AttributionGraphOptions,
    task: &Task,
) -> Result<AttributionGraph> {
    let patterns = Patterns::of(model.decoder.config(), prompt.len());
    graph_by(model, dictionaries.into(), prompt, options, patterns, task)
}

/// Computes an attribution graph with attention patterns that are held, or computed again wherever they are read.
fn graph_by(
    model: &Model,
    given: GraphDictionaries,
    prompt: &[u32],
    options: &AttributionGraphOptions,
    patterns: Patterns,
    task: &Task,
) -> Result<AttributionGraph> {
    let decoder = &model.decoder;
    frozen::check(decoder, &model.name().to_string(), &given.transcoders)?;
    options.mlps.check(decoder, &given.transcoders)?;
    let dictionaries = &given.of_model(model)?;
    let batch = Batch::new(vec![prompt.to_vec()]).map_err(|e| e.about("prompt"))?;
    let held = options.mlps.bytes(decoder.config(), prompt.len());
    memory::check(held, || "the MLPs that edges pass".into()).map_err(|e| e.about("mlps"))?;
    dictionaries.check_run(decoder.config(), patterns, prompt.len()).map_err(|e| e.about("prompt"))?;
    let bar = task.begin("running the model", None);
    let logits = decoder.logits_at(&batch, &[-1], Vec::new(), task)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let (targets, reading) = targets::targets(model, &logits, options, task)?;
    let PromptRun { held, sources } = PromptRun::of(decoder, dictionaries, &batch, patterns, options.mlps, task)?;
    drop(bar);
    memory::check(needed(&sources, targets.len(), options), || "the edges of the attribution graph".into())
        .map_err(|e| e.hint("read fewer tokens, or ask for fewer features with #{ nodes: 1000 }"))?;
    let last = ReadPosition { step: sources.steps.count(), position: prompt.len() - 1 };
    let at: Vec<ReadPosition> = vec![last; targets.len()];
    let mut search = InfluenceSearch {
        dictionaries,
        held: &held,
        sources: &sources,
        task,
        rows: Vec::new(),
        found: BTreeMap::new(),
        kept: None,
    };
    search.of_targets(&at, &reading)?;
    let weights: Vec<f64> = targets.iter().map(|target| target.weight).collect();
    let is_whole = search.of_features(&weights, options)?;
    AttributionGraph::assembled(model, &given.transcoders, prompt, targets, search, is_whole)
}

/// Returns an upper bound on the bytes of a graph's rows, those of the largest cones, and of the matrix that is made of
/// them.
fn needed(sources: &GraphSources, targets: usize, options: &AttributionGraphOptions) -> u128 {
    let all = sources.active;
    let wanted = options.nodes.min(all);
    // Whole rows are those that the last features are ranked by.
    let round = options.ranked.max(1);
    let whole = if wanted == all { all } else { wanted.saturating_sub(1) / round * round };
    let mut lengths = sources.row_lengths();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let of_whole: u128 = lengths.iter().take(whole).map(|length| *length as u128).sum();
    let others = ((sources.steps.count() + 1) * sources.tokens) as u128;
    let of_others = (wanted - whole) as u128 * (wanted as u128 + others);
    let rows = (wanted + targets) as u128;
    4 * (sources.count() as u128 * targets as u128 + of_whole + of_others + rows * (rows + others))
}

/// A search for the most influential features, with the rows computed so far.
struct InfluenceSearch<'a> {
    dictionaries: &'a GraphDictionaries,
    held: &'a FrozenModel,
    sources: &'a GraphSources,
    task: &'a Task,
    /// The rows of the targets, then those of features in the order in which they were chosen.
    rows: Vec<ContributionRow>,
    /// The place of the row of each active feature that has one.
    found: BTreeMap<usize, usize>,
    /// Whether each active feature has a row or will have one, as soon as these are chosen.
    kept: Option<Arc<[bool]>>,
}

impl InfluenceSearch<'_> {
    fn of_targets(&mut self, targets: &[ReadPosition], reading: &Tensor) -> Result<()> {
        let tokens = self.sources.tokens;
        let count = rows::at_once(self.held, tokens);
        for (number, part) in targets.chunks(count).enumerate() {
            let reading = reading.narrow(0, number * count, part.len())?;
            let positions: Vec<usize> = part.iter().map(|target| target.position).collect();
            let gradient = Backward::begin(self.held, self.held.blocks.len(), &reading, &positions)?;
            self.rows.extend(rows::rows(self.held, self.sources, part, gradient, self.task)?);
        }
        Ok(())
    }

    /// Computes the rows of the most influential features; returns false if interrupted.
    fn of_features(&mut self, weights: &[f64], options: &AttributionGraphOptions) -> Result<bool> {
        let all = self.sources.active;
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
            let is_last = self.found.len() + next.len() == wanted && wanted < all;
            let kept = if is_last { self.keep(&next) } else { Ok(()) };
            match kept.and_then(|()| self.of_some(next, &piece, bar.as_ref())) {
                Err(error) if error.kind == Kind::Interrupted => {
                    piece.answer(self.found.len() as u64);
                    return Ok(false);
                }
                other => other?,
            }
        }
        Ok(true)
    }

    /// Drops from all rows the values of features that will have none, once the last ones that will are chosen: nothing is
    /// ranked by them any more, and of a long prompt they are most of a row.
    fn keep(&mut self, last: &[usize]) -> Result<()> {
        let mut kept = vec![false; self.sources.active];
        self.found.keys().chain(last).for_each(|feature| kept[*feature] = true);
        let kept: Arc<[bool]> = kept.into();
        for row in &mut self.rows {
            self.task.check()?;
            *row = self.sources.restricted(row, &kept);
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// Computes the rows of some features, those of one dictionary and of near positions together.
    fn of_some(&mut self, mut features: Vec<usize>, piece: &InterruptibleWork, bar: &dyn Bar) -> Result<()> {
        // Active features are in the order of steps and positions. In reverse order the first has the largest cone.
        features.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = features.as_slice();
        while let Some(first) = left.first().map(|feature| self.sources.feature(*feature)) {
            piece.check(self.found.len() as u64)?;
            let most = rows::at_once(self.held, first.position + 1);
            let one = |feature: &usize| self.sources.feature(*feature);
            let is_alike = |one: ActiveFeature| (one.layer, one.part) == (first.layer, first.part);
            let alike = left.iter().take(most).take_while(|feature| is_alike(one(feature)));
            let (part, rest) = left.split_at(alike.count());
            left = rest;
            let at: Vec<ReadPosition> = part.iter().map(one).map(|one| self.sources.read_position(&one)).collect();
            let rows_of: Vec<u32> = part.iter().map(one).map(|one| one.feature as u32).collect();
            let positions: Vec<usize> = at.iter().map(|place| place.position).collect();
            let gradient = self.gradient(first, &rows_of, &positions)?;
            let found = rows::rows(self.held, self.sources, &at, gradient, self.task)?;
            for (feature, row) in part.iter().zip(found) {
                self.found.insert(*feature, self.rows.len());
                self.rows.push(match &self.kept {
                    Some(kept) => self.sources.restricted(&row, kept),
                    None => row,
                });
            }
            bar.advance(part.len() as u64);
        }
        Ok(())
    }

    /// Begins with what some features of the dictionary of `one` read, each at its position.
    fn gradient(&self, one: ActiveFeature, features: &[u32], positions: &[usize]) -> Result<Backward> {
        if one.part == LayerPart::Attention {
            return Backward::begin_at_heads(self.held.blocks[one.layer].lorsa()?, features, positions);
        }
        let Some(layer) = self.dictionaries.transcoders.layers().get(one.layer) else {
            return Err(err!(Bug, "a feature without its layer"));
        };
        let rows = Tensor::from_slice(features, features.len(), layer.encoder.device())?;
        Backward::begin(self.held, one.layer, &layer.encoder.index_select(&rows, 0)?, positions)
    }
}

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod loading_tests;
#[cfg(test)]
mod lorsa_tests;
#[cfg(test)]
mod mixing_tests;
#[cfg(test)]
mod mlp_tests;
#[cfg(test)]
mod sum_tests;
#[cfg(test)]
mod tests;
