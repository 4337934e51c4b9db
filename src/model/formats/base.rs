//! The config that readers of formats begin with: a decoder as llama's is, to be changed where a file says otherwise.

use crate::model::config::{Activation, Config, NormKind, Order, Positions, QkNorm};

pub(super) struct Sizes {
    pub layers: usize,
    pub d_model: usize,
    pub heads: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub vocab: usize,
    pub context: usize,
}

/// A llama of these sizes: RMS norms, a gated SiLU, no biases, as many heads of keys as of queries. Its rotation and the
/// epsilon of its norms are still to be given.
pub(super) fn llama(sizes: Sizes) -> Config {
    let Sizes { layers, d_model, heads, d_head, d_mlp, vocab, context } = sizes;
    Config {
        family: "llama".into(),
        layers,
        d_model,
        heads,
        kv_heads: heads,
        d_head,
        d_mlp,
        vocab,
        context,
        act: Activation::Silu,
        gated: true,
        norm: Some(NormKind::Rms),
        norm_eps: 0.0,
        norm_weight: true,
        norm_bias: false,
        norm_plus_one: false,
        pre_norm: true,
        post_norm: false,
        final_norm: true,
        qk_norm: QkNorm::None,
        order: Order::Serial,
        positions: Positions::Rotary,
        position_offset: 0,
        rotary: None,
        rotary_local: None,
        windows: Vec::new(),
        causal: true,
        score_scale: (d_head as f64).sqrt().recip(),
        score_scale_by_layer: false,
        score_cap: None,
        logit_cap: None,
        embed_scale: None,
        tied: false,
        qkv_bias: false,
        out_bias: false,
        mlp_bias: false,
        unembed_bias: false,
        bos: None,
        eos: Vec::new(),
    }
}
