//! Steering: a vector or features pushed while a model reads or writes, with the intended effect and the harm to
//! everything else.

mod axbench;
mod label;
mod measure;
mod push;
mod sweep;
#[cfg(test)]
mod tests;
mod vector;

pub use axbench::{Grader, axbench};
pub use label::LabelShare;
pub use measure::{Effect, steer};
pub use push::{Direction, Push, PushOptions, StrengthUnit};
pub use sweep::{SteerOptions, SteeringSweep};
pub use vector::{ContrastTexts, ReadTexts, VectorMethod, VectorOptions, steering_vector};

use crate::data::harvest;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::sae::prelude::*;

crate::options! {
    /// Text that is written while a feature is held (Bricken et al. 2023, pinned sampling).
    pub struct PinnedOptions {
        /// Strengths at which the feature is held, in multiples of its maximum on the text.
        strengths: Vec<f64> = vec![0.0, 1.0, 2.0, 5.0];
        /// Number of texts at each strength.
        samples: usize = 1 => at_least(1.0);
        /// The site of the dictionary, in any model.
        site: Option<String> = None => usually("the dictionary's");
        with generate: GenerateOptions;
    }
}

/// A feature of a dictionary that is held at a strength.
#[derive(Clone, Copy)]
pub struct HeldFeature<'a> {
    pub sae: &'a Sae,
    pub feature: usize,
}

/// Continues a prompt while a feature is held at multiples of its maximum on a text, at every position; 0 ablates it.
pub fn pinned(
    model: &Model,
    held: HeldFeature,
    prompt: &[u32],
    text: &[Vec<u32>],
    options: &PinnedOptions,
    seed: u64,
    task: &Task,
) -> Result<Table> {
    let HeldFeature { sae, feature } = held;
    let direction = Direction::of_features(sae, &[feature], options.site.as_deref())?;
    let clamped = PushOptions { clamp: true, ..PushOptions::default() };
    let push = Push::new(&model.decoder, vec![direction], text, &clamped, task)?;
    let room = (options.samples as u128).saturating_mul(size_of_val(prompt) as u128 + size_of::<Vec<u32>>() as u128);
    memory::check(room, || format!("{} samples", options.samples)).map_err(|e| e.about("samples"))?;
    let batch = Batch::new(vec![prompt.to_vec(); options.samples])?;
    let bar = task.begin("writing", Some(options.strengths.len() as u64));
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for strength in &options.strengths {
        let hooks = push.hooks(&model.decoder, *strength, None)?;
        let made =
            model.generate(&batch, &options.generate, Drawn { seed, in_words: true }, hooks, &mut |_| {}, task)?;
        for text in made.texts {
            rows.push(vec![(*strength).into(), (strength * push.unit()).into(), text.into()]);
        }
        bar.advance(1);
    }
    Ok(Table::new(format!("text written while feature {feature} is held"), ["strength", "activation", "text"], rows))
}

/// Returns the rows of a text that damage is measured on.
pub fn rows(model: &Model, text: &Text, context: Option<usize>, count: usize, task: &Task) -> Result<Vec<Vec<u32>>> {
    let context = harvest::context(model.decoder.config(), context)?;
    let found = crate::data::pack::gathered(text, model.tokenizer()?, context, Some(count), task, |row| Ok(row.ids));
    let found = found.map_err(|e| e.about("text"))?;
    if found.is_empty() {
        Err(err!(Argument, "expected a text with tokens, found none in {}", text.name()).about("text"))
    } else {
        Ok(found)
    }
}
