//! Loading dictionaries from a folder, a file, or the hub, in any known format.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::compatibility::check_is_for;
use super::formats::find::{self, DictionaryFiles};
use super::formats::{self, Format, SideDescription};
use super::{About, Sae, releases};
use crate::base::files::Files;
use crate::base::{disk, names};
use crate::checkpoint::formats::pickle;
use crate::checkpoint::hub::{self, HubSettings, Name};
use crate::checkpoint::load::Shards;
use crate::common::*;
use crate::model::layout::TensorSource;
use crate::options::{Plain, Setting};
use crate::tensor::dtype;
use crate::tensor::files::safetensors::Header;
use crate::tensor::files::{npz, safetensors};

/// Maximum depth below a folder at which dictionaries are searched.
const DEEPEST: usize = 5;

/// A folder with more files than this is not a folder of dictionaries.
const MOST: usize = 100_000;

/// Number of dictionaries that a message lists.
const LISTED: usize = 12;

/// A dtype that a dictionary can be computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatType(pub DType);

impl Setting for FloatType {
    const CHOICES: &'static [&'static str] = &["f32", "f64", "f16", "bf16"];

    fn wanted() -> String {
        "a dtype of floats".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Text(name) = value else { return None };
        dtype::parse(name).ok().filter(|found| dtype::is_float(*found)).map(Self)
    }

    fn written(&self) -> String {
        format!("{:?}", self.0.as_str())
    }
}

crate::options! {
    /// Options of loading a dictionary.
    pub struct LoadOptions {
        /// The format.
        format: Option<Format> = None => usually("auto-detected");
        /// The dtype of the computation.
        dtype: FloatType = FloatType(DType::F32);
        /// Config keys to ignore.
        ignore: Vec<String> = Vec::new() => usually("none");
    }

    /// Options of saving a dictionary.
    pub struct SaveOptions {
        /// The format. Those of "gemma_scope", "circuit_tracer" and "tied" can be loaded, but not saved.
        format: Format = Format::Microtome;
    }
}

impl Sae {
    /// Loads the dictionary of a folder or a file, or of the hub where there is neither: `org/name`,
    /// `org/name/path/inside@revision`, or a release of SAELens and an id. Where there are several, the path inside selects
    /// one.
    pub fn load(files: &Files, source: &str, options: &LoadOptions, task: &Task) -> Result<Self> {
        Loader { files, options, model: None, task }.load(source)
    }

    /// Loads a dictionary for a model: one of other widths, or of a site that the model has not, is refused before its
    /// tensors are read, or fetched.
    pub fn load_for(files: &Files, source: &str, model: &Model, options: &LoadOptions, task: &Task) -> Result<Self> {
        Loader { files, options, model: Some(model), task }.load(source)
    }
}

/// Returns whether a source can be a path only.
fn is_relative(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

/// The loader of a dictionary, with its options and the model that it is for.
pub struct Loader<'a> {
    pub files: &'a Files,
    pub options: &'a LoadOptions,
    pub model: Option<&'a Model>,
    pub task: &'a Task,
}

