//! Weights that stay sparse in training (Gao et al. 2025, section 2.1): after each step only the largest weights of each
//! matrix stay, by size, and the others become 0.
//!
//! The share that stays falls from 1 to its end over the first steps, by the same factor in each. The authors' falls evenly,
//! over many more steps; in a short training that takes a third of the last weights away in a few dozen steps, from which
//! the model does not recover. Gradients and moments are those of all weights, so that one that was 0 comes back when a
//! step makes it larger than others. Norms are left alone.

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::options::maps::map_setting;
use crate::tensor::{Tensor, floats};
use crate::training::Parameter;

crate::options! {
    /// Options of weights that stay sparse.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SparseOptions {
        /// Share of each matrix that is not 0 in the end.
        weights: f64 = 0.05 => above(0.0).at_most(1.0);
        /// Share of the steps over which the share of weights falls from 1 to its end, by equal factors.
        annealed: f64 = 0.5 => at_least(0.0).at_most(1.0);
        /// Number of weights that each neuron, and each channel of queries, keys and values, keeps at least, into it and
        /// out of it.
        least: usize = 4;
    }
}

map_setting!(SparseOptions);

impl SparseOptions {
    /// Returns the share of weights that stays after a step, counted from 0, of so many.
    pub fn share(&self, step: u64, steps: u64) -> f64 {
        let falling = self.annealed * steps as f64;
        let done = ((step + 1) as f64 / falling.max(1.0)).min(1.0);
        self.weights.powf(done)
    }

    /// Sets all but the largest weights of a parameter to 0, where the parameter is a matrix or a bias of one.
    pub fn enforce(&self, parameter: &Parameter<String>, share: f64) -> Result<()> {
        if share >= 1.0 || is_dense(&parameter.name, parameter.weight.rank()) {
            return Ok(());
        }
        let weight = parameter.weight.as_detached_tensor();
        let mut numbers = floats(&weight)?;
        let kept = ((share * numbers.len() as f64).round() as usize).max(1);
        keep_largest(&mut numbers, kept, &units(&parameter.name, weight.dims()), self.least);
        let sparse = Tensor::from_vec(numbers, weight.dims(), weight.device())?.to_dtype(weight.dtype())?;
        Ok(parameter.weight.set(&sparse)?)
    }
}

/// Returns whether a parameter is left alone: the weights of norms, and all vectors that are no biases.
fn is_dense(name: &str, rank: usize) -> bool {
    name.contains("norm") || (rank < 2 && !name.ends_with("bias"))
}

/// Returns the positions of the weights of each neuron or channel: rows of a matrix that writes to them, columns of one
/// that reads them.
fn units(name: &str, dims: &[usize]) -> Vec<Vec<usize>> {
    const INTO: [&str; 5] = ["mlp.up.weight", "mlp.gate.weight", "attn.q.weight", "attn.k.weight", "attn.v.weight"];
    const OUT_OF: [&str; 2] = ["mlp.down.weight", "attn.o.weight"];
    let [rows, columns] = *dims else { return Vec::new() };
    if INTO.iter().any(|end| name.ends_with(end)) {
        return (0..rows).map(|row| (row * columns..(row + 1) * columns).collect()).collect();
    }
    if OUT_OF.iter().any(|end| name.ends_with(end)) {
        return (0..columns).map(|column| (0..rows).map(|row| row * columns + column).collect()).collect();
    }
    Vec::new()
}

/// Sets all but the `kept` largest numbers to 0, and leaves each unit its `least` largest.
fn keep_largest(numbers: &mut [f64], kept: usize, units: &[Vec<usize>], least: usize) {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    let mut stays = vec![false; numbers.len()];
    for place in largest(numbers, &mut order, kept) {
        stays[*place] = true;
    }
    for unit in units {
        let mut own = unit.clone();
        for place in largest(numbers, &mut own, least) {
            stays[*place] = true;
        }
    }
    for (number, stays) in numbers.iter_mut().zip(stays) {
        if !stays {
            *number = 0.0;
        }
    }
}

/// Returns the places of the largest numbers, of equals the first.
fn largest<'a>(numbers: &[f64], places: &'a mut [usize], count: usize) -> &'a [usize] {
    let before = |a: &usize, b: &usize| numbers[*b].abs().total_cmp(&numbers[*a].abs()).then(a.cmp(b));
    if count < places.len() {
        places.select_nth_unstable_by(count, before);
    }
    &places[..count.min(places.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_falls_by_equal_factors_and_then_stays() {
        let options = SparseOptions { weights: 0.0625, annealed: 0.5, least: 0 };
        let shares: Vec<f64> = (0..8).map(|step| (options.share(step, 8) * 1e6).round() / 1e6).collect();
        assert_eq!(shares, [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625]);
        let at_once = SparseOptions { annealed: 0.0, ..options };
        assert_eq!(at_once.share(0, 8), 0.0625);
    }

    #[test]
    fn the_largest_stay_by_size_and_each_unit_has_its_least() {
        let begun = [1.0, -5.0, 2.0, 0.5, 0.25, -0.125];
        let mut numbers = begun;
        keep_largest(&mut numbers, 2, &[], 0);
        assert_eq!(numbers, [0.0, -5.0, 2.0, 0.0, 0.0, 0.0]);
        // Two rows of three, each of which keeps one.
        let mut numbers = begun;
        keep_largest(&mut numbers, 2, &units("blocks.0.mlp.up.weight", &[2, 3]), 1);
        assert_eq!(numbers, [0.0, -5.0, 2.0, 0.5, 0.0, 0.0]);
        let mut numbers = begun;
        keep_largest(&mut numbers, 1, &units("blocks.0.attn.o.weight", &[2, 3]), 1);
        assert_eq!(numbers, [1.0, -5.0, 2.0, 0.0, 0.0, 0.0]);
        let mut equal = [1.0, 1.0, -1.0];
        keep_largest(&mut equal, 2, &[], 9);
        assert_eq!(equal, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn norms_stay_and_biases_of_maps_do_not() {
        assert!(is_dense("blocks.0.attn_norm.weight", 1));
        assert!(is_dense("final_norm.bias", 1));
        assert!(is_dense("blocks.0.attn.sinks", 1));
        assert!(!is_dense("blocks.0.mlp.up.bias", 1));
        assert!(!is_dense("embed", 2));
    }
}
