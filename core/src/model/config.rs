//! The config of a decoder: what it computes, as data. Every model family is read into one.

use serde::{Deserialize, Serialize};

pub use kernels::{Activation, NormKind};

use crate::base::{Error, Result};
use crate::err;

/// The mathematics of a decoder and its sizes. Weights are used as published; nothing is folded or centred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Family: `gpt2`, `llama`, ..; `microtome` for models that were created here.
    pub family: String,
    pub layers: usize,
    pub d_model: usize,
    pub heads: usize,
    /// Number of key-value heads: fewer than `heads` with grouped-query attention.
    pub kv_heads: usize,
    pub d_head: usize,
    /// Number of neurons of an MLP; 0 for an attention-only model.
    pub d_mlp: usize,
    pub vocab: usize,
    /// The number of logits, if it is not the vocabulary size: some tokens may be input-only, as "=" in modular
    /// addition.
    #[serde(default)]
    pub vocab_out: Option<usize>,
    /// The maximum context, in tokens.
    pub context: usize,

    pub act: Activation,
    /// Whether the MLP is `down(act(gate x) * up x)` instead of `down(act(up x))`.
    pub gated: bool,
    /// The number of neurons of an MLP that are active at a token: the largest by size; all others are 0.
    #[serde(default)]
    pub active_neurons: Option<usize>,
    /// Experts in place of the MLP of most layers.
    #[serde(default)]
    pub experts: Option<Experts>,
    /// Gated delta nets in place of the attention of some layers.
    #[serde(default)]
    pub delta: Option<DeltaNets>,
    /// State spaces in place of the attention of some layers.
    #[serde(default)]
    pub ssm: Option<StateSpaces>,
    /// Time mixing in place of the attention of some layers, and MLPs that read the token before, too (RWKV-7).
    #[serde(default)]
    pub rwkv: Option<TimeMixing>,
    /// Queries, keys and values by way of narrow vectors (DeepSeek V2 and V3).
    #[serde(default)]
    pub latent: Option<LatentAttention>,
    /// The heads of layers without a window, where they differ (gemma 4).
    #[serde(default)]
    pub global_heads: Option<GlobalHeads>,
    /// Last layers that read the keys and values of an earlier one (gemma 4).
    #[serde(default)]
    pub shared_keys: Option<SharedKeys>,
    /// The width of a vector that each layer reads beside the stream (gemma 4): made of the token and its embedding, it is
    /// multiplied with the activation of a gate, which reads the stream behind the MLP, and what comes of it is projected,
    /// normed, and added.
    #[serde(default)]
    pub layer_inputs: Option<usize>,
    /// Whether the stream is multiplied by a weight at the end of each block (gemma 4).
    #[serde(default)]
    pub layer_scale: bool,

    /// The kind of every norm; without one there are no norms at all.
    pub norm: Option<NormKind>,
    pub norm_eps: f64,
    /// Whether norms have weights.
    pub norm_weight: bool,
    pub norm_bias: bool,
    /// Whether the published weight of a norm is its distance from 1 (gemma).
    pub norm_plus_one: bool,
    /// Norms on the inputs of attention and MLP.
    pub pre_norm: bool,
    /// Norms on the outputs of attention and MLP (gemma 2 and 3, OLMo 2).
    pub post_norm: bool,
    pub final_norm: bool,
    /// A norm of embeddings, before anything reads them (Bloom).
    #[serde(default)]
    pub embed_norm: bool,
    /// Norms of the residual stream itself (Vaswani et al. 2017): of the sum of embeddings and positions, and of the sums with
    /// the outputs of attention and of the MLP, where the stream goes on as the norm gives it (BERT).
    #[serde(default)]
    pub stream_norm: bool,
    /// Layers whose attention reads the stream without a norm, where others have one (ModernBERT).
    #[serde(default)]
    pub unnormed: Vec<usize>,
    /// The number of embeddings of a text's type, of which the first is added to every token (BERT).
    #[serde(default)]
    pub token_types: Option<usize>,
    /// The layer between the residual stream and the last norm, if there is one (BERT).
    #[serde(default)]
    pub transform: Option<Transform>,
    /// Norms of queries and keys.
    pub qk_norm: QkNorm,
    /// Norms of the values of each head, which have no weights (gemma 4).
    #[serde(default)]
    pub value_norm: bool,
    pub order: Order,

    pub positions: Positions,
    /// Row of the position table that belongs to position 0 (OPT: 2).
    pub position_offset: usize,
    pub rotary: Option<Rotary>,
    /// The rotation of layers with a window, where it differs (gemma 3, OLMo 3).
    pub rotary_local: Option<Rotary>,
    /// Layers that rotate nothing (SmolLM 3).
    #[serde(default)]
    pub unrotated: Vec<usize>,
    /// Biases of scores, where these are what says how far a key is.
    #[serde(default)]
    pub alibi: Option<Alibi>,
    /// The attention window of each layer, the query itself included. Empty if no layer has a window.
    pub windows: Vec<Option<usize>>,
    /// Whether attention is causal. Where it is not, a window reaches as far to the right as to the left.
    pub causal: bool,
    /// The token that the logits of a position are for.
    #[serde(default)]
    pub predicts: Predicts,

    /// Whether the softmax of each head has one more score, a weight, which attends to nothing (gpt-oss).
    #[serde(default)]
    pub sinks: bool,
    /// Whether what a head mixes is multiplied by the sigmoid of a gate before it is written (Qwen 3.5).
    #[serde(default)]
    pub gated_heads: bool,
    /// The factor of `q . k`.
    pub score_scale: f64,
    /// Whether layer N divides its scores by N + 1 besides (gpt2's `scale_attn_by_inverse_layer_idx`).
    pub score_scale_by_layer: bool,
    /// Soft cap: scores become `cap * tanh(scores / cap)`.
    pub score_cap: Option<f64>,
    pub logit_cap: Option<f64>,
    /// The factor of logits, before any cap (granite).
    #[serde(default)]
    pub logit_scale: Option<f64>,
    /// The factor of embeddings (gemma: the square root of `d_model`).
    pub embed_scale: Option<f64>,
    /// The factor of what attention and MLP write (granite).
    #[serde(default)]
    pub write_scale: Option<f64>,
    /// Whether the unembedding is tied to the embedding.
    pub tied: bool,
    pub qkv_bias: bool,
    pub out_bias: bool,
    /// Biases of MLPs, of experts and of their routers.
    pub mlp_bias: bool,
    pub unembed_bias: bool,

    /// The BOS token, if the model has one. It is not added unless asked for.
    pub bos: Option<u32>,
    /// EOS tokens.
    pub eos: Vec<u32>,
}

