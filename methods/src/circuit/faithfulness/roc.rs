//! ROC curve of a circuit's scores: how well they separate the units of a known circuit from all others.

use crate::circuit::dictionaries::Circuit;
use crate::circuit::edges::Wiring;
use crate::circuit::graph::{Graph, Units};
use crate::common::*;

/// The curve and the areas under it. Units are all those of a model, so the areas are counts and no estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct Roc {
    pub title: String,
    /// The shares of false and of true units that are found, from the largest score on.
    pub points: Vec<[f64; 2]>,
    /// The area by trapezoids: the probability that a true unit has a larger |score| than a false one; of equal ones
    /// one half.
    pub auc: f64,
    /// The area by steps that rise at their end (Conmy et al. 2023).
    pub pessimistic: f64,
    /// The number of true units; the circuit has `found` of them, and `others` that are not true.
    pub truth: usize,
    pub found: usize,
    pub others: usize,
    pub units: usize,
}

/// Counts the units that a circuit of this kind could have: the edges of the model, or the features and errors of the
/// circuit's dictionaries, at all positions together.
pub fn units(model: &Model, circuit: &Circuit) -> Result<usize> {
    if circuit.graph.units() == Units::Edges {
        return Ok(Wiring::new(model.decoder.config())?.edges());
    }
    match circuit.graph.nodes.iter().find(|node| node.position.is_some()) {
        None => Ok(circuit.dictionaries()?.iter().map(|sae| sae.d_sae() + 1).sum()),
        Some(node) => Err(err!(Argument, "expected nodes at all positions together, found {}", node.name())),
    }
}

/// Returns each unit by its name with its score.
fn scores(graph: &Graph) -> Result<BTreeMap<String, f64>> {
    let all: BTreeMap<String, f64> = match graph.units() {
        Units::Edges => graph.edges.iter().map(|edge| (graph.edge_name(edge), edge.effect.abs())).collect(),
        Units::Nodes => {
            let units = graph.nodes.iter().filter(|node| node.is_unit());
            units.map(|node| (node.name(), node.effect.unwrap_or(1.0).abs())).collect()
        }
    };
    match all.iter().find(|(_, score)| score.is_nan()) {
        None => Ok(all),
        Some((name, _)) => Err(err!(Numeric, "expected numbers as scores, found NaN for {name}")),
    }
}

/// Computes the curve of a circuit against a known one, among `units` of the model. Units that the circuit does not
/// have come after all that it has, with equal scores.
pub fn roc(circuit: &Graph, truth: &Graph, units: usize) -> Result<Roc> {
    if circuit.units() != truth.units() && !circuit.edges.is_empty() {
        return Err(err!(
            Argument,
            "expected a known circuit of the same kind, found one of edges and one of features"
        )
        .about("truth"));
    }
    let scores = scores(circuit)?;
    let wanted: BTreeSet<String> = self::scores(truth)?.into_keys().collect();
    let all = scores.keys().filter(|name| !wanted.contains(*name)).count() + wanted.len();
    if all > units {
        return Err(err!(Argument, "expected at most {units} units, as the model has, found {all} in both circuits")
            .about("truth"));
    }
    if wanted.is_empty() || wanted.len() == units {
        let found = wanted.len();
        return Err(err!(Argument, "expected a known circuit with some of {units} units, found {found}").about("truth"));
    }
    // The largest score first; the units without one are the last group.
    let mut ranked: Vec<(f64, bool)> = scores.iter().map(|(name, score)| (*score, wanted.contains(name))).collect();
    order::sort_descending(&mut ranked, |(score, _)| *score);
    let truth_count = wanted.len();
    let others_count = units - wanted.len();
    let found = ranked.iter().filter(|(_, is_true)| *is_true).count();
    // Counted in whole numbers, so that a perfect circuit has exactly 1.
    let mut counts = vec![[0, 0]];
    let [mut wrong, mut right] = [0_usize; 2];
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let here = group.iter().filter(|(_, is_true)| *is_true).count();
        right += here;
        wrong += group.len() - here;
        counts.push([wrong, right]);
    }
    counts.push([others_count, truth_count]);
    counts.dedup();
    let area = |of: &dyn Fn([usize; 2], [usize; 2]) -> usize, all: usize| {
        counts.windows(2).map(|two| of(two[0], two[1])).sum::<usize>() as f64
            / (all * others_count * truth_count) as f64
    };
    Ok(Roc {
        title: format!("{} against {}", circuit.title, truth.title),
        auc: area(&|a, b| (b[0] - a[0]) * (a[1] + b[1]), 2),
        pessimistic: area(&|a, b| (others_count - b[0]) * (b[1] - a[1]), 1),
        points: counts
            .iter()
            .map(|[wrong, right]| [*wrong as f64 / others_count as f64, *right as f64 / truth_count as f64])
            .collect(),
        truth: truth_count,
        found,
        others: ranked.len() - found,
        units,
    })
}

impl Roc {
    pub fn table(&self) -> Table {
        let rows: [(&str, Cell); 6] = [
            ("AUC (random .5)", self.auc.into()),
            ("pessimistic AUC (random 0 to .5)", self.pessimistic.into()),
            ("true units", self.truth.into()),
            ("true units in the circuit", self.found.into()),
            ("other units in the circuit", self.others.into()),
            ("units of the model", self.units.into()),
        ];
        Table::new(&self.title, ["figure", "value"], rows.map(|(name, value)| vec![name.into(), value]))
    }
}
