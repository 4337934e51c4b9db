//! Sites: the places where activations flow, their names, and the names that TransformerLens gives them.

mod foreign;
mod select;

use std::fmt;

use super::config::{Config, Mixer, Order, Positions, Predicts, QkNorm};

pub use foreign::{explained, in_every_model};
pub use select::{NAME_ONE, Place, one_site, places, select};

/// A site's kind. The order is that of the computation within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteKind {
    Embed,
    PosEmbed,
    ResidPre,
    NormScale,
    AttnIn,
    QLatent,
    Q,
    KvLatent,
    KShared,
    K,
    V,
    QRot,
    KRot,
    Scores,
    Pattern,
    HeadGate,
    Z,
    HeadOut,
    DeltaQ,
    DeltaK,
    DeltaV,
    DeltaBeta,
    DeltaDecay,
    DeltaRead,
    DeltaGate,
    SsmX,
    SsmB,
    SsmC,
    SsmDt,
    SsmState,
    SsmRead,
    SsmGate,
    RwkvR,
    RwkvW,
    RwkvA,
    RwkvKk,
    RwkvK,
    RwkvV,
    RwkvState,
    RwkvRead,
    RwkvG,
    AttnPostScale,
    AttnOut,
    ResidMidScale,
    ResidMid,
    MlpNormScale,
    MlpIn,
    MlpShifted,
    ExpertsIn,
    Router,
    ExpertsOut,
    MlpPre,
    MlpUp,
    MlpHidden,
    MlpOwn,
    MlpPostScale,
    MlpOut,
    LayerInput,
    LayerGate,
    LayerHidden,
    LayerPostScale,
    LayerOut,
    ResidPostScale,
    ResidPost,
    TransformIn,
    TransformOut,
    FinalNormScale,
    FinalNorm,
    Logits,
}

/// The axis of heads in the tensor of a site, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    None,
    /// Axis 2 of `[batch, pos, head, ..]`, a query head each.
    Queries,
    /// Axis 2 of `[batch, pos, head, ..]`, a key-value head each.
    Keys,
    /// Axis 1 of `[batch, head, query, key]`.
    Square,
    /// Axis 2 of `[batch, pos, head, ..]`, a head of queries and keys of a delta net each.
    DeltaKeys,
    /// Axis 2 of `[batch, pos, head, ..]`, a head of values of a delta net each; decays and strengths have no axis
    /// behind it.
    DeltaValues,
    /// Axis 2 of `[batch, pos, head, ..]`, a head of a state space each, which is a channel in Mamba.
    StateHeads,
    /// Axis 2 of `[batch, pos, group, state]`, a group of heads of a state space each.
    StateGroups,
    /// Axis 2 of `[batch, pos, head, ..]`, a head of time mixing each.
    TimeHeads,
}

/// A kind's row: its name here, its name in TransformerLens, and what flows there.
struct SiteRow {
    kind: SiteKind,
    name: &'static str,
    lens: &'static str,
    meaning: &'static str,
}

impl SiteRow {
    /// Returns our name, with `{}` in place of the layer.
    fn template(&self) -> String {
        if self.kind.in_blocks() { format!("{}.{{}}", self.name) } else { self.name.to_string() }
    }
}

const fn row(kind: SiteKind, name: &'static str, lens: &'static str, meaning: &'static str) -> SiteRow {
    SiteRow { kind, name, lens, meaning }
}

