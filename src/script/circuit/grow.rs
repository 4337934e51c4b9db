//! `circuit::causal_tree`: a tree of features over the dictionaries of several sites.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::{Reading, Tree, one_of};
use crate::base::{Cell, Result};
use crate::circuit::tree::{self, Depth, Rank, Read, TreeOptions, Way, leading_to};
use crate::circuit::{Graph, Node};
use crate::data::Text;
use crate::err;
use crate::features::FeatureCard;
use crate::features::card::{Looking, Surveyed, card};
use crate::features::survey::{KeptPositions, Survey};
use crate::report::items::Circuit;
use crate::report::symbols::count;
use crate::sae;
use crate::script::env::{Env, env};
use crate::script::features::Feature;
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::sae::Sae;
use crate::script::value::{Fallible, Options, given};

/// The number of tokens of a text that are searched for the strongest positions of features.
const TOKENS: usize = 50_000;

/// Tokens in a row of the text: a context that a person can take in.
const CONTEXT: usize = 64;

/// The number of random positions of each feature, for the cards of those that become nodes.
const IN_CARDS: usize = 8;

/// The dictionaries of an array.
pub fn dictionaries(saes: &Array) -> Result<Vec<Sae>> {
    let list = given("saes", &Dynamic::from(saes.clone())).elements();
    list.iter().map(|one| one.handle::<Sae>().ok_or_else(|| one.refuse("a dictionary"))).collect()
}

fn growing(read: &mut OptionReader) -> Result<TreeOptions> {
    let usual = TreeOptions::default();
    let options = TreeOptions {
        contexts: read.size("contexts", usual.contexts)?,
        children: read.size("children", usual.children)?,
        min_effect: read.number("min_effect", usual.min_effect)?,
        rank: one_of(read, "rank", &Rank::ALL, usual.rank)?,
        depth: one_of(read, "depth", &Depth::ALL, usual.depth)?,
        way: one_of(read, "way", &Way::ALL, usual.way)?,
        read: one_of(read, "read", &Read::ALL, usual.read)?,
    };
    for (name, value) in [("contexts", options.contexts), ("children", options.children)] {
        if value == 0 {
            return Err(err!(Argument, "expected at least 1 for `{name}`, found 0").about(name));
        }
    }
    if options.min_effect.is_nan() || options.min_effect < 0.0 {
        let found = options.min_effect;
        return Err(
            err!(Argument, "expected a share of at least 0 for `min_effect`, found {found}").about("min_effect")
        );
    }
    Ok(options)
}

fn grown(env: &Env, m: &Model, saes: &Array, f: &Feature, text: &Text, map: Options) -> Result<Tree> {
    let mut read = options(map);
    let (options, reading) = (growing(&mut read)?, Reading::read(&mut read, TOKENS, CONTEXT)?);
    read.finish()?;
    let mut given = dictionaries(saes)?;
    given.push(f.sae.clone());
    let cores: Vec<sae::Sae> = given.iter().map(|sae| sae.core.clone()).collect();
    let (_, others) = cores.split_last().unwrap_or((&f.sae.core, &[]));
    let cores = leading_to(m.core(), others, &f.sae.core).map_err(|e| e.about("saes"))?;
    let kept = KeptPositions { top: options.contexts, some: IN_CARDS, seed: 0 };
    let survey = reading.survey(m, &cores, text, kept, env)?;
    let mut graph = tree::causal_tree(m.core(), &cores, &survey, f.index, &options, &env.task)?;
    graph.made.push(("text".into(), text.name().into()));
    graph.made.push(("tokens".into(), Cell::Int(survey.positions as i64)));
    if !graph.is_whole {
        let found = count(graph.nodes.len(), "feature");
        env.task.say(&format!("stopped; the tree has what was found so far, {found}"));
    }
    let cards = if graph.is_whole { cards(env, m, &cores, &survey, &graph)? } else { Vec::new() };
    let of = |core: &sae::Sae| given.iter().find(|sae| std::ptr::eq(sae.core.parts(), core.parts())).cloned();
    let saes = cores.iter().filter_map(of).collect();
    Ok(Tree { circuit: Circuit { graph, cards }, saes, promotes: f.promotes.clone() })
}

/// A card for each node, from the text that the tree was found on.
fn cards(env: &Env, m: &Model, saes: &[sae::Sae], survey: &Survey, graph: &Graph) -> Result<Vec<Option<FeatureCard>>> {
    let bar = env.task.begin("looking at the features", Some(graph.nodes.len() as u64));
    let of_node = |node: &Node| -> Result<Option<FeatureCard>> {
        let Some(sae) = saes.get(node.level) else { return Ok(None) };
        let surveyed = Surveyed { survey, dictionary: node.level };
        let found = card((sae, node.feature), Some(m.core()), Some(surveyed), Looking::brief(), &env.task)?;
        bar.advance(1);
        Ok(Some(found))
    };
    graph.nodes.iter().map(of_node).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// The causal tree of a feature: the features of earlier dictionaries that it depends on, those that these depend
    /// on, and so on down to the first dictionary (Cunningham et al. 2023).
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
    /// - `contexts` = 20: number of positions for each feature
    /// - `children` = 3: maximum number of children of a feature
    /// - `min_effect` = 0.01: smaller effects are left out
    /// - `rank` = "signed": children are the features whose ablation lowers the parent most; or "abs": those that
    ///   change it most
    /// - `depth` = "full": all children are expanded; or "paper": below the children of the target only the strongest
    ///   child of each is, as in the authors' notebook
    /// - `way` = "ablate"; or "restore": the site is 0 but for c_f d_f, and the effect is the share of the parent's
    ///   code that this restores
    /// - `read` = "code": the parent's code; or "pre": its pre-activation
    /// - `tokens` = 50000: tokens of the text that are searched for the strongest positions
    /// - `context` = 64: tokens in a row of the text; at most the model's context
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
    ) -> Fallible<Tree> {
        let env = env(&ctx)?;
        Ok(super::grown(&env, &m, &saes, &f, &text, options)?)
    }
}
