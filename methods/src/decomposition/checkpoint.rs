//! The checkpoint of a fit of a decomposition: parameters, moments, losses, and what identifies the fit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::options::FitOptions;
use super::state::{FitState, StepLosses};
use super::target::Target;
use crate::base::Result;
use crate::err;
use crate::tensor::files::NamedTensors;
use crate::tensor::{Device, Tensor, floats};
use crate::training::{CheckpointFormat, CheckpointReader, with_way_out};

pub const FORMAT: CheckpointFormat = CheckpointFormat {
    file: "decomposition.safetensors",
    kind: "microtome fit of a decomposition, 1",
    of: "a fit of a decomposition",
};

/// The name of the losses among the tensors.
const HISTORY: &str = "history";

/// Identifies a fit: its target and its options.
pub fn identity<T: Target>(target: &T, options: &FitOptions) -> Result<Value> {
    Ok(json!({ "target": target.identity()?, "options": options.json() }))
}

pub fn saved(state: &FitState, identity: &Value) -> Result<NamedTensors> {
    let mut tensors = BTreeMap::new();
    state.parameters.iter().for_each(|parameter| parameter.save(&mut tensors));
    tensors.insert(HISTORY.into(), history(&state.history)?);
    Ok(NamedTensors { tensors, metadata: BTreeMap::from([("fit".into(), identity.to_string())]) })
}

pub fn restore(state: &mut FitState, identity: &Value, file: &CheckpointReader) -> Result<u64> {
    if file.metadata().get("fit") != Some(&identity.to_string()) {
        let error = err!(Argument, "the checkpoint there is of another network, or has other options");
        return Err(with_way_out(error, "the same network and options"));
    }
    state.history = read_history(&file.tensor(HISTORY)?)?;
    state.parameters.iter().try_for_each(|parameter| parameter.restore(file, ""))?;
    Ok(state.history.len() as u64)
}

/// Writes the losses of steps as a tensor `[steps, losses]`.
pub fn history(steps: &[StepLosses]) -> Result<Tensor> {
    let numbers: Vec<f64> = steps.iter().flat_map(StepLosses::numbers).collect();
    Ok(Tensor::from_vec(numbers, (steps.len(), StepLosses::NAMES.len()), &Device::Cpu)?)
}

/// Reads the losses of steps from a tensor `[steps, losses]`.
pub fn read_history(t: &Tensor) -> Result<Vec<StepLosses>> {
    let wide = StepLosses::NAMES.len();
    if t.rank() != 2 || t.dims()[1] != wide {
        return Err(err!(Format, "expected losses of the shape [steps, {wide}], found {:?}", t.dims()));
    }
    let numbers = floats(t)?;
    let (steps, _) = numbers.as_chunks();
    Ok(steps.iter().map(|step| StepLosses::from_numbers(*step)).collect())
}
