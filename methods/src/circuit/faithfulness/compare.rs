//! Comparison of two circuits: shared nodes and edges by name, and the correlation of their scores.

use crate::circuit::graph::{Graph, Units};
use crate::circuit::shared::correlation;
use crate::common::*;

/// Nodes, or edges, that two circuits have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SharedParts {
    pub both: Vec<String>,
    /// The names that only the first circuit has; `second` has those of the second.
    pub first: Vec<String>,
    pub second: Vec<String>,
    /// Pearson's correlation of the scores of what both circuits have; none for less than two, or where scores are
    /// missing.
    pub correlation: Option<f64>,
}

impl SharedParts {
    fn of(a: &BTreeMap<String, Option<f64>>, b: &BTreeMap<String, Option<f64>>) -> Self {
        let only = |a: &BTreeMap<String, Option<f64>>, b: &BTreeMap<String, Option<f64>>| {
            a.keys().filter(|name| !b.contains_key(*name)).cloned().collect()
        };
        let both: Vec<String> = a.keys().filter(|name| b.contains_key(*name)).cloned().collect();
        let scores = |of: &BTreeMap<String, Option<f64>>| {
            both.iter().map(|name| of.get(name).copied().flatten()).collect::<Option<Vec<f64>>>()
        };
        let correlation = match (scores(a), scores(b)) {
            (Some(a), Some(b)) if a.len() > 1 => Some(correlation(&a, &b)),
            _ => None,
        };
        Self { first: only(a, b), second: only(b, a), both, correlation }
    }

    /// Returns the number of names that both circuits have over that of all; none if neither has any.
    pub fn jaccard(&self) -> Option<f64> {
        let all = self.both.len() + self.first.len() + self.second.len();
        (all > 0).then(|| self.both.len() as f64 / all as f64)
    }

    /// Returns how many are shared and how many are not, and both measures.
    fn cells(&self) -> Vec<Cell> {
        let counts = [&self.both, &self.first, &self.second].map(|names| Cell::from(names.len()));
        counts.into_iter().chain([self.jaccard().into(), self.correlation.into()]).collect()
    }
}

/// A comparison of two circuits.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitComparison {
    pub title: String,
    pub nodes: SharedParts,
    pub edges: SharedParts,
}

/// Compares the nodes and edges of two circuits.
pub fn compare(a: &Graph, b: &Graph) -> CircuitComparison {
    let nodes = |graph: &Graph| graph.nodes.iter().map(|node| (node.name(), node.effect)).collect();
    let edges = |graph: &Graph| graph.edges.iter().map(|edge| (graph.edge_name(edge), Some(edge.effect))).collect();
    CircuitComparison {
        title: format!("{} and {}", a.title, b.title),
        nodes: SharedParts::of(&nodes(a), &nodes(b)),
        edges: SharedParts::of(&edges(a), &edges(b)),
    }
}

impl CircuitComparison {
    pub fn table(&self) -> Table {
        let row = |name: &str, parts: &SharedParts| -> Vec<Cell> { [vec![name.into()], parts.cells()].concat() };
        Table::new(
            &self.title,
            ["of", "both", "only first", "only second", "Jaccard", "correlation"],
            [row("nodes", &self.nodes), row("edges", &self.edges)],
        )
    }
}

/// Compares every two circuits by the units that they share: circuits of other seeds, or of the halves of some pairs.
pub fn stability(all: &[&Graph], task: &Task) -> Result<Table> {
    if all.len() < 2 {
        return Err(err!(Argument, "expected at least two circuits to compare, found {}", all.len()).about("circuits"));
    }
    let mut rows = Vec::new();
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate().skip(i + 1) {
            task.check()?;
            let compared = compare(a, b);
            let parts = if a.units() == Units::Edges { compared.edges } else { compared.nodes };
            rows.push([vec![i.into(), j.into()], parts.cells()].concat());
        }
    }
    Ok(Table::new(
        "what circuits share",
        ["circuit", "and", "both", "only first", "only second", "Jaccard", "correlation"],
        rows,
    ))
}
