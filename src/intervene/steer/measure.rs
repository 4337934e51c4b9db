//! A sweep of strengths: the effect of steering beside its damage, and beside random directions of the same length.

use std::collections::HashSet;

use super::push::Push;
use crate::base::bootstrap::bootstrap;
use crate::base::random::{SeedOptions, stream};
use crate::base::{Cell, Result, Table, Task};
use crate::err;
use crate::intervene::rerun::Reruns;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits};
use crate::model::generate::GenerateOptions;
use crate::model::run::token_losses;
use crate::tensor::normalise::{divergences, log_probabilities};
use crate::tensor::{DType, Tensor, create, floats};

crate::options! {
    /// A sweep of steering.
    #[derive(Debug, Clone)]
    pub struct SteerOptions {
        /// Strengths: multiples of a vector, or of a feature's maximum on the text.
        strengths: Vec<f64> = vec![0.0, 0.5, 1.0, 2.0, 4.0];
        /// Whether features are set to their strength, and not raised by it.
        clamp: bool = false;
        /// Number of random directions of the same length.
        random: usize = 3;
        /// Tokens written after each prompt, for repetition and for a metric of texts; 0 for none.
        tokens: usize = 20;
        /// The sampling temperature of what is written.
        temperature: f64 = 1.0 => at_least(0.0);
        /// Maximum number of rows of the text.
        rows: usize = 20 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("the model's");
        with seed: SeedOptions;
    }
}

/// What steering should do.
pub enum Effect<'a> {
    /// The total probability of tokens after each prompt.
    Tokens(Vec<u32>),
    /// A number for each text that is written.
    Texts(&'a mut dyn FnMut(&str) -> Result<f64>),
}

/// Words in a row whose repetition is counted.
const GRAM: usize = 3;

/// What is measured at one strength, in one or several directions.
#[derive(Default)]
struct Measured {
    /// By prompt.
    effects: Vec<f64>,
    /// By prompt: the share of triples of tokens that were written before.
    repetition: Vec<f64>,
    /// By row of the text: cross-entropy, and KL(clean || steered), means over its positions.
    loss: Vec<f64>,
    kl: Vec<f64>,
}

impl Measured {
    /// The mean over several directions, observation by observation.
    fn mean(all: &[Measured]) -> Self {
        let of = |field: fn(&Measured) -> &Vec<f64>| -> Vec<f64> {
            let count = all.first().map_or(0, |first| field(first).len());
            let sum = |at: usize| all.iter().filter_map(|one| field(one).get(at)).sum::<f64>();
            (0..count).map(|at| sum(at) / all.len() as f64).collect()
        };
        Self {
            effects: of(|one| &one.effects),
            repetition: of(|one| &one.repetition),
            loss: of(|one| &one.loss),
            kl: of(|one| &one.kl),
        }
    }
}

/// The sweep as a table: for each strength the effect on the prompts, and on other text the loss, KL(clean || steered)
/// and how repetitive the written text is, each with its mean and the 95 % bootstrap interval over prompts or rows.
/// `random` rows are the mean of directions drawn at random, whose change is as long at every position.
pub fn steer(
    model: &Model,
    push: &Push,
    prompts: &Batch,
    text: &[Vec<u32>],
    (effect, options, seed): (&mut Effect, &SteerOptions, u64),
    task: &Task,
) -> Result<Table> {
    if let Some(strength) = options.strengths.iter().find(|strength| !strength.is_finite()) {
        return Err(err!(Argument, "expected finite strengths, found {strength}").about("strengths"));
    }
    if matches!(effect, Effect::Texts(_)) && options.tokens == 0 {
        return Err(err!(Argument, "expected tokens to write for a metric of texts, found 0").about("tokens"));
    }
    let sweep = Sweep { model, push, prompts, text, options, seed, task };
    let others = (0..options.random).map(|draw| sweep.drawn(draw)).collect::<Result<Vec<_>>>()?;
    let bar = task.begin("steering", Some((options.strengths.len() * (1 + others.len())) as u64));
    let mut table = Table {
        title: "steering: the effect, and the damage to other text".into(),
        columns: COLUMNS.map(String::from).into(),
        rows: Vec::new(),
    };
    for strength in &options.strengths {
        let own = sweep.measured(*strength, None, effect)?;
        bar.advance(1);
        table.rows.push(row("own", *strength, &own, seed));
        if others.is_empty() {
            continue;
        }
        let mut drawn = Vec::new();
        for other in &others {
            drawn.push(sweep.measured(*strength, Some(other), effect)?);
            bar.advance(1);
        }
        table.rows.push(row("random", *strength, &Measured::mean(&drawn), seed));
    }
    Ok(table)
}

const COLUMNS: [&str; 16] = [
    "direction",
    "strength",
    "prompts",
    "effect",
    "effect_low",
    "effect_high",
    "rows",
    "loss",
    "loss_low",
    "loss_high",
    "kl",
    "kl_low",
    "kl_high",
    "repetition",
    "repetition_low",
    "repetition_high",
];

