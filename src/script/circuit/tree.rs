//! Trees as scripts hold them: display, properties, saving and loading.

use std::path::Path;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::Value;

use super::{cores, dictionaries, known};
use crate::base::{Cell, Result, Table};
use crate::circuit::{Circuit, Edge, Graph, Node};
use crate::err;
use crate::features;
use crate::report::picture::Picture;
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::engine::env::env;
use crate::script::engine::handle::handle;
use crate::script::engine::show::saved as written;
use crate::script::engine::value::{Fallible, from_json};
use crate::script::features::Feature;
use crate::script::sae::Sae;

/// A circuit, with what scripts know of its dictionaries.
#[derive(Clone)]
pub struct Tree {
    pub circuit: Circuit,
    /// The circuit's dictionaries, with their models and histories.
    saes: Vec<Sae>,
}

impl Tree {
    /// The dictionaries of the circuit are among those that were given.
    pub fn new(circuit: Circuit, given: &[Sae]) -> Self {
        let saes = known(&circuit.saes, given);
        Self { circuit, saes }
    }

    pub fn graph(&self) -> &Graph {
        &self.circuit.graph
    }

    /// The nodes as features of their dictionaries.
    fn features(&self) -> Result<Vec<Feature>> {
        let feature = |(of, node): (features::Feature, &Node)| {
            let sae = self.saes.get(node.level).ok_or_else(|| err!(Bug, "a node without its dictionary"))?;
            Ok(Feature { sae: sae.clone(), index: of.index, promotes: of.promotes })
        };
        self.circuit.features()?.into_iter().zip(&self.graph().nodes).map(feature).collect()
    }

    fn node_table(&self) -> Table {
        let rows = self.graph().nodes.iter().map(|node| {
            let meaning = node.meaning.as_deref().map_or(Cell::Missing, Cell::from);
            vec![
                node.site.as_str().into(),
                node.feature.into(),
                meaning,
                node.score.map_or(Cell::Missing, Cell::from),
                node.outlier.into(),
            ]
        });
        let columns = ["site", "feature", "meaning", "score", "outlier dimension"];
        Table { title: self.graph().title.clone(), columns: columns.map(String::from).to_vec(), rows: rows.collect() }
    }
}

impl Item for Tree {
    fn kind(&self) -> &'static str {
        self.circuit.kind()
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.circuit.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        self.circuit.html()
    }

    fn data(&self) -> Result<Value> {
        self.circuit.data()
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        self.circuit.picture()
    }

    fn graphviz(&self) -> Option<String> {
        self.circuit.graphviz()
    }
}

handle!(Tree, "Tree", |tree| {
    let part = if tree.graph().is_whole { "" } else { ", interrupted" };
    format!("{}: {}{part}", tree.graph().title, count(tree.graph().nodes.len(), "node"))
});

/// Saves a tree in the format of the file's extension. Its JSON is the graph alone, which can be loaded again.
fn saved(ctx: &NativeCallContext, tree: &Tree, path: &str) -> Result<String> {
    match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some("json") => {
            let written = env(ctx)?.files.save_whole(Path::new(path), tree.graph().json()?);
            Ok(written.map_err(|e| e.about("path"))?.display().to_string())
        }
        _ => written(ctx, tree, path),
    }
}

fn loaded(ctx: &NativeCallContext, path: &str, saes: &Array) -> Result<Tree> {
    let text = env(ctx)?.files.text(Path::new(path)).map_err(|e| e.about("path"))?;
    let graph = Graph::parse(&text).map_err(|e| e.within(path.to_string()).about("path"))?;
    let saes = dictionaries(saes)?;
    let circuit = match saes.is_empty() {
        true => Circuit::without_dictionaries(graph),
        false => Circuit::with_dictionaries(graph, &cores(&saes)).map_err(|e| e.about("saes"))?,
    };
    Ok(Tree::new(circuit, &saes))
}

