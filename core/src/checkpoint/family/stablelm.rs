//! StableLM (Bellagente et al. 2024): as llama, with layer norms and partly rotated heads.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("stablelm", read);

const SIZES: Sizes = Sizes { vocab: 50304, d_model: 2560, layers: 32, heads: 32, d_mlp: 6912, context: 4096 };
const COMMON: Common = Common {
    kv_heads: ("num_key_value_heads", Some(32)),
    bos: Some(0),
    eos: Some(0),
    ..Common::modern("stablelm", NormKind::Layer).sized(SIZES)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("qk_layernorm", false)?;
    let order = if keys.flag("use_parallel_residual", false)? { Order::ParallelShared } else { Order::Serial };
    let qkv_bias = keys.flag("use_qkv_bias", false)?;
    rope::part_of_head(0.25).read(keys, Config { order, gated: true, qkv_bias, ..config })
}
