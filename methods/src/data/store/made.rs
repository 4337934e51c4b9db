//! The provenance of a store: enough to tell whether another harvest would give the same activations.

use serde::{Deserialize, Serialize};

use crate::base::files::hex;
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{Harvest, Skipped, TextReading};
use crate::data::sample::fingerprint;
use crate::model::ModelName;

/// The program that writes stores.
const WRITER: &str = concat!("microtome ", env!("CARGO_PKG_VERSION"));

/// The identity of a model: its weights and its config, wherever it was loaded from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMark {
    /// The source of the model, a path, or `org/name@commit`, and the hooks that it keeps.
    pub origin: ModelName,
    /// The SHA-256 of all weights as f32, with their names and shapes.
    pub weights: String,
    /// The dtype that the model computed in.
    pub dtype: String,
    pub config: Value,
}

/// A site, and its width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Width {
    pub site: String,
    pub width: usize,
}

/// The inputs that the activations of a store depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The program and its version.
    pub by: String,
    pub model: ModelMark,
    pub sites: Vec<Width>,
    /// The text and its options, the seed among them.
    pub text: Value,
    /// The number of tokens in a row; `at_once` is that of rows in a batch of the model.
    pub context: usize,
    pub at_once: usize,
    pub keep: Skipped,
    /// The dtype of the shards.
    pub dtype: String,
    /// The number of positions from which a shard ends with its batch.
    pub shard_rows: usize,
}

impl ModelMark {
    pub fn of(model: &Model, task: &Task) -> Result<Self> {
        let config = serde_json::to_value(model.decoder.config().as_ref());
        Ok(Self {
            origin: model.name(),
            weights: hex(&fingerprint(&model.decoder, task)?),
            dtype: model.decoder.dtype().as_str().into(),
            config: config.map_err(|e| err!(Bug, "a config that cannot be written: {e}"))?,
        })
    }

    /// Refuses another model than that of the store.
    pub fn expect(&self, other: &ModelMark) -> Result<()> {
        if (&self.weights, &self.config) == (&other.weights, &other.config) {
            return Ok(());
        }
        let shown = |mark: &ModelMark| format!("{} (weights {})", mark.origin, mark.weights.get(..8).unwrap_or("?"));
        Err(err!(Argument, "expected the model that the store was made from, {}, found {}", shown(self), shown(other)))
    }
}

impl Made {
    pub fn new(
        TextReading { model, text, options }: TextReading,
        harvest: &Harvest,
        dtype: DType,
        shard_rows: usize,
        task: &Task,
    ) -> Result<Self> {
        let sites = harvest.places().iter().zip(harvest.widths());
        Ok(Self {
            by: WRITER.into(),
            model: ModelMark::of(model, task)?,
            sites: sites.map(|(place, width)| Width { site: place.to_string(), width: *width }).collect(),
            text: described(text),
            context: harvest.context(),
            at_once: harvest.at_once(),
            keep: options.skip.clone(),
            dtype: dtype.as_str().into(),
            shard_rows,
        })
    }

    /// Returns the width of each site.
    pub fn widths(&self) -> Vec<usize> {
        self.sites.iter().map(|site| site.width).collect()
    }

    /// Refuses a harvest that would not give the activations of this store; `begun` if it is to be resumed, which only
    /// the same program can do bit for bit.
    pub fn expect(&self, other: &Made, begun: bool) -> Result<()> {
        let hint = |e: Error| e.hint("harvest into another folder, or remove this one");
        self.model.expect(&other.model).map_err(hint)?;
        let names = |made: &Made| made.sites.iter().map(|site| site.site.clone()).collect::<Vec<_>>().join(", ");
        let there = names(self);
        let here = names(other);
        if there != here {
            return Err(hint(err!(Argument, "expected the sites of the store, {there}, found {here}")));
        }
        let plain = |made: &Made| {
            let mut fields = json!(made);
            fields["model"]["origin"] = Value::Null;
            if !begun {
                fields["by"] = Value::Null;
            }
            fields
        };
        match difference("", &plain(self), &plain(other)) {
            None => Ok(()),
            Some((field, there, here)) => {
                Err(hint(err!(Argument, "expected `{field}` as the store has it, {there}, found {here}")))
            }
        }
    }
}

/// Returns the first field in which two values differ, and the value of each there.
fn difference(field: &str, there: &Value, here: &Value) -> Option<(String, Value, Value)> {
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            let more = b.keys().filter(|key| !a.contains_key(*key));
            a.keys().chain(more).find_map(|key| {
                let inner = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                difference(&inner, &of(a), &of(b))
            })
        }
        _ => (there != here).then(|| (field.into(), there.clone(), here.clone())),
    }
}

/// Returns the source of a text and its options. The contents of its files are covered by the hash of the tokens.
fn described(text: &Text) -> Value {
    let rules = text.rules();
    let options = text.options();
    let parts = text.parts().map(|parts| {
        let part = |(text, weight): &(Text, f64)| json!({"weight": weight, "text": described(text)});
        parts.iter().map(part).collect::<Vec<_>>()
    });
    json!({
        "name": text.name(), "identity": text.identity(), "field": rules.field,
        "bounds": format!("{:?}", rules.bounds), "part": format!("{:?}", rules.part), "one_in": rules.one_in,
        "tokens": options.tokens, "bos": options.bos, "shuffle": options.shuffle, "seed": options.seed(),
        "labels": options.labels, "parts": parts,
    })
}
