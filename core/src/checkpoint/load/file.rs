//! A model in one file: GGUF, llama2.c, PyTorch's or safetensors, told apart by their first bytes.

use std::io::Read;

use super::folder::{CONFIG, published};
use super::mapped::MappedSource;
use super::{LoadSettings, LoadedModel, Shards, tokenizer_of_folder, weight_reader};
use crate::base::disk::Mapping;
use crate::base::files::{UnhashedInput, UnhashedInputs};
use crate::checkpoint::adapter;
use crate::checkpoint::formats::{gguf, lens, llama2c, pickle};
use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::{Layout, TensorSource};
use crate::tokenizer::Tokenizer;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Gguf,
    /// A zip archive, as PyTorch has written them since version 1.6.
    Torch,
    Safetensors,
    Llama2c,
}

/// Loads the model of a file.
pub fn file(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    let label = path.display().to_string();
    let kind = kind(files, path)?;
    let load = match kind {
        FileFormat::Gguf => from_gguf,
        FileFormat::Torch => from_torch,
        FileFormat::Safetensors => from_safetensors,
        FileFormat::Llama2c => from_llama2c,
    };
    let mut loaded = load(files, path, loading, task).map_err(|e| within(e, &label))?;
    if loaded.tokenizer.is_none() && loading.options.tokenizer.is_none() {
        loaded.tokenizer = tokenizer_of_folder(files, folder_of(path), task)?;
    }
    Ok(loaded)
}

/// Puts the file's name before a message that does not contain it.
fn within(error: Error, label: &str) -> Error {
    if error.message.contains(label) { error } else { error.within(label) }
}

