//! Circuits as scripts hold them: display, properties, saving and loading.

use super::{cores, dictionaries, known};
use crate::circuit::attribution_graph::{AttributionGraph, GraphDictionaries};
use crate::circuit::edges::eap_file;
use crate::circuit::{self, Edge, EdgeHeads, EdgeScore, Graph, HeadLoading, Node, Part, ScorePair};
use crate::features;
use crate::report::live::circuit::of_transcoders;
use crate::report::live::part::LivePart;
use crate::report::picture::Picture;
use crate::script::engine::show::saved as written;
use crate::script::features::Feature;
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// A circuit, with what scripts know of its dictionaries.
#[derive(Clone)]
pub struct Circuit {
    pub core: circuit::Circuit,
    /// The circuit's dictionaries, with their models and histories.
    saes: Vec<Sae>,
    /// The attribution graph that it is a part of, with its dictionaries.
    pub attribution: Option<(Rc<AttributionGraph>, Rc<GraphDictionaries>)>,
}

impl Circuit {
    /// Makes a circuit, whose dictionaries are among those that were given.
    pub fn new(core: circuit::Circuit, given: &[Sae]) -> Self {
        let saes = known(&core.saes, given);
        Self { core, saes, attribution: None }
    }

    /// Returns another circuit, or a part of this one, with the dictionaries of this one.
    pub fn with_core(&self, core: circuit::Circuit) -> Self {
        Self { core, ..self.clone() }
    }

    pub fn graph(&self) -> &Graph {
        &self.core.graph
    }

    /// Takes the dictionaries of a graph of transcoders that were made together, for what is asked of single features.
    pub fn with_dictionaries(&mut self) -> Result<()> {
        if !self.core.saes.is_empty() {
            return Ok(());
        }
        let Some((graph, dictionaries)) = &self.attribution else { return Ok(()) };
        if graph.has_lorsas {
            return Err(err!(Argument, "expected a graph of transcoders, found one with Lorsas, too")
                .hint("`l.cards(m, text, heads)` makes the cards of a Lorsa's heads"));
        }
        let saes = dictionaries.transcoders.one_by_one()?;
        self.core = circuit::Circuit::with_dictionaries(self.core.graph.clone(), &saes)?;
        self.saes = self.core.saes.iter().cloned().map(Sae::from).collect();
        Ok(())
    }

    /// Returns the nodes that are features, as features of their dictionaries.
    fn features(&self) -> Result<Vec<Feature>> {
        let feature = |of: features::Feature| {
            let sae = self.saes.iter().find(|sae| sae.core.is(&of.sae));
            let sae = sae.ok_or_else(|| err!(Bug, "a node without its dictionary"))?;
            Ok(Feature { sae: sae.clone(), index: of.index, promotes: of.promotes })
        };
        self.core.features()?.into_iter().map(feature).collect()
    }
}

impl Item for Circuit {
    fn kind(&self) -> &'static str {
        self.core.kind()
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        self.core.detached()
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.core.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        self.core.html()
    }

    fn data(&self) -> Result<Value> {
        self.core.data()
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        self.core.picture()
    }

    fn graphviz(&self) -> Option<String> {
        self.core.graphviz()
    }

    fn live(&self) -> Option<LivePart> {
        match &self.attribution {
            Some((whole, dictionaries)) if !whole.has_lorsas => {
                Some(of_transcoders(self.graph(), whole, &dictionaries.transcoders))
            }
            _ => self.core.live(),
        }
    }
}

handle!(Circuit, "Circuit", |circuit| {
    let part = if circuit.graph().is_whole { "" } else { ", interrupted" };
    format!("{}: {}{part}", circuit.graph().title, count(circuit.graph().nodes.len(), "node"))
});

/// Saves a circuit in the format of the file's extension. Its JSON is the graph alone, which can be loaded again.
fn saved(ctx: &NativeCallContext, circuit: &Circuit, path: &str) -> Result<String> {
    if path.ends_with(eap_file::EXTENSION) {
        return saved_for_eap(ctx, circuit, circuit, path);
    }
    match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some("json") => {
            let written = env(ctx)?.files.save_whole(Path::new(path), circuit.graph().json()?);
            Ok(written.map_err(|e| e.about("path"))?.display().to_string())
        }
        _ => written(ctx, circuit, path),
    }
}

/// Saves all edges of one circuit in EAP-IG's format, with those of another marked as in the circuit.
fn saved_for_eap(ctx: &NativeCallContext, all: &Circuit, circuit: &Circuit, path: &str) -> Result<String> {
    if !path.ends_with(eap_file::EXTENSION) {
        return Err(
            err!(Argument, "expected a file name that ends in {}, found {path:?}", eap_file::EXTENSION).about("path")
        );
    }
    let text = eap_file::written(all.graph(), circuit.graph())?;
    let written = env(ctx)?.files.save_whole(Path::new(path), text);
    Ok(written.map_err(|e| e.about("path"))?.display().to_string())
}

