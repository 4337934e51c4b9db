//! Granite 4's hybrids (Granite Team 2025): as granite, with Mamba 2's state spaces in place of most attention, experts
//! beside a shared one in the larger models, and no rotation in the models that are published.

use super::keys::Keys;
use super::mamba2::{PARTS, limits};
use super::names::{NameLine, Theirs::*};
use super::rope::WHOLE_HEAD;
use super::{Family, common, granite, llama_names};
use crate::base::Result;
use crate::err;
use crate::model::config::{Config, Experts, NormKind, StateSpaces};

pub(super) const FAMILY: Family = Family {
    name: "granitemoehybrid",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: common::Common = common::Common {
    vocab: 32_000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("shared_intermediate_size", Some(1024)),
    context: ("max_position_embeddings", 2048),
    bos: Some(1),
    eos: Some(2),
    ..common::Common::modern("granitemoehybrid", NormKind::Rms)
};

const IN: &str = "model.layers.*.mamba.in_proj";
const GATE_UP: &str = "model.layers.*.shared_mlp.input_linear";
const MLP_PARTS: &[&str] = &["blocks.*.mlp.gate", "blocks.*.mlp.up"];
const SHARED_PARTS: &[&str] = &["blocks.*.mlp.shared.gate", "blocks.*.mlp.shared.up"];
const DOWN: &str = "model.layers.*.shared_mlp.output_linear";
const OF_EXPERTS: &str = "model.layers.*.block_sparse_moe.input_linear.weight";

const NAMES: &[NameLine] = &[
    ("blocks.*.ssm.gate", Rows(IN, PARTS)),
    ("blocks.*.ssm.x", Rows(IN, PARTS)),
    ("blocks.*.ssm.b", Rows(IN, PARTS)),
    ("blocks.*.ssm.c", Rows(IN, PARTS)),
    ("blocks.*.ssm.dt", Rows(IN, PARTS)),
    ("blocks.*.ssm.dt_bias", Exact("model.layers.*.mamba.dt_bias")),
    ("blocks.*.ssm.conv", Same("model.layers.*.mamba.conv1d")),
    ("blocks.*.ssm.log_rate", Exact("model.layers.*.mamba.A_log")),
    ("blocks.*.ssm.skip", Exact("model.layers.*.mamba.D")),
    ("blocks.*.ssm.norm", Same("model.layers.*.mamba.norm")),
    ("blocks.*.ssm.o", Same("model.layers.*.mamba.out_proj")),
    ("blocks.*.mlp.gate", Rows(GATE_UP, MLP_PARTS)),
    ("blocks.*.mlp.up", Rows(GATE_UP, MLP_PARTS)),
    ("blocks.*.mlp.down", Same(DOWN)),
    ("blocks.*.mlp.router", Same("model.layers.*.block_sparse_moe.router.layer")),
    ("blocks.*.mlp.experts.#.gate", RowsOfExpert { name: OF_EXPERTS, part: 0, parts: 2 }),
    ("blocks.*.mlp.experts.#.up", RowsOfExpert { name: OF_EXPERTS, part: 1, parts: 2 }),
    (
        "blocks.*.mlp.experts.#.down",
        RowsOfExpert { name: "model.layers.*.block_sparse_moe.output_linear.weight", part: 0, parts: 1 },
    ),
    ("blocks.*.mlp.shared.gate", Rows(GATE_UP, SHARED_PARTS)),
    ("blocks.*.mlp.shared.up", Rows(GATE_UP, SHARED_PARTS)),
    ("blocks.*.mlp.shared.down", Same(DOWN)),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let experts = experts(keys, &config)?;
    // How weights are made at first, and how many tokens other programs compute together.
    for key in ["init_method", "mamba_chunk_size"] {
        keys.value(key);
    }
    keys.only("normalization_function", "rmsnorm")?;
    let kv_heads = common::kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let config = Config { kv_heads, gated: true, experts, qkv_bias: biases, out_bias: biases, ..config };
    let ssm = state_spaces(keys, &config)?;
    let config = granite::scaled(keys, Config { ssm, ..config })?;
    let turned = WHOLE_HEAD.read(keys, config.clone())?;
    let positions = keys.word("position_embedding_type")?;
    match positions {
        Some("rope") => Ok(turned),
        None | Some("nope") => Ok(config),
        Some(other) => {
            Err(err!(Format, "the config key `position_embedding_type` is {other}, which is not implemented")
                .hint("expected rope or nope"))
        }
    }
}

/// Reads the experts, if there are any; the MLP that models without them have is then the shared one.
fn experts(keys: &mut Keys, config: &Config) -> Result<Option<Experts>> {
    let count = keys.maybe_size("num_local_experts", Some(8))?.unwrap_or(0);
    if count == 0 {
        // What experts would be.
        for key in ["num_experts_per_tok", "intermediate_size"] {
            keys.value(key);
        }
        return Ok(None);
    }
    Ok(Some(Experts {
        count,
        chosen: keys.size("num_experts_per_tok", 2)?,
        d_mlp: keys.size("intermediate_size", 11008)?,
        renormalised: true,
        shared: Some(config.d_mlp),
        ungated_shared: true,
        ..Experts::default()
    }))
}

/// Reads the state spaces, if any layer has one: all of them, unless `layer_types` says which.
fn state_spaces(keys: &mut Keys, config: &Config) -> Result<Option<StateSpaces>> {
    let older = keys.words("layers_block_type")?;
    let layers: Vec<usize> = match keys.words("layer_types")?.or(older) {
        None => (0..config.layers).collect(),
        Some(types) if types.len() != config.layers => {
            let layers = config.layers;
            return Err(err!(Format, "expected {layers} `layer_types`, one for each layer, found {}", types.len()));
        }
        Some(types) => {
            let known = ["mamba", "linear_attention", "attention", "full_attention"];
            if let Some(other) = types.iter().find(|name| !known.contains(*name)) {
                return Err(err!(Format, "the layer type `{other}` of `layer_types` is not implemented")
                    .hint("expected mamba or attention, or linear_attention or full_attention"));
            }
            (0..config.layers).filter(|layer| known[..2].contains(&types[*layer])).collect()
        }
    };
    let expanded = keys.size("mamba_expand", 2)?.saturating_mul(config.d_model);
    let heads = keys.size("mamba_n_heads", 128)?;
    let d_head = match keys.value("mamba_d_head") {
        Some(stated) if stated != "auto" => keys.needed_size("mamba_d_head")?,
        _ => expanded / heads.max(1),
    };
    if heads.saturating_mul(d_head) != expanded {
        return Err(err!(
            Format,
            "expected `mamba_n_heads` times `mamba_d_head` to be `mamba_expand` times `hidden_size`, {expanded}, found {heads} \
             and {d_head}"
        ));
    }
    let [dt_least, dt_most] = limits(keys)?;
    let ssm = StateSpaces {
        layers,
        heads,
        d_head,
        groups: keys.size("mamba_n_groups", 1)?,
        d_state: keys.size("mamba_d_state", 256)?,
        kernel: keys.size("mamba_d_conv", 4)?,
        dt_rank: None,
        dt_least,
        dt_most,
        inner_norm_eps: None,
        bias: keys.flag("mamba_proj_bias", false)?,
        conv_bias: keys.flag("mamba_conv_bias", true)?,
    };
    Ok((!ssm.layers.is_empty()).then_some(ssm))
}
