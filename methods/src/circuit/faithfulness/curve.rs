//! Faithfulness over the size of a circuit, and the two areas under it (MIB: Mueller et al. 2025, section 3).
//!
//! At each share of all units the circuit is the units with the largest |score|, without dangling edges, or what another
//! way of choosing makes of the scores:
//!
//!     CPR = the area under f, CMD = the area under |1 - f|, by trapezoids over the share

use super::random::UnitClasses;
use super::share::{EndMetrics, Share, mean, measured};
use crate::base::bootstrap::intervals;
use crate::circuit::ablations::Ablations;
use crate::circuit::check_draws;
use crate::circuit::dictionaries::Circuit;
use crate::circuit::graph::{Graph, Units};
use crate::circuit::program::{ProgramOptions, ilp};
use crate::circuit::subgraph::{SubgraphOptions, TopOptions, greedy, top};
use crate::common::*;

/// The shares at which circuits are compared in MIB.
const SHARES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

crate::choices! {
    /// Ways to choose units by their scores.
    pub enum UnitChoice {
        /// The units of largest size.
        Top = "top",
        /// Edges from the logits back, each the largest that leads into what was chosen (Hanna et al. 2024).
        Greedy = "greedy",
        /// The connected edges with the largest sum of sizes, by integer programming (Nikankin et al. 2025).
        Ilp = "ilp",
    }
}

crate::options! {
    pub struct CurveOptions {
        /// The shares of all units that are kept, in increasing order.
        shares: Vec<f64> = SHARES.to_vec() => at_least(0.0).at_most(1.0);
        /// The way in which the units of a share are chosen; only circuits of edges have the last two.
        choice: UnitChoice = UnitChoice::Top;
        /// The share of the chosen units that is taken from those of the most negative score.
        negative: f64 = 0.0 => at_least(0.0).at_most(1.0).only("choice", &["top", "ilp"]);
        /// Number of random circuits of each size.
        draws: usize = 3 => at_least(1.0);
        /// Whether edges are removed that begin at a node without an edge into it, or end at one without an edge out of
        /// it.
        pruned: bool = true;
        /// Seed of the draws and of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// A circuit of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePoint {
    pub share: f64,
    /// The number of units chosen by their score; `kept` is how many of them were kept.
    pub chosen: usize,
    pub kept: usize,
    pub faithfulness: Share,
    /// f of random circuits with as many units.
    pub random: Vec<f64>,
}

/// The areas under a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Areas {
    /// The area under f.
    pub cpr: f64,
    /// The area under |1 - f|.
    pub cmd: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub title: String,
    pub pairs: usize,
    pub units: usize,
    pub points: Vec<CurvePoint>,
    /// The areas; none where everything and nothing have the same metric.
    pub areas: Option<Areas>,
    /// The 95 % intervals of CPR and CMD by the bootstrap over pairs; none for a single pair.
    pub intervals: [Option<[f64; 2]>; 2],
    /// The means of the areas of random circuits, one of each size for a curve.
    pub random: Option<Areas>,
}

/// Computes faithfulness of the units of largest |score|, more and more of them.
pub fn curve(circuit: &Circuit, runs: &dyn Ablations, options: &CurveOptions, task: &Task) -> Result<Curve> {
    let shares = &options.shares;
    if shares.is_empty() || shares.windows(2).any(|two| two[0] >= two[1]) {
        return Err(err!(Argument, "expected shares in increasing order, found {shares:?}").about("shares"));
    }
    let seed = options.seed.draws();
    let units = runs.units();
    check_draws(options.draws, units)?;
    let bar = task.begin("curve of faithfulness", Some(2 + (1 + options.draws as u64) * shares.len() as u64));
    let ends = EndMetrics::of(runs, task)?;
    bar.advance(2);
    let classes = runs.alike();
    let mut points = Vec::new();
    let mut values = Vec::new();
    for share in shares {
        // Cut off, as MIB's code does.
        let chosen = (share * units as f64) as usize;
        let kept = runs.kept(&best(circuit, chosen, options, task)?)?;
        let found = measured(runs, &kept, task)?;
        let faithfulness = ends.share(&found, seed);
        values.push(found);
        bar.advance(1);
        let alike = UnitClasses::new(&classes, &kept);
        let mut random = Vec::new();
        for draw in 0..options.draws {
            let drawn = alike.draw(seed, draw as u64);
            random.extend(ends.share(&measured(runs, &drawn, task)?, seed).value);
            bar.advance(1);
        }
        let kept = kept.iter().filter(|kept| **kept).count();
        points.push(CurvePoint { share: *share, chosen, kept, faithfulness, random });
    }
    let of = |value: &dyn Fn(&CurvePoint) -> Option<f64>| {
        points.iter().map(|point| Some((point.share, value(point)?))).collect::<Option<Vec<_>>>().map(|all| areas(&all))
    };
    let drawn = (0..options.draws).map(|draw| of(&|point| point.random.get(draw).copied()));
    let random = drawn.collect::<Option<Vec<Areas>>>().map(|all| Areas {
        cpr: mean(&all.iter().map(|one| one.cpr).collect::<Vec<_>>()),
        cmd: mean(&all.iter().map(|one| one.cmd).collect::<Vec<_>>()),
    });
    let own = of(&|point| point.faithfulness.value);
    let intervals = if own.is_some() { intervals_of_areas(&ends, shares, &values, seed) } else { [None; 2] };
    let title = format!("faithfulness of {}, {} pairs", circuit.graph.title, ends.pairs());
    Ok(Curve { title, pairs: ends.pairs(), units, points, areas: own, intervals, random })
}