/// Rows of all kinds; `{}` in a name of TransformerLens stands for the layer.
static ROWS: [SiteRow; 69] = [
    row(SiteKind::Embed, "embed", "hook_embed", "token embeddings, after any embedding scale: [batch, pos, d_model]"),
    row(SiteKind::PosEmbed, "pos_embed", "hook_pos_embed", "learned position embeddings: [batch, pos, d_model]"),
    row(
        SiteKind::ResidPre,
        "resid_pre",
        "blocks.{}.hook_resid_pre",
        "the stream entering the block: [batch, pos, d_model]",
    ),
    row(
        SiteKind::NormScale,
        "norm_scale",
        "blocks.{}.ln1.hook_scale",
        "the divisor of the norm before attention: [batch, pos, 1]",
    ),
    row(
        SiteKind::AttnIn,
        "attn_in",
        "blocks.{}.attn.hook_in",
        "the normed input of attention, weights of the norm included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::QLatent,
        "q_latent",
        "blocks.{}.attn.hook_q_latent",
        "what queries are made of in latent attention, behind its norm: [batch, pos, q_rank]",
    ),
    row(
        SiteKind::Q,
        "q",
        "blocks.{}.attn.hook_q",
        "queries, before rotary and before any norm of their own: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::KvLatent,
        "kv_latent",
        "blocks.{}.attn.hook_kv_latent",
        "what keys and values are made of in latent attention, behind its norm: [batch, pos, kv_rank]",
    ),
    row(
        SiteKind::KShared,
        "k_shared",
        "blocks.{}.attn.hook_k_shared",
        "the last coordinates of the keys of all heads in latent attention, before rotary: [batch, pos, d_shared]",
    ),
    row(
        SiteKind::K,
        "k",
        "blocks.{}.attn.hook_k",
        "keys, before rotary and before any norm of their own: [batch, pos, kv_head, d_head]",
    ),
    row(
        SiteKind::V,
        "v",
        "blocks.{}.attn.hook_v",
        "values, after any norm of their own: [batch, pos, kv_head, d_value], where d_value is d_head but in latent attention",
    ),
    row(
        SiteKind::QRot,
        "q_rot",
        "blocks.{}.attn.hook_rot_q",
        "queries after norm and rotary: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::KRot,
        "k_rot",
        "blocks.{}.attn.hook_rot_k",
        "keys after norm and rotary: [batch, pos, kv_head, d_head]",
    ),
    row(
        SiteKind::Scores,
        "scores",
        "blocks.{}.attn.hook_attn_scores",
        "scaled and capped q . k, before the mask: [batch, head, query, key]",
    ),
    row(
        SiteKind::Pattern,
        "pattern",
        "blocks.{}.attn.hook_pattern",
        "attention after softmax; the rest of a row is its sink's, where heads have one: [batch, head, query, key]",
    ),
    row(
        SiteKind::HeadGate,
        "head_gate",
        "blocks.{}.attn.hook_gate",
        "what each head's mixed values are multiplied with, before its sigmoid: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::Z,
        "z",
        "blocks.{}.attn.hook_z",
        "values mixed by the pattern, times any gate, the input of the output projection: [batch, pos, head, d_value]",
    ),
    row(
        SiteKind::HeadOut,
        "head_out",
        "blocks.{}.attn.hook_result",
        "what each head writes, before bias and post-norm: [batch, pos, head, d_model]",
    ),
    row(
        SiteKind::DeltaQ,
        "delta_q",
        "blocks.{}.linear_attn.hook_q",
        "queries of a delta net, after the convolution: [batch, pos, key_head, d_key]",
    ),
    row(
        SiteKind::DeltaK,
        "delta_k",
        "blocks.{}.linear_attn.hook_k",
        "keys of a delta net, after the convolution: [batch, pos, key_head, d_key]",
    ),
    row(
        SiteKind::DeltaV,
        "delta_v",
        "blocks.{}.linear_attn.hook_v",
        "values of a delta net, after the convolution: [batch, pos, value_head, d_value]",
    ),
    row(
        SiteKind::DeltaBeta,
        "delta_beta",
        "blocks.{}.linear_attn.hook_beta",
        "how much of its value a token writes, from 0 to 1: [batch, pos, value_head]",
    ),
    row(
        SiteKind::DeltaDecay,
        "delta_decay",
        "blocks.{}.linear_attn.hook_log_decay",
        "the logarithm of the share of its memory that a head keeps at a token: [batch, pos, value_head]",
    ),
    row(
        SiteKind::DeltaRead,
        "delta_read",
        "blocks.{}.linear_attn.hook_recurrence_out",
        "what queries read from the memory, before norm and gate: [batch, pos, value_head, d_value]",
    ),
    row(
        SiteKind::DeltaGate,
        "delta_gate",
        "blocks.{}.linear_attn.hook_gate_input",
        "what is read is multiplied with the SiLU of this: [batch, pos, value_head, d_value]",
    ),
    row(
        SiteKind::SsmX,
        "ssm_x",
        "blocks.{}.mixer.hook_x",
        "inputs of a state space, after the convolution: [batch, pos, head, d_head], in Mamba [batch, pos, channel]",
    ),
    row(
        SiteKind::SsmB,
        "ssm_b",
        "blocks.{}.mixer.hook_b",
        "what a state space writes with, B: [batch, pos, group, d_state]",
    ),
    row(
        SiteKind::SsmC,
        "ssm_c",
        "blocks.{}.mixer.hook_c",
        "what a state space reads with, C: [batch, pos, group, d_state]",
    ),
    row(
        SiteKind::SsmDt,
        "ssm_dt",
        "blocks.{}.mixer.hook_dt",
        "the step of each head at a token, after its softplus: [batch, pos, head]",
    ),
    row(
        SiteKind::SsmState,
        "ssm_state",
        "blocks.{}.mixer.hook_state",
        "the state behind each token: [batch, pos, head, d_head, d_state], in Mamba [batch, pos, channel, d_state]",
    ),
    row(
        SiteKind::SsmRead,
        "ssm_read",
        "blocks.{}.mixer.hook_read",
        "what is read of the state, with the skip, before gate and norm: shaped as the inputs",
    ),
    row(
        SiteKind::SsmGate,
        "ssm_gate",
        "blocks.{}.mixer.hook_gate",
        "what is read is multiplied with the SiLU of this: shaped as the inputs",
    ),
    row(
        SiteKind::RwkvR,
        "rwkv_r",
        "blocks.{}.time_mix.hook_r",
        "the receptance of time mixing, which reads the state: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvW,
        "rwkv_w",
        "blocks.{}.time_mix.hook_w",
        "the logarithms of what a head keeps of each coordinate of keys, below 0: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvA,
        "rwkv_a",
        "blocks.{}.time_mix.hook_a",
        "the in-context learning rates, from 0 to 1: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvKk,
        "rwkv_kk",
        "blocks.{}.time_mix.hook_kk",
        "removal keys, of length 1: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvK,
        "rwkv_k",
        "blocks.{}.time_mix.hook_k",
        "the keys that values are written at, after the learning rates: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvV,
        "rwkv_v",
        "blocks.{}.time_mix.hook_v",
        "the values of time mixing, mixed with those of the first layer: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvState,
        "rwkv_state",
        "blocks.{}.time_mix.hook_state",
        "the state of time mixing behind each token, keys by values: [batch, pos, head, d_head, d_head]",
    ),
    row(
        SiteKind::RwkvRead,
        "rwkv_read",
        "blocks.{}.time_mix.hook_read",
        "what the receptance reads of the state, before norm, bonus and gate: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::RwkvG,
        "rwkv_g",
        "blocks.{}.time_mix.hook_g",
        "what is read, its norm and bonus included, is multiplied with this: [batch, pos, head, d_head]",
    ),
    row(
        SiteKind::AttnPostScale,
        "attn_post_scale",
        "blocks.{}.ln1_post.hook_scale",
        "the divisor of the norm after attention: [batch, pos, 1]",
    ),
    row(
        SiteKind::AttnOut,
        "attn_out",
        "blocks.{}.hook_attn_out",
        "what attention adds to the stream, post-norm included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::ResidMidScale,
        "resid_mid_scale",
        "blocks.{}.ln_mid.hook_scale",
        "the divisor of the norm of the stream behind attention, where it has one: [batch, pos, 1]",
    ),
    row(
        SiteKind::ResidMid,
        "resid_mid",
        "blocks.{}.hook_resid_mid",
        "the stream between attention and MLP, any norm of its own included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::MlpNormScale,
        "mlp_norm_scale",
        "blocks.{}.ln2.hook_scale",
        "the divisor of the norm before the MLP: [batch, pos, 1]",
    ),
    row(
        SiteKind::MlpIn,
        "mlp_in",
        "blocks.{}.mlp.hook_in",
        "the normed input of the MLP, weights of the norm included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::MlpShifted,
        "mlp_shifted",
        "blocks.{}.mlp.hook_shifted",
        "the mixture of the MLP's input with that of the token before, which it reads: [batch, pos, d_model]",
    ),
    row(
        SiteKind::ExpertsIn,
        "experts_in",
        "blocks.{}.experts.hook_in",
        "the normed input of experts beside an MLP: [batch, pos, d_model]",
    ),
    row(
        SiteKind::Router,
        "router",
        "blocks.{}.mlp.hook_expert_weights",
        "the router's softmax over all experts, or sigmoids, of which the highest are chosen and weighed: [batch, pos, expert]",
    ),
    row(
        SiteKind::ExpertsOut,
        "experts_out",
        "blocks.{}.experts.hook_out",
        "what experts beside an MLP write, their norm included, before that of the sum: [batch, pos, d_model]",
    ),
    row(
        SiteKind::MlpPre,
        "mlp_pre",
        "blocks.{}.mlp.hook_pre",
        "before the activation; where gated, the gate: [batch, pos, d_mlp]",
    ),
    row(
        SiteKind::MlpUp,
        "mlp_up",
        "blocks.{}.mlp.hook_pre_linear",
        "what the gate is multiplied with: [batch, pos, d_mlp]",
    ),
    row(
        SiteKind::MlpHidden,
        "mlp_hidden",
        "blocks.{}.mlp.hook_post",
        "the input of the down projection, act(gate) * up where gated: [batch, pos, d_mlp]",
    ),
    row(
        SiteKind::MlpOwn,
        "mlp_own",
        "blocks.{}.mlp.hook_own",
        "what an MLP beside experts writes, its norm included, before that of the sum: [batch, pos, d_model]",
    ),
    row(
        SiteKind::MlpPostScale,
        "mlp_post_scale",
        "blocks.{}.ln2_post.hook_scale",
        "the divisor of the norm after the MLP: [batch, pos, 1]",
    ),
    row(
        SiteKind::MlpOut,
        "mlp_out",
        "blocks.{}.hook_mlp_out",
        "what the MLP adds to the stream, post-norm included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::LayerInput,
        "layer_input",
        "blocks.{}.per_layer_input.hook_in",
        "what the layer reads of the token beside the stream: [batch, pos, width]",
    ),
    row(
        SiteKind::LayerGate,
        "layer_gate",
        "blocks.{}.per_layer_input.hook_gate",
        "the gate of the layer's input, before the activation, from the stream behind the MLP: [batch, pos, width]",
    ),
    row(
        SiteKind::LayerHidden,
        "layer_hidden",
        "blocks.{}.per_layer_input.hook_post",
        "the layer's input times the activation of its gate: [batch, pos, width]",
    ),
    row(
        SiteKind::LayerPostScale,
        "layer_post_scale",
        "blocks.{}.per_layer_input.hook_scale",
        "the divisor of the norm of what comes of the layer's input: [batch, pos, 1]",
    ),
    row(
        SiteKind::LayerOut,
        "layer_out",
        "blocks.{}.per_layer_input.hook_out",
        "what comes of the layer's input and is added to the stream, post-norm included: [batch, pos, d_model]",
    ),
    row(
        SiteKind::ResidPostScale,
        "resid_post_scale",
        "blocks.{}.ln_post.hook_scale",
        "the divisor of the norm of the stream behind the MLP, where it has one: [batch, pos, 1]",
    ),
    row(
        SiteKind::ResidPost,
        "resid_post",
        "blocks.{}.hook_resid_post",
        "the stream leaving the block, times its scale or behind its norm where it has one: [batch, pos, d_model]",
    ),
    row(
        SiteKind::TransformIn,
        "transform_in",
        "mlm_head.hook_in",
        "what the layer before the last norm reads, the stream behind any norm of its own: [batch, pos, d_model]",
    ),
    row(
        SiteKind::TransformOut,
        "transform_out",
        "mlm_head.hook_post",
        "what the layer before the last norm gives, after its activation: [batch, pos, d_model]",
    ),
    row(
        SiteKind::FinalNormScale,
        "final_norm_scale",
        "ln_final.hook_scale",
        "the divisor of the last norm: [batch, pos, 1]",
    ),
    row(
        SiteKind::FinalNorm,
        "final_norm",
        "unembed.hook_in",
        "the normed stream that is unembedded: [batch, pos, d_model]",
    ),
    row(SiteKind::Logits, "logits", "logits", "the logits, after any cap: [batch, pos, vocab]"),
];

