//! The likeliest next tokens, or those at a mask.

use super::InputOptions;
use crate::model::inject::InjectOptions;
use crate::model::predict::{PredictOptions, USUAL_COUNT, predicted as predict, table};
use crate::script::model::Model;
use crate::script::prelude::*;

fn predicted(ctx: &NativeCallContext, m: &Model, x: &Dynamic, k: &Dynamic, map: Options) -> Fallible<Table> {
    let (asked, place, inject) = taken_three::<InputOptions, PredictOptions, InjectOptions>(map)?;
    let k = given("k", k).size()?;
    let input = asked.input(ctx, m, x)?;
    input.batch.only_row()?;
    let pos = place.position(m.core(), &input.batch)?;
    let found = asked.run_injected(ctx, m, &inject, &input.batch, |hooks, task| {
        predict(m.decoder(), &input.batch, pos, k, hooks, task)
    })?;
    Ok(table(m.core().tokenizer.as_ref(), found))
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the `k` likeliest next tokens after a text, with their probabilities and logits; 5 by default. A model that
    /// predicts masked tokens, such as BERT, is asked for the one at the text's mask token.
    ///
    /// # Options
    /// - [predict]
    /// - [inject]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// let uniform = hooks::zero("final_norm");
    /// m.predict([1, 2], 2, #{ hooks: uniform }).to_map().rows  //=> [[0, 0.25, 0.0], [1, 0.25, 0.0]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn predict(ctx: NativeCallContext, m: &mut Model, x: Any) -> Fallible<Table> {
        let few = USUAL_COUNT.min(m.config().outputs());
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
