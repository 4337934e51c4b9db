//! Llama (Touvron et al. 2023), 1 to 3: RMS norms, rotary positions, a gated MLP, shared heads of keys and values.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("llama", read);

const SIZES: Sizes = Sizes { vocab: 32000, d_model: 4096, layers: 32, heads: 32, d_mlp: 11008, context: 2048 };
const COMMON: Common = Common { bos: Some(1), eos: Some(2), ..Common::like_llama("llama", None).sized(SIZES) };

pub(super) fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let biases = keys.flag("attention_bias", false)?;
    let mlp_bias = keys.flag("mlp_bias", false)?;
    let config = Config { gated: true, qkv_bias: biases, out_bias: biases, mlp_bias, ..config };
    rope::WHOLE_HEAD.read(keys, config)
}
