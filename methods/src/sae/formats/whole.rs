//! The format of this program: one file of tensors, with the rest in its metadata. It holds every dictionary, bit for
//! bit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::SideDescription;
use super::own::OwnMetadata;
use super::reading::finite;
use crate::base;
use crate::checkpoint::family::keys::Keys;
use crate::common::*;
use crate::model::layout::TensorSource;
use crate::sae::fit::kinds;
use crate::sae::{About, Parts, Scaling, tensors};

/// The file of a dictionary in its folder.
pub const FILE: &str = "dictionary.safetensors";
/// The metadata key that describes the tensors.
pub const SAID: &str = "dictionary";
/// The kind of file, as its metadata has it.
const VERSION: &str = "microtome dictionary, 1";

const SCALINGS: [(&str, Scaling); 3] =
    [("none", Scaling::None), ("constant_norm", Scaling::ConstantNorm), ("layer_norm", Scaling::LayerNorm)];

/// Returns the tensors of a dictionary, and the content of the metadata.
pub fn written(parts: &Parts) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, String>)> {
    let scaling = SCALINGS.iter().find(|(_, scaling)| *scaling == parts.scaling).map(|(name, _)| *name);
    let said = json!({
        "version": VERSION, "activation": parts.activation.name(), "k": parts.activation.most(), "centred": parts.centred,
        "rescaled": parts.rescaled, "scaling": scaling,
        "about": OwnMetadata { about: parts.about.clone(), absent: Vec::new() }.to_json(),
    });
    let mut tensors = BTreeMap::new();
    for (name, tensor) in named(parts) {
        tensors.insert(name.to_string(), tensor.to_device(&Device::Cpu)?.contiguous()?);
    }
    Ok((tensors, BTreeMap::from([(SAID.to_string(), said.to_string())])))
}

fn named(parts: &Parts) -> Vec<(&'static str, &Tensor)> {
    let mut all = vec![("encoder", &parts.encoder), ("decoder", &parts.decoder)];
    all.extend(parts.encoder_bias.as_ref().map(|bias| ("encoder_bias", bias)));
    all.extend(parts.decoder_bias.as_ref().map(|bias| ("decoder_bias", bias)));
    all.extend(parts.skip.as_ref().map(|skip| ("skip", skip)));
    all.extend(parts.activation.tensors().into_iter().map(|one| (one.name, one.tensor)));
    all
}

/// The description of a dictionary in the metadata.
struct MetadataDescription<'a> {
    keys: Keys<'a>,
    about: About,
}

impl<'a> MetadataDescription<'a> {
    fn of(said: &'a Value) -> Result<Self> {
        let mut keys = Keys::new(said)?;
        match keys.word("version")? {
            Some(VERSION) => {}
            found => {
                return Err(err!(Format, "expected the version `{VERSION}`, found {found:?}")
                    .hint("it was written by a later version of microtome, or by something else"));
            }
        }
        let about = keys.value("about").ok_or_else(|| err!(Format, "expected the key `about`, found none"))?;
        Ok(Self { about: OwnMetadata::from_json(about)?.about, keys })
    }
}

/// Reads the metadata of a file as JSON.
fn metadata(beside: &SideDescription) -> Result<Value> {
    let Some(said) = beside.config else {
        return Err(err!(Format, "expected `{SAID}` in the metadata of the file, found none")
            .hint("our own format describes its tensors there; is the file of another format?"));
    };
    base::json::read(said.as_bytes(), |e| err!(Format, "its metadata: {e}"))
}

/// Checks what the metadata says and the widths of the tensors that a file lists, which are not read.
pub fn check(beside: &SideDescription, source: &dyn TensorSource) -> Result<()> {
    judged(&MetadataDescription::of(&metadata(beside)?)?.about, beside, source)
}

fn judged(about: &About, beside: &SideDescription, source: &dyn TensorSource) -> Result<()> {
    let width = |name: &str| source.shape(name).and_then(|shape| shape.get(1).copied());
    // A file without these matrices is refused where they are read.
    match (width("encoder"), width("decoder")) {
        (Some(d_in), Some(d_out)) => (beside.judge)(about, d_in, d_out),
        _ => Ok(()),
    }
}

/// Reads a dictionary; `beside.config` is what its metadata says.
pub fn read(beside: &SideDescription, source: &dyn TensorSource, wanted: DType, task: &Task) -> Result<Parts> {
    let said = metadata(beside)?;
    let MetadataDescription { mut keys, about } = MetadataDescription::of(&said)?;
    judged(&about, beside, source)?;
    memory::check(tensors::bytes(source, source.names(), wanted), || format!("the dictionary {}", beside.place))?;
    let mut take = WholeReader { source, wanted, task, known: BTreeSet::new() };
    let k = keys.maybe_size("k", None)?;
    let name = keys.word("activation")?.ok_or_else(|| err!(Format, "expected an `activation`, found none"))?;
    let activation = kinds::activation(name, k, kinds::no_k, |name, _| take.needed(name))?;
    let scaling = keys.word("scaling")?;
    let scaling = SCALINGS.iter().find(|(name, _)| Some(*name) == scaling).map(|(_, scaling)| *scaling);
    let parts = Parts {
        encoder: take.needed("encoder")?,
        encoder_bias: take.maybe("encoder_bias")?,
        activation,
        decoder: take.needed("decoder")?,
        decoder_bias: take.maybe("decoder_bias")?,
        centred: keys.flag("centred", false)?,
        rescaled: keys.flag("rescaled", false)?,
        skip: take.maybe("skip")?,
        scaling: scaling.ok_or_else(|| err!(Format, "expected a known `scaling`, found {}", said["scaling"]))?,
        about,
    };
    keys.finish_beside(&[], beside.ignore)?;
    let hint = "the dictionary would compute something else without it";
    tensors::refuse_strays(source.names(), |name| take.known.contains(name), "such a dictionary does", hint)?;
    parts.check()?;
    Ok(parts)
}

struct WholeReader<'a> {
    source: &'a dyn TensorSource,
    wanted: DType,
    task: &'a Task,
    /// The tensors that have been read.
    known: BTreeSet<&'static str>,
}

impl WholeReader<'_> {
    fn maybe(&mut self, name: &'static str) -> Result<Option<Tensor>> {
        self.known.insert(name);
        self.task.check()?;
        if self.source.shape(name).is_none() {
            return Ok(None);
        }
        let tensor = self.source.tensor_as(name, self.wanted)?;
        finite(name, &tensor)?;
        Ok(Some(tensor))
    }

    fn needed(&mut self, name: &'static str) -> Result<Tensor> {
        self.maybe(name)?.ok_or_else(|| err!(Format, "expected a tensor `{name}`, found none of that name"))
    }
}