/// Latent attention (DeepSeek-AI 2024, section 2.1): keys and values of all heads are made of one narrow vector, a latent,
/// behind a norm, and so are queries where they have a latent of their own. The last coordinates of a key are made of the
/// stream itself, are the same in all heads, and are the ones that positions rotate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// The size of the latent of keys and values.
    pub kv_rank: usize,
    /// The size of the latent of queries; without one, these are made of the stream.
    #[serde(default)]
    pub q_rank: Option<usize>,
    /// The number of coordinates of a key, of its `d_head`, that all heads share.
    pub d_shared: usize,
    /// The size of a value, which `d_head` is not.
    pub d_value: usize,
    /// The small number of the norms of latents.
    pub norm_eps: f64,
}

/// A mixture of experts (Shazeer et al. 2017): a router chooses the MLPs that read a token, and weighs what they write.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    pub count: usize,
    /// Number of routed experts that read each token: those with the highest probabilities.
    pub chosen: usize,
    pub d_mlp: usize,
    /// Whether the probabilities of the routed experts are divided by their sum.
    #[serde(default)]
    pub renormalised: bool,
    /// The `d_mlp` of a shared expert, which reads every token and has a gate of its own (Qwen 2).
    #[serde(default)]
    pub shared: Option<usize>,
    /// Whether the shared expert has no gate (DeepSeek V2 and V3).
    #[serde(default)]
    pub ungated_shared: bool,
    /// Whether an expert's probability is the sigmoid of its own score, in place of the softmax of all (DeepSeek V3).
    #[serde(default)]
    pub sigmoid: bool,
    /// Whether each expert has a bias, which is added to its probability where experts are chosen, and not where they are
    /// weighed (DeepSeek V3).
    #[serde(default)]
    pub choice_bias: bool,
    /// Groups of experts, of which a token's experts are in a few (DeepSeek V2 and V3).
    #[serde(default)]
    pub groups: Option<ExpertGroups>,
    /// The factor of the weights of the routed experts (DeepSeek V2 and V3).
    #[serde(default)]
    pub scale: Option<f64>,
    /// Whether the router's scores are computed in 32 bits whatever the dtype of the model (DeepSeek V2 and V3).
    #[serde(default)]
    pub wide_router: bool,
    /// Layers with a plain MLP.
    #[serde(default)]
    pub plain: Vec<usize>,
    /// Combination of gate and up projection where it is not `act(gate) * up` (gpt-oss).
    #[serde(default)]
    pub clamped: Option<ClampedGate>,
    /// Whether they stand beside an MLP and not in its place (gemma 4): both read the stream through norms of their own, the
    /// router through another with weights, and both write through norms. The weight of an expert is multiplied by a
    /// scale of its own.
    #[serde(default)]
    pub beside: bool,
}

