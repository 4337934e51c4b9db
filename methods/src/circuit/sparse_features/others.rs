//! What nodes are moved to where they are ablated: the corrupt run's values, zero, or means.

use super::placed::{Placed, Values};
use super::taps::{Noted, noted};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::tensor::{DType, Tensor};

/// Tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

/// What nodes are moved to.
pub enum Others {
    /// Their values in the run of the corrupt prompt.
    Corrupt,
    /// By dictionary the same values in all runs.
    Fixed(Vec<Values>),
}

impl Others {
    /// Zero for all.
    pub fn zero(model: &Decoder, placed: &[Placed]) -> Result<Self> {
        let like = Tensor::zeros(1, DType::F32, model.device())?;
        Ok(Self::Fixed(placed.iter().map(|placed| Values::zero(placed, &like)).collect::<Result<_>>()?))
    }

    /// The means over some texts: at each of so many positions, or over all positions.
    pub fn mean(
        model: &Decoder,
        placed: &[Placed],
        texts: &[Vec<u32>],
        positions: Option<usize>,
        task: &Task,
    ) -> Result<Self> {
        let rows = positions.unwrap_or(1);
        let sizes = |placed: &Placed| (vec![0.0; rows * placed.features()], vec![0.0; rows * placed.sae.d_out()]);
        let mut sums: Vec<(Vec<f64>, Vec<f64>)> = placed.iter().map(sizes).collect();
        let mut counts = vec![0.0; rows];
        let longest = texts.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let bar = task.begin("taking means", Some(texts.len() as u64));
        for texts in texts.chunks((AT_ONCE / longest).max(1)) {
            task.check()?;
            let batch = Batch::new(texts.to_vec())?;
            let run = noted(model, placed, &batch, task)?;
            // The positions of texts, and not what is behind the end of shorter ones.
            let (width, lengths) = (batch.width(), batch.lengths());
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
        let each = sums.into_iter().map(|(codes, error)| Ok(Values { codes: mean(codes)?, error: mean(error)? }));
        Ok(Self::Fixed(each.collect::<Result<_>>()?))
    }

    /// The values of a dictionary that the nodes of a run of `width` positions are moved to; those of the corrupt run are
    /// in `from`. Behind the positions that have means, the last one's are taken: there are only answers.
    pub fn of(&self, level: usize, placed: &Placed, from: Option<&Noted>, width: usize) -> Result<Values> {
        match (self, from) {
            (Others::Corrupt, Some(from)) => from.values(placed),
            (Others::Corrupt, None) => Err(err!(Bug, "a patch without its run")),
            (Others::Fixed(all), _) => {
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
                Ok(Values { codes: long(&values.codes)?, error: long(&values.error)? })
            }
        }
    }
}
