//! Resampling: dead features are re-initialised as rows that are badly reconstructed (Bricken et al. 2023, appendix
//! "Neuron resampling").

use candle_core::Var;
use rand::{Rng, RngExt};

use super::loss::FitBatch;
use super::params::{ParamName, unit_rows};
use super::plan::Recipe;
use super::state::FitState;
use crate::base::random::stream;
use crate::common::*;

/// The norm of a resampled feature's encoder row, relative to those of the living.
const SHARE: f64 = 0.2;

impl FitState {
    /// Gives dead features the directions of rows that are drawn with a probability proportional to the square of their
    /// loss, each row once; where there are more dead features than rows, the others stay dead. Returns the number of
    /// resampled features.
    pub fn resample(&mut self, batch: &FitBatch, recipe: &Recipe) -> Result<usize> {
        let dead: Vec<u32> = (0..)
            .zip(&self.silent)
            .filter(|(_, rows)| **rows >= recipe.dead_after)
            .map(|(feature, _)| feature)
            .collect();
        if dead.is_empty() {
            return Ok(0);
        }
        let losses = floats(&self.loss(batch, recipe)?.rest.sqr()?.sum(1)?)?;
        let lengths = |x: &Tensor| floats(&x.sqr()?.sum(1)?);
        let read = lengths(&batch.x)?;
        let written = lengths(batch.target())?;
        let weight = |((loss, read), written): ((f64, f64), f64)| {
            if read > 0.0 && written > 0.0 {
                loss * loss
            } else {
                // A row of zeros is no direction.
                0.0
            }
        };
        let weights: Vec<f64> = losses.into_iter().zip(read).zip(written).map(weight).collect();
        let rows = drawn(&weights, dead.len(), &mut stream(recipe.seed, "resampling", self.step));
        self.begin_anew(&dead, &rows, batch, recipe)?;
        Ok(rows.len())
    }

    /// Gives the first of the dead features the directions of these rows, one each, with an encoder row of a fifth of
    /// the mean norm of those of the living, a bias of 0, and moments of 0.
    pub(super) fn begin_anew(&mut self, dead: &[u32], rows: &[u32], batch: &FitBatch, recipe: &Recipe) -> Result<()> {
        let some = &dead[..rows.len().min(dead.len())];
        let device = batch.x.device();
        if some.is_empty() {
            return Ok(());
        }
        let rows = Tensor::new(rows, device)?;
        let places = Tensor::new(some, device)?;
        let directions = |x: &Tensor| unit_rows(&x.index_select(&rows, 0)?);
        let length = self.mean_length_of_others(dead)? * SHARE;
        let starts = recipe.kind.properties().more;
        for parameter in &self.params.all {
            let weight = parameter.weight.as_detached_tensor();
            let anew = match parameter.name {
                ParamName::Encoder => (directions(&batch.x)? * length)?,
                ParamName::Decoder => directions(batch.target())?,
                ParamName::DecoderBias | ParamName::Skip | ParamName::Own(_) => continue,
                name => {
                    let start = starts.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, start)| *start);
                    Tensor::full(start as f32, some.len(), device)?
                }
            };
            replace(&parameter.weight, &places, &anew.to_dtype(weight.dtype())?)?;
            for moment in &parameter.moments {
                replace(moment, &places, &anew.zeros_like()?.to_dtype(weight.dtype())?)?;
            }
        }
        for feature in some {
            if let Some(rows) = self.silent.get_mut(*feature as usize) {
                *rows = 0;
            }
        }
        Ok(())
    }

    /// Computes the mean norm of the other encoder rows; 1 where there are none.
    fn mean_length_of_others(&self, dead: &[u32]) -> Result<f64> {
        let lengths = floats(&self.params.get(ParamName::Encoder)?.as_detached_tensor().sqr()?.sum(1)?.sqrt()?)?;
        let others = (0..).zip(lengths).filter(|(feature, _)| dead.binary_search(feature).is_err());
        let others: Vec<f64> = others.map(|(_, length)| length).collect();
        Ok(if others.is_empty() { 1.0 } else { others.iter().sum::<f64>() / others.len() as f64 })
    }
}

/// Draws at most so many different indices, each with a probability proportional to its weight among those that are
/// left: the indices in the order of exponential waiting times with these rates.
fn drawn(weights: &[f64], count: usize, random: &mut impl Rng) -> Vec<u32> {
    let times = weights.iter().map(|weight| -(1.0 - random.random::<f64>()).ln() / weight);
    let mut places: Vec<(f64, u32)> = times.zip(0..).filter(|(time, _)| time.is_finite()).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().take(count).map(|(_, place)| place).collect()
}

/// Puts new rows, or numbers, in these places.
fn replace(variable: &Var, places: &Tensor, new: &Tensor) -> Result<()> {
    let old = variable.as_detached_tensor();
    let taken = old.index_select(places, 0)?;
    // The old row is subtracted exactly before the new one is added.
    let emptied = old.index_add(places, &taken.neg()?, 0)?;
    variable.set(&emptied.index_add(places, new, 0)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Device};

    #[test]
    fn rows_are_drawn_by_their_weights_and_each_once() {
        let weights = [0.0, 1.0, 3.0, f64::NAN];
        let first = |seed| drawn(&weights, 1, &mut stream(seed, "draws", 0))[0];
        let heavy = (0..2000).filter(|seed| first(*seed) == 2).count();
        // Three quarters, within five standard deviations.
        assert!((1400..1600).contains(&heavy), "{heavy}");
        let mut all = drawn(&weights, 4, &mut stream(0, "draws", 0));
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        assert!(drawn(&[0.0; 3], 2, &mut stream(0, "draws", 0)).is_empty());
    }

    #[test]
    fn rows_are_replaced_and_others_stay() {
        let variable = Var::new(&[[1.0_f32, 2.0], [0.1, 0.7], [5.0, 6.0]], &Device::Cpu).unwrap();
        let places = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
        replace(&variable, &places, &Tensor::new(&[[0.3_f32, -4.0]], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(variable.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [0.3, -4.0], [5.0, 6.0]]);
        assert_eq!(variable.dtype(), DType::F32);
    }
}
