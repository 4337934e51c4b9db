//! How well a circuit explains its target, on text that it was not found on.
//!
//! Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024, section 4): m(M) is the model as it is, C keeps the
//! circuit's features and sets all others of every dictionary to their means, 0 sets all of them to their means.

pub(super) mod change;
mod contexts;
mod random;
mod runs;
mod tables;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::base::task::Bar;
use crate::base::{Result, Table, Task};
use crate::circuit::Graph;
use crate::circuit::tree::Stage;
use crate::err;
use crate::features::Survey;
use crate::model::Model;
use crate::sae::Sae;
use crate::sae::splice::Rest;
use change::Change;
use random::Pool;
use runs::{Found, Runs};

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many rows of text are looked at.
    pub contexts: usize,
    /// How many random sets stand beside the circuit.
    pub draws: usize,
    /// Tokens whose probability is measured, such as all that begin with ")". None where empty.
    pub tokens: Vec<u32>,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { contexts: 20, draws: 20, tokens: Vec::new(), seed: 0 }
    }
}

/// How well a circuit explains its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub faithfulness: Table,
    pub necessity: Table,
    /// On how much it is judged: a title, and positions by what they count for.
    pub looked_at: Table,
    /// Whether the tokens lose more probability where they are due without the circuit than without any of the random
    /// sets, and of those that are as active; nothing where there are no such positions.
    pub beats_random: Option<bool>,
}

/// Judges a graph of features on what its dictionaries, in the order of the computation, found in another text.
pub fn judge(
    model: &Model,
    saes: &[Sae],
    survey: &Survey,
    graph: &Graph,
    options: &Options,
    task: &Task,
) -> Result<Judgement> {
    let stages = Stage::in_order(model, saes)?;
    let target =
        graph.nodes.first().ok_or_else(|| err!(Argument, "expected a graph with a target, found an empty one"))?;
    let features = by_level(graph, &stages)?;
    let runs = Runs::of(model, &stages, survey, (target.level, target.feature), options, task)?;
    let pool = Pool::of(&runs, &features, options.seed);
    let judging = Judging { runs: &runs, features: &features, pool: &pool, draws: options.draws };
    let kept = [Rest::Kept, Rest::Dropped].map(|rest| judging.kept(rest, task));
    let [kept, without_errors] = kept;
    let taken_off = judging.taken_off(task)?;
    Ok(Judgement {
        faithfulness: tables::faithfulness(&runs.clean, &[("kept", kept?), ("dropped", without_errors?)]),
        necessity: tables::necessity(&runs.clean, &taken_off),
        looked_at: tables::looked_at(&runs.contexts),
        beats_random: taken_off.first().and_then(|all| tables::beats_random(&runs.clean, all)),
    })
}

/// The features of the graph at each of the dictionaries before the target's.
pub(super) fn by_level(graph: &Graph, stages: &[Stage]) -> Result<Vec<Vec<usize>>> {
    let mut levels = vec![Vec::new(); graph.nodes.first().map_or(0, |node| node.level)];
    for (number, node) in graph.nodes.iter().enumerate() {
        let Some(stage) = stages.get(node.level).filter(|stage| stage.place.to_string() == node.site) else {
            return Err(err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
                .hint("judge a graph with the dictionaries that it was found with"));
        };
        if node.feature >= stage.sae.d_sae() {
            let (place, count) = (stage.place, stage.sae.d_sae());
            return Err(err!(Argument, "expected a feature below {count} of {place}, found {}", node.feature));
        }
        match levels.get_mut(node.level) {
            Some(level) if number > 0 => level.push(node.feature),
            _ if number == 0 => {}
            _ => {
                let name = node.name();
                return Err(err!(Argument, "expected features before that of the target, found {name} behind it"));
            }
        }
    }
    Ok(levels)
}

/// What runs show with all features of the dictionaries at their means, with those of the circuit as they are, and with
/// those of random sets.
pub struct Kept {
    empty: Found,
    circuit: Found,
    random: Vec<Found>,
}

