//! Activations of a site with changed features of its dictionary.

use crate::common::*;
use crate::sae::splice::ErrorTreatment;
use crate::sae::{Sae, Scaling, SparseCodes};
use kernels::sparse::add_rows;
use kernels::{FlatNumbers, arch, flat};

/// A change of the features of one dictionary.
#[derive(Debug, Clone, PartialEq)]
pub enum LevelChange {
    /// Features that are zero-ablated; the reconstruction error is kept.
    Zero(Vec<usize>),
    /// Features that are kept while all others are mean-ablated, with the means over a text.
    Only(Vec<usize>, ErrorTreatment),
}

impl LevelChange {
    /// Returns whether the change leaves everything as it is.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Zero(features) if features.is_empty())
    }

    /// Returns whether each feature is in the set.
    pub fn names(&self, d_sae: usize) -> Vec<bool> {
        let (Self::Zero(features) | Self::Only(features, _)) = self;
        let mut is_named = vec![false; d_sae];
        features.iter().filter(|feature| **feature < d_sae).for_each(|feature| is_named[*feature] = true);
        is_named
    }

    /// Changes the features of a dictionary in `x`, which is `[rows, d]`. `means` are those of all its features.
    pub fn of(&self, sae: &Sae, means: &[f32], x: &Tensor, task: &Task) -> Result<Tensor> {
        self.of_codes(sae, means, x, &codes_of(sae, x, task)?)
    }

    /// Changes the features in rows whose activations are known.
    pub fn of_codes(&self, sae: &Sae, means: &[f32], x: &Tensor, codes: &SparseCodes) -> Result<Tensor> {
        let input = dtype::convert(x, sae.parts().encoder.dtype())?;
        let sum = |is_meant: &dyn Fn(u32) -> bool| written(sae, &input, codes, is_meant);
        let is_named = self.names(sae.d_sae());
        let is_named = |feature: u32| is_named.get(feature as usize).is_some_and(|is_named| *is_named);
        let found = match self {
            Self::Zero(_) => (&input - sum(&is_named)?)?,
            Self::Only(_, rest) => {
                let means: Vec<f32> =
                    (0..).zip(means).map(|(feature, mean)| if is_named(feature) { 0.0 } else { *mean }).collect();
                let means = constant(sae, &input, means)?;
                let base = match rest {
                    ErrorTreatment::Kept => input.clone(),
                    ErrorTreatment::Dropped => sae.reconstruct(&input)?,
                };
                (base - sum(&|feature| !is_named(feature))?)?.broadcast_add(&means)?
            }
        };
        dtype::convert(&found, x.dtype())
    }
}

/// Returns the feature activations of rows of the residual stream, `[rows, d]`.
pub fn codes_of(sae: &Sae, x: &Tensor, task: &Task) -> Result<SparseCodes> {
    sae.encode_sparse(&dtype::convert(x, sae.parts().encoder.dtype())?, task)
}

/// Returns what the same feature activations write for each input; one row for all where they write the same
/// everywhere.
fn constant(sae: &Sae, input: &Tensor, codes: Vec<f32>) -> Result<Tensor> {
    let rows = if sae.parts().scaling == Scaling::None { 1 } else { input.dim(0)? };
    let features = every(sae)?;
    let d_sae = codes.len();
    let codes = dtype::convert(&Tensor::new(codes, input.device())?, input.dtype())?;
    let codes = codes.unsqueeze(0)?.broadcast_as((rows, d_sae))?.contiguous()?;
    sae.writes(&input.narrow(0, 0, rows)?, &features, &codes)
}

fn every(sae: &Sae) -> Result<Tensor> {
    Ok(Tensor::arange(0_u32, sae.d_sae() as u32, sae.directions().device())?)
}

