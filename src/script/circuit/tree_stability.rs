//! Stability of trees: the features that two of them share.

use crate::circuit::{self, shared};
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Counts for each pair of some trees how many features of the first are found again in the second, as a table:
    /// trees from two halves of a text, or of dictionaries fitted with other seeds.
    ///
    /// A feature is found again if one of the same site has nearly its direction and is active where it is: the cosine,
    /// and the correlation of both codes over all tokens of a text, are at least 0.7.
    ///
    /// # Options
    /// - [circuit_shared]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let tree = circuit::load("tests/fixtures/circuits/tree.json", saes);
    /// circuit::stability(m, [tree, tree], text).to_map().rows[0]  //=> [0, 1, 3, 3, 1.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stability(ctx: NativeCallContext, m: Model, trees: Array, text: Text, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let trees: Vec<Circuit> = given("trees", &Dynamic::from(trees)).handles("a tree")?;
        let circuits: Vec<&circuit::Circuit> = trees.iter().map(|tree| &tree.core).collect();
        Ok(shared::stability(m.core(), &circuits, &text, &options, &env.task)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Finds the features of the tree that another one shares, as a table: the most similar feature of the same site,
    /// the cosine of both directions, and the correlation of both activations over a text. A feature is shared if both
    /// are at least 0.7.
    ///
    /// # Options
    /// - [circuit_shared]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let tree = circuit::load("tests/fixtures/circuits/tree.json", saes);
    /// tree.shared_with(tree, m, text).to_map().rows[0][4]  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn shared_with(
        ctx: NativeCallContext,
        tree: &mut Circuit,
        other: Circuit,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let matches = shared::matches(m.core(), &tree.core, &other.core, &text, &options, &env.task)?;
        Ok(shared::table(tree.graph(), other.graph(), &matches))
    }
}
