//! Qwen 1.5 and 2 with experts (Yang et al. 2024): as Qwen 2, with a shared expert beside the routed ones.

use super::prelude::*;

pub(super) const FAMILY: Family =
    Family { names: &[EXPERTS, llama_names::NAMES], ..Family::like_llama("qwen2_moe", read) };

const COMMON: Common = sized("qwen2_moe", [16, 16], 5632);

/// Returns transformers' defaults for Qwen 2 and 3 with experts alike. `heads`: those of queries, and those of keys and values.
pub(super) const fn sized(family: &'static str, heads: [usize; 2], d_mlp: usize) -> Common {
    let sizes = Sizes { vocab: 151_936, d_model: 2048, layers: 24, heads: heads[0], d_mlp, context: 32768 };
    Common::like_llama(family, Some(heads[1])).sized(sizes)
}

/// Names of experts' weights; Qwen 3 lacks a shared expert.
pub(super) const EXPERTS: &[NameLine] = &[
    ("blocks.*.mlp.router", Same("model.layers.*.mlp.gate")),
    ("blocks.*.mlp.experts.#.gate", Same("model.layers.*.mlp.experts.#.gate_proj")),
    ("blocks.*.mlp.experts.#.up", Same("model.layers.*.mlp.experts.#.up_proj")),
    ("blocks.*.mlp.experts.#.down", Same("model.layers.*.mlp.experts.#.down_proj")),
    ("blocks.*.mlp.shared_gate", Same("model.layers.*.mlp.shared_expert_gate")),
    ("blocks.*.mlp.shared.gate", Same("model.layers.*.mlp.shared_expert.gate_proj")),
    ("blocks.*.mlp.shared.up", Same("model.layers.*.mlp.shared_expert.up_proj")),
    ("blocks.*.mlp.shared.down", Same("model.layers.*.mlp.shared_expert.down_proj")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let first = keys.size("max_window_layers", 28)?;
    let window = switched_window(keys, Some(4096))?;
    let windows = windows(keys, config.layers, window, |layer| layer % 2 == 0 && layer < first)?;
    let shared = Some(keys.size("shared_expert_intermediate_size", 5632)?);
    let experts = experts(keys, &config, 60, 4, 1408, shared)?;
    let qkv_bias = keys.flag("qkv_bias", true)?;
    rope::WHOLE_HEAD.read(keys, Config { gated: true, experts, windows, qkv_bias, ..config })
}

/// Reads the experts, if any layer has them. `(count, chosen, d_mlp)` are the defaults.
pub(super) fn experts(
    keys: &mut Keys,
    config: &Config,
    count: usize,
    chosen: usize,
    d_mlp: usize,
    shared: Option<usize>,
) -> Result<Option<Experts>> {
    let listed = keys.sizes("mlp_only_layers")?.unwrap_or_default();
    let step = keys.size("decoder_sparse_step", 1)?;
    if step == 0 {
        return Err(err!(Format, "expected `decoder_sparse_step` of at least 1, found 0"));
    }
    // transformers writes the number of Qwen 3's experts under another name than published configs have.
    let count = match keys.maybe_size("num_local_experts", None)? {
        Some(count) => {
            keys.only("num_experts", count)?;
            count
        }
        None => keys.size("num_experts", count)?,
    };
    let is_plain = |layer: &usize| listed.contains(layer) || !(layer + 1).is_multiple_of(step);
    let experts = Experts {
        count,
        chosen: keys.size("num_experts_per_tok", chosen)?,
        d_mlp: keys.size("moe_intermediate_size", d_mlp)?,
        renormalised: keys.flag("norm_topk_prob", false)?,
        shared,
        plain: (0..config.layers).filter(is_plain).collect(),
        ..Experts::default()
    };
    Ok((experts.count > 0 && experts.plain.len() < config.layers).then_some(experts))
}
