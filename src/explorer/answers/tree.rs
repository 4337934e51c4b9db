//! The causal tree of a feature.

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

/// Builds the tree of a feature over the dictionaries of earlier sites. The first one of a dictionary reads the text
/// for all of its features.
pub fn tree(explorer: &Explorer, dictionary: usize, feature: usize, task: &Task) -> Result<TreeAnswer> {
    let of = explorer.with_feature(dictionary, feature)?;
    let all: Vec<Sae> = explorer.dictionaries.iter().map(|dictionary| dictionary.sae.clone()).collect();
    if leading_to(&explorer.model, &all, &of.sae)?.len() < 2 {
        return Err(err!(Argument, "a tree needs a dictionary of an earlier site than {}, and there is none", of.name)
            .hint("start the explorer with one: --dictionary FILE can be given several times"));
    }
    let model = explorer.model.clone();
    let target = of.sae.clone();
    let text = explorer.text.clone();
    let options = options(explorer);
    let growing = options.clone();
    let read = move |task: &Task| TreeText::read(&model, &all, &target, &text, &growing, task);
    let read = of.tree.get(read, task)?;
    let graph = read.tree(&explorer.model, feature, &options, task)?;
    if !graph.is_whole {
        return Err(Error::interrupted());
    }
    drawn(explorer, &read.saes, &graph)
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
