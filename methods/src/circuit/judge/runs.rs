//! Runs of the model on the contexts of an evaluation, with changed features of its dictionaries.

use super::change::{LevelChange, codes_of};
use super::contexts::{Contexts, MeasureGroup, MeasuredBatch};
use crate::base::task::Bar;
use crate::circuit::tree::{CodeReader, ParentReading, Stage};
use crate::common::*;
use crate::features::{Survey, Tally};
use crate::intervene::chance::together_of;
use crate::model::by_words::ReferencePredictions;
use crate::model::decoder::{BegunTexts, Past};
use crate::sae::SparseCodes;

/// The largest number of rows of a batch that are changed together, whose changes begin at about the same column.
const TOGETHER: usize = 32;

/// The measures of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMeasure {
    /// The target's activation, where it is active.
    Code,
    /// The total probability of the tokens, where one of them comes next and elsewhere.
    Chance,
    /// KL(clean || changed) on unrelated text, in nats.
    Kl,
}

impl RunMeasure {
    pub const ALL: [Self; 3] = [Self::Code, Self::Chance, Self::Kl];
}

/// A run: its changes, level by level, and its measures.
#[derive(Debug, Clone)]
pub struct JudgedRun {
    pub changes: Vec<LevelChange>,
    pub reads: &'static [RunMeasure],
}

/// The values of a run at each position of the rows of a measure; empty for measures that are not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunValues {
    pub code: Vec<f64>,
    pub chance: Vec<f64>,
    pub kl: Vec<f64>,
}

impl RunValues {
    pub fn of(&self, measure: RunMeasure) -> &[f64] {
        match measure {
            RunMeasure::Code => &self.code,
            RunMeasure::Chance => &self.chance,
            RunMeasure::Kl => &self.kl,
        }
    }

    fn of_mut(&mut self, measure: RunMeasure) -> &mut Vec<f64> {
        match measure {
            RunMeasure::Code => &mut self.code,
            RunMeasure::Chance => &mut self.chance,
            RunMeasure::Kl => &mut self.kl,
        }
    }
}

pub struct JudgedRuns<'a> {
    model: &'a Model,
    stages: &'a [Stage],
    survey: &'a Survey,
    /// The level of the target: the number of dictionaries before that of the target.
    level: usize,
    reader: CodeReader,
    tokens: &'a [u32],
    pub contexts: Contexts,
    /// The number of first positions of each row that are not changed.
    without_first: usize,
    /// The mean activation of each feature over all positions of the text, level by level.
    means: Vec<Vec<f32>>,
}

/// The clean run of the rows of a batch.
struct Clean {
    /// The residual stream at each dictionary up to the target's: `[rows, pos, d_model]`.
    streams: Vec<Tensor>,
    /// The feature activations of each dictionary before the target's, row after row.
    codes: Vec<SparseCodes>,
    /// Keys and values of the blocks after the first dictionary; None for a bidirectional model.
    past: Option<Past>,
    /// The clean values at each position.
    values: Vec<f64>,
    /// The predictions at these positions, where other runs are compared with it.
    predictions: Option<ReferencePredictions>,
}

/// The rows of a batch that a run changes, from the first changed column on.
struct ChangedRows<'a> {
    part: &'a Batch,
    batch: Batch,
    rows: Vec<usize>,
    start: usize,
    /// The measured positions, by their index in the batch and in `[rows, columns]` of these rows.
    spots: Vec<(usize, u32)>,
    clean: &'a Clean,
}

impl<'a> JudgedRuns<'a> {
    pub fn of(
        model: &'a Model,
        stages: &'a [Stage],
        survey: &'a Survey,
        feature: usize,
        tokens: &'a [u32],
        contexts: Contexts,
        without_first: usize,
    ) -> Result<Self> {
        let level = stages.len().checked_sub(1).ok_or_else(|| err!(Bug, "a judgement without dictionaries"))?;
        let positions = survey.positions.max(1) as f64;
        let means = survey.dictionaries.iter().take(level);
        let means = means.map(|of| of.iter().map(|tally| (tally.sum / positions) as f32).collect()).collect();
        let reader = CodeReader::new(&stages[level].sae, feature, ParentReading::Code)?;
        Ok(Self { model, stages, survey, level, reader, tokens, contexts, without_first, means })
    }

