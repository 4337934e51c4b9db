//! The metadata of one architecture: every key that is read is recorded, so that unknown keys can be refused.

use std::cell::RefCell;

use crate::common::*;
use crate::tensor::files::gguf_value::Value;

/// Largest size that is accepted; the product of two of these does not overflow.
const LARGEST: u64 = 1 << 31;

/// Keys that do not change the computation: those of the file itself, of the tokenizer, and of the parts of a model
/// in several files, which are checked where they are joined.
const ASIDE: [&str; 4] = ["general.", "tokenizer.", "quantize.", "split."];

/// Keys that are read below the name of an architecture.
const MEANINGS: [&str; 74] = [
    "attention.causal",
    "attention.clamp_kqv",
    "attention.decay_lora_rank",
    "attention.gate_lora_rank",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.iclr_lora_rank",
    "attention.key_length",
    "attention.key_length_mla",
    "attention.key_length_swa",
    "attention.kv_lora_rank",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.max_alibi_bias",
    "attention.q_lora_rank",
    "attention.recurrent_layers",
    "attention.scale",
    "attention.shared_kv_layers",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "attention.value_length_mla",
    "attention.value_length_swa",
    "attention.value_residual_mix_lora_rank",
    "attn_logit_softcapping",
    "block_count",
    "classifier.pooling_type",
    "context_length",
    "embedding_length",
    "embedding_length_per_layer_input",
    "embedding_scale",
    "expert_count",
    "expert_feed_forward_length",
    "expert_gating_func",
    "expert_group_count",
    "expert_group_used_count",
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "expert_used_count",
    "expert_weights_norm",
    "expert_weights_scale",
    "feed_forward_length",
    "final_logit_softcapping",
    "full_attention_interval",
    "hidden_activation",
    "leading_dense_block_count",
    "logit_scale",
    "nextn_predict_layers",
    "pooling_type",
    "residual_scale",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.dimension_sections",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier",
    "ssm.conv_kernel",
    "ssm.dt_b_c_rms",
    "ssm.group_count",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
    "tensor_data_layout",
    "use_parallel_residual",
    "vocab_size",
    "wkv.head_size",
];

