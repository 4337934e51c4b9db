//! Groups of nodes, and what becomes of the model where one is changed.

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::Circuit;
use crate::base::{Result, Table};
use crate::circuit::attribution_graph::intervene::{self, Freeze, InterveneOptions};
use crate::circuit::attribution_graph::predict;
use crate::circuit::graph::{Graph, Supernode};
use crate::circuit::supernodes::changes;
use crate::err;
use crate::script::engine::env::env;
use crate::script::engine::options::taken;
use crate::script::engine::value::{Any, Fallible, Options, given};
use crate::script::model::Model;

crate::options! {
    /// How a group of an attribution graph is ablated.
    #[derive(Debug, Clone)]
    pub struct AblateOptions {
        /// What keeps the values that it had.
        freeze: Freeze = Freeze::All;
    }
}

/// The nodes that an argument names or numbers.
fn numbered(graph: &Graph, nodes: &Dynamic) -> Result<Vec<usize>> {
    let one = |one: &crate::script::engine::value::Given| match one.text() {
        Ok(name) => graph.numbered(&name).map_err(|e| e.about("nodes")),
        Err(_) => one.size(),
    };
    given("nodes", nodes).elements().iter().map(one).collect()
}

/// Runs the prompt of an attribution graph with the features of a group changed, beside what the graph says.
fn changed(
    ctx: &NativeCallContext,
    circuit: &Circuit,
    m: &Model,
    name: &str,
    options: &InterveneOptions,
) -> Fallible<Table> {
    let Some((core, transcoders)) = &circuit.attribution else {
        return Err(err!(Argument, "expected a circuit of an attribution graph, found another")
            .hint("g.prune() of circuit::attribution_graph gives one")
            .into());
    };
    let changes = changes(core, (circuit.graph(), name), options)?;
    let task = &env(ctx)?.task;
    let run = intervene::intervene(m.core(), transcoders, &core.tokens, &changes, options.freeze, task)?;
    Ok(predict::table(&core.predictions(&changes, options.freeze, &run)?))
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

    /// The groups of a circuit, as maps of `name` and `nodes`, the names of their nodes.
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

    /// Ablates a group of features of an attribution graph's circuit, or one feature, on the graph's prompt: how the targets'
    /// logits change, beside what the graph predicts, both less the mean over all tokens. See `intervene`.
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
        let AblateOptions { freeze } = taken(options)?;
        super::changed(&ctx, circuit, &m, name, &InterveneOptions { freeze, ..InterveneOptions::default() })
    }

    /// Multiplies the activations of a group of features of an attribution graph's circuit by a `factor`, or sets them to a
    /// `value`, on the graph's prompt: how the targets' logits change, beside what the graph predicts. See `intervene`.
    ///
    /// # Options
    /// - [intervene_graph]
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
        let options: InterveneOptions = taken(options)?;
        if options.value.is_none() && options.factor.is_none() {
            return Err(err!(Argument, "expected a `factor` or a `value`, found neither").about("options").into());
        }
        super::changed(&ctx, circuit, &m, name, &options)
    }
}
