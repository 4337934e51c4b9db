//! New models: a config from a few options of the user.

use rand::Rng;

use super::family::{self, spelling, with_head_size};
use crate::common::*;
use crate::model::Model;
use crate::model::config::{Activation, Alibi, Config, NormKind, Positions, Rotary, Scaling};
use crate::model::decoder::Decoder;
use crate::model::init::init;
use crate::model::layout::PublishedForm;
use crate::options::seed::SeedOptions;
use crate::tensor::{DType, Device};
use crate::tokenizer::Tokenizer;

crate::options! {
    /// Options of a new model.
    pub struct InitOptions {
        /// The dtype of the computation.
        dtype: DType = DType::F32;
        with seed: SeedOptions;
    }

    /// A tokenizer whose tokens are listed.
    pub struct TokenListOptions {
        /// The words that are the tokens, in the order of their ids.
        words: Option<Vec<String>> = None;
        /// The characters that are the tokens.
        characters: Option<Vec<String>> = None;
        /// The listed token that is the BOS token.
        bos: Option<String> = None;
        /// The listed token that stands for all others; without it they are refused.
        unknown: Option<String> = None;
    }
}

impl TokenListOptions {
    /// Returns the tokenizer of the listed tokens, or else `whole`.
    pub fn tokenizer(self, whole: Option<Tokenizer>) -> Result<Option<Tokenizer>> {
        let Self { words, characters, bos, unknown } = self;
        let bos = bos.as_deref();
        let unknown = unknown.as_deref();
        if whole.is_some() && (words.is_some() || characters.is_some() || bos.is_some() || unknown.is_some()) {
            return Err(err!(
                Argument,
                "expected `tokenizer` alone, found a list of tokens or one of their names beside it"
            )
            .about("tokenizer"));
        }
        match (words, characters) {
            (None, None) => Ok(whole),
            (Some(words), None) => Tokenizer::words(words, bos, unknown).map(Some),
            (None, Some(all)) => Tokenizer::characters(all, bos, unknown).map(Some),
            (Some(_), Some(_)) => {
                Err(err!(Argument, "expected either `words` or `characters`, found both").about("characters"))
            }
        }
    }
}

impl Model {
    /// Makes a new model with random weights, of a config as [`described`] reads it.
    pub fn init(
        config: &Value,
        tokenizer: Option<Tokenizer>,
        dtype: DType,
        random: &mut impl Rng,
        device: &Device,
        task: &Task,
    ) -> Result<Self> {
        let (config, published) = described(config).map_err(|e| e.about("config"))?;
        let weights = init(&config, random, dtype, device, task)?;
        let published = published.map(Arc::new);
        Ok(Self { published, ..Self::new(Decoder::new(config, weights), tokenizer, "made here") })
    }
}

/// Reads a config from the user's options: our own fields, or those of a published family's config.json, `model_type`
/// included; such a model is saved in that family's format. Both accept either spelling of sizes.
pub fn described(options: &Value) -> Result<(Config, Option<PublishedForm>)> {
    if options.get("model_type").is_none() {
        return Ok((config(options)?, None));
    }
    let config_json = spelling::theirs(&whole_numbers(options))?;
    let layout = family::read(&config_json, &[]);
    let layout = match layout {
        Ok(layout) => layout,
        Err(error) => return Err(error.maybe_hint(spelling::hint(&config_json)?)),
    };
    Ok((layout.config.clone(), Some(PublishedForm { config_json, layout })))
}

