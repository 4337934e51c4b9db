//! Granite 4's hybrids (Granite Team 2025): as granite, with Mamba 2's state spaces in place of most attention, experts
//! beside a shared one in the larger models, and no rotation in the models that are published.

use super::mamba2::{PARTS, limits};
use super::names::{EXPERT_DOWN, EXPERT_GATE_UP};
use super::prelude::*;
use super::{common, granite};
use crate::model::config::StateSpaces;

pub(super) const FAMILY: Family =
    Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("granitemoehybrid", read) };

const COMMON: common::Common = common::Common {
    vocab: 32_000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    kv_heads: ("num_key_value_heads", None),
    d_mlp: ("shared_intermediate_size", Some(1024)),
    context: ("max_position_embeddings", 2048),
    bos: Some(1),
    eos: Some(2),
    ..common::Common::modern("granitemoehybrid", NormKind::Rms)
};

const INPUT: &str = "model.layers.*.shared_mlp.input_linear";
const SHARED_PARTS: &[&str] = &["blocks.*.mlp.shared.gate", "blocks.*.mlp.shared.up"];
const OUTPUT: &str = "model.layers.*.shared_mlp.output_linear";

const NAMES: &[NameLine] = &[
    ("blocks.*.ssm.in", Rows("model.layers.*.mamba.in_proj", PARTS)),
    ("blocks.*.ssm.dt_bias", Exact("model.layers.*.mamba.dt_bias")),
    ("blocks.*.ssm.conv", Same("model.layers.*.mamba.conv1d")),
    ("blocks.*.ssm.log_rate", Exact("model.layers.*.mamba.A_log")),
    ("blocks.*.ssm.skip", Exact("model.layers.*.mamba.D")),
    ("blocks.*.ssm.norm", Same("model.layers.*.mamba.norm")),
    ("blocks.*.ssm.o", Same("model.layers.*.mamba.out_proj")),
    ("blocks.*.mlp.gate_up", Rows(INPUT, GATE_UP)),
    ("blocks.*.mlp.down", Same(OUTPUT)),
    ("blocks.*.mlp.router", Same("model.layers.*.block_sparse_moe.router.layer")),
    (
        "blocks.*.mlp.experts.#.gate_up",
        RowsOfExpert("model.layers.*.block_sparse_moe.input_linear.weight", EXPERT_GATE_UP),
    ),
    ("blocks.*.mlp.experts.#.down", RowsOfExpert("model.layers.*.block_sparse_moe.output_linear.weight", EXPERT_DOWN)),
    ("blocks.*.mlp.shared.gate_up", Rows(INPUT, SHARED_PARTS)),
    ("blocks.*.mlp.shared.down", Same(OUTPUT)),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let experts = experts(keys, &config)?;
    // How weights are made at first, and how many tokens other programs compute together.
    keys.ignore(&["init_method", "mamba_chunk_size"]);
    keys.only("normalization_function", "rmsnorm")?;
    let biases = keys.flag("attention_bias", false)?;
    let config = Config { gated: true, experts, qkv_bias: biases, out_bias: biases, ..config };
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
        keys.ignore(&["num_experts_per_tok", "intermediate_size"]);
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
        Some(types) => {
            let known: [&[&str]; 2] = [&["mamba", "linear_attention"], &["attention", "full_attention"]];
            let hint = "expected mamba or attention, or linear_attention or full_attention";
            common::layers_of(&types, config.layers, known, hint)?
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
