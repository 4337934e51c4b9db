//! `sae::universality`: the features of one dictionary in another, of any site and model.

use crate::sae::metrics::{self, UniversalityOptions};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

#[export_module(manifest)]
pub mod functions {
    /// Finds the features of a dictionary `a` that a dictionary `b` has, too, whatever both read: other seeds, sites,
    /// layers or models, with other tokenizers, too. Codes are compared at the positions of a text at which both have
    /// read the same characters: where a token of either ends at the same byte.
    ///
    /// Returns a map of two tables. `summary`: the mean over the features of `a` of the largest correlation of its
    /// codes with those of a feature of `b`, and the share of these of at least 0.7, compared with the same numbers for
    /// shuffled positions of `b`; where both write equally wide, the mean of the largest cosine (MMCS), too, compared
    /// with that for random directions; with 95 % intervals over features. `table`: each feature of `a` that is active,
    /// with the one of `b` that is most like it.
    ///
    /// # Options
    /// - [universality]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, d_sae: 8, steps: 5, seed: 1 });
    /// sae::universality(s, m, s, m, text).summary.to_map().rows[1][1]  //=> 1.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn universality(
        ctx: NativeCallContext,
        a: Sae,
        of_a: Model,
        b: Sae,
        of_b: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Map> {
        let options: UniversalityOptions = taken(options)?;
        let env = env(&ctx)?;
        let found = env.drawing(&ctx, "sae::universality", options.seed, |seed| {
            let options = UniversalityOptions { seed, ..options };
            metrics::universality(&a.core, of_a.core(), &b.core, of_b.core(), &text, &options, &env.task)
        })?;
        let tables = [("summary", found.summary()), ("table", found.table())];
        Ok(tables.into_iter().map(|(name, table)| (name.into(), Dynamic::from(table))).collect())
    }
}