/// Groups of experts that follow one another (DeepSeek-AI 2024, section 2.2.2): first groups are chosen, and then experts
/// of these alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertGroups {
    /// The number of groups, each of equally many experts.
    pub count: usize,
    /// The number of groups of a token.
    pub chosen: usize,
    /// The number of a group's best experts, whose probabilities are added up to compare it.
    pub best: usize,
}

/// `g sigmoid(slope * g) * (u + 1)`, where g is the gate, at most `limit`, and u is up, within `limit` of 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClampedGate {
    pub limit: f64,
    pub slope: f64,
}

/// The heads of layers without a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalHeads {
    pub kv_heads: usize,
    pub d_head: usize,
    /// Whether values are the keys, before norm and rotation.
    #[serde(default)]
    pub values_are_keys: bool,
}

/// Layers that read the keys and values of the last layer before them all which has the same kind of attention, with a window
/// or without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedKeys {
    /// The number of these layers: the last ones.
    pub layers: usize,
    /// The `d_mlp` of these layers.
    pub d_mlp: usize,
}

/// Gated delta nets (Yang, Kautz and Hatamizadeh 2024): in place of attention, each head has a matrix that forgets, and
/// that every token corrects where its key reads another value than the token's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaNets {
    /// Layers with a delta net, in ascending order.
    pub layers: Vec<usize>,
    /// Heads of queries and keys.
    pub key_heads: usize,
    /// Heads of values, each with a matrix of its own: a multiple of `key_heads`.
    pub value_heads: usize,
    pub d_key: usize,
    pub d_value: usize,
    /// The positions that the convolution before them reads, the token's own included.
    pub kernel: usize,
}

impl DeltaNets {
    /// Returns the number of channels of queries, keys and values together.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.d_key + self.value_heads * self.d_value
    }
}

/// State spaces (Gu and Dao 2023; Dao and Gu 2024): in place of attention, each head has a state that decays, that
/// every token writes to, and that it reads. What it writes and reads, and the step that it takes, depend on the token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpaces {
    /// Layers with a state space, in ascending order.
    pub layers: Vec<usize>,
    /// Heads, each with a step of its own: in Mamba, the channels.
    pub heads: usize,
    /// Inputs of a head: 1 in Mamba.
    pub d_head: usize,
    /// Groups of heads that write with the same vector, and read with the same: 1 in Mamba.
    pub groups: usize,
    /// The size of the state of each input.
    pub d_state: usize,
    /// The positions that the convolution reads, the token's own included.
    pub kernel: usize,
    /// The rank of the map to steps, in Mamba: steps, and what is written with and read with, come of the convolution's
    /// output there, and of the layer's input without a rank, as in Mamba 2.
    #[serde(default)]
    pub dt_rank: Option<usize>,
    /// The least step, if steps are bounded.
    #[serde(default)]
    pub dt_least: Option<f64>,
    /// The largest step, if steps are bounded.
    #[serde(default)]
    pub dt_most: Option<f64>,
    /// The small number of the norms, without weights, of what steps are made of, of what is written with and of what
    /// is read with (Falcon Mamba).
    #[serde(default)]
    pub inner_norm_eps: Option<f64>,
    /// Whether the maps into the layer and out of it have biases.
    #[serde(default)]
    pub bias: bool,
    /// Whether the convolution has a bias.
    #[serde(default)]
    pub conv_bias: bool,
}

impl StateSpaces {
    /// Returns the number of inputs of all heads together.
    pub fn d_inner(&self) -> usize {
        self.heads * self.d_head
    }

    /// Returns the number of coordinates that all groups write with, or read with.
    pub fn of_groups(&self) -> usize {
        self.groups * self.d_state
    }

