//! The effect of steering with its damage, compared with random directions of the same length.

use std::collections::HashSet;

use super::label::LabelShare;
use super::sweep::{SteeringSweep, SweepStrength, figure};
use crate::common::*;
use crate::intervene::chance::together_of;
use crate::intervene::rerun::Reruns;
use crate::model::run::token_losses;
use crate::tensor::normalise::divergences;

/// Intended effects of steering.
pub enum Effect<'a> {
    /// The total probability of tokens after each prompt.
    Tokens(Vec<u32>),
    /// The share of the tokens written after each prompt that have a label.
    Label(&'a LabelShare),
    /// A number for each text that is written.
    Texts(&'a mut dyn FnMut(&str) -> Result<f64>),
}

/// The number of words in a row whose repetition is counted.
const GRAM: usize = 3;

/// Measures the sweep as a table: for each strength the effect on the prompts, and on a text the loss, KL(clean ||
/// steered) and how repetitive the written text is, each with its mean and the 95 % bootstrap interval over prompts or
/// rows. `random` rows are the mean of directions drawn at random, whose change is as long at every position.
pub fn steer(sweep: &SteeringSweep, text: &[Vec<u32>], effect: &mut Effect, task: &Task) -> Result<Table> {
    if !matches!(effect, Effect::Tokens(_)) && sweep.options.tokens == 0 {
        return Err(
            err!(Argument, "expected tokens to write, by which the effect is measured, found 0").about("tokens")
        );
    }
    let mut damages = damage(sweep, text, task)?.into_iter();
    let mut measure = |pushed: &SweepStrength| -> Result<Vec<Vec<f64>>> {
        let (loss, kl) = damages.next().ok_or_else(|| err!(Bug, "a strength whose damage was not measured"))?;
        let (effects, repetition) = effects(sweep, effect, pushed, task)?;
        Ok(vec![effects, loss, kl, repetition])
    };
    let found = sweep.run(&mut measure, task)?;
    let row = |line: &super::sweep::SweepLine| -> Vec<Cell> {
        let figure = |quantity: usize| figure(&line.values[quantity], sweep.seed);
        let mut cells: Vec<Cell> = vec![line.direction.into(), line.strength.into(), line.values[0].len().into()];
        cells.extend(figure(0));
        cells.push(line.values[1].len().into());
        (1..4).for_each(|quantity| cells.extend(figure(quantity)));
        cells
    };
    Ok(Table::new("steering: the effect, and the damage to other text", COLUMNS, found.iter().map(row)))
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

/// Measures the effect on each prompt, and how repetitive what is written after it is.
fn effects(
    sweep: &SteeringSweep,
    effect: &mut Effect,
    pushed: &SweepStrength,
    task: &Task,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut found = Vec::new();
    if let Effect::Tokens(tokens) = effect {
        let decoder = &sweep.model.decoder;
        let ask = Ask { hooks: sweep.hooks(pushed)?, ..Ask::default() };
        let (_, end) = decoder.run_to_end(sweep.prompts, ask, &sweep.prompts.last_points(), task)?;
        found = together_of(decoder, &end, tokens, task)?;
    }
    if sweep.options.tokens == 0 {
        return Ok((found, Vec::new()));
    }
    let made = sweep.written(pushed, matches!(effect, Effect::Texts(_)), task)?;
    match effect {
        Effect::Tokens(_) => {}
        Effect::Label(share) => {
            let each = sweep.prompts.rows().iter().zip(&made.ids);
            found = each.map(|(prompt, ids)| share.of(prompt, ids)).collect::<Result<_>>()?;
        }
        Effect::Texts(metric) => found = made.texts.iter().map(|text| metric(text)).collect::<Result<_>>()?,
    }
    Ok((found, made.ids.iter().map(|ids| repetition(ids)).collect()))
}

/// Measures the loss of each row of the text, and KL(clean || steered), for each push of the sweep in its order. A row is read
/// once for all of them, and goes on from the site for each.
fn damage(sweep: &SteeringSweep, text: &[Vec<u32>], task: &Task) -> Result<Vec<(Vec<f64>, Vec<f64>)>> {
    sweep.model.decoder.config().expect_next_token("the damage of steering")?;
    let others = sweep.others()?;
    let pushes = sweep.pushes(&others);
    let mut found = vec![(Vec::new(), Vec::new()); pushes.len()];
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let bar = task.begin("steering other text", Some((text.len() * pushes.len()) as u64));
    for ids in text {
        let batch = Batch::new(vec![ids.clone()])?;
        let reruns = Reruns::new(&sweep.model.decoder, &batch, &sweep.push.places(), task)?;
        let points = batch.points();
        let clean = reruns.end(Vec::new(), &points, task)?;
        // Behind the last token is any, whose loss is left out.
        let next: Vec<u32> = ids.iter().skip(1).copied().chain([0]).collect();
        for (pushed, (losses, kls)) in pushes.iter().zip(&mut found) {
            task.check()?;
            let steered = reruns.end(sweep.hooks(pushed)?, &points, task)?;
            let mut loss = Vec::new();
            let mut kl = Vec::new();
            let take = &mut |range: Range<usize>, logits: &[Tensor]| {
                // The last token has a loss of none behind it.
                let next = ids.len().min(range.end + 1);
                loss.extend(floats(&token_losses(&logits[1], &ids[range.start..next])?)?);
                kl.extend(floats(&divergences(&logits[0], &logits[1])?)?);
                Ok(())
            };
            let ends = [clean.clone(), steered];
            match sweep.model.decoder.compared_by_words(&ends, &next, task)? {
                Some(found) => {
                    let steered = found.into_iter().next_back().unwrap_or_default();
                    kl = steered.iter().map(|row| row.divergence).collect();
                    loss = steered.iter().take(ids.len() - 1).map(|row| row.loss).collect();
                }
                None => sweep.model.decoder.logits_of_ends(&ends, take, task)?,
            }
            if !loss.is_empty() {
                losses.push(mean(loss));
            }
            kls.push(mean(kl));
            bar.advance(1);
        }
    }
    Ok(found)
}

/// Returns the share of triples of tokens that occurred before in the same text; 0 for a text without triples.
pub(super) fn repetition(ids: &[u32]) -> f64 {
    let grams: Vec<&[u32]> = ids.windows(GRAM).collect();
    let distinct: HashSet<&[u32]> = grams.iter().copied().collect();
    if grams.is_empty() { 0.0 } else { 1.0 - distinct.len() as f64 / grams.len() as f64 }
}
