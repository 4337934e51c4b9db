//! The AuxK loss: dead features reconstruct the residual of the living ones (Gao et al. 2024, section A.2).

use super::inputs::Inputs;
use super::reconstruct::{Residual, reconstruct};
use crate::base::Result;
use crate::sae::fit::plan::AuxK;
use kernels::Bf16Rows;
use kernels::sparse::{Bf16Factors, Product, ScoreSizes, SparseRows, spread};

/// The codes of dead features, and their residual.
pub struct AuxiliaryCodes {
    pub codes: SparseRows,
    pub left: Residual,
    /// The AuxK error, with its weight.
    pub loss: f64,
    /// Weight of a number of `left` in the gradient of the AuxK error.
    pub factor: f32,
}

/// Computes the AuxK error of dead features on the residual; None where the residual has no variance, and where no feature
/// takes part.
pub fn help(inputs: &Inputs, rest: &[f32], dead: &[u32], auxk: AuxK) -> Result<Option<AuxiliaryCodes>> {
    let k = auxk.of_row(dead.len());
    if k == 0 {
        return Ok(None);
    }
    let whole = spread(rest, inputs.shape.d_out);
    if whole == 0.0 {
        return Ok(None);
    }
    let weights: Vec<f32> = dead.iter().flat_map(|feature| inputs.encoder_row(*feature as usize)).copied().collect();
    let bias: Vec<f32> = dead.iter().map(|feature| inputs.encoder_bias[*feature as usize]).collect();
    let sizes = ScoreSizes { rows: inputs.rows, inner: inputs.shape.d_in, columns: dead.len() };
    let rounded_weights = inputs.rounded().map(|_| Bf16Rows::of(&weights, sizes.inner));
    let factors = inputs.rounded().zip(rounded_weights.as_ref());
    let rounded = factors.map(|(factors, weights)| Bf16Factors { weights, ..factors });
    let product = Product { x: inputs.x, weights: &weights, bias: &bias, sizes, rounded };
    let mut codes = product.largest_of_rows(k)?;
    codes.columns.iter_mut().for_each(|column| *column = dead[*column as usize]);
    let factor = (-2.0 * auxk.weight / whole) as f32;
    let left = reconstruct(inputs, rest, None, &codes, factor, Residual::default());
    let loss = auxk.weight * left.squares / whole;
    Ok(Some(AuxiliaryCodes { codes, left, loss, factor }))
}