/// Returns the intervals of both areas over pairs, from the metric of each pair at each share.
fn intervals_of_areas(ends: &EndMetrics, shares: &[f64], values: &[Vec<f64>], seed: u64) -> [Option<[f64; 2]>; 2] {
    let found = intervals(ends.pairs(), seed, 2, |drawn| {
        let f = values.iter().map(|values| ends.ratio(values, drawn));
        let Areas { cpr, cmd } = areas(&shares.iter().copied().zip(f).collect::<Vec<_>>());
        vec![cpr, cmd]
    });
    [found[0], found[1]]
}

/// Returns the units that a number of them are chosen; nodes are kept without their edges, so that no edge dangles.
fn best(circuit: &Circuit, count: usize, options: &CurveOptions, task: &Task) -> Result<Graph> {
    if count == 0 {
        return Ok(Graph { title: circuit.graph.title.clone(), ..Graph::default() });
    }
    let part = SubgraphOptions { prune: options.pruned && circuit.graph.units() == Units::Edges };
    let negative = options.negative;
    // Below 1 a number would be a share.
    let wanted = count as f64;
    let found = match options.choice {
        UnitChoice::Top => top(circuit, wanted, TopOptions { negative, part })?,
        UnitChoice::Greedy => greedy(circuit, wanted, part)?,
        UnitChoice::Ilp => ilp(circuit, wanted, ProgramOptions { negative }, task)?,
    };
    Ok(found.graph)
}

/// Computes the areas by trapezoids between the first and the last share.
fn areas(points: &[(f64, f64)]) -> Areas {
    let area = |of: &dyn Fn(f64) -> f64| {
        points.windows(2).map(|two| (two[1].0 - two[0].0) * (of(two[0].1) + of(two[1].1)) / 2.0).sum()
    };
    Areas { cpr: area(&|f| f), cmd: area(&|f| (1.0 - f).abs()) }
}

impl Curve {
    /// Tabulates the areas, with their intervals and the means of those of random circuits; where there are none, without
    /// a row.
    pub fn areas_table(&self) -> Table {
        let both = self.areas.zip(self.random).map(|(own, random)| {
            [("CPR", own.cpr, random.cpr), ("CMD", own.cmd, random.cmd)].into_iter().zip(self.intervals)
        });
        let rows = both.into_iter().flatten().map(|((name, value, random), interval)| -> Vec<Cell> {
            let [low, high] = Cell::ends(interval);
            vec![name.into(), value.into(), low, high, random.into()]
        });
        Table::new(format!("areas under the {}", self.title), ["area", "value", "low", "high", "random"], rows)
    }

    pub fn table(&self) -> Table {
        let row = |point: &CurvePoint| -> Vec<Cell> {
            let f = point.faithfulness;
            let [low, high] = Cell::ends(f.interval);
            let random = (!point.random.is_empty()).then(|| mean(&point.random)).into();
            vec![point.share.into(), point.chosen.into(), point.kept.into(), f.value.into(), low, high, random]
        };
        Table::new(
            &self.title,
            ["share", "chosen", "kept", "f", "low", "high", "random f"],
            self.points.iter().map(row),
        )
    }
}
