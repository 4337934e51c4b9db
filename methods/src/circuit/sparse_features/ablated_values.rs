//! Values of ablated nodes: those of the corrupt run, zero, or means.

use super::gradients::{SiteActivations, noted};
use super::placed::{DictionaryValues, PlacedDictionary};
use crate::common::*;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

/// Values of ablated nodes.
pub enum AblatedValues {
    /// The values in the run of the corrupt prompt.
    Corrupt,
    /// Values that are equal in all runs, by dictionary.
    Fixed(Vec<DictionaryValues>),
}

impl AblatedValues {
    /// Returns zero for all nodes.
    pub fn zero(model: &Decoder, placed: &[PlacedDictionary]) -> Result<Self> {
        let like = Tensor::zeros(1, DType::F32, model.device())?;
        Ok(Self::Fixed(placed.iter().map(|placed| DictionaryValues::zero(placed, &like)).collect::<Result<_>>()?))
    }

    /// Computes the means over some texts: at each of `positions` positions, or over all positions.
    pub fn mean(
        model: &Decoder,
        placed: &[PlacedDictionary],
        texts: &[Vec<u32>],
        positions: Option<usize>,
        task: &Task,
    ) -> Result<Self> {
        let rows = positions.unwrap_or(1);
        let sizes =
            |placed: &PlacedDictionary| (vec![0.0; rows * placed.features()], vec![0.0; rows * placed.sae.d_out()]);
        let mut sums: Vec<(Vec<f64>, Vec<f64>)> = placed.iter().map(sizes).collect();
        let mut counts = vec![0.0; rows];
        let longest = texts.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let bar = task.begin("taking means", Some(texts.len() as u64));
        for texts in texts.chunks((AT_ONCE / longest).max(1)) {
            task.check()?;
            let batch = Batch::new(texts.to_vec())?;
            let run = noted(model, placed, &batch, task)?;
            // The positions of texts, and not those after the end of shorter ones.
            let width = batch.width();
            let lengths = batch.lengths();
            let places = (0..texts.len() * width).filter(|at| at % width < lengths[at / width]);
            let places: Vec<(usize, usize)> = places.map(|at| (at, at % width)).collect();
            let row = |position: usize| if positions.is_some() { position.min(rows - 1) } else { 0 };
            places.iter().for_each(|(_, position)| counts[row(*position)] += 1.0);
            for (placed, (codes, errors)) in placed.iter().zip(&mut sums) {
                let values = run.values(placed)?;
                for (found, sums) in [(values.codes, codes), (values.error, errors)] {
                    let wide = found.dim(2)?;
                    let found = found.flatten_all()?.to_vec1::<f32>()?;
                    for (at, position) in &places {
                        let from = &found[at * wide..(at + 1) * wide];
                        let to = &mut sums[row(*position) * wide..(row(*position) + 1) * wide];
                        to.iter_mut().zip(from).for_each(|(sum, x)| *sum += f64::from(*x));
                    }
                }
            }
            bar.advance(texts.len() as u64);
        }
        let mean = |sums: Vec<f64>| -> Result<Tensor> {
            let wide = sums.len() / rows;
            let means: Vec<f32> = sums.iter().enumerate().map(|(at, sum)| (sum / counts[at / wide]) as f32).collect();
            Ok(Tensor::from_vec(means, (1, rows, wide), model.device())?)
        };
        let each =
            sums.into_iter().map(|(codes, error)| Ok(DictionaryValues { codes: mean(codes)?, error: mean(error)? }));
        Ok(Self::Fixed(each.collect::<Result<_>>()?))
    }

    /// Returns the values of a dictionary's ablated nodes in a run of `width` positions; those of the corrupt run are
    /// in `from`. After the positions that have means, the last one's are taken: only answers follow.
    pub fn of(
        &self,
        level: usize,
        placed: &PlacedDictionary,
        from: Option<&SiteActivations>,
        width: usize,
    ) -> Result<DictionaryValues> {
        match (self, from) {
            (AblatedValues::Corrupt, Some(from)) => from.values(placed),
            (AblatedValues::Corrupt, None) => Err(err!(Bug, "a patch without its run")),
            (AblatedValues::Fixed(all), _) => {
                let values = all.get(level).ok_or_else(|| err!(Bug, "no means of `{}`", placed.writes))?;
                let long = |x: &Tensor| -> Result<Tensor> {
                    let rows = x.dim(1)?;
                    if rows == 1 || rows == width {
                        return Ok(x.clone());
                    }
                    let last = x.narrow(1, rows - 1, 1)?;
                    let more = width.saturating_sub(rows);
                    let last = last.broadcast_as((1, more, x.dim(2)?))?;
                    Ok(Tensor::cat(&[x, &last.contiguous()?], 1)?.narrow(1, 0, width)?)
                };
                Ok(DictionaryValues { codes: long(&values.codes)?, error: long(&values.error)? })
            }
        }
    }
}