impl Loader<'_> {
    fn load(&self, source: &str) -> Result<Sae> {
        let path = Path::new(source);
        match self.files.access().to_read(path) {
            Ok(place) if disk::is_dir(&place) => return self.folder(path),
            Ok(place) if disk::exists(&place) => return self.file(path),
            _ => {}
        }
        if is_relative(source) {
            return Err(self.no_path(source));
        }
        let settings = HubSettings::from_env();
        if let Some(name) = releases::on_hub(source)? {
            return self.hub(&settings, &name);
        }
        match Name::parse(source) {
            Ok(name) => {
                let missing = |error| releases::or_release(hub::nor_here(error), source);
                self.hub(&settings, &name).map_err(missing)
            }
            Err(_) => Err(self.no_path(source)),
        }
    }

    /// Makes the error that says why a path cannot be read, with the nearest name.
    fn no_path(&self, source: &str) -> Error {
        hub::neither(self.files, source, "expected a folder, a file, or a dictionary of the hub as `org/name/path`")
    }

    /// Loads a dictionary of a hub.
    pub fn hub(&self, settings: &HubSettings, name: &Name) -> Result<Sae> {
        let files = self.files;
        let task = self.task;
        let inside = name.file.clone().unwrap_or_default();
        if releases::is_canonical(&inside) && !hub::is_asked(files, settings) {
            return Err(err!(
                Network,
                "which dictionary of {name} is canonical is seen in the list of all, on the hub"
            )
            .hint("name the one that you mean by its L0, or allow requests to the hub"));
        }
        let choose = |listed: &[String]| self.chosen(&inside, listed, &name.repo());
        let origin = |found: &DictionaryFiles| match found.place.as_str() {
            "" => name.repo(),
            place => format!("{}/{place}", name.repo()),
        };
        if self.model.is_some() {
            // The config is small, and the header of a file of tensors says the widths.
            let found = RefCell::new(None);
            let noted = |listed: &[String]| {
                let one = choose(listed)?;
                let config = one.config.iter().cloned().collect();
                found.replace(Some(one));
                Ok(config)
            };
            let snapshot = hub::fetch_files(files, task, settings, name, &noted)?;
            if let Some(found) = found.take()
                && let Some(header) = hub::header(files, task, settings, name, &snapshot.commit, &found.weights)?
            {
                self.look(&snapshot.folder, &found, &origin(&found), header)?;
            }
        }
        let wanted = |listed: &[String]| Ok(choose(listed)?.files().cloned().collect::<BTreeSet<String>>());
        let snapshot = hub::fetch_files(files, task, settings, name, &wanted)?;
        let found = choose(&below(files, &snapshot.folder, task)?)?;
        self.open(&snapshot.folder, &found, &origin(&found))
    }

    fn folder(&self, path: &Path) -> Result<Sae> {
        let shown = path.display().to_string();
        let found = self.chosen("", &below(self.files, path, self.task)?, &shown)?;
        let origin = match found.place.as_str() {
            "" => shown,
            place => path.join(place).display().to_string(),
        };
        self.open(path, &found, &origin)
    }

    /// Finds the one dictionary that is meant: at `inside`, or the only one there is below it.
    fn chosen(&self, inside: &str, listed: &[String], label: &str) -> Result<DictionaryFiles> {
        let mut all = find::all(listed);
        all.retain(|found| self.options.format.is_none_or(|format| found.format == format));
        let inside = inside.trim_end_matches('/');
        let canonical = releases::canonical(inside, all.iter().map(|found| found.place.as_str()))?;
        let inside = canonical.as_deref().unwrap_or(inside);
        let below =
            |place: &str| inside.is_empty() || place.strip_prefix(inside).is_some_and(|rest| rest.starts_with('/'));
        let here = all.iter().filter(|found| found.place == inside || found.weights == inside);
        let exact: Vec<&DictionaryFiles> = here.collect();
        let within: Vec<&DictionaryFiles> = all.iter().filter(|found| below(&found.place)).collect();
        match (exact.as_slice(), within.as_slice()) {
            ([one], _) | ([], [one]) => Ok((*one).clone()),
            ([], []) if find::crosses_layers(inside, listed) => {
                Err(err!(File, "expected a dictionary of one site in {label}, found a cross-layer one in {inside}")
                    .hint(format!("sae::transcoders(\"{label}/{inside}\") reads cross-layer transcoders")))
            }
            ([], []) => Err(none(inside, &all, self.options.format, label)),
            ([], several) => Err(err!(Argument, "expected one dictionary, found {} in {label}", several.len())
                .hint(format!("choose one as `{label}/PATH`: {}", places(several)))),
            (several, _) => {
                let formats: Vec<&str> = several.iter().map(|found| found.format.word()).collect();
                Err(err!(Argument, "expected one dictionary in {label}, found several in one place")
                    .hint(format!("choose one by its format: {}", formats.join(", "))))
            }
        }
    }

    /// Loads the dictionary of one file, with its config beside it.
    fn file(&self, path: &Path) -> Result<Sae> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let beside: Vec<String> = self.files.names(folder).into_iter().filter(|name| !name.ends_with('/')).collect();
        let known = find::all(&beside).into_iter().find(|found| found.weights == name);
        let format = match (self.options.format, known) {
            (None, Some(found)) => found.format,
            (Some(format), _) => format,
            (None, None) => format_of(self.files, path, self.task)?,
        };
        let config = format.config().filter(|config| beside.iter().any(|name| name == config)).map(str::to_string);
        let found = DictionaryFiles { place: name.clone(), format, weights: name, config };
        self.open(folder, &found, &path.display().to_string())
    }

    /// Checks what the config and the header of a file of a hub say, without the file.
    fn look(&self, folder: &Path, found: &DictionaryFiles, origin: &str, header: Header) -> Result<()> {
        let config = match (&found.config, formats::said_in_metadata(found.format)) {
            (Some(config), _) => Some(self.files.text(&folder.join(config))?),
            (None, Some(key)) => header.metadata().get(key).cloned(),
            (None, None) => None,
        };
        let judge = |about: &About, d_in, d_out| self.judge(about, d_in, d_out);
        let beside =
            SideDescription { config: config.as_deref(), place: origin, ignore: &self.options.ignore, judge: &judge };
        formats::check(found.format, &beside, &HeaderOnly(header)).map_err(|e| placed(e, origin))
    }

    fn open(&self, folder: &Path, found: &DictionaryFiles, origin: &str) -> Result<Sae> {
        let weights = folder.join(&found.weights);
        let config = match (&found.config, formats::said_in_metadata(found.format)) {
            (Some(config), _) => Some(self.files.text(&folder.join(config))?),
            (None, Some(key)) => metadata(self.files, &weights, key).map_err(|e| e.within(origin))?,
            (None, None) => None,
        };
        let judge = |about: &About, d_in, d_out| self.judge(about, d_in, d_out);
        let beside =
            SideDescription { config: config.as_deref(), place: origin, ignore: &self.options.ignore, judge: &judge };
        let parts = with_source(self.files, &weights, self.task, |source| {
            formats::read(found.format, &beside, source, self.options.dtype.0, self.task)
        });
        Sae::new(parts.map_err(|e| placed(e, origin))?)
    }

    /// Refuses a dictionary that is none for the model.
    fn judge(&self, about: &About, d_in: usize, d_out: usize) -> Result<()> {
        self.model.map_or(Ok(()), |model| check_is_for(model, about, d_in, d_out))
    }
}

