//! BERT in GGUF files, and RoBERTa, whose positions the converter counts from 0: encoders without an unembedding.

use super::common::Architecture;
use super::keys::GgufKeys;
use super::plain;
use crate::bail;
use crate::base::Result;
use crate::model::config::{Activation, Positions, Predicts};
use crate::model::layout::TensorSource;

/// Reads an encoder. How its vectors are pooled to one is left to scripts, and of the types of text the first is that of every
/// token.
pub(super) fn bert(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    keys.maybe_size("pooling_type")?;
    if keys.flag("attention.causal", false)? {
        bail!(Format, "expected attention to both sides in an encoder, found `attention.causal`");
    }
    let config = &mut found.config;
    plain::layer_norms(keys, config)?;
    config.gated = false;
    // The file does not say which GELU; BERT was trained with the exact one.
    config.act = Activation::Gelu;
    config.positions = Positions::Learned;
    config.causal = false;
    config.predicts = Predicts::Nothing;
    config.pre_norm = false;
    config.stream_norm = true;
    config.final_norm = false;
    // A tokenizer puts its own marks around a text.
    config.bos = None;
    config.eos = Vec::new();
    config.token_types = source.shape("token_types.weight").and_then(|shape| shape.first().copied());
    Ok(())
}
