//! The sets of features that an evaluation keeps or ablates, and their runs.

use super::change::LevelChange;
use super::random::{Pool, SetKind};
use super::runs::{JudgedRun, JudgedRuns, RunMeasure};
use crate::circuit::Graph;
use crate::common::*;
use crate::sae::splice::ErrorTreatment;

/// Maximum number of random sets of each kind for the target's activation, and for faithfulness.
const FEW: usize = 3;
/// Maximum number of random sets of each kind on unrelated text, whose hundreds of rows take longest.
const ON_OTHER_TEXT: usize = 2;

const ALL: &[RunMeasure] = &[RunMeasure::Code, RunMeasure::Chance, RunMeasure::Kl];
const ABOUT_THE_TARGET: &[RunMeasure] = &[RunMeasure::Code, RunMeasure::Chance];
const OF_TOKENS: &[RunMeasure] = &[RunMeasure::Chance];
const OF_A_NODE: &[RunMeasure] = &[RunMeasure::Chance, RunMeasure::Kl];

/// Features that are ablated together, in several runs where there are several such sets.
pub struct AblatedSet {
    pub name: String,
    /// The size of a set.
    pub features: usize,
    pub runs: Range<usize>,
}

/// Faithfulness: runs with all features of the dictionaries mean-ablated, and with some kept.
pub struct KeptAlone {
    pub errors: &'static str,
    pub empty: usize,
    pub circuit: usize,
    pub random: Range<usize>,
}

/// All runs of an evaluation, and the purpose of each.
#[derive(Default)]
pub struct Sets {
    pub runs: Vec<JudgedRun>,
    pub kept: Vec<KeptAlone>,
    /// The whole circuit, then sets of other features, kind by kind.
    pub whole: Vec<AblatedSet>,
    /// The features of the circuit at each level, each with one set of other features there of each kind.
    pub levels: Vec<(AblatedSet, Range<usize>)>,
    /// The nodes but the target, one by one.
    pub nodes: Vec<AblatedSet>,
}

impl Sets {
    pub fn of(
        runs: &JudgedRuns,
        pool: &Pool,
        features: &[Vec<usize>],
        nodes: Option<&Graph>,
        draws: usize,
        task: &Task,
    ) -> Result<Self> {
        let mut sets = Self::default();
        sets.keep(pool, features, draws);
        sets.ablate_all(pool, features, draws, task)?;
        for level in (0..features.len()).filter(|level| !features[*level].is_empty()) {
            sets.ablate_level(pool, features, level, runs.name(level), draws);
        }
        for node in nodes.into_iter().flat_map(|graph| graph.nodes.iter().skip(1)) {
            let mut one = vec![Vec::new(); features.len()];
            one[node.level] = vec![node.needed_feature()?];
            let runs = sets.zeroed([one], OF_A_NODE);
            sets.nodes.push(AblatedSet { name: node.name(), features: 1, runs });
        }
        Ok(sets)
    }

    fn add(&mut self, runs: impl IntoIterator<Item = JudgedRun>) -> Range<usize> {
        let start = self.runs.len();
        self.runs.extend(runs);
        start..self.runs.len()
    }

    /// Adds runs in which the features of each set are 0.
    fn zeroed(
        &mut self,
        sets: impl IntoIterator<Item = Vec<Vec<usize>>>,
        reads: &'static [RunMeasure],
    ) -> Range<usize> {
        let run = |set: Vec<Vec<usize>>| JudgedRun { changes: set.into_iter().map(LevelChange::Zero).collect(), reads };
        self.add(sets.into_iter().map(run))
    }

    fn keep(&mut self, pool: &Pool, features: &[Vec<usize>], draws: usize) {
        for (errors, rest) in [("kept", ErrorTreatment::Kept), ("dropped", ErrorTreatment::Dropped)] {
            let only = |kept: Vec<Vec<usize>>| JudgedRun {
                changes: kept.into_iter().map(|kept| LevelChange::Only(kept, rest)).collect(),
                reads: ABOUT_THE_TARGET,
            };
            let empty = self.add([only(vec![Vec::new(); features.len()])]).start;
            let circuit = self.add([only(features.to_vec())]).start;
            let random = self.add((0..draws.min(FEW)).map(|draw| only(pool.set(SetKind::Active, draw))));
            self.kept.push(KeptAlone { errors, empty, circuit, random });
        }
    }

    fn ablate_all(&mut self, pool: &Pool, features: &[Vec<usize>], draws: usize, task: &Task) -> Result<()> {
        let count = |set: &[Vec<usize>]| set.iter().map(Vec::len).sum::<usize>();
        let runs = self.zeroed([features.to_vec()], ALL);
        self.whole.push(AblatedSet { name: "the circuit".into(), features: count(features), runs });
        for (kind, name) in SetKind::ALL {
            let draw = |draw: usize| task.check().map(|()| pool.set(kind, draw));
            let sets: Vec<Vec<Vec<usize>>> = (0..drawn(kind, draws)).map(draw).collect::<Result<_>>()?;
            let Some(features) = sets.first().map(|set| count(set)) else { continue };
            let start = self.runs.len();
            for (number, set) in sets.into_iter().enumerate() {
                let reads = match number {
                    ..ON_OTHER_TEXT => ALL,
                    ON_OTHER_TEXT..FEW => ABOUT_THE_TARGET,
                    _ => OF_TOKENS,
                };
                self.zeroed([set], reads);
            }
            self.whole.push(AblatedSet { name: name.into(), features, runs: start..self.runs.len() });
        }
        Ok(())
    }

    fn ablate_level(&mut self, pool: &Pool, features: &[Vec<usize>], level: usize, name: String, draws: usize) {
        let alone = |set: &[Vec<usize>]| {
            let mut one = vec![Vec::new(); set.len()];
            one[level] = set[level].clone();
            one
        };
        let runs = self.zeroed([alone(features)], ABOUT_THE_TARGET);
        let kinds = SetKind::ALL.iter().filter(|(kind, _)| drawn(*kind, draws) > 0);
        let others: Vec<Vec<Vec<usize>>> = kinds.map(|(kind, _)| alone(&pool.set(*kind, 0))).collect();
        let others = self.zeroed(others, OF_TOKENS);
        self.levels.push((AblatedSet { name, features: features[level].len(), runs }, others));
    }
}

/// Returns how many sets of a kind there are.
fn drawn(kind: SetKind, draws: usize) -> usize {
    if kind == SetKind::MostActiveHere { 1 } else { draws }
}
