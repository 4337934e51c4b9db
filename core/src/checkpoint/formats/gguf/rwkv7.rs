//! RWKV-7 in GGUF files. The converter puts the shares of the token before into one tensor for all maps of a layer, writes the
//! bonus of all heads as one vector, and repeats maps of the first layer under the names of some that it does not have.

use super::common::{Architecture, layer_norms};
use super::keys::GgufKeys;
use super::names;
use crate::common::*;
use crate::model::config::{Activation, Positions, TimeMixing};
use crate::model::layout::{StepBack, WeightFrom};

/// The maps that read a mixture with the token before, in the order of their shares.
const SHARES: [&str; 6] = ["r", "w", "k", "v", "a", "g"];

/// The number that is added to the squared length of removal keys: the square of the bound of the length in the code of the model's
/// authors and in llama.cpp, which the file does not state.
const KEY_EPS: f64 = 1e-24;

/// Maps of the first layer that nothing reads.
const COPIES: [&str; 3] = ["blk.0.time_mix_v0.weight", "blk.0.time_mix_v1.weight", "blk.0.time_mix_v2.weight"];

/// Reads time mixing in every layer, and MLPs that read the token before, too.
pub(super) fn rwkv7(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    layer_norms(keys, config)?;
    let d_head = keys.size("wkv.head_size")?;
    if d_head == 0 || !config.d_model.is_multiple_of(d_head) {
        bail!(Format, "expected heads that divide {} dimensions, found heads of {d_head}", config.d_model);
    }
    config.positions = Positions::None;
    config.embed_norm = true;
    config.gated = false;
    config.act = Activation::SquaredRelu;
    config.rwkv = Some(TimeMixing {
        layers: (0..config.layers).collect(),
        heads: config.d_model / d_head,
        d_head,
        decay_rank: keys.size("attention.decay_lora_rank")?,
        rate_rank: keys.size("attention.iclr_lora_rank")?,
        value_rank: keys.size("attention.value_residual_mix_lora_rank")?,
        gate_rank: keys.size("attention.gate_lora_rank")?,
        norm_eps: d_head as f64 * config.norm_eps,
        key_eps: KEY_EPS,
    });
    found.ignored.extend(COPIES.map(String::from));
    Ok(())
}

/// Returns where a weight of a layer is; `at` makes the whole name of a tensor of the layer.
pub(super) fn place(part: &str, ending: &str, rwkv: &TimeMixing, at: impl Fn(&str) -> String) -> Option<WeightFrom> {
    if let Some(share) = part.strip_prefix("rwkv.shift_") {
        let start = SHARES.iter().position(|name| *name == share)?;
        return Some(WeightFrom::Rewritten {
            name: at(&names::theirs("rwkv.shift", ending)?),
            whole: vec![SHARES.len(), 1, 1, rwkv.d_inner()],
            back: vec![StepBack::Rows { start, count: 1 }, StepBack::Joined],
        });
    }
    let own = format!("rwkv.{}", part.strip_prefix("rwkv.").unwrap_or(part));
    let name = names::theirs(&format!("{own}.{ending}"), ending)
        .or_else(|| names::theirs(&own, ending))
        .or_else(|| names::theirs(part, ending))?;
    Some(match part {
        "rwkv.bonus" => WeightFrom::Rewritten {
            name: at(&name),
            whole: vec![rwkv.d_inner()],
            back: vec![StepBack::ByHead { heads: rwkv.heads }],
        },
        _ => WeightFrom::Same(at(&name)),
    })
}
