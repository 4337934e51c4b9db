//! A folder as a hub download has it: config.json, and the weights in one file or several.

use std::fmt::Display;

use serde::Deserialize;

use super::block_scaled::BlockScaled;
use super::mapped::MappedSource;
use super::packed_shifts::PackedShifts;
use super::{LoadSettings, LoadedModel, Shards, tokenizer_of_folder, weight_reader};
use crate::base::files::UnhashedInputs;
use crate::checkpoint::adapter;
use crate::checkpoint::family::{self, multimodal};
use crate::checkpoint::formats::pickle;
use crate::checkpoint::nla_meta::{META, NlaMeta, NlaRole};
use crate::common::*;
use crate::model::config::{Config, Predicts};
use crate::model::layout::{Layout, PublishedForm, TensorSource};

pub const CONFIG: &str = "config.json";
const ONE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TORCH: &str = "pytorch_model.bin";

/// Loads the model of a folder.
pub fn folder(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    let label = path.display().to_string();
    let names = files.names(path);
    let has = |name: &str| names.iter().any(|found| found == name);
    let found = match (has(CONFIG), [ONE, INDEX, TORCH].into_iter().find(|name| has(name))) {
        (true, Some(weights)) => weights,
        (true, None) => return Err(no_weights(&label, &names)),
        (false, Some(weights)) => {
            return Err(err!(File, "{label} has weights ({weights}) and no {CONFIG}")
                .hint("the config.json of the same model says what to compute with them"));
        }
        (false, None) => {
            let error = err!(File, "expected a folder with {CONFIG} and {ONE}, found neither in {label}");
            let of_adapter = || format!("it has an adapter: model::load(BASE, #{{ adapter: {label:?} }})");
            return Err(error.maybe_hint(has(adapter::CONFIG).then(of_adapter)));
        }
    };
    let loaded = if found == TORCH {
        let (map, input) = files.map_unhashed(&path.join(TORCH))?;
        let file = pickle::PickleFile::new(&map).and_then(pickle::PickleFile::weights).map_err(|e| e.within(TORCH))?;
        let unhashed = UnhashedInputs::new(vec![input]);
        let source = MappedSource { source: &file, maps: &[&map], unhashed, task };
        published(files, path, &source, &label, loading, task)?
    } else {
        let shards = open(files, path, found, task).map_err(|e| e.within(&label))?;
        published(files, path, &shards, &label, loading, task)?
    };
    let tokenizer = if loading.options.tokenizer.is_none() { tokenizer_of_folder(files, path, task)? } else { None };
    Ok(LoadedModel { tokenizer, ..loaded })
}

/// Loads a model from its tensors and the config.json in a folder.
pub fn published(
    files: &Files,
    folder: &Path,
    source: &dyn TensorSource,
    label: &str,
    loading: &LoadSettings,
    task: &Task,
) -> Result<LoadedModel> {
    loading.expect_no_config()?;
    let place = folder.join(CONFIG);
    let config_json = json_of(files, &place)?;
    if !reconstructs(files, folder)? {
        return of_config(config_json, source, place.display(), label, loading, task);
    }
    let loaded = of_layout(config_json, source, place.display(), label, loading, headless, task)?;
    // Without the file that says so the published form would lack tensors.
    Ok(LoadedModel { published: None, ..loaded })
}

/// Returns whether a folder has the model that makes vectors of descriptions, in a natural language autoencoder.
fn reconstructs(files: &Files, folder: &Path) -> Result<bool> {
    if !files.names(folder).iter().any(|name| name == META) {
        return Ok(false);
    }
    // A file that is not understood says nothing of the weights; it is refused where the model is asked for a vector.
    let meta = NlaMeta::read(&files.text(&folder.join(META))?);
    Ok(meta.is_ok_and(|meta| meta.role == NlaRole::Reconstructor))
}

/// Returns the layout of a model whose stream ends behind its last layer: it has no last norm and no unembedding, whatever stands in
/// their places in the file.
fn headless(layout: Layout) -> Layout {
    let is_head = |ours: &str| ours.starts_with("final_norm.") || ours.starts_with("unembed.");
    let (head, weights): (BTreeMap<_, _>, BTreeMap<_, _>) =
        layout.weights.into_iter().partition(|(ours, _)| is_head(ours));
    let mut ignored = layout.ignored;
    ignored.extend(head.values().map(|from| from.name().to_string()));
    let config =
        Config { predicts: Predicts::Nothing, final_norm: false, tied: true, unembed_bias: false, ..layout.config };
    Layout { config, weights, ignored }
}

