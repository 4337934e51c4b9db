//! `diff::activations`: mean differences at the first tokens, and their result.

use super::{names, rows};
use crate::diff::{ActivationDifference as Core, DiffText, FirstTokens, ModelPair, activations as mean_differences};
use crate::script::model::prelude::*;

/// Mean differences of activations by position.
#[derive(Clone)]
pub struct ActivationDifference {
    core: Rc<Core>,
    tuned: Model,
}

impl Handle for ActivationDifference {
    const NAME: &'static str = "ActivationDifference";

    fn short(&self) -> String {
        format!("mean differences at {}, {}", self.core.place, count(self.core.first(), "first position"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.core.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({
            "site": self.core.place.to_string(),
            "norm of the stream": number(self.core.stream_norm()),
            "positions": self.core.table().data()?,
        }))
    }
}

/// Reads a position that has a mean of its own, or "later" for all others together.
fn position(position: &Dynamic) -> Result<Option<usize>> {
    let given = given("position", position);
    match given.text() {
        Ok(text) if text == "later" => Ok(None),
        _ => given.size().map(Some).map_err(|_| given.refuse("a position from 0, or \"later\"")),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Computes the mean difference of the activations of two models, tuned less base, at each of the first tokens of
    /// some rows, and at all later ones together: the activation difference lens (Minder et al. 2025b).
    ///
    /// Narrow fine-tuning leaves a bias that is there on text about anything else, and most legible at the first tokens.
    /// `d.tokens(10)` are the tokens that it promotes, `d.table` how large it is beside the activations. `d.vector(0)` has
    /// the length of the tuned model's activations: added to a run it makes the model write what it was tuned on,
    /// `base.generate(prompt, #{ hooks: hooks::add(site, d.vector(0), 2) })`, and in the place of a token the
    /// model says of it what it can, `inject` of `m.generate`. A control is a model that was fine-tuned on ordinary text.
    ///
    /// # Options
    /// - [diff_first]
    /// - [diff_text]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let d = diff::activations(m, tuned, [[5, 6, 7], [8, 9]], "resid_post.0", #{ first: 2 });
    /// d  //=> mean differences at resid_post.0, 2 first positions
    /// d.table["position"]  //=> [0, 1, "later"]
    /// d.table["rows"]  //=> [2, 2, 1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn activations(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Any,
        site: &str,
        options: Options,
    ) -> Fallible<ActivationDifference> {
        let (first, extent) = taken_both::<FirstTokens, DiffText>(options)?;
        let rows = rows(&ctx, &base, &tuned, &text, &extent)?;
        let pair = ModelPair::new(base.core(), tuned.core())?;
        let found = mean_differences(pair, &rows, site, &first, &env(&ctx)?.task)?;
        Ok(ActivationDifference { core: Rc::new(found), tuned })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the site of mean differences.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::activations(m, m, [[5, 6, 7]], "mlp_out.0").site  //=> "mlp_out.0"
    /// ```
    #[rhai_fn(global, get = "site", pure)]
    pub fn difference_site(found: &mut ActivationDifference) -> String {
        found.core.place.to_string()
    }

    /// Returns the mean differences: a row for each of the first positions, and one for all later ones, [positions, width].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::activations(m, m, [[5, 6, 7]], "resid_post.0", #{ first: 2 }).mean.shape  //=> [3, 8]
    /// ```
    #[rhai_fn(global, get = "mean", pure, return_raw)]
    pub fn difference_mean(found: &mut ActivationDifference) -> Fallible<Tensor> {
        Ok(found.core.matrix()?)
    }

    /// Returns the mean difference at a position, or "later", as long as the tuned model's activations are on average behind
    /// the first positions: [width].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let d = diff::activations(m, tuned, [[5, 6, 7], [8, 9]], "resid_post.0", #{ first: 2 });
    /// (d.vector(0).norm() - d.vector("later").norm()).abs() < 1e-4  //=> true
    /// let steered = hooks::add(d.site, d.vector(0), 2);
    /// m.generate_ids([5, 6], #{ tokens: 3, hooks: steered }).len  //=> 3
    /// let asked = #{ vector: d.vector(0), pos: -1, site: d.site };
    /// tuned.generate_ids([5, 6], #{ tokens: 3, inject: asked }).len  //=> 3
    /// ```
    #[rhai_fn(global, name = "vector", pure, return_raw)]
    pub fn difference_vector(found: &mut ActivationDifference, position: Any) -> Fallible<Tensor> {
        Ok(found.core.vector(super::position(&position)?)?)
    }

    /// Tabulates how large mean differences are, by position: the norm, its share of the norm of the base's activations,
    /// and `alike`, its share of the mean norm of single differences, which is 1 if all are the same.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::activations(m, m, [[5, 6, 7]], "resid_post.0", #{ first: 2 }).table["norm"]  //=> [0.0, 0.0, 0.0]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn difference_table(found: &mut ActivationDifference) -> Table {
        found.core.table()
    }

    /// Tabulates the `n` tokens whose logits each mean difference raises most, and those that it lowers most, through the
    /// weights of the final norm and the unembedding of the tuned model.
    ///
    /// A rise is more than the mean logit's, for the difference as it is. The division by the norm is left out, which
    /// changes no order.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let d = diff::activations(m, tuned, [[5, 6, 7], [8, 9]], "resid_post.0", #{ first: 2 });
    /// d.tokens(2).columns  //=> ["position", "raised", "raised by", "lowered", "lowered by"]
    /// ```
    #[rhai_fn(global, name = "tokens", pure, return_raw)]
    pub fn difference_tokens(found: &mut ActivationDifference, n: Int) -> Fallible<Table> {
        let n = given("n", &n).size()?;
        Ok(found.core.tokens(found.tuned.core(), n, &names(&found.tuned))?)
    }

    /// Returns mean differences as a map: the site, the norm that `vector` gives, and the numbers of each position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::activations(m, m, [[5, 6, 7]], "resid_post.0").to_map().site  //=> "resid_post.0"
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn difference_map(found: &mut ActivationDifference) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