fn row(direction: &str, strength: f64, found: &Measured, seed: u64) -> Vec<Cell> {
    let figure = |values: &[f64]| -> [Cell; 3] {
        if values.is_empty() {
            return [Cell::Missing, Cell::Missing, Cell::Missing];
        }
        let mean = |chosen: &mut dyn Iterator<Item = f64>, count: usize| chosen.sum::<f64>() / count as f64;
        let interval =
            bootstrap(values.len(), seed, |drawn| mean(&mut drawn.iter().map(|at| values[*at]), drawn.len()));
        let [low, high] = interval.map_or([Cell::Missing, Cell::Missing], |ends| ends.map(Cell::Float));
        [mean(&mut values.iter().copied(), values.len()).into(), low, high]
    };
    let mut cells: Vec<Cell> = vec![direction.into(), strength.into(), found.effects.len().into()];
    cells.extend(figure(&found.effects));
    cells.push(found.loss.len().into());
    cells.extend(figure(&found.loss));
    cells.extend(figure(&found.kl));
    cells.extend(figure(&found.repetition));
    cells
}

struct Sweep<'a> {
    model: &'a Model,
    push: &'a Push,
    prompts: &'a Batch,
    text: &'a [Vec<u32>],
    options: &'a SteerOptions,
    seed: u64,
    task: &'a Task,
}

impl Sweep<'_> {
    fn decoder(&self) -> &Decoder {
        &self.model.decoder
    }

    /// A random unit vector for each site.
    fn drawn(&self, draw: usize) -> Result<Vec<Tensor>> {
        let mut random = stream(self.seed, "steering", draw as u64);
        let unit = |width: usize| -> Result<Tensor> {
            let drawn = create::randn(&[width], DType::F32, &mut random)?;
            Ok(drawn.broadcast_div(&drawn.sqr()?.sum_all()?.sqrt()?)?)
        };
        self.push.widths().into_iter().map(unit).collect()
    }

    fn measured(&self, strength: f64, other: Option<&Vec<Tensor>>, effect: &mut Effect) -> Result<Measured> {
        let others = other.map(Vec::as_slice);
        let (loss, kl) = self.damage(strength, others)?;
        let mut found = Measured { loss, kl, ..Measured::default() };
        if let Effect::Tokens(tokens) = effect {
            let hooks = self.push.hooks(self.decoder(), strength, others)?;
            let logits = self.decoder().logits_at(self.prompts, &[-1], hooks, self.task)?.squeeze(1)?;
            let chosen = Tensor::new(tokens.as_slice(), logits.device())?;
            found.effects = floats(&log_probabilities(&logits)?.exp()?.index_select(&chosen, 1)?.sum(1)?)?;
        }
        if self.options.tokens > 0 {
            let hooks = self.push.hooks(self.decoder(), strength, others)?;
            let (tokens, temperature) = (self.options.tokens, Some(self.options.temperature));
            let options = GenerateOptions { tokens, temperature, ..GenerateOptions::default() };
            let in_words = matches!(effect, Effect::Texts(_));
            let made =
                self.model.generate(self.prompts, &options, (self.seed, in_words), hooks, &mut |_| {}, self.task)?;
            found.repetition = made.ids.iter().map(|ids| repetition(ids)).collect();
            if let Effect::Texts(metric) = effect {
                found.effects = made.texts.iter().map(|text| metric(text)).collect::<Result<_>>()?;
            }
        }
        Ok(found)
    }

    /// The loss of each row of the text, and KL(clean || steered).
    fn damage(&self, strength: f64, others: Option<&[Tensor]>) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut losses, mut kls) = (Vec::new(), Vec::new());
        for ids in self.text {
            self.task.check()?;
            let batch = Batch::new(vec![ids.clone()])?;
            let reruns = Reruns::new(self.decoder(), &batch, &self.push.places(), self.task)?;
            let run = |hooks| -> Result<Tensor> { Ok(reruns.logits(1, hooks, Logits::All, self.task)?.get(0)?) };
            let (clean, steered) = (run(Vec::new())?, run(self.push.hooks(self.decoder(), strength, others)?)?);
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            if ids.len() > 1 {
                losses.push(mean(floats(&token_losses(&steered, ids)?)?));
            }
            kls.push(mean(floats(&divergences(&log_probabilities(&clean)?, &log_probabilities(&steered)?)?)?));
        }
        Ok((losses, kls))
    }
}

/// The share of triples of tokens that occurred before in the same text; 0 for a text without triples.
pub(super) fn repetition(ids: &[u32]) -> f64 {
    let grams: Vec<&[u32]> = ids.windows(GRAM).collect();
    let distinct: HashSet<&[u32]> = grams.iter().copied().collect();
    if grams.is_empty() { 0.0 } else { 1.0 - distinct.len() as f64 / grams.len() as f64 }
}
