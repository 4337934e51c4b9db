//! Granite 3 (Granite Team 2024): as llama, with factors of embeddings, scores, writes to the stream and logits.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::err;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "granite",
    read,
    names: &[llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 32000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(11008)),
    context: ("max_position_embeddings", 2048),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("granite", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let mlp_bias = keys.flag("mlp_bias", false)?;
    let config = Config { kv_heads, gated: true, qkv_bias: biases, out_bias: biases, mlp_bias, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    let divisor = keys.number("logits_scaling", 1.0)?;
    if divisor == 0.0 {
        return Err(err!(Format, "expected `logits_scaling` other than 0, by which logits are divided"));
    }
    let factor = |x: f64| (x != 1.0).then_some(x);
    let config = Config {
        score_scale: keys.number("attention_multiplier", 1.0)?,
        embed_scale: factor(keys.number("embedding_multiplier", 1.0)?),
        write_scale: factor(keys.number("residual_multiplier", 1.0)?),
        logit_scale: factor(1.0 / divisor),
        ..config
    };
    rope::WHOLE_HEAD.read(keys, config)
}
