//! `circuit::` and the methods of what it gives, one file for each.

mod describe;
mod grow;
mod judge;
mod shared;
mod tree;

pub use judge::Judgement;
pub use tree::Tree;

use rhai::exported_manifest;
use rhai::plugin::*;

use crate::base::{Result, names};
use crate::data::harvest;
use crate::features::survey::{Kept, Survey};
use crate::script::env::Env;
use crate::script::model::Model;
use crate::script::options::OptionReader;
use crate::script::value::Given;
use crate::{data, sae};

/// What is called through the module: `circuit::causal_tree(m, saes, f, text)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(grow::functions),
        exported_manifest!(shared::functions),
        exported_manifest!(tree::functions),
    ]
}

/// The methods of trees and judgements.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(describe::methods),
        exported_manifest!(judge::methods),
        exported_manifest!(shared::methods),
        exported_manifest!(tree::methods),
    ]
}

/// How long rows of a text are, where nothing is said and the model reads as much: a context that a person can take in.
const CONTEXT: usize = 64;

/// How much of a text is read, in rows of how many tokens.
struct Reading {
    tokens: u64,
    context: Option<usize>,
}

impl Reading {
    fn read(read: &mut OptionReader, tokens: usize) -> Result<Self> {
        Ok(Self { tokens: read.size("tokens", tokens)? as u64, context: read.get("context", Given::size)? })
    }

    /// What dictionaries find in the beginning of a text.
    fn survey(&self, m: &Model, saes: &[sae::Sae], text: &data::Text, kept: Kept, env: &Env) -> Result<Survey> {
        let context = self.context.unwrap_or(CONTEXT.min(m.config().context));
        let harvesting = harvest::Options { context: Some(context), ..harvest::Options::default() };
        Survey::of(m.core(), saes, &text.limited(self.tokens.max(1)), &harvesting, kept, &env.task)
    }
}

/// One of several that a script names.
fn one_of<T: Copy>(read: &mut OptionReader, key: &'static str, all: &[(&'static str, T)], default: T) -> Result<T> {
    let found = read.get(key, |given| {
        let name = given.text()?;
        let known = || all.iter().map(|(known, _)| *known);
        let found = all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let wanted = format!("one of {}", known().collect::<Vec<_>>().join(", "));
            given.refuse(&wanted).maybe_hint(names::suggestion(&name, known()))
        })
    })?;
    Ok(found.unwrap_or(default))
}
