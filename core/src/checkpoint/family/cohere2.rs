//! Cohere's Command R7B and A (Cohere 2025): as cohere, with windows in most layers; those without one rotate nothing.

use super::cohere;
use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("cohere2", read);

const COMMON: Common = cohere::sized("cohere2");

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    // Transformers derives it, whatever is stated; published configs state the same again, and what every model has.
    keys.only("head_dim", config.d_head)?;
    keys.only("order_of_interleaved_layers", "local_attn_first")?;
    keys.only("position_embedding_type", "rope_gptj")?;
    keys.only("rotary_pct", 1.0)?;
    keys.only("use_embedding_sharing", true)?;
    keys.only("use_gated_activation", true)?;
    keys.only("use_parallel_block", true)?;
    keys.only("use_parallel_embedding", true)?;
    let interval = keys.size("sliding_window_pattern", 4)?;
    keys.only("layer_switch", interval)?;
    // Older configs write the interval under this name.
    keys.only("_sliding_window_pattern", interval)?;
    if interval == 0 {
        return Err(err!(Format, "expected `sliding_window_pattern` of at least 1, found 0"));
    }
    let window = keys.maybe_size("sliding_window", Some(4096))?;
    let windows = windows(keys, config.layers, window, |layer| !(layer + 1).is_multiple_of(interval))?;
    let config = cohere::parallel(keys, Config { windows, ..config }, 1e4)?;
    let unrotated = (0..config.layers).filter(|layer| config.window(*layer).is_none()).collect();
    Ok(Config { unrotated, ..config })
}
