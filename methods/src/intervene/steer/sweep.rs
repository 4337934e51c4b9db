//! A sweep of strengths, in the given direction and in random ones.

use super::push::{Push, PushOptions};
use crate::common::*;
use crate::model::generate::{Continuations, Drawn, GenerateOptions};
use crate::model::hooks::BoundHook;
use crate::options::seed::SeedOptions;
use crate::tensor::create;

crate::options! {
    /// A sweep of steering.
    pub struct SteerOptions {
        /// Strengths, in multiples of `unit`.
        strengths: Vec<f64> = vec![0.0, 0.5, 1.0, 2.0, 4.0];
        /// Number of random directions of the same length.
        random: usize = 3;
        /// Number of tokens written after each prompt; 0 for none.
        tokens: usize = 20;
        /// The sampling temperature of what is written.
        temperature: f64 = 1.0 => at_least(0.0);
        /// Maximum number of rows of the text.
        rows: usize = 20 => at_least(1.0);
        /// Number of tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        with push: PushOptions;
        with seed: SeedOptions;
    }
}

/// A sweep to measure: the model, the push, the prompts and the options.
pub struct SteeringSweep<'a> {
    pub model: &'a Model,
    pub push: &'a Push,
    pub prompts: &'a Batch,
    pub options: &'a SteerOptions,
    pub seed: u64,
}

/// Quantities at one strength, each for all prompts or rows; NaN is a value that could not be measured.
type Quantities = Vec<Vec<f64>>;

/// A line of a sweep. Of random directions the values are means over them.
pub struct SweepLine {
    pub direction: &'static str,
    pub strength: f64,
    pub values: Quantities,
    /// The number of values of the first quantity, over all directions, that could not be measured.
    pub failed: usize,
}

/// A strength in the own direction, or in other directions: a unit vector for each site.
pub struct SweepStrength<'a> {
    pub strength: f64,
    pub others: Option<&'a [Tensor]>,
}

impl SteeringSweep<'_> {
    /// Measures each strength, in the own direction and in random ones, whose changes are as long at every position.
    pub fn run(
        &self,
        measure: &mut dyn FnMut(&SweepStrength) -> Result<Quantities>,
        task: &Task,
    ) -> Result<Vec<SweepLine>> {
        let others = self.others()?;
        let pushes = self.pushes(&others);
        let bar = task.begin("steering", Some(pushes.len() as u64));
        let mut found = Vec::new();
        for of_strength in pushes.chunks(1 + others.len()) {
            let (own, random) = of_strength.split_at(1);
            for (direction, pushes) in [("own", own), ("random", random)] {
                let mut all = Vec::new();
                for pushed in pushes {
                    all.push(measure(pushed)?);
                    bar.advance(1);
                }
                if let Some(SweepStrength { strength, .. }) = pushes.first() {
                    found.push(SweepLine { direction, strength: *strength, failed: failed(&all), values: mean(&all) });
                }
            }
        }
        Ok(found)
    }

    /// Draws the random directions, for strengths that are finite.
    pub fn others(&self) -> Result<Vec<Vec<Tensor>>> {
        if let Some(strength) = self.options.strengths.iter().find(|strength| !strength.is_finite()) {
            return Err(err!(Argument, "expected finite strengths, found {strength}").about("strengths"));
        }
        (0..self.options.random).map(|draw| self.drawn(draw)).collect()
    }

    /// Returns what `run` measures, in its order: each strength in the own direction and in the random ones.
    pub fn pushes<'o>(&self, others: &'o [Vec<Tensor>]) -> Vec<SweepStrength<'o>> {
        let mut all = Vec::new();
        for strength in self.options.strengths.iter().copied() {
            all.push(SweepStrength { strength, others: None });
            all.extend(others.iter().map(|others| SweepStrength { strength, others: Some(others) }));
        }
        all
    }

    pub fn hooks<'h>(&self, pushed: &SweepStrength) -> Result<Vec<BoundHook<'h>>> {
        self.push.hooks(&self.model.decoder, pushed.strength, pushed.others)
    }

    /// Returns what the steered model writes after the prompts; as texts, too, if `in_words`.
    pub fn written(&self, pushed: &SweepStrength, in_words: bool, task: &Task) -> Result<Continuations> {
        let tokens = self.options.tokens;
        let temperature = Some(self.options.temperature);
        let options = GenerateOptions { tokens, temperature, ..GenerateOptions::default() };
        self.model.generate(
            self.prompts,
            &options,
            Drawn { seed: self.seed, in_words },
            self.hooks(pushed)?,
            &mut |_| {},
            task,
        )
    }

    /// Draws a random unit vector for each site.
    fn drawn(&self, draw: usize) -> Result<Vec<Tensor>> {
        let mut random = stream(self.seed, "steering", draw as u64);
        let unit = |width: usize| -> Result<Tensor> {
            let drawn = create::randn(&[width], DType::F32, &mut random)?;
            Ok(drawn.broadcast_div(&drawn.sqr()?.sum_all()?.sqrt()?)?)
        };
        self.push.widths().into_iter().map(unit).collect()
    }
}

/// Returns the mean over several directions of what could be measured, value by value.
fn mean(all: &[Quantities]) -> Quantities {
    let Some(first) = all.first() else { return Vec::new() };
    let of = |quantity: usize, at: usize| {
        let found: Vec<f64> = all.iter().map(|one| one[quantity][at]).filter(|value| !value.is_nan()).collect();
        found.iter().sum::<f64>() / found.len() as f64
    };
    first.iter().enumerate().map(|(quantity, values)| (0..values.len()).map(|at| of(quantity, at)).collect()).collect()
}

fn failed(all: &[Quantities]) -> usize {
    all.iter().filter_map(|one| one.first()).flatten().filter(|value| value.is_nan()).count()
}

/// Returns the mean of what could be measured, and its 95 % bootstrap interval.
pub fn figure(values: &[f64], seed: u64) -> [Cell; 3] {
    let values: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    if values.is_empty() {
        return [Cell::Missing, Cell::Missing, Cell::Missing];
    }
    let mean = |chosen: &mut dyn Iterator<Item = f64>, count: usize| chosen.sum::<f64>() / count as f64;
    let interval = bootstrap(values.len(), seed, |drawn| mean(&mut drawn.iter().map(|at| values[*at]), drawn.len()));
    let [low, high] = Cell::ends(interval);
    [mean(&mut values.iter().copied(), values.len()).into(), low, high]
}
