//! `circuit::attribution_graph`, and what is done with its result.

use super::cores;
use crate::circuit;
use crate::circuit::attribution_graph::intervene::{InterveneOptions, NodeChange};
use crate::circuit::attribution_graph::loadings::EdgeLoadings;
use crate::circuit::attribution_graph::lorsa_paths::path_loadings;
use crate::circuit::attribution_graph::scores::EdgeScoreOptions;
use crate::circuit::attribution_graph::{
    ActiveFeature, AttributionGraph as Core, AttributionGraphOptions, GraphDictionaries, LayerPart, PruneOptions,
    attribution_graph, loadings, predict, scores,
};
use crate::features::FeatureCard;
use crate::sae;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;
use crate::script::sae::{Lorsa, Transcoders};

/// The number of heads of an edge that are shown.
const SHOWN: usize = 20;

handle_setting!(LorsaSetting(Lorsa), "a Lorsa", |lorsa| lorsa.short());

/// Returns Lorsas without what only scripts know of them.
pub fn lorsa_cores(lorsas: Vec<LorsaSetting>) -> Vec<sae::lorsa::Lorsa> {
    lorsas.into_iter().map(|lorsa| sae::lorsa::Lorsa::clone(&lorsa.0.core)).collect()
}

crate::options! {
    /// All options of `circuit::attribution_graph`.
    #[derive(Clone)]
    pub struct GraphCall {
        /// Lorsas of `sae::lorsa` that stand for the attention of all layers, one for each, so that their heads are
        /// nodes and no edge passes the model's own attention.
        lorsas: Vec<LorsaSetting> = Vec::new() => usually("none");
        with graph: AttributionGraphOptions;
    }
}

/// An attribution graph with the dictionaries that it was made with.
#[derive(Clone)]
pub struct AttributionGraph {
    pub core: Rc<Core>,
    pub transcoders: Transcoders,
    /// The dictionaries, as the core has them.
    dictionaries: Rc<GraphDictionaries>,
}

impl AttributionGraph {
    fn pruned(&self, options: PruneOptions) -> Result<Circuit> {
        let graph = self.core.circuit(options);
        let saes = &self.transcoders.saes;
        // Lorsas are no dictionaries of single features, which the circuit would need for all of its sites.
        let core = if saes.is_empty() || self.core.has_lorsas {
            circuit::Circuit::without_dictionaries(graph)
        } else {
            circuit::Circuit::with_dictionaries(graph, &cores(saes))?
        };
        let mut circuit = Circuit::new(core, saes);
        circuit.attribution = Some((self.core.clone(), self.dictionaries.clone()));
        Ok(circuit)
    }

    /// Returns the places of nodes in the graph's order, by name.
    fn places(core: &Core) -> BTreeMap<String, usize> {
        (0..core.matrix.size()).map(|node| (core.node(node).name(), node)).collect()
    }

    /// Finds the two nodes of an edge that is named as in a circuit.
    fn edge(&self, name: &str) -> Result<(usize, usize)> {
        let places = Self::places(&self.core);
        let place = |node: &str| {
            places.get(node).copied().ok_or_else(|| {
                err!(Argument, "expected nodes of the graph, found `{node}`").hint("g.prune().nodes has their names")
            })
        };
        let Some((from, to)) = name.split_once(" -> ") else {
            return Err(err!(Argument, "expected an edge, found `{name}`").hint("g.prune().edges has their names"));
        };
        let found = (place(from)?, place(to)?);
        let target = self.core.counts().first_target();
        if found.0 >= target || (self.core.features.len()..target).contains(&found.1) {
            return Err(err!(Argument, "expected an edge to a feature or a target of the graph, found `{name}`")
                .hint("errors and tokens read nothing, and targets write nothing"));
        }
        Ok(found)
    }

