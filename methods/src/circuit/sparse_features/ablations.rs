//! The ablations of feature circuits: units are the features and errors of some dictionaries.

use super::ablate::{AblationRuns, CorruptValues, UnitSlopes};
use super::ablated_values::AblatedValues;
use super::cases::Cases;
use super::effects::SearchInputs;
use super::find::{SHARE, nodes, others, rows};
use super::placed::PlacedDictionary;
use super::units::{Unit, Units};
use super::{EffectMethod, NodeAblation, NodePositions, SparseFeatureOptions};
use crate::circuit::ablations::NodeAblations;
use crate::circuit::due::Due;
use crate::circuit::graph::{Graph, Node, Part};
use crate::circuit::{Ablations, Circuit};
use crate::intervene::metric::Measure;
use crate::sae::prelude::*;

/// Runs of pairs of prompts with features and errors of dictionaries ablated.
pub struct FeatureAblations<'a> {
    model: &'a Model,
    placed: Vec<PlacedDictionary>,
    cases: Cases<'a>,
    others: AblatedValues,
    held: CorruptValues,
    units: Units,
    /// The mean activation of each unit.
    activity: Vec<f64>,
}

impl<'a> FeatureAblations<'a> {
    /// Prepares the ablations of pairs. Means are over all prompts of the pairs, at each position where units are of
    /// one.
    pub fn of_pairs(
        model: &'a Model,
        saes: &[Sae],
        pairs: &'a [TokenPair],
        measure: Measure<'a>,
        ablation: NodeAblation,
        positions: NodePositions,
        task: &Task,
    ) -> Result<Self> {
        let placed = PlacedDictionary::all(model, saes)?;
        let cases = Cases::of_pairs(model, pairs, measure, false, SHARE, task)?;
        let positions = match positions {
            NodePositions::Summed => None,
            NodePositions::Each => Some(cases.length()?),
        };
        let texts = cases.prompts();
        Self::new(model, placed, cases, ablation, positions, &texts, task)
    }

    /// Prepares the ablations of the probability of some tokens where they are due in a text, over which means are
    /// taken.
    pub fn of_text(
        model: &'a Model,
        saes: &[Sae],
        text: &Text,
        tokens: &[u32],
        context: usize,
        ablation: NodeAblation,
        task: &Task,
    ) -> Result<Self> {
        let placed = PlacedDictionary::all(model, saes)?;
        let due = Due::of(model, text, tokens, context, task).map_err(|e| e.about("text"))?;
        let rows = rows(model, text, context, task)?;
        let cases = Cases::of_due(model, &due)?;
        Self::new(model, placed, cases, ablation, None, &rows, task)
    }

    fn new(
        model: &'a Model,
        placed: Vec<PlacedDictionary>,
        cases: Cases<'a>,
        ablation: NodeAblation,
        positions: Option<usize>,
        texts: &[Vec<u32>],
        task: &Task,
    ) -> Result<Self> {
        let units = Units::new(&placed, positions);
        let others = others(model, &placed, &cases, ablation, texts, positions, task)?;
        let options = SparseFeatureOptions { method: EffectMethod::Exact, edges: false, ..Default::default() };
        let search =
            SearchInputs { model, placed: &placed, cases: &cases, others: &others, units: &units, options: &options };
        let activity = search.activity(task)?;
        let held = CorruptValues::new(model, &placed, &cases, &others, CorruptValues::MOST, task)?;
        Ok(Self { model, placed, cases, others, held, units, activity })
    }

    /// Estimates the change of the metric's mean by ablating each unit, to first order.
    pub fn effects(&self, options: &SparseFeatureOptions, task: &Task) -> Result<Vec<f64>> {
        let Self { placed, cases, others, units, .. } = self;
        let model = &options.ruled(self.model)?;
        Ok(SearchInputs { model, placed, cases, others, units, options }.effects(task)?.effects)
    }

    /// Computes the metric with a share of each unit kept, and its derivatives by these shares, as means over cases or
    /// positions.
    pub fn slopes(&self, shares: &[f32], task: &Task) -> Result<UnitSlopes> {
        let mut found = self.ablating().slopes(shares, task)?;
        let weight: f64 = self.weights().iter().sum();
        found.sum /= weight;
        found.signed.iter_mut().chain(&mut found.sizes).for_each(|slope| *slope /= weight);
        Ok(found)
    }

    /// Returns the sum over positions of the metric in each case with units ablated; of pairs the metric.
    pub fn sums(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        self.ablating().values(kept, task)
    }

    /// Returns the number of positions that the metric of each case is summed over.
    pub fn weights(&self) -> Vec<f64> {
        self.cases.weights()
    }

    /// Returns the circuit of kept units, with their effects.
    pub fn circuit(&self, effects: &[f64], kept: &[bool]) -> Circuit {
        let graph = nodes(self.model, &self.placed, &self.units, effects, kept);
        let saes = self.placed.iter().map(|placed| placed.sae.clone()).collect();
        Circuit { saes, ..Circuit::without_dictionaries(graph) }
    }

