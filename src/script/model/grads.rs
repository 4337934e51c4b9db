//! Gradients of a metric at any site.

use rhai::plugin::*;
use rhai::{Dynamic, FnPtr, NativeCallContext};

use super::look::places;
use super::{Asked, Cache, Model};
use crate::base::Result;
use crate::err;
use crate::script::hooks::call::Calls;
use crate::script::options::options;
use crate::script::value::{Any, Fallible, Options, described};
use crate::tensor::Tensor;

/// What the metric returned, as a tensor that knows how it was computed.
fn tracked(returned: &Dynamic) -> Result<Tensor> {
    returned.read_lock::<Tensor>().map(|tensor| tensor.clone()).ok_or_else(|| {
        let found = described(returned);
        err!(Argument, "expected the metric to return a number computed from the logits, found {found}")
            .hint(
                "compute it by arithmetic, indexing, sums, means and softmax; `.item()` and the like lose the way back",
            )
            .arg(1)
    })
}

#[export_module(manifest)]
pub mod methods {
    /// The gradient of a metric of the logits at some sites: how the metric changes with each number that flows there.
    ///
    /// The metric is a function `|logits|`, [batch, pos, vocab], to one number. What comes back is a cache of gradients,
    /// shaped like what flows at the sites, whose `value` is the metric. Gradients are those after the hooks.
    ///
    /// # Options
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let grads = m.grads([1, 2, 3], |logits| logits.at([0, -1, 4]) - logits.at([0, -1, 5]), "resid_pre.*");
    /// grads  //=> gradients at 2 sites, 1 text
    /// grads["resid_pre.1"].shape  //=> [1, 3, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn grads(ctx: NativeCallContext, m: &mut Model, x: Any, metric: FnPtr, sites: Any) -> Fallible<Cache> {
        grads_with(ctx, m, x, metric, sites, Options::new())
    }

    #[rhai_fn(global, name = "grads", pure, return_raw)]
    pub fn grads_with(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        metric: FnPtr,
        sites: Any,
        options: Options,
    ) -> Fallible<Cache> {
        let mut read = super::options(3, options);
        let asked = Asked::read(3, &mut read)?;
        read.finish()?;
        let places = super::places(m.config(), 2, &sites)?;
        if places.is_empty() {
            return Err(err!(Argument, "expected at least one site to take gradients at, found none").arg(2).into());
        }
        let input = asked.input(&ctx, m, &x)?;
        let calls = Calls::new(&ctx);
        let mut of = |logits: &Tensor| super::tracked(&calls.call(&metric, [Dynamic::from(logits.clone())])?);
        let gradients = asked
            .run_with(&calls, &ctx, m, |hooks, task| m.decoder().grads(&input.batch, hooks, &places, &mut of, task))?;
        Ok(gradients.into())
    }
}
