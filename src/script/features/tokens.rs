//! A token argument: `")"` means all tokens whose text, without leading space, begins with it; ids mean themselves.

use crate::base::Result;
use crate::err;
use crate::script::model::Model;
use crate::script::model::input::token_id;
use crate::script::value::Given;

/// The ids of a token argument, each once and in order. It is a text, an id, or an array of either.
pub fn token_argument(m: &Model, given: &Given) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for element in given.elements() {
        match element.text() {
            Ok(text) => ids.extend(m.tokenizer()?.token_set(&text)?),
            Err(_) => {
                let id =
                    element.integer().map_err(|_| element.refuse("a text that tokens begin with, or a token id"))?;
                ids.push(token_id(id, m.config().outputs())?);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    match ids.is_empty() {
        true => Err(err!(Argument, "expected at least one token for `token`, found an empty array")),
        false => Ok(ids),
    }
}