/// Loads a model from its tensors and its config.json, which is called `place`.
pub fn of_config(
    config_json: Value,
    source: &dyn TensorSource,
    place: impl Display,
    label: &str,
    loading: &LoadSettings,
    task: &Task,
) -> Result<LoadedModel> {
    of_layout(config_json, source, place, label, loading, |layout| layout, task)
}

/// Loads a model from its tensors and its config.json, with another layout than that of its family.
fn of_layout(
    config_json: Value,
    source: &dyn TensorSource,
    place: impl Display,
    label: &str,
    loading: &LoadSettings,
    change: fn(Layout) -> Layout,
    task: &Task,
) -> Result<LoadedModel> {
    let ignore = &loading.options.ignore;
    let mut config_json = config_json;
    let scaled = BlockScaled::of(&mut config_json, source);
    let source = scaled.as_ref().map_or(source, |scaled| scaled as &dyn TensorSource);
    let shifts = PackedShifts::of(&config_json, source);
    let source = shifts.as_ref().map_or(source, |shifts| shifts as &dyn TensorSource);
    let present = source.names();
    let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
    let text_part = multimodal::text_part(&config_json, ignore).map_err(|e| e.within(&place))?;
    let is_part = text_part.is_some();
    let config_json = text_part.unwrap_or(config_json);
    let layout = change(family::read(&config_json, ignore).map_err(|e| e.within(place))?.fitted(&present));
    loading.check_adapter(&layout)?;
    let taken =
        |layout: &Layout| weight_reader::weights(layout, source, label, loading, task).map_err(|e| e.within(label));
    let weights = if is_part {
        // It is saved as the text model that it is here, by the names of its own family.
        let (there, left_out) = multimodal::within(layout.clone(), &present);
        let weights = taken(&there)?;
        task.say(&format!("{label}: the text part is loaded; {left_out} tensors of other parts are left out"));
        weights
    } else {
        taken(&layout)?
    };
    let config = layout.config.clone();
    Ok(LoadedModel { config, weights, published: Some(PublishedForm { config_json, layout }), tokenizer: None })
}

fn no_weights(label: &str, names: &[String]) -> crate::base::Error {
    let error = err!(File, "{label} has a {CONFIG} and no weights");
    let shards = names.iter().filter(|name| name.ends_with(".safetensors")).count();
    error.hint(match shards {
        0 if names.iter().any(|name| name.starts_with("pytorch_model-")) => {
            format!("weights of PyTorch in several files are not read; save the model again as {ONE}")
        }
        0 => format!("expected {ONE}, or {INDEX} and the files that it lists"),
        _ => format!("it has {shards} files of safetensors, and no {INDEX} that lists them"),
    })
}

fn json_of(files: &Files, path: &Path) -> Result<Value> {
    parsed(&files.text(path)?, path)
}

/// Parses the JSON of a file.
pub fn parsed(text: &str, path: &Path) -> Result<Value> {
    let wrong = |e| err!(Format, "expected JSON, found: {e}");
    let text = json::tagged_infinities(text);
    json::read(text.as_bytes(), wrong).map_err(|e| e.within(path.display()))
}

fn open(files: &Files, folder: &Path, weights: &str, task: &Task) -> Result<Shards> {
    if weights == ONE {
        return Shards::open_unhashed(files, folder, &[ONE.to_string()], task);
    }
    let index: Index = serde_json::from_value(json_of(files, &folder.join(INDEX))?)
        .map_err(|e| err!(Format, "{INDEX} is not as it should be: {e}"))?;
    let listed: BTreeSet<String> = index.weight_map.values().cloned().collect();
    if let Some(stray) = listed.iter().find(|name| !is_plain(name)) {
        return Err(err!(Format, "{INDEX} lists `{stray}`").hint("expected names of files in the same folder"));
    }
    let shards = Shards::open_unhashed(files, folder, &listed.into_iter().collect::<Vec<_>>(), task)?;
    agree(&index, &shards)?;
    Ok(shards)
}

/// The index of a checkpoint: which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Returns whether a name stays within its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// Checks that the files contain exactly what the index says.
fn agree(index: &Index, shards: &Shards) -> Result<()> {
    for (name, listed) in &index.weight_map {
        match shards.file_of(name) {
            Some(found) if found == listed => {}
            Some(found) => bail!(Format, "{INDEX} says that tensor `{name}` is in {listed}, and it is in {found}"),
            None => bail!(Format, "{INDEX} says that tensor `{name}` is in {listed}, and it is not"),
        }
    }
    match shards.names().iter().find(|name| !index.weight_map.contains_key(*name)) {
        Some(extra) => bail!(Format, "{INDEX} does not list tensor `{extra}`, which is in one of its files"),
        None => Ok(()),
    }
}