/// Returns what some of the features write together: `[rows, d]`.
fn written(sae: &Sae, input: &Tensor, codes: &SparseCodes, is_meant: &dyn Fn(u32) -> bool) -> Result<Tensor> {
    let rows = codes.rows();
    let width = sae.d_out();
    let of_row = |row: usize| -> Vec<(u32, f32)> {
        let (features, values) = codes.row(row);
        let all = features.iter().copied().zip(values.iter().copied());
        all.filter(|(feature, _)| is_meant(*feature)).collect()
    };
    let parts = sae.parts();
    let is_plain = parts.scaling == Scaling::None && !parts.rescaled;
    if is_plain && input.device().is_cpu() && parts.decoder.dtype() == DType::F32 {
        let decoder = flat(&parts.decoder)?;
        let decoder = FlatNumbers::of(&decoder)?;
        let mut found = vec![0.0; rows * width];
        for (row, found) in found.chunks_exact_mut(width).enumerate() {
            let picked = of_row(row);
            add_rows(arch(), found, decoder.slice(), picked.len(), |i| picked[i]);
        }
        return Ok(Tensor::from_vec(found, (rows, width), &Device::Cpu)?);
    }
    let mut dense = vec![0.0; rows * sae.d_sae()];
    for (row, dense) in dense.chunks_exact_mut(sae.d_sae()).enumerate() {
        for (feature, code) in of_row(row) {
            dense[feature as usize] = code;
        }
    }
    let dense = dtype::convert(&Tensor::from_vec(dense, (rows, sae.d_sae()), input.device())?, input.dtype())?;
    sae.writes(input, &every(sae)?, &dense)
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::circuit::samples::dictionary;
    use crate::sae::{Activation, Parts};

    /// Computes the change by dense activations: x + (c' - c) D, as a whole matrix product.
    fn plainly(sae: &Sae, means: &[f32], x: &Tensor, change: &LevelChange) -> Tensor {
        let codes = sae.encode(x).unwrap().to_vec2::<f32>().unwrap();
        let put = |feature: usize, code: f32| match change {
            LevelChange::Zero(features) => {
                if features.contains(&feature) {
                    0.0
                } else {
                    code
                }
            }
            LevelChange::Only(kept, _) => {
                if kept.contains(&feature) {
                    code
                } else {
                    means[feature]
                }
            }
        };
        let gap: Vec<Vec<f32>> = codes
            .iter()
            .map(|row| row.iter().enumerate().map(|(feature, code)| put(feature, *code) - code).collect())
            .collect();
        let gap = sae.writes(x, &every(sae).unwrap(), &Tensor::new(gap, &Device::Cpu).unwrap()).unwrap();
        let base = match change {
            LevelChange::Only(_, ErrorTreatment::Dropped) => sae.reconstruct(x).unwrap(),
            _ => x.clone(),
        };
        (base + gap).unwrap()
    }

    #[test]
    fn codes_are_changed_as_a_whole_product_would_change_them() {
        let x = Tensor::from_vec((0..40).map(|i| (i as f32 * 0.7).sin()).collect(), (5, 8), &Device::Cpu).unwrap();
        let plain = dictionary(8, 30, Activation::TopK(6), "resid_post.0");
        let scaled = Parts { scaling: Scaling::LayerNorm, ..plain.parts().clone() };
        let lengths = Parts { rescaled: true, activation: Activation::Relu, ..plain.parts().clone() };
        for sae in [plain, Sae::new(scaled).unwrap(), Sae::new(lengths).unwrap()] {
            let means: Vec<f32> = (0..30).map(|i| i as f32 / 100.0).collect();
            let active: Vec<usize> =
                sae.encode_sparse(&x, &Task::default()).unwrap().row(0).0.iter().map(|f| *f as usize).collect();
            let some = vec![active[0], active[2], 29];
            let changes = [
                LevelChange::Zero(some.clone()),
                LevelChange::Only(some.clone(), ErrorTreatment::Kept),
                LevelChange::Only(some, ErrorTreatment::Dropped),
                LevelChange::Only(vec![], ErrorTreatment::Kept),
            ];
            for change in changes {
                let found = change.of(&sae, &means, &x, &Task::default()).unwrap();
                assert!(far(&found, plainly(&sae, &means, &x, &change)) < 1e-5, "{change:?}");
            }
        }
        assert!(LevelChange::Zero(vec![]).is_none() && !LevelChange::Only(vec![], ErrorTreatment::Kept).is_none());
    }
}
