//! Phi 3 and 4 (Abdin et al. 2024): as llama, with fused matrices in the file.

use super::prelude::*;
use crate::model::config::Scaling;

pub(super) const FAMILY: Family = Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("phi3", read) };

const SIZES: Sizes = Sizes { vocab: 32064, d_model: 3072, layers: 32, heads: 32, d_mlp: 8192, context: 4096 };
const COMMON: Common = Common {
    eps: ("rms_norm_eps", 1e-5),
    bos: Some(1),
    eos: Some(32000),
    ..Common::like_llama("phi3", None).sized(SIZES)
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.qkv", Rows("model.layers.*.self_attn.qkv_proj", QKV)),
    ("blocks.*.mlp.gate_up", Rows("model.layers.*.mlp.gate_up_proj", GATE_UP)),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("attention_bias", false)?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", None)?);
    let config = rope::part_of_head(1.0).read(keys, Config { gated: true, windows, ..config })?;
    if config.rotary.as_ref().is_some_and(|rotary| rotary.scaling != Scaling::None) {
        bail!(Format, "scaled rotary positions are not implemented for phi3");
    }
    Ok(config)
}
