//! Mamba (Gu and Dao 2023): a state space in every layer, and nothing else.

use super::prelude::*;
use super::{check, common};
use crate::model::config::StateSpaces;

pub(super) const FAMILY: Family = Family { name: "mamba", read, names: &[NAMES, STREAM_NAMES], ignored: &[] };

/// Bound of the tokens of a text: these models have none of their own.
pub(super) const CONTEXT: usize = 1 << 20;

const IN_PARTS: &[&str] = &["blocks.*.ssm.x", "blocks.*.ssm.gate"];
const SELECTED_PARTS: &[&str] = &["blocks.*.ssm.dt_in", "blocks.*.ssm.b", "blocks.*.ssm.c"];

pub(super) const NAMES: &[NameLine] = &[
    ("blocks.*.ssm.in", Rows("backbone.layers.*.mixer.in_proj", IN_PARTS)),
    ("blocks.*.ssm.selected", Rows("backbone.layers.*.mixer.x_proj", SELECTED_PARTS)),
    ("blocks.*.ssm.dt", Same("backbone.layers.*.mixer.dt_proj")),
    ("blocks.*.ssm.dt_bias", Exact("backbone.layers.*.mixer.dt_proj.bias")),
];

/// Names of what both kinds of Mamba have.
pub(super) const STREAM_NAMES: &[NameLine] = &[
    ("embed", Same("backbone.embeddings")),
    ("blocks.*.attn_norm", Same("backbone.layers.*.norm")),
    ("blocks.*.ssm.conv", Same("backbone.layers.*.mixer.conv1d")),
    ("blocks.*.ssm.log_rate", Exact("backbone.layers.*.mixer.A_log")),
    ("blocks.*.ssm.skip", Exact("backbone.layers.*.mixer.D")),
    ("blocks.*.ssm.norm", Same("backbone.layers.*.mixer.norm")),
    ("blocks.*.ssm.o", Same("backbone.layers.*.mixer.out_proj")),
    ("final_norm", Same("backbone.norm_f")),
    ("unembed", Same("lm_head")),
];

/// Keys that say how weights are made at first, in what they are summed, or which of several loops computes the scan.
const OF_A_TRAINING: [&str; 11] = [
    "fused_add_norm",
    "pad_vocab_size_multiple",
    "rescale_prenorm_residual",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "use_associative_scan",
    "use_falcon_mambapy",
    "use_mambapy",
];

/// The defaults in which families of state spaces differ.
pub(super) struct StreamDefaults {
    pub family: &'static str,
    pub vocab: usize,
    pub d_model: usize,
    pub layers: usize,
    pub tied: bool,
    pub eos: u32,
}

impl StreamDefaults {
    /// Reads a decoder with a state space in every layer, whose sizes are still to be set, and the width of its inputs.
    pub fn read(&self, keys: &mut Keys) -> Result<(Config, StateSpaces, usize)> {
        let d_model = keys.size("hidden_size", self.d_model)?;
        let layers = keys.size("num_hidden_layers", self.layers)?;
        check::size("layers", layers, 0, check::MOST_LAYERS)?;
        // Older files have the sizes under two names.
        keys.only("d_model", d_model)?;
        keys.only("n_layer", layers)?;
        keys.only("rms_norm", true)?;
        // The stream is summed in the dtype of the weights here, and in f32 where they are.
        keys.flag("residual_in_fp32", true)?;
        keys.ignore(&OF_A_TRAINING);
        let expanded = keys.size("expand", 2)?.saturating_mul(d_model);
        let ssm = StateSpaces {
            layers: (0..layers).collect(),
            heads: 0,
            d_head: 1,
            groups: 1,
            d_state: 0,
            kernel: keys.size("conv_kernel", 4)?,
            dt_rank: None,
            dt_least: None,
            dt_most: None,
            inner_norm_eps: None,
            bias: keys.flag("use_bias", false)?,
            conv_bias: keys.flag("use_conv_bias", true)?,
        };
        let config = Config {
            layers,
            d_model,
            // No layer has heads of attention.
            heads: 1,
            kv_heads: 1,
            d_mlp: 0,
            vocab: keys.size("vocab_size", self.vocab)?,
            context: CONTEXT,
            act: keys.activation("hidden_act", "silu")?,
            norm: Some(NormKind::Rms),
            norm_eps: keys.number("layer_norm_epsilon", 1e-5)?,
            norm_bias: false,
            tied: keys.flag("tie_word_embeddings", self.tied)?,
            bos: keys.token("bos_token_id", Some(0))?,
            eos: keys.tokens("eos_token_id", Some(self.eos))?,
            ..Config::plain(self.family)
        };
        Ok((common::with_head_size(config, None), ssm, expanded))
    }
}

pub(super) const DEFAULTS: StreamDefaults =
    StreamDefaults { family: "mamba", vocab: 50_280, d_model: 768, layers: 32, tied: true, eos: 0 };

fn read(keys: &mut Keys) -> Result<Config> {
    read_of(keys, &DEFAULTS)
}

/// Reads a Mamba with these defaults.
pub(super) fn read_of(keys: &mut Keys, defaults: &StreamDefaults) -> Result<Config> {
    let (config, ssm, expanded) = defaults.read(keys)?;
    let heads = keys.maybe_size("intermediate_size", None)?.unwrap_or(expanded);
    keys.only("d_inner", heads)?;
    let ssm = StateSpaces {
        heads,
        d_state: keys.size("state_size", 16)?,
        dt_rank: Some(dt_rank(keys, config.d_model)?),
        ..ssm
    };
    Ok(Config { ssm: Some(ssm), ..config })
}

/// Reads the rank of the map to steps: by default a sixteenth of the width of the stream.
pub(super) fn dt_rank(keys: &mut Keys, d_model: usize) -> Result<usize> {
    match keys.value("time_step_rank") {
        None => Ok(d_model.div_ceil(16)),
        Some(Value::String(word)) if word == "auto" => Ok(d_model.div_ceil(16)),
        Some(_) => keys.needed_size("time_step_rank"),
    }
}
