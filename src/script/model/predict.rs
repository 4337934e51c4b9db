//! What a model expects to come next.

use rhai::plugin::*;
use rhai::{Dynamic, NativeCallContext};

use super::{Asked, Model};
use crate::base::{Cell, Table};
use crate::err;
use crate::model::predict::{Prediction, likeliest};
use crate::model::tokenizer::Tokenizer;
use crate::script::options::options;
use crate::script::value::{Any, Fallible, Given, Int, Options, given};

/// How many tokens are shown where the caller names no number.
pub const FEW: usize = 5;

/// The likeliest tokens as a table, with their texts where there is a tokenizer.
pub fn table(tokenizer: Option<&Tokenizer>, found: Vec<Prediction>) -> Table {
    let mut columns: Vec<String> = ["id", "probability", "logit"].map(String::from).into();
    if tokenizer.is_some() {
        columns.insert(0, "token".into());
    }
    let row = |found: Prediction| -> Vec<Cell> {
        // A model may have more rows than its tokenizer has tokens; these have no text.
        let text = tokenizer.map(|tokenizer| tokenizer.text_of(found.id).map_or(Cell::Missing, Cell::from));
        let numbers = [i64::from(found.id).into(), found.probability.into(), found.logit.into()];
        text.into_iter().chain(numbers).collect()
    };
    Table { title: String::new(), columns, rows: found.into_iter().map(row).collect() }
}

fn predicted(ctx: &NativeCallContext, m: &Model, x: &Dynamic, k: &Dynamic, map: Options) -> Fallible<Table> {
    let mut read = options(map);
    let asked = Asked::read(&mut read)?;
    let position = read.get("pos", Given::integer)?.unwrap_or(-1);
    read.finish()?;
    let k = given("k", k).size()?;
    let input = asked.input(ctx, m, x)?;
    if input.batch.rows().len() != 1 {
        let found = input.batch.rows().len();
        return Err(err!(Argument, "expected one text to predict from, found {found}").about("x").into());
    }
    let found = asked.run(ctx, m, |hooks, task| {
        let logits = m.decoder().logits(&input.batch, hooks, task)?;
        likeliest(&logits.get(0)?, position, k)
    })?;
    Ok(table(m.core().tokenizer.as_ref(), found))
}

#[export_module(manifest)]
pub mod methods {
    /// The `k` likeliest tokens to come next after a text, with their probabilities and logits; 5 where no number is said.
    ///
    /// # Options
    /// - `pos` = -1: the position after which the prediction is; negative ones count from the end
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before the text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// let uniform = hooks::zero("final_norm");
    /// m.predict([1, 2], 2, #{ hooks: uniform }).to_map().rows  //=> [[0, 0.25, 0.0], [1, 0.25, 0.0]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn predict(ctx: NativeCallContext, m: &mut Model, x: Any) -> Fallible<Table> {
        let few = super::FEW.min(m.config().outputs());
        super::predicted(&ctx, m, &x, &(few as i64).into(), Options::new())
    }

    #[rhai_fn(global, name = "predict", pure, return_raw)]
    pub fn predict_some(ctx: NativeCallContext, m: &mut Model, x: Any, k: Int) -> Fallible<Table> {
        super::predicted(&ctx, m, &x, &k, Options::new())
    }

    #[rhai_fn(global, name = "predict", pure, return_raw)]
    pub fn predict_with(ctx: NativeCallContext, m: &mut Model, x: Any, k: Int, options: Options) -> Fallible<Table> {
        super::predicted(&ctx, m, &x, &k, options)
    }
}
