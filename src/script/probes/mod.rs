//! `probe::` and the methods of probes.

mod functions;
mod methods;

use crate::probes::judge::JudgeProbeOptions;
use crate::probes::selectivity::SelectivityOptions;
use crate::probes::split::SplitOptions;
use crate::probes::{ClassName, ProbeOptions, probe};
use crate::script::prelude::*;
use crate::tensor::ints;

/// A probe as scripts hold it.
#[derive(Debug, Clone)]
pub struct Probe(std::sync::Arc<probe::Probe>);

impl Probe {
    pub fn core(&self) -> &std::sync::Arc<probe::Probe> {
        &self.0
    }
}

impl From<probe::Probe> for Probe {
    fn from(core: probe::Probe) -> Self {
        Self(core.into())
    }
}

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("probe", fields::<ProbeOptions>),
    ("probe_judge", fields::<JudgeProbeOptions>),
    ("probe_selectivity", fields::<SelectivityOptions>),
    ("probe_split", fields::<SplitOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Probe>()];

/// Lists functions that are called through the module: `probe::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(functions::functions)]
}

/// Lists the methods of probes.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(methods::methods)]
}

impl Handle for Probe {
    const NAME: &'static str = "Probe";

    fn short(&self) -> String {
        let probe = &self.0;
        let kind = probe.kind.word().replace('_', " ");
        let read = match &probe.features {
            Some(features) => format!("{} of {}", features.len(), count(probe.width, "number")),
            None => count(probe.width, "number"),
        };
        let classes: Vec<String> = match probe.classes.as_slice() {
            classes if classes.len() > MOST_NAMED => vec![format!("{} classes", classes.len())],
            classes => classes.iter().map(ClassName::to_string).collect(),
        };
        format!("{kind} probe of {} on {read}", classes.join(" / "))
    }

    fn json(&self) -> Result<Value> {
        let probe = &self.0;
        Ok(json!({
            "kind": probe.kind,
            "classes": probe.classes,
            "shares": probe.shares,
            "rows": probe.rows,
            "width": probe.width,
            "features": probe.features,
            "l2": probe.l2,
            "biases": probe.biases,
        }))
    }
}

/// Classes that are named in one line; of more their number is.
const MOST_NAMED: usize = 6;

/// Reads the label of each row: an array of booleans, integers or texts, or a tensor of integers.
pub fn class_names(name: &str, value: &Dynamic) -> Result<Vec<ClassName>> {
    let wanted = "an array of booleans, integers or texts, or a tensor of integers, with one for each row";
    let refusal = || given(name, value).refuse(wanted);
    if let Some(tensor) = value.read_lock::<Tensor>() {
        if tensor.rank() != 1 || tensor.dtype().is_float() {
            let dims = tensor.dims().to_vec();
            let dtype = tensor.dtype().as_str();
            return Err(
                refusal().hint(format!("this one has shape {dims:?} and is {dtype}; `y.to(\"i64\")` makes integers"))
            );
        }
        return Ok(ints(&tensor)?.into_iter().map(ClassName::Integer).collect());
    }
    let array = value.read_lock::<Array>().ok_or_else(refusal)?;
    let class = |(row, label): (usize, &Dynamic)| {
        if let Ok(flag) = label.as_bool() {
            return Ok(ClassName::Flag(flag));
        }
        if let Ok(number) = given(name, label).integer() {
            return Ok(ClassName::Integer(number));
        }
        match label.read_lock::<rhai::ImmutableString>() {
            Some(text) => Ok(ClassName::Text(text.to_string())),
            None => Err(given(&format!("{name}[{row}]"), label).refuse("a boolean, an integer or a text").about(name)),
        }
    };
    array.iter().enumerate().map(class).collect()
}

/// Returns a class as a script writes it.
fn class_value(class: &ClassName) -> Dynamic {
    match class {
        ClassName::Flag(flag) => (*flag).into(),
        ClassName::Integer(number) => (*number).into(),
        ClassName::Text(text) => text.clone().into(),
    }
}
