//! Evaluation of a fitted lens: how far its predictions are from the model's own in the end, compared with the logit
//! lens.

use std::sync::Arc;

use super::prompts::cut;
use super::tuned::{LOGITS_AT_ONCE, PromptActivations, PromptPart};
use super::{FittedLens, output};
use crate::base::bootstrap::bootstrap;
use crate::base::{Cell, Result, Table, Task};
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::reading::lens::LOGIT_LENS;
use crate::tensor::floats;

crate::options! {
    /// Options of evaluating a lens.
    pub struct JudgeLensOptions {
        /// Maximum number of tokens of a prompt.
        context: usize = 128 => at_least(1.0);
        /// Maximum number of prompts.
        prompts: usize = 100 => at_least(1.0);
    }
}

/// Prompts in one pass.
const AT_ONCE: usize = 8;

/// The seed of the bootstrap.
const SEED: u64 = 0;

impl FittedLens {
    /// Computes for each layer the mean over tokens of KL(model || lens), in nats, of this lens and of the logit lens,
    /// with the bootstrap interval over prompts.
    pub fn judge(
        &self,
        model: &Decoder,
        prompts: &[Vec<u32>],
        options: &JudgeLensOptions,
        task: &Task,
    ) -> Result<Table> {
        self.check(model)?;
        let prompts = cut(prompts, model.config(), options.context, options.prompts)?;
        let last = model.config().layers - 1;
        let places: Vec<_> = self.layers().map(output).collect();
        let lenses = [self.kind().name(), LOGIT_LENS];
        // By place and lens, the sum over the tokens of each prompt.
        let mut sums = vec![[const { Vec::<f64>::new() }; 2]; places.len()];
        let bar = task.begin("judging a lens", Some(prompts.len() as u64));
        for some in prompts.chunks(AT_ONCE) {
            let batch = Batch::new(some.iter().map(|ids| ids.to_vec()).collect())?;
            let seen = Arc::new(PromptActivations::of(model, batch, places.clone(), task)?);
            let mut found = vec![[const { Vec::<f64>::new() }; 2]; places.len()];
            for tokens in seen.parts(LOGITS_AT_ONCE)? {
                let part = PromptPart::of(&seen, tokens, model, task)?;
                for (place, found) in places.iter().zip(&mut found) {
                    let stream = part.stream(*place)?;
                    let carried = self.carried(*place, &stream, last)?;
                    for (found, x) in found.iter_mut().zip([carried, stream]) {
                        task.check()?;
                        found.extend(floats(&part.divergences(model, *place, x, task)?)?);
                    }
                }
            }
            for (sums, found) in sums.iter_mut().zip(&found) {
                for (sums, found) in sums.iter_mut().zip(found) {
                    sums.extend(by_prompt(found, some));
                }
            }
            bar.advance(some.len() as u64);
        }
        let lengths: Vec<f64> = prompts.iter().map(|ids| ids.len() as f64).collect();
        let tokens: f64 = lengths.iter().sum();
        let mut table =
            Table::new("KL(model || lens), in nats", ["site", "lens", "KL", "low", "high", "tokens", "prompts"], []);
        for (place, sums) in places.iter().zip(&sums) {
            for (lens, sums) in lenses.iter().zip(sums) {
                let mean = |drawn: &[usize]| {
                    let of = |numbers: &[f64]| drawn.iter().map(|prompt| numbers[*prompt]).sum::<f64>();
                    of(sums) / of(&lengths)
                };
                let ends = bootstrap(prompts.len(), SEED, mean);
                let [low, high] = Cell::ends(ends);
                let kl = sums.iter().sum::<f64>() / tokens;
                let counts = [(tokens as usize).into(), prompts.len().into()];
                let named = [place.to_string().as_str().into(), (*lens).into(), kl.into(), low, high];
                table.rows.push(named.into_iter().chain(counts).collect());
            }
        }
        Ok(table)
    }
}

/// Adds up the tokens of each prompt.
fn by_prompt(divergences: &[f64], prompts: &[&[u32]]) -> Vec<f64> {
    let mut all = divergences.iter();
    prompts.iter().map(|ids| all.by_ref().take(ids.len()).sum()).collect()
}
