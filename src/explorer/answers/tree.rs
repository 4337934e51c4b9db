//! The causal tree of a feature.

use std::sync::Arc;

use serde::Serialize;

use super::super::state::Explorer;
use crate::base::{Error, Result, Task};
use crate::circuit::tree::{TreeOptions, TreeText, leading_to};
use crate::circuit::{Graph, Node};
use crate::err;
use crate::report::items::linked_graph;
use crate::report::picture::PictureLink;
use crate::sae::Sae;

/// A tree, and its drawing.
#[derive(Debug, Serialize)]
pub struct TreeAnswer {
    pub tree: Tree,
}

#[derive(Debug, Serialize)]
pub struct Tree {
    pub nodes: Vec<TreeNode>,
    /// Edges: from, to, and the share of its code that the latter loses without the former.
    pub edges: Vec<(usize, usize, f64)>,
    /// Each node is a link to `#DICTIONARY/FEATURE`.
    pub svg: String,
}

#[derive(Debug, Serialize)]
pub struct TreeNode {
    pub name: String,
    pub dictionary: usize,
    pub feature: usize,
    pub label: Option<String>,
}

/// Returns the options of the explorer's trees: those of `circuit::causal_tree`, but that no more is read than the
/// explorer's text has.
pub fn options(explorer: &Explorer) -> TreeOptions {
    let usual = TreeOptions::default();
    let tokens = usize::try_from(explorer.plan.tokens).unwrap_or(usual.tokens).min(usual.tokens);
    TreeOptions { tokens, ..usual }
}

/// Builds the tree of a feature over the dictionaries of earlier sites.
pub fn tree(explorer: &Explorer, dictionary: usize, feature: usize, task: &Task) -> Result<TreeAnswer> {
    explorer.with_feature(dictionary, feature)?;
    let read = tree_text(explorer, dictionary, task)?;
    let graph = read.tree(&explorer.model, feature, &options(explorer), task)?;
    if !graph.is_whole {
        return Err(Error::interrupted());
    }
    drawn(explorer, &read.saes, &graph)
}

/// Returns the text as the dictionaries that lead to one of them read it. The first tree of a dictionary reads it for all of
/// its features.
pub fn tree_text(explorer: &Explorer, dictionary: usize, task: &Task) -> Result<Arc<TreeText>> {
    let of = explorer.dictionary(dictionary)?;
    let all: Vec<Sae> = explorer.dictionaries.iter().map(|dictionary| dictionary.sae.clone()).collect();
    let saes = leading_to(&explorer.model, &all, &of.sae)?;
    if saes.len() < 2 {
        return Err(err!(Argument, "a tree needs a dictionary of an earlier site than {}, and there is none", of.name)
            .hint("start the explorer with one: --dictionary FILE can be given several times"));
    }
    let model = explorer.model.clone();
    let target = of.sae.clone();
    let text = explorer.text.clone();
    let options = options(explorer);
    let kept = explorer.kept(&tree_name(dictionary))?;
    let read = move |task: &Task| match kept {
        Some(survey) => Ok(TreeText { saes, survey: survey.read()? }),
        None => TreeText::read(&model, &all, &target, &text, &options, task),
    };
    of.tree.get(read, task)
}

/// Returns the name of the kept survey for the trees of a dictionary.
pub fn tree_name(dictionary: usize) -> String {
    format!("tree-{dictionary}.json")
}

fn drawn(explorer: &Explorer, saes: &[Sae], graph: &Graph) -> Result<TreeAnswer> {
    let label = |node: &Node, feature: usize| {
        explorer.said.of(&node.site, feature).map(|said| said.text.clone()).or_else(|| node.meaning.clone())
    };
    let node = |node: &Node| -> Result<TreeNode> {
        let sae = saes.get(node.level).ok_or_else(|| err!(Bug, "a node of no dictionary"))?;
        let known = explorer.dictionaries.iter().position(|dictionary| dictionary.sae.is(sae));
        let dictionary = known.ok_or_else(|| err!(Bug, "a node of another dictionary"))?;
        let feature = node.needed_feature()?;
        Ok(TreeNode { name: format!("{}/{feature}", node.site), dictionary, feature, label: label(node, feature) })
    };
    let nodes = graph.nodes.iter().map(node).collect::<Result<Vec<_>>>()?;
    let link = |index: usize| {
        let node = nodes.get(index);
        let address = node.map_or_else(String::new, |node| format!("#{}/{}", node.dictionary, node.feature));
        PictureLink { address, title: node.map_or_else(String::new, |node| node.name.clone()) }
    };
    let svg = linked_graph(graph, &link)?;
    let edges = graph.edges.iter().map(|edge| (edge.from, edge.to, edge.effect)).collect();
    Ok(TreeAnswer { tree: Tree { nodes, edges, svg } })
}
