//! LoRA adapters in files: reading and writing folders of PEFT, and new ones for training.

mod config;
mod matched;
mod save;
#[cfg(test)]
mod tests;

use std::fmt;

use super::family;
use super::hub::{self, HubSettings, Name};
use super::load::Shards;
use crate::base::disk::Mapping;
use crate::checkpoint::formats::pickle::PickleFile;
use crate::common::*;
use crate::model::Model;
use crate::model::adapter::AdapterParts;
use crate::model::layout::{Layout, TensorSource};
use crate::model::train::{LoraOptions, Trainee};
use crate::model::weights::Weights;
use crate::tensor::{DType, Device};
use config::PeftConfig;
use matched::MatchedAdapter;

/// The file with the config of an adapter.
pub const CONFIG: &str = "adapter_config.json";

/// The files that may have the tensors of an adapter, the preferred one first.
const TENSORS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// The beginning of all names in a file of PEFT.
const PREFIX: &str = "base_model.model.";

/// A folder of PEFT, whose config is read, and whose tensors are listed but not read.
pub struct AdapterFile {
    /// The source of the adapter: a path, or `org/name@commit`.
    name: String,
    config: PeftConfig,
    tensors: Box<dyn TensorSource>,
}

impl fmt::Debug for AdapterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AdapterFile {
    /// Opens the adapter in a folder, or on the hub where there is no such folder: `org/name`, `org/name@revision`,
    /// `org/name/folder`. Keys in `ignore` are skipped.
    pub fn open(files: &Files, name: &str, ignore: &[String], task: &Task) -> Result<Self> {
        let Some(on_hub) = hub::unless_here(files, name, |_| true, || WHOLE_FOLDER.into())? else {
            return Self::of_folder(files, Path::new(name), name.to_string(), ignore, task);
        };
        let folder =
            on_hub.file.as_ref().map(|folder| format!("{}/", folder.trim_end_matches('/'))).unwrap_or_default();
        let repository = Name { file: None, ..on_hub.clone() };
        let choose = |listed: &[String]| chosen(&repository, &folder, listed);
        let snapshot =
            hub::fetch_files(files, task, &HubSettings::from_env(), &repository, &choose).map_err(hub::nor_here)?;
        let within = folder.trim_end_matches('/');
        let within = if within.is_empty() { String::new() } else { format!("/{within}") };
        let origin = format!("{}{within}@{}", on_hub.repo(), snapshot.commit);
        Self::of_folder(files, &snapshot.folder.join(&folder), origin, ignore, task)
    }

    fn of_folder(files: &Files, folder: &Path, name: String, ignore: &[String], task: &Task) -> Result<Self> {
        let present = files.names(folder);
        let has = |name: &str| present.iter().any(|found| found == name);
        if !has(CONFIG) {
            let error = err!(File, "expected the folder of an adapter, with {CONFIG}, found none in {name}");
            let is_model = has("config.json");
            return Err(error.hint(if is_model { "it has a model: model::load(..) reads it" } else { WHOLE_FOLDER }));
        }
        let Some(found) = TENSORS.into_iter().find(|name| has(name)) else {
            return Err(err!(File, "{name} has an {CONFIG} and no {}", TENSORS[0]).hint(WHOLE_FOLDER));
        };
        let text = files.text(&folder.join(CONFIG))?;
        let wrong = |e| err!(Format, "expected JSON, found: {e}");
        let within = |e: Error| e.within(format!("{name}/{CONFIG}"));
        let config = json::read(text.as_bytes(), wrong).map_err(within)?;
        let config = PeftConfig::read(&config, ignore).map_err(within)?;
        let tensors: Box<dyn TensorSource> = if found == TENSORS[0] {
            let opened = Shards::open(files, folder, &[found.to_string()], task);
            Box::new(opened.map_err(|e| e.within(&name))?)
        } else {
            let read = |map| -> Result<PickleFile<Mapping>> {
                let weights = PickleFile::new(map).and_then(PickleFile::weights);
                weights.map_err(|e| e.within(found).within(&name))
            };
            Box::new(files.map_as(&folder.join(found), read)?)
        };
        Ok(Self { name, config, tensors })
    }

