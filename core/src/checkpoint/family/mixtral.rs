//! Mixtral (Jiang et al. 2024): as mistral, with two of eight experts in place of every MLP.

use super::common::{Common, kv_heads, same_window, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::rope::{Rope, WHOLE_HEAD};
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{Config, Experts, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "mixtral",
    read,
    names: &[EXPERTS, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 32000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(14336)),
    context: ("max_position_embeddings", 131_072),
    eps: ("rms_norm_eps", 1e-5),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("mixtral", NormKind::Rms)
};

const EXPERTS: &[NameLine] = &[
    ("blocks.*.mlp.router", Same("model.layers.*.block_sparse_moe.gate")),
    ("blocks.*.mlp.experts.#.gate", Same("model.layers.*.block_sparse_moe.experts.#.w1")),
    ("blocks.*.mlp.experts.#.up", Same("model.layers.*.block_sparse_moe.experts.#.w3")),
    ("blocks.*.mlp.experts.#.down", Same("model.layers.*.block_sparse_moe.experts.#.w2")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(8))?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", None)?);
    let experts = Experts {
        count: keys.size("num_local_experts", 8)?,
        chosen: keys.size("num_experts_per_tok", 2)?,
        d_mlp: config.d_mlp,
        renormalised: true,
        plain: Vec::new(),
        ..Experts::default()
    };
    let config = Config { kv_heads, gated: true, experts: Some(experts), windows, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    Rope { default_theta: 1e6, ..WHOLE_HEAD }.read(keys, config)
}
