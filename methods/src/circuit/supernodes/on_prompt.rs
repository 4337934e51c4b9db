//! A group of features of an attribution graph set to other values on the graph's prompt: the change of the targets,
//! compared with the prediction of the graph, and with random groups of as many active features of the same dictionaries.

use super::{GraphGroup, RandomGroupOptions};
use crate::circuit::attribution_graph::intervene::InterveneOptions;
use crate::circuit::attribution_graph::predict::EffectPrediction;
use crate::circuit::attribution_graph::{AttributionGraph, GraphDictionaries};
use crate::circuit::check_draws;
use crate::circuit::faithfulness::{UnitClasses, mean};
use crate::circuit::graph::Node;
use crate::common::*;

/// The targets' changes when a group is changed, and when random groups are.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupIntervention {
    pub targets: Vec<EffectPrediction>,
    /// The measured changes of the targets, by random groups.
    pub random: Vec<Vec<f64>>,
}

/// Sets a supernode of a graph, or one feature, as the options say, and then random groups.
pub fn intervene(
    model: &Model,
    dictionaries: &GraphDictionaries,
    attributed: &AttributionGraph,
    group: GraphGroup,
    options: &InterveneOptions,
    random: &RandomGroupOptions,
    task: &Task,
) -> Result<GroupIntervention> {
    let features = &attributed.features;
    check_draws(random.draws, features.len())?;
    let chosen = chosen(attributed, group)?;
    let bar = task.begin("changing a group", Some(1 + random.draws as u64));
    let changed = |chosen: &[bool]| -> Result<Vec<EffectPrediction>> {
        let of = features.iter().zip(chosen).filter(|(_, chosen)| **chosen);
        let of = of.map(|(one, _)| Ok(one.set_to(options.new_value(one.activation)?)));
        let changes = of.collect::<Result<Vec<_>>>()?;
        let found = attributed.effects(model, dictionaries, &changes, options.freeze, task)?;
        bar.advance(1);
        Ok(found)
    };
    let targets = changed(&chosen)?;
    let steps: Vec<usize> = features.iter().map(|one| attributed.steps().of(one.layer, one.part)).collect();
    let alike = UnitClasses::new(&steps, &chosen);
    let draws = (0..random.draws as u64).map(|draw| {
        task.check()?;
        let found = changed(&alike.draw(random.seed.draws(), draw))?;
        Ok(found.iter().map(|target| target.measured).collect())
    });
    Ok(GroupIntervention { targets, random: draws.collect::<Result<_>>()? })
}

/// Returns which of the features are members of a group.
fn chosen(attributed: &AttributionGraph, group: GraphGroup) -> Result<Vec<bool>> {
    let GraphGroup { graph, name } = group;
    let mut chosen = vec![false; attributed.features.len()];
    for member in graph.members(name).map_err(|e| e.about("name"))? {
        let wanted = graph.nodes.get(member).map(Node::name).unwrap_or_default();
        let found = (0..chosen.len()).find(|node| attributed.node(*node).name() == wanted);
        let found = found.ok_or_else(|| err!(Argument, "expected features to change, found {wanted}").about("name"))?;
        chosen[found] = true;
    }
    Ok(chosen)
}

impl GroupIntervention {
    /// Returns a table of each target with the mean, the least and the most of random groups.
    pub fn table(&self) -> Table {
        let row = |(number, target): (usize, &EffectPrediction)| -> Vec<Cell> {
            let random: Vec<f64> = self.random.iter().filter_map(|draw| draw.get(number).copied()).collect();
            let least = random.iter().copied().fold(f64::INFINITY, f64::min);
            let most = random.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let EffectPrediction { label, predicted, measured } = target;
            let cells = [*predicted, *measured, mean(&random), least, most].map(Cell::from);
            [Cell::from(label.as_str())].into_iter().chain(cells).collect()
        };
        Table::new(
            "change of logits, less the mean over all tokens",
            ["target", "predicted", "measured", "random", "lowest", "highest"],
            self.targets.iter().enumerate().map(row),
        )
    }
}