    /// Returns the number of channels of the convolution.
    pub fn channels(&self) -> usize {
        if self.is_mamba() { self.d_inner() } else { self.d_inner() + 2 * self.of_groups() }
    }

    /// Returns whether steps, writes and reads come of the convolution's output, as in the first Mamba, where a head is
    /// a channel.
    pub fn is_mamba(&self) -> bool {
        self.dt_rank.is_some()
    }

    /// Returns the axes of the activation of a token behind that of heads: none in Mamba, whose heads are channels.
    pub fn of_head(&self) -> Vec<usize> {
        if self.is_mamba() { Vec::new() } else { vec![self.d_head] }
    }
}

/// Time mixing (Peng et al. 2025, section 4): in place of attention, each head has a state that decays by coordinates of keys,
/// forgets what a removal key reads there, and gets values at keys. All maps read mixtures of a token and the one before,
/// and values of later layers are mixed with those of the first. The MLPs of all layers read such a mixture, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeMixing {
    /// Layers with time mixing, in ascending order.
    pub layers: Vec<usize>,
    pub heads: usize,
    /// The size of a head's keys and values.
    pub d_head: usize,
    /// The rank of the map to decays.
    pub decay_rank: usize,
    /// The rank of the map to the rates of removal.
    pub rate_rank: usize,
    /// The rank of the map to the shares of the first layer's values.
    pub value_rank: usize,
    /// The rank of the map to gates.
    pub gate_rank: usize,
    /// The small number of the norm of what each head reads.
    pub norm_eps: f64,
    /// The number that is added to the squared length by which removal keys are divided.
    pub key_eps: f64,
}

impl TimeMixing {
    /// Returns the number of coordinates of all heads together.
    pub fn d_inner(&self) -> usize {
        self.heads * self.d_head
    }
}

/// The part of a layer that mixes the positions of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixer {
    Attention,
    Delta,
    StateSpace,
    TimeMixing,
}

/// A layer that the residual stream passes before the last norm and the unembedding (Devlin et al. 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    pub act: Activation,
    /// Whether the stream passes a norm before it (ModernBERT).
    #[serde(default)]
    pub norm: bool,
    #[serde(default)]
    pub bias: bool,
}

/// The token that the logits of a position are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicts {
    /// The token that comes next.
    #[default]
    Next,
    /// The token there, which was masked in training.
    Masked,
    /// No token: the model has no unembedding, and so no logits.
    Nothing,
}

/// The order of attention and MLP in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Attention first: the MLP reads the residual stream after attention has written.
    Serial,
    /// Attention and MLP side by side: both read the residual stream as it entered the block, each through a norm of
    /// its own (GPT-NeoX).
    Parallel,
    /// Attention and MLP side by side, behind one norm of the residual stream (GPT-J, Phi).
    ParallelShared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    None,
    /// Norm of each head separately, one weight for all heads (Qwen 3, gemma 3).
    Head,
    /// Norm of all heads of a position together (OLMo 2).
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    None,
    Learned,
    Rotary,
    /// Biases of scores.
    Alibi,
}

/// Attention with linear biases (Press et al. 2022): a score of head h has `slope_h * position of the key` added. A softmax
/// over keys is the same with the distance in place of the position. The slopes of a number of heads that is a power of two
/// are `2^(-most * 1/heads)` to `2^-most`; of another number, those of the power below and every second one of the power above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alibi {
    pub most: f64,
    /// Whether biases are multiplied by the factor of `q . k` (Falcon).
    #[serde(default)]
    pub scaled: bool,
    /// Whether slopes, positions and biases are rounded to bf16, whatever the dtype of the model (Falcon).
    #[serde(default)]
    pub rounded: bool,
}

/// Rotary positions (Su et al. 2021): pairs of coordinates are rotated by `position * theta^(-2i/dims)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// The number of rotated coordinates of a head: the first ones.
    pub dims: usize,
    pub theta: f64,
    /// Whether pairs are adjacent coordinates (GPT-J, llama2.c) and not from the two halves.
    pub neighbours: bool,
    pub scaling: Scaling,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scaling {
    None,
    /// Linear scaling: every frequency is divided by the factor.
    Linear {
        factor: f64,
    },
    /// Llama 3: low frequencies are divided, high ones kept, those between interpolated.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: usize,
    },
    /// YaRN (Peng et al. 2023, section 3.2): frequencies that turn fewer than `slow` times within the `original` context
    /// are divided, those that turn more than `fast` times are kept, those between are interpolated.
    Yarn {
        factor: f64,
        slow: f64,
        fast: f64,
        original: usize,
        /// Whether the bounds are rounded to whole pairs.
        rounded: bool,
        /// The factor of the rotated queries and keys.
        amplitude: f64,
    },
    /// Gemma 4: only the first pairs are rotated, at frequencies that are those of the whole head divided by the
    /// factor.
    Proportional {
        factor: f64,
        pairs: usize,
    },
}

