//! The metadata of one architecture: every key that is read is recorded, so that unknown keys can be refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Value;
use crate::base::{Result, names};
use crate::err;

/// Larger sizes are refused; the product of two of these does not overflow.
const LARGEST: u64 = 1 << 31;

pub(super) struct Keys<'a> {
    metadata: &'a BTreeMap<String, Value>,
    pub architecture: &'a str,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    pub fn new(metadata: &'a BTreeMap<String, Value>) -> Result<Self> {
        const KEY: &str = "general.architecture";
        let value = metadata.get(KEY).ok_or_else(|| err!(Format, "expected `{KEY}` in the metadata, found none"))?;
        let architecture = value.text().map_err(|e| e.within(KEY))?;
        Ok(Self { metadata, architecture, read: RefCell::default() })
    }

    /// The value of a key of the architecture, if it is present.
    fn get<T>(&self, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
        let full = format!("{}.{key}", self.architecture);
        let value = self.metadata.get(&full).map(read).transpose().map_err(|e| e.within(&full));
        self.read.borrow_mut().insert(full);
        value
    }

    fn needed<T>(&self, key: &str, found: Option<T>) -> Result<T> {
        found.ok_or_else(|| {
            err!(Format, "expected `{}.{key}` in the metadata, found none", self.architecture)
                .hint("the file is no whole model, or its converter was another one")
        })
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        self.needed(key, self.maybe_size(key)?)
    }

    pub fn maybe_size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, |value| match value.unsigned()? {
            size if size <= LARGEST => Ok(size as usize),
            size => Err(err!(Format, "expected at most {LARGEST}, found {size}")),
        })
    }

    pub fn float(&self, key: &str) -> Result<f64> {
        self.needed(key, self.maybe_float(key)?)
    }

    pub fn maybe_float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, |value| match value.float()? {
            number if number.is_finite() => Ok(number),
            number => Err(err!(Format, "expected a number, found {number}")),
        })
    }

    pub fn flag(&self, key: &str, otherwise: bool) -> Result<bool> {
        Ok(self.get(key, Value::bool)?.unwrap_or(otherwise))
    }

    pub fn maybe_text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, Value::text)
    }

    /// The id of a special token, from the keys of the tokenizer.
    pub fn token(&self, name: &str) -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(value) = self.metadata.get(&key) else { return Ok(None) };
        let id = value.unsigned().map_err(|e| e.within(&key))?;
        Ok(Some(u32::try_from(id).map_err(|_| err!(Format, "{key}: expected the id of a token, found {id}"))?))
    }

    /// Refuses keys that were not read. Keys of the tokenizer and of the file itself do not change the computation.
    pub fn finish(&self) -> Result<()> {
        let read = self.read.borrow();
        let aside = ["general.", "tokenizer.", "quantize."];
        for (key, value) in self.metadata {
            // A file that is split into one part is complete.
            let whole = key == "split.count" && value.unsigned().is_ok_and(|count| count <= 1)
                || matches!(key.as_str(), "split.no" | "split.tensors.count");
            if aside.iter().any(|start| key.starts_with(start)) || whole || read.contains(key) {
                continue;
            }
            if key == "split.count" {
                return Err(err!(Format, "this file is one part of a model that was split into several")
                    .hint("join them first with `llama-gguf-split --merge`"));
            }
            let near = names::nearest(key, read.iter().map(String::as_str));
            return Err(err!(
                Format,
                "the metadata have `{key}`, which is not known here and may change the mathematics"
            )
            .maybe_hint(near.map(|near| format!("the nearest key that is known is `{near}`"))));
        }
        Ok(())
    }
}
