//! Models in our own format: config.json is our own config, and the names are ours.

use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::{Layout, WeightFrom};

pub const NAME: &str = "microtome";

/// Reads the layout of a config.json that [`config_json`] wrote.
pub fn read(json: &Value) -> Result<Layout> {
    let mut fields = json.as_object().cloned().unwrap_or_default();
    fields.shift_remove("model_type");
    let config: Config = serde_json::from_value(Value::Object(fields))
        .map_err(|e| err!(Format, "the config.json of a model made here is not as it should be: {e}"))?;
    canonical(config.checked_of_file()?)
}

/// Returns the layout in which every weight is under our own name.
pub fn canonical(config: Config) -> Result<Layout> {
    let weights: BTreeMap<String, WeightFrom> =
        config.parameters()?.into_iter().map(|(name, _)| (name.clone(), WeightFrom::Same(name))).collect();
    Ok(Layout { config, weights, ignored: Vec::new() })
}

/// Writes the config.json of a model in our own layout.
pub fn config_json(config: &Config) -> Result<Value> {
    let mut fields = Map::from_iter([("model_type".to_string(), Value::from(NAME))]);
    match serde_json::to_value(config) {
        Ok(Value::Object(ours)) => fields.extend(ours),
        other => return Err(err!(Bug, "a config became no map of JSON: {other:?}")),
    }
    Ok(Value::Object(fields))
}
