//! QK attributions of the edges of an attribution graph (Kamath et al. 2025): why the head that carries an edge looks from where
//! the edge ends to where it begins.

use std::collections::btree_map::Entry;

use super::AttributionGraph;
use super::dictionaries::GraphDictionaries;
use super::loadings::EdgeLoadings;
use crate::circuit::graph::{EdgeScore, HeadLoading, ScorePair};
use crate::circuit::qk::{QkDictionaries, QkFeatures, QkOptions, QkScore, qk};
use crate::common::*;

crate::options! {
    /// Options of the scores of edges.
    #[derive(Debug, Clone, Copy)]
    pub struct EdgeScoreOptions {
        /// The number of pairs of parts that are kept for each edge, the largest ones.
        pairs: usize = 5 => at_least(1.0);
    }
}

/// Splits the score with which a head looks along each edge into pairs of parts. The head is the one that carries the most of the
/// edge alone; an edge within one position, and one that no head carries alone, has no score. A softmax sees differences between keys,
/// so pairs with the biases of the key, which are of all keys, are summed, and the largest of the others are kept. With Lorsas it is
/// the head that the edge ends at.
pub fn edge_scores(
    model: &Model,
    dictionaries: impl Into<GraphDictionaries>,
    graph: &AttributionGraph,
    edges: &[EdgeLoadings],
    options: EdgeScoreOptions,
    task: &Task,
) -> Result<Vec<Option<EdgeScore>>> {
    let given: GraphDictionaries = dictionaries.into();
    graph.check_dictionaries(&given)?;
    let GraphDictionaries { transcoders, lorsas } = given.of_model(model)?;
    // Heads of a Lorsa look as their group does.
    let pattern = |one: &HeadLoading| lorsas.get(one.layer).map_or(one.head, |lorsa| one.head / lorsa.group_size());
    let dictionaries = QkDictionaries { features: QkFeatures::Transcoders(transcoders), lorsas: lorsas.clone() };
    // Edges between the same positions often have the same head.
    let mut known: BTreeMap<(usize, usize, usize, usize), EdgeScore> = BTreeMap::new();
    let mut found = Vec::with_capacity(edges.len());
    let bar = task.begin("splitting scores", Some(edges.len() as u64));
    for edge in edges {
        task.check()?;
        let [from, to] = [edge.from, edge.to].map(|node| graph.node(node).position);
        let score = match (edge.parts.carrier(), from, to) {
            (Some(head), Some(from), Some(to)) if from != to => {
                let HeadLoading { layer, head: number, .. } = head;
                let site = if graph.has_lorsas { edge.parts.name(head) } else { format!("scores.{layer}.{number}") };
                let score = match known.entry((*layer, pattern(head), to, from)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let at = QkOptions { from: to as i64, to: Some(from as i64) };
                        let split = qk(model, &graph.tokens, &site, &dictionaries, &at, task)?;
                        place.insert(kept(&split, options))
                    }
                };
                Some(EdgeScore { head: site, ..score.clone() })
            }
            _ => None,
        };
        found.push(score);
        bar.advance(1);
    }
    Ok(found)
}

/// Returns what a circuit keeps of a score.
fn kept(split: &QkScore, options: EdgeScoreOptions) -> EdgeScore {
    let pair = |(query, key, score): (&str, &str, f64)| ScorePair { query: query.into(), key: key.into(), score };
    EdgeScore {
        head: split.site.clone(),
        score: split.score,
        biases: split.of_key_biases(),
        pairs: split.largest_without_key_biases(options.pairs).into_iter().map(pair).collect(),
    }
}
