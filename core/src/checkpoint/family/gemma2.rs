//! Gemma 2 (Riviere et al. 2024): norms on both sides, capped scores and logits, a window in every other layer.

use super::gemma::like_gemma;
use super::prelude::*;

pub(super) const FAMILY: Family =
    Family { names: &[llama_names::MLP_NORM_OF_FOUR, llama_names::NAMES], ..Family::like_llama("gemma2", read) };

const COMMON: Common = Common { vocab: 256_000, context: ("max_position_embeddings", 8192), ..later("gemma2") };

/// Returns the sizes that gemma 2 and 3 share.
pub(super) const fn later(family: &'static str) -> Common {
    Common {
        d_model: ("hidden_size", 2304),
        layers: ("num_hidden_layers", 26),
        heads: ("num_attention_heads", 8),
        d_head: ("head_dim", Some(256)),
        d_mlp: ("intermediate_size", Some(9216)),
        act: ("hidden_activation", "gelu_pytorch_tanh"),
        tied: true,
        bos: Some(2),
        eos: Some(1),
        ..Common::like_llama(family, Some(4))
    }
}

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let config = with_norms_and_caps(keys, config, Some(50.0), Some(30.0))?;
    let window = keys.maybe_size("sliding_window", Some(4096))?;
    if let Some(window) = window {
        keys.only("sliding_window_size", window)?;
    }
    let windows = windows(keys, config.layers, window, |layer| layer % 2 == 0)?;
    rope::WHOLE_HEAD.read(keys, Config { windows, ..config })
}

/// Reads what gemma 2 and 3 have beyond gemma, given the default caps of scores and logits.
pub(super) fn with_norms_and_caps(
    keys: &mut Keys,
    config: Config,
    score_cap: Option<f64>,
    logit_cap: Option<f64>,
) -> Result<Config> {
    // The older name of the key, ignored if the newer one is present.
    let old_name = keys.activation("hidden_act", "gelu_pytorch_tanh")?;
    let act = if keys.word("hidden_activation")?.is_some() { config.act } else { old_name };
    keys.only("use_bidirectional_attention", false)?;
    let config = like_gemma(keys, Config { act, ..config })?;
    Ok(Config {
        post_norm: true,
        score_scale: keys.number("query_pre_attn_scalar", 256.0)?.powf(-0.5),
        score_cap: keys.maybe_number("attn_logit_softcapping", score_cap)?,
        logit_cap: keys.maybe_number("final_logit_softcapping", logit_cap)?,
        ..config
    })
}
