//! GPT-Neo (Black et al. 2021): as GPT-2, with windows in every other layer and scores that are not scaled.

use super::common::none_is_empty;
use super::gpt2;
use super::prelude::*;

pub(super) const FAMILY: Family = Family {
    name: "gpt_neo",
    read,
    names: &[NAMES, gpt2::STREAM_NAMES],
    ignored: &["transformer.h.*.attn.attention.bias", "transformer.h.*.attn.attention.masked_bias"],
};

const COMMON: Common = Common {
    d_model: ("hidden_size", 2048),
    layers: ("num_layers", 24),
    heads: ("num_heads", 16),
    d_mlp: ("intermediate_size", None),
    context: ("max_position_embeddings", 2048),
    ..gpt2::sized("gpt_neo")
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q", Same("transformer.h.*.attn.attention.q_proj")),
    ("blocks.*.attn.k", Same("transformer.h.*.attn.attention.k_proj")),
    ("blocks.*.attn.v", Same("transformer.h.*.attn.attention.v_proj")),
    ("blocks.*.attn.o", Same("transformer.h.*.attn.attention.out_proj")),
    ("blocks.*.mlp.up", Same("transformer.h.*.mlp.c_fc")),
    ("blocks.*.mlp.down", Same("transformer.h.*.mlp.c_proj")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let window = keys.size("window_size", 256)?;
    let local = local_layers(keys, config.layers)?;
    let windows = none_is_empty(local.into_iter().map(|local| local.then_some(window)).collect());
    Ok(Config { positions: Positions::Learned, score_scale: 1.0, out_bias: true, mlp_bias: true, windows, ..config })
}

/// Reads whether each layer has local attention, from `attention_types`; `attention_layers` is the same written out.
fn local_layers(keys: &mut Keys, layers: usize) -> Result<Vec<bool>> {
    let types = match keys.value("attention_types") {
        Some(stated) if !stated.is_null() => repeated(stated, layers)?,
        _ => ["global", "local"].into_iter().cycle().take(24).collect(),
    };
    if types.len() != layers {
        bail!(Format, "expected `attention_types` of {layers} layers in all, found {}", types.len());
    }
    if let Some(written) = keys.words("attention_layers")?
        && written != types
    {
        bail!(Format, "the config keys `attention_types` and `attention_layers` contradict each other");
    }
    let local = |name: &&str| match *name {
        "global" => Ok(false),
        "local" => Ok(true),
        other => Err(err!(Format, "the layer type `{other}` of `attention_types` is not implemented")
            .hint("expected global or local")),
    };
    types.iter().map(local).collect()
}

/// Writes `[[["global", "local"], 12]]` out, no longer than one more than there are layers.
fn repeated(types: &Value, layers: usize) -> Result<Vec<&str>> {
    let wrong = || err!(Format, "expected `attention_types` as [[[names], times], ..], found {types}");
    let mut all = Vec::new();
    for item in types.as_array().ok_or_else(wrong)? {
        let (Some(names), Some(times)) = (item.get(0).and_then(Value::as_array), item.get(1).and_then(Value::as_u64))
        else {
            return Err(wrong());
        };
        let names: Vec<&str> = names.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?;
        let room = (layers + 1).saturating_sub(all.len());
        all.extend(names.iter().copied().cycle().take(names.len().saturating_mul(times as usize).min(room)));
    }
    Ok(all)
}