    /// Refuses an adapter of another base by the first name or shape that differs, before weights are read.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.matched(layout).map(|_| ())
    }

    fn matched<'a>(&'a self, layout: &'a Layout) -> Result<MatchedAdapter<'a>> {
        MatchedAdapter::new(&self.config, self.tensors.as_ref(), layout).map_err(|e| e.within(&self.name))
    }

    /// Puts the adapter on its base.
    pub fn applied(&self, base: &Model, task: &Task) -> Result<Model> {
        if base.published.is_none() && base.decoder.config().family != family::OWN {
            return Err(without_names("another format"));
        }
        let layout = layout_of(base)?;
        let parts = self.matched(&layout)?.read(base.decoder.weights(), task).map_err(|e| e.within(&self.name))?;
        base.with_adapter(self.name.clone(), Arc::new(parts), 1.0)
    }
}

/// Suggestion for a folder that is no adapter's.
const WHOLE_FOLDER: &str =
    "expected what PEFT's `save_pretrained` writes: adapter_config.json and adapter_model.safetensors";

/// Chooses the files of an adapter among those of a repository.
fn chosen(name: &Name, folder: &str, listed: &[String]) -> Result<BTreeSet<String>> {
    let has = |file: &str| listed.iter().any(|listed| listed == file);
    let config = format!("{folder}{CONFIG}");
    if !has(&config) {
        bail!(File, "{} has no {config} at revision {}", name.repo(), name.revision);
    }
    let tensors = TENSORS.into_iter().map(|file| format!("{folder}{file}")).find(|file| has(file));
    let tensors = tensors.ok_or_else(|| err!(File, "{} has no {folder}{}", name.repo(), TENSORS[0]))?;
    Ok(BTreeSet::from([config, tensors]))
}

/// Returns where the modules of a model are in its published files.
fn layout_of(model: &Model) -> Result<Layout> {
    match &model.published {
        Some(published) => Ok(published.layout.clone()),
        None => family::canonical(model.decoder.config().as_ref().clone()),
    }
}

/// Refuses an adapter for a format that has none of the names of published files.
pub fn expect_none(adapter: Option<&Arc<AdapterFile>>, format: &str) -> Result<()> {
    match adapter {
        None => Ok(()),
        Some(_) => Err(without_names(format).about("adapter")),
    }
}

fn without_names(format: &str) -> Error {
    err!(Argument, "expected a base with the names of its published files, found one in {format}")
        .hint("adapters name modules as the folder with config.json and safetensors does: load that as the base")
}

/// Returns whether a name of a tensor is another one, of which one may begin later than the other.
fn is_same(a: &str, b: &str) -> bool {
    let ends_with = |whole: &str, end: &str| whole.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    a == b || ends_with(a, b) || ends_with(b, a)
}

/// Returns the dtype in which the low-rank matrices of a model compute, and its device.
fn computing(weights: &Weights) -> (DType, &Device) {
    (weights.embed.dtype(), weights.embed.device())
}

impl Trainee {
    /// Begins the training of an adapter of a model; a model that has one already is refused.
    pub fn adapter(base: Model, options: &LoraOptions, seed: u64) -> Result<Self> {
        base.expect_no_adapter().map_err(|e| e.about("config"))?;
        // PEFT looks for modules by their names in a whole model, and some files leave the first part of these off.
        let layout = family::layout(base.decoder.config())?.map_or_else(|| layout_of(&base), Ok)?;
        let (dtype, device) = computing(base.decoder.weights());
        let parts = AdapterParts::begun(&layout, options, seed, dtype, device)?;
        Ok(Self::Adapter { base, parts })
    }
}