    /// Finds the features of these names, and their new values.
    fn changes(&self, names: &Dynamic, options: &InterveneOptions) -> Result<Vec<NodeChange>> {
        let names = given("nodes", names).texts()?;
        let of_name = |name: &String| {
            let known = (0..self.core.features.len()).find(|node| self.core.node(*node).name() == *name);
            let Some(one) = known.and_then(|node| self.core.features.get(node)) else {
                return Err(err!(Argument, "expected features of the graph, found `{name}`")
                    .hint("g.prune().nodes has their names, such as `mlp_in.2/44@5`")
                    .about("nodes"));
            };
            Ok(one.set_to(options.new_value(one.activation)?))
        };
        names.iter().map(of_name).collect()
    }

    fn fields(&self) -> [(&'static str, Cell); 7] {
        let core = &self.core;
        let labels: Vec<&str> = core.targets.iter().map(|target| target.label.as_str()).collect();
        [
            ("model", core.model.as_str().into()),
            ("tokens", core.tokens.len().into()),
            ("active features", core.active.into()),
            ("computed features", core.features.len().into()),
            ("targets", labels.join(" | ").into()),
            ("replacement", core.replacement().into()),
            ("completeness", core.completeness().into()),
        ]
    }
}

impl Handle for AttributionGraph {
    const NAME: &'static str = "AttributionGraph";

    fn short(&self) -> String {
        let core = &self.core;
        let part = if core.is_whole { "" } else { ", interrupted" };
        let features = count(core.active, "active feature");
        format!(
            "attribution graph of {}: {} of {features}{part}",
            count(core.tokens.len(), "token"),
            core.features.len()
        )
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Card::new(self.short(), self.fields()).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let core = &self.core;
        let feature = |one: &ActiveFeature| json!([one.layer, one.position, one.feature, one.activation]);
        let of_part =
            |part: LayerPart| -> Value { core.features.iter().filter(|one| one.part == part).map(feature).collect() };
        let mut found = json!({
            "model": core.model, "prompt": core.prompt, "tokens": core.texts, "active": core.active,
            "features": of_part(LayerPart::Mlp),
            "targets": core.targets.iter().map(|target| json!([target.label, target.weight])).collect::<Vec<_>>(),
            "replacement": core.replacement(), "completeness": core.completeness(), "is_whole": core.is_whole,
        });
        if core.has_lorsas {
            found["heads"] = of_part(LayerPart::Attention);
        }
        Ok(found)
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.pruned(PruneOptions::default())?)))
    }
}

/// The edges of a circuit of an attribution graph, split by heads.
struct SplitCircuit {
    graph: Rc<Core>,
    dictionaries: Rc<GraphDictionaries>,
    edges: Vec<EdgeLoadings>,
}

