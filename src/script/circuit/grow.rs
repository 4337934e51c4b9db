//! `circuit::causal_tree`: a tree of features over the dictionaries of several sites.

use super::{cores, dictionaries};
use crate::circuit::tree;
use crate::script::circuit::Circuit;
use crate::script::features::Feature;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Grows the causal tree of a feature: the features of earlier dictionaries that it depends on, those that these
    /// depend on, and so on down to the first dictionary (Cunningham et al. 2023).
    ///
    /// At the positions of a text where the feature is strongest, each feature f of the dictionary before is ablated
    /// (x - c_f d_f at all positions of that site), and the effect is the mean share of its code that the feature loses.
    /// The features with the largest effects are its children; then the children of these are searched at their own
    /// strongest positions. A feature that several depend on is one node. The feature whose ablation raises another one
    /// most is shown, and not followed. The result is exact: features that are not active there have no effect, and are
    /// not computed.
    ///
    /// `saes` are dictionaries of the residual stream at different layers, such as those of `sae::fit_all`; those after
    /// that of the feature are not used. A node is an outlier dimension if more than half of the squared norm of its
    /// direction lies on one dimension whose variance, in the target's contexts without first tokens, is more than 25
    /// times that of the median dimension.
    ///
    /// Ctrl-C ends the search, not the script: the call returns the tree so far, whose `is_whole` is false.
    ///
    /// # Options
    /// - [causal_tree]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// circuit::causal_tree(m, saes, f, text, #{ contexts: 2 }).is_whole  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn causal_tree(
        ctx: NativeCallContext,
        m: Model,
        saes: Array,
        f: Feature,
        text: Text,
        options: Options,
    ) -> Fallible<Circuit> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let mut saes = super::dictionaries(&saes)?;
        let circuit = tree::causal_tree(m.core(), &super::cores(&saes), &f.core(), &text, &options, &env.task)?;
        if !circuit.graph.is_whole {
            let found = count(circuit.graph.nodes.len(), "feature");
            env.task.say(&format!("stopped; the tree has what was found so far, {found}"));
        }
        saes.push(f.sae);
        Ok(Circuit::new(circuit, &saes))
    }
}