/// Reads a config from the user's fields. The defaults are 2 layers, `d_model` 64, 4 heads that divide it equally,
/// `d_mlp` four times `d_model`, a context of 128, and a serial GELU decoder with layer norms, biases and rotary
/// positions. `biases` sets all of them at once; `vocab` has no default.
pub fn config(options: &Value) -> Result<Config> {
    let given = options.as_object().ok_or_else(|| err!(Argument, "expected a map of options, found {options}"))?;
    let given: Map<String, Value> = given.iter().map(|(key, value)| (key.clone(), whole_numbers(value))).collect();
    let given = spelling::ours(&given)?;
    if !given.contains_key("vocab") {
        let near = names::nearest("vocab", given.keys().map(String::as_str));
        let near = near.map(|key| format!("; `{key}` is no option")).unwrap_or_default();
        return Err(
            err!(Argument, "expected the option `vocab`, found none").hint(format!("it is the number of tokens{near}"))
        );
    }
    let mut given = given;
    // The config of another model has its family; a new model's family is our own.
    given.shift_remove("family");
    let biases = match given.shift_remove("biases") {
        None => true,
        Some(Value::Bool(biases)) => biases,
        Some(other) => bail!(Argument, "expected true or false as `biases`, found {other}"),
    };
    let sizes = overlaid(
        &smallest_config(),
        &given,
        Some(&["layers", "d_model", "heads", "d_head", "norm", "positions", "latent"]),
    )?;
    let d_head = given.contains_key("d_head").then_some(sizes.d_head);
    let whole = overlaid(&completed(with_head_size(sizes, d_head), biases), &given, None)?;
    whole.checked()
}

/// Returns the defaults that depend on no other option.
fn smallest_config() -> Config {
    let plain = Config::plain(family::OWN);
    let positions = Positions::Rotary;
    let act = Activation::Gelu;
    Config { layers: 2, d_model: 64, heads: 4, vocab: 1, context: 128, act, positions, ..plain }
}

/// Fills in the defaults that depend on sizes and on kinds.
fn completed(config: Config, biases: bool) -> Config {
    let turns = config.positions == Positions::Rotary;
    let turning = config.latent.as_ref().map_or(config.d_head, |latent| latent.d_shared);
    let dims = turning - turning % 2;
    Config {
        kv_heads: config.heads,
        d_mlp: config.d_model.saturating_mul(4),
        norm_bias: biases && config.norm == Some(NormKind::Layer),
        rotary: turns.then_some(Rotary { dims, theta: 1e4, neighbours: false, scaling: Scaling::None }),
        alibi: (config.positions == Positions::Alibi).then_some(Alibi { most: 8.0, scaled: false, rounded: false }),
        qkv_bias: biases,
        out_bias: biases,
        mlp_bias: biases,
        ..config
    }
}

/// Applies the user's fields to a config; only those listed, if there is a list.
fn overlaid(config: &Config, given: &Map<String, Value>, only: Option<&[&str]>) -> Result<Config> {
    let mut fields = match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        other => bail!(Bug, "a config became no map of JSON: {other:?}"),
    };
    let mut result = config.clone();
    for (key, value) in given {
        let Some(default) = fields.get(key) else {
            let ours = fields.keys().map(String::as_str).filter(|known| *known != "family").chain(["biases"]);
            let known: Vec<&str> = ours.chain(spelling::aliases()).collect();
            return Err(err!(Name, "unknown option `{key}` of a model").maybe_hint(names::suggestion(key, known)));
        };
        if only.is_none_or(|only| only.contains(&key.as_str())) {
            let merged = merged(default, value);
            fields.insert(key.clone(), merged);
            result = serde_json::from_value(Value::Object(fields.clone()))
                .map_err(|e| err!(Argument, "the option `{key}` of a model: {e}"))?;
        }
    }
    Ok(result)
}

/// Merges the user's value into a default: maps by field, and "none" becomes null.
fn merged(default: &Value, given: &Value) -> Value {
    match (default, given) {
        (Value::Object(default), Value::Object(given)) => {
            let mut all = default.clone();
            all.extend(given.clone());
            Value::Object(all)
        }
        (Value::String(_) | Value::Null, Value::String(none)) if none == "none" && !is_kind_of_none(default) => {
            Value::Null
        }
        _ => given.clone(),
    }
}

/// Returns whether a default is a value of an enum in which `none` is a value, too.
fn is_kind_of_none(default: &Value) -> bool {
    ["none", "learned", "rotary", "alibi", "head", "whole"].iter().any(|word| default == word)
}