impl SplitCircuit {
    fn of(ctx: &NativeCallContext, circuit: &Circuit, m: &Model) -> Result<Self> {
        let Some((graph, dictionaries)) = circuit.attribution.clone() else {
            return Err(err!(Argument, "expected a circuit of an attribution graph, found another")
                .hint("g.prune() of circuit::attribution_graph gives one"));
        };
        let places = AttributionGraph::places(&graph);
        let nodes = &circuit.graph().nodes;
        let place = |node: usize| {
            let found = nodes.get(node).and_then(|node| places.get(&node.name()).copied());
            found.ok_or_else(|| err!(Bug, "a node of a circuit that its graph has not"))
        };
        let edge = |edge: &circuit::Edge| Ok((place(edge.from)?, place(edge.to)?));
        let edges = circuit.graph().edges.iter().map(edge).collect::<Result<Vec<_>>>()?;
        let edges = loadings::head_loadings(m.core(), &*dictionaries, &graph, &edges, &env(ctx)?.task)?;
        Ok(Self { graph, dictionaries, edges })
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Computes the attribution graph of a prompt (Ameisen et al. 2025): which features of transcoders make up the
    /// logits of the likeliest tokens and each other, with errors for what the transcoders leave unexplained, and
    /// tokens.
    ///
    /// The model runs once; then its attention patterns, the scales of its norms and what its MLPs write are held. So an edge
    /// is exact: what its source adds to the input of its target. The edges of a target and constants (biases, and all
    /// that is written at the first position) sum to its input. Influence is the share of the targets' inputs that comes
    /// through a node, over all paths. It agrees with circuit-tracer.
    ///
    /// `transcoders` are those of `sae::transcoders`, or an array of one for each layer. Where more features are active than
    /// `nodes`, the most influential ones are computed; `prune` then keeps what matters. Memory: 4 bytes for each
    /// head, query and key of all layers and thrice of one, for each number of the active features' decoder rows, and
    /// for each edge and each source that a computed feature may have; what does not fit is refused before it is
    /// computed.
    ///
    /// With `lorsas` the graph is without the model's attention, too: a head of a Lorsa (He et al. 2025) that is active
    /// is a node, such as `attn_in.2/17@5`, and what the Lorsa leaves unexplained is an error, `attn_in.2/error@5`. A
    /// head reads the values that it mixes, by its own pattern, which is held. Each layer needs a Lorsa. Descriptions of
    /// nodes and `save_viewer` are for graphs of transcoders alone.
    ///
    /// Transcoder adapters (`diff::adapted`) write beside the MLPs of their base. What these MLPs write is held, and an error;
    /// with `mlps: "relp"` edges pass them by relevance propagation, as in Hu et al. 2026, and no errors are left. Such edges
    /// still sum to what their target reads; they are no derivatives, and no run holds all and changes by them.
    ///
    /// Ctrl-C ends the search, not the script: the call returns the graph so far, whose `is_whole` is false.
    ///
    /// # Options
    /// - [attribution_graph]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3, 94, 35, 31], #{ logits: 2 });
    /// g.targets.len()  //=> 2
    /// ```
    #[rhai_fn(name = "attribution_graph", return_raw)]
    pub fn graph_of(
        ctx: NativeCallContext,
        m: Model,
        transcoders: Any,
        prompt: Any,
        options: Options,
    ) -> Fallible<AttributionGraph> {
        let env = env(&ctx)?;
        let GraphCall { lorsas, graph: options } = taken(options)?;
        let transcoders = Transcoders::given(&transcoders)?;
        let prompt = one_text(&ctx, &m, "prompt", &prompt)?;
        let dictionaries = GraphDictionaries { transcoders: transcoders.core.clone(), lorsas: lorsa_cores(lorsas) };
        let core = attribution_graph(m.core(), &dictionaries, &prompt, &options, &env.task)?;
        if !core.is_whole {
            let found = count(core.features.len(), "feature");
            env.task.say(&format!("stopped; the graph has what was computed so far, {found}"));
        }
        Ok(AttributionGraph { core: Rc::new(core), transcoders, dictionaries: Rc::new(dictionaries) })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Prunes an attribution graph to a circuit: the most influential features and errors, and of the edges between
    /// them those with the largest scores. The effect of a node is its influence, its value a feature's activation or a
    /// logit's probability; the effect of an edge is what its source adds to the input of its target.
    ///
    /// # Options
    /// - [prune]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3]);
    /// g.prune(#{ nodes: 0.5 }).nodes.len() < g.prune(#{ nodes: 0.9 }).nodes.len()  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn prune(g: &mut AttributionGraph, options: Options) -> Fallible<Circuit> {
        Ok(g.pruned(taken(options)?)?)
    }

    /// Returns all edges of an attribution graph: rows are targets, columns sources. The order of both is features by
    /// layer, position and index, errors by layer and position, tokens, targets. Of a layer with a Lorsa heads and
    /// their errors stand before features of its transcoder and theirs.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ nodes: 5, logits: 1 });
    /// g.adjacency.shape  //=> [22, 22]
    /// ```
    #[rhai_fn(global, get = "adjacency", pure, return_raw)]
    pub fn adjacency(g: &mut AttributionGraph) -> Fallible<Tensor> {
        Ok(g.core.adjacency()?)
    }

    /// Returns the influence of each node of an attribution graph, in the order of `adjacency`: how much of the
    /// targets' inputs comes through it, over all paths.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ nodes: 5, logits: 1 }).influence.shape  //=> [22]
    /// ```
    #[rhai_fn(global, get = "influence", pure, return_raw)]
    pub fn influence(g: &mut AttributionGraph) -> Fallible<Tensor> {
        let influence = g.core.influence();
        let count = influence.len();
        Ok(Tensor::from_vec(influence, count, &Device::Cpu).map_err(crate::base::Error::from)?)
    }

    /// Lists the names of the features of an attribution graph, in the order of `adjacency`.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ nodes: 5 }).features.len()  //=> 5
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn graph_features(g: &mut AttributionGraph) -> Array {
        (0..g.core.features.len()).map(|node| g.core.node(node).name().into()).collect()
    }

    /// Measures how much of what leads from tokens to logits passes features and not errors: the share of the tokens in
    /// the influence of tokens and errors.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3]);
    /// g.replacement > 0 && g.replacement < 1  //=> true
    /// ```
    #[rhai_fn(global, get = "replacement", pure)]
    pub fn replacement(g: &mut AttributionGraph) -> Dynamic {
        g.core.replacement().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the share of the nodes' inputs that are no errors, weighted by the nodes' influence.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3]);
    /// g.completeness > g.replacement  //=> true
    /// ```
    #[rhai_fn(global, get = "completeness", pure)]
    pub fn completeness(g: &mut AttributionGraph) -> Dynamic {
        g.core.completeness().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns whether all features that were asked for were computed; false after Ctrl-C.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ nodes: 0 }).is_whole  //=> true
    /// ```
    #[rhai_fn(global, get = "is_whole", pure)]
    pub fn is_graph_whole(g: &mut AttributionGraph) -> bool {
        g.core.is_whole
    }

    /// Sets features of an attribution graph to another value in the model, 0 by default, and says how the targets' logits
    /// change, beside what the graph predicts; both less the mean over all tokens.
    ///
    /// With all frozen the change is the direct effect, which the edges give but for rounding. Where a model caps its logits
    /// softly, as Gemma 2 does, they give the change before the cap, and what is measured is behind it, and smaller. With
    /// patterns frozen, or nothing, the change goes through the model's own MLPs; the prediction then follows all paths of
    /// the graph, as if features stayed active. `nodes` is a name of `features`, or an array of several.
    ///
    /// A head of a Lorsa is changed along its direction, in what the model's attention writes. With all frozen that is
    /// held, too; else the change goes through the model's own attention, and by the model's patterns where these are
    /// frozen.
    ///
    /// # Options
    /// - [intervene_graph]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let found = g.intervene(m, g.features[0], #{ factor: 3 }).to_map().rows[0];
    /// round_to(found[1] - found[2], 4)  //=> 0.0
    /// ```
    #[rhai_fn(global, name = "intervene", pure, return_raw)]
    pub fn intervene_graph(
        ctx: NativeCallContext,
        g: &mut AttributionGraph,
        m: Model,
        nodes: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: InterveneOptions = taken(options)?;
        let core = &g.core;
        let changes = g.changes(&nodes, &options)?;
        let found = core.effects(m.core(), &*g.dictionaries, &changes, options.freeze, &env.task)?;
        Ok(predict::table(&found))
    }

    /// Splits an edge of an attribution graph by the attention heads that carry it (head loadings, Kamath et al. 2025), as a
    /// table of the 20 strongest, the others together, what passes no head, and what passes several. `edge` is a name of
    /// `g.prune().edges`.
    ///
    /// With patterns and norms held, an edge is a sum over paths, each of which passes at most one head of a layer. `alone`
    /// is the share of paths that pass this head and no other, and `through` that of all paths that pass it: what the edge
    /// would lose without the head. The column `alone` sums to the edge; so do, for any one layer, `through` of its heads
    /// and what passes none of them.
    ///
    /// In a graph with Lorsas an edge passes no head but the one that it ends at. There any two nodes have a split: what the
    /// first adds to the second over all paths through heads that are nodes, where the one that a path ends at counts as passed. It
    /// is the edge of a graph of transcoders alone, as far as Lorsas explain attention.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let edge = g.prune().edges[0];
    /// let found = g.heads(m, edge.name);
    /// round_to(found["alone"][-1] - edge.effect, 4)  //=> 0.0
    /// ```
    #[rhai_fn(global, name = "heads", pure, return_raw)]
    pub fn edge_heads(ctx: NativeCallContext, g: &mut AttributionGraph, m: Model, edge: &str) -> Fallible<Table> {
        let (from, to) = g.edge(edge).map_err(|e| e.about("edge"))?;
        let title = format!("heads of {edge}");
        if g.core.has_lorsas {
            return Ok(path_loadings(m.core(), &g.core, from, to)?.table(title, SHOWN));
        }
        let found = loadings::head_loadings(m.core(), &*g.dictionaries, &g.core, &[(from, to)], &env(&ctx)?.task)?;
        let table = found.first().map(|one| one.table(title, SHOWN));
        Ok(table.ok_or_else(|| err!(Bug, "an edge that was not split"))?)
    }

    /// Splits all edges of a circuit of an attribution graph by the attention heads that carry them, as `g.heads` splits one.
    /// The circuit keeps the shares of each: its table and its page name the strongest head, `edges` and its JSON have all.
    /// In a graph with Lorsas an edge passes the head that it ends at, or none. Returns the table of edges.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let c = g.prune();
    /// c.heads(m)["strongest head"].len() == c.edges.len()  //=> true
    /// let heads = c.edges[-1].heads;
    /// let alone = heads.heads.map(|one| one.alone).reduce(|sum, share| sum + share, 0.0);
    /// round_to(heads.direct + heads.several + alone - c.edges[-1].effect, 4)  //=> 0.0
    /// ```
    #[rhai_fn(global, name = "heads", return_raw)]
    pub fn circuit_heads(ctx: NativeCallContext, circuit: &mut Circuit, m: Model) -> Fallible<Table> {
        let found = super::SplitCircuit::of(&ctx, circuit, &m)?.edges;
        for (edge, found) in circuit.core.graph.edges.iter_mut().zip(found) {
            edge.heads = Some(found.parts);
        }
        Ok(circuit.graph().table())
    }

    /// Splits, for each edge of a circuit of an attribution graph that leads from an earlier position, the score of the head that
    /// carries the most of it alone into pairs of parts, as `circuit::qk` does with the graph's transcoders: why that head looks from
    /// where the edge ends to where it begins (QK attributions, Kamath et al. 2025). The circuit keeps the head, its score and
    /// the largest pairs of each edge, beside what `c.heads(m)` keeps: its table and its page have the largest pair, `edges`
    /// and its JSON all that are kept. Returns the table of edges.
    ///
    /// Parts are features of transcoders and heads by the names that nodes have, without their positions: the part at the query
    /// is at the position of the edge's end, that at the key at the position of its beginning. Pairs with the biases of the key, which
    /// all keys have in common, are summed and not among the largest: they say nothing of where a head looks. Other parts may
    /// be much the same at other keys, too; `circuit::qk` with another `to` shows it.
    ///
    /// In a graph with Lorsas the head is the one that the edge ends at, its score that of its group, and parts are heads of
    /// Lorsas in place of the model's.
    ///
    /// # Options
    /// - [edge_scores]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let c = g.prune();
    /// c.qk(m, #{ pairs: 2 }).columns.contains("looks by")  //=> true
    /// let edge = c.edges.filter(|edge| "score" in edge)[0];
    /// edge.score.pairs.len()  //=> 2
    /// ```
    #[rhai_fn(global, name = "qk", return_raw)]
    pub fn edge_scores(ctx: NativeCallContext, circuit: &mut Circuit, m: Model, options: Options) -> Fallible<Table> {
        let options: EdgeScoreOptions = taken(options)?;
        let super::SplitCircuit { graph, dictionaries, edges } = super::SplitCircuit::of(&ctx, circuit, &m)?;
        let scores = scores::edge_scores(m.core(), &*dictionaries, &graph, &edges, options, &env(&ctx)?.task)?;
        let found = edges.into_iter().zip(scores);
        for (edge, (loadings, score)) in circuit.core.graph.edges.iter_mut().zip(found) {
            edge.heads = Some(loadings.parts);
            edge.score = score;
        }
        Ok(circuit.graph().table())
    }

    /// Saves a circuit of an attribution graph in the format of circuit-tracer and Neuronpedia, which their viewers and
    /// anthropics/attribution-graphs-frontend open: nodes with meanings, links, supernodes. `circuit` is what `prune`
    /// gave, with descriptions and groups added where wanted. Returns the path of the file, which `circuit::load` reads;
    /// the name of the file is what viewers call the graph.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3]);
    /// let path = g.save_neuronpedia(g.prune(), "doc/graph.json");
    /// circuit::load(path).nodes.len() == g.prune().nodes.len()  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save_neuronpedia(
        ctx: NativeCallContext,
        g: &mut AttributionGraph,
        circuit: Circuit,
        path: &str,
    ) -> Fallible<String> {
        let name = Path::new(path).file_stem().and_then(|name| name.to_str()).unwrap_or("graph");
        let value = g.core.neuronpedia(circuit.graph(), name)?;
        let text = serde_json::to_string(&value).map_err(|e| err!(Bug, "a graph as JSON: {e}"))?;
        let written = env(&ctx)?.files.save_whole(Path::new(path), text).map_err(|e| e.about("path"))?;
        Ok(written.display().to_string())
    }

    /// Saves a circuit of an attribution graph as a folder that the viewer of circuit-tracer opens: the graph, the list of
    /// graphs, with this one, and a file for each feature. `cards` are cards of transcoders' features, of
    /// `features::card`: where they are active, and what they promote. Features without one have a file without contexts.
    /// Returns the paths of all files, the graph's last.
    ///
    /// `circuit-tracer start-server --graph_file_dir FOLDER` opens it; the viewer's page loads libraries from the network.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let s = sae::load("tests/fixtures/graphs/gpt2-relu/transcoder/layer_1.safetensors");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3]);
    /// g.save_viewer(g.prune(), [features::card(s.feature(2))], "doc/viewer")[-1].ends_with("graph.json")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save_viewer(
        ctx: NativeCallContext,
        g: &mut AttributionGraph,
        circuit: Circuit,
        cards: Array,
        folder: &str,
    ) -> Fallible<Array> {
        let env = env(&ctx)?;
        let cards = given("cards", &cards.into()).elements();
        let card = |card: &GivenValue| card.handle::<FeatureCard>().ok_or_else(|| card.refuse("a card of a feature"));
        let cards = cards.iter().map(card).collect::<Result<Vec<_>>>()?;
        let mut written = Array::new();
        for (name, file) in g.core.viewer(circuit.graph(), &cards)? {
            env.task.check()?;
            let path = env.files.save_whole(&Path::new(folder).join(name), file.to_string());
            written.push(path.map_err(|e| e.about("folder"))?.display().to_string().into());
        }
        Ok(written)
    }

    /// Lists the targets that an attribution graph explains: for each its `label`, its `weight`, the probability of a
    /// token, and the `token`, if it is one.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ targets: [[5, 6]] });
    /// g.targets[0].weight  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "targets", pure)]
    pub fn targets(g: &mut AttributionGraph) -> Array {
        let target = |target: &circuit::attribution_graph::GraphTarget| -> Dynamic {
            let fields: [(&str, Dynamic); 3] = [
                ("label", target.label.clone().into()),
                ("weight", target.weight.into()),
                ("token", target.token.map_or(Dynamic::UNIT, |token| i64::from(token).into())),
            ];
            fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
        };
        g.core.targets.iter().map(target).collect()
    }
}