pub(super) struct GgufKeys<'a> {
    metadata: &'a BTreeMap<String, Value>,
    pub architecture: &'a str,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> GgufKeys<'a> {
    pub fn new(metadata: &'a BTreeMap<String, Value>) -> Result<Self> {
        const KEY: &str = "general.architecture";
        let value = metadata.get(KEY).ok_or_else(|| err!(Format, "expected `{KEY}` in the metadata, found none"))?;
        let architecture = value.text().map_err(|e| e.within(KEY))?;
        Ok(Self { metadata, architecture, read: RefCell::default() })
    }

    /// Reads the value of a key of the architecture, if it is present.
    fn get<T>(&self, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
        if !MEANINGS.contains(&key) {
            bail!(Bug, "the key `{key}` is read and not listed among those with a meaning");
        }
        let full = format!("{}.{key}", self.architecture);
        let value = self.metadata.get(&full).map(read).transpose().map_err(|e| e.within(&full));
        self.read.borrow_mut().insert(full);
        value
    }

    fn needed<T>(&self, key: &str, found: Option<T>) -> Result<T> {
        found.ok_or_else(|| {
            err!(Format, "expected `{}.{key}` in the metadata, found none", self.architecture)
                .hint("the file is no whole model, or its converter was another one")
        })
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        self.needed(key, self.maybe_size(key)?)
    }

    pub fn maybe_size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, |value| match value.unsigned()? {
            size if size <= LARGEST => Ok(size as usize),
            size => Err(err!(Format, "expected at most {LARGEST}, found {size}")),
        })
    }

    /// Reads a size for each layer: an array has one for each, a number holds for all.
    pub fn sizes(&self, key: &str, layers: usize) -> Result<Option<Vec<usize>>> {
        let size = |value: &Value| match value.unsigned()? {
            size if size <= LARGEST => Ok(size as usize),
            size => Err(err!(Format, "expected at most {LARGEST}, found {size}")),
        };
        self.get(key, |value| match value {
            Value::Array(values) if values.len() == layers => values.iter().map(size).collect(),
            Value::Array(values) => {
                bail!(Format, "expected {layers} values, one for each layer, found {}", values.len())
            }
            one => Ok(vec![size(one)?; layers]),
        })
    }

    pub fn float(&self, key: &str) -> Result<f64> {
        self.needed(key, self.maybe_float(key)?)
    }

    pub fn maybe_float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, |value| match value.float()? {
            number if number.is_finite() => Ok(number),
            number => Err(err!(Format, "expected a number, found {number}")),
        })
    }

    pub fn flag(&self, key: &str, otherwise: bool) -> Result<bool> {
        Ok(self.get(key, Value::bool)?.unwrap_or(otherwise))
    }

    /// Reads the numbers of an array of whole ones, as many as they are.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<u64>>> {
        self.get(key, |value| value.array()?.iter().map(Value::unsigned).collect())
    }

    /// Reads for each layer whether a key means it, if the file has the key as an array.
    pub fn maybe_layers(&self, key: &str, layers: usize) -> Result<Option<Vec<bool>>> {
        let has = self.get(key, |value| Ok(value.array().is_ok()))? == Some(true);
        if has { Ok(Some(self.layers(key, layers, 0)?)) } else { Ok(None) }
    }

    /// Reads for each layer whether a key means it: an array has a value for each; a number N, or the `usual` one,
    /// means all layers but every Nth, and 0 means all.
    pub fn layers(&self, key: &str, layers: usize, usual: usize) -> Result<Vec<bool>> {
        let but_every =
            |pattern: usize| (0..layers).map(|layer| pattern == 0 || (layer + 1) % pattern != 0).collect::<Vec<bool>>();
        let read = |value: &Value| match value {
            Value::Array(values) if values.len() == layers => values.iter().map(Value::flag).collect(),
            Value::Array(values) => {
                bail!(Format, "expected {layers} values, one for each layer, found {}", values.len())
            }
            number => Ok(but_every(usize::try_from(number.unsigned()?).unwrap_or(usize::MAX))),
        };
        Ok(self.get(key, read)?.unwrap_or_else(|| but_every(usual)))
    }

    pub fn maybe_text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, Value::text)
    }

    /// Reads the id of a special token, from the keys of the tokenizer.
    pub fn token(&self, name: &str) -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(value) = self.metadata.get(&key) else { return Ok(None) };
        let id = value.unsigned().map_err(|e| e.within(&key))?;
        Ok(Some(u32::try_from(id).map_err(|_| err!(Format, "{key}: expected the id of a token, found {id}"))?))
    }

    /// Lists the keys of the file that no architecture reads here.
    pub fn without_meaning(&self) -> BTreeSet<String> {
        let below = format!("{}.", self.architecture);
        let names = self.metadata.keys().filter(|key| !is_aside(key));
        let names = names.map(|key| key.strip_prefix(&below).unwrap_or(key));
        names.filter(|key| !MEANINGS.contains(key)).map(String::from).collect()
    }

    /// Refuses keys that were not read.
    pub fn finish(&self) -> Result<()> {
        let read = self.read.borrow();
        let Some(key) = self.metadata.keys().find(|key| !is_aside(key) && !read.contains(*key)) else { return Ok(()) };
        let near = names::nearest(key, read.iter().map(String::as_str));
        Err(err!(Format, "the metadata have `{key}`, which is not known here and may change the mathematics")
            .maybe_hint(near.map(|near| format!("the nearest key that is known is `{near}`"))))
    }
}

fn is_aside(key: &str) -> bool {
    ASIDE.iter().any(|start| key.starts_with(start))
}
