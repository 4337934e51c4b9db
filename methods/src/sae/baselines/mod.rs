//! Linear baselines as dictionaries, which a sparse autoencoder must beat.
//!
//! Directions have unit norm, so that a code is the norm of its part of the reconstruction, and an L0 of k keeps the k
//! codes of the largest absolute value.

mod ica;
mod moments;
mod nmf;
mod pca;
mod random;
mod signs;

pub use ica::{Ica, ica};
pub use moments::CovarianceMoments;
pub use nmf::{Nmf, nmf};
pub use pca::pca;
pub use random::{GAIN, random, random_about, with_gain};
pub use signs::split_signs;

use serde_json::Value;

pub use super::nonnegative::nonnegative;
use super::{About, Activation, Parts, Sae, Scaling};
use crate::base::Result;
use crate::base::random::{OF_CALL, Seed};
use crate::tensor::{DType, Tensor, create, linalg};
use crate::{bail, err};

crate::options! {
    /// Options of baselines: the number of codes that are kept.
    #[derive(Debug, Clone, Copy)]
    pub struct KeptCodesOptions {
        /// Number of codes kept in each row, those of the largest absolute value.
        k: Option<usize> = None => usually("all");
    }

    /// Options of baselines: the number of components that are found.
    #[derive(Debug, Clone, Copy)]
    pub struct ComponentOptions {
        /// Number of components.
        count: Option<usize> = None => usually("all");
        with codes: KeptCodesOptions;
    }

    /// Baselines that begin at random.
    #[derive(Debug, Clone, Copy)]
    pub struct RandomOptions {
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with codes: KeptCodesOptions;
    }

    /// Independent components.
    #[derive(Debug, Clone, Copy)]
    pub struct IcaOptions {
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with components: ComponentOptions;
    }

    /// Neurons as features.
    #[derive(Debug, Clone, Copy)]
    pub struct NeuronsOptions {
        /// Whether negative activations have a code of 0.
        relu: bool = false;
        with codes: KeptCodesOptions;
    }
}

/// Makes the identity: codes are the activations themselves, and so is the reconstruction.
pub fn identity(width: usize) -> Result<Sae> {
    basis("identity", width, Activation::Linear(None))
}

/// Makes a dictionary of the neurons themselves: codes are the activations, all of them or the k of the largest
/// absolute value.
pub fn neurons(width: usize, k: Option<usize>) -> Result<Sae> {
    basis("neurons", width, Activation::Linear(k))
}

/// Makes a dictionary of the neurons after a ReLU (the baseline of Cunningham et al. 2023).
pub fn neurons_relu(width: usize, k: Option<usize>) -> Result<Sae> {
    basis("neurons_relu", width, k.map_or(Activation::Relu, Activation::TopK))
}

fn basis(kind: &str, width: usize, activation: Activation) -> Result<Sae> {
    let eye = create::eye(width, width, DType::F32)?;
    Sae::new(parts(kind, eye.clone(), eye, activation, None))
}

/// Makes the parts of a baseline; a mean is subtracted before encoding and added after decoding.
fn parts(kind: &str, encoder: Tensor, decoder: Tensor, activation: Activation, mean: Option<Tensor>) -> Parts {
    Parts {
        encoder,
        encoder_bias: None,
        activation,
        decoder,
        centred: mean.is_some(),
        decoder_bias: mean,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About { kind: kind.into(), ..About::default() },
    }
}

/// Adds metadata of the fit.
fn noted(mut parts: Parts, notes: impl IntoIterator<Item = (&'static str, Value)>) -> Parts {
    parts.about.more.extend(notes.into_iter().map(|(name, value)| (name.to_string(), value)));
    parts
}

/// Returns the rows at unit norm, and their norms; a row of zeros stays as it is, with a norm of 1.
fn of_unit_norm(rows: &Tensor) -> Result<(Tensor, Tensor)> {
    let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?;
    let lengths = lengths.eq(0.0)?.where_cond(&lengths.ones_like()?, &lengths)?;
    Ok((rows.broadcast_div(&lengths)?, lengths))
}

/// Directions in which activations vary, from the strongest.
struct Principal {
    /// Variances along the directions, none below 0.
    variances: Vec<f64>,
    /// One row a direction, orthonormal, `[d, d]` in f64.
    axes: Tensor,
}

/// Share of the largest variance below which a variance is rounding error.
const ROUNDING: f64 = 1e-10;

impl Principal {
    fn of(moments: &CovarianceMoments, task: &crate::base::Task) -> Result<Self> {
        let covariance = moments.covariance()?;
        let cost = 10.0 * (moments.width() as f64).powi(3);
        let (values, vectors) = task.heavy(cost, move || linalg::eigh(&covariance))?;
        let variances: Vec<f64> = values.to_vec1::<f64>()?.into_iter().rev().map(|value| value.max(0.0)).collect();
        let order = Tensor::from_iter((0..variances.len() as u32).rev(), vectors.device())?;
        let axes = vectors.t()?.contiguous()?.index_select(&order, 0)?;
        Ok(Self { variances, axes })
    }

    /// Counts the directions with variance.
    fn rank(&self) -> usize {
        let most = self.variances.first().copied().unwrap_or(0.0);
        self.variances.iter().filter(|variance| **variance > ROUNDING * most).count()
    }
}

/// Returns the number of components, checked against the maximum.
fn components(asked: Option<usize>, most: usize, why: &str) -> Result<usize> {
    match asked {
        _ if most == 0 => bail!(Numeric, "expected activations that vary, found all of them the same"),
        None => Ok(most),
        Some(count) if (1..=most).contains(&count) => Ok(count),
        Some(count) => Err(err!(Argument, "expected from 1 to {most} components, found {count}").hint(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    fn back(sae: &Sae, x: &Tensor) -> Vec<Vec<f32>> {
        sae.reconstruct(x).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn the_identity_is_exact_and_neurons_keep_the_largest_in_size() {
        let x = Tensor::new(&[[1.5_f32, -2.5, 0.25], [0.0, 1e-30, -7.0]], &Device::Cpu).unwrap();
        assert_eq!(back(&identity(3).unwrap(), &x), x.to_vec2::<f32>().unwrap());
        assert_eq!(back(&neurons(3, Some(1)).unwrap(), &x), [[0.0, -2.5, 0.0], [0.0, 0.0, -7.0]]);
        assert_eq!(back(&neurons_relu(3, None).unwrap(), &x), [[1.5, 0.0, 0.25], [0.0, 1e-30, 0.0]]);
        assert_eq!(back(&neurons_relu(3, Some(1)).unwrap(), &x), [[1.5, 0.0, 0.0], [0.0, 1e-30, 0.0]]);
        assert!(neurons(3, Some(4)).is_err() && identity(0).is_err());
    }
}
