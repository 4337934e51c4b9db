//! A prompt as Neuronpedia's server reads it: behind the BOS token, whether or not the prompt begins with its name.

use super::state::Served;
use crate::common::*;

/// The tokens of a prompt, with the text of each by itself, as that server tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub ids: Vec<u32>,
    pub strings: Vec<String>,
    /// Whether each token is a special one.
    pub is_special: Vec<bool>,
    /// Whether each token is the BOS token.
    pub is_bos: Vec<bool>,
}

impl Prompt {
    /// Reads a prompt behind the BOS token, where the tokenizer has one.
    pub fn behind_bos(served: &Served, text: &str, task: &Task) -> Result<Self> {
        let tokenizer = served.model.text_tokenizer()?;
        let name = tokenizer.bos().and_then(|bos| tokenizer.vocab().piece(bos).ok()).map(|piece| piece.name.as_str());
        let rest = name.and_then(|name| text.strip_prefix(name)).unwrap_or(text);
        Self::bounded(served, tokenizer.encode(rest, name.map(|_| true), task)?.ids)
    }

    /// Reads a prompt by the tokenizer's own rule.
    pub fn by_rule(served: &Served, text: &str, task: &Task) -> Result<Self> {
        Self::bounded(served, served.model.text_tokenizer()?.encode(text, None, task)?.ids)
    }

    /// Tells tokens apart. Refuses more of them than are served, in the words that clients of that server know.
    pub fn bounded(served: &Served, ids: Vec<u32>) -> Result<Self> {
        let count = ids.len();
        let limit = served.limit;
        if count > limit {
            return Err(err!(Argument, "Text too long: {count} tokens, max is {limit}"));
        }
        if count == 0 {
            return Err(err!(Argument, "expected a prompt with at least one token, found none"));
        }
        let tokenizer = served.model.text_tokenizer()?;
        let strings = ids.iter().map(|id| tokenizer.decode(&[*id])).collect::<Result<_>>()?;
        let is_special = |id: &u32| tokenizer.vocab().piece(*id).is_ok_and(|piece| piece.special);
        Ok(Self {
            strings,
            is_special: ids.iter().map(is_special).collect(),
            is_bos: ids.iter().map(|id| tokenizer.bos() == Some(*id)).collect(),
            ids,
        })
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether the first token is the BOS token.
    pub fn begins_with_bos(&self) -> bool {
        self.is_bos.first() == Some(&true)
    }
}
