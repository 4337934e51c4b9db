//! Predictions of next and of masked tokens: the likeliest tokens by the logits.

use std::ops::Range;

use kernels::LikeliestWords;

use super::Model;
use super::batch::Batch;
use super::config::Predicts;
use super::decoder::Decoder;
use super::hooks::{BoundHook, checks};
use super::run::PassEnd;
use crate::base::{Cell, Error, Result, Table, Task};
use crate::err;
use crate::tensor::axes::from_end;
use crate::tensor::{DType, Tensor, normalise, order};
use crate::tokenizer::Tokenizer;

/// The default number of predicted tokens.
pub const USUAL_COUNT: usize = 5;

crate::options! {
    /// Options of a prediction: where it is made.
    #[derive(Debug, Clone, Copy)]
    pub struct PredictOptions {
        /// The position after which the prediction is made, or of the masked token; negative ones count from the end.
        pos: Option<i64> = None => usually("-1, and in a model of masked tokens that of the one mask token");
    }
}

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    pub id: u32,
    pub probability: f64,
    pub logit: f64,
}

/// Returns the `k` likeliest tokens after a position, by logits `[pos, vocab]`; equal ones in the order of their ids.
/// Negative positions count from the end.
pub fn likeliest(logits: &Tensor, position: i64, k: usize) -> Result<Vec<Prediction>> {
    let place = place_within(position, logits.dim(0)?)?;
    likeliest_there(&logits.get(place)?, place, k)
}

/// Returns the `k` likeliest tokens at each point of the end of a pass, as [`likeliest`].
pub fn likeliest_at(decoder: &Decoder, end: &PassEnd, k: usize, task: &Task) -> Result<Vec<Vec<Prediction>>> {
    check_count(k, decoder.config().outputs())?;
    let mut all = Vec::with_capacity(end.points()?);
    if end.is_before_logits()
        && let Some(found) = decoder.likeliest_by_words(end.rows(), k, task)?
    {
        for (place, LikeliestWords { words, total }) in found.into_iter().enumerate() {
            if total.is_nan() {
                return Err(nan_at(place));
            }
            let prediction = |(id, logit): (u32, f32)| {
                let logit = f64::from(logit);
                Prediction { id, probability: (logit - total).exp(), logit }
            };
            all.push(words.into_iter().map(prediction).collect());
        }
        return Ok(all);
    }
    let take = &mut |points: Range<usize>, logits: &[Tensor]| {
        for (at, place) in points.enumerate() {
            all.push(likeliest_there(&logits[0].get(at)?, place, k)?);
        }
        Ok(())
    };
    decoder.logits_of_ends(std::slice::from_ref(end), take, task)?;
    Ok(all)
}

/// Predicts the `k` likeliest tokens after a position of the only text of a batch, whose other logits are not computed.
pub fn predicted(
    decoder: &Decoder,
    batch: &Batch,
    position: i64,
    k: usize,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Vec<Prediction>> {
    let place = place_within(position, batch.width())?;
    likeliest_there(&decoder.logits_at_points(batch, &[(0, place)], hooks, task)?.get(0)?, place, k)
}

impl PredictOptions {
    /// Returns the position whose logits are read for the only text of a batch.
    pub fn position(&self, model: &Model, batch: &Batch) -> Result<i64> {
        match self.pos {
            Some(pos) => Ok(pos),
            None if model.decoder.config().predicts == Predicts::Masked => masked(model, batch),
            None => Ok(-1),
        }
    }
}

/// Finds the only mask token of a text.
fn masked(model: &Model, batch: &Batch) -> Result<i64> {
    let mask = model.tokenizer.as_ref().and_then(Tokenizer::mask);
    let ids = batch.only_row()?;
    let places: Vec<usize> =
        ids.iter().enumerate().filter(|(_, id)| Some(**id) == mask).map(|(place, _)| place).collect();
    match places[..] {
        [place] => Ok(place as i64),
        _ => Err(err!(
            Argument,
            "expected one mask token in the text for a model that predicts masked tokens, found {}",
            places.len()
        )
        .hint("or name the position that is predicted: #{ pos: 3 }")
        .about("x")),
    }
}

fn place_within(position: i64, length: usize) -> Result<usize> {
    let place = from_end(position, length);
    place.ok_or_else(|| err!(Argument, "expected a position within the {length} tokens of the text, found {position}"))
}

/// Returns the `k` likeliest tokens by the logits at one position, `[vocab]`.
fn likeliest_there(logits: &Tensor, place: usize, k: usize) -> Result<Vec<Prediction>> {
    check_count(k, logits.elem_count())?;
    let logits = logits.to_dtype(DType::F64)?;
    if checks::first_nan(&logits)?.is_some() {
        return Err(nan_at(place));
    }
    let probabilities = normalise::softmax(&logits, 0)?.to_vec1::<f64>()?;
    let (values, ids) = order::topk(&logits, k, 0, order::Direction::Descending)?;
    let found = ids.to_vec1::<i64>()?.into_iter().zip(values.to_vec1::<f64>()?);
    Ok(found.map(|(id, logit)| Prediction { id: id as u32, probability: probabilities[id as usize], logit }).collect())
}

fn check_count(k: usize, vocab: usize) -> Result<()> {
    if (1..=vocab).contains(&k) {
        return Ok(());
    }
    Err(err!(Argument, "expected from 1 to {vocab} tokens, found {k}"))
}

fn nan_at(place: usize) -> Error {
    err!(Numeric, "the logits at position {place} are NaN")
}

/// Predictions as a table, with the texts of the tokens where there is a tokenizer.
pub fn table(tokenizer: Option<&Tokenizer>, found: Vec<Prediction>) -> Table {
    let mut columns: Vec<String> = ["id", "probability", "logit"].map(String::from).into();
    if tokenizer.is_some() {
        columns.insert(0, "token".into());
    }
    let row = |found: Prediction| -> Vec<Cell> {
        // A model may have more rows than its tokenizer has tokens; these have no text.
        let text = tokenizer.map(|tokenizer| Cell::from(tokenizer.text_of(found.id).ok()));
        let numbers = [found.id.into(), found.probability.into(), found.logit.into()];
        text.into_iter().chain(numbers).collect()
    };
    Table::new("", columns, found.into_iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn the_likeliest_come_first_and_equals_by_their_ids() {
        let logits = [[9.0_f32, 0.0, 0.0, 0.0], [0.0, 2.0_f32.ln(), 0.0, 0.0]];
        let logits = Tensor::new(&logits, &Device::Cpu).unwrap();
        let found = likeliest(&logits, -1, 3).unwrap();
        assert_eq!(found.iter().map(|p| p.id).collect::<Vec<_>>(), [1, 0, 2]);
        assert!((found[0].probability - 0.4).abs() < 1e-6 && (found[1].probability - 0.2).abs() < 1e-6);
        assert_eq!(likeliest(&logits, 0, 1).unwrap()[0].id, 0);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let logits = Tensor::new(&[[0.0_f32, f32::NAN]], &Device::Cpu).unwrap();
        assert!(likeliest(&logits, 1, 1).unwrap_err().message.contains("found 1"));
        assert!(likeliest(&logits, 0, 3).unwrap_err().message.contains("from 1 to 2"));
        assert!(likeliest(&logits, 0, 1).unwrap_err().message.contains("NaN"));
    }
}
