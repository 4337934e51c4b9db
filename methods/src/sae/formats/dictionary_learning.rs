//! dictionary_learning: `ae.pt` (or `ae.safetensors` with the same names) and `config.json`.

use serde_json::{Map, Value, json};

use super::architecture::{Architecture, DictionaryPart};
use super::own::{self, OwnMetadata};
use super::reading::FileStatements;
use super::{Format, FormatTensors, SideDescription, json as config_json, row, sites, table};
use crate::checkpoint::family::keys::Keys;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::{Parts, ReadSite};

/// Reads the contents of a config; without one the names of the tensors decide.
pub fn statements(beside: &SideDescription, source: &dyn TensorSource) -> Result<FileStatements> {
    if beside.config.is_none() {
        return Ok(FileStatements::new(by_names(source)?));
    }
    let config = config_json(beside)?;
    let mut keys = Keys::new(&config)?;
    let Some(mut trainer) = keys.nested("trainer")? else {
        return Err(err!(Format, "expected the config key `trainer`, found none"));
    };
    let row = match trainer.word("dict_class")? {
        Some(class) => row(Format::DictionaryLearning, class)?,
        None => by_names(source)?,
    };
    let mut said = FileStatements::new(row);
    said.d_in = trainer.maybe_size("activation_dim", None)?;
    said.d_sae = trainer.maybe_size("dict_size", None)?;
    // Beside a maximum, k is what the training aims at; where it is annealed, the tensor has that of the last step.
    if row.line(DictionaryPart::K).is_some() && row.line(DictionaryPart::Most).is_none() {
        said.k = trainer.maybe_size("k", None)?;
    }
    said.about.models = trainer.word("lm_name")?.map(ModelName::from).into_iter().collect();
    // A name with a layer in it needs no other layer, whatever the config says.
    let layer = trainer.value("layer").and_then(Value::as_u64).and_then(|layer| usize::try_from(layer).ok());
    said.about.sites =
        trainer.word("submodule_name")?.map(|name| ReadSite::new(site(name, layer))).into_iter().collect();
    said.about.more = more(&config);
    said.own = keys.value(own::KEY).map(OwnMetadata::from_json).transpose()?;
    keys.value("buffer");
    keys.finish_beside(&[], beside.ignore)?;
    Ok(said)
}

/// Collects settings of the trainer and of its buffer, which do not matter after training.
fn more(config: &Value) -> Map<String, Value> {
    const TAKEN: [&str; 6] = ["dict_class", "activation_dim", "dict_size", "layer", "lm_name", "submodule_name"];
    let mut more = config.get("trainer").and_then(Value::as_object).cloned().unwrap_or_default();
    more.retain(|key, _| !TAKEN.contains(&key.as_str()));
    if let Some(buffer) = config.get("buffer") {
        more.insert("buffer".into(), buffer.clone());
    }
    more
}

/// Finds the one architecture that has tensors of these names.
fn by_names(source: &dyn TensorSource) -> Result<&'static Architecture> {
    let present = source.names();
    let fitting: Vec<_> = table::of(Format::DictionaryLearning).filter(|row| row.may_hold(&present)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(err!(Format, "no dictionary of dictionary_learning has these tensors: {}", present.join(", "))
            .hint("put its config.json into the same folder")),
        several => {
            let all: Vec<&str> = several.iter().map(|row| row.name).collect();
            Err(err!(Format, "expected a config.json that says the `dict_class`, found none")
                .hint(format!("these tensors may be of {}, which compute different codes", all.join(" or "))))
        }
    }
}

/// Reads the name of a site: `resid_post_layer_3`, or `resid_post` with the layer beside it.
fn site(name: &str, layer: Option<usize>) -> String {
    let layer = sites::number_after(name, "layer_").or_else(|| sites::number_after(name, "layer")).or(layer);
    let kind = name.find("_layer").and_then(|end| name.get(..end)).unwrap_or(name);
    let place = layer.and_then(|layer| sites::parse(&format!("{kind}.{layer}")));
    place.map_or_else(|| name.to_string(), |place| place.to_string())
}

/// Writes the config of a dictionary.
pub fn config(given: &FormatTensors, parts: &Parts) -> Value {
    let about = &parts.about;
    let place = about.sites.first().and_then(|site| sites::parse(&site.name));
    let name = match place {
        Some(place) if place.site.kind.in_blocks() => format!("{}_layer_{}", place.site.kind.name(), place.site.layer),
        _ => about.sites.first().map(ToString::to_string).unwrap_or_default(),
    };
    let mut trainer = json!({
        "trainer_class": "microtome",
        "dict_class": given.row.name,
        "activation_dim": parts.encoder.dims().last(),
        "dict_size": parts.encoder.dims().first(),
        "layer": place.map(|place| place.site.layer),
        "lm_name": about.model(),
        "submodule_name": name,
    });
    if let Some(k) = super::writing::k(parts).filter(|_| given.row.line(DictionaryPart::K).is_some()) {
        trainer["k"] = json!(k);
    }
    let own = OwnMetadata { about: about.clone(), absent: given.absent.clone() };
    json!({ "trainer": trainer, "buffer": {}, own::KEY: own.to_json() })
}