/// Names in TransformerLens of norms before their weights, and the sites behind them, which have the weights in them.
pub const NORMED: [(&str, SiteKind); 3] = [
    ("blocks.{}.ln1.hook_normalized", SiteKind::AttnIn),
    ("blocks.{}.ln2.hook_normalized", SiteKind::MlpIn),
    ("ln_final.hook_normalized", SiteKind::FinalNorm),
];

impl SiteKind {
    fn row(self) -> &'static SiteRow {
        // The rows are in the order of the kinds, which a test checks.
        &ROWS[self as usize]
    }

    pub fn all() -> impl Iterator<Item = SiteKind> {
        ROWS.iter().map(|row| row.kind)
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the kind's name in TransformerLens, with `{}` in place of the layer.
    pub fn lens_name(self) -> &'static str {
        self.row().lens
    }

    /// Returns a sentence on what flows there.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    pub fn in_blocks(self) -> bool {
        self.row().lens.contains("{}")
    }

    /// Returns whether the site is recorded only where it is named, since it is as large as all others together.
    pub fn is_large(self) -> bool {
        matches!(self, SiteKind::HeadOut | SiteKind::SsmState | SiteKind::RwkvState)
    }

    pub fn heads(self) -> Heads {
        match self {
            SiteKind::Q | SiteKind::QRot | SiteKind::HeadGate | SiteKind::Z | SiteKind::HeadOut => Heads::Queries,
            SiteKind::K | SiteKind::V | SiteKind::KRot => Heads::Keys,
            SiteKind::Scores | SiteKind::Pattern => Heads::Square,
            SiteKind::DeltaQ | SiteKind::DeltaK => Heads::DeltaKeys,
            SiteKind::DeltaV | SiteKind::DeltaBeta | SiteKind::DeltaDecay => Heads::DeltaValues,
            SiteKind::DeltaRead | SiteKind::DeltaGate => Heads::DeltaValues,
            SiteKind::SsmX | SiteKind::SsmDt | SiteKind::SsmState => Heads::StateHeads,
            SiteKind::SsmRead | SiteKind::SsmGate => Heads::StateHeads,
            SiteKind::SsmB | SiteKind::SsmC => Heads::StateGroups,
            SiteKind::RwkvR | SiteKind::RwkvW | SiteKind::RwkvA | SiteKind::RwkvKk => Heads::TimeHeads,
            SiteKind::RwkvK | SiteKind::RwkvV | SiteKind::RwkvState => Heads::TimeHeads,
            SiteKind::RwkvRead | SiteKind::RwkvG => Heads::TimeHeads,
            _ => Heads::None,
        }
    }

    /// Returns whether models of this config have such a site in this layer.
    pub fn exists_in(self, config: &Config, layer: usize) -> bool {
        let has_keys = config.keys_from(layer).is_none();
        self.exists(config)
            && match self.mixer() {
                Some(Mixer::Attention) => config.attends(layer) && (has_keys || !self.is_of_keys()),
                Some(mixer) => config.mixer_of(layer) == mixer,
                None if self.is_of_experts() => config.experts_of(layer).is_some(),
                None if self == SiteKind::NormScale => !config.unnormed.contains(&layer),
                None => config.has_plain_mlp(layer) || !self.is_of_plain_mlp(),
            }
    }

    /// Returns whether keys or values flow there, which a layer may read of another.
    pub(super) fn is_of_keys(self) -> bool {
        matches!(self, SiteKind::K | SiteKind::V | SiteKind::KRot)
    }

    /// Returns whether latent attention has such a site, and other attention has not.
    fn is_of_latents(self) -> bool {
        matches!(self, SiteKind::QLatent | SiteKind::KvLatent | SiteKind::KShared)
    }

    pub(super) fn is_of_experts(self) -> bool {
        matches!(self, SiteKind::Router | SiteKind::ExpertsIn | SiteKind::ExpertsOut | SiteKind::MlpOwn)
    }

    /// Returns the part of a layer that has such a site, where attention and recurrent layers differ.
    pub(super) fn mixer(self) -> Option<Mixer> {
        match self.heads() {
            Heads::None if self.is_of_latents() => Some(Mixer::Attention),
            Heads::None => None,
            Heads::Queries | Heads::Keys | Heads::Square => Some(Mixer::Attention),
            Heads::DeltaKeys | Heads::DeltaValues => Some(Mixer::Delta),
            Heads::StateHeads | Heads::StateGroups => Some(Mixer::StateSpace),
            Heads::TimeHeads => Some(Mixer::TimeMixing),
        }
    }

    /// Returns whether a recurrent layer has such a site, and attention has not.
    pub fn is_of_recurrence(self) -> bool {
        matches!(self.mixer(), Some(Mixer::Delta | Mixer::StateSpace | Mixer::TimeMixing))
    }

    /// Returns whether an MLP has such a site and a mixture of experts does not: each token has its own experts.
    fn is_of_plain_mlp(self) -> bool {
        matches!(self, SiteKind::MlpPre | SiteKind::MlpUp | SiteKind::MlpHidden)
    }

    /// Returns whether models of this config have such a site in some layer.
    pub fn exists(self, config: &Config) -> bool {
        let normed = config.norm.is_some();
        let mlp = config.has_mlp();
        let plain = mlp && (config.layers == 0 || (0..config.layers).any(|layer| config.has_plain_mlp(layer)));
        let mixed = || (0..config.layers).any(|layer| config.experts_of(layer).is_some());
        let beside = || config.experts.as_ref().is_some_and(|experts| experts.beside) && mixed();
        match self.mixer() {
            Some(Mixer::Delta) => return config.delta.is_some(),
            Some(Mixer::StateSpace) => return config.ssm.is_some(),
            Some(Mixer::TimeMixing) => return config.rwkv.is_some(),
            Some(Mixer::Attention) if !config.has_attention() => return false,
            _ => {}
        }
        match self {
            SiteKind::HeadGate => config.gated_heads,
            SiteKind::QLatent => config.latent.as_ref().is_some_and(|latent| latent.q_rank.is_some()),
            SiteKind::KvLatent | SiteKind::KShared => config.latent.is_some(),
            SiteKind::PosEmbed => config.positions == Positions::Learned,
            SiteKind::NormScale => normed && config.pre_norm,
            SiteKind::ResidMidScale | SiteKind::ResidPostScale => normed && config.stream_norm,
            SiteKind::TransformIn | SiteKind::TransformOut => config.transform.is_some(),
            SiteKind::Logits => config.predicts != Predicts::Nothing,
            SiteKind::MlpNormScale => normed && config.pre_norm && mlp && config.order != Order::ParallelShared,
            SiteKind::QRot | SiteKind::KRot => config.positions == Positions::Rotary || config.qk_norm != QkNorm::None,
            SiteKind::AttnPostScale => normed && config.post_norm,
            SiteKind::MlpPostScale => normed && config.post_norm && mlp,
            SiteKind::ResidMid => config.is_serial() && mlp,
            SiteKind::MlpIn | SiteKind::MlpOut => mlp,
            SiteKind::MlpShifted => config.shifts_mlps(),
            SiteKind::Router => mixed(),
            SiteKind::ExpertsIn | SiteKind::ExpertsOut | SiteKind::MlpOwn => beside(),
            SiteKind::LayerInput | SiteKind::LayerGate | SiteKind::LayerHidden | SiteKind::LayerOut => {
                config.layer_inputs.is_some()
            }
            SiteKind::LayerPostScale => normed && config.post_norm && config.layer_inputs.is_some(),
            SiteKind::MlpPre | SiteKind::MlpHidden => plain,
            SiteKind::MlpUp => plain && config.gated,
            SiteKind::FinalNormScale => normed && config.final_norm,
            _ => true,
        }
    }
}

