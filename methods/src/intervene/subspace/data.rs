//! The pairs of an interchange, and runs of their base texts with the activations of their sources.

use super::interchange::{InterchangeAccuracy, InterchangeHook};
use crate::common::*;
use crate::intervene::rerun::begin;
use crate::model::hooks::{BoundHook, Chain};

/// The number of pairs in one pass that judges.
const AT_ONCE: usize = 64;

/// Two texts, and the token that comes next where the base has the variable of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interchange {
    pub base: Vec<u32>,
    pub source: Vec<u32>,
    pub answer: u32,
}

/// The basis of a subspace that is interchanged, `[d, k]`, and the share of each of its directions.
#[derive(Clone, Copy)]
pub struct InterchangeBasis<'a> {
    pub basis: &'a Tensor,
    pub mask: Option<&'a Tensor>,
}

/// Pairs with what is computed once for all interchanges.
pub struct PreparedPairs<'a> {
    model: &'a Decoder,
    place: Place,
    pos: i64,
    pairs: Vec<Interchange>,
    /// The activations of the sources, `[pairs, d]`.
    sources: Tensor,
    /// The residual stream of the base texts before the site, `[pairs, pos, d_model]`; none where runs begin with the
    /// text.
    start: Option<(Site, Tensor)>,
}

impl<'a> PreparedPairs<'a> {
    pub fn new(model: &'a Decoder, place: Place, pos: i64, pairs: &[Interchange], task: &Task) -> Result<Self> {
        let outputs = model.config().outputs();
        if let Some((number, pair)) = pairs.iter().enumerate().find(|(_, pair)| pair.answer as usize >= outputs) {
            let found = pair.answer;
            return Err(
                err!(Argument, "expected answers below {outputs}, found {found} in pair {number}").about("pairs")
            );
        }
        let texts = |of: fn(&Interchange) -> &Vec<u32>| {
            Batch::new(pairs.iter().map(|pair| of(pair).clone()).collect()).map_err(|e| e.about("pairs"))
        };
        let bases = texts(|pair| &pair.base)?;
        let sources = texts(|pair| &pair.source)?;
        let ask = Ask { places: vec![place], positions: Some(vec![pos]), ..Ask::default() };
        let found = model.cache(&sources, ask, task)?.at(place)?.to_dtype(DType::F32)?;
        let start = match begin(model.config(), place.site) {
            None => None,
            Some(site) => {
                let first = Place { site, head: None };
                Some((site, model.cache(&bases, Ask { places: vec![first], ..Ask::default() }, task)?.at(first)?))
            }
        };
        Ok(Self { model, place, pos, pairs: pairs.to_vec(), sources: found.flatten_from(1)?.contiguous()?, start })
    }

    /// Returns the device of the model, on which a basis is searched.
    pub fn device(&self) -> &Device {
        self.sources.device()
    }

    /// Returns the width of the site.
    pub fn width(&self) -> usize {
        self.sources.dims().last().copied().unwrap_or_default()
    }

    /// Returns the end of a pass after the base texts of some pairs, with an interchange if there is a basis.
    fn end(&self, rows: &[usize], change: Option<InterchangeBasis>, task: &Task) -> Result<PassEnd> {
        let batch = Batch::new(rows.iter().map(|row| self.pairs[*row].base.clone()).collect())?;
        let chosen = Tensor::from_iter(rows.iter().map(|row| *row as u32), self.sources.device())?;
        let mut hooks = Vec::new();
        if let Some(InterchangeBasis { basis, mask }) = change {
            let sources = self.sources.index_select(&chosen, 0)?;
            let edit = InterchangeHook { sources, basis: basis.clone(), mask: mask.cloned() };
            let config = self.model.config();
            let site = self.place.to_string();
            hooks.push(BoundHook::new(config, &site, None, Some(vec![self.pos]), Box::new(edit))?);
        }
        let mut chain = Chain { hooks, ..Chain::default() };
        self.model.end_of(&mut chain, &batch.last_points(), |chain, logits| {
            let found = match &self.start {
                Some((site, streams)) => {
                    let stream = streams.index_select(&chosen, 0)?.narrow(1, 0, batch.width())?.contiguous()?;
                    self.model.resumed(&batch, *site, &stream, chain, logits, task)?
                }
                None => self.model.forward(&batch, Pass { hooks: chain, past: None, logits, task })?,
            };
            found.ok_or_else(|| err!(Bug, "an interchange without an end"))
        })
    }

    /// Returns the logits after the base texts of some pairs, `[rows, vocab]`, with an interchange if there is a basis.
    #[cfg(test)]
    pub fn logits(&self, rows: &[usize], change: Option<InterchangeBasis>, task: &Task) -> Result<Tensor> {
        self.model.logits_of(&self.end(rows, change, task)?, 0..rows.len(), task)
    }

    /// Returns the mean of -log p(answer) under an interchange.
    pub fn loss(&self, rows: &[usize], basis: &Tensor, mask: Option<&Tensor>, task: &Task) -> Result<Tensor> {
        let end = self.end(rows, Some(InterchangeBasis { basis, mask }), task)?;
        let answers: Vec<u32> = rows.iter().map(|row| self.pairs[*row].answer).collect();
        Ok(self.model.losses_of(&end, &answers, task)?.to_dtype(DType::F32)?.mean_all()?)
    }

    /// Measures how often the answer is the likeliest token.
    pub fn accuracy(
        &self,
        what: &'static str,
        rows: &[usize],
        change: Option<InterchangeBasis>,
        task: &Task,
    ) -> Result<InterchangeAccuracy> {
        let mut right = 0;
        for rows in rows.chunks(AT_ONCE) {
            task.check()?;
            let likeliest = self.model.likeliest_tokens(&self.end(rows, change, task)?, task)?;
            right += rows.iter().zip(likeliest).filter(|(row, id)| self.pairs[**row].answer == *id).count();
        }
        Ok(InterchangeAccuracy { what, right, pairs: rows.len() })
    }
}
