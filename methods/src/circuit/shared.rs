//! Features that two circuits share: how stable circuits are over texts or seeds.

use crate::features::text_codes::TextLimits;
use crate::features::{FeatureList, TextCodes};
use crate::sae::prelude::*;
use crate::tensor::normalise::cosine;

use super::dictionaries::Circuit;
use super::graph::Graph;

pub use crate::sae::metrics::SAME;

crate::options! {
    pub struct SharedOptions {
        /// Number of tokens of the text.
        tokens: usize = 20_000;
    }
}

/// A node of one graph, and the most similar node of the other graph at the same site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub node: usize,
    pub other: usize,
    /// The cosine of the two directions.
    pub cosine: f64,
    /// The correlation of the two activations over all tokens of a text.
    pub correlation: f64,
}

impl Match {
    /// Returns whether the two count as one feature.
    pub fn is_shared(&self) -> bool {
        self.cosine >= SAME && self.correlation >= SAME
    }
}

/// Returns the best match of each node of `a` that has a node of `b` at its site: the one with the largest sum of
/// cosine and correlation.
pub fn matches(
    model: &Model,
    a: &Circuit,
    b: &Circuit,
    text: &Text,
    options: &SharedOptions,
    task: &Task,
) -> Result<Vec<Match>> {
    b.dictionaries().map_err(|e| e.about("other"))?;
    let read = |circuit| read(model, circuit, text, options, task);
    matched(a, &read(a)?, b, &read(b)?)
}

/// Returns the activations of all nodes over a text.
fn read(model: &Model, circuit: &Circuit, text: &Text, options: &SharedOptions, task: &Task) -> Result<Vec<Vec<f32>>> {
    let list = FeatureList::of(&circuit.features()?);
    let limits = TextLimits { tokens: Some(options.tokens), context: None };
    Ok(TextCodes::of(model, &list.saes, &list.features, text, limits, task)?.codes)
}

/// Matches circuits whose activations over one text are known.
fn matched(a: &Circuit, of_a: &[Vec<f32>], b: &Circuit, of_b: &[Vec<f32>]) -> Result<Vec<Match>> {
    let mut found = Vec::new();
    for (node, at) in a.graph.nodes.iter().enumerate() {
        let mut best: Option<Match> = None;
        let alike = b.graph.nodes.iter().enumerate().filter(|(_, like)| like.site == at.site);
        for (other, _) in alike {
            let (Some(x), Some(y)) = (of_a.get(node), of_b.get(other)) else {
                return Err(err!(Bug, "a node that was not read"));
            };
            let here = Match {
                node,
                other,
                cosine: cosine(&direction(a, node)?, &direction(b, other)?, 0)?.to_scalar::<f64>()?,
                correlation: correlation(x, y),
            };
            if best.is_none_or(|best| here.cosine + here.correlation > best.cosine + best.correlation) {
                best = Some(here);
            }
        }
        found.extend(best);
    }
    Ok(found)
}

fn direction(circuit: &Circuit, node: usize) -> Result<Tensor> {
    let at = circuit.graph.nodes.get(node).and_then(|node| Some((circuit.dictionary(node)?, node.feature()?)));
    let (sae, feature) = at.ok_or_else(|| err!(Bug, "a node without its dictionary"))?;
    Ok(sae.directions().get(feature)?.to_dtype(DType::F64)?)
}

/// Computes Pearson's correlation; 0 where one of the two never changes.
pub fn correlation<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    let count = a.len().max(1) as f64;
    let mean = |x: &[T]| x.iter().map(|x| (*x).into()).sum::<f64>() / count;
    let mean_a = mean(a);
    let mean_b = mean(b);
    let mut both = 0.0;
    let mut square_a = 0.0;
    let mut square_b = 0.0;
    for (x, y) in a.iter().zip(b) {
        let x: f64 = (*x).into() - mean_a;
        let y: f64 = (*y).into() - mean_b;
        both += x * y;
        square_a += x * x;
        square_b += y * y;
    }
    let spread = (square_a * square_b).sqrt();
    if spread > 0.0 { both / spread } else { 0.0 }
}

/// Returns a table of the most similar node in the other graph, node by node.
pub fn table(a: &Graph, b: &Graph, found: &[Match]) -> Table {
    let name = |graph: &Graph, node: usize| Cell::from(graph.nodes.get(node).map(|node| node.name()));
    let rows = a.nodes.iter().enumerate().map(|(node, at)| match found.iter().find(|found| found.node == node) {
        Some(found) => vec![
            at.name().into(),
            name(b, found.other),
            found.cosine.into(),
            found.correlation.into(),
            found.is_shared().into(),
        ],
        None => vec![at.name().into(), Cell::Missing, Cell::Missing, Cell::Missing, false.into()],
    });
    Table::new(
        format!("features of {} that are found again", a.title),
        ["feature", "most like", "cosine", "correlation", "shared"],
        rows,
    )
}

/// Counts for every two circuits how many features of the first are found in the second.
pub fn stability(model: &Model, all: &[&Circuit], text: &Text, options: &SharedOptions, task: &Task) -> Result<Table> {
    if all.len() < 2 {
        return Err(err!(Argument, "expected at least two trees to compare, found {}", all.len()).about("trees"));
    }
    all.iter().try_for_each(|circuit| circuit.dictionaries().map(drop)).map_err(|e| e.about("trees"))?;
    let bar = task.begin("reading for circuits", Some(all.len() as u64));
    let mut codes = Vec::new();
    for circuit in all {
        codes.push(read(model, circuit, text, options, task)?);
        bar.advance(1);
    }
    let mut rows = Vec::new();
    for (i, (a, of_a)) in all.iter().zip(&codes).enumerate() {
        for (j, (b, of_b)) in all.iter().zip(&codes).enumerate().filter(|(j, _)| *j != i) {
            task.check()?;
            let shared = matched(a, of_a, b, of_b)?.iter().filter(|found| found.is_shared()).count();
            let nodes = a.graph.nodes.len();
            let share = (nodes > 0).then(|| shared as f64 / nodes as f64);
            rows.push(vec![i.into(), j.into(), nodes.into(), shared.into(), share.into()]);
        }
    }
    Ok(Table::new(
        "features of one circuit that are found again in another",
        ["circuit", "in circuit", "features", "found again", "share"],
        rows,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_are_1_for_the_same_and_0_for_what_never_changes() {
        let a = [0.0, 1.0, 0.0, 3.0];
        let twice = a.map(|x| 2.0 * x + 1.0);
        assert!((correlation(&a, &twice) - 1.0).abs() < 1e-12);
        assert!((correlation(&a, &a.map(|x| -x)) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&a, &[1.0; 4]), 0.0);
        // (0 - 1)(1 - 1/2) + (1 - 1)(0 - 1/2) + (0 - 1)(1 - 1/2) + (3 - 1)(0 - 1/2) over sqrt(6 * 1).
        assert!((correlation(&a, &[1.0, 0.0, 1.0, 0.0]) + 2.0 / 6.0_f64.sqrt()).abs() < 1e-12);
        assert!(Match { node: 0, other: 0, cosine: 0.9, correlation: 0.7 }.is_shared());
        assert!(!Match { node: 0, other: 0, cosine: 0.6, correlation: 1.0 }.is_shared());
    }
}
