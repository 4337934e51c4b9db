//! Transcoders for all layers of a model, which together stand in for its MLPs: one for each layer (Dunefsky et al.
//! 2024), or cross-layer ones, whose features write to their own layer and to all later ones (Ameisen et al. 2025).
//!
//! They are what attribution graphs are made of. Decoders may stay in their files: only rows of active features are read.

mod dictionaries;
mod files;
mod gemma_scope;
mod listed;
mod read;
mod rows;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use dictionaries::site_layer;
pub use read::TranscodersOptions;
pub use rows::DecoderRows;

use super::select::largest;
use crate::common::*;
use crate::model::ModelName;
use crate::model::hooks::checks::first_nan;
use crate::tensor::elementwise;

/// The input of features in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reads {
    /// The residual stream between attention and MLP, not normed.
    ResidMid,
    /// The residual stream between attention and MLP after the norm's centring and scale, without its weight and bias.
    Normed,
    /// The input of the MLP.
    MlpIn,
}

/// The output of features in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writes {
    /// The output of the MLP that is added to the residual stream, after any norm behind it.
    MlpOut,
    /// The output of the MLP before such a norm.
    Inner,
}

/// The activation function: the features that fire, by their pre-activations.
#[derive(Debug, Clone)]
pub enum Fires {
    /// Features above 0.
    Relu,
    /// The k largest of a position; with `signed` also those of them that are below 0, as circuit-tracer has it.
    TopK { k: usize, signed: bool },
    /// Features above a threshold, one a feature: `[features]`.
    Threshold(Tensor),
}

/// The features that read in one layer.
#[derive(Debug, Clone)]
pub struct TranscoderLayer {
    /// One row a feature: `[features, d]`.
    pub encoder: Tensor,
    /// Bias of the pre-activations: `[features]`.
    pub encoder_bias: Option<Tensor>,
    pub fires: Fires,
    /// Decoder: what each feature writes to its own layer and to each later one that it writes to.
    pub decoder: DecoderRows,
    /// Bias of the output of this layer, whatever fires: `[d]`.
    pub decoder_bias: Option<Tensor>,
    /// A linear skip connection from what is read to what is written in this layer: `[d, d]`, output first.
    pub skip: Option<Tensor>,
}

/// Transcoders of all layers, from the first on. All numbers are f32; decoders in files keep their dtype there.
#[derive(Debug, Clone)]
pub struct Transcoders {
    layers: Arc<Vec<TranscoderLayer>>,
    pub reads: Reads,
    pub writes: Writes,
    /// The model that they are of, as their maker calls it.
    pub model: Option<ModelName>,
    /// Name of the transcoders in viewers, which find their features by it.
    pub scan: Option<String>,
}

impl TranscoderLayer {
    pub fn features(&self) -> usize {
        self.encoder.dims().first().copied().unwrap_or(0)
    }

