//! `sae::diff`: the features that only one of two models has.

use super::rows::keeping;
use crate::sae::diffing;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

#[export_module(manifest)]
pub mod functions {
    /// Finds the features of a crosscoder of two models that only one of them has, by latent scaling (Minder et al.
    /// 2025).
    ///
    /// For a feature with codes f, and the direction d in the model where it is longer (`model`, which has `share` of
    /// the norms), beta = d . (sum f y) / (|d|² sum f²) says how much of it y has: for y the errors of either model,
    /// with what the feature itself writes there left in, and for y their reconstructions without the bias. The ratios
    /// are those of the other model to its own: near 1 where both have the feature, near 0 where the other has not. A
    /// feature is a model's `own` if its share is above 5/6 (the other direction is less than a fifth as long), the
    /// ratio of errors below 0.2 and that of reconstructions below 0.5.
    ///
    /// Returns a map of two tables. `summary`: how many features either model has for itself, by the share alone and by
    /// latent scaling, too, with 95 % intervals (Wilson 1927). `table`: each feature that is active in the text, with
    /// its density, those of one model alone first. The `model` is 0 for `base`, 1 for `tuned`.
    ///
    /// # Options
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::crosscoder([m, m], "resid_post.0", text, #{ kind: "topk", k: 2, d_sae: 4, steps: 20, seed: 1 });
    /// sae::diff(s, m, m, text).summary["number"]  //=> [0, 0, 0, 0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn diff(
        ctx: NativeCallContext,
        s: Sae,
        base: Model,
        tuned: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Map> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let reading = keeping(&mut read)?;
        read.finish()?;
        let found = diffing::diff(&s.core, [base.core(), tuned.core()], &text, &reading, &env.task)?;
        let tables = [("summary", found.summary()), ("table", found.table())];
        Ok(tables.into_iter().map(|(name, table)| (name.into(), Dynamic::from(table))).collect())
    }
}