/// Largest length of a text's rows unless a longer one is asked for: published dictionaries are trained on rows of 128
/// to 1,024 (Gemma Scope), and attention over a context of 32,768 would take more time than all else.
const LONGEST_ROW: usize = 1024;

impl Config {
    /// Returns the default decoder: serial, a norm before attention and MLP, nothing optional.
    pub fn plain(family: &str) -> Self {
        Self {
            family: family.into(),
            layers: 0,
            d_model: 0,
            heads: 0,
            kv_heads: 0,
            d_head: 0,
            d_mlp: 0,
            vocab: 0,
            vocab_out: None,
            context: 0,
            act: Activation::GeluTanh,
            gated: false,
            experts: None,
            delta: None,
            ssm: None,
            rwkv: None,
            latent: None,
            global_heads: None,
            shared_keys: None,
            layer_inputs: None,
            layer_scale: false,
            norm: Some(NormKind::Layer),
            norm_eps: 1e-5,
            norm_weight: true,
            norm_bias: true,
            norm_plus_one: false,
            pre_norm: true,
            post_norm: false,
            final_norm: true,
            embed_norm: false,
            stream_norm: false,
            unnormed: Vec::new(),
            token_types: None,
            transform: None,
            qk_norm: QkNorm::None,
            value_norm: false,
            order: Order::Serial,
            positions: Positions::None,
            position_offset: 0,
            rotary: None,
            rotary_local: None,
            unrotated: Vec::new(),
            alibi: None,
            windows: Vec::new(),
            causal: true,
            predicts: Predicts::Next,
            sinks: false,
            active_neurons: None,
            gated_heads: false,
            score_scale: 1.0,
            score_scale_by_layer: false,
            score_cap: None,
            logit_cap: None,
            logit_scale: None,
            embed_scale: None,
            write_scale: None,
            tied: false,
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            unembed_bias: false,
            bos: None,
            eos: Vec::new(),
        }
    }

    /// Returns the length of the rows that a text is read in where no length is asked for.
    pub fn row_length(&self) -> usize {
        self.context.min(LONGEST_ROW)
    }

    /// Returns the number of logits of a position.
    pub fn outputs(&self) -> usize {
        self.vocab_out.unwrap_or(self.vocab)
    }

    pub fn window(&self, layer: usize) -> Option<usize> {
        self.windows.get(layer).copied().flatten()
    }

    /// Returns the rotation of a layer's queries and keys, where it rotates them.
    pub fn rotary_of(&self, layer: usize) -> Option<&Rotary> {
        if self.unrotated.contains(&layer) {
            return None;
        }
        let local = self.rotary_local.as_ref().filter(|_| self.window(layer).is_some());
        local.or(self.rotary.as_ref())
    }

    pub fn score_scale_of(&self, layer: usize) -> f64 {
        if self.score_scale_by_layer { self.score_scale / (layer + 1) as f64 } else { self.score_scale }
    }

    /// Returns the biases of a layer's scores, for some heads or for all.
    pub fn alibi_of(&self, layer: usize, heads: Option<&[usize]>) -> Option<kernels::Alibi> {
        let alibi = self.alibi.as_ref()?;
        let all = kernels::Alibi::slopes(self.heads, alibi.most);
        let slopes = match heads {
            None => all,
            Some(heads) => heads.iter().map(|head| all[*head]).collect(),
        };
        let factor = if alibi.scaled { self.score_scale_of(layer) as f32 } else { 1.0 };
        Some(kernels::Alibi { slopes, factor, rounded: alibi.rounded })
    }

    pub fn has_mlp(&self) -> bool {
        self.d_mlp > 0
    }

    /// Returns whether a layer has an MLP with neurons that every token reads.
    pub fn has_plain_mlp(&self, layer: usize) -> bool {
        self.has_mlp() && self.experts_of(layer).is_none_or(|experts| experts.beside)
    }

