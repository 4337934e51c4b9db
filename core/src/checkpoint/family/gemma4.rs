//! Gemma 4, its text part (Gemma Team 2026): heads of two sizes, layers that read the keys and values of earlier ones, inputs
//! of every layer, experts beside MLPs, and a factor of the stream behind each block.

use super::common::with_head_size;
use super::gemma2::later;
use super::names::{EXPERT_DOWN, EXPERT_GATE_UP};
use super::prelude::*;
use super::rope::Outer;
use crate::model::config::{GlobalHeads, Rotary, Scaling, SharedKeys};

pub(super) const FAMILY: Family = Family {
    names: &[NAMES, llama_names::MLP_NORM_OF_FOUR, llama_names::NAMES],
    ..Family::like_llama("gemma4_text", read)
};

const COMMON: Common = Common {
    vocab: 262_144,
    layers: ("num_hidden_layers", 30),
    context: ("max_position_embeddings", 131_072),
    ..later("gemma4_text")
};

/// Default interval of layers with global attention.
const PATTERN: usize = 6;

const NAMES: &[NameLine] = &[
    ("layer_inputs.embed", Same("model.embed_tokens_per_layer")),
    ("layer_inputs.project", Same("model.per_layer_model_projection")),
    ("layer_inputs.norm", Same("model.per_layer_projection_norm")),
    ("blocks.*.layer_input.gate", Same("model.layers.*.per_layer_input_gate")),
    ("blocks.*.layer_input.project", Same("model.layers.*.per_layer_projection")),
    ("blocks.*.layer_input.post_norm", Same("model.layers.*.post_per_layer_input_norm")),
    ("blocks.*.scale", Exact("model.layers.*.layer_scalar")),
    ("blocks.*.mlp.router_scale", Exact("model.layers.*.router.scale")),
    ("blocks.*.mlp.router", Same("model.layers.*.router.proj")),
    ("blocks.*.mlp.experts.#.gate_up", RowsOfExpert("model.layers.*.experts.gate_up_proj", EXPERT_GATE_UP)),
    ("blocks.*.mlp.experts.#.down", RowsOfExpert("model.layers.*.experts.down_proj", EXPERT_DOWN)),
    ("blocks.*.mlp.expert_scales", Exact("model.layers.*.router.per_expert_scale")),
    ("blocks.*.mlp.experts_norm", Same("model.layers.*.pre_feedforward_layernorm_2")),
    ("blocks.*.mlp.experts_post_norm", Same("model.layers.*.post_feedforward_layernorm_2")),
    ("blocks.*.mlp.own_post_norm", Same("model.layers.*.post_feedforward_layernorm_1")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    // Of a text alone, nothing is seen from both sides.
    keys.only("use_bidirectional_attention", "vision")?;
    let biases = keys.flag("attention_bias", false)?;
    let window = Some(keys.size("sliding_window", 512)?);
    let mut windows = windows(keys, config.layers, window, |layer| !(layer + 1).is_multiple_of(PATTERN))?;
    // transformers gives the last layer global attention, whatever is stated.
    if let Some(last) = windows.last_mut() {
        *last = None;
    }
    let config = Config { windows: super::common::none_is_empty(windows), ..config };
    let global = global_heads(keys, &config)?;
    let (whole, local) = rotations(keys, &config, &global)?;
    let has_windows = !config.windows.is_empty();
    Ok(Config {
        global_heads: Some(global),
        shared_keys: shared_keys(keys, &config)?,
        layer_inputs: layer_inputs(keys, &config)?,
        layer_scale: true,
        experts: experts(keys)?,
        gated: true,
        post_norm: true,
        qk_norm: QkNorm::Head,
        value_norm: true,
        score_scale: 1.0,
        logit_cap: keys.maybe_number("final_logit_softcapping", None)?,
        embed_scale: Some((config.d_model as f64).sqrt()),
        qkv_bias: biases,
        out_bias: biases,
        positions: Positions::Rotary,
        rotary: Some(whole),
        rotary_local: local.filter(|_| has_windows),
        ..config
    })
}

/// Reads the heads of layers without a window. What is stated for each layer (`per_layer_config`) is all that counts
/// where it is there.
fn global_heads(keys: &mut Keys, config: &Config) -> Result<GlobalHeads> {
    let values_are_keys = keys.flag("attention_k_eq_v", false)?;
    let d_head = keys.maybe_size("global_head_dim", Some(512))?.unwrap_or(config.d_head);
    let kv_heads = keys.maybe_size("num_global_key_value_heads", None)?.filter(|_| values_are_keys);
    let stated = (kv_heads.unwrap_or(config.kv_heads), d_head);
    let (kv_heads, d_head) = match keys.value("per_layer_config") {
        None | Some(Value::Null) => stated,
        Some(by_layer) => of_layers(keys, by_layer, config)?,
    };
    Ok(GlobalHeads { kv_heads, d_head, values_are_keys })
}

/// Reads the heads of all layers without a window from what is stated for each layer; those of layers with a window are
/// the others.
fn of_layers(keys: &Keys, by_layer: &Value, config: &Config) -> Result<(usize, usize)> {
    const KEY: &str = "per_layer_config";
    let all = by_layer.as_object().ok_or_else(|| keys.wrong(KEY, "a map of layers", by_layer))?;
    let mut found = vec![(config.kv_heads, config.d_head); config.layers];
    for (layer, fields) in all {
        let place = layer.parse::<usize>().ok().and_then(|layer| found.get_mut(layer));
        let Some(place) = place else {
            return Err(err!(Format, "expected layers below {} as keys of `{KEY}`, found `{layer}`", config.layers));
        };
        let within = |e: crate::base::Error| e.within(format!("{KEY}.{layer}"));
        let mut fields = Keys::new(fields).map_err(within)?;
        let kv_heads = fields.size("num_key_value_heads", config.kv_heads).map_err(within)?;
        *place = (kv_heads, fields.size("head_dim", config.d_head).map_err(within)?);
        fields.finish(&[]).map_err(within)?;
    }
    let global = (0..config.layers).find(|layer| config.window(*layer).is_none());
    let global = global.map_or((config.kv_heads, config.d_head), |layer| found[layer]);
    for (layer, own) in found.into_iter().enumerate() {
        let wanted = if config.window(layer).is_some() { (config.kv_heads, config.d_head) } else { global };
        if own != wanted {
            return Err(err!(
                Format,
                "`{KEY}` gives layer {layer} {} key-value heads of size {}, and other layers of its type {} of size {}, which \
                 is not implemented",
                own.0,
                own.1,
                wanted.0,
                wanted.1
            ));
        }
    }
    Ok(global)
}

/// Reads the rotation of layers with global attention, and that of layers with a window.
fn rotations(keys: &mut Keys, config: &Config, global: &GlobalHeads) -> Result<(Rotary, Option<Rotary>)> {
    let whole = with_head_size(config.clone(), Some(global.d_head));
    let Some(mut both) = keys.nested("rope_parameters")? else {
        let rotary = |theta, dims, scaling| Rotary { dims, theta, neighbours: false, scaling };
        let scaling = proportional(1.0, 0.25, global.d_head);
        return Ok((rotary(1e6, whole.d_head, scaling), Some(rotary(1e4, config.d_head, Scaling::None))));
    };
    let full = of_type(&mut both, "full_attention", &whole)?;
    let local = if config.windows.is_empty() {
        both.value("sliding_attention");
        None
    } else {
        Some(of_type(&mut both, "sliding_attention", config)?)
    };
    both.finish(&[])?;
    Ok((full, local))
}

/// Reads the rotation of the layers of one type.
fn of_type(both: &mut Keys, name: &'static str, config: &Config) -> Result<Rotary> {
    let Some(mut own) = both.nested(name)? else {
        return Err(err!(Format, "expected `{name}` in `rope_parameters`, found none"));
    };
    let Some(theta) = own.maybe_number("rope_theta", None)? else {
        return Err(err!(Format, "expected `rope_theta` in `rope_parameters.{name}`, found none"));
    };
    if own.word("rope_type")? != Some("proportional") {
        return WHOLE_HEAD.rotary(Some(own), &Outer::default(), config);
    }
    let part = own.number("partial_rotary_factor", 1.0)?;
    if !(0.0..=1.0).contains(&part) {
        bail!(Format, "expected a `partial_rotary_factor` between 0 and 1, found {part}");
    }
    let scaling = proportional(own.number("factor", 1.0)?, part, config.d_head);
    own.finish(&[])?;
    Ok(Rotary { dims: config.d_head, theta, neighbours: false, scaling })
}

/// Returns the scaling by which only the first pairs are rotated, as many as their part of the head.
fn proportional(factor: f64, part: f64, d_head: usize) -> Scaling {
    Scaling::Proportional { factor, pairs: (part * d_head as f64 / 2.0).floor() as usize }
}

fn shared_keys(keys: &mut Keys, config: &Config) -> Result<Option<SharedKeys>> {
    let layers = keys.size("num_kv_shared_layers", 0)?;
    let times = if keys.flag("use_double_wide_mlp", false)? { 2 } else { 1 };
    let all = config.layers;
    let d_mlp = config.d_mlp.saturating_mul(times);
    if layers > 0 && layers >= all {
        return Err(err!(Format, "expected `num_kv_shared_layers` below the {all} layers, found {layers}")
            .hint("layers that read keys and values need some before them that make these"));
    }
    Ok((layers > 0).then_some(SharedKeys { layers, d_mlp }))
}

/// Reads the width of the inputs of layers. Their table has a row for each token.
fn layer_inputs(keys: &mut Keys, config: &Config) -> Result<Option<usize>> {
    let width = keys.maybe_size("hidden_size_per_layer_input", Some(256))?.filter(|width| *width > 0);
    let rows = keys.size("vocab_size_per_layer_input", 262_144)?;
    if width.is_some() && rows != config.vocab {
        return Err(err!(
            Format,
            "the config key `vocab_size_per_layer_input` is {rows}, and `vocab_size` is {}, which is not implemented",
            config.vocab
        )
        .hint("only the same number is: every token has an input of each layer"));
    }
    Ok(width)
}

fn experts(keys: &mut Keys) -> Result<Option<Experts>> {
    let are_there = keys.flag("enable_moe_block", false)?;
    let sizes = ["num_experts", "top_k_experts", "moe_intermediate_size"].map(|key| (key, keys.maybe_size(key, None)));
    let mut stated = Vec::new();
    for (key, size) in sizes {
        match size? {
            Some(size) => stated.push(size),
            None if are_there => {
                return Err(err!(
                    Format,
                    "expected the config key `{key}` where `enable_moe_block` is true, found none"
                ));
            }
            None => {}
        }
    }
    let [count, chosen, d_mlp] = stated[..] else { return Ok(None) };
    let experts =
        Experts { count, chosen, d_mlp, renormalised: true, plain: Vec::new(), beside: true, ..Experts::default() };
    Ok(are_there.then_some(experts))
}
