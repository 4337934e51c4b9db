//! OLMo 3 (OLMo Team 2025): as OLMo 2, with windows in most layers and a rotation of their own there.

use super::common::{Common, kv_heads, windows, with_head_size};
use super::keys::Keys;
use super::rope::{Outer, Rope, WHOLE_HEAD};
use super::{Family, llama_names, olmo2};
use crate::bail;
use crate::base::Result;
use crate::model::config::{Config, Positions, Rotary};

pub(super) const FAMILY: Family =
    Family { name: "olmo3", read, names: &[llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = Common { family: "olmo3", ..olmo2::COMMON };

/// Default interval of layers that see the whole text.
const PATTERN: usize = 4;

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let window = Some(keys.size("sliding_window", 4096)?);
    let windows = windows(keys, config.layers, window, |layer| (layer + 1) % PATTERN != 0)?;
    let config = Config { kv_heads, qkv_bias: biases, out_bias: biases, windows, ..olmo2::with_norms(config) };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    let (whole, local) = rotations(keys, &config)?;
    Ok(Config { positions: Positions::Rotary, rotary: Some(whole), rotary_local: Some(local), ..config })
}

/// Reads the rotation of layers that see the whole text, and that of layers with a window. Older configs scale only the
/// first.
fn rotations(keys: &mut Keys, config: &Config) -> Result<(Rotary, Rotary)> {
    let rope = Rope { default_theta: 5e5, ..WHOLE_HEAD };
    let outer = Outer { theta: keys.maybe_number("rope_theta", None)?, ..Outer::default() };
    let Some(mut both) = keys.nested("rope_parameters")? else {
        let whole = rope.rotary(keys.nested("rope_scaling")?, &outer, config)?;
        return Ok((whole, rope.rotary(None, &outer, config)?));
    };
    if keys.nested("rope_scaling")?.is_some() {
        bail!(Format, "expected `rope_parameters` or `rope_scaling`, found both");
    }
    let mut of = |name| -> Result<Rotary> {
        let mut inner = both.nested(name)?;
        // transformers rounds YaRN's bounds here, whatever is stated.
        inner.as_mut().map_or(Ok(()), |inner| inner.only("truncate", true))?;
        rope.rotary(inner, &outer, config)
    };
    let rotations = (of("full_attention")?, of("sliding_attention")?);
    both.finish(&[])?;
    Ok(rotations)
}