/// Reads the graph of a file, as its text is read.
fn graph_of(ctx: &NativeCallContext, path: &str, read: impl Fn(&str) -> Result<Graph>) -> Result<Graph> {
    let text = env(ctx)?.files.text(Path::new(path)).map_err(|e| e.about("path"))?;
    read(&text).map_err(|e| e.within(path.to_string()).about("path"))
}

fn loaded(ctx: &NativeCallContext, path: &str, saes: &Array) -> Result<Circuit> {
    let graph = graph_of(ctx, path, circuit::parsed)?;
    let saes = dictionaries(saes)?;
    let circuit = if saes.is_empty() {
        circuit::Circuit::without_dictionaries(graph)
    } else {
        circuit::Circuit::with_dictionaries(graph, &cores(&saes)).map_err(|e| e.about("saes"))?
    };
    Ok(Circuit::new(circuit, &saes))
}

/// Returns the nodes as values of scripts, each with the keys of its part.
fn nodes(circuit: &Circuit) -> Array {
    let number = |value: Option<f64>| value.map_or(Dynamic::UNIT, Dynamic::from);
    let of_node = |node: &Node| -> Dynamic {
        let of_part: Option<(&str, Dynamic)> = match node.part {
            Part::Whole => None,
            Part::Head(head) => Some(("head", (head as i64).into())),
            Part::Feature(feature) => Some(("feature", (feature as i64).into())),
            Part::Error => Some(("error", true.into())),
            Part::Channel(channel) => Some(("channel", (channel as i64).into())),
            Part::Token(token) => Some(("token", i64::from(token).into())),
        };
        let fields: [(&str, Dynamic); 9] = [
            ("name", node.name().into()),
            ("site", node.site.clone().into()),
            ("level", (node.level as i64).into()),
            ("position", node.position.map_or(Dynamic::UNIT, |position| (position as i64).into())),
            ("effect", number(node.effect)),
            ("value", number(node.value)),
            ("meaning", node.meaning.clone().map_or(Dynamic::UNIT, Dynamic::from)),
            ("score", number(node.score)),
            ("outlier", node.outlier.into()),
        ];
        fields.into_iter().chain(of_part).map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    circuit.graph().nodes.iter().map(of_node).collect()
}

/// Returns the edges as values of scripts.
fn edges(circuit: &Circuit) -> Array {
    let of_edge = |edge: &Edge| -> Dynamic {
        let heads = edge.heads.as_ref().map(edge_heads);
        let fields: [(&str, Dynamic); 6] = [
            ("name", circuit.graph().edge_name(edge).into()),
            ("from", (edge.from as i64).into()),
            ("to", (edge.to as i64).into()),
            ("input", edge.port.map_or(Dynamic::UNIT, |port| port.to_string().into())),
            ("effect", edge.effect.into()),
            ("cosine", edge.cosine.map_or(Dynamic::UNIT, Dynamic::from)),
        ];
        let heads = heads.map(|heads| ("heads", heads));
        let score = edge.score.as_ref().map(|score| ("score", edge_score(score)));
        fields.into_iter().chain(heads).chain(score).map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    circuit.graph().edges.iter().map(of_edge).collect()
}

/// Returns the shares of heads in an edge as values of scripts.
fn edge_heads(edge: &EdgeHeads) -> Dynamic {
    let of_head = |one: &HeadLoading| -> Dynamic {
        let fields: [(&str, Dynamic); 3] =
            [("head", edge.name(one).into()), ("alone", one.alone.into()), ("through", one.through.into())];
        fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    let heads: Array = edge.heads.iter().map(of_head).collect();
    let fields: [(&str, Dynamic); 3] =
        [("direct", edge.direct.into()), ("several", edge.several.into()), ("heads", heads.into())];
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
}

/// Returns the score of an edge as values of scripts.
fn edge_score(score: &EdgeScore) -> Dynamic {
    let of_pair = |pair: &ScorePair| -> Dynamic {
        let fields: [(&str, Dynamic); 3] =
            [("query", pair.query.clone().into()), ("key", pair.key.clone().into()), ("score", pair.score.into())];
        fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
    };
    let pairs: Array = score.pairs.iter().map(of_pair).collect();
    let fields: [(&str, Dynamic); 4] = [
        ("head", score.head.clone().into()),
        ("score", score.score.into()),
        ("biases", score.biases.into()),
        ("pairs", pairs.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
}

#[export_module(manifest)]
pub mod functions {
    /// Reads a circuit that was saved as JSON: by us, by EAP-IG, or in the format of circuit-tracer and Neuronpedia. One of
    /// features can be judged and described with the dictionaries that it was found with.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json")  //=> causal tree of feature 7 of resid_post.1: 3 nodes
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, path: &str) -> Fallible<Circuit> {
        Ok(super::loaded(&ctx, path, &Array::new())?)
    }

    /// Reads all edges with their scores from a file of EAP-IG, and not only those that are marked as in the circuit.
    ///
    /// # Example
    /// ```
    /// circuit::load_scores("tests/fixtures/edges/gpt2/eap.json").edges.len()  //=> 172
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_scores(ctx: NativeCallContext, path: &str) -> Fallible<Circuit> {
        let graph = super::graph_of(&ctx, path, |text| eap_file::parse(text, true))?;
        Ok(Circuit::new(circuit::Circuit::without_dictionaries(graph), &[]))
    }

    #[rhai_fn(name = "load", return_raw)]
    pub fn load_with(ctx: NativeCallContext, path: &str, saes: Array) -> Fallible<Circuit> {
        Ok(super::loaded(&ctx, path, &saes)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Saves the circuit as .svg, .png, .pdf, .dot (Graphviz), .json, .txt or .html, by the file's extension. Returns the
    /// path of the file. `circuit::load` reads the JSON. A name that ends in .eap.json has the format of EAP-IG, for edges between
    /// heads and MLPs: `all.save("x.eap.json", part)` writes the scores of all edges and marks those of a part.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").save("doc/tree.dot").ends_with("tree.dot")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_circuit(ctx: NativeCallContext, circuit: &mut Circuit, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, circuit, path)?)
    }

    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_part(ctx: NativeCallContext, circuit: &mut Circuit, path: &str, part: Circuit) -> Fallible<String> {
        Ok(super::saved_for_eap(&ctx, circuit, &part, path)?)
    }

    /// Returns the graph as a map: its title, model, sites, nodes, edges, whether it is complete, and how it was made.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").to_map().nodes[0].feature  //=> 7
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn circuit_map(circuit: &mut Circuit) -> Fallible<Dynamic> {
        Ok(from_json(circuit.graph().data()?))
    }

    /// Tabulates the nodes: site, head, feature or token, its position, effect and value where it has one; for features
    /// the description, its score, and whether it is an outlier dimension. The first node of a tree is its target.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").table.to_map().rows[1][2]  //=> "token is \"(\""
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(circuit: &mut Circuit) -> Table {
        circuit.graph().node_table()
    }

    /// Returns the nodes as maps of `name`, `site`, `level`, `position`, `effect`, `value`, `meaning`, `score` and
    /// `outlier`, and by what they are of their site one of `feature`, `head`, `token` or `error`. The first node of a
    /// tree is its target.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").nodes.map(|node| node.feature)  //=> [7, 3, 5]
    /// ```
    #[rhai_fn(global, get = "nodes", pure)]
    pub fn nodes(circuit: &mut Circuit) -> Array {
        super::nodes(circuit)
    }

    /// Returns the edges as maps of their `name`, `from` and `to`, which count nodes, `input` (which of a head's three
    /// inputs), `effect`, and `cosine`, that of the two directions. An edge that `c.heads(m)` has split has `heads`, too: the
    /// shares that pass no head (`direct`) and `several`, and for each head its share `alone` and `through` it; one whose score
    /// `c.qk(m)` has split has `score`: the `head` that looks along it, its `score`, what pairs with the `biases` of the key sum to, and
    /// the largest other `pairs`.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").edges[0].effect  //=> 0.5
    /// ```
    #[rhai_fn(global, get = "edges", pure)]
    pub fn edges(circuit: &mut Circuit) -> Array {
        super::edges(circuit)
    }

    /// Tabulates the edges, with the names of the nodes.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").edge_table.columns  //=> ["from", "to", "effect", "cosine"]
    /// ```
    #[rhai_fn(global, get = "edge_table", pure)]
    pub fn edge_table(circuit: &mut Circuit) -> Table {
        circuit.graph().table()
    }

    /// Returns whether the search for the circuit was completed; false after Ctrl-C.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").is_whole  //=> true
    /// ```
    #[rhai_fn(global, get = "is_whole", pure)]
    pub fn is_whole(circuit: &mut Circuit) -> bool {
        circuit.graph().is_whole
    }

    /// Returns the feature that the tree explains.
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
    pub fn target(circuit: &mut Circuit) -> Fallible<Feature> {
        let target = circuit.features()?.into_iter().next();
        Ok(target.ok_or_else(|| err!(Argument, "expected a tree with a target, found one without nodes"))?)
    }

    /// Returns the features among the nodes, the target of a tree first.
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
    pub fn features(circuit: &mut Circuit) -> Fallible<Array> {
        Ok(circuit.features()?.into_iter().map(Dynamic::from).collect())
    }
}
