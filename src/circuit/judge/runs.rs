//! The model on the contexts of a judgement, with codes of its dictionaries changed.

use super::Options;
use super::change::Change;
use super::contexts::Contexts;
use crate::base::{Result, Task};
use crate::circuit::tree::{Read, Reader, Stage};
use crate::features::{Survey, Tally};
use crate::model::Model;
use crate::model::run::Ask;
use crate::tensor::{DType, Tensor, normalise};

/// What a run shows, as means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The target's code at the positions where it was active.
    pub code: f64,
    /// The tokens' probability where one of them comes next.
    pub due: Option<f64>,
    /// And where another one does, in the same rows.
    pub elsewhere: Option<f64>,
    /// KL(clean || changed) in rows of other text, in nats a position.
    pub kl: Option<f64>,
}

pub struct Runs<'a> {
    model: &'a Model,
    stages: &'a [Stage],
    survey: &'a Survey,
    /// The level of the target: how many dictionaries stand before its own.
    level: usize,
    reader: Reader,
    tokens: Vec<u32>,
    pub contexts: Contexts,
    /// What flows at each dictionary up to the target's: `[rows, pos, d_model]`.
    streams: Vec<Tensor>,
    /// Level by level: the mean code of each feature over all positions of the text.
    means: Vec<Vec<f32>>,
    /// log P of every token at the positions of other text.
    unrelated: Option<Tensor>,
    pub clean: Found,
}

impl<'a> Runs<'a> {
    pub fn of(
        model: &'a Model,
        stages: &'a [Stage],
        survey: &'a Survey,
        (level, feature): (usize, usize),
        options: &Options,
        task: &Task,
    ) -> Result<Self> {
        let stages = stages.get(..=level).unwrap_or(stages);
        let stage = &stages[level];
        let mut contexts = Contexts::of(model, stage, (level, feature), survey, options, task)?;
        let ask = Ask { places: stages.iter().map(|stage| stage.place).collect(), ..Ask::default() };
        let cache = model.decoder.cache(&contexts.batch, ask, task)?;
        let streams: Vec<Tensor> = stages.iter().map(|stage| cache.at(stage.place)).collect::<Result<_>>()?;
        let reader = Reader::new(&stage.sae, feature, Read::Code)?;
        let codes = reader.of(&streams[level].flatten(0, 1)?, task)?;
        let (width, lengths) = (contexts.batch.width(), contexts.batch.lengths());
        let is_real = |place: usize| lengths.get(place / width).is_some_and(|length| place % width < *length);
        contexts.active = (0..codes.len()).filter(|i| codes[*i] != 0.0 && is_real(*i)).map(|i| i as u32).collect();
        let positions = survey.positions.max(1) as f64;
        let means = survey.dictionaries.iter().take(level);
        let means = means.map(|of| of.iter().map(|tally| (tally.sum / positions) as f32).collect()).collect();
        let nothing = Found { code: 0.0, due: None, elsewhere: None, kl: None };
        let tokens = options.tokens.clone();
        let mut runs = Self {
            model,
            stages,
            survey,
            level,
            reader,
            tokens,
            contexts,
            streams,
            means,
            unrelated: None,
            clean: nothing,
        };
        let x = runs.streams[level].clone();
        runs.unrelated = runs.logs(&runs.last(x, task)?, &runs.contexts.unrelated, task)?;
        runs.clean = runs.changed(&[], task)?;
        Ok(runs)
    }

    /// The site of the dictionary at a level.
    pub fn name(&self, level: usize) -> String {
        self.stages.get(level).map(|stage| stage.place.to_string()).unwrap_or_default()
    }

    /// What is known of the features of a level.
    pub fn tallies(&self, level: usize) -> &[Tally] {
        self.survey.dictionaries.get(level).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a run shows in which the dictionaries before the target's are changed, level by level. It begins where the
    /// first of them is.
    pub fn changed(&self, changes: &[Change], task: &Task) -> Result<Found> {
        task.check()?;
        let first = changes.iter().position(|change| !change.is_none()).unwrap_or(self.level).min(self.level);
        let mut x = self.streams[first].clone();
        for level in first..self.level {
            if let Some(change) = changes.get(level).filter(|change| !change.is_none()) {
                let flat = change.of(&self.stages[level].sae, &self.means[level], &x.flatten(0, 1)?, task)?;
                x = flat.reshape(x.shape())?;
            }
            let blocks = self.stages[level].block..self.stages[level + 1].block;
            x = self.model.decoder.behind(&self.contexts.batch, x, blocks, task)?;
        }
        self.found(x, task)
    }

    /// What is read of what flows at the target's dictionary.
    fn found(&self, x: Tensor, task: &Task) -> Result<Found> {
        let codes = self.reader.of(&chosen(&x, &self.contexts.active)?, task)?;
        let last = self.last(x, task)?;
        let mean = |log: Option<Tensor>| log.map(|log| self.probability(&log)).transpose();
        let kl = match (&self.unrelated, self.logs(&last, &self.contexts.unrelated, task)?) {
            (Some(clean), Some(log)) => Some(mean_of(&(clean.exp()? * (clean - log)?)?.sum(1)?)?),
            _ => None,
        };
        let due = if self.tokens.is_empty() { &[][..] } else { &self.contexts.due };
        let elsewhere = if self.tokens.is_empty() { &[][..] } else { &self.contexts.elsewhere };
        Ok(Found {
            code: codes.iter().sum::<f64>() / codes.len().max(1) as f64,
            due: mean(self.logs(&last, due, task)?)?,
            elsewhere: mean(self.logs(&last, elsewhere, task)?)?,
            kl,
        })
    }

    /// What flows behind the last block, of what flows at the target's dictionary.
    fn last(&self, x: Tensor, task: &Task) -> Result<Tensor> {
        let blocks = self.stages[self.level].block..self.model.decoder.config().layers;
        self.model.decoder.behind(&self.contexts.batch, x, blocks, task)
    }

    /// log P of every token at some positions: `[positions, vocab]`.
    fn logs(&self, last: &Tensor, positions: &[u32], task: &Task) -> Result<Option<Tensor>> {
        if positions.is_empty() {
            return Ok(None);
        }
        let logits = self.model.decoder.read_out(&chosen(last, positions)?, task)?;
        Ok(Some(normalise::log_softmax(&logits.to_dtype(DType::F32)?, -1)?))
    }

    /// The mean over positions of the tokens' probability together.
    fn probability(&self, log: &Tensor) -> Result<f64> {
        let tokens = Tensor::new(self.tokens.as_slice(), log.device())?;
        mean_of(&log.index_select(&tokens, 1)?.exp()?.sum(1)?)
    }
}

/// Positions of `[rows, pos, d]`.
fn chosen(x: &Tensor, positions: &[u32]) -> Result<Tensor> {
    Ok(x.flatten(0, 1)?.index_select(&Tensor::new(positions, x.device())?, 0)?)
}

fn mean_of(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()?)
}
