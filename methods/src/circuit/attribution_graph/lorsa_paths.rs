//! Head loadings of a graph with Lorsas: what a node adds to another one over all paths through heads of Lorsas, and how much
//! of it each head carries.
//!
//! Without Lorsas an edge is such a sum over paths through the model's heads; with them each path is a row of edges, from one
//! head to the next. A path passes the heads between its ends, and the one that it ends at, which looks for it, too. Of one layer
//! it passes at most one, so that the loadings of a head at several positions add up.

use super::AttributionGraph;
use super::layer_writes::ActiveFeature;
use super::loadings::{EdgeLoadings, check_model};
use super::steps::LayerPart;
use crate::circuit::graph::{EdgeHeads, HeadLoading};
use crate::common::*;

/// Splits what a node adds to another over all paths through heads that are nodes, by their places in the graph's order.
pub fn path_loadings(model: &Model, graph: &AttributionGraph, from: usize, to: usize) -> Result<EdgeLoadings> {
    check_model(model, graph)?;
    if !graph.has_lorsas {
        return Err(err!(Argument, "expected a graph with Lorsas, found one whose edges pass the model's heads"));
    }
    if graph.matrix.row(to).is_empty() {
        return Err(err!(Argument, "expected paths that end at features or targets, found an end that reads nothing"));
    }
    let heads = graph.features.iter().enumerate().filter(|(_, one)| one.part == LayerPart::Attention);
    let paths = HeadPaths { graph, heads: heads.collect() };
    let (value, parts) = paths.split(from, to);
    Ok(EdgeLoadings { from, to, value, parts })
}

/// The heads of Lorsas that are nodes of a graph, in the order of the computation.
struct HeadPaths<'a> {
    graph: &'a AttributionGraph,
    heads: Vec<(usize, &'a ActiveFeature)>,
}

impl HeadPaths<'_> {
    fn edge(&self, to: usize, from: usize) -> f64 {
        f64::from(self.graph.matrix.edge(to, from))
    }

    /// Sums the paths from every node to a target.
    fn ending(&self, target: usize) -> Vec<f64> {
        let mut sums: Vec<f64> = self.graph.matrix.row(target).iter().map(|edge| f64::from(*edge)).collect();
        // Heads of later layers first, since they read those of earlier ones.
        for (head, one) in self.heads.iter().rev() {
            let share = sums[*head] / one.activation;
            if share != 0.0 {
                let row = self.graph.matrix.row(*head);
                sums.iter_mut().zip(row).for_each(|(sum, edge)| *sum += share * f64::from(*edge));
            }
        }
        sums
    }

    /// Sums the paths from a source to each head, as shares of its code.
    fn beginning(&self, source: usize) -> Vec<f64> {
        let mut shares: Vec<f64> = Vec::with_capacity(self.heads.len());
        for (head, one) in &self.heads {
            let earlier = self.heads.iter().zip(&shares).filter(|(_, share)| **share != 0.0);
            let passed: f64 = earlier.map(|((earlier, _), share)| share * self.edge(*head, *earlier)).sum();
            shares.push((self.edge(*head, source) + passed) / one.activation);
        }
        shares
    }

    /// Splits the paths from a source to a target by heads, and returns their sum.
    fn split(&self, source: usize, target: usize) -> (f64, EdgeHeads) {
        let sums = self.ending(target);
        let value = sums[source];
        let own = self.edge(target, source);
        let end = self.graph.features.get(target).filter(|one| one.part == LayerPart::Attention);
        let mut heads: BTreeMap<(usize, usize), HeadLoading> = BTreeMap::new();
        let mut add = |one: &ActiveFeature, alone: f64, through: f64| {
            if alone == 0.0 && through == 0.0 {
                return;
            }
            let ActiveFeature { layer, feature: head, .. } = *one;
            let none = HeadLoading { layer, head, alone: 0.0, through: 0.0 };
            let loading = heads.entry((layer, head)).or_insert(none);
            loading.alone += alone;
            loading.through += through;
        };
        for ((head, one), share) in self.heads.iter().zip(self.beginning(source)) {
            // A path that ends at a head has that one behind this.
            let alone = match end {
                Some(_) => 0.0,
                None => self.edge(*head, source) / one.activation * self.edge(target, *head),
            };
            add(one, alone, share * sums[*head]);
        }
        if let Some(head) = end {
            add(head, own, value);
        }
        let direct = if end.is_some() { 0.0 } else { own };
        let heads: Vec<HeadLoading> = heads.into_values().collect();
        let alone: f64 = heads.iter().map(|head| head.alone).sum();
        (value, EdgeHeads { direct, several: value - direct - alone, heads, is_of_lorsas: true })
    }
}
