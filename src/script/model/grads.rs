//! Gradients of a metric at any site.

use super::properties::places;
use super::{Cache, InputOptions, LogitsOptions};
use crate::model::decoder::Logits;
use crate::model::gradient_rules::GradientOptions;
use crate::script::engine::column_reads::last_columns;
use crate::script::model::Model;
use crate::script::prelude::*;

/// Returns the metric's result as a tensor that knows how it was computed.
fn tracked(returned: &Dynamic) -> Result<Tensor> {
    returned.read_lock::<Tensor>().map(|tensor| tensor.clone()).ok_or_else(|| {
        let found = described(returned);
        err!(Argument, "expected the metric to return a number computed from the logits, found {found}")
            .hint("compute it by arithmetic, indexing, sums, means and softmax; `.item()` and the like detach it")
            .about("loss")
    })
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the gradient of a metric of the logits with respect to the activations at some sites.
    ///
    /// The metric is a function `|logits|`, [batch, pos, vocab], to one number; with `#{ pos: -1 }` it gets those after the
    /// last token of each text, [batch, vocab]. The call returns a cache of gradients in the shape of the activations,
    /// whose `value` is the metric. Gradients are taken after the hooks. The metric of several texts is one number, such as
    /// a sum over them, and each text's gradients are in its own row.
    ///
    /// A metric that reads last columns alone, by indices that stand in it, as in `|logits| logits.at([0, -1, 4])`, is given
    /// these columns, where texts are of one length, and no other logits are computed: there indices from the end mean the
    /// same, and nothing else of the logits is read. A metric that another function reads the logits for, or that asks for
    /// their shape, gets all of them; `pos` says it for any metric.
    ///
    /// As in `m.logits`, logits after the end of a shorter text are NaN. A metric selects logits by indexing, gather or
    /// `pos`; multiplying by a mask would keep NaN, and is refused. Gradients after the end of a text are 0.
    ///
    /// With `gradients: "relp"` the call returns coefficients of relevance propagation (RelP; Rezaei Jafari et al. 2025) in
    /// place of derivatives: divisors of norms are constants, an activation function multiplies by the constant act(x) / x,
    /// and gate and up projection of an MLP get half of the derivative of their product each. With patterns held constant by
    /// a hook, activation times coefficient sums to the logit in a model without biases.
    ///
    /// # Options
    /// - [logits]
    /// - [input]
    /// - [gradients]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let grads = m.grads([1, 2, 3], |logits| logits.at([0, -1, 4]) - logits.at([0, -1, 5]), "resid_pre.*");
    /// grads  //=> gradients at 2 sites, 1 text
    /// grads["resid_pre.1"].shape  //=> [1, 3, 8]
    /// let both = m.grads([[1, 2, 3], [4, 5]], |logits| logits[[":", 4]].sum(), "resid_pre.1", #{ pos: -1 });
    /// m.grads([1, 2, 3], |logits| logits.at([0, -1, 4]), "mlp_out.*", #{ gradients: "relp" })  //=> gradients at 2 sites, 1 text
    /// both["resid_pre.1"][0].all_close(m.grads([1, 2, 3], |logits| logits.at([0, -1, 4]), "resid_pre.1")["resid_pre.1"][0])  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn grads(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        metric: FnPtr,
        sites: Any,
        options: Options,
    ) -> Fallible<Cache> {
        let (asked, wanted, rules) = taken_three::<InputOptions, LogitsOptions, GradientOptions>(options)?;
        let ruled = m.plain().by_rules(rules.gradients)?;
        let places = super::places(m.config(), &sites)?;
        let input = asked.input(&ctx, m, &x)?;
        // A metric that reads the ends of texts alone is given these, and no other logits are computed.
        let ends: Option<Vec<i64>> = last_columns(&metric)
            .filter(|ends| wanted.positions().is_none() && !input.batch.is_ragged() && *ends <= input.batch.width())
            .map(|ends| (-(ends as i64)..0).collect());
        let logits = ends.as_deref().map_or(wanted.logits(), Logits::At);
        let calls = Callbacks::new(&ctx);
        let mut of = |logits: &Tensor| super::tracked(&calls.call(&metric, [Dynamic::from(wanted.shaped(logits)?)])?);
        let gradients = asked.run_with(&calls, &ctx, m, |hooks, task| {
            ruled.decoder.grads(&input.batch, hooks, &places, logits, &mut of, task)
        })?;
        Ok(gradients.into())
    }
}
