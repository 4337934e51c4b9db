//! Files of Jacobian lenses, in the layout that others use: the matrices as `J`, by layer and in f16, with `n_prompts`,
//! `source_layers` and `d_model`. PyTorch files have a dictionary; safetensors the same names, `J.0` for one layer, and
//! numbers as tensors.

use std::collections::BTreeMap;
use std::path::Path;

use super::JacobianLens;
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::err;
use crate::tensor::files::{self, Content, Named, Tree};
use crate::tensor::{DType, Device, Tensor, ints};

/// The largest number of f16.
const LARGEST: f32 = 65504.0;

impl JacobianLens {
    /// Writes a safetensors file.
    pub fn save(&self, files: &Files, path: &Path, task: &Task) -> Result<()> {
        if path.extension().is_none_or(|ending| ending != "safetensors") {
            return Err(err!(Argument, "expected a path that ends in .safetensors, found `{}`", path.display()));
        }
        let number = |number: usize| -> Result<Tensor> { Ok(Tensor::new(number as i64, &Device::Cpu)?) };
        let layers: Vec<i64> = self.layers().map(|layer| layer as i64).collect();
        let mut tensors = BTreeMap::from([
            ("n_prompts".to_string(), number(self.prompts)?),
            ("d_model".to_string(), number(self.d_model)?),
            ("source_layers".to_string(), Tensor::new(layers, &Device::Cpu)?),
        ]);
        for (layer, jacobian) in &self.jacobians {
            if jacobian.abs()?.max_all()?.to_scalar::<f32>()? > LARGEST {
                return Err(err!(
                    Numeric,
                    "the Jacobian of layer {layer} has numbers above {LARGEST}, the most of f16"
                ));
            }
            tensors.insert(format!("J.{layer}"), jacobian.to_dtype(DType::F16)?.to_device(&Device::Cpu)?);
        }
        files::save(files, path, &Content::Named(Named { tensors, metadata: BTreeMap::new() }), task)
    }

    /// Reads a safetensors file, or a PyTorch file.
    pub fn load(files: &Files, path: &Path, task: &Task) -> Result<Self> {
        let opened = files::open(files, path)?;
        let tree = task.apart(move || opened.read())?;
        Self::of_tree(tree).map_err(|e| e.within(path.display()))
    }

    pub(super) fn of_tree(tree: Tree<Tensor>) -> Result<Self> {
        let Tree::Map(fields) = tree else {
            return Err(err!(Format, "expected the parts of a Jacobian lens by name, found one value"));
        };
        let (mut jacobians, mut parts) = (BTreeMap::new(), BTreeMap::new());
        for (name, part) in fields {
            match (name.as_str(), part) {
                ("J", Tree::Map(layers)) => {
                    for (layer, part) in layers {
                        jacobians.insert(layer_of(&layer)?, matrix(&layer, part)?);
                    }
                }
                ("n_prompts" | "source_layers" | "d_model", part) => {
                    parts.insert(name, whole(&part));
                }
                // Where it was fitted, in words.
                ("metadata", _) => {}
                (name, part) => match name.strip_prefix("J.") {
                    Some(layer) => {
                        jacobians.insert(layer_of(layer)?, matrix(layer, part)?);
                    }
                    None => {
                        return Err(err!(Format, "expected J, n_prompts, source_layers and d_model, found `{name}`"));
                    }
                },
            }
        }
        let part = |name: &str| -> Result<Vec<i64>> {
            let missing = || err!(Format, "expected whole numbers as `{name}`, found none");
            parts.get(name).cloned().flatten().ok_or_else(missing)
        };
        let (prompts, width, mut layers) = (part("n_prompts")?, part("d_model")?, part("source_layers")?);
        layers.sort_unstable();
        let named: Vec<i64> = jacobians.keys().map(|layer| *layer as i64).collect();
        if layers != named {
            return Err(err!(Format, "expected the layers {layers:?} in J, found {named:?}"));
        }
        let [prompts] = prompts[..] else {
            return Err(err!(Format, "expected one number as `n_prompts`, found {}", prompts.len()));
        };
        let prompts = usize::try_from(prompts).map_err(|_| err!(Format, "expected n_prompts of at least 0"))?;
        let lens = Self::new(jacobians, prompts)?;
        if width != [lens.d_model as i64] {
            return Err(err!(Format, "expected d_model {}, as in J, found {width:?}", lens.d_model));
        }
        Ok(lens)
    }
}

fn layer_of(name: &str) -> Result<usize> {
    name.parse().map_err(|_| err!(Format, "expected a layer in J, found `{name}`"))
}

fn matrix(layer: &str, part: Tree<Tensor>) -> Result<Tensor> {
    match part {
        Tree::Tensor(matrix) => Ok(matrix),
        _ => Err(err!(Format, "expected a matrix for layer {layer}, found something else")),
    }
}

/// Whole numbers: one, a list of them, or a tensor.
fn whole(part: &Tree<Tensor>) -> Option<Vec<i64>> {
    match part {
        Tree::Int(number) => Some(vec![*number]),
        Tree::Tensor(numbers) => ints(numbers).ok(),
        Tree::List(parts) => {
            let one = |part: &Tree<Tensor>| if let Tree::Int(number) = part { Some(*number) } else { None };
            parts.iter().map(one).collect()
        }
        _ => None,
    }
}
