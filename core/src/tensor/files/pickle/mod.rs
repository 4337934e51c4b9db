//! PyTorch's `.pt` files: a zip archive with a pickle that describes the content, and the bytes of the tensors.
//!
//! The pickle is read by our own interpreter, which knows dictionaries, lists, strings, numbers and tensors; everything
//! else, such as calling a function, is refused by name. Nothing is unpacked or copied before a tensor is requested.

mod archive;
mod machine;
mod object;
mod strided;
mod tree;

use self::archive::Archive;
use self::strided::StridedTensor;
use super::TensorTree;
use crate::base::budget::Budget;
use crate::common::*;
use crate::tensor::Tensor;

/// The usual keys under which training programs save the weights, beside the state of the optimiser.
const WEIGHTS: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// A file with a parsed and checked pickle, whose tensors are read one by one.
pub struct PickleFile<B> {
    bytes: B,
    tensors: BTreeMap<String, PickledTensor>,
    /// The whole content, with names in place of the tensors.
    root: TensorTree<String>,
}

/// A tensor, and the keys of the dictionaries that it is in.
#[derive(Debug, Clone, PartialEq)]
struct PickledTensor {
    within: String,
    tensor: StridedTensor,
}

impl<B: AsRef<[u8]>> PickleFile<B> {
    pub fn new(bytes: B) -> Result<Self> {
        let archive = Archive::new(bytes.as_ref())?;
        let objects = machine::run(archive.pickle(bytes.as_ref())?, Budget::of_header())?;
        let tree = tree::walk(objects, &archive)?;
        Ok(Self { tensors: tree.tensors, root: tree.root, bytes })
    }

    /// Takes the weights of a model: the tensors of the only dictionary that has any, or of the one under a usual key,
    /// by their names there.
    pub fn weights(mut self) -> Result<Self> {
        let mut homes: Vec<&str> = self.tensors.values().map(|held| held.within.as_str()).collect();
        homes.sort_unstable();
        homes.dedup();
        let usual: Vec<&str> = homes.iter().copied().filter(|home| WEIGHTS.contains(home)).collect();
        let home = match (homes.as_slice(), usual.as_slice()) {
            ([only], _) | (_, [only]) => only.to_string(),
            ([], _) => {
                return Err(err!(Format, "expected tensors in the file, found none")
                    .hint("in PyTorch save `model.state_dict()`"));
            }
            _ => {
                let shown: Vec<_> = homes.iter().map(|home| if home.is_empty() { "the top" } else { home }).collect();
                return Err(err!(Format, "expected one dictionary of tensors, found several: {}", shown.join(", "))
                    .hint("in PyTorch save `model.state_dict()` alone"));
            }
        };
        self.tensors.retain(|_, held| held.within == home);
        if !home.is_empty() {
            let own = |name: String| name.strip_prefix(&format!("{home}.")).map(str::to_string).unwrap_or(name);
            self.tensors = self.tensors.into_iter().map(|(name, held)| (own(name), held)).collect();
        }
        Ok(self)
    }
}

impl<B: AsRef<[u8]>> PickleFile<B> {
    /// Reads the whole content of the file, with its tensors.
    pub fn read(self) -> Result<TensorTree<Tensor>> {
        let mut budget = Budget::of_content(memory::available());
        for held in self.tensors.values() {
            budget.take(held.tensor.bytes(), || "the tensors of the file".into())?;
        }
        self.root.map(&mut |name| {
            let held = self.tensors.get(&name).ok_or_else(|| err!(Bug, "a tensor of the file without its place"))?;
            held.tensor.read(self.bytes.as_ref()).map_err(|e| e.within(&name))
        })
    }

    /// Returns the names of the tensors; keys of nested dictionaries and indices of lists are joined by dots.
    pub fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|held| held.tensor.shape.clone())
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let held = self.tensors.get(name).ok_or_else(|| {
            err!(Name, "this file has no tensor `{name}`")
                .maybe_hint(names::suggestion(name, self.tensors.keys().map(String::as_str)))
        })?;
        held.tensor.read(self.bytes.as_ref()).map_err(|e| e.within(name))
    }
}

#[cfg(test)]
mod tests;
