//! The measure of the target of a tree: the activation or the pre-activation of one feature.

use super::options::ParentReading;
use crate::common::*;
use crate::sae::{About, Activation, Parts, Sae};

/// A reader of one feature of activations.
pub struct CodeReader {
    sae: Sae,
    /// The index of the feature in `sae`.
    feature: usize,
    read: ParentReading,
}

impl CodeReader {
    pub fn new(sae: &Sae, feature: usize, read: ParentReading) -> Result<Self> {
        Ok(match alone(sae.parts(), feature, read)? {
            Some(parts) => Self { sae: Sae::new(parts)?, feature: 0, read },
            None => Self { sae: sae.clone(), feature, read },
        })
    }

    /// Returns the feature's values in each row of `[rows, d_in]`.
    pub fn of(&self, x: &Tensor, task: &Task) -> Result<Vec<f64>> {
        let x = dtype::convert(x, self.sae.parts().encoder.dtype())?;
        if self.sae.d_sae() == 1 {
            let found = match self.read {
                ParentReading::Code => self.sae.encode(&x)?,
                ParentReading::Pre => self.sae.pre_activations(&x)?,
            };
            return Ok(found.squeeze(1)?.to_dtype(DType::F64)?.to_vec1()?);
        }
        let codes = self.sae.encode_sparse(&x, task)?;
        let of_row = |row: usize| {
            let (features, codes) = codes.row(row);
            let found = features.iter().zip(codes).find(|(feature, _)| **feature as usize == self.feature);
            found.map_or(0.0, |(_, code)| f64::from(*code))
        };
        Ok((0..codes.rows()).map(of_row).collect())
    }
}

/// Returns the dictionary with one feature only, where activations do not depend on other features.
fn alone(parts: &Parts, feature: usize, read: ParentReading) -> Result<Option<Parts>> {
    let of = |tensor: &Tensor| tensor.narrow(0, feature, 1);
    let activation = match read {
        ParentReading::Pre => Some(Activation::Linear(None)),
        ParentReading::Code => parts.activation.alone(feature)?,
    };
    let Some(activation) = activation else { return Ok(None) };
    Ok(Some(Parts {
        encoder: of(&parts.encoder)?,
        encoder_bias: parts.encoder_bias.as_ref().map(of).transpose()?,
        activation,
        decoder: of(&parts.decoder)?,
        about: About::default(),
        ..parts.clone()
    }))
}