/// What runs show without some features of the circuit, and without as many others.
pub struct TakenOff {
    name: String,
    features: usize,
    circuit: Found,
    random: Vec<Found>,
    /// Others whose codes are about as large on average.
    matched: Vec<Found>,
}

struct Judging<'a> {
    runs: &'a Runs<'a>,
    /// Level by level.
    features: &'a [Vec<usize>],
    pool: &'a Pool,
    draws: usize,
}

impl Judging<'_> {
    fn kept(&self, rest: Rest, task: &Task) -> Result<Kept> {
        let label = if rest == Rest::Kept { "judging what is kept" } else { "judging it without errors" };
        let bar = task.begin(label, Some(2 + self.draws as u64));
        let only =
            |kept: Vec<Vec<usize>>| -> Vec<Change> { kept.into_iter().map(|kept| Change::Only(kept, rest)).collect() };
        let alone = [vec![Vec::new(); self.features.len()], self.features.to_vec()].map(only);
        let mut found = self.shown(&alone, &*bar, task)?.into_iter();
        let (Some(empty), Some(circuit)) = (found.next(), found.next()) else {
            return Err(err!(Bug, "runs that show nothing"));
        };
        let draws: Vec<Vec<Change>> = (0..self.draws).map(|draw| only(self.pool.drawn(draw))).collect();
        Ok(Kept { empty, circuit, random: self.shown(&draws, &*bar, task)? })
    }

    /// All features together first, then level by level.
    fn taken_off(&self, task: &Task) -> Result<Vec<TakenOff>> {
        let mut sets = vec![("all levels".to_string(), self.features.to_vec())];
        for (level, features) in self.features.iter().enumerate().filter(|(_, features)| !features.is_empty()) {
            let mut one = vec![Vec::new(); self.features.len()];
            one[level] = features.clone();
            sets.push((self.runs.name(level), one));
        }
        let bar = task.begin("judging what is taken off", Some((sets.len() * (1 + 2 * self.draws)) as u64));
        let of_set = |(name, features): (String, Vec<Vec<usize>>)| -> Result<TakenOff> {
            let zero = |set: Vec<Vec<usize>>| only_where(&features, set).into_iter().map(Change::Zero).collect();
            let drawn = |of: &dyn Fn(usize) -> Vec<Vec<usize>>| -> Result<Vec<Found>> {
                let sets: Vec<Vec<Change>> = (0..self.draws).map(|draw| zero(of(draw))).collect();
                self.shown(&sets, &*bar, task)
            };
            let circuit = self.shown(&[zero(features.clone())], &*bar, task)?;
            Ok(TakenOff {
                name,
                features: features.iter().map(Vec::len).sum(),
                circuit: *circuit.first().ok_or_else(|| err!(Bug, "a run that shows nothing"))?,
                random: drawn(&|draw| self.pool.drawn(draw))?,
                matched: drawn(&|draw| self.pool.matched(draw))?,
            })
        };
        sets.into_iter().map(of_set).collect()
    }

    /// What runs show, several of them at once.
    fn shown(&self, sets: &[Vec<Change>], bar: &dyn Bar, task: &Task) -> Result<Vec<Found>> {
        let mut all = Vec::with_capacity(sets.len());
        for sets in sets.chunks(rayon::current_num_threads().max(1)) {
            let run = |changes: &Vec<Change>| Task::in_place(|| self.runs.changed(changes, task));
            let found: Vec<Result<Found>> = sets.par_iter().map(run).collect();
            bar.advance(found.len() as u64);
            all.extend(found.into_iter().collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }
}

/// Sets for those levels alone that have features.
fn only_where(like: &[Vec<usize>], drawn: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    like.iter().zip(drawn).map(|(like, drawn)| if like.is_empty() { Vec::new() } else { drawn }).collect()
}
