//! What a head attends to.

use rhai::plugin::*;
use rhai::{Dynamic, NativeCallContext};

use super::super::look::places;
use super::super::{Asked, Model};
use super::{names, one};
use crate::base::{Grid, HeatText, Result};
use crate::err;
use crate::model::cache::Cache;
use crate::model::reading::attention;
use crate::model::run::Ask;
use crate::model::site::Place;
use crate::script::options::{OptionReader, options};
use crate::script::value::{Any, Fallible, Given, Options};

/// Runs one text, records a head's pattern, and reads it with the names of the tokens.
fn read<T>(
    (ctx, m): (&NativeCallContext, &Model),
    x: &Dynamic,
    head: &str,
    asked: &Asked,
    reading: impl FnOnce(&Cache, Place, &[String]) -> Result<T>,
) -> Fallible<T> {
    let [place] = places(m.config(), 1, &head.into())?[..] else {
        return Err(err!(Name, "expected one head, such as `pattern.0.1`, found `{head}`").arg(1).into());
    };
    let input = one(asked, ctx, m, x)?;
    let cache = asked.run(ctx, m, |hooks, task| {
        m.decoder().cache(&input.batch, Ask { hooks, places: vec![place], positions: None }, task)
    })?;
    Ok(reading(&cache, place, &names(m, &input.batch.rows()[0]))?)
}

fn begun(arg: usize, map: Options) -> Result<(Asked, OptionReader)> {
    let mut read = options(arg, map);
    Ok((Asked::read(arg, &mut read)?, read))
}

#[export_module(manifest)]
pub mod methods {
    /// The tokens of a text, each coloured by how strongly a head attends to it from one position.
    ///
    /// # Options
    /// - `pos` = -1: the position that attends; negative ones count from the end
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before the text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attention([1, 2, 3], "pattern.0.1", #{ pos: 0 }).to_map().values  //=> [1.0, 0.0, 0.0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attention(ctx: NativeCallContext, m: &mut Model, x: Any, head: &str) -> Fallible<HeatText> {
        attention_with(ctx, m, x, head, Options::new())
    }

    #[rhai_fn(global, name = "attention", pure, return_raw)]
    pub fn attention_with(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        head: &str,
        options: Options,
    ) -> Fallible<HeatText> {
        let (asked, mut read) = super::begun(2, options)?;
        let position = read.get("pos", Given::integer)?.unwrap_or(-1);
        read.finish()?;
        super::read((&ctx, m), &x, head, &asked, |cache, place, names| {
            super::attention::text(cache, place, 0, position, names)
        })
    }

    /// How strongly a head attends from each position of a text (rows) to each other (columns).
    ///
    /// # Options
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before the text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attention_grid([1, 2, 3], "pattern.0.1")  //=> grid of 3 by 3 "pattern.0.1"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attention_grid(ctx: NativeCallContext, m: &mut Model, x: Any, head: &str) -> Fallible<Grid> {
        attention_grid_with(ctx, m, x, head, Options::new())
    }

    #[rhai_fn(global, name = "attention_grid", pure, return_raw)]
    pub fn attention_grid_with(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        head: &str,
        options: Options,
    ) -> Fallible<Grid> {
        let (asked, read) = super::begun(2, options)?;
        read.finish()?;
        super::read((&ctx, m), &x, head, &asked, |cache, place, names| super::attention::grid(cache, place, 0, names))
    }
}