/// Adds the place of the dictionary to an error, unless it names it.
fn placed(error: Error, origin: &str) -> Error {
    if error.message.contains(origin) { error } else { error.within(origin) }
}

fn none(inside: &str, all: &[DictionaryFiles], format: Option<Format>, label: &str) -> Error {
    let kind = format.map(|format| format!(" of the format {}", format.word())).unwrap_or_default();
    let place = if inside.is_empty() { label.to_string() } else { format!("{label}/{inside}") };
    let error = err!(File, "expected a dictionary{kind} in {place}, found none");
    let near = names::nearest(inside, all.iter().map(|found| found.place.as_str()));
    match (near, all.is_empty()) {
        (Some(near), _) => error.hint(format!("did you mean `{label}/{near}`?")),
        (None, false) => error.hint(format!("{label} has {}", places(&all.iter().collect::<Vec<_>>()))),
        (None, true) => error.hint(
            "dictionaries are known by the names of their files: dictionary.safetensors, sae_weights.safetensors or \
             sae.safetensors with cfg.json, ae.pt with config.json, params.npz, layer_N.safetensors",
        ),
    }
}

fn places(found: &[&DictionaryFiles]) -> String {
    let more = if found.len() > LISTED { ", .." } else { "" };
    found.iter().take(LISTED).map(|found| found.place.as_str()).collect::<Vec<_>>().join(", ") + more
}

/// Lists the paths of files below a folder, in order.
fn below(files: &Files, folder: &Path, task: &Task) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((place, path, depth)) = waiting.pop() {
        task.check()?;
        for name in files.names(&place) {
            match name.strip_suffix('/') {
                Some(inner) if depth < DEEPEST => waiting.push((place.join(inner), format!("{path}{name}"), depth + 1)),
                Some(_) => {}
                None => found.push(format!("{path}{name}")),
            }
        }
        if found.len() > MOST {
            return Err(err!(
                File,
                "expected a folder with dictionaries, found more than {MOST} files in {}",
                folder.display()
            )
            .hint("name the folder of the dictionary itself"));
        }
    }
    found.sort();
    Ok(found)
}

/// Finds the format of a file by its tensors, where the name does not tell.
fn format_of(files: &Files, path: &Path, task: &Task) -> Result<Format> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let fitting = match ending {
        "safetensors" | "pt" | "pth" | "npz" => {
            with_source(files, path, task, |source| Ok(formats::fitting(&source.names())))?
        }
        _ => Vec::new(),
    };
    match fitting.as_slice() {
        [one] => Ok(*one),
        _ => {
            let all = Format::CHOICES.join(", ");
            Err(err!(Format, "expected a dictionary whose format its files say, found {}", path.display())
                .hint(format!("say the format: one of {all}")))
        }
    }
}

/// Reads what the metadata of a file of tensors says under a key.
fn metadata(files: &Files, path: &Path, key: &str) -> Result<Option<String>> {
    Ok(files.map_as(path, safetensors::SafetensorsFile::new)?.metadata().get(key).cloned())
}

/// Opens a file of tensors by its ending.
fn with_source<T>(
    files: &Files,
    path: &Path,
    task: &Task,
    read: impl FnOnce(&dyn TensorSource) -> Result<T>,
) -> Result<T> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npz") => {
            let map = files.map(path)?;
            read(&task.apart(move || npz::parse(&map))?)
        }
        Some("pt" | "pth") => read(&files.map_as(path, |map| pickle::PickleFile::new(map)?.weights())?),
        _ => {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
            let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
            read(&Shards::open(files, &folder, &[name], task)?)
        }
    }
}

/// A file of which only the header is here.
struct HeaderOnly(Header);

impl TensorSource for HeaderOnly {
    fn names(&self) -> Vec<String> {
        self.0.names().map(String::from).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name).map(<[usize]>::to_vec)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        Err(err!(Bug, "tensor `{name}` was asked for before its file was fetched"))
    }
}
