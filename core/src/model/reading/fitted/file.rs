//! Files of fitted lenses. A Jacobian lens has the layout that others use: the matrices as `J`, by layer and in f16, with
//! `n_prompts`, `source_layers` and `d_model`. PyTorch files have a dictionary; safetensors the same names, `J.0` for one
//! layer, and numbers as tensors. A tuned lens has `A.0` and `b.0` in f32 in place of `J.0`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{AffineMap, FittedLens, LensKind};
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::err;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::files::{self, FileContent, NamedTensors, TensorTree};
use crate::tensor::{DType, Device, Tensor, ints};

/// The largest number of f16.
const LARGEST: f32 = 65504.0;

impl LensKind {
    /// Returns the names of a layer's matrices and biases in the file.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Jacobian => &["J"],
            Self::Tuned => &["A", "b"],
        }
    }

    /// Converts a part of a layer to the form of the file.
    fn stored(self, part: &Tensor, layer: usize) -> Result<Tensor> {
        if self == Self::Tuned {
            return Ok(part.clone());
        }
        if part.abs()?.max_all()?.to_scalar::<f32>()? > LARGEST {
            return Err(err!(Numeric, "the Jacobian of layer {layer} has numbers above {LARGEST}, the most of f16"));
        }
        Ok(part.to_dtype(DType::F16)?)
    }
}

impl FittedLens {
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
        for (layer, map) in &self.maps {
            for (name, part) in self.kind.names().iter().zip([Some(&map.matrix), map.bias.as_ref()]) {
                let part = part.ok_or_else(|| err!(Bug, "a lens without its biases"))?;
                tensors.insert(format!("{name}.{layer}"), self.kind.stored(part, *layer)?.to_device(&Device::Cpu)?);
            }
        }
        files::save(files, path, &FileContent::Named(NamedTensors { tensors, metadata: BTreeMap::new() }), task)
    }

    /// Reads a safetensors file, or for a Jacobian lens a PyTorch file.
    pub fn load(kind: LensKind, files: &Files, path: &Path, task: &Task) -> Result<Self> {
        Self::of_tree(kind, tree(files, path, task)?).map_err(|e| e.within(path.display()))
    }

    /// Reads the file of a lens of either kind, which the names of its parts tell.
    pub fn load_any(files: &Files, path: &Path, task: &Task) -> Result<Self> {
        let tree = tree(files, path, task)?;
        let is_matrix = |name: &String| name.split('.').next() == Some(LensKind::Tuned.names()[0]);
        let is_tuned = matches!(&tree, TensorTree::Map(fields) if fields.keys().any(is_matrix));
        let kind = if is_tuned { LensKind::Tuned } else { LensKind::Jacobian };
        Self::of_tree(kind, tree).map_err(|e| e.within(path.display()))
    }

    /// Returns whether a safetensors file has a lens, by the names of its parts.
    pub fn is_in(files: &Files, path: &Path) -> Result<bool> {
        Ok(files.map_as(path, SafetensorsFile::new)?.names().any(|name| name == "source_layers"))
    }

    pub(super) fn of_tree(kind: LensKind, tree: TensorTree<Tensor>) -> Result<Self> {
        let TensorTree::Map(fields) = tree else {
            return Err(err!(Format, "expected the parts of a {} by name, found one value", kind.name()));
        };
        let mut found: BTreeMap<&str, BTreeMap<usize, Tensor>> = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        let known = |name: &str| kind.names().iter().copied().find(|known| *known == name);
        for (name, part) in fields {
            let (begin, layer) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
            match (known(begin), layer, part) {
                (Some(of), None, TensorTree::Map(layers)) => {
                    for (layer, part) in layers {
                        found.entry(of).or_default().insert(layer_of(&layer)?, tensor(&layer, part)?);
                    }
                }
                (Some(of), Some(layer), part) => {
                    found.entry(of).or_default().insert(layer_of(layer)?, tensor(layer, part)?);
                }
                (None, None, part) if ["n_prompts", "source_layers", "d_model"].contains(&begin) => {
                    numbers.insert(name, whole(&part));
                }
                // Where it was fitted, in words.
                (None, None, _) if begin == "metadata" => {}
                _ => {
                    let names = kind.names().join(", ");
                    return Err(err!(Format, "expected {names}, n_prompts, source_layers and d_model, found `{name}`"));
                }
            }
        }
        let part = |name: &str| -> Result<Vec<i64>> {
            let missing = || err!(Format, "expected whole numbers as `{name}`, found none");
            numbers.get(name).cloned().flatten().ok_or_else(missing)
        };
        let prompts = part("n_prompts")?;
        let width = part("d_model")?;
        let mut layers = part("source_layers")?;
        layers.sort_unstable();
        for name in kind.names() {
            let named: Vec<i64> =
                found.get(name).into_iter().flat_map(BTreeMap::keys).map(|layer| *layer as i64).collect();
            if layers != named {
                return Err(err!(Format, "expected the layers {layers:?} in {name}, found {named:?}"));
            }
        }
        let [prompts] = prompts[..] else {
            return Err(err!(Format, "expected one number as `n_prompts`, found {}", prompts.len()));
        };
        let prompts = usize::try_from(prompts).map_err(|_| err!(Format, "expected n_prompts of at least 0"))?;
        let [matrices, biases] = [0, 1].map(|at| kind.names().get(at).and_then(|name| found.remove(name)));
        let mut biases = biases.unwrap_or_default();
        let map = |(layer, matrix)| (layer, AffineMap { matrix, bias: biases.remove(&layer) });
        let lens = Self::new(kind, matrices.unwrap_or_default().into_iter().map(map).collect(), prompts)?;
        if width != [lens.d_model as i64] {
            let name = kind.names()[0];
            return Err(err!(Format, "expected d_model {}, as in {name}, found {width:?}", lens.d_model));
        }
        Ok(lens)
    }
}

fn tree(files: &Files, path: &Path, task: &Task) -> Result<TensorTree<Tensor>> {
    let opened = files::open(files, path)?;
    task.apart(move || opened.read())
}

fn layer_of(name: &str) -> Result<usize> {
    name.parse().map_err(|_| err!(Format, "expected a layer in a lens, found `{name}`"))
}

fn tensor(layer: &str, part: TensorTree<Tensor>) -> Result<Tensor> {
    match part {
        TensorTree::Tensor(found) => Ok(found),
        _ => Err(err!(Format, "expected a tensor for layer {layer}, found something else")),
    }
}

/// Reads whole numbers: one, a list of them, or a tensor.
fn whole(part: &TensorTree<Tensor>) -> Option<Vec<i64>> {
    match part {
        TensorTree::Int(number) => Some(vec![*number]),
        TensorTree::Tensor(numbers) => ints(numbers).ok(),
        TensorTree::List(parts) => {
            let one = |part: &TensorTree<Tensor>| if let TensorTree::Int(number) = part { Some(*number) } else { None };
            parts.iter().map(one).collect()
        }
        _ => None,
    }
}
