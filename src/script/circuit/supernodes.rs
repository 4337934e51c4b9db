//! Groups of nodes, and what becomes of the model where one is changed.

use super::run_options::{RunOptions, with_runs};
use crate::circuit::ablations::NodeAblations;
use crate::circuit::attribution_graph::intervene::{Freeze, InterveneOptions};
use crate::circuit::graph::{Graph, Supernode};
use crate::circuit::supernodes::{GraphGroup, RandomGroupOptions, ablate, intervene};
use crate::intervene::metric::Measure;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

crate::options! {
    /// Options of the ablation of a group of an attribution graph.
    pub struct AblateOptions {
        /// Activations that keep the values that they had.
        freeze: Freeze = Freeze::All;
        with random: RandomGroupOptions;
    }
}

/// Reads the nodes that an argument names or numbers.
fn numbered(graph: &Graph, nodes: &Dynamic) -> Result<Vec<usize>> {
    let one = |one: &crate::script::engine::value::GivenValue| match one.text() {
        Ok(name) => graph.numbered(&name).map_err(|e| e.about("nodes")),
        Err(_) => one.size(),
    };
    given("nodes", nodes).elements().iter().map(one).collect()
}

/// Changes a group of features on the prompt of its attribution graph.
fn changed(
    ctx: &NativeCallContext,
    function: &str,
    circuit: &Circuit,
    m: &Model,
    name: &str,
    change: &InterveneOptions,
    random: &RandomGroupOptions,
) -> Fallible<Table> {
    let Some((core, dictionaries)) = &circuit.attribution else {
        return Err(err!(Argument, "expected a circuit of an attribution graph, found another")
            .hint("g.prune() of circuit::attribution_graph gives one; other circuits are ablated on pairs: c.ablate(m, pairs, name)")
            .into());
    };
    let env = env(ctx)?;
    let found = env.drawing(ctx, function, random.seed, |seed| {
        let random = RandomGroupOptions { seed, ..random.clone() };
        let group = GraphGroup { graph: circuit.graph(), name };
        intervene(m.core(), dictionaries, core, group, change, &random, &env.task)
    });
    Ok(found?.table())
}

#[export_module(manifest)]
pub mod methods {
    /// Groups nodes of a circuit under a name: they are drawn, saved and changed as one. `nodes` are names, or indices of
    /// `nodes`.
    ///
    /// # Example
    /// ```
    /// let c = circuit::load("tests/fixtures/circuits/tree.json");
    /// c.group("brackets", ["resid_post.0/3", 2]);
    /// c.supernodes  //=> [#{ name: "brackets", nodes: ["resid_post.0/3", "resid_post.0/5"] }]
    /// ```
    #[rhai_fn(global, name = "group", return_raw)]
    pub fn group(circuit: &mut Circuit, name: &str, nodes: Any) -> Fallible<()> {
        let nodes = super::numbered(circuit.graph(), &nodes)?;
        Ok(circuit.core.graph.group(name, &nodes)?)
    }

    /// Returns the groups of a circuit, as maps of `name` and `nodes`, the names of their nodes.
    ///
    /// # Example
    /// ```
    /// circuit::load("tests/fixtures/circuits/tree.json").supernodes  //=> []
    /// ```
    #[rhai_fn(global, get = "supernodes", pure)]
    pub fn supernodes(circuit: &mut Circuit) -> Array {
        let graph = circuit.graph();
        let name = |node: &usize| graph.nodes.get(*node).map_or(Dynamic::UNIT, |node| node.name().into());
        let map = |group: &Supernode| -> Dynamic {
            let nodes: Array = group.nodes.iter().map(name).collect();
            let fields: [(&str, Dynamic); 2] = [("name", group.name.clone().into()), ("nodes", nodes.into())];
            fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
        };
        graph.supernodes.iter().map(map).collect()
    }

