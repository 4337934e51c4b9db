//! Mixtral (Jiang et al. 2024): as mistral, with two of eight experts in place of every MLP.

use super::prelude::*;

pub(super) const FAMILY: Family =
    Family { names: &[EXPERTS, llama_names::NAMES], ..Family::like_llama("mixtral", read) };

const SIZES: Sizes = Sizes { vocab: 32000, d_model: 4096, layers: 32, heads: 32, d_mlp: 14336, context: 131_072 };
const COMMON: Common = Common {
    eps: ("rms_norm_eps", 1e-5),
    bos: Some(1),
    eos: Some(2),
    ..Common::like_llama("mixtral", Some(8)).sized(SIZES)
};

const EXPERTS: &[NameLine] = &[
    ("blocks.*.mlp.router", Same("model.layers.*.block_sparse_moe.gate")),
    ("blocks.*.mlp.experts.#.gate", Same("model.layers.*.block_sparse_moe.experts.#.w1")),
    ("blocks.*.mlp.experts.#.up", Same("model.layers.*.block_sparse_moe.experts.#.w3")),
    ("blocks.*.mlp.experts.#.down", Same("model.layers.*.block_sparse_moe.experts.#.w2")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", None)?);
    let experts = Experts {
        count: keys.size("num_local_experts", 8)?,
        chosen: keys.size("num_experts_per_tok", 2)?,
        d_mlp: config.d_mlp,
        renormalised: true,
        plain: Vec::new(),
        ..Experts::default()
    };
    let config = Config { gated: true, experts: Some(experts), windows, ..config };
    Rope { default_theta: 1e6, ..WHOLE_HEAD }.read(keys, config)
}
