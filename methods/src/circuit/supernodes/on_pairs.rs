//! A group of nodes ablated on pairs of prompts: the change of the metric, compared with the sum of the graph's
//! effects, and with random groups of as many nodes of the same kinds.

use super::{GraphGroup, RandomGroupOptions};
use crate::base::counts::count;
use crate::circuit::ablations::NodeAblations;
use crate::circuit::check_draws;
use crate::circuit::edges::EdgeAblation;
use crate::circuit::faithfulness::{UnitClasses, mean, measured};
use crate::circuit::graph::{Graph, Units};
use crate::circuit::sparse_features::NodeAblation;
use crate::common::*;
use crate::intervene::grid::quantity;
use crate::intervene::metric::Measure;

/// The change of a metric when a group is ablated.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupAblation {
    pub name: String,
    /// The quantity that changes, as on an axis.
    pub quantity: String,
    pub nodes: usize,
    /// The sum of the graph's effects; none where they are of something else.
    pub predicted: Option<f64>,
    /// The mean change over pairs.
    pub measured: f64,
    /// The 95 % interval, by the bootstrap over pairs; none for a single pair.
    pub interval: Option<[f64; 2]>,
    /// The mean change of each random group.
    pub random: Vec<f64>,
    pub pairs: usize,
}

/// Ablates a supernode of a graph, or one node, in the whole model: all that its nodes write is replaced as `ablation`
/// says. The runs are those of this metric and ablation.
pub fn ablate(
    group: GraphGroup,
    runs: &dyn NodeAblations,
    measure: Measure,
    ablation: EdgeAblation,
    options: &RandomGroupOptions,
    task: &Task,
) -> Result<GroupAblation> {
    let GraphGroup { graph, name } = group;
    let members = graph.members(name).map_err(|e| e.about("name"))?;
    let classes = runs.node_classes();
    check_draws(options.draws, classes.len())?;
    let mut chosen = vec![false; classes.len()];
    for member in members.iter().filter_map(|member| graph.nodes.get(*member)) {
        chosen[runs.node(member).map_err(|e| e.about("name"))?] = true;
    }
    let bar = task.begin("ablating a group", Some(2 + options.draws as u64));
    let whole = measured(runs, &vec![true; runs.units()], task)?;
    bar.advance(1);
    let changes = |chosen: &[bool]| -> Result<Vec<f64>> {
        let mut kept = vec![true; runs.units()];
        for node in (0..chosen.len()).filter(|node| chosen[*node]) {
            runs.units_of(node).into_iter().for_each(|unit| kept[unit] = false);
        }
        let found = measured(runs, &kept, task)?;
        bar.advance(1);
        Ok(found.iter().zip(&whole).map(|(found, whole)| found - whole).collect())
    };
    let found = changes(&chosen)?;
    let alike = UnitClasses::new(&classes, &chosen);
    let seed = options.seed.draws();
    let random = (0..options.draws as u64).map(|draw| Ok(mean(&changes(&alike.draw(seed, draw))?)));
    let quantity = quantity("change", measure, false);
    let of = |drawn: &[usize]| drawn.iter().map(|pair| found[*pair]).sum::<f64>() / drawn.len() as f64;
    Ok(GroupAblation {
        name: name.into(),
        nodes: chosen.iter().filter(|chosen| **chosen).count(),
        predicted: predicted(graph, &members, &quantity, ablation),
        quantity,
        measured: mean(&found),
        interval: bootstrap(found.len(), seed, of),
        random: random.collect::<Result<_>>()?,
        pairs: found.len(),
    })
}

/// Returns the prediction of a graph: the sum of the effects of edges that lead out of the group, or of its nodes. None
/// where effects are of another quantity or another ablation.
fn predicted(graph: &Graph, members: &[usize], quantity: &str, ablation: EdgeAblation) -> Option<f64> {
    let words = [ablation.word(), NodeAblation::from(ablation).word()];
    let is_of = |made: &(String, Cell)| {
        made.0 == "ablation" && matches!(&made.1, Cell::Text(word) if words.contains(&word.as_str()))
    };
    if graph.quantity.as_deref() != Some(quantity) || !graph.made.iter().any(is_of) {
        return None;
    }
    match graph.units() {
        Units::Edges => {
            let leaves = graph.edges.iter().filter(|edge| members.contains(&edge.from) && !members.contains(&edge.to));
            Some(leaves.map(|edge| edge.effect).sum())
        }
        Units::Nodes => members.iter().map(|member| graph.nodes.get(*member)?.effect).sum(),
    }
}

impl GroupAblation {
    pub fn table(&self) -> Table {
        let row = |name: String, predicted: Option<f64>, measured: f64, [low, high]: [Option<f64>; 2]| {
            vec![name.into(), self.nodes.into(), predicted.into(), measured.into(), low.into(), high.into()]
        };
        let least = self.random.iter().copied().reduce(f64::min);
        let most = self.random.iter().copied().reduce(f64::max);
        let draws = format!("random groups, {}", count(self.random.len(), "draw"));
        Table::new(
            format!("{} where a group is ablated, {}", self.quantity, count(self.pairs, "pair")),
            ["ablated", "nodes", "predicted", "measured", "low", "high"],
            [
                row(self.name.clone(), self.predicted, self.measured, [0, 1].map(|end| Some(self.interval?[end]))),
                row(draws, None, mean(&self.random), [least, most]),
            ],
        )
    }
}

#[cfg(test)]
mod tests;
