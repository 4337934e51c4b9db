//! Influence: how much of the targets' inputs comes through each node, over all paths (Ameisen et al. 2025, and the code of
//! circuit-tracer). With A the matrix of absolute edges whose rows are divided by their sums, and w the weights of the
//! targets, it is w (A + A^2 + ..).

use crate::base::order;

/// The smallest sum that a row is divided by.
const LEAST: f64 = 1e-10;

/// Edges between all nodes: rows are targets, columns sources. Nodes that have no sources, errors and tokens, have an
/// empty row: with a long prompt they are half of all nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct InfluenceMatrix {
    pub rows: Vec<Vec<f32>>,
}

/// The number of nodes of each kind, in the order of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeCounts {
    pub features: usize,
    pub errors: usize,
    pub tokens: usize,
    pub targets: usize,
}

impl NodeCounts {
    pub fn nodes(self) -> usize {
        self.features + self.errors + self.tokens + self.targets
    }

    pub fn first_token(self) -> usize {
        self.features + self.errors
    }

    pub fn first_target(self) -> usize {
        self.first_token() + self.tokens
    }
}

impl InfluenceMatrix {
    /// Returns the number of nodes.
    pub fn size(&self) -> usize {
        self.rows.len()
    }

    pub fn row(&self, node: usize) -> &[f32] {
        &self.rows[node]
    }

    /// Returns one edge, or 0 where there is none.
    pub fn edge(&self, target: usize, source: usize) -> f32 {
        self.rows[target].get(source).copied().unwrap_or(0.0)
    }

    /// Returns the divisor of each row.
    pub fn sums(&self) -> Vec<f64> {
        self.rows.iter().map(|row| sum(row).max(LEAST)).collect()
    }

    /// Returns the influence of every node. A node with sources comes after all of its sources that have sources, too,
    /// so one pass over the rows from the last node on sums all paths.
    pub fn influence(&self, weights: &[f64]) -> Vec<f64> {
        let mut influence = vec![0.0; self.size()];
        for node in (0..self.size()).rev() {
            let through = influence[node] + weights[node];
            let row = self.row(node);
            if through == 0.0 {
                continue;
            }
            let share = through / sum(row).max(LEAST);
            for (influence, value) in influence.iter_mut().zip(row) {
                *influence += share * f64::from(value.abs());
            }
        }
        influence
    }

    /// Restricts the matrix to some nodes, in their order.
    fn of(&self, nodes: &[usize]) -> Self {
        let row = |node: &usize| match self.row(*node) {
            [] => Vec::new(),
            row => nodes.iter().map(|source| row[*source]).collect(),
        };
        Self { rows: nodes.iter().map(row).collect() }
    }
}

pub fn sum(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(value.abs())).sum()
}

/// Returns the smallest score that is kept so that the kept scores have a share of all: of the scores from the largest
/// on, the first with which the share is reached. Infinity if nothing is kept.
pub fn threshold(scores: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|score| *score > 0.0).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let total: f64 = sorted.iter().sum();
    let mut reached = 0.0;
    for score in &sorted {
        reached += score;
        if reached / total >= share {
            return *score;
        }
    }
    sorted.last().copied().unwrap_or(f64::INFINITY)
}

/// Returns for each node the share in all influence of the nodes from the most influential one to itself: small for
/// important nodes.
pub fn cumulative(influence: &[f64]) -> Vec<f64> {
    let order = order::descending(influence);
    // Summed in the order of the shares, so that none exceeds 1: viewers hide nodes beyond it.
    let total: f64 = order.iter().map(|node| influence[*node]).sum();
    let mut shares = vec![0.0; influence.len()];
    let mut reached = 0.0;
    for node in order {
        reached += influence[node];
        shares[node] = reached / total;
    }
    shares
}

/// The nodes and edges that pruning keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct PrunedGraph {
    /// Whether each node is kept.
    pub nodes: Vec<bool>,
    /// The kept edges as target and source, in the order of the nodes.
    pub edges: Vec<(usize, usize)>,
}

/// Keeps the nodes with a share of the influence, and of the edges between them those with a share of their scores, a
/// score being the edge's share of its target's inputs times the target's influence and weight. Nodes and edges that
/// then lead nowhere, or come from nowhere, are removed, too.
pub fn prune(matrix: &InfluenceMatrix, weights: &[f64], counts: NodeCounts, nodes: f64, edges: f64) -> PrunedGraph {
    let free = counts.first_token();
    let influence = matrix.influence(weights);
    let least = threshold(&influence, nodes);
    let chosen: Vec<usize> = (0..matrix.size()).filter(|node| *node >= free || influence[*node] >= least).collect();
    let smaller = matrix.of(&chosen);
    let weights: Vec<f64> = chosen.iter().map(|node| weights[*node]).collect();
    let influence = smaller.influence(&weights);
    let sums = smaller.sums();
    let scored = || {
        smaller.rows.iter().enumerate().flat_map(|(node, row)| {
            let share = (influence[node] + weights[node]) / sums[node];
            row.iter().enumerate().map(move |(source, value)| (node, source, share * f64::from(value.abs())))
        })
    };
    let least = threshold(&scored().map(|(.., score)| score).collect::<Vec<_>>(), edges);
    let kept = scored().filter(|(.., score)| *score >= least);
    let mut edges: Vec<(usize, usize)> = kept.map(|(node, source, _)| (chosen[node], chosen[source])).collect();
    let mut kept = vec![false; matrix.size()];
    chosen.iter().for_each(|node| kept[*node] = true);
    loop {
        let mut leads = vec![false; matrix.size()];
        let mut comes = vec![false; matrix.size()];
        for (target, source) in &edges {
            leads[*source] = true;
            comes[*target] = true;
        }
        let before = kept.clone();
        for (node, kept) in kept.iter_mut().enumerate().take(free) {
            *kept &= leads[node] && (comes[node] || node >= counts.features);
        }
        if kept == before {
            return PrunedGraph { nodes: kept, edges };
        }
        edges.retain(|(target, source)| kept[*target] && kept[*source]);
    }
}

/// Computes the replacement score, the share of the tokens in the influence of tokens and errors, and the completeness,
/// the share of the nodes' inputs that are no errors, weighted by the nodes' influence. None if there is no influence
/// at all.
pub fn scores(matrix: &InfluenceMatrix, weights: &[f64], counts: NodeCounts) -> (Option<f64>, Option<f64>) {
    let influence = matrix.influence(weights);
    let errors = counts.features..counts.first_token();
    let of_tokens: f64 = influence[counts.first_token()..counts.first_target()].iter().sum();
    let of_errors: f64 = influence[errors.clone()].iter().sum();
    let mut complete = 0.0;
    let mut all = 0.0;
    for (node, divisor) in matrix.sums().into_iter().enumerate() {
        let weight = influence[node] + weights[node];
        let of_errors = matrix.row(node).get(errors.clone()).map_or(0.0, sum);
        complete += weight * (1.0 - of_errors / divisor);
        all += weight;
    }
    let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    (ratio(of_tokens, of_tokens + of_errors), ratio(complete, all))
}