/// Writes 2.0 as 2: scripts may give either.
fn whole_numbers(value: &Value) -> Value {
    match value {
        Value::Number(x) if x.is_f64() => match x.as_f64() {
            Some(whole) if whole.fract() == 0.0 && (0.0..9e15).contains(&whole) => Value::from(whole as u64),
            _ => value.clone(),
        },
        Value::Array(all) => all.iter().map(whole_numbers).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), whole_numbers(value))).collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::config::{Order, QkNorm};

    fn made(options: Value) -> Config {
        config(&options).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn what_is_left_out_follows_from_what_is_stated() {
        let plain = made(json!({"vocab": 50}));
        assert_eq!((plain.layers, plain.d_model, plain.heads, plain.d_head, plain.d_mlp), (2, 64, 4, 16, 256));
        assert_eq!((plain.norm, plain.norm_bias, plain.qkv_bias), (Some(NormKind::Layer), true, true));
        assert_eq!((plain.score_scale, plain.rotary.unwrap().dims), (0.25, 16));
        let toy =
            made(json!({"vocab": 50.0, "d_model": 30, "heads": 3.0, "d_mlp": 0, "norm": "none", "positions": "none"}));
        assert_eq!((toy.d_head, toy.kv_heads, toy.d_mlp, toy.norm), (10, 3, 0, None));
        assert_eq!((toy.positions, toy.rotary), (Positions::None, None));
        let odd = made(json!({"vocab": 9, "d_head": 5, "biases": false, "act": "silu", "gated": true}));
        assert_eq!(
            (odd.rotary.unwrap().dims, odd.out_bias, odd.norm_bias, odd.act),
            (4, false, false, Activation::Silu)
        );
        let rms =
            made(json!({"vocab": 9, "norm": "rms", "rotary": {"theta": 100}, "order": "parallel", "qk_norm": "head"}));
        assert_eq!((rms.norm_bias, rms.rotary.unwrap().theta, rms.order), (false, 100.0, Order::Parallel));
        assert_eq!(rms.qk_norm, QkNorm::Head);
        assert_eq!(made(json!({"vocab": 9, "qk_norm": "none", "layers": 0})).layers, 0);
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        let refused = |options: Value| config(&options).unwrap_err().to_string();
        assert!(refused(json!({"vocab": 9, "d_modle": 3})).contains("did you mean `d_model`?"));
        assert!(refused(json!({"layers": 2})).contains("`vocab`"));
        assert!(refused(json!({"vocab": 9, "heads": "two"})).contains("option `heads`"));
        assert!(refused(json!({"vocab": 9, "act": "gelo"})).contains("option `act`"));
        assert!(refused(json!({"vocab": 9, "heads": 5})).contains("a multiple of `heads`"));
        assert!(refused(json!({"vocab": 9, "heads": 4, "kv_heads": 3})).contains("a multiple of `kv_heads`"));
        assert!(refused(json!({"vocab": 9, "rotary": {"dims": 3}})).contains("rotary `dims`"));
        assert!(refused(json!({"vocab": 0})).contains("`vocab` between 1"));
        assert!(refused(json!({"vocab": 9, "norm": "none", "qk_norm": "head"})).contains("found no norms"));
        assert!(refused(json!({"vocab": 9, "predicts": "masked"})).contains("attention to both sides"));
        assert!(refused(json!({"vocab": 9, "stream_norm": true, "order": "parallel"})).contains("`stream_norm`"));
        assert!(refused(json!({"vocab": 9, "layers": 1e6})).contains("`layers` between"));
        assert!(refused(json!(3)).contains("a map of options"));
    }

    #[test]
    fn the_config_of_another_model_is_taken_whole() {
        let own = made(json!({"vocab": 9, "norm": "rms", "rotary": {"theta": 100}, "qk_norm": "head", "eos": [2]}));
        let other = Config { family: "llama".into(), ..own.clone() };
        assert_eq!(made(serde_json::to_value(other).unwrap()), own);
        assert_eq!(own.family, family::OWN);
    }
}
