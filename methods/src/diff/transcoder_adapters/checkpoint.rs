//! The checkpoint of a fit of transcoder adapters: parameters, moments, losses, and what identifies the fit.

use std::collections::BTreeMap;

use serde_json::Value;

use super::loss::StepLosses;
use crate::base::Result;
use crate::err;
use crate::tensor::files::NamedTensors;
use crate::tensor::{Device, Tensor, floats};
use crate::training::{CheckpointFormat, CheckpointReader, Parameter, with_way_out};

pub const FORMAT: CheckpointFormat = CheckpointFormat {
    file: "adapters.safetensors",
    kind: "microtome fit of transcoder adapters, 1",
    of: "a fit of transcoder adapters",
};

/// The name of the losses among the tensors.
const HISTORY: &str = "history";

pub fn saved(parameters: &[Parameter<String>], losses: &[StepLosses], identity: &Value) -> Result<NamedTensors> {
    let mut tensors = BTreeMap::new();
    parameters.iter().for_each(|parameter| parameter.save(&mut tensors));
    let numbers: Vec<f64> = losses.iter().flat_map(StepLosses::numbers).collect();
    let history = Tensor::from_vec(numbers, (losses.len(), StepLosses::NAMES.len()), &Device::Cpu)?;
    tensors.insert(HISTORY.into(), history);
    Ok(NamedTensors { tensors, metadata: BTreeMap::from([("fit".into(), identity.to_string())]) })
}

/// Restores the parameters, and returns the losses of the steps made.
pub fn restored(
    parameters: &[Parameter<String>],
    identity: &Value,
    file: &CheckpointReader,
) -> Result<Vec<StepLosses>> {
    if file.metadata().get("fit") != Some(&identity.to_string()) {
        let error = err!(Argument, "the checkpoint there is of other models or another text, or has other options");
        return Err(with_way_out(error, "the same models, text and options"));
    }
    let history = file.tensor(HISTORY)?;
    let wide = StepLosses::NAMES.len();
    if history.rank() != 2 || history.dims()[1] != wide {
        return Err(err!(Format, "expected losses of the shape [steps, {wide}], found {:?}", history.dims()));
    }
    parameters.iter().try_for_each(|parameter| parameter.restore(file, ""))?;
    let numbers = floats(&history)?;
    let (steps, _) = numbers.as_chunks();
    Ok(steps.iter().map(|step| StepLosses::of(*step)).collect())
}
