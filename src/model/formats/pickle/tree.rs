//! What a pickle has made, sorted: tensors by their names, and everything else as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::Held;
use super::archive::Archive;
use super::machine::{Objects, told};
use super::object::{Global, Id, Object};
use super::strided::Strided;
use crate::base::budget::Budget;
use crate::base::{Error, Result};
use crate::{bail, err};

/// Dictionaries within dictionaries may go this deep.
const DEEPEST: usize = 32;

/// What looking at one object costs, in bytes; it has taken at least one in the pickle.
const VISIT: usize = 16;

pub(super) struct Tree {
    pub tensors: BTreeMap<String, Held>,
    pub values: Value,
}

pub(super) fn walk(objects: Objects, archive: &Archive) -> Result<Tree> {
    let Objects { all, root, length, budget } = objects;
    let left = length.saturating_mul(2 * VISIT);
    let mut walker = Walker { all: &all, archive, tensors: BTreeMap::new(), left, budget };
    let values = walker.visit(root, &mut Vec::new())?.unwrap_or(Value::Null);
    Ok(Tree { tensors: walker.tensors, values })
}

struct Walker<'a> {
    all: &'a [Object],
    archive: &'a Archive,
    tensors: BTreeMap<String, Held>,
    /// How many more bytes of names and values may come of this pickle: one that refers to its parts again and again
    /// would come to more than fits anywhere.
    left: usize,
    budget: Budget,
}

impl Walker<'_> {
    /// The value of an object, or nothing where it is a tensor.
    fn visit(&mut self, id: Id, path: &mut Vec<String>) -> Result<Option<Value>> {
        self.spend(VISIT)?;
        // A value of its own, in a list that grows by doubling or in a map.
        self.budget.take(4 * size_of::<Value>() as u128, told)?;
        if path.len() > DEEPEST {
            bail!(Format, "expected dictionaries and lists at most {DEEPEST} deep, found deeper ones");
        }
        let all = self.all;
        Ok(Some(match all.get(id) {
            None | Some(Object::None) => Value::Null,
            Some(Object::Bool(value)) => Value::Bool(*value),
            Some(Object::Int(value)) => Value::from(*value),
            Some(Object::Float(value)) => float(*value),
            Some(Object::Text(text)) => self.text(text)?,
            Some(Object::Global(Global::Dtype(name))) => Value::from(format!("torch.{name}")),
            Some(Object::List(parts) | Object::Tuple(parts)) => self.list(parts, path)?,
            Some(Object::Dict(pairs)) => self.dict(pairs, path)?,
            Some(Object::Tensor(view)) => {
                let name = path.join(".");
                self.spend(name.len())?;
                let place = self.archive.storage(&view.storage.key).map_err(|e| e.within(&name))?;
                let tensor = Strided::new(view, place).map_err(|e| e.within(&name))?;
                let within = path.split_last().map_or_else(String::new, |(_, within)| within.join("."));
                if self.tensors.insert(name.clone(), Held { within, tensor }).is_some() {
                    bail!(Format, "the file has two tensors that are called `{name}`");
                }
                return Ok(None);
            }
            Some(Object::Global(_) | Object::Storage(_)) => {
                bail!(Format, "expected tensors and values, found a class or a storage at `{}`", path.join("."))
            }
        }))
    }

    fn text(&mut self, text: &str) -> Result<Value> {
        self.spend(text.len())?;
        Ok(Value::from(text))
    }

    /// In a list null stands in the place of a tensor, so that the others keep theirs.
    fn list(&mut self, parts: &[Id], path: &mut Vec<String>) -> Result<Value> {
        let mut values = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            path.push(index.to_string());
            values.push(self.visit(*part, path)?.unwrap_or(Value::Null));
            path.pop();
        }
        Ok(Value::Array(values))
    }

    fn dict(&mut self, pairs: &[(Id, Id)], path: &mut Vec<String>) -> Result<Value> {
        let mut values = Map::new();
        let mut seen = std::collections::BTreeSet::new();
        for (key, value) in pairs {
            let key = self.key(*key).map_err(|e| e.within(format!("a key at `{}`", path.join("."))))?;
            if !seen.insert(key.clone()) {
                bail!(Format, "expected every key once, found `{key}` twice at `{}`", path.join("."));
            }
            path.push(key.clone());
            if let Some(value) = self.visit(*value, path)? {
                values.insert(key, value);
            }
            path.pop();
        }
        Ok(Value::Object(values))
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
        // A name stands in the tree, among the tensors, and in the path to them.
        self.budget.take(3 * cost as u128, told)
    }
}

/// JSON has no infinities, so they are written out.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn too_much() -> Error {
    err!(Format, "expected a pickle that says each thing once, found one that refers to its parts again and again")
}
