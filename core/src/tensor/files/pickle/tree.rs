//! The content of a pickle as a tree, and its tensors by name.

use super::super::TensorTree;
use super::PickledTensor;
use super::archive::Archive;
use super::machine::{Objects, budget_label};
use super::object::{Global, Id, Object};
use super::strided::StridedTensor;
use crate::base::budget::Budget;
use crate::common::*;

/// The maximum depth of nested dictionaries.
const DEEPEST: usize = 32;

/// The cost of visiting one object, in bytes; it takes at least one byte of the pickle.
const VISIT: usize = 16;

pub(super) struct FoundTensors {
    pub tensors: BTreeMap<String, PickledTensor>,
    pub root: TensorTree<String>,
}

pub(super) fn walk(objects: Objects, archive: &Archive) -> Result<FoundTensors> {
    let Objects { all, root, length, budget } = objects;
    let left = length.saturating_mul(2 * VISIT);
    let mut walker = Walker { all: &all, archive, tensors: BTreeMap::new(), left, budget };
    let root = walker.visit(root, &mut Vec::new())?;
    Ok(FoundTensors { tensors: walker.tensors, root })
}

struct Walker<'a> {
    all: &'a [Object],
    archive: &'a Archive,
    tensors: BTreeMap<String, PickledTensor>,
    /// The bytes of names and values that this pickle may still expand to: one that refers to its parts repeatedly
    /// could otherwise grow without bound.
    left: usize,
    budget: Budget,
}

impl Walker<'_> {
    /// Converts an object; a tensor becomes its name.
    fn visit(&mut self, id: Id, path: &mut Vec<String>) -> Result<TensorTree<String>> {
        self.spend(VISIT)?;
        // One value, in a list that grows by doubling or in a map.
        self.budget.take(4 * size_of::<TensorTree<String>>() as u128, budget_label)?;
        if path.len() > DEEPEST {
            bail!(Format, "expected dictionaries and lists at most {DEEPEST} deep, found deeper ones");
        }
        let all = self.all;
        Ok(match all.get(id) {
            None | Some(Object::None) => TensorTree::Nothing,
            Some(Object::Bool(value)) => TensorTree::Bool(*value),
            Some(Object::Int(value)) => TensorTree::Int(*value),
            Some(Object::Float(value)) => TensorTree::Float(*value),
            Some(Object::Text(text)) => self.text(text)?,
            Some(Object::Global(Global::Dtype(name))) => TensorTree::Text(format!("torch.{name}")),
            Some(Object::Bytes(bytes)) => {
                self.spend(bytes.len())?;
                TensorTree::Bytes(bytes.clone())
            }
            Some(Object::List(parts) | Object::Tuple(parts) | Object::Set(parts)) => self.list(parts, path)?,
            Some(Object::Dict(pairs)) => self.dict(pairs, path)?,
            Some(Object::Tensor(view)) => {
                let name = path.join(".");
                self.spend(name.len())?;
                let place = self.archive.storage(&view.storage.key).map_err(|e| e.within(&name))?;
                let tensor = StridedTensor::new(view, place).map_err(|e| e.within(&name))?;
                let within = path.split_last().map_or_else(String::new, |(_, within)| within.join("."));
                if self.tensors.insert(name.clone(), PickledTensor { within, tensor }).is_some() {
                    bail!(Format, "the file has two tensors that are called `{name}`");
                }
                TensorTree::Tensor(name)
            }
            Some(Object::Global(_) | Object::Storage(_)) => {
                bail!(Format, "expected tensors and values, found a class or a storage at `{}`", path.join("."))
            }
        })
    }

    fn text(&mut self, text: &str) -> Result<TensorTree<String>> {
        self.spend(text.len())?;
        Ok(TensorTree::Text(text.into()))
    }

    fn list(&mut self, parts: &[Id], path: &mut Vec<String>) -> Result<TensorTree<String>> {
        let mut values = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            path.push(index.to_string());
            values.push(self.visit(*part, path)?);
            path.pop();
        }
        Ok(TensorTree::List(values))
    }

    fn dict(&mut self, pairs: &[(Id, Id)], path: &mut Vec<String>) -> Result<TensorTree<String>> {
        let mut values = BTreeMap::new();
        for (key, value) in pairs {
            let key = self.key(*key).map_err(|e| e.within(format!("a key at `{}`", path.join("."))))?;
            if values.contains_key(&key) {
                bail!(Format, "expected every key once, found `{key}` twice at `{}`", path.join("."));
            }
            path.push(key.clone());
            let value = self.visit(*value, path)?;
            path.pop();
            values.insert(key, value);
        }
        Ok(TensorTree::Map(values))
    }

    fn key(&mut self, id: Id) -> Result<String> {
        let key = match self.all.get(id) {
            Some(Object::Text(text)) => text.clone(),
            Some(Object::Int(number)) => number.to_string(),
            _ => bail!(Format, "expected a text or a whole number, found something else"),
        };
        self.spend(key.len())?;
        Ok(key)
    }

    fn spend(&mut self, cost: usize) -> Result<()> {
        self.left = self.left.checked_sub(cost).ok_or_else(too_much)?;
        // A name is stored in the tree, among the tensors, and in the path to them.
        self.budget.take(3 * cost as u128, budget_label)
    }
}

fn too_much() -> Error {
    err!(Format, "expected a pickle that says each thing once, found one that refers to its parts again and again")
}
