//! The config that readers of formats start from: llama's, changed where a file says otherwise.

use crate::model::config::{Activation, Config, NormKind, Positions};

pub(super) struct ModelSizes {
    pub layers: usize,
    pub d_model: usize,
    pub heads: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub vocab: usize,
    pub context: usize,
}

/// Returns the config of a llama of these sizes: RMS norms, a gated SiLU, no biases, as many key-value heads as query
/// heads. Its rotation and the epsilon of its norms are still to be set.
pub(super) fn llama(sizes: ModelSizes) -> Config {
    let ModelSizes { layers, d_model, heads, d_head, d_mlp, vocab, context } = sizes;
    Config {
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
        norm_bias: false,
        positions: Positions::Rotary,
        score_scale: (d_head as f64).sqrt().recip(),
        ..Config::plain("llama")
    }
}
