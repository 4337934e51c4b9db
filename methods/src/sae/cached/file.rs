//! Files of cached fits: tensors, with the history of the fit among them, followed by the SHA-256 of all bytes before
//! it in hexadecimal digits. The tensors of a dictionary are those of our own format.

use std::collections::BTreeMap;
use std::io::Write;

use sha2::{Digest, Sha256};

use super::key::FitKey;
use super::transcoders;
use crate::base::cache::{halves, unsealed};
use crate::base::files::hex;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::fit::history::{self, FitHistory};
use crate::sae::fit::{FitProduct, FitResult};
use crate::sae::formats::{self, Format, SideDescription};
use crate::sae::{Parts, Sae};
use crate::tensor::files::{NamedTensors, safetensors};

/// The tensor of the history among those of the dictionary.
const HISTORY: &str = "history";
/// Keys of the metadata: the cache key, the name of the model, and the rows in a step.
pub(super) const KEY: &str = "key";
pub(super) const MODEL: &str = "model";
const ROWS_PER_STEP: &str = "rows_per_step";

/// The name of such a file in errors.
const WHAT: &str = "a cached dictionary";

/// A file of the cache whose bytes are those that were written.
pub(super) type CachedFile<'a> = safetensors::SafetensorsFile<&'a [u8]>;

/// Returns the tensors and the metadata of what a fit made, with its history.
pub(super) fn tensors(made: &FitProduct, history: &FitHistory) -> Result<NamedTensors> {
    let NamedTensors { mut tensors, mut metadata } = match made {
        FitProduct::Dictionary(sae) => {
            let written = formats::write(Format::Microtome, sae.parts())?;
            NamedTensors { tensors: written.tensors.1, metadata: written.metadata }
        }
        FitProduct::CrossLayer(made) => transcoders::written(made)?,
    };
    tensors.insert(HISTORY.into(), history::to_tensor(history)?);
    metadata.insert(ROWS_PER_STEP.into(), history.read_per_step.to_string());
    Ok(NamedTensors { tensors, metadata })
}

/// Adds the key and the names of the models to the metadata of a file.
pub(super) fn marked(mut named: NamedTensors, key: &FitKey) -> NamedTensors {
    named.metadata.insert(KEY.into(), key.text().into());
    named.metadata.insert(MODEL.into(), ModelName::joined(key.models()));
    named
}

/// Writes the tensors, followed by the hash.
pub(super) fn write(named: &NamedTensors, to: &mut dyn Write) -> Result<()> {
    let mut hashing = HashingWriter { to, hash: Sha256::new() };
    safetensors::write(named, &mut hashing)?;
    let digits = hex(&hashing.hash.finalize());
    to.write_all(digits.as_bytes()).map_err(|e| err!(File, "cannot write a cached dictionary: {e}"))
}

struct HashingWriter<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Opens what was cached under a key, and refuses it unless it is bit for bit what was written.
pub(super) fn opened<'a>(bytes: &'a [u8], key: &FitKey) -> Result<CachedFile<'a>> {
    let content = unsealed(bytes, WHAT, |content| hex(&Sha256::digest(content)))?;
    let file = safetensors::SafetensorsFile::new(content)?;
    if file.metadata().get(KEY).is_none_or(|text| text != key.text()) {
        return Err(err!(Format, "expected the dictionary of this key, found another"));
    }
    Ok(file)
}

/// Reads what a fit made, with its history.
pub(super) fn product(file: &CachedFile, key: &FitKey, task: &Task) -> Result<FitResult> {
    let rows = file.metadata().get(ROWS_PER_STEP).and_then(|rows| rows.parse().ok());
    let rows = rows.ok_or_else(|| err!(Format, "expected `{ROWS_PER_STEP}` in the metadata, found none"))?;
    let history = history::from_tensor(&file.tensor(HISTORY)?, rows)?;
    let stored = CachedTensors(file);
    let made = match stored.value(transcoders::SAID) {
        Some(said) => FitProduct::CrossLayer(transcoders::read(&stored, said, key.models(), task)?),
        None => FitProduct::Dictionary(dictionary(&stored, key.models(), task)?),
    };
    Ok(FitResult { made, history, is_whole: true, failed: None })
}

/// Reads a dictionary. `models` are the names that the models have now: their weights may have been loaded from elsewhere.
fn dictionary(stored: &CachedTensors, models: &[ModelName], task: &Task) -> Result<Sae> {
    let mut parts = parts(stored, task)?;
    parts.about.models = models.to_vec();
    Sae::new(parts)
}

fn parts(stored: &CachedTensors, task: &Task) -> Result<Parts> {
    let config = formats::said_in_metadata(Format::Microtome).and_then(|key| stored.value(key));
    let beside = SideDescription { config, place: "what is kept", ignore: &[], judge: &|_, _, _| Ok(()) };
    formats::read(Format::Microtome, &beside, stored, DType::F32, task)
}

/// Reads the metadata of a dictionary's file, without its tensors.
pub(super) fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    Ok(safetensors::SafetensorsFile::new(halves(bytes, WHAT)?.0)?.metadata().clone())
}

/// The tensors of a cached file without those of its history.
pub(super) struct CachedTensors<'a>(&'a safetensors::SafetensorsFile<&'a [u8]>);

impl CachedTensors<'_> {
    /// Returns the metadata under a key.
    fn value(&self, key: &str) -> Option<&str> {
        self.0.metadata().get(key).map(String::as_str)
    }
}

impl TensorSource for CachedTensors<'_> {
    fn names(&self) -> Vec<String> {
        self.0.names().filter(|name| *name != HISTORY).map(String::from).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name).map(<[usize]>::to_vec)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.0.tensor(name)
    }
}
