//! Measures of how well a circuit explains a task, shared by circuits of edges and of features through the trait
//! [`Ablations`].
//!
//! With m the mean of a metric over pairs, C the circuit, and everything else ablated (Marks et al. 2024, section 3.2; Hanna
//! et al. 2024):
//!
//!     faithfulness f = (m(C) - m(nothing)) / (m(everything) - m(nothing))
//!     completeness   = f of everything but C: what the circuit leaves to the rest of the model
//!     minimality     = the least |f(C) - f(C without u)| over the units u of C
//!
//! Random circuits of the same size, with as many units of each class, are always evaluated, too. Where m(everything) =
//! m(nothing) there is no share of the difference, and a note says so.

mod compare;
mod curve;
mod random;
mod roc;
mod share;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use compare::{CircuitComparison, SharedParts, compare, stability};
pub use curve::{Areas, Curve, CurveOptions, CurvePoint, UnitChoice, curve};
pub use random::UnitClasses;
pub use roc::{Roc, roc, units};
pub use share::{EndMetrics, Share, mean, measured};

use super::ablations::Ablations;
use super::graph::{Graph, Units};
use crate::base::counts::count;
use crate::common::*;

crate::options! {
    pub struct PairJudgeOptions {
        /// Number of random circuits of the same size.
        draws: usize = 5 => at_least(1.0);
        /// Maximum number of the circuit's units that are left out one at a time: those with the smallest scores.
        each: usize = 100;
        /// Seed of the draws and of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// The metric with some units kept, and its share of the difference between everything and nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptMetric {
    pub units: usize,
    /// The mean over pairs.
    pub metric: f64,
    pub share: Share,
}

/// A unit of a circuit, and the fall of faithfulness without it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub unit: String,
    pub change: f64,
}

/// The judgement of one circuit.
#[derive(Debug, Clone, PartialEq)]
pub struct PairJudgement {
    pub title: String,
    pub pairs: usize,
    /// The number of units in the model.
    pub units: usize,
    pub everything: f64,
    pub nothing: f64,
    pub circuit: KeptMetric,
    pub complement: KeptMetric,
    /// Random circuits, and everything but each of them.
    pub random: Vec<[KeptMetric; 2]>,
    /// The changes without single units, the least first; empty where there is no faithfulness.
    pub left_out: Vec<LeftOut>,
}

/// Judges how well a circuit explains what the runs measure.
pub fn judge(graph: &Graph, runs: &dyn Ablations, options: &PairJudgeOptions, task: &Task) -> Result<PairJudgement> {
    super::check_draws(options.draws, runs.units())?;
    let kept = runs.kept(graph)?;
    let singles = singles(graph, options.each);
    let seed = options.seed.draws();
    let bar = task.begin("judging a circuit", Some(4 + 2 * options.draws as u64 + singles.len() as u64));
    let ends = EndMetrics::of(runs, task)?;
    bar.advance(2);
    let run = |kept: &[bool]| -> Result<KeptMetric> {
        let values = share::measured(runs, kept, task)?;
        bar.advance(1);
        let metric = share::mean(&values);
        Ok(KeptMetric { units: kept.iter().filter(|kept| **kept).count(), metric, share: ends.share(&values, seed) })
    };
    let others = |kept: &[bool]| kept.iter().map(|kept| !kept).collect::<Vec<bool>>();
    let circuit = run(&kept)?;
    let complement = run(&others(&kept))?;
    let alike = UnitClasses::new(&runs.alike(), &kept);
    let mut random = Vec::new();
    for draw in 0..options.draws {
        let drawn = alike.draw(seed, draw as u64);
        random.push([run(&drawn)?, run(&others(&drawn))?]);
    }
    let mut left_out = Vec::new();
    if let Some(whole) = circuit.share.value {
        for (unit, place) in singles {
            let share = run(&runs.kept(&without(graph, place))?)?.share.value;
            left_out.extend(share.map(|share| LeftOut { unit, change: whole - share }));
        }
    }
    order::sort_ascending(&mut left_out, |one| one.change.abs());
    Ok(PairJudgement {
        title: format!("{}, judged on {} pairs", graph.title, ends.pairs()),
        pairs: ends.pairs(),
        units: kept.len(),
        everything: ends.everything(),
        nothing: ends.nothing(),
        circuit,
        complement,
        random,
        left_out,
    })
}