    /// Computes the pre-activations of what is read: `[n, d]` to `[n, features]`.
    pub fn pre(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::linear(x, &self.encoder, self.encoder_bias.as_ref())?)
    }

    /// Computes the activations of pre-activations, 0 for features that do not fire.
    pub fn fired(&self, pre: &Tensor) -> Result<Tensor> {
        match &self.fires {
            Fires::Relu => elementwise::relu(pre),
            Fires::TopK { k, signed } => {
                let all = if *signed { pre.clone() } else { elementwise::relu(pre)? };
                largest(&all, &all, *k)
            }
            Fires::Threshold(threshold) => {
                let above = pre.broadcast_gt(threshold)?.to_dtype(pre.dtype())?;
                Ok(pre.mul(&above)?)
            }
        }
    }

    fn to_device(&self, device: &Device) -> Result<Self> {
        let maybe = |t: &Option<Tensor>| t.as_ref().map(|t| t.to_device(device)).transpose();
        let fires = match &self.fires {
            Fires::Threshold(threshold) => Fires::Threshold(threshold.to_device(device)?),
            other => other.clone(),
        };
        let decoder = match &self.decoder {
            DecoderRows::Held(rows) => DecoderRows::Held(rows.to_device(device)?),
            mapped => mapped.clone(),
        };
        Ok(Self {
            encoder: self.encoder.to_device(device)?,
            encoder_bias: maybe(&self.encoder_bias)?,
            fires,
            decoder,
            decoder_bias: maybe(&self.decoder_bias)?,
            skip: maybe(&self.skip)?,
        })
    }

    /// Returns the number of layers that the features write to.
    pub fn written(&self) -> usize {
        self.decoder.shape()[1]
    }

    fn check(&self, layer: usize, layers: usize, d: usize) -> Result<()> {
        let features = self.features();
        let place = |what: &str| format!("the {what} of layer {layer}");
        if self.encoder.dims() != [features, d] || features == 0 {
            return Err(err!(
                Shape,
                "expected {} as [features, {d}], found {:?}",
                place("encoder"),
                self.encoder.dims()
            ));
        }
        let threshold = match &self.fires {
            Fires::Threshold(threshold) => Some(threshold),
            Fires::TopK { k, .. } if *k == 0 || *k > features => {
                return Err(err!(
                    Argument,
                    "expected k from 1 to {features}, the features of layer {layer}, found {k}"
                ));
            }
            Fires::TopK { .. } | Fires::Relu => None,
        };
        let given = [
            ("encoder's bias", self.encoder_bias.as_ref(), vec![features]),
            ("decoder's bias", self.decoder_bias.as_ref(), vec![d]),
            ("skip", self.skip.as_ref(), vec![d, d]),
            ("threshold", threshold, vec![features]),
        ];
        for (what, tensor, wanted) in given {
            let Some(tensor) = tensor else { continue };
            if tensor.dims() != wanted {
                return Err(err!(Shape, "expected {} as {wanted:?}, found {:?}", place(what), tensor.dims()));
            }
        }
        // Nothing is above NaN, so that it would pass for a feature that never fires.
        if let Some(threshold) = threshold
            && first_nan(threshold)?.is_some()
        {
            return Err(err!(Numeric, "expected {} as numbers, found NaN", place("threshold")));
        }
        let [rows, written, width] = self.decoder.shape();
        if rows != features || width != d || written == 0 || layer + written > layers {
            return Err(err!(
                Shape,
                "expected {} as [{features}, 1 to {}, {d}], found [{rows}, {written}, {width}]",
                place("decoder"),
                layers - layer
            ));
        }
        Ok(())
    }
}

impl Transcoders {
    /// Refuses layers that do not belong together.
    pub fn new(layers: Vec<TranscoderLayer>, reads: Reads, writes: Writes) -> Result<Self> {
        let Some(d) = layers.first().and_then(|first| first.encoder.dims().get(1).copied()) else {
            return Err(err!(Argument, "expected transcoders of at least one layer, found none"));
        };
        let count = layers.len();
        layers.iter().enumerate().try_for_each(|(layer, one)| one.check(layer, count, d))?;
        Ok(Self { layers: Arc::new(layers), reads, writes, model: None, scan: None })
    }

    /// Moves the transcoders to a device. Decoders that stay in their files give their rows there.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let is_there = self.layers.iter().all(|layer| layer.encoder.device().same_device(device));
        if is_there {
            return Ok(self.clone());
        }
        let layers = self.layers.iter().map(|layer| layer.to_device(device)).collect::<Result<_>>()?;
        Ok(Self { layers: Arc::new(layers), ..self.clone() })
    }

    pub fn layers(&self) -> &[TranscoderLayer] {
        &self.layers
    }

    /// Returns the width of what the transcoders read and write.
    pub fn width(&self) -> usize {
        self.layers.first().and_then(|first| first.encoder.dims().get(1).copied()).unwrap_or(0)
    }

    /// Returns whether features write to later layers than their own.
    pub fn crosses(&self) -> bool {
        self.layers.iter().any(|layer| layer.written() > 1)
    }

    /// Returns whether these are the same transcoders in memory, and not merely of equal numbers.
    pub fn is(&self, other: &Transcoders) -> bool {
        Arc::ptr_eq(&self.layers, &other.layers)
    }

    /// Names the kind in words.
    pub fn kind(&self) -> &'static str {
        if self.crosses() { "cross-layer transcoder" } else { "transcoders" }
    }
}

#[cfg(test)]
mod tests;
