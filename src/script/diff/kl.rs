//! `diff::kl`: the divergence of the predictions of two models at each token, and its result.

use super::{names, rows};
use crate::diff::{DiffText, ModelPair, TokenDivergences as Core, kl as divergences};
use crate::script::model::prelude::*;

/// The number of contexts that are shown.
const SHOWN: usize = 10;

/// The divergences of a text.
#[derive(Clone)]
pub struct TokenDivergences {
    core: Rc<Core>,
    base: Model,
}

impl Handle for TokenDivergences {
    const NAME: &'static str = "TokenDivergences";

    fn short(&self) -> String {
        format!("KL(tuned || base) of {}: mean {:.4}", count(self.core.count(), "position"), self.core.mean())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Ok(format!("{}\n{}", self.short(), self.core.contexts(SHOWN, &names(&self.base)).terminal(screen)?))
    }

    fn json(&self) -> Result<Value> {
        let rows = |values: &Vec<f64>| values.iter().map(|value| number(*value)).collect::<Value>();
        Ok(json!({
            "mean": number(self.core.mean()),
            "largest": number(self.core.largest()),
            "positions": self.core.count(),
            "values": self.core.values.iter().map(rows).collect::<Value>(),
            "contexts": self.core.contexts(SHOWN, &names(&self.base)).data()?,
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Compares the predictions of two models at every token of a text: KL(tuned || base) in nats.
    ///
    /// `text` is of `data::text`, or a text, ids, or an array of these. Of a model with an adapter the base is
    /// `m.adapter.base`. Both models need the same tokenizer. A fine-tune that acts on a trigger differs from its base
    /// where the trigger is, and hardly elsewhere: `d.contexts(10)` are the positions with the largest divergence, each
    /// with the token that contributes most to it; `d.by_token(10)` are the tokens after which it is largest on average.
    /// A text without the trigger does not show it.
    ///
    /// # Options
    /// - [diff_text]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let k = diff::kl(m, tuned, [[3, 2, 1, 3], [5, 6]]);
    /// [k.values[0].len(), k.mean > 0.001]  //=> [4, true]
    /// diff::kl(m, m, [[3, 2, 1, 3], [5, 6]])  //=> KL(tuned || base) of 6 positions: mean 0.0000
    /// diff::kl(tuned.adapter.base, m, [3, 2, 1]).mean  //=> 0.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn kl(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Any,
        options: Options,
    ) -> Fallible<TokenDivergences> {
        let options: DiffText = taken(options)?;
        let rows = rows(&ctx, &base, &tuned, &text, &options)?;
        let found = divergences(ModelPair::new(base.core(), tuned.core())?, &rows, &env(&ctx)?.task)?;
        Ok(TokenDivergences { core: Rc::new(found), base })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the mean divergence of all positions, in nats.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::kl(m, m, [[3, 2, 1], [4]]).mean  //=> 0.0
    /// ```
    #[rhai_fn(global, get = "mean", pure)]
    pub fn kl_mean(found: &mut TokenDivergences) -> f64 {
        found.core.mean()
    }

    /// Returns the divergence at each position, an array for each row.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::kl(m, m, [[3, 2, 1], [4]]).values  //=> [[0.0, 0.0, 0.0], [0.0]]
    /// ```
    #[rhai_fn(global, get = "values", pure)]
    pub fn kl_values(found: &mut TokenDivergences) -> Array {
        let row = |values: &Vec<f64>| -> Dynamic { values.iter().map(|x| Dynamic::from(*x)).collect::<Array>().into() };
        found.core.values.iter().map(row).collect()
    }

    /// Tabulates the `n` positions with the largest divergence: the tokens up to each, and the token that contributes most
    /// to it, whose probability rises.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let found = diff::kl(m, tuned, [[3, 2, 1, 3], [5, 6]]).contexts(2);
    /// found.columns  //=> ["kl", "context", "raised", "row", "position"]
    /// ```
    #[rhai_fn(global, name = "contexts", pure, return_raw)]
    pub fn kl_contexts(found: &mut TokenDivergences, n: Int) -> Fallible<Table> {
        Ok(found.core.contexts(given("n", &n).size()?, &names(&found.base)))
    }

    /// Tabulates the `n` tokens after which the divergence is largest on average, of those that are read at least `least`
    /// times.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::kl(m, m, [[3, 2, 1, 3], [5, 3]]).by_token(5, 2)["times"]  //=> [3]
    /// ```
    #[rhai_fn(global, name = "by_token", pure, return_raw)]
    pub fn kl_by_token(found: &mut TokenDivergences, n: Int, least: Int) -> Fallible<Table> {
        let n = given("n", &n).size()?;
        Ok(found.core.by_token(n, given("least", &least).size()?, &names(&found.base)))
    }

    /// Shows a row as heat text: each token is coloured by the divergence of what is predicted after it.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::kl(m, m, [[3, 2, 1], [4]]).heat(0)  //=> heat text of 3 tokens "KL(tuned || base), row 0"
    /// ```
    #[rhai_fn(global, name = "heat", pure, return_raw)]
    pub fn kl_heat(found: &mut TokenDivergences, row: Int) -> Fallible<HeatText> {
        Ok(found.core.heat(given("row", &row).size()?, &names(&found.base))?)
    }

    /// Returns the divergences as a map: their mean, the largest, all of them, and the strongest contexts.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::kl(m, m, [[3, 2, 1], [4]]).to_map().positions  //=> 4
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn kl_map(found: &mut TokenDivergences) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
