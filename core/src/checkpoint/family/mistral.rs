//! Mistral (Jiang et al. 2023): as llama, with a sliding window in every layer of the first version.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("mistral", read);

const SIZES: Sizes = Sizes { vocab: 32000, d_model: 4096, layers: 32, heads: 32, d_mlp: 14336, context: 131_072 };
const COMMON: Common = Common { bos: Some(1), eos: Some(2), ..Common::like_llama("mistral", Some(8)).sized(SIZES) };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", Some(4096))?);
    rope::WHOLE_HEAD.read(keys, Config { gated: true, windows, ..config })
}
