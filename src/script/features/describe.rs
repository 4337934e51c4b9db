//! `features::describe` and `features::labels`: what features stand for, in words and by labels.

use super::feature_argument::features;
use crate::features::describe::{self, DescribeOptions};
use crate::features::labels::{self, LabelOptions};
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Describes a feature, or each of an array of them, in a few words, without any language model.
    ///
    /// A description says by tokens, neighbours, positions and labels where the feature is active: "capital letters
    /// inside a bracket". It is selected on the first half of the text, and its score is the correlation of its
    /// prediction with the codes on the second half: over all tokens, over the 20 fragments of 64 tokens where the
    /// feature is strongest, and over 20 others in which it is active. Below 0.3 it is "unclear". Text without labels
    /// is labelled by rules.
    ///
    /// # Options
    /// - [feature_description]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be or to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// let found = features::describe(m, [s.feature(0), s.feature(1)], text);
    /// found.columns  //=> ["feature", "description", "score", "top", "random", "tried"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn describe(ctx: NativeCallContext, m: Model, f: Any, text: Text, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: DescribeOptions = taken(options)?;
        let list = super::features(&given("f", &f))?;
        let found = env.drawing(&ctx, "features::describe", options.seed, |seed| {
            super::describe::describe(m.core(), &list, &text, &DescribeOptions { seed, ..options }, &env.task)
        });
        Ok(super::describe::table(&list.names, &found.map_err(|e| e.about("f"))?))
    }

    /// Ranks the labels of a text by how well a feature, or each of an array of them, separates the tokens with a label
    /// from those without.
    ///
    /// AUROC is the probability that the code is larger at a token drawn from those with the label than at one drawn
    /// from the others, ties counted half: 1 for the label itself, 0.5 by chance; its 95 % interval is the bootstrap
    /// over the rows of the text, each with all of its tokens. The labels are sorted by their correlation with the
    /// code, which also falls where the feature is active at tokens without the label. The labels of the text "grammar"
    /// are ground truth; those of real text are made by rules.
    ///
    /// # Options
    /// - [feature_labels]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) or not", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to (be) or (not to) be (or be) to (or) be (not) or (to)"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// features::labels(m, s.feature(0), text, #{ count: 2 }).columns
    /// //=> ["feature", "label", "AUROC", "low", "high", "correlation", "tokens with it", "rows with it"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn labels(ctx: NativeCallContext, m: Model, f: Any, text: Text, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: LabelOptions = taken(options)?;
        let list = super::features(&given("f", &f))?;
        let found = super::labels::aurocs(m.core(), &list, &text, &options.text, &env.task);
        Ok(super::labels::table(&list.names, &found.map_err(|e| e.about("f"))?, options.count))
    }
}