    fn ablating(&self) -> AblationRuns<'_> {
        let Self { model, placed, cases, others, held, units, .. } = self;
        AblationRuns { model, placed, cases, others, held, units }
    }

    /// Returns whether the nodes of a graph are of one position each, which its ablations need to know.
    pub fn positions(graph: &Graph) -> NodePositions {
        if graph.nodes.iter().any(|node| node.position.is_some()) { NodePositions::Each } else { NodePositions::Summed }
    }
}

impl Ablations for FeatureAblations<'_> {
    fn units(&self) -> usize {
        self.units.count()
    }

    fn kept(&self, graph: &Graph) -> Result<Vec<bool>> {
        let mut kept = vec![false; self.units.count()];
        // What is explained, and what is read, are no units; nor is the target of a tree, where the dictionaries end before it.
        let has = |node: &Node| self.placed.iter().any(|placed| placed.name() == node.site);
        let is_beyond = |node: &Node| node.level + 1 == graph.sites.len() && !has(node);
        let is_unit = |node: &&Node| !matches!(node.part, Part::Whole | Part::Token(_)) && !is_beyond(node);
        for node in graph.nodes.iter().filter(is_unit) {
            kept[self.node(node)?] = true;
        }
        Ok(kept)
    }

    /// Returns the class of each unit: the errors of each dictionary, and its features by the power of two of their
    /// mean activation.
    fn alike(&self) -> Vec<usize> {
        /// The number of classes of a dictionary; activations below a millionth count as none.
        const BINS: i32 = 64;
        let class = |(number, activity): (usize, &f64)| {
            let unit = self.units.unit(number);
            let bin = match (unit.feature, *activity) {
                (None, _) => 0,
                (_, activity) if activity.abs() < 1e-6 => 1,
                (_, activity) => 22 + (activity.abs().log2().floor() as i32).clamp(-20, 40),
            };
            (unit.level as i32 * BINS + bin) as usize
        };
        self.activity.iter().enumerate().map(class).collect()
    }

    fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        let found = self.ablating().values(kept, task)?.into_iter().zip(self.weights()).enumerate();
        Ok(found.map(|(number, (value, weight))| self.cases.reported(number, value / weight)).collect())
    }
}

impl NodeAblations for FeatureAblations<'_> {
    /// Returns the classes of units, each of which is a node.
    fn node_classes(&self) -> Vec<usize> {
        self.alike()
    }

    fn node(&self, node: &Node) -> Result<usize> {
        let feature = match node.part {
            Part::Feature(feature) => Some(feature),
            Part::Error => None,
            Part::Whole | Part::Token(_) | Part::Head(_) | Part::Channel(_) => {
                return Err(err!(Argument, "expected features and errors, found {}", node.name())
                    .hint("a graph of heads and MLPs is judged without dictionaries"));
            }
        };
        let level = self.placed.iter().position(|placed| placed.name() == node.site);
        let unit = level.map(|level| Unit { level, position: node.position, feature });
        unit.and_then(|unit| self.units.number(unit)).ok_or_else(|| {
            let sites: Vec<String> = self.placed.iter().map(PlacedDictionary::name).collect();
            let of = if self.units.positions().is_some() { "by position " } else { "" };
            let name = node.name();
            let sites = sites.join(", ");
            err!(Argument, "expected nodes {of}of the dictionaries of {sites}, found {name}")
                .hint("judge a graph with the dictionaries that it was found with")
        })
    }

    fn units_of(&self, node: usize) -> Vec<usize> {
        vec![node]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::samples::{dictionary, model};
    use crate::fixtures::config;
    use crate::intervene::fixtures::pair;
    use crate::sae::Activation;

    #[test]
    fn corrupt_runs_that_are_held_give_the_bits_of_those_that_are_made_again() {
        let model = model(config());
        let task = Task::default();
        let d = model.decoder.config().d_model;
        let saes = ["resid_post.0", "mlp_out.1"].map(|site| dictionary(d, 10, Activation::TopK(4), site));
        let pair = |clean: &[u32], corrupt: &[u32]| pair(clean, corrupt, [2, 5]);
        let pairs = [pair(&[1, 2, 3, 0], &[1, 4, 3, 0]), pair(&[2, 0, 1], &[2, 3, 1]), pair(&[7, 7], &[7, 1])];
        let patch = NodeAblation::Patch;
        let summed = NodePositions::Summed;
        for measure in [Measure::LogitDiff, Measure::Kl(Prompt::Clean)] {
            let mut runs = FeatureAblations::of_pairs(&model, &saes, &pairs, measure, patch, summed, &task).unwrap();
            let kept: Vec<bool> = (0..runs.units()).map(|unit| unit % 3 != 1).collect();
            let held = runs.values(&kept, &task).unwrap();
            assert!(held.iter().any(|value| value.abs() > 1e-3));
            // Nothing is held, or one pass.
            for most in [0, 4 * 2 * (10 + d) * 4] {
                runs.held = CorruptValues::new(&model, &runs.placed, &runs.cases, &runs.others, most, &task).unwrap();
                assert_eq!(runs.values(&kept, &task).unwrap(), held);
            }
        }
    }
}
