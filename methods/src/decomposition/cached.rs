//! Decompositions that are fitted, or that the cache has: one whose fit has ended is not fitted again.

use super::fit::{Fitted, fit};
use super::network::{Network, NetworkTarget, SparseInputs};
use super::options::FitOptions;
use super::result::{Decomposed, Decomposition};
use super::target::Target;
use crate::common::*;
use crate::model::ModelName;
use crate::sae::cached::FitKey;
use crate::sae::fit::FitStorage;

/// The words by which the list of the cache shows a decomposition.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    pub models: Vec<ModelName>,
    /// Name of what was decomposed: "the MLP of layer 3".
    pub site: String,
    /// The inputs of the fit.
    pub text: String,
}

impl Decomposition {
    /// Decomposes the matrices of a network, or loads what the cache has of the same fit.
    pub fn of_network(
        network: &Network,
        inputs: &SparseInputs,
        options: &FitOptions,
        storage: &FitStorage,
        task: &Task,
    ) -> Result<Self> {
        let target = NetworkTarget::new(network, inputs, options.seed.draws());
        let of = Decomposed::Network(network.clone());
        let entry = CacheEntry { models: Vec::new(), site: "a network".into(), text: "sparse numbers".into() };
        Self::fitted(&target, of, options, entry, storage, task)
    }

    /// Fits the parts of a target, or loads what the cache has of the same fit. A fit with a folder for checkpoints is not
    /// cached, and neither is one that was interrupted.
    pub(super) fn fitted<T: Target>(
        target: &T,
        of: Decomposed,
        options: &FitOptions,
        entry: CacheEntry,
        storage: &FitStorage,
        task: &Task,
    ) -> Result<Self> {
        let made_anew = |of| -> Result<Self> {
            let Fitted { parts, history, is_whole } = fit(target, options, storage.checkpoint(Path::new("")), task)?;
            Ok(Self { parts, matrices: target.matrices().to_vec(), of, history, options: options.json(), is_whole })
        };
        let Some(cache) = storage.call_cache(task) else { return made_anew(of) };
        let device = target.matrices().first().map_or(Device::Cpu, |matrix| matrix.weight.device().clone());
        let mut recipe = options.json();
        recipe["kind"] = json!("parts");
        let identity = json!({
            "reads": { "sites": entry.site, "text": { "name": entry.text } },
            "target": target.identity()?,
            "recipe": recipe,
            "d_sae": options.parts,
        });
        let key = FitKey::of_identity(identity, entry.models, &device, &entry.site);
        let found = cache.find(&key, |cache| cache.find_tensors(&key)?.map(|named| Self::read(&named)).transpose())?;
        if let Some(found) = found {
            cache.tell(&format!("the parts of {}", key.site()));
            // It counts as the piece of work that it saves, so that numbers of pieces do not depend on the cache.
            let _piece = task.piece();
            return Self { of, ..found }.to_device(&device);
        }
        let made = made_anew(of)?;
        if made.is_whole {
            cache.put(&key, |cache| cache.put_tensors(&key, made.written()?));
        }
        Ok(made)
    }
}
