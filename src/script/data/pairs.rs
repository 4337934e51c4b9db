//! Pairs of prompts.

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use crate::data::pairs::{Pair, pairs};
use crate::script::engine::env::env;
use crate::script::engine::options::taken;
use crate::script::engine::value::{Fallible, Options};

fn map(pair: Pair) -> Dynamic {
    let list = |texts: Vec<String>| Dynamic::from(texts.into_iter().map(Dynamic::from).collect::<Array>());
    let fields = [
        ("clean", pair.clean.into()),
        ("corrupt", pair.corrupt.into()),
        ("answers", list(pair.answers)),
        ("wrong", list(pair.wrong)),
        ("kind", pair.kind.into()),
    ];
    fields.into_iter().map(|(key, value)| (key.into(), value)).collect::<Map>().into()
}

#[export_module(manifest)]
pub mod functions {
    /// Pairs of prompts for a task: `ioi`, `greater_than`, `parenthesis`, `apostrophe`, `agreement`, `gender` or `facts`.
    ///
    /// Each is a map: a `clean` prompt, after which the answer comes next; a `corrupt` one of as many words that
    /// differs in what decides the answer; the correct `answers` after the clean one, each with the space before it;
    /// the `wrong` ones; and the `kind` of pair, such as "ABBA" for the order of names. An answer may be several tokens
    /// in a tokenizer: the first of them is the next token. No two pairs are the same, and the first ones do not depend
    /// on `n`.
    ///
    /// # Options
    /// - [pairs]
    ///
    /// # Example
    /// ```
    /// let pair = data::pairs("ioi", #{ n: 1, seed: 1, style: "natural" })[0];
    /// print(pair.clean);
    /// pair.kind == "ABBA" || pair.kind == "BABA"  //=> true
    /// ```
    #[rhai_fn(name = "pairs", return_raw)]
    pub fn pairs_plain(ctx: NativeCallContext, task: &str, options: Options) -> Fallible<Array> {
        let made = pairs(task, &taken(options)?, &env(&ctx)?.task)?;
        Ok(made.into_iter().map(super::map).collect())
    }
}