    /// Returns whether MLPs read mixtures of a token and the one before.
    pub fn shifts_mlps(&self) -> bool {
        self.rwkv.is_some() && self.has_mlp()
    }

    /// Returns the width of a layer's MLP.
    pub fn d_mlp_of(&self, layer: usize) -> usize {
        match &self.shared_keys {
            Some(shared) if layer + shared.layers >= self.layers => shared.d_mlp,
            _ => self.d_mlp,
        }
    }

    /// Returns the experts of a layer, in place of an MLP or beside it, if it has any.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| !experts.plain.contains(&layer))
    }

    fn global_heads_of(&self, layer: usize) -> Option<&GlobalHeads> {
        self.global_heads.as_ref().filter(|_| self.window(layer).is_none())
    }

    /// Returns the size of a layer's heads.
    pub fn d_head_of(&self, layer: usize) -> usize {
        self.global_heads_of(layer).map_or(self.d_head, |heads| heads.d_head)
    }

    /// Returns the size of a layer's values, and of what a head mixes of them.
    pub fn d_value_of(&self, layer: usize) -> usize {
        self.latent.as_ref().map_or_else(|| self.d_head_of(layer), |latent| latent.d_value)
    }

    /// Returns the number of a layer's key-value heads, its own or those that it reads.
    pub fn kv_heads_of(&self, layer: usize) -> usize {
        self.global_heads_of(layer).map_or(self.kv_heads, |heads| heads.kv_heads)
    }

    /// Returns whether query heads share key-value heads in some layer.
    pub fn is_grouped(&self) -> bool {
        let global = self.global_heads.as_ref().map_or(self.kv_heads, |heads| heads.kv_heads);
        self.kv_heads.min(global) < self.heads
    }

    /// Returns the key-value head that a query head reads.
    pub fn kv_head(&self, layer: usize, head: usize) -> usize {
        head / (self.heads / self.kv_heads_of(layer).max(1)).max(1)
    }

    /// Returns whether a layer's values are made by the map of its keys.
    pub fn values_are_keys(&self, layer: usize) -> bool {
        self.global_heads_of(layer).is_some_and(|heads| heads.values_are_keys)
    }

    /// Returns the layer whose keys and values a layer reads, if they are not its own.
    pub fn keys_from(&self, layer: usize) -> Option<usize> {
        let own = self.layers.saturating_sub(self.shared_keys.as_ref()?.layers);
        let is_alike = |other: &usize| self.window(*other).is_some() == self.window(layer).is_some();
        (layer >= own).then(|| (0..own).rev().find(is_alike)).flatten()
    }

    /// Returns the layer whose values are mixed with those of a layer with time mixing: the first one of these.
    pub fn values_from(&self, layer: usize) -> Option<usize> {
        let first = *self.rwkv_of(layer)?.layers.first()?;
        (first < layer).then_some(first)
    }

    /// Returns the layers from block `from` up to `to`, without `to`, whose keys and values are read by block `to` or a
    /// later one.
    pub fn keys_passed_on(&self, from: usize, to: usize) -> Vec<usize> {
        let mut found: Vec<usize> =
            (to..self.layers).filter_map(|layer| self.keys_from(layer).or(self.values_from(layer))).collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|layer| (from..to).contains(layer));
        found
    }

    /// Describes what blocks do beside adding attention and MLP outputs to the residual stream (gemma 4), or what keeps
    /// these from being linear in the stream's parts, if anything does, for analyses that take the stream apart.
    pub fn beyond_sums(&self) -> Option<&'static str> {
        match self {
            Config { shared_keys: Some(_), .. } => Some("layers that read the keys and values of others"),
            Config { layer_inputs: Some(_), .. } => Some("inputs of every layer beside the stream"),
            Config { layer_scale: true, .. } => Some("a stream that is scaled behind each block"),
            Config { value_norm: true, .. } => Some("norms of values"),
            Config { global_heads: Some(_), .. } => Some("heads that differ in size by layer"),
            Config { latent: Some(_), .. } => Some("latent attention, whose keys and values are made behind a norm"),
            Config { rwkv: Some(_), .. } => Some("values of the first layer that all others read"),
            _ => self.beyond_reading(),
        }
    }

    /// Describes what stands between a sum of the residual stream and the unembedding beside one last norm, if anything, for
    /// analyses that read parts of the stream as logits.
    pub fn beyond_reading(&self) -> Option<&'static str> {
        match self {
            Config { stream_norm: true, .. } => Some("norms of the residual stream"),
            Config { transform: Some(_), .. } => Some("a layer between the residual stream and the last norm"),
            _ => None,
        }
    }

    /// Describes what relevance propagation has no rule for, if there is something: products that are neither a gated MLP
    /// nor attention.
    pub fn beyond_relevance(&self) -> Option<&'static str> {
        self.recurrent_layers().or(match self {
            Config { experts: Some(_), .. } => Some("experts, which probabilities of a router multiply"),
            Config { gated_heads: true, .. } => Some("gates of attention heads"),
            _ => None,
        })
    }

    /// Refuses a model that does not predict the token that comes next. `what` is the beginning of a sentence.
    pub fn expect_next_token(&self, what: &str) -> Result<()> {
        let family = &self.family;
        match self.predicts {
            Predicts::Next => Ok(()),
            Predicts::Masked => Err(err!(
                Argument,
                "{what} needs a model that predicts the next token, and this one ({family}) predicts masked tokens: it reads what stands on both sides, and cannot continue a text"
            )
            .hint("put the mask token where a token is to be predicted, and read `m.logits` at its position")
            .about("m")),
            Predicts::Nothing => Err(self.without_logits(what)),
        }
    }

    /// Refuses a model that has no unembedding. `what` is the beginning of a sentence.
    pub fn expect_logits(&self, what: &str) -> Result<()> {
        if self.predicts == Predicts::Nothing { Err(self.without_logits(what)) } else { Ok(()) }
    }

    fn without_logits(&self, what: &str) -> Error {
        let last = self.layers.saturating_sub(1);
        err!(Argument, "{what} needs logits, and this model ({}) has no unembedding to compute them with", self.family)
            .hint(format!("`m.cache` records its activations: `resid_post.{last}` is the last hidden state"))
            .about("m")
    }

    /// Returns the delta net of a layer, if it has one in place of attention.
    pub fn delta_of(&self, layer: usize) -> Option<&DeltaNets> {
        self.delta.as_ref().filter(|delta| delta.layers.contains(&layer))
    }

    /// Returns the state space of a layer, if it has one in place of attention.
    pub fn ssm_of(&self, layer: usize) -> Option<&StateSpaces> {
        self.ssm.as_ref().filter(|ssm| ssm.layers.contains(&layer))
    }

    /// Returns the time mixing of a layer, if it has it in place of attention.
    pub fn rwkv_of(&self, layer: usize) -> Option<&TimeMixing> {
        self.rwkv.as_ref().filter(|rwkv| rwkv.layers.contains(&layer))
    }

    /// Returns the part of a layer that mixes the positions of a text.
    pub fn mixer_of(&self, layer: usize) -> Mixer {
        match (self.delta_of(layer), self.ssm_of(layer), self.rwkv_of(layer)) {
            (Some(_), _, _) => Mixer::Delta,
            (None, Some(_), _) => Mixer::StateSpace,
            (None, None, Some(_)) => Mixer::TimeMixing,
            (None, None, None) => Mixer::Attention,
        }
    }

    /// Returns whether a layer has attention.
    pub fn attends(&self, layer: usize) -> bool {
        self.mixer_of(layer) == Mixer::Attention
    }

    /// Returns whether some layer has attention; true for a model without layers.
    pub fn has_attention(&self) -> bool {
        self.layers == 0 || (0..self.layers).any(|layer| self.attends(layer))
    }

    /// Describes the layers with a state in place of attention, if there are any, for what needs heads of attention.
    pub fn recurrent_layers(&self) -> Option<&'static str> {
        match self {
            Config { delta: Some(_), .. } => Some("gated delta nets in place of attention"),
            Config { ssm: Some(_), .. } => Some("state spaces in place of attention"),
            Config { rwkv: Some(_), .. } => Some("time mixing in place of attention"),
            _ => None,
        }
    }

    /// Returns whether the columns of a text after any position follow from the keys and values before it: without
    /// causal attention later tokens change earlier columns, and a recurrent layer keeps no state but the last.
    pub fn continues_anywhere(&self) -> bool {
        self.causal && self.recurrent_layers().is_none()
    }

    pub fn is_serial(&self) -> bool {
        self.order == Order::Serial
    }
}
