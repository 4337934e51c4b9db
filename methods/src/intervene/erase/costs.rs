//! Harm of erasers to a model: loss and divergence.

use super::Eraser;
use super::reading::{LabelledRows, batch_of, batches};
use crate::common::*;
use crate::model::hooks::BoundHook;
use crate::model::reading::compare::kl;

/// The rise of the loss, and KL, that an eraser causes: sums or means over positions.
#[derive(Clone, Copy, Default)]
pub struct Costs {
    pub loss: f64,
    pub kl: f64,
}

/// Measures the harm of each eraser, as a hook at all positions: means over the positions of each kind.
pub fn costs(model: &Model, read: &LabelledRows, site: &str, erasers: &[&Eraser], task: &Task) -> Result<Vec<Costs>> {
    let mut sums = vec![Costs::default(); erasers.len()];
    let count = |marks: &[Vec<bool>]| marks.iter().flatten().filter(|is| **is).count() as f64;
    let predicted = count(&read.is_predicted);
    let elsewhere = count(&read.is_elsewhere);
    let bar = task.begin("running the model", Some((read.rows.len() * (erasers.len() + 1)) as u64));
    let mut start = 0;
    for rows in batches(&read.rows) {
        let losses = &read.is_predicted[start..start + rows.len()];
        let kls = &read.is_elsewhere[start..start + rows.len()];
        start += rows.len();
        let places: Vec<(usize, usize)> = (0..rows.len())
            .flat_map(|row| (0..rows[row].ids.len()).map(move |position| (row, position)))
            .filter(|(row, position)| losses[*row][*position] || kls[*row][*position])
            .collect();
        if places.is_empty() {
            bar.advance((rows.len() * (erasers.len() + 1)) as u64);
            continue;
        }
        let batch = batch_of(rows)?;
        let decoder = &model.decoder;
        let end = |hooks| -> Result<PassEnd> {
            Ok(decoder.run_to_end(&batch, Ask { hooks, ..Ask::default() }, &places, task)?.1)
        };
        let clean = end(Vec::new())?;
        // Where no token comes next, the loss of any other is left out.
        let next = |(row, position): &(usize, usize)| rows[*row].ids.get(position + 1).copied().unwrap_or_default();
        let targets: Vec<u32> = places.iter().map(next).collect();
        bar.advance(rows.len() as u64);
        for (eraser, sum) in erasers.iter().zip(&mut sums) {
            task.check()?;
            let hook = BoundHook::new(model.decoder.config(), site, None, None, Box::new(Eraser::clone(eraser)))?;
            let erased = end(vec![hook])?;
            let compared = decoder.compared_by_words(&[clean.clone(), erased.clone()], &targets, task)?;
            if let Some([clean, erased]) = compared.as_deref() {
                for ((clean, erased), (row, position)) in clean.iter().zip(erased).zip(&places) {
                    if losses[*row][*position] {
                        sum.loss += erased.loss - clean.loss;
                    } else {
                        sum.kl += erased.divergence;
                    }
                }
                bar.advance(rows.len() as u64);
                continue;
            }
            let [clean, erased] = [&clean, &erased].map(|end| decoder.logits_of(end, 0..places.len(), task));
            let [clean, erased] = [clean?, erased?];
            for (at, (row, position)) in places.iter().enumerate() {
                let clean = floats(&clean.get(at)?)?;
                let erased = floats(&erased.get(at)?)?;
                if losses[*row][*position] {
                    let next = rows[*row].ids[position + 1] as usize;
                    sum.loss += surprise(&erased, next)? - surprise(&clean, next)?;
                } else {
                    sum.kl += kl(&clean, &erased);
                }
            }
            bar.advance(rows.len() as u64);
        }
    }
    let mean = |sum: Costs| Costs { loss: sum.loss / predicted.max(1.0), kl: sum.kl / elsewhere.max(1.0) };
    Ok(sums.into_iter().map(mean).collect())
}

/// Returns -log p of a token.
fn surprise(logits: &[f64], token: usize) -> Result<f64> {
    let logit =
        logits.get(token).ok_or_else(|| err!(Argument, "the model does not predict token {token} of the text"))?;
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln() - logit)
}
