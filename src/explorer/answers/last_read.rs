//! The text that was read last. A key changes the end of a text, and only what is behind the first change is computed; on a
//! model of 270 million weights that is the most of the time.

use std::sync::{Arc, PoisonError};

use super::super::state::{Dictionary, Explorer};
use crate::base::{Result, Task};
use crate::features::contexts;
use crate::model::batch::Batch;
use crate::model::decoder::Past;
use crate::model::run::{Ask, token_losses};
use crate::model::site::Place;
use crate::sae::SparseCodes;
use crate::tensor::{DType, Tensor};

/// What a pass over a text leaves for the next one.
pub struct LastRead {
    place: Place,
    ids: Vec<u32>,
    past: Past,
    /// The activations at the place: `[1, pos, width]`.
    activations: Tensor,
    /// The loss of every token but the first.
    losses: Vec<f32>,
}

impl LastRead {
    /// The number of columns that a text has in common with this one, but for the last of them, whose logits are asked for.
    fn shared(&self, ids: &[u32]) -> usize {
        self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count().saturating_sub(1)
    }
}

/// The codes of a dictionary at each token, the loss of each but the first, and the logits of the last tokens, `[pos, vocab]`.
pub fn read_on(
    explorer: &Explorer,
    of: &Dictionary,
    ids: &[u32],
    task: &Task,
) -> Result<(SparseCodes, Vec<f32>, Tensor)> {
    let decoder = &explorer.model.decoder;
    let last = explorer.last_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let last = last.filter(|last| last.place == of.place && decoder.config().causal);
    let shared = last.as_ref().map_or(0, |last| last.shared(ids));
    let begun = match last {
        Some(last) => last.past.first(shared)?.map(|past| (past, last)),
        None => None,
    };
    let (past, last) = begun.unzip();
    let mut past = past.unwrap_or_default();
    let start = past.columns();
    let batch = Batch::new(vec![ids[start..].to_vec()])?;
    let run = decoder.run_behind(&mut past, &batch, Ask { places: vec![of.place], ..Ask::default() }, task)?;
    let logits = run.logits.get(0)?;
    let new = token_losses(&logits, &ids[start..])?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let activations = run.cache.at(of.place)?;
    let (activations, losses) = match last {
        Some(last) => {
            let before = last.activations.narrow(1, 0, start)?;
            (Tensor::cat(&[&before, &activations], 1)?, [&last.losses[..start], &new].concat())
        }
        None => (activations, new),
    };
    let whole = Batch::new(vec![ids.to_vec()])?;
    let cache = run.cache.holding([(of.place, activations.clone())]);
    let codes = contexts::recorded(&explorer.model, (&of.sae, of.place), &whole, &cache, task)?;
    let read = LastRead { place: of.place, ids: ids.to_vec(), past, activations, losses: losses.clone() };
    *explorer.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(read));
    Ok((codes, losses, logits))
}
