//! `m.attention` and `m.attention_map`: the attention pattern of a head.

use super::names;
use crate::model::cache::Cache;
use crate::model::reading::attention;
use crate::model::run::Ask;
use crate::model::site::{NAME_ONE, Place, one_site};
use crate::script::model::Model;
use crate::script::model::{AttentionOptions, InputOptions};
use crate::script::prelude::*;

/// Records the pattern of a head on one text, and returns it with the ids of the text.
fn recorded(
    ctx: &NativeCallContext,
    m: &Model,
    x: &Dynamic,
    place: Place,
    positions: Option<Vec<i64>>,
    asked: &InputOptions,
) -> Fallible<(Cache, Vec<u32>)> {
    let input = asked.input(ctx, m, x)?;
    let ids = input.batch.only_row()?.to_vec();
    let cache = asked.run(ctx, m, |hooks, task| {
        m.decoder().cache(&input.batch, Ask { hooks, places: vec![place], positions }, task)
    })?;
    Ok((cache, ids))
}

#[export_module(manifest)]
pub mod methods {
    /// Shows the attention of a head from one query position: the text, each token coloured by its attention weight.
    ///
    /// The site is one head of a pattern, `pattern.3.5` for head 5 of layer 3.
    ///
    /// # Options
    /// - [attention]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// let seen = m.attention("the cat sat", "pattern.0.1", #{ from: 0 });
    /// seen  //=> heat text of 3 tokens "pattern.0.1 from position 0"
    /// seen.to_map().values  //=> [1.0, 0.0, 0.0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attention(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        site: &str,
        options: Options,
    ) -> Fallible<HeatText> {
        let (asked, AttentionOptions { from }) = taken_both::<InputOptions, _>(options)?;
        let place = one_site(m.config(), site, NAME_ONE)?;
        let (cache, ids) = super::recorded(&ctx, m, &x, place, Some(vec![from]), &asked)?;
        let tokens = names::running(m.core(), &ids);
        Ok(super::attention::text(&cache, place, 0, from, &tokens).map_err(|e| e.about("site"))?)
    }

    /// Returns the attention pattern of a head as a heat map: a row for each query position, a column for each key
    /// position.
    ///
    /// # Options
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let even = m.attention_map([7, 8], "pattern.0.1", #{ hooks: hooks::zero("q.0") });
    /// even  //=> grid of 2 by 2 "pattern.0.1"
    /// even.to_map().values  //=> [1.0, 0.0, 0.5, 0.5]
    /// even.to_map().columns  //=> ["0 7", "1 8"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attention_map(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        site: &str,
        options: Options,
    ) -> Fallible<Grid> {
        let asked = taken(options)?;
        let place = one_site(m.config(), site, NAME_ONE)?;
        let (cache, ids) = super::recorded(&ctx, m, &x, place, None, &asked)?;
        let tokens: Vec<String> = ids.iter().map(|id| names::label(m.core(), *id)).collect();
        Ok(super::attention::grid(&cache, place, 0, &tokens).map_err(|e| e.about("site"))?)
    }
}
