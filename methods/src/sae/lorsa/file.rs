//! The file of a Lorsa: its tensors in safetensors, with the rest in the metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{GroupMap, Lorsa, LorsaAbout, TENSORS};
use crate::base;
use crate::base::files::Files;
use crate::common::*;
use crate::model::config::Rotary;
use crate::sae::fit::kinds;
use crate::tensor::files::NamedTensors;

/// The kind of file, as its metadata has it.
const KIND: &str = "microtome lorsa, 1";
/// The key of the description.
const SAID: &str = "lorsa";

/// The description of a Lorsa in its file. What is not known is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    groups: usize,
    rotary: Option<Rotary>,
    score_scale: f64,
    norm_eps: f64,
    activation: String,
    k: Option<usize>,
    rescaled: bool,
    about: LorsaAbout,
}

impl Lorsa {
    /// Saves the Lorsa as safetensors; returns the path.
    pub fn save(&self, files: &Files, path: &Path) -> Result<PathBuf> {
        self.written()?.save(files, path)
    }

    /// Reads a Lorsa that was saved, and refuses what it does not understand.
    pub fn load_own(files: &Files, path: &Path) -> Result<Self> {
        let named = NamedTensors::load(files, path)?;
        Self::read(&named).map_err(|e| e.within(path.display()))
    }

    pub(super) fn written(&self) -> Result<NamedTensors> {
        let mut tensors = BTreeMap::new();
        let mut insert = |name: &str, tensor: &Tensor| -> Result<()> {
            tensors.insert(name.to_string(), tensor.to_device(&Device::Cpu)?.contiguous()?);
            Ok(())
        };
        for (name, tensor) in TENSORS.iter().zip(self.tensors()) {
            insert(name, tensor)?;
        }
        for (name, norm) in ["query_norm", "key_norm"].iter().zip(self.norms().into_iter().flatten()) {
            insert(name, norm)?;
        }
        for one in self.activation.tensors() {
            insert(one.name, one.tensor)?;
        }
        let described = Described {
            groups: self.groups,
            rotary: self.turning.as_ref().map(|turning| turning.rotary.clone()),
            score_scale: self.score_scale,
            norm_eps: self.norm_eps,
            activation: self.activation.name().into(),
            k: self.activation.most(),
            rescaled: self.rescaled,
            about: self.about.clone(),
        };
        let said = serde_json::to_string(&described).map_err(|e| err!(Bug, "a Lorsa that cannot be written: {e}"))?;
        Ok(NamedTensors { tensors, metadata: BTreeMap::from([("kind".into(), KIND.into()), (SAID.into(), said)]) })
    }

    pub(super) fn read(named: &NamedTensors) -> Result<Self> {
        let said = |key: &str| named.metadata.get(key).map(String::as_str);
        if said("kind") != Some(KIND) {
            return Err(
                err!(Format, "expected a Lorsa (`{KIND}`), found another file").hint("`l.save(path)` writes one")
            );
        }
        let said = said(SAID).ok_or_else(|| err!(Format, "expected `{SAID}` in the metadata, found none"))?;
        let described: Described =
            base::json::read(said.as_bytes(), |e| err!(Format, "the metadata of the Lorsa: {e}"))?;
        let maybe = |name: &str| named.tensors.get(name).cloned();
        let take = |name: &str| maybe(name).ok_or_else(|| err!(Format, "expected the tensor `{name}`, found none"));
        let activation = kinds::activation(&described.activation, described.k, kinds::no_k, |name, _| take(name))?;
        let known = TENSORS.iter().copied().chain(["query_norm", "key_norm"]);
        let own: Vec<&str> = known.chain(activation.tensors().into_iter().map(|one| one.name)).collect();
        if let Some(stray) = named.tensors.keys().find(|name| !own.contains(&name.as_str())) {
            return Err(err!(Format, "found a tensor that a Lorsa does not have: `{stray}`"));
        }
        let map = |name: &str, bias: &str, norm: &str| -> Result<GroupMap> {
            Ok(GroupMap { weight: take(name)?, bias: take(bias)?, norm: maybe(norm) })
        };
        Self {
            queries: map("queries", "query_bias", "query_norm")?,
            keys: map("keys", "key_bias", "key_norm")?,
            values: take("values")?,
            value_bias: take("value_bias")?,
            decoder: take("decoder")?,
            decoder_bias: take("decoder_bias")?,
            groups: described.groups,
            turning: described.rotary.map(Into::into),
            score_scale: described.score_scale,
            norm_eps: described.norm_eps,
            rescaled: described.rescaled,
            about: described.about,
            activation,
        }
        .check()
    }
}
