//! The options that go with a state dictionary: TransformerLens' config by its own names, or by ours.

use crate::common::*;

/// Keys by our names, and TransformerLens' names of equal meaning.
const OURS: [(&str, &str); 12] = [
    ("layers", "n_layers"),
    ("heads", "n_heads"),
    ("kv_heads", "n_key_value_heads"),
    ("vocab", "d_vocab"),
    ("context", "n_ctx"),
    ("act", "act_fn"),
    ("gated", "gated_mlp"),
    ("norm", "normalization_type"),
    ("norm_eps", "eps"),
    ("positions", "positional_embedding_type"),
    ("score_cap", "attn_scores_soft_cap"),
    ("logit_cap", "output_logits_soft_cap"),
];

/// Keys that are read.
const READ: [&str; 31] = [
    "n_layers",
    "d_model",
    "n_ctx",
    "d_head",
    "n_heads",
    "n_key_value_heads",
    "d_mlp",
    "d_vocab",
    "d_vocab_out",
    "act_fn",
    "gated_mlp",
    "attn_only",
    "normalization_type",
    "final_rms",
    "eps",
    "positional_embedding_type",
    "rotary_dim",
    "rotary_base",
    "rotary_adjacent_pairs",
    "use_attn_scale",
    "attn_scale",
    "scale_attn_by_inverse_layer_idx",
    "attn_scores_soft_cap",
    "output_logits_soft_cap",
    "attention_dir",
    "causal",
    "use_local_attn",
    "window_size",
    "attn_types",
    "parallel_attn_mlp",
    "use_normalization_before_and_after",
];

/// Keys that change the computation in unsupported ways, unless they have one of these values or none.
const UNCHANGED: [(&str, &[&str]); 16] = [
    ("num_experts", &[]),
    ("experts_per_token", &[]),
    ("post_embedding_ln", &["false"]),
    ("use_qk_norm", &["false"]),
    ("clip_qkv", &[]),
    ("use_logn_attn", &["false"]),
    ("use_dynamic_ntk_rope", &["false"]),
    ("use_NTK_by_parts_rope", &["false"]),
    ("use_yarn_rope", &["false"]),
    ("rotary_scaling_factor", &["1", "1.0"]),
    ("rotary_base_local", &[]),
    ("use_attention_sinks", &["false"]),
    ("relative_attention_max_distance", &[]),
    ("relative_attention_num_buckets", &[]),
    ("load_in_4bit", &["false"]),
    ("quantization_method", &[]),
];

/// Keys about how a model was made, named and displayed, and those that the switches above turn off.
const ASIDE: [&str; 31] = [
    "device",
    "n_devices",
    "dtype",
    "seed",
    "init_mode",
    "init_weights",
    "initializer_range",
    "model_name",
    "model_type",
    "original_architecture",
    "tokenizer_name",
    "tokenizer_prepends_bos",
    "default_prepend_bos",
    "decoder_start_token_id",
    "from_checkpoint",
    "checkpoint_index",
    "checkpoint_label_type",
    "checkpoint_value",
    "trust_remote_code",
    "n_params",
    "tie_word_embeddings",
    "layer_norm_folding",
    "uses_rms_norm",
    "norm_topk_prob",
    "train_seq_length",
    "NTK_original_ctx_len",
    "use_attn_result",
    "use_attn_in",
    "use_split_qkv_input",
    "use_hook_mlp_in",
    "use_hook_tokens",
];

pub(super) struct StateOptions<'a> {
    options: &'a Map<String, Value>,
}

impl<'a> StateOptions<'a> {
    /// Refuses unknown keys, and values that change the computation in unsupported ways.
    pub fn new(options: &'a Map<String, Value>) -> Result<Self> {
        for (key, value) in options {
            let theirs = theirs(key);
            if theirs != key && options.contains_key(theirs) {
                return Err(err!(Argument, "expected one of `{key}` and `{theirs}`, found both"));
            }
            let off = ["yarn_", "NTK_by_parts_", "ungroup_"].iter().any(|start| key.starts_with(start));
            if READ.contains(&theirs) || ASIDE.contains(&theirs) || off {
                continue;
            }
            let Some((_, harmless)) = UNCHANGED.iter().find(|(name, _)| *name == theirs) else {
                return Err(unknown(key));
            };
            if !value.is_null() && !harmless.contains(&value.to_string().as_str()) {
                return Err(err!(Format, "`{key}: {value}` changes the mathematics in a way that is not known here"));
            }
        }
        Ok(Self { options })
    }

    /// Returns the value under TransformerLens' name or ours; null counts as missing.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.stated(key).filter(|value| !value.is_null())
    }

    /// Returns whether a key is given, even as null.
    pub fn has(&self, key: &str) -> bool {
        self.stated(key).is_some()
    }

    fn stated(&self, key: &str) -> Option<&'a Value> {
        let ours = || OURS.iter().find(|(_, theirs)| *theirs == key).map(|(ours, _)| *ours);
        self.options.get(key).or_else(|| self.options.get(ours()?))
    }

    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        let size = |value: &Value| {
            let size = value.as_u64().filter(|size| *size < 1 << 31);
            size.map(|size| size as usize).ok_or_else(|| wrong(key, "a size", value))
        };
        self.value(key).map(size).transpose()
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        let float =
            |value: &Value| value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| wrong(key, "a number", value));
        self.value(key).map(float).transpose()
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.value(key).map(|value| value.as_bool().ok_or_else(|| wrong(key, "true or false", value))).transpose()
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.value(key).map(|value| value.as_str().ok_or_else(|| wrong(key, "a text", value))).transpose()
    }
}

/// Returns TransformerLens' name for a key.
fn theirs(key: &str) -> &str {
    OURS.iter().find(|(ours, _)| *ours == key).map_or(key, |(_, theirs)| theirs)
}

pub(super) fn wrong(key: &str, wanted: &str, value: &Value) -> Error {
    err!(Argument, "{key}: expected {wanted}, found {value}")
}

fn unknown(key: &str) -> Error {
    let known = READ.into_iter().chain(OURS.map(|(ours, _)| ours));
    err!(Name, "a state dictionary of TransformerLens has no option `{key}`").maybe_hint(names::suggestion(key, known))
}
