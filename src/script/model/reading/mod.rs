//! Reading a run: the logit lens, direct logit attribution, what attention looks at, and how two runs differ.

mod attention;
mod attribution;
mod compare;
mod lens;

use rhai::plugin::*;
use rhai::{Dynamic, NativeCallContext, exported_manifest};

pub use attribution::Attribution;
pub use compare::Comparison;
pub use lens::Lens;

use super::input::Input;
use super::{Asked, Model};
use crate::base::Result;
use crate::err;
use crate::script::value::given;

pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(attention::methods),
        exported_manifest!(attribution::methods),
        exported_manifest!(compare::methods),
        exported_manifest!(lens::methods),
    ]
}

/// The one text that is to be read, as the first argument of the call.
fn one(asked: &Asked, ctx: &NativeCallContext, m: &Model, x: &Dynamic) -> Result<Input> {
    let input = asked.input(ctx, m, x)?;
    match input.batch.rows().len() {
        1 => Ok(input),
        found => Err(err!(Argument, "expected one text, found {found}").arg(0)),
    }
}

/// What a token is called: its text, or its id where it has none.
fn name(m: &Model, id: u32) -> String {
    let text = m.core().tokenizer.as_ref().and_then(|tokenizer| tokenizer.text_of(id).ok());
    text.unwrap_or_else(|| id.to_string())
}

fn names(m: &Model, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| name(m, *id)).collect()
}

/// A token given by its id or by its text.
fn token(m: &Model, arg: usize, what: &str, value: &Dynamic) -> Result<u32> {
    let given = given(arg, what, value);
    if value.is_string() {
        return m.tokenizer().and_then(|tokenizer| tokenizer.token(&given.text()?)).map_err(|e| e.arg(arg));
    }
    let vocab = m.config().vocab;
    let id = given.size().map_err(|_| given.refuse("the id or the text of a token"))?;
    let known = u32::try_from(id).ok().filter(|id| (*id as usize) < vocab);
    known.ok_or_else(|| err!(Argument, "expected token ids from 0 to {}, found {id}", vocab - 1).arg(arg))
}
