//! Gemma (Mesnard et al. 2024): scaled embeddings, norm weights counted from 1, heads of a size of their own.

use super::prelude::*;
use kernels::Activation;

pub(super) const FAMILY: Family = Family::like_llama("gemma", read);

const SIZES: Sizes = Sizes { vocab: 256_000, d_model: 3072, layers: 28, heads: 16, d_mlp: 24576, context: 8192 };
const COMMON: Common = Common {
    d_head: ("head_dim", Some(256)),
    act: ("hidden_act", "gelu_pytorch_tanh"),
    tied: true,
    bos: Some(2),
    eos: Some(1),
    ..Common::like_llama("gemma", Some(16)).sized(SIZES)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let act = activation(keys, config.act)?;
    let causal = !keys.flag("use_bidirectional_attention", false)?;
    let config = like_gemma(keys, Config { act, causal, ..config })?;
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
    Ok(Config {
        gated: true,
        norm_plus_one: true,
        embed_scale: Some((config.d_model as f64).sqrt()),
        qkv_bias: biases,
        out_bias: biases,
        ..config
    })
}
