//! Gemma (Mesnard et al. 2024): scaled embeddings, norm weights counted from 1, heads of a size of their own.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::bail;
use crate::base::Result;
use crate::model::config::{Config, NormKind};
use kernels::Activation;

pub(super) const FAMILY: Family =
    Family { name: "gemma", read, names: &[llama_names::MLP_NORM, llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = Common {
    vocab: 256_000,
    d_model: ("hidden_size", 3072),
    layers: ("num_hidden_layers", 28),
    heads: ("num_attention_heads", 16),
    d_mlp: ("intermediate_size", Some(24576)),
    context: ("max_position_embeddings", 8192),
    act: ("hidden_act", "gelu_pytorch_tanh"),
    tied: true,
    bos: Some(2),
    eos: Some(1),
    ..Common::modern("gemma", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(16))?;
    let act = activation(keys, config.act)?;
    let causal = !keys.flag("use_bidirectional_attention", false)?;
    let config = like_gemma(keys, Config { kv_heads, act, causal, ..config })?;
    rope::WHOLE_HEAD.read(keys, config)
}

/// Reads the activation function. The first configs say gelu and mean its approximation by tanh, as transformers reads
/// them.
fn activation(keys: &mut Keys, stated: Activation) -> Result<Activation> {
    let meant = |act| if act == Activation::Gelu { Activation::GeluTanh } else { act };
    let stated = meant(stated);
    if keys.word("hidden_activation")?.is_some() {
        let other = meant(keys.activation("hidden_activation", "")?);
        if other != stated {
            bail!(Format, "the config keys `hidden_act` and `hidden_activation` contradict each other");
        }
    }
    Ok(stated)
}

/// Reads what all versions of gemma have in common.
pub(super) fn like_gemma(keys: &mut Keys, config: Config) -> Result<Config> {
    let biases = keys.flag("attention_bias", false)?;
    let config = with_head_size(config, Some(keys.size("head_dim", 256)?));
    Ok(Config {
        gated: true,
        norm_plus_one: true,
        embed_scale: Some((config.d_model as f64).sqrt()),
        qkv_bias: biases,
        out_bias: biases,
        ..config
    })
}
