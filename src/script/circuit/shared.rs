//! How stable trees are: which features two of them share.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::Tree;
use crate::base::{Result, Table};
use crate::circuit::Graph;
use crate::circuit::shared::{self, Found};
use crate::data::Text;
use crate::err;
use crate::sae;
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Fallible, Options, given};

/// The number of tokens of a text on which codes are compared.
const TOKENS: usize = 20_000;

/// A tree's dictionaries, which a comparison borrows.
fn with_dictionaries(tree: &Tree) -> Result<(&Graph, Vec<sae::Sae>)> {
    Ok((tree.graph(), tree.dictionaries()?))
}

fn found<'a>((graph, saes): &'a (&Graph, Vec<sae::Sae>)) -> Found<'a> {
    Found { graph, saes }
}

fn tokens(map: Options) -> Result<usize> {
    let mut read = options(map);
    let tokens = read.size("tokens", TOKENS)?;
    read.finish()?;
    Ok(tokens)
}

fn shared(env: &Env, tree: &Tree, other: &Tree, m: &Model, text: &Text, map: Options) -> Result<Table> {
    let tokens = tokens(map)?;
    let (a, b) = (with_dictionaries(tree)?, with_dictionaries(other).map_err(|e| e.about("other"))?);
    let matches = shared::matches(m.core(), found(&a), found(&b), text, tokens, &env.task)?;
    Ok(shared::table(tree.graph(), other.graph(), &matches))
}

fn stable(env: &Env, m: &Model, trees: &Array, text: &Text, map: Options) -> Result<Table> {
    let tokens = tokens(map)?;
    let list = given("trees", &Dynamic::from(trees.clone())).elements();
    let trees = list.iter().map(|one| one.handle::<Tree>().ok_or_else(|| one.refuse("a tree")));
    let trees = trees.collect::<Result<Vec<Tree>>>()?;
    if trees.len() < 2 {
        return Err(err!(Argument, "expected at least two trees to compare, found {}", trees.len()).about("trees"));
    }
    let all =
        trees.iter().map(|tree| with_dictionaries(tree).map_err(|e| e.about("trees"))).collect::<Result<Vec<_>>>()?;
    let all: Vec<Found> = all.iter().map(found).collect();
    shared::stability(m.core(), &all, text, tokens, &env.task)
}

#[export_module(manifest)]
pub mod functions {
    /// For each pair of some trees, how many features of the first are found again in the second, as a table: trees
    /// from two halves of a text, or of dictionaries fitted with other seeds.
    ///
    /// A feature is found again if one of the same site has nearly its direction and is active where it is: the cosine,
    /// and the correlation of both codes over all tokens of a text, are at least 0.7.
    ///
    /// # Options
    /// - `tokens` = 20000: tokens of the text
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
        Ok(super::stable(&env, &m, &trees, &text, options)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The features of the tree that are found again in another one, as a table: the most similar feature of the same
    /// site, the cosine of both directions, and the correlation of both codes over a text. A feature is shared if both
    /// are at least 0.7.
    ///
    /// # Options
    /// - `tokens` = 20000: tokens of the text
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
        tree: &mut Tree,
        other: Tree,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        Ok(super::shared(&env, tree, &other, &m, &text, options)?)
    }
}
