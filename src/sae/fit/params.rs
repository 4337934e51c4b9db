//! The trainable weights of a dictionary, each with Adam's moments.

use std::fmt;

use candle_core::Var;
use rand::Rng;

use super::recipe::{Recipe, Shape};
use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Tensor, create};
use crate::training::Parameter;

/// The weights that a kind may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `[d_sae, d_in]`.
    Encoder,
    /// `[d_sae]`.
    EncoderBias,
    /// `[d_sae, d_out]`; a tied dictionary has none.
    Decoder,
    /// `[d_out]`.
    DecoderBias,
    /// `[d_sae]`, of JumpReLU.
    Threshold,
    /// `[d_sae]`, of the gates of a gated dictionary.
    Gate,
    /// `[d_sae]`, the log scale of a gated dictionary's codes.
    LogScale,
    /// `[d_out, d_in]`, the skip connection of a transcoder.
    Skip,
}

/// As a checkpoint has it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::Encoder => "encoder",
            Name::EncoderBias => "encoder_bias",
            Name::Decoder => "decoder",
            Name::DecoderBias => "decoder_bias",
            Name::Threshold => "threshold",
            Name::Gate => "gate",
            Name::LogScale => "log_scale",
            Name::Skip => "skip",
        })
    }
}

pub struct Params {
    pub all: Vec<Parameter<Name>>,
}

impl Params {
    pub fn new(weights: Vec<(Name, Tensor)>) -> Result<Self> {
        let parameter = |(name, weight)| Parameter::new(name, &weight);
        Ok(Self { all: weights.into_iter().map(parameter).collect::<Result<_>>()? })
    }

    /// Initial weights: random directions of norm 1, an encoder equal to the decoder, biases of 0 (Gao et al. 2024,
    /// section A.1).
    pub fn draw(recipe: &Recipe, shape: Shape, random: &mut impl Rng) -> Result<Self> {
        let Shape { d_in, d_sae, d_out } = shape;
        let kind = recipe.kind.as_ref();
        let zeros = |width: usize| create::zeros(&[width], DType::F32);
        let mut weights = Vec::new();
        if kind.is_tied() {
            // Xavier uniform initialisation, as in the paper.
            let bound = (6.0 / (d_in + d_sae) as f64).sqrt();
            weights.push((Name::Encoder, create::uniform(&[d_sae, d_in], -bound, bound, DType::F32, random)?));
            weights.push((Name::EncoderBias, zeros(d_sae)?));
        } else {
            let decoder = unit_rows(&create::randn(&[d_sae, d_out], DType::F32, random)?)?;
            let encoder = match d_in == d_out {
                true => decoder.clone(),
                false => unit_rows(&create::randn(&[d_sae, d_in], DType::F32, random)?)?,
            };
            weights.push((Name::Encoder, encoder));
            weights.push((Name::EncoderBias, zeros(d_sae)?));
            weights.push((Name::Decoder, decoder));
            weights.push((Name::DecoderBias, zeros(d_out)?));
        }
        for (name, start) in kind.more() {
            weights.push((name, create::full(&[d_sae], crate::tensor::Number::Float(start), DType::F32)?));
        }
        if recipe.skip {
            weights.push((Name::Skip, create::zeros(&[d_out, d_in], DType::F32)?));
        }
        Self::new(weights)
    }

    pub fn maybe(&self, name: Name) -> Option<&Var> {
        self.all.iter().find(|parameter| parameter.name == name).map(|parameter| &parameter.weight)
    }

    pub fn get(&self, name: Name) -> Result<&Var> {
        self.maybe(name).ok_or_else(|| err!(Bug, "a dictionary without its {name}"))
    }
}

/// The normalised rows; a row of zeros stays as it is.
pub fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    let norms = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-8)?;
    Ok(rows.broadcast_div(&norms)?)
}