/// One site of a model. Sites compare in the order of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    pub kind: SiteKind,
    /// Layer of the site; 0 for sites outside of the blocks.
    pub layer: usize,
}

impl Site {
    pub fn new(kind: SiteKind, layer: usize) -> Self {
        Self { kind, layer: if kind.in_blocks() { layer } else { 0 } }
    }

    /// Lists every site that a model of this config has, in the order of the computation.
    pub fn all(config: &Config) -> Vec<Site> {
        let kinds: Vec<SiteKind> = SiteKind::all().filter(|kind| kind.exists(config)).collect();
        let outside = |from: fn(&SiteKind) -> bool| kinds.iter().copied().filter(from).map(|kind| Site::new(kind, 0));
        let inside = (0..config.layers)
            .flat_map(|layer| kinds.iter().map(move |kind| (*kind, layer)))
            .filter(|(kind, layer)| kind.in_blocks() && kind.exists_in(config, *layer))
            .map(|(kind, layer)| Site::new(kind, layer));
        outside(|kind| *kind < SiteKind::ResidPre)
            .chain(inside)
            .chain(outside(|kind| *kind > SiteKind::ResidPost))
            .collect()
    }

    /// Returns the name that TransformerLens gives the site.
    pub fn lens_name(self) -> String {
        self.kind.row().lens.replace("{}", &self.layer.to_string())
    }

    /// Returns the rank of the site in the order of the computation.
    fn rank(self) -> (usize, usize, SiteKind) {
        let part = match self.kind {
            kind if kind < SiteKind::ResidPre => 0,
            kind if kind > SiteKind::ResidPost => 2,
            _ => 1,
        };
        (part, self.layer, self.kind)
    }
}

impl PartialOrd for Site {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Site {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.in_blocks() {
            write!(f, "{}.{}", self.kind.name(), self.layer)
        } else {
            f.write_str(self.kind.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, i, "{}", row.name);
        }
    }
}
