//! Weights that stay sparse in training (Gao et al. 2025, section 2.1 and appendix A.2): after each step only the largest
//! weights of each matrix stay, by size, and the others become 0. Among those that stay each neuron and each channel of
//! attention has its largest.
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

crate::choices! {
    /// Way in which the share of weights falls to its end.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum SparseFall {
        /// Multiplication by the same factor in each step.
        Factors = "factors",
        /// Subtraction of as much in each step, as in the authors' code.
        Evenly = "evenly",
    }
}

crate::options! {
    /// Options of weights that stay sparse.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct SparseOptions {
        /// Share of each matrix that is not 0 in the end.
        weights: f64 = 0.05 => above(0.0).at_most(1.0);
        /// Share of the steps over which the share of weights falls from 1 to its end.
        annealed: f64 = 0.5 => at_least(0.0).at_most(1.0);
        /// Whether that share falls by equal factors or evenly.
        falls: SparseFall = SparseFall::Factors;
        /// Number of weights that each neuron, and each channel of queries, keys and values, keeps at least, into it and
        /// out of it. They are among the share; if they are more than it, no others stay.
        least: usize = 4;
    }
}

map_setting!(SparseOptions);

impl SparseOptions {
    /// Returns the share of weights that stays after a step, counted from 0, of so many.
    pub fn share(&self, step: u64, steps: u64) -> f64 {
        let falling = self.annealed * steps as f64;
        let done = (step + 1) as f64 / falling.max(1.0);
        if done >= 1.0 {
            return self.weights;
        }
        match self.falls {
            SparseFall::Factors => self.weights.powf(done),
            SparseFall::Evenly => 1.0 + (self.weights - 1.0) * done,
        }
    }

    /// Sets all but the largest weights of a parameter to 0, where the parameter is a matrix or a bias of one.
    pub fn enforce(&self, parameter: &Parameter<String>, share: f64) -> Result<()> {
        if share >= 1.0 || is_dense(&parameter.name, parameter.weight.rank()) {
            return Ok(());
        }
        let weight = parameter.weight.as_detached_tensor();
        let mut numbers = floats(&weight)?;
        let kept = ((share * numbers.len() as f64) as usize).max(1);
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

/// Sets all but the `kept` largest numbers to 0. The `least` largest of each unit are among those that stay, and where they are
/// more than `kept`, no others are.
fn keep_largest(numbers: &mut [f64], kept: usize, units: &[Vec<usize>], least: usize) {
    let mut stays = vec![false; numbers.len()];
    for unit in units {
        let mut own = unit.clone();
        for place in largest(numbers, &mut own, least) {
            stays[*place] = true;
        }
    }
    let held = stays.iter().filter(|stays| **stays).count();
    let mut others: Vec<usize> = (0..numbers.len()).filter(|place| !stays[*place]).collect();
    for place in largest(numbers, &mut others, kept.saturating_sub(held)) {
        stays[*place] = true;
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
        let options = SparseOptions { weights: 0.0625, least: 0, ..SparseOptions::default() };
        let shares = |options: &SparseOptions| -> Vec<f64> {
            (0..8).map(|step| (options.share(step, 8) * 1e6).round() / 1e6).collect()
        };
        assert_eq!(shares(&options), [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625]);
        let at_once = SparseOptions { annealed: 0.0, ..options.clone() };
        assert_eq!(at_once.share(0, 8), 0.0625);
        let evenly = SparseOptions { weights: 0.25, falls: SparseFall::Evenly, ..options };
        assert_eq!(shares(&evenly), [0.8125, 0.625, 0.4375, 0.25, 0.25, 0.25, 0.25, 0.25]);
    }

    /// Compares weights and shares with those of the authors' code (tests/fixtures/sparse/make.py).
    #[test]
    fn weights_and_shares_are_those_of_the_authors_code() {
        let made = kit::tensors("sparse/step.safetensors");
        let names = [
            ("mlp.c_fc", "blocks.0.mlp.up.weight"),
            ("mlp.c_proj", "blocks.0.mlp.down.weight"),
            ("attn.c_attn", "blocks.0.attn.q.weight"),
            ("attn.c_proj", "blocks.0.attn.o.weight"),
        ];
        for (share, least) in [(0.5, 2), (0.3, 2), (0.11, 0)] {
            let options = SparseOptions { weights: share, least, ..SparseOptions::default() };
            for (theirs, ours) in names {
                let parameter = Parameter::new(ours.to_string(), &made[&format!("kept.before.{theirs}")]).unwrap();
                options.enforce(&parameter, share).unwrap();
                let found = floats(&parameter.weight.as_detached_tensor()).unwrap();
                let wanted = floats(&made[&format!("kept.{share}.{least}.{theirs}")]).unwrap();
                assert_eq!(found, wanted, "{share} of {ours}");
            }
        }
        let evenly = SparseOptions { weights: 0.1, falls: SparseFall::Evenly, ..SparseOptions::default() };
        let shares: Vec<f64> = (0..20).map(|step| evenly.share(step, 20)).collect();
        kit::assert_near(shares, floats(&made["schedule"]).unwrap(), 1e-15);
    }

    #[test]
    fn the_largest_stay_by_size_and_each_unit_has_its_least() {
        let begun = [1.0, -5.0, 2.0, 0.5, 0.25, -0.125];
        let mut numbers = begun;
        keep_largest(&mut numbers, 2, &[], 0);
        assert_eq!(numbers, [0.0, -5.0, 2.0, 0.0, 0.0, 0.0]);
        // Two rows of three, each of which keeps one.
        let mut numbers = begun;
        keep_largest(&mut numbers, 3, &units("blocks.0.mlp.up.weight", &[2, 3]), 1);
        assert_eq!(numbers, [0.0, -5.0, 2.0, 0.5, 0.0, 0.0]);
        // Three columns of two are more than the one weight that would stay.
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
