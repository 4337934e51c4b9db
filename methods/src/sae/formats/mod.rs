//! Formats of dictionaries: a reader for each, and a writer for those that other libraries load.
//!
//! A reader turns a config and the path of a file into a description (`reading::FileStatements`) of a dictionary; the
//! table (`architecture::Architecture`) says which tensors it then has. What neither knows is refused by name.

pub(in crate::sae) mod architecture;
mod circuit_tracer;
mod dictionary_learning;
pub mod find;
mod gemma_scope;
mod own;
mod reading;
pub(super) mod saelens;
pub(super) mod saelens_keys;
pub(in crate::sae) mod sites;
mod sparsify;
mod table;
mod whole;
mod writing;

use std::collections::BTreeMap;

use serde_json::Value;

use super::about::About;
use super::parts::Parts;
use crate::base::{self, names};
use crate::common::*;
use crate::model::layout::TensorSource;

pub use architecture::Format;
pub(super) use circuit_tracer::{TopK, top_k, top_level};
pub(super) use gemma_scope::{second_model as scope_model, second_model_of as scope_model_of};
use reading::FileStatements;
pub(super) use sites::{is_before_weights, parse as parsed_site};
use writing::FormatTensors;

/// Looks at what a file says of itself, and at the widths that it reads and writes, before its weights are read.
pub type HeaderCheck<'a> = dyn Fn(&About, usize, usize) -> Result<()> + 'a;

/// The description of a dictionary beside its tensors.
pub struct SideDescription<'a> {
    /// The text of its config, or of the metadata in its place.
    pub config: Option<&'a str>,
    /// Path of the dictionary, which may name the site that it reads: a path, or `org/name/path`.
    pub place: &'a str,
    /// Config keys to ignore.
    pub ignore: &'a [String],
    /// Refuses a dictionary by what it says and by the widths that it reads and writes, before its tensors are read.
    pub judge: &'a HeaderCheck<'a>,
}

/// Reads a dictionary.
pub fn read(
    format: Format,
    beside: &SideDescription,
    source: &dyn TensorSource,
    wanted: DType,
    task: &Task,
) -> Result<Parts> {
    match format {
        Format::Microtome => whole::read(beside, source, wanted, task),
        _ => reading::parts(statements(format, beside, source)?, source, wanted, beside, task),
    }
}

/// Checks a dictionary as far as is known before its tensors are read.
pub fn check(format: Format, beside: &SideDescription, source: &dyn TensorSource) -> Result<()> {
    match format {
        Format::Microtome => whole::check(beside, source),
        _ => reading::check(&statements(format, beside, source)?, source, beside),
    }
}

fn statements(format: Format, beside: &SideDescription, source: &dyn TensorSource) -> Result<FileStatements> {
    Ok(match format {
        Format::SaeLens => saelens::statements(&json(beside)?, beside.ignore)?,
        Format::DictionaryLearning => dictionary_learning::statements(beside, source)?,
        Format::Sparsify => sparsify::statements(&json(beside)?, beside, source)?,
        Format::GemmaScope => gemma_scope::statements(beside, source)?,
        Format::CircuitTracer => circuit_tracer::statements(beside, source)?,
        Format::Tied => FileStatements::new(row(format, "tied")?),
        Format::Microtome => return Err(err!(Bug, "our own format has its description in its metadata")),
    })
}

/// A dictionary as files of a format: the tensors with their metadata and the config, by their names.
pub struct FormatFiles {
    pub tensors: (&'static str, BTreeMap<String, Tensor>),
    pub metadata: BTreeMap<String, String>,
    /// Name and content of the config; None where the metadata says all.
    pub config: Option<(&'static str, Value)>,
}

/// Makes the files of a dictionary.
pub fn write(format: Format, parts: &Parts) -> Result<FormatFiles> {
    let config: fn(&FormatTensors, &Parts) -> Value = match format {
        Format::SaeLens => saelens::config,
        Format::DictionaryLearning => dictionary_learning::config,
        Format::Sparsify => sparsify::config,
        Format::Microtome => {
            let (tensors, metadata) = whole::written(parts)?;
            return Ok(FormatFiles { tensors: (whole::FILE, tensors), metadata, config: None });
        }
        Format::GemmaScope | Format::CircuitTracer | Format::Tied => {
            return Err(err!(Argument, "dictionaries of the format {} can be loaded, but not saved", format.word())
                .hint("save as microtome, saelens, dictionary_learning or sparsify"));
        }
    };
    let names = match format {
        Format::SaeLens => ("sae_weights.safetensors", "cfg.json"),
        Format::DictionaryLearning => ("ae.safetensors", "config.json"),
        _ => ("sae.safetensors", "cfg.json"),
    };
    let given = writing::named_tensors(format, parts)?;
    let config = config(&given, parts);
    // Other programs ask for this before they read the file.
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    Ok(FormatFiles { tensors: (names.0, given.tensors), metadata, config: Some((names.1, config)) })
}

/// Reads the config as JSON; these formats have one.
fn json(beside: &SideDescription) -> Result<Value> {
    match beside.config {
        Some(text) => base::json::read(text.as_bytes(), |e| err!(Format, "expected JSON in its config, found: {e}")),
        None => Err(err!(File, "expected a config beside the tensors, found none")
            .hint("it says what to compute with them; put it into the same folder")),
    }
}

/// Returns the metadata key with a config.
pub fn said_in_metadata(format: Format) -> Option<&'static str> {
    (format == Format::Microtome).then_some(whole::SAID)
}

/// Lists the formats that have an architecture with tensors of these names.
pub fn fitting(names: &[String]) -> Vec<Format> {
    let fits = |format: &Format| table::of(*format).any(|row| row.may_hold(names));
    Format::ALL.iter().map(|(_, format)| *format).filter(fits).collect()
}

/// Finds the architecture of a name.
fn row(format: Format, name: &str) -> Result<&'static architecture::Architecture> {
    let all = table::of(format);
    all.clone().find(|row| row.name == name).ok_or_else(|| {
        err!(Format, "the architecture `{name}` of {} is not known here", format.word())
            .maybe_hint(names::suggestion(name, all.map(|row| row.name)))
    })
}

/// Returns torch's name of a dtype.
fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    }
}
