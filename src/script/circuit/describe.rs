//! Descriptions of the nodes of a circuit.

use crate::features::describe::DescribeOptions;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod methods {
    /// Describes the feature of each node of a circuit, as `features::describe` does, in one reading of a text. The circuit
    /// keeps the descriptions and their scores; returns a table of them. A node that has no card gets one from the same
    /// reading, which the circuit's page shows: contexts, tokens, effects on the logits.
    ///
    /// Nodes that are outlier dimensions keep that name. A feature of a cross-layer transcoder is described by where it reads;
    /// its effects on the logits are those of what it writes in its own layer.
    ///
    /// # Options
    /// - [feature_description]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a d d", "c c b a d b a a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let tree = circuit::load("tests/fixtures/circuits/tree.json", saes);
    /// tree.describe(m, text).to_map().rows.len()  //=> 3
    /// tree.nodes[2].meaning  //=> ()
    /// ```
    #[rhai_fn(global, name = "describe", return_raw)]
    pub fn describe_tree(
        ctx: NativeCallContext,
        tree: &mut Circuit,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: DescribeOptions = taken(options)?;
        let found = env.drawing(&ctx, "Circuit.describe", options.seed, |seed| {
            tree.with_dictionaries()?;
            tree.core.describe(m.core(), &text, &DescribeOptions { seed, ..options }, &env.task)
        });
        Ok(found?)
    }
}