/// Returns the units with the smallest scores, each by its name and its place among the graph's edges or nodes.
fn singles(graph: &Graph, most: usize) -> Vec<(String, usize)> {
    let mut all: Vec<(String, f64, usize)> = match graph.units() {
        Units::Edges => {
            graph.edges.iter().enumerate().map(|(i, edge)| (graph.edge_name(edge), edge.effect.abs(), i)).collect()
        }
        Units::Nodes => {
            let nodes = graph.nodes.iter().enumerate();
            let units = nodes.filter(|(_, node)| node.is_unit());
            units.map(|(i, node)| (node.name(), node.effect.unwrap_or(0.0).abs(), i)).collect()
        }
    };
    order::sort_ascending(&mut all, |(_, effect, _)| *effect);
    all.truncate(most);
    all.into_iter().map(|(name, _, place)| (name, place)).collect()
}

/// Returns the graph without one of its units; a graph of nodes keeps its other nodes alone.
fn without(graph: &Graph, unit: usize) -> Graph {
    let mut rest = graph.clone();
    rest.supernodes.clear();
    match graph.units() {
        Units::Edges => drop(rest.edges.remove(unit)),
        Units::Nodes => {
            rest.edges.clear();
            rest.nodes.remove(unit);
        }
    }
    rest
}

impl PairJudgement {
    /// Returns f of the circuit; none where everything and nothing have the same metric.
    pub fn faithfulness(&self) -> Option<f64> {
        self.circuit.share.value
    }

    /// Returns the least that a single unit adds.
    pub fn minimality(&self) -> Option<f64> {
        self.left_out.first().map(|least| least.change.abs())
    }

    /// Returns the mean of f over the random circuits.
    pub fn random_faithfulness(&self) -> Option<f64> {
        averaged(self.random.iter().map(|[circuit, _]| circuit))
    }

    /// Returns a line on what the share is of, or that there is none.
    pub fn note(&self) -> String {
        let all = self.everything;
        let nothing = self.nothing;
        let units = self.units;
        match self.circuit.share.value {
            Some(_) => {
                format!("f = (m - {nothing:.4}) / ({all:.4} - {nothing:.4}), from none to all of {units} units.")
            }
            None => format!(
                "There is no faithfulness: with everything the metric is {all:.4}, and with nothing {nothing:.4}."
            ),
        }
    }

    pub fn table(&self) -> Table {
        let row = |name: String, kept: &KeptMetric| -> Vec<Cell> {
            let [low, high] = Cell::ends(kept.share.interval);
            vec![name.into(), kept.units.into(), kept.metric.into(), kept.share.value.into(), low, high]
        };
        let random = |which: usize, name: &str| -> Vec<Cell> {
            let all = || self.random.iter().map(|both| &both[which]);
            let shares = || all().filter_map(|kept| kept.share.value);
            let least = shares().fold(f64::INFINITY, f64::min);
            let most = shares().fold(f64::NEG_INFINITY, f64::max);
            let metric = all().map(|kept| kept.metric).sum::<f64>() / self.random.len().max(1) as f64;
            let [least, most] = Cell::ends(averaged(all()).map(|_| [least, most]));
            vec![
                format!("{name}, {}", count(self.random.len(), "draw")).into(),
                all().next().map(|kept| kept.units).into(),
                metric.into(),
                averaged(all()).into(),
                least,
                most,
            ]
        };
        Table::new(
            &self.title,
            ["kept", "units", "metric", "f", "low", "high"],
            [
                row("the circuit".into(), &self.circuit),
                row("all but the circuit".into(), &self.complement),
                random(0, "random circuits"),
                random(1, "all but random ones"),
            ],
        )
    }

    /// Returns a table of the units that were left out, the least change first.
    pub fn minimality_table(&self) -> Table {
        let rows = self.left_out.iter().map(|one| vec![one.unit.as_str().into(), one.change.into()]);
        Table::new(
            format!("what f loses without single units, {} of {}", self.left_out.len(), self.circuit.units),
            ["without", "change"],
            rows,
        )
    }
}

/// Returns the mean of the shares, where there are any.
fn averaged<'a>(kept: impl Iterator<Item = &'a KeptMetric>) -> Option<f64> {
    let shares: Vec<f64> = kept.filter_map(|kept| kept.share.value).collect();
    (!shares.is_empty()).then(|| share::mean(&shares))
}
