//! Runs of the model with all but some features of its dictionaries mean-ablated, measured where tokens are due.

use super::{KeptFeatures, MeanEstimate, SufficiencyPoint};
use crate::circuit::due::{Due, DueBatch};
use crate::circuit::judge::change::LevelChange;
use crate::circuit::tree::Stage;
use crate::common::*;
use crate::sae::splice::ErrorTreatment;

const RESTS: [ErrorTreatment; 2] = [ErrorTreatment::Kept, ErrorTreatment::Dropped];

pub struct KeptRuns<'a> {
    pub model: &'a Model,
    /// The dictionaries of which features are kept.
    pub stages: &'a [Stage],
    /// The mean activation of each feature, by dictionary.
    pub means: &'a [Vec<f32>],
    pub due: &'a Due,
}

/// The tokens' probability summed over the positions of each row where they are due, run by run.
pub struct DueProbabilities {
    clean: Vec<f64>,
    /// The results of each set with errors kept, then of each with errors dropped.
    sets: Vec<OfSet>,
}

struct OfSet {
    rest: ErrorTreatment,
    /// The results with the set's features kept.
    kept: Vec<f64>,
    /// The results with features kept that were drawn for the set, draw by draw.
    drawn: Vec<Vec<f64>>,
}

impl KeptRuns<'_> {
    /// Runs with each of the sets kept, and with as many random features for each draw.
    pub fn all(
        &self,
        sets: &[KeptFeatures],
        drawn: impl Fn(&KeptFeatures, usize) -> Option<Vec<Vec<usize>>>,
        draws: usize,
        task: &Task,
    ) -> Result<DueProbabilities> {
        let only = |kept: &[Vec<usize>], rest: ErrorTreatment| -> Vec<LevelChange> {
            kept.iter().map(|kept| LevelChange::Only(kept.clone(), rest)).collect()
        };
        let mut plan = vec![Vec::new()];
        let mut sizes = Vec::new();
        for rest in RESTS {
            for set in sets {
                let mut others = Vec::new();
                for draw in 0..draws {
                    task.check()?;
                    others.extend(drawn(set, draw));
                }
                plan.push(only(&set.kept, rest));
                plan.extend(others.iter().map(|kept: &Vec<Vec<usize>>| only(kept, rest)));
                sizes.push((rest, others.len()));
            }
        }
        let mut found = self.shown(&plan, task)?.into_iter();
        let clean = found.next().unwrap_or_default();
        let of_set = |(rest, draws): (ErrorTreatment, usize)| {
            let kept = found.next().unwrap_or_default();
            OfSet { rest, kept, drawn: found.by_ref().take(draws).collect() }
        };
        Ok(DueProbabilities { clean, sets: sizes.into_iter().map(of_set).collect() })
    }

    /// Runs with some changes of the dictionaries, several of them at once, and returns the results row by row.
    fn shown(&self, plan: &[Vec<LevelChange>], task: &Task) -> Result<Vec<Vec<f64>>> {
        let parts = self.due.parts(self.model.decoder.config().outputs())?;
        let bar = task.begin("running with features kept", Some((plan.len() * parts.len()) as u64));
        let mut all = vec![Vec::with_capacity(self.due.rows()); plan.len()];
        for part in &parts {
            let places = self.stages.iter().map(|stage| stage.place).collect();
            let cache = self.model.decoder.cache(&part.batch, Ask { places, ..Ask::default() }, task)?;
            let streams: Vec<Tensor> =
                self.stages.iter().map(|stage| cache.at(stage.place)).collect::<Result<Vec<_>>>()?;
            let at_once = parallel::threads().max(1);
            for (plan, all) in plan.chunks(at_once).zip(all.chunks_mut(at_once)) {
                let run = |changes: &Vec<LevelChange>| Task::in_place(|| self.changed(part, &streams, changes, task));
                let found: Vec<Result<Vec<f64>>> = parallel::map(plan.len(), &|at| run(&plan[at]));
                for (all, found) in all.iter_mut().zip(found) {
                    all.extend(found?);
                }
                bar.advance(plan.len() as u64);
            }
        }
        Ok(all)
    }

    /// Runs with the dictionaries changed, level by level; a clean run without changes.
    fn changed(&self, part: &DueBatch, streams: &[Tensor], changes: &[LevelChange], task: &Task) -> Result<Vec<f64>> {
        task.check()?;
        let Some((last, first)) = streams.last().zip(streams.first()) else {
            return Err(crate::err!(Bug, "a run without dictionaries"));
        };
        let (from, mut x) = if changes.is_empty() { (streams.len() - 1, last.clone()) } else { (0, first.clone()) };
        for level in from..self.stages.len() {
            let stage = &self.stages[level];
            if let Some(change) = changes.get(level) {
                x = change.of(&stage.sae, &self.means[level], &x.flatten(0, 1)?, task)?.reshape(x.shape())?;
            }
            let end = self.stages.get(level + 1).map_or(self.model.decoder.config().layers, |next| next.block);
            x = self.model.decoder.behind(&part.batch, x, stage.block..end, task)?;
        }
        part.chances(self.model, &x, &self.due.tokens, task)
    }
}

impl DueProbabilities {
    /// Returns the point of each set. `counts` are the positions of each row.
    pub fn points(&self, sets: &[KeptFeatures], counts: &[f64], seed: u64) -> Vec<SufficiencyPoint> {
        let none =
            |rest: ErrorTreatment| self.sets.iter().find(|of| of.rest == rest).map_or(&self.clean, |of| &of.kept);
        let point = |(set, of): (&KeptFeatures, &OfSet)| {
            let kept = &of.kept;
            let none = none(of.rest);
            let share = |kept: &[f64], drawn: &[usize]| sum(kept, drawn) / sum(&self.clean, drawn);
            let faithfulness = |drawn: &[usize]| {
                let [kept, none, clean] = [kept, none, &self.clean].map(|run| sum(run, drawn));
                (kept - none) / (clean - none)
            };
            let all: Vec<usize> = (0..counts.len()).collect();
            SufficiencyPoint {
                name: set.name.clone(),
                is_first: set.is_first,
                features: set.len(),
                rest: of.rest,
                p: sum(kept, &all) / sum(counts, &all),
                share: MeanEstimate::of(counts.len(), seed, |drawn| share(kept, drawn)),
                faithfulness: MeanEstimate::of(counts.len(), seed, faithfulness),
                random: of.drawn.iter().map(|other| share(other, &all)).collect(),
            }
        };
        sets.iter().cycle().zip(&self.sets).map(point).collect()
    }

    /// Returns the mean of the clean run.
    pub fn whole(&self, counts: &[f64], seed: u64) -> MeanEstimate {
        MeanEstimate::of(counts.len(), seed, |drawn| sum(&self.clean, drawn) / sum(counts, drawn))
    }
}

impl MeanEstimate {
    /// Computes a statistic of all rows, with its interval.
    fn of(rows: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64) -> Self {
        let all: Vec<usize> = (0..rows).collect();
        Self { value: statistic(&all), interval: bootstrap(rows, seed, statistic) }
    }
}

fn sum(rows: &[f64], drawn: &[usize]) -> f64 {
    drawn.iter().map(|row| rows[*row]).sum()
}
