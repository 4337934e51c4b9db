//! The trainable weights of a dictionary, each with Adam's moments.

use std::fmt;

use candle_core::Var;

use crate::common::*;
use crate::sae::codes;
use crate::training::Parameter;

/// The widths of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DictionaryShape {
    pub d_in: usize,
    pub d_sae: usize,
    pub d_out: usize,
}

/// The weights that a kind may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParamName {
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
    /// A weight that the file of a kind alone knows, and that is of no single feature.
    Own(&'static str),
}

/// The names of weights in a checkpoint.
impl fmt::Display for ParamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ParamName::Encoder => "encoder",
            ParamName::EncoderBias => "encoder_bias",
            ParamName::Decoder => "decoder",
            ParamName::DecoderBias => "decoder_bias",
            ParamName::Threshold => "threshold",
            ParamName::Gate => "gate",
            ParamName::LogScale => "log_scale",
            ParamName::Skip => "skip",
            ParamName::Own(name) => name,
        })
    }
}

pub struct Params {
    pub all: Vec<Parameter<ParamName>>,
}

impl Params {
    pub fn new(weights: Vec<(ParamName, Tensor)>) -> Result<Self> {
        let parameter = |(name, weight)| Parameter::new(name, &weight);
        Ok(Self { all: weights.into_iter().map(parameter).collect::<Result<_>>()? })
    }

    pub fn maybe(&self, name: ParamName) -> Option<&Var> {
        self.all.iter().find(|parameter| parameter.name == name).map(|parameter| &parameter.weight)
    }

    pub fn get(&self, name: ParamName) -> Result<&Var> {
        self.maybe(name).ok_or_else(|| err!(Bug, "a dictionary without its {name}"))
    }
}

/// Normalises the rows; a row of zeros stays as it is.
pub fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    codes::unit_rows(rows, 1e-8)
}
