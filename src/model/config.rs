//! What a decoder computes, as data. Every family of models is one of these.

use serde::{Deserialize, Serialize};

pub use kernels::{Activation, NormKind};

/// The mathematics of a decoder and its sizes. Weights are used as published; nothing is folded or centred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `gpt2`, `llama`, ..; `microtome` for models that were made here.
    pub family: String,
    pub layers: usize,
    pub d_model: usize,
    pub heads: usize,
    /// Fewer than `heads` where several query heads share one head of keys and values.
    pub kv_heads: usize,
    pub d_head: usize,
    /// 0 for a model of attention only.
    pub d_mlp: usize,
    pub vocab: usize,
    /// The number of logits, where it is not one for each token: some tokens may be input-only, as "=" in modular addition.
    #[serde(default)]
    pub vocab_out: Option<usize>,
    /// The longest text, in tokens.
    pub context: usize,

    pub act: Activation,
    /// Whether the MLP is `down(act(gate x) * up x)` instead of `down(act(up x))`.
    pub gated: bool,

    /// The kind of every norm; without one there are no norms at all.
    pub norm: Option<NormKind>,
    pub norm_eps: f64,
    /// Whether norms have weights.
    pub norm_weight: bool,
    pub norm_bias: bool,
    /// Whether the published weight of a norm is its distance from 1 (gemma).
    pub norm_plus_one: bool,
    /// Norms on the way into attention and MLP.
    pub pre_norm: bool,
    /// Norms on what attention and MLP add to the stream (gemma 2 and 3, OLMo 2).
    pub post_norm: bool,
    pub final_norm: bool,
    /// Norms of queries and keys.
    pub qk_norm: QkNorm,
    pub order: Order,

    pub positions: Positions,
    /// Row of the position table that belongs to position 0 (OPT: 2).
    pub position_offset: usize,
    pub rotary: Option<Rotary>,
    /// The rotation of layers with a window, where it is another one (gemma 3).
    pub rotary_local: Option<Rotary>,
    /// For each layer how far back it sees, itself included. Empty when no layer has a window.
    pub windows: Vec<Option<usize>>,
    /// Whether a position sees only itself and what is before it.
    pub causal: bool,

    /// What `q . k` is multiplied by.
    pub score_scale: f64,
    /// Whether layer N divides its scores by N + 1 besides (gpt2's `scale_attn_by_inverse_layer_idx`).
    pub score_scale_by_layer: bool,
    /// Scores become `cap * tanh(scores / cap)`.
    pub score_cap: Option<f64>,
    pub logit_cap: Option<f64>,
    /// What embeddings are multiplied by (gemma: the square root of `d_model`).
    pub embed_scale: Option<f64>,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
    pub qkv_bias: bool,
    pub out_bias: bool,
    pub mlp_bias: bool,
    pub unembed_bias: bool,

    /// The token that the model expects at the beginning, if it has one. Nothing is put there unless asked for.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// How attention and MLP follow each other in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The MLP reads what attention has written.
    Serial,
    /// Both read the stream as it entered the block, each through a norm of its own (GPT-NeoX).
    Parallel,
    /// Both read the same normed stream (GPT-J, Phi).
    ParallelShared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    None,
    /// Each head by itself, one weight for all heads (Qwen 3, gemma 3).
    Head,
    /// All heads of a position together (OLMo 2).
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    None,
    Learned,
    Rotary,
}

/// Rotary positions (Su et al. 2021): pairs of coordinates turn by `position * theta^(-2i/dims)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// How many coordinates of a head turn: the first ones.
    pub dims: usize,
    pub theta: f64,
    /// Whether neighbours are pairs (GPT-J, llama2.c) and not the two halves.
    pub neighbours: bool,
    pub scaling: Scaling,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scaling {
    None,
    /// Every frequency is divided by the factor.
    Linear {
        factor: f64,
    },
    /// Llama 3: low frequencies are divided, high ones kept, those between blended.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: usize,
    },
}

impl Config {
    /// How many logits a position has.
    pub fn outputs(&self) -> usize {
        self.vocab_out.unwrap_or(self.vocab)
    }

    pub fn window(&self, layer: usize) -> Option<usize> {
        self.windows.get(layer).copied().flatten()
    }

    pub fn score_scale_of(&self, layer: usize) -> f64 {
        if self.score_scale_by_layer { self.score_scale / (layer + 1) as f64 } else { self.score_scale }
    }

    pub fn has_mlp(&self) -> bool {
        self.d_mlp > 0
    }

    pub fn is_serial(&self) -> bool {
        self.order == Order::Serial
    }
}
