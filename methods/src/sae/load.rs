//! Loading dictionaries from a folder, a file, or the hub, in any known format.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Sae;
use super::formats::find::{self, DictionaryFiles};
use super::formats::{self, Beside, Format};
use crate::base::files::Files;
use crate::base::options::{Plain, Setting};
use crate::base::{Error, Result, Task, names};
use crate::err;
use crate::model::formats::pickle;
use crate::model::hub::{self, Name, Settings};
use crate::model::layout::TensorSource;
use crate::model::load::Shards;
use crate::tensor::files::{npz, safetensors};
use crate::tensor::{DType, Tensor, dtype};

/// Maximum depth below a folder at which dictionaries are searched.
const DEEPEST: usize = 5;

/// A folder with more files than this is not a folder of dictionaries.
const MOST: usize = 100_000;

/// How many of several dictionaries a message lists.
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
    /// How a dictionary is loaded.
    #[derive(Debug, Clone)]
    pub struct LoadOptions {
        /// The format.
        format: Option<Format> = None => usually("auto-detected");
        /// The dtype of the computation.
        dtype: FloatType = FloatType(DType::F32);
        /// Config keys to ignore.
        ignore: Vec<String> = Vec::new() => usually("none");
    }
}

crate::options! {
    /// How a dictionary is saved.
    #[derive(Debug, Clone)]
    pub struct SaveOptions {
        /// The format. Those of "gemma_scope", "circuit_tracer" and "tied" can be loaded, but not saved.
        format: Format = Format::Microtome;
    }
}

impl Sae {
    /// Loads the dictionary of a folder or a file, or of the hub where there is neither: `org/name`,
    /// `org/name/path/inside@revision`. Where there are several, the path inside selects one.
    pub fn load(files: &Files, source: &str, options: &LoadOptions, task: &Task) -> Result<Self> {
        let path = Path::new(source);
        let place = files.access().to_read(path);
        match &place {
            Ok(place) if place.is_dir() => return folder(files, path, options, task),
            Ok(place) if place.exists() => return file(files, path, options, task),
            _ => {}
        }
        let name = Name::parse(source).ok().filter(|_| !is_relative(source));
        match name {
            Some(name) => from_hub(files, &Settings::from_env(), &name, options, task).map_err(hub::nor_here),
            None => {
                // The error that says why it cannot be read, with the nearest name.
                let error = files.open(path).err().unwrap_or_else(|| err!(File, "cannot read {source}"));
                let hint = "expected a folder, a file, or a dictionary of the hub as `org/name/path`";
                Err(if error.hint.is_none() { error.hint(hint) } else { error })
            }
        }
    }
}

