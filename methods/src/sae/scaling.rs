//! Normalisation of each activation before encoding, and its inverse.

use crate::base::Result;
use crate::tensor::{Tensor, dtype};

/// The normalisation of each activation. What does not depend on the activation (a mean, one scale for all) is folded
/// into the weights instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    #[default]
    None,
    /// x sqrt(d) / |x|.
    ConstantNorm,
    /// (x - mean) / (sd + 1e-5), with the unbiased sd.
    LayerNorm,
}

/// The normalisation of given activations: what is subtracted, what they are divided by, and the inverse.
pub struct InputNormalisation {
    offset: Option<Tensor>,
    divisor: Option<Tensor>,
    factor: Option<Tensor>,
}

/// Constant that is added to the standard deviation, as in SAELens.
const EPS: f64 = 1e-5;

impl Scaling {
    pub fn of(self, x: &Tensor) -> Result<InputNormalisation> {
        let last = x.rank() - 1;
        let width = x.dims()[last] as f64;
        Ok(match self {
            Scaling::None => InputNormalisation { offset: None, divisor: None, factor: None },
            Scaling::ConstantNorm => {
                let norm = x.sqr()?.sum_keepdim(last)?.sqrt()?;
                let divisor = (norm / width.sqrt())?;
                InputNormalisation { offset: None, factor: Some(divisor.clone()), divisor: Some(divisor) }
            }
            Scaling::LayerNorm => {
                let mean = x.mean_keepdim(last)?;
                let spread = (x.broadcast_sub(&mean)?.sqr()?.sum_keepdim(last)? / (width - 1.0))?.sqrt()?;
                // SAELens inverts it without the epsilon.
                InputNormalisation { offset: Some(mean), divisor: Some((&spread + EPS)?), factor: Some(spread) }
            }
        })
    }
}

impl InputNormalisation {
    pub fn before(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        if let Some(offset) = &self.offset {
            x = x.broadcast_sub(offset)?;
        }
        if let Some(divisor) = &self.divisor {
            x = x.broadcast_div(divisor)?;
        }
        Ok(x)
    }

    /// Returns the output, in the activations' own units but without what was subtracted.
    pub fn stretched(&self, x: &Tensor) -> Result<Tensor> {
        match &self.factor {
            Some(factor) => Ok(x.broadcast_mul(&dtype::convert(factor, x.dtype())?)?),
            None => Ok(x.clone()),
        }
    }

    pub fn after(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.stretched(x)?;
        if let Some(offset) = &self.offset {
            x = x.broadcast_add(offset)?;
        }
        Ok(x)
    }
}