    /// Ablates a group of nodes of a circuit, or one node, on pairs of prompts: how the metric changes, beside what the graph
    /// predicts, and beside random groups of as many nodes of the same kinds.
    ///
    /// All that the group writes becomes what `ablation` says, in the whole model: of a head or an MLP all edges that leave it
    /// are cut, whether or not the circuit has them; of a circuit of features these and errors are ablated. The prediction is
    /// the sum of the graph's effects, of its edges that leave the group or of its nodes; there is none where effects are of
    /// another metric or another ablation. `low` and `high` are the 95 % interval by the bootstrap over pairs, and the least and
    /// the most of all random groups. Heads are drawn among all heads, MLPs among MLPs, features among those of the same
    /// dictionary that are about as active.
    ///
    /// # Options
    /// - [circuit_runs]
    /// - [random_groups]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let found = circuit::edges(c.model, pairs, #{ method: "exact", ablation: "zero" });
    /// found.group("sorting", found.nodes.filter(|node| node.name.starts_with("z.0")).map(|node| node.name));
    /// let table = found.ablate(c.model, pairs, "sorting", #{ ablation: "zero", draws: 2 });
    /// table["ablated"]  //=> ["sorting", "random groups, 2 draws"]
    /// ```
    #[rhai_fn(global, name = "ablate", pure, return_raw)]
    pub fn ablate_on_pairs(
        ctx: NativeCallContext,
        circuit: &mut Circuit,
        m: Model,
        pairs: Array,
        name: &str,
        options: Options,
    ) -> Fallible<Table> {
        let (runs, random) = taken_both::<RunOptions, RandomGroupOptions>(options)?;
        let env = env(&ctx)?;
        let graph = circuit.graph();
        let ablation = runs.ablation;
        let found = env.drawing(&ctx, "Circuit.ablate", random.seed, |seed| {
            let random = RandomGroupOptions { seed, ..random };
            let work = |runs: &dyn NodeAblations, measure: Measure| {
                ablate(GraphGroup { graph, name }, runs, measure, ablation, &random, &env.task)
            };
            super::with_runs(&ctx, circuit, &m, &pairs, &runs, work)
        });
        Ok(found?.table())
    }

    /// Ablates a group of features of an attribution graph's circuit, or one feature, on the graph's prompt: how the targets'
    /// logits change, beside what the graph predicts, all less the mean over all tokens. See `intervene`. `random` is the mean
    /// change for random groups of as many active features of the same layers, `lowest` and `highest` the ends of these.
    ///
    /// # Options
    /// - [ablate_group]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let c = g.prune();
    /// c.group("pair", g.features.filter(|name| c.nodes.some(|node| node.name == name)).extract(0, 2));
    /// let found = c.ablate(m, "pair").to_map().rows[0];
    /// round_to(found[1] - found[2], 4)  //=> 0.0
    /// ```
    #[rhai_fn(global, name = "ablate", pure, return_raw)]
    pub fn ablate_features(
        ctx: NativeCallContext,
        circuit: &mut Circuit,
        m: Model,
        name: &str,
        options: Options,
    ) -> Fallible<Table> {
        let AblateOptions { freeze, random } = taken(options)?;
        let change = InterveneOptions { freeze, ..Default::default() };
        super::changed(&ctx, "Circuit.ablate", circuit, &m, name, &change, &random)
    }

    /// Multiplies the activations of a group of features of an attribution graph's circuit by a `factor`, or sets them to a
    /// `value`, on the graph's prompt: how the targets' logits change, beside what the graph predicts, and beside random groups
    /// that are changed alike. See `intervene` and `ablate`.
    ///
    /// # Options
    /// - [intervene_graph]
    /// - [random_groups]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tests/fixtures/graphs/gpt2-relu/model");
    /// let t = sae::transcoders("tests/fixtures/graphs/gpt2-relu/transcoder");
    /// let g = circuit::attribution_graph(m, t, [0, 81, 14, 3], #{ logits: 1 });
    /// let c = g.prune();
    /// let feature = c.nodes.filter(|node| "feature" in node)[0].name;
    /// let found = c.steer(m, feature, #{ factor: 3 }).to_map().rows[0];
    /// round_to(found[1] - found[2], 4)  //=> 0.0
    /// ```
    #[rhai_fn(global, name = "steer", pure, return_raw)]
    pub fn steer_features(
        ctx: NativeCallContext,
        circuit: &mut Circuit,
        m: Model,
        name: &str,
        options: Options,
    ) -> Fallible<Table> {
        let (change, random) = taken_both::<InterveneOptions, RandomGroupOptions>(options)?;
        if change.value.is_none() && change.factor.is_none() {
            return Err(err!(Argument, "expected a `factor` or a `value`, found neither").about("options").into());
        }
        super::changed(&ctx, "Circuit.steer", circuit, &m, name, &change, &random)
    }
}
