//! Checkpoints of fits by descent, each with what identifies its fit.

use super::adam::Parameter;
use super::checkpoint::{CheckpointFolder, CheckpointFormat, CheckpointReader, Checkpoints, with_way_out};
use super::losses::{LossRecord, losses_in_tensor, losses_of_tensor};
use crate::common::*;
use crate::tensor::Tensor;
use crate::tensor::files::NamedTensors;

/// Key of the metadata for what identifies the fit.
const FIT: &str = "fit";

/// Name of the losses among the tensors.
const LOSSES: &str = "history";

/// Checkpoints of one fit: no other one resumes them.
pub struct FitCheckpoints<'a> {
    pub files: Checkpoints<'a>,
    /// Model, data and options of the fit.
    identity: String,
}

impl<'a> FitCheckpoints<'a> {
    /// Locks the folder, and then asks what identifies the fit.
    pub fn open(
        folder: CheckpointFolder<'a>,
        format: &'static CheckpointFormat,
        identity: impl FnOnce() -> Result<Value>,
    ) -> Result<Self> {
        Ok(Self { files: Checkpoints::open(folder, format)?, identity: identity()?.to_string() })
    }

    /// Reads the checkpoint, if there is one; `restore` returns its step. Refuses that of another fit: `other` is what
    /// it may be of, "another text", and `same` what has to be given to resume it, "the same text".
    pub fn resume(
        &mut self,
        other: &str,
        same: &str,
        restore: impl FnOnce(&CheckpointReader) -> Result<u64>,
    ) -> Result<()> {
        if !self.files.has_one()? {
            return Ok(());
        }
        let identity = &self.identity;
        self.files.resume(|file| {
            if file.metadata().get(FIT) != Some(identity) {
                let error = err!(Argument, "the checkpoint there is of {other}, or has other options");
                return Err(with_way_out(error, &format!("{same} and options")));
            }
            restore(file)
        })
    }

    /// Saves the state after this step, unless that was done.
    pub fn save(&mut self, step: u64, tensors: impl FnOnce() -> Result<BTreeMap<String, Tensor>>) -> Result<()> {
        let metadata = BTreeMap::from([(FIT.into(), self.identity.clone())]);
        self.files.save(step, || Ok(NamedTensors { tensors: tensors()?, metadata }))
    }

    /// Restores parameters from the checkpoint, if there is one, and returns the losses of the steps made; refuses that
    /// of another fit as [`FitCheckpoints::resume`] does.
    pub fn resume_parameters<const N: usize, S: LossRecord<N>>(
        &mut self,
        other: &str,
        same: &str,
        parameters: &[Parameter<String>],
    ) -> Result<Option<Vec<S>>> {
        let mut losses = None;
        self.resume(other, same, |file| {
            let found: Vec<S> = losses_of_tensor(&file.tensor(LOSSES)?)?;
            parameters.iter().try_for_each(|parameter| parameter.restore(file, ""))?;
            let step = found.len() as u64;
            losses = Some(found);
            Ok(step)
        })?;
        Ok(losses)
    }

    /// Saves parameters after so many steps as there are losses, unless that was done.
    pub fn save_parameters<const N: usize, S: LossRecord<N>>(
        &mut self,
        parameters: &[Parameter<String>],
        losses: &[S],
    ) -> Result<()> {
        self.save(losses.len() as u64, || {
            let mut tensors = BTreeMap::from([(LOSSES.to_string(), losses_in_tensor(losses)?)]);
            parameters.iter().for_each(|parameter| parameter.save(&mut tensors));
            Ok(tensors)
        })
    }
}
