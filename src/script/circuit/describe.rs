//! Descriptions of the nodes of a tree.

use rhai::NativeCallContext;
use rhai::plugin::*;

use super::Tree;
use crate::base::{Result, Table};
use crate::data::Text;
use crate::features::TextCodes;
use crate::features::card::Description;
use crate::features::describe::{self, describe};
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Fallible, Given, Options};

/// The default number of tokens of a text.
const TOKENS: usize = 1 << 16;

fn described(env: &Env, tree: &mut Tree, m: &Model, text: &Text, map: Options) -> Result<Table> {
    let mut read = options(map);
    let (tokens, seed) = (read.size("tokens", TOKENS)?, read.seed()?.unwrap_or_default());
    let context = read.get("context", Given::size)?;
    read.finish()?;
    let saes = tree.dictionaries()?;
    let read = TextCodes::of(m.core(), &saes, &tree.nodes(), text, (Some(tokens), context), &env.task)?;
    let found = describe(&read, seed, &env.task).map_err(|e| e.about("text"))?;
    for (node, described) in tree.circuit.graph.nodes.iter_mut().zip(&found) {
        // For an outlier dimension, that says more than where it is active.
        if !node.outlier {
            node.meaning = Some(described.text.clone());
        }
        node.score = Some(described.score);
    }
    for (card, described) in tree.circuit.cards.iter_mut().zip(&found) {
        if let Some(card) = card {
            card.description = Some(Description { text: described.text.clone(), score: described.score });
        }
    }
    Ok(describe::table(&tree.names(), &found))
}

#[export_module(manifest)]
pub mod methods {
    /// Describes the feature of each node of the tree, as `features::describe` does, in one reading of a text. The tree
    /// keeps the descriptions and their scores; returns a table of them.
    ///
    /// Nodes that are outlier dimensions keep that name.
    ///
    /// # Options
    /// - `tokens` = 65_536: maximum number of tokens of the text
    /// - `context` = the model's: tokens in a row of the text
    /// - `seed` = 0: seed of the fragments drawn for the scores
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
        tree: &mut Tree,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        Ok(super::described(&env, tree, &m, &text, options)?)
    }
}