/// The nodes as values of scripts, each with all of its fields.
fn nodes(tree: &Tree) -> Array {
    let of_node = |node: &Node| -> Dynamic {
        let fields: [(&str, Dynamic); 6] = [
            ("site", node.site.clone().into()),
            ("feature", (node.feature as i64).into()),
            ("level", (node.level as i64).into()),
            ("meaning", node.meaning.clone().map_or(Dynamic::UNIT, Dynamic::from)),
            ("score", node.score.map_or(Dynamic::UNIT, Dynamic::from)),
            ("outlier", node.outlier.into()),
        ];
        fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    tree.graph().nodes.iter().map(of_node).collect()
}

/// The edges as values of scripts.
fn edges(tree: &Tree) -> Array {
    let of_edge = |edge: &Edge| -> Dynamic {
        let fields: [(&str, Dynamic); 4] = [
            ("from", (edge.from as i64).into()),
            ("to", (edge.to as i64).into()),
            ("effect", edge.effect.into()),
            ("cosine", edge.cosine.into()),
        ];
        fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    tree.graph().edges.iter().map(of_edge).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Reads a tree that was saved as JSON. With the dictionaries that it was found with, it can be judged and described.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json")  //=> causal tree of feature 7 of resid_post.1: 3 nodes
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, path: &str) -> Fallible<Tree> {
        Ok(super::loaded(&ctx, path, &Array::new())?)
    }

    #[rhai_fn(name = "load", return_raw)]
    pub fn load_with(ctx: NativeCallContext, path: &str, saes: Array) -> Fallible<Tree> {
        Ok(super::loaded(&ctx, path, &saes)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Saves the tree as .svg, .png, .dot (Graphviz), .json, .txt or .html, by the file's extension. Returns the path
    /// of the file. `circuit::load` reads the JSON.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").save("doc/tree.dot").ends_with("tree.dot")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_tree(ctx: NativeCallContext, tree: &mut Tree, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, tree, path)?)
    }

    /// The graph: its title, model, sites, nodes, edges, whether it is complete, and how it was made.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").to_map().nodes[0].feature  //=> 7
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn tree_map(tree: &mut Tree) -> Fallible<Dynamic> {
        Ok(from_json(tree.graph().data()?))
    }

    /// The nodes of the tree as a table: site, feature, description, its score, and whether it is an outlier dimension.
    /// The first one is the target.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").table.to_map().rows[1][2]  //=> "token is \"(\""
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(tree: &mut Tree) -> Table {
        tree.node_table()
    }

    /// The nodes as maps of `site`, `feature`, `level`, `meaning`, `score` and `outlier`, the target first.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").nodes.map(|node| node.feature)  //=> [7, 3, 5]
    /// ```
    #[rhai_fn(global, get = "nodes", pure)]
    pub fn nodes(tree: &mut Tree) -> Array {
        super::nodes(tree)
    }

    /// The edges as maps of `from` and `to`, which count nodes, `effect` and `cosine`, that of the two directions.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").edges[0].effect  //=> 0.5
    /// ```
    #[rhai_fn(global, get = "edges", pure)]
    pub fn edges(tree: &mut Tree) -> Array {
        super::edges(tree)
    }

    /// The edges as a table, with the names of the features.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").edge_table.columns  //=> ["from", "to", "effect", "cosine"]
    /// ```
    #[rhai_fn(global, get = "edge_table", pure)]
    pub fn edge_table(tree: &mut Tree) -> Table {
        tree.graph().table()
    }

    /// Whether the search for the tree was completed; false after Ctrl-C.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").is_whole  //=> true
    /// ```
    #[rhai_fn(global, get = "is_whole", pure)]
    pub fn is_whole(tree: &mut Tree) -> bool {
        tree.graph().is_whole
    }

    /// The feature that the tree is of.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::load("tests/fixtures/circuits/tree.json", saes).target  //=> feature 7 of resid_post.1
    /// ```
    #[rhai_fn(global, get = "target", pure, return_raw)]
    pub fn target(tree: &mut Tree) -> Fallible<Feature> {
        let target = tree.features()?.into_iter().next();
        Ok(target.ok_or_else(|| err!(Argument, "expected a tree with a target, found one without nodes"))?)
    }

    /// The features of all nodes, the target first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::load("tests/fixtures/circuits/tree.json", saes).features.len()  //=> 3
    /// ```
    #[rhai_fn(global, get = "features", pure, return_raw)]
    pub fn features(tree: &mut Tree) -> Fallible<Array> {
        Ok(tree.features()?.into_iter().map(Dynamic::from).collect())
    }
}