    /// Returns the site of the dictionary at a level.
    pub fn name(&self, level: usize) -> String {
        self.stages.get(level).map(|stage| stage.place.to_string()).unwrap_or_default()
    }

    /// Returns the sums of the features of a level.
    pub fn tallies(&self, level: usize) -> &[Tally] {
        self.survey.dictionaries.get(level).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the rows of a measure.
    pub fn group(&self, measure: RunMeasure) -> &MeasureGroup {
        match measure {
            RunMeasure::Code => &self.contexts.target,
            RunMeasure::Chance => &self.contexts.tokens,
            RunMeasure::Kl => &self.contexts.other,
        }
    }

    /// Sums the activations of each feature in the evaluated rows, up to the last measured position of each, level by
    /// level.
    pub fn masses(&self, task: &Task) -> Result<Vec<Vec<f64>>> {
        let mut masses: Vec<Vec<f64>> =
            self.stages.iter().take(self.level).map(|stage| vec![0.0; stage.sae.d_sae()]).collect();
        for part in &self.contexts.judged().parts {
            let (_, codes) = self.flow(part, task)?;
            let width = part.batch.width();
            let lengths = part.batch.lengths();
            for (masses, codes) in masses.iter_mut().zip(&codes) {
                for (row, length) in lengths.iter().enumerate() {
                    for position in row * width + self.without_first..row * width + length {
                        let (features, codes) = codes.row(position);
                        features.iter().zip(codes).for_each(|(f, code)| masses[*f as usize] += f64::from(*code));
                    }
                }
            }
        }
        Ok(masses)
    }

    /// Returns the values of the clean run, and of each of some runs. The rows of a batch are run together, and several
    /// runs are computed at once.
    pub fn all(&self, runs: &[JudgedRun], task: &Task) -> Result<(RunValues, Vec<RunValues>)> {
        let mut clean = RunValues::default();
        let mut found = vec![RunValues::default(); runs.len()];
        let of_measure = |measure: RunMeasure| self.group(measure).parts.iter().map(move |part| (measure, part));
        let parts: Vec<(RunMeasure, &MeasuredBatch)> = RunMeasure::ALL.into_iter().flat_map(of_measure).collect();
        let reads = |measure: RunMeasure| runs.iter().filter(move |run| run.reads.contains(&measure)).count() as u64;
        let bar = task.begin("judging", Some(parts.iter().map(|(measure, _)| reads(*measure)).sum()));
        for (measure, part) in parts {
            let known = self.clean(measure, part, task)?;
            let read = |run: &JudgedRun| -> Result<Vec<f64>> {
                let is_read = run.reads.contains(&measure);
                Task::in_place(|| if is_read { self.changed(measure, part, &known, run, task) } else { Ok(Vec::new()) })
            };
            let values: Vec<Result<Vec<f64>>> = self.at_once(runs, &*bar, measure, &read);
            for (found, values) in found.iter_mut().zip(values) {
                found.of_mut(measure).extend(values?);
            }
            clean.of_mut(measure).extend(known.values);
        }
        Ok((clean, found))
    }

    /// Makes runs in the order given, several of them at a time, to report progress.
    fn at_once(
        &self,
        runs: &[JudgedRun],
        bar: &dyn Bar,
        measure: RunMeasure,
        read: &(dyn Fn(&JudgedRun) -> Result<Vec<f64>> + Sync),
    ) -> Vec<Result<Vec<f64>>> {
        let mut all = Vec::with_capacity(runs.len());
        for runs in runs.chunks(4 * parallel::threads().max(1)) {
            all.extend(parallel::map(runs.len(), &|at| read(&runs[at])));
            bar.advance(runs.iter().filter(|run| run.reads.contains(&measure)).count() as u64);
        }
        all
    }

    /// Returns the residual stream at each dictionary up to the target's in the rows of a batch, and the feature
    /// activations of the dictionaries before it.
    fn flow(&self, part: &MeasuredBatch, task: &Task) -> Result<(Vec<Tensor>, Vec<SparseCodes>)> {
        let ask = Ask { places: self.stages.iter().map(|stage| stage.place).collect(), ..Ask::default() };
        let cache = self.model.decoder.cache(&part.batch, ask, task)?;
        let streams = self.stages.iter().map(|stage| cache.at(stage.place)).collect::<Result<Vec<_>>>()?;
        let earlier = self.stages.iter().zip(&streams).take(self.level);
        let codes = earlier.map(|(stage, x)| codes_of(&stage.sae, &x.flatten(0, 1)?, task)).collect::<Result<_>>()?;
        Ok((streams, codes))
    }

    fn clean(&self, measure: RunMeasure, part: &MeasuredBatch, task: &Task) -> Result<Clean> {
        let (streams, codes) = self.flow(part, task)?;
        let blocks = self.stages[0].block..self.model.decoder.config().layers;
        let remembered = |x: &Tensor| self.model.decoder.remembered(&part.batch, x.clone(), blocks, task);
        let past = if self.model.decoder.config().continues_anywhere() {
            streams.first().map(remembered).transpose()?
        } else {
            None
        };
        let mut clean = Clean { streams, codes, past, values: vec![0.0; part.spots.len()], predictions: None };
        let rows = (0..part.batch.rows().len()).collect();
        let x = clean.streams[self.level].clone();
        if measure == RunMeasure::Kl {
            let all = ChangedRows::of(part, rows, 0, &clean)?;
            clean.predictions = Some(self.model.decoder.reference(&self.end(&all, x, task)?, task)?);
            return Ok(clean);
        }
        clean.values = self.read(measure, &ChangedRows::of(part, rows, 0, &clean)?, x, task)?;
        Ok(clean)
    }

    /// Returns the measured values at each position of a batch when the dictionaries before the target's are changed,
    /// level by level. The run begins at the first changed dictionary, with the affected rows and columns only.
    fn changed(
        &self,
        measure: RunMeasure,
        part: &MeasuredBatch,
        clean: &Clean,
        run: &JudgedRun,
        task: &Task,
    ) -> Result<Vec<f64>> {
        task.check()?;
        let mut values = clean.values.clone();
        let mut touched = self.touched(part, clean, &run.changes);
        touched.sort_unstable();
        let first = run.changes.iter().position(|change| !change.is_none());
        let Some(first) = first.filter(|first| *first < self.level) else { return Ok(values) };
        for rows in touched.chunks(TOGETHER) {
            let start = if clean.past.is_some() { rows[0].0 } else { 0 };
            let some = ChangedRows::of(part, rows.iter().map(|(_, row)| *row).collect(), start, clean)?;
            // A change after all measured positions has no effect.
            if some.spots.is_empty() {
                continue;
            }
            let mut x = some.picked(&clean.streams[first])?;
            for level in first..self.level {
                let stage = &self.stages[level];
                let means = &self.means[level];
                if let Some(change) = run.changes.get(level).filter(|change| !change.is_none()) {
                    // Where the run does not begin behind them, the first positions are set apart.
                    let apart = self.without_first.saturating_sub(start).min(x.dim(1)?);
                    let rest = x.narrow(1, apart, x.dim(1)? - apart)?;
                    let flat = rest.flatten(0, 1)?;
                    let flat = if level == first {
                        change.of_codes(&stage.sae, means, &flat, &some.codes(&clean.codes[level], part, apart))?
                    } else {
                        change.of(&stage.sae, means, &flat, task)?
                    };
                    let changed = flat.reshape(rest.shape())?;
                    x = if apart == 0 { changed } else { Tensor::cat(&[x.narrow(1, 0, apart)?, changed], 1)? };
                }
                x = self.behind(&some, x, stage.block..self.stages[level + 1].block, task)?;
            }
            let read = self.read(measure, &some, x, task)?;
            some.spots.iter().zip(read).for_each(|((spot, _), value)| values[*spot] = value);
        }
        Ok(values)
    }

    /// Returns the rows of a batch that some change affects, each after its first affected column: where none of its
    /// features is active, an ablation changes nothing. Before that column the residual stream is that of the clean
    /// run, so the clean activations are valid at all levels.
    fn touched(&self, part: &MeasuredBatch, clean: &Clean, changes: &[LevelChange]) -> Vec<(usize, usize)> {
        let width = part.batch.width();
        let lengths = part.batch.lengths();
        let mut starts = vec![None; lengths.len()];
        for (change, codes) in changes.iter().zip(&clean.codes).filter(|(change, _)| !change.is_none()) {
            if matches!(change, LevelChange::Only(..)) {
                return (0..lengths.len()).map(|row| (self.without_first, row)).collect();
            }
            let is_named = change.names(codes.d_sae());
            for (row, (start, length)) in starts.iter_mut().zip(&lengths).enumerate() {
                let is_changed =
                    |at: &usize| codes.row(row * width + at).0.iter().any(|feature| is_named[*feature as usize]);
                *start = (self.without_first..start.unwrap_or(*length)).find(is_changed).or(*start);
            }
        }
        starts.into_iter().enumerate().filter_map(|(row, start)| Some((start?, row))).collect()
    }

    /// Returns the residual stream after some blocks in rows of a batch, from their first column on.
    fn behind(&self, some: &ChangedRows, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        match some.clean.past.as_ref().filter(|_| some.start > 0) {
            Some(past) => {
                let which: Vec<u32> = some.rows.iter().map(|row| *row as u32).collect();
                let begun = BegunTexts { batch: some.part, past, which: &which, start: some.start };
                self.model.decoder.behind_from(&begun, x, blocks, task)
            }
            None => self.model.decoder.behind(&some.batch, x, blocks, task),
        }
    }

    /// Returns the measured values at the positions of some rows, from the residual stream at the target's dictionary.
    fn read(&self, measure: RunMeasure, some: &ChangedRows, x: Tensor, task: &Task) -> Result<Vec<f64>> {
        match measure {
            RunMeasure::Code => self.reader.of(&some.chosen(&x)?, task),
            _ if some.spots.is_empty() => Ok(Vec::new()),
            RunMeasure::Chance => together_of(&self.model.decoder, &self.end(some, x, task)?, self.tokens, task),
            RunMeasure::Kl => {
                let clean = some.clean.predictions.as_ref().ok_or_else(|| err!(Bug, "a run beside nothing"))?;
                let spots: Vec<u32> = some.spots.iter().map(|(spot, _)| *spot as u32).collect();
                let end = self.end(some, x, task)?;
                floats(&self.model.decoder.divergences_from(&clean.at(&spots)?, &end, task)?)
            }
        }
    }

    /// Returns the end of a pass at the positions of some rows, from the residual stream at the target's dictionary.
    fn end(&self, some: &ChangedRows, x: Tensor, task: &Task) -> Result<PassEnd> {
        let blocks = self.stages[self.level].block..self.model.decoder.config().layers;
        self.model.decoder.end_behind(&some.chosen(&self.behind(some, x, blocks, task)?)?, task)
    }
}

impl<'a> ChangedRows<'a> {
    fn of(part: &'a MeasuredBatch, mut rows: Vec<usize>, start: usize, clean: &'a Clean) -> Result<Self> {
        rows.sort_unstable();
        let batch = Batch::new(rows.iter().filter_map(|row| part.batch.rows().get(*row).cloned()).collect())?;
        let columns = batch.width().saturating_sub(start);
        let spots = part.spots.iter().enumerate().filter_map(|(number, spot)| {
            let row = rows.binary_search(&spot.within).ok()?;
            Some((number, (row * columns + spot.column.checked_sub(start)?) as u32))
        });
        Ok(Self { part: &part.batch, spots: spots.collect(), batch, rows, start, clean })
    }

    /// Selects the rows and columns from the residual stream of a whole batch: `[rows, columns, d]`.
    fn picked(&self, x: &Tensor) -> Result<Tensor> {
        let rows: Vec<u32> = self.rows.iter().map(|row| *row as u32).collect();
        let x = x.narrow(1, self.start, self.batch.width() - self.start)?.contiguous()?;
        Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
    }

    /// Selects the feature activations of the rows and columns, but for some first ones, from those of a batch.
    fn codes(&self, codes: &SparseCodes, part: &MeasuredBatch, apart: usize) -> SparseCodes {
        let columns = self.start + apart..self.batch.width();
        let positions =
            self.rows.iter().flat_map(|row| columns.clone().map(move |column| row * part.batch.width() + column));
        codes.picked(&positions.collect::<Vec<_>>())
    }

    /// Selects the measured positions of `[rows, columns, d]`.
    fn chosen(&self, x: &Tensor) -> Result<Tensor> {
        let places: Vec<u32> = self.spots.iter().map(|(_, place)| *place).collect();
        Ok(x.flatten(0, 1)?.index_select(&Tensor::new(places, x.device())?, 0)?)
    }
}