fn kind(files: &Files, path: &Path) -> Result<FileFormat> {
    let mut start = Vec::new();
    let (file, _) = files.open(path)?;
    file.take(9).read_to_end(&mut start).map_err(|e| Error::io("read", path, &e))?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    Ok(match start.as_slice() {
        [b'G', b'G', b'U', b'F', ..] => FileFormat::Gguf,
        [b'P', b'K', 3, 4, ..] => FileFormat::Torch,
        [_, _, _, _, _, _, _, _, b'{'] => FileFormat::Safetensors,
        _ if ending == "safetensors" => FileFormat::Safetensors,
        _ if ending == "gguf" => FileFormat::Gguf,
        // PyTorch's older files begin with a pickle; its reader says what to do about them.
        [0x80, 2, ..] => FileFormat::Torch,
        _ if ending == "pt" || ending == "pth" => FileFormat::Torch,
        _ if ending == "bin" => FileFormat::Llama2c,
        _ => {
            return Err(err!(Format, "expected the weights of a model, found other content in {}", path.display())
                .hint("models come as safetensors, GGUF, PyTorch's .pt, and llama2.c's .bin"));
        }
    })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn from_gguf(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    expect_whole(loading)?;
    let (map, input) = files.map_unhashed(path)?;
    let map = Arc::new(map);
    let given = gguf::GgufFile::new(map.as_ref())?;
    let split = given.split()?;
    let (others, unhashed) = split.map_or(Ok(Default::default()), |split| other_parts(files, path, split))?;
    let part = |name: &str, file: gguf::GgufFile<_>, map: &Arc<Mapping>| {
        (name.to_string(), file.with_task(task).staying_in(map.clone()))
    };
    let mut parts = Vec::new();
    for (name, map) in &others {
        parts.push(part(name, gguf::GgufFile::new(map.as_ref()).map_err(|e| e.within(name))?, map));
    }
    parts.insert(split.map_or(0, |split| split.number), part(name_of(path), given, &map));
    let model = gguf::GgufModel::new(parts)?;
    let layout = model.layout()?;
    let label = path.display().to_string();
    let maps: Vec<&Mapping> = others.iter().map(|(_, map)| map).chain([&map]).map(Arc::as_ref).collect();
    let unhashed = UnhashedInputs::new(unhashed.into_iter().chain([input]).collect());
    let source = MappedSource { source: &model, maps: &maps, unhashed, task };
    // What is not understood is refused by the headers, before files are hashed or weights are read.
    weight_reader::check(&layout, &source, &label, loading)?;
    let tokenizer = match loading.options.tokenizer {
        Some(_) => None,
        None => Tokenizer::from_metadata(&model.first()?.metadata, task)?,
    };
    source.accept()?;
    let weights = weight_reader::read(&layout, &source, &label, loading, task)?;
    Ok(LoadedModel { config: layout.config, weights, published: None, tokenizer })
}

/// Returns whether a file is a GGUF file.
pub fn is_gguf(files: &Files, path: &Path) -> Result<bool> {
    Ok(kind(files, path)? == FileFormat::Gguf)
}

/// Reads the config that a GGUF file states, whose header is read with those of the other parts of its model. The file is no input of
/// a run that is recorded.
pub fn config_of_gguf(files: &Files, path: &Path) -> Result<Config> {
    let (map, _input) = files.map_unhashed(path)?;
    let given = gguf::GgufFile::new(&map)?;
    let split = given.split()?;
    let (others, _inputs) = split.map_or(Ok(Default::default()), |split| other_parts(files, path, split))?;
    let mut parts = Vec::new();
    for (name, map) in &others {
        parts.push((name.clone(), gguf::GgufFile::new(map.as_ref()).map_err(|e| e.within(name))?));
    }
    parts.insert(split.map_or(0, |split| split.number), (name_of(path).to_string(), given));
    Ok(gguf::GgufModel::new(parts)?.layout()?.config)
}

/// Maps the other parts of a model of which this file is one, in their order and with their names; they are hashed later.
fn other_parts(files: &Files, path: &Path, split: gguf::ShardPlace) -> Result<OtherParts> {
    let folder = folder_of(path);
    let name = name_of(path);
    let number = split.number + 1;
    let count = split.count;
    let mut names = match gguf::part_names(name) {
        Some((found, names)) if found == split.number && names.len() == count => names,
        _ => {
            let ending = format!("-{number:05}-of-{count:05}.gguf");
            return Err(err!(
                Format,
                "expected a name that ends with {ending}, as part {number} of {count}, found {name}"
            )
            .hint("give every part the name that it was published with, by which the others are found"));
        }
    };
    for (other, number) in names.iter().zip(1..) {
        if !files.has(&folder.join(other))? {
            return Err(err!(File, "expected part {number} of {count} of this model as {other} beside it, found none")
                .hint("all parts of a model have to be in one folder"));
        }
    }
    names.remove(split.number);
    let mapped = |other: String| {
        let (map, input) = files.map_unhashed(&folder.join(&other))?;
        Ok(((other, Arc::new(map)), input))
    };
    names.into_iter().map(mapped).collect()
}

/// The other parts of a model by their names, and the inputs that are to be hashed.
type OtherParts = (Vec<(String, Arc<Mapping>)>, Vec<UnhashedInput>);

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn from_llama2c(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    expect_whole(loading)?;
    let (map, input) = files.map_unhashed(path)?;
    let file = llama2c::Checkpoint::new(&map)?;
    let layout = file.layout()?;
    let unhashed = UnhashedInputs::new(vec![input]);
    let source = MappedSource { source: &file, maps: &[&map], unhashed, task };
    unpublished(layout, &source, &path.display().to_string(), loading, task)
}

fn from_torch(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    let (map, input) = files.map_unhashed(path)?;
    let file = pickle::PickleFile::new(&map)?.weights()?;
    let unhashed = UnhashedInputs::new(vec![input]);
    state_dictionary(files, &MappedSource { source: &file, maps: &[&map], unhashed, task }, path, loading, task)
}

fn from_safetensors(files: &Files, path: &Path, loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    let shards = Shards::open_unhashed(files, folder_of(path), &[name_of(path).to_string()], task)?;
    state_dictionary(files, &shards, path, loading, task)
}

/// Loads a model from tensors by name: most of the config follows from TransformerLens' names; other tensors need a
/// config.json beside them.
fn state_dictionary(
    files: &Files,
    source: &dyn TensorSource,
    path: &Path,
    loading: &LoadSettings,
    task: &Task,
) -> Result<LoadedModel> {
    if lens::is_state_dict(source) {
        adapter::expect_none(loading.adapter.as_ref(), "the layout of TransformerLens")?;
        let layout = lens::layout(source, &loading.options.config.0)?;
        return unpublished(layout, source, &path.display().to_string(), loading, task);
    }
    let folder = folder_of(path);
    if !files.names(folder).iter().any(|name| name == CONFIG) {
        return Err(err!(File, "{} has tensors, and no {CONFIG} beside it says what to compute", path.display())
            .hint("put the config.json of the model into the same folder"));
    }
    published(files, folder, source, &path.display().to_string(), loading, task)
}

/// Refuses what goes with published files only, for a format that contains its config.
fn expect_whole(loading: &LoadSettings) -> Result<()> {
    loading.expect_no_config()?;
    adapter::expect_none(loading.adapter.as_ref(), "a file of another format")
}

/// Loads a model of a format that contains its config.
fn unpublished(
    layout: Layout,
    source: &dyn TensorSource,
    label: &str,
    loading: &LoadSettings,
    task: &Task,
) -> Result<LoadedModel> {
    let weights = weight_reader::weights(&layout, source, label, loading, task)?;
    Ok(LoadedModel { config: layout.config, weights, published: None, tokenizer: None })
}
