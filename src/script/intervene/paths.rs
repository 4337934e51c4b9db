//! `intervene::paths`: path patching.

use super::metric::Metric;
use crate::intervene::paths::{PathOptions, paths as core};
use crate::script::model::prelude::*;

crate::options! {
    /// A call of path patching: the paths that are patched and how, and the metric.
    #[derive(Clone)]
    pub struct PathCall {
        /// Metric of each pair.
        metric: Metric = Metric::default() => usually("metric::logit_diff()");
        with paths: PathOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Patches paths: measures how far a metric moves where one part of the model, the receiver, gets of another, the
    /// sender, what it writes in the pair's other prompt, and of all others what they write in its own (Wang et al.
    /// 2022; Goldowsky-Dill et al. 2023).
    ///
    /// Returns a grid with a row for each sender and a column for each receiver; with `show` a heat map. A first pass
    /// patches the sender, holds what attention and MLPs behind it write (`mlps: "recomputed"` holds attention only),
    /// and notes the input of the receiver; a second one gives it that input and holds nothing. So a path is direct;
    /// what it does further on counts. `logits` as a receiver are the direct effect. A cell is empty where the sender
    /// does not come before the receiver. Numbers are means over pairs, as in `intervene::grid`, with 95 % intervals
    /// (`low`, `high`).
    ///
    /// # Options
    /// - [paths]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// let direct = intervene::paths(m, pairs);
    /// direct.rows  //=> ["z.0.0", "z.0.1", "mlp_out.0", "z.1.0", "z.1.1", "mlp_out.1"]
    /// let found = intervene::paths(m, pairs, #{ senders: "z.0.*", receivers: ["q.1.*", ["k.1.0", "v.1.0"]] });
    /// found.columns  //=> ["q.1.0", "q.1.1", "k.1.0 + v.1.0"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn paths(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Grid> {
        let PathCall { metric, paths } = taken(options)?;
        metric.over(&ctx, &m, &pairs, |pairs, measure, task| {
            core(m.core(), pairs, measure, metric.is_normalised(), &paths, task)
        })
    }
}
