//! The keys of a config.json: each is read by name, and keys that were not read are refused.

use crate::common::*;
use kernels::Activation;

/// Keys that say how a model was trained, stored or sampled from, and nothing about what it computes.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "activation_dropout",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embed_dropout",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "init_std",
    "initializer_range",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "reorder_and_upcast_attn",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
];

/// Keys of features that no family here supports, with the only value that they may have.
const SWITCHED_OFF: &[&str] =
    &["add_cross_attention", "is_decoder", "is_encoder_decoder", "tie_encoder_decoder", "use_mrope"];

/// The fields of a config, and which of them have been read.
pub struct Keys<'a> {
    fields: &'a Map<String, Value>,
    asked: BTreeSet<&'static str>,
    /// The prefix of these fields in errors, such as `rope_parameters.`; empty at the top level.
    place: String,
}

impl<'a> Keys<'a> {
    pub fn new(config: &'a Value) -> Result<Self> {
        Self::below(config, String::new())
    }

    fn below(value: &'a Value, place: String) -> Result<Self> {
        let fields = value.as_object().ok_or_else(|| {
            err!(Format, "expected a map of keys, found {value}").within(if place.is_empty() {
                "config"
            } else {
                &place
            })
        })?;
        Ok(Self { fields, asked: BTreeSet::new(), place })
    }