/// Whether a source can be a path only.
fn is_relative(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

/// Loads a dictionary of a hub.
pub fn from_hub(files: &Files, settings: &Settings, name: &Name, options: &LoadOptions, task: &Task) -> Result<Sae> {
    let inside = name.file.clone().unwrap_or_default();
    let choose = |listed: &[String]| chosen(&inside, listed, options.format, &name.repo());
    let wanted = |listed: &[String]| Ok(choose(listed)?.files().cloned().collect::<BTreeSet<String>>());
    let snapshot = hub::fetch_files(files, task, settings, name, &wanted)?;
    let listed = below(files, &snapshot.folder, task)?;
    let found = choose(&listed)?;
    let origin = match found.place.as_str() {
        "" => name.repo(),
        place => format!("{}/{place}", name.repo()),
    };
    open(files, &snapshot.folder, &found, &origin, options, task)
}

fn folder(files: &Files, path: &Path, options: &LoadOptions, task: &Task) -> Result<Sae> {
    let shown = path.display().to_string();
    let found = chosen("", &below(files, path, task)?, options.format, &shown)?;
    let origin = match found.place.as_str() {
        "" => shown,
        place => path.join(place).display().to_string(),
    };
    open(files, path, &found, &origin, options, task)
}

/// The one dictionary that is meant: at `inside`, or the only one there is below it.
fn chosen(inside: &str, listed: &[String], format: Option<Format>, label: &str) -> Result<DictionaryFiles> {
    let inside = inside.trim_end_matches('/');
    let mut all = find::all(listed);
    all.retain(|found| format.is_none_or(|format| found.format == format));
    let below = |place: &str| inside.is_empty() || place.strip_prefix(inside).is_some_and(|rest| rest.starts_with('/'));
    let here = all.iter().filter(|found| found.place == inside || found.weights == inside);
    let exact: Vec<&DictionaryFiles> = here.collect();
    let within: Vec<&DictionaryFiles> = all.iter().filter(|found| below(&found.place)).collect();
    match (exact.as_slice(), within.as_slice()) {
        ([one], _) | ([], [one]) => Ok((*one).clone()),
        ([], []) => Err(none(inside, &all, format, label)),
        ([], several) => Err(err!(Argument, "expected one dictionary, found {} in {label}", several.len())
            .hint(format!("choose one as `{label}/PATH`: {}", places(several)))),
        (several, _) => {
            let formats: Vec<&str> = several.iter().map(|found| found.format.word()).collect();
            Err(err!(Argument, "expected one dictionary in {label}, found several in one place")
                .hint(format!("choose one by its format: {}", formats.join(", "))))
        }
    }
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

/// The paths of files below a folder, in order.
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

/// Loads the dictionary of one file, with its config beside it.
fn file(files: &Files, path: &Path, options: &LoadOptions, task: &Task) -> Result<Sae> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
    let beside: Vec<String> = files.names(folder).into_iter().filter(|name| !name.ends_with('/')).collect();
    let known = find::all(&beside).into_iter().find(|found| found.weights == name);
    let format = match (options.format, known) {
        (None, Some(found)) => found.format,
        (Some(format), _) => format,
        (None, None) => format_of(files, path, task)?,
    };
    let config = format.config().filter(|config| beside.iter().any(|name| name == config)).map(str::to_string);
    let found = DictionaryFiles { place: name.clone(), format, weights: name, config };
    open(files, folder, &found, &path.display().to_string(), options, task)
}

/// The format of a file by its tensors, where the name does not tell.
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

fn open(
    files: &Files,
    folder: &Path,
    found: &DictionaryFiles,
    origin: &str,
    options: &LoadOptions,
    task: &Task,
) -> Result<Sae> {
    let config = match (&found.config, formats::said_in_metadata(found.format)) {
        (Some(config), _) => Some(files.text(&folder.join(config))?),
        (None, Some(key)) => metadata(files, &folder.join(&found.weights), key).map_err(|e| e.within(origin))?,
        (None, None) => None,
    };
    let beside = Beside { config: config.as_deref(), place: origin, ignore: &options.ignore };
    let parts = with_source(files, &folder.join(&found.weights), task, |source| {
        formats::read(found.format, &beside, source, options.dtype.0, task)
    });
    let parts = parts.map_err(|e| if e.message.contains(origin) { e } else { e.within(origin) })?;
    Sae::new(parts)
}

/// What the metadata of a file of tensors says under a key.
fn metadata(files: &Files, path: &Path, key: &str) -> Result<Option<String>> {
    Ok(safetensors::Reader::new(files.map(path)?)?.metadata().get(key).cloned())
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
            read(&Arrays(task.apart(move || npz::parse(&map))?))
        }
        Some("pt" | "pth") => {
            let map = files.map(path)?;
            read(&pickle::File::new(&map)?.weights()?)
        }
        _ => {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
            let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
            read(&Shards::open(files, &folder, &[name], task)?)
        }
    }
}

/// Tensors that were read together.
struct Arrays(BTreeMap<String, Tensor>);

impl TensorSource for Arrays {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.get(name)?.dims().to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.0.get(name).cloned().ok_or_else(|| err!(Name, "this file has no array `{name}`"))
    }
}
