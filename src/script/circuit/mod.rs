//! `circuit::` and the methods of its results, one file for each.

mod describe;
mod enough;
mod grow;
mod judge;
mod select;
mod shared;
mod tree;

pub use enough::Enough;
pub use judge::Judgement;
pub use select::Selection;
pub use tree::Tree;

use rhai::exported_manifest;
use rhai::plugin::*;

use crate::base::{Result, names};
use crate::circuit::due::Due;
use crate::data::harvest;
use crate::features::survey::{Kept, Survey};
use crate::script::docs::declared::Group;
use crate::script::env::Env;
use crate::script::handle::{HandleType, handle_type};
use crate::script::model::Model;
use crate::script::options::OptionReader;
use crate::script::value::Given;
use crate::{data, sae};

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] =
    &[handle_type::<Enough>(), handle_type::<Judgement>(), handle_type::<Selection>(), handle_type::<Tree>()];

/// What is called through the module: `circuit::causal_tree(m, saes, f, text)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(grow::functions),
        exported_manifest!(select::functions),
        exported_manifest!(shared::functions),
        exported_manifest!(tree::functions),
    ]
}

/// The methods of trees and judgements.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(describe::methods),
        exported_manifest!(enough::methods),
        exported_manifest!(judge::methods),
        exported_manifest!(select::methods),
        exported_manifest!(shared::methods),
        exported_manifest!(tree::methods),
    ]
}

/// How many tokens of a text are read, in rows of which length.
struct Reading {
    tokens: u64,
    context: Option<usize>,
    /// The default length of rows, if the model's context is as long.
    usual: usize,
}

impl Reading {
    fn read(read: &mut OptionReader, tokens: usize, usual: usize) -> Result<Self> {
        let tokens = read.size("tokens", tokens)? as u64;
        Ok(Self { tokens, context: read.get("context", Given::size)?, usual })
    }

    /// A survey of dictionaries over the beginning of a text.
    fn survey(&self, m: &Model, saes: &[sae::Sae], text: &data::Text, kept: Kept, env: &Env) -> Result<Survey> {
        let harvesting = harvest::Options { context: Some(self.row(m)), ..harvest::Options::default() };
        Survey::of(m.core(), saes, &self.limited(text), &harvesting, kept, &env.task)
    }

    /// Where some tokens are due in it.
    fn due(&self, m: &Model, text: &data::Text, tokens: &[u32], env: &Env) -> Result<Due> {
        Due::of(m.core(), &self.limited(text), tokens, self.row(m), &env.task)
    }

    fn limited(&self, text: &data::Text) -> data::Text {
        text.limited(self.tokens.max(1))
    }

    /// Tokens in a row.
    fn row(&self, m: &Model) -> usize {
        self.context.unwrap_or(self.usual.min(m.config().context))
    }
}

/// One of several names.
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