    /// Returns the keys that have been read so far.
    pub fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    /// Reads a value, if the key is present; null counts as a value.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.fields.get(key)
    }

    /// Reads keys whose values do not matter.
    pub fn ignore(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Reads a value that is present and not null.
    fn given(&mut self, key: &'static str) -> Option<&'a Value> {
        self.value(key).filter(|value| !value.is_null())
    }

    /// Returns the fields of a nested map, if it is present and not empty.
    pub fn nested(&mut self, key: &'static str) -> Result<Option<Keys<'a>>> {
        let given = self.given(key).filter(|value| value.as_object().is_none_or(|fields| !fields.is_empty()));
        given.map(|value| Self::below(value, format!("{}{key}.", self.place))).transpose()
    }

    pub fn size(&mut self, key: &'static str, default: usize) -> Result<usize> {
        self.value(key).map_or(Ok(default), |value| self.as_size(key, value))
    }

    /// Reads a required size.
    pub fn needed_size(&mut self, key: &'static str) -> Result<usize> {
        let Some(value) = self.given(key) else {
            return Err(err!(Format, "expected the config key `{}{key}`, found none", self.place));
        };
        self.as_size(key, value)
    }

    /// Reads a size, where null means none.
    pub fn maybe_size(&mut self, key: &'static str, default: Option<usize>) -> Result<Option<usize>> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => self.as_size(key, value).map(Some),
        }
    }

    pub fn number(&mut self, key: &'static str, default: f64) -> Result<f64> {
        self.value(key).map_or(Ok(default), |value| self.as_number(key, value))
    }

    /// Reads a number, where null means none.
    pub fn maybe_number(&mut self, key: &'static str, default: Option<f64>) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => self.as_number(key, value).map(Some),
        }
    }

    /// Returns the other name of a key, if that is given, and else the usual one.
    pub fn either(&mut self, usual: &'static str, other: &'static str) -> &'static str {
        if self.given(other).is_some() { other } else { usual }
    }

    /// Reads a boolean; null is false.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, "true or false", other)),
        }
    }

    /// Reads a string, if it is given.
    pub fn word(&mut self, key: &'static str) -> Result<Option<&'a str>> {
        let given = self.given(key);
        given.map(|value| value.as_str().ok_or_else(|| self.wrong(key, "a text", value))).transpose()
    }

    pub fn words(&mut self, key: &'static str) -> Result<Option<Vec<&'a str>>> {
        let Some(value) = self.given(key) else { return Ok(None) };
        let words = value.as_array().and_then(|all| all.iter().map(Value::as_str).collect());
        words.map(Some).ok_or_else(|| self.wrong(key, "a list of texts", value))
    }

    /// Reads a list of sizes, if it is given.
    pub fn sizes(&mut self, key: &'static str) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.given(key) else { return Ok(None) };
        let all = value.as_array().ok_or_else(|| self.wrong(key, "a list of sizes", value))?;
        all.iter().map(|value| self.as_size(key, value)).collect::<Result<_>>().map(Some)
    }

    /// Reads an activation function by its name in transformers; an empty key means that the family has no such key.
    pub fn activation(&mut self, key: &'static str, default: &str) -> Result<Activation> {
        const KNOWN: [(&str, Activation); 8] = [
            ("relu", Activation::Relu),
            ("gelu", Activation::Gelu),
            ("gelu_python", Activation::Gelu),
            ("gelu_new", Activation::GeluTanh),
            ("gelu_fast", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
            ("silu", Activation::Silu),
            ("swish", Activation::Silu),
        ];
        let stated = if key.is_empty() { None } else { self.word(key)? };
        let name = stated.unwrap_or(default);
        KNOWN.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours).ok_or_else(|| {
            err!(Format, "the activation `{name}` of config key `{}{key}` is not implemented", self.place)
                .maybe_hint(names::suggestion(name, KNOWN.map(|(theirs, _)| theirs)))
        })
    }

    /// Reads the id of one token, if there is one.
    pub fn token(&mut self, key: &'static str, default: Option<u32>) -> Result<Option<u32>> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => self.as_token(key, value).map(Some),
        }
    }

    /// Reads the ids of tokens: one of them, a list, or none.
    pub fn tokens(&mut self, key: &'static str, default: Option<u32>) -> Result<Vec<u32>> {
        match self.value(key) {
            Some(Value::Array(all)) => all.iter().map(|value| self.as_token(key, value)).collect(),
            _ => Ok(self.token(key, default)?.into_iter().collect()),
        }
    }

    /// Refuses a value that changes the computation in an unsupported way.
    pub fn only(&mut self, key: &'static str, allowed: impl Into<Value>) -> Result<()> {
        let allowed = allowed.into();
        match self.given(key) {
            Some(found) if !same(found, &allowed) => Err(self.refused(key, found, &allowed)),
            _ => Ok(()),
        }
    }

    /// Refuses keys that were not read, unless they are known to be harmless, null or empty, or ignored by the user.
    pub fn finish(mut self, ignore: &[String]) -> Result<()> {
        for key in SWITCHED_OFF {
            if !ignore.iter().any(|ignored| ignored == key) && !self.asked.contains(key) {
                self.only(key, false)?;
            }
        }
        self.finish_beside(HARMLESS, ignore)
    }

    /// Refuses keys that were not read, unless they are among `harmless`, null or empty, or ignored by the user.
    pub fn finish_beside(self, harmless: &[&str], ignore: &[String]) -> Result<()> {
        let says_nothing = |value: &Value| match value {
            Value::Null => true,
            Value::Array(all) => all.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        let unknown = self.fields.iter().find(|(key, value)| {
            let known = self.asked.contains(key.as_str()) || harmless.contains(&key.as_str());
            !(known || says_nothing(value) || ignore.contains(key))
        });
        let Some((key, value)) = unknown else { return Ok(()) };
        let near = names::nearest(key, self.asked.iter().copied().filter(|asked| !self.fields.contains_key(*asked)));
        let allow = format!("if it changes nothing that is computed, load with #{{ ignore: [\"{key}\"] }}");
        Err(err!(Format, "the config key `{}{key}` ({}) is not known here", self.place, short(value)).hint(
            match near {
                Some(near) => format!("did you mean `{near}`? {allow}"),
                None => allow,
            },
        ))
    }

    fn as_size(&self, key: &str, value: &Value) -> Result<usize> {
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| self.wrong(key, "a size", value))
    }

    fn as_number(&self, key: &str, value: &Value) -> Result<f64> {
        value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| self.wrong(key, "a number", value))
    }

    fn as_token(&self, key: &str, value: &Value) -> Result<u32> {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.wrong(key, "the id of a token", value))
    }

    pub fn wrong(&self, key: &str, expected: &str, found: &Value) -> Error {
        err!(Format, "expected {expected} as config key `{}{key}`, found {}", self.place, short(found))
    }

    fn refused(&self, key: &str, found: &Value, allowed: &Value) -> Error {
        err!(Format, "the config key `{}{key}` is {}, which is not implemented", self.place, short(found))
            .hint(format!("only {allowed} is; the model would compute something else"))
    }
}

/// Returns whether two values are the same, 1 and 1.0 included.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

/// Returns the beginning of a value that may be long.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}
