//! The JSON format of circuits that EAP-IG and MIB write and read: sizes of the model, nodes, and edges by names such
//! as `a0.h1->a2.h3<k>`, each with its score and whether it is in the circuit.

use serde::{Deserialize, Serialize};

use super::names::{graph_of, numbers};
use super::wiring::{Receiver, Sender, Wiring};
use crate::base::json;
use crate::circuit::graph::Graph;
use crate::common::*;
use crate::model::config::Order;

/// The end of the name of such a file.
pub const EXTENSION: &str = ".eap.json";

/// The content of a file; unknown keys are ignored.
#[derive(Serialize, Deserialize)]
struct File {
    cfg: Sizes,
    nodes: serde_json::Map<String, Value>,
    edges: serde_json::Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Sizes {
    n_layers: usize,
    n_heads: usize,
    parallel_attn_mlp: bool,
    d_model: usize,
}

/// Returns the sizes of a model, as a graph stores them.
pub fn model_sizes(config: &Config) -> Vec<(String, Cell)> {
    vec![
        ("layers".into(), config.layers.into()),
        ("heads".into(), config.heads.into()),
        ("d_model".into(), config.d_model.into()),
        ("parallel".into(), (config.order != Order::Serial).into()),
    ]
}

/// Returns the sizes that a graph stores, and its edges.
fn sizes(graph: &Graph) -> Result<(Sizes, Wiring)> {
    let cell = |name: &str| graph.made.iter().find(|(known, _)| known == name).map(|(_, cell)| cell);
    let whole = |name: &str| match cell(name) {
        Some(Cell::Int(value)) => usize::try_from(*value).ok(),
        _ => None,
    };
    let (Some(n_layers), Some(n_heads), Some(d_model), Some(Cell::Bool(parallel))) =
        (whole("layers"), whole("heads"), whole("d_model"), cell("parallel"))
    else {
        return Err(err!(
            Argument,
            "expected a circuit of edges between heads and MLPs, which knows its model's sizes"
        )
        .hint("circuit::edges and circuit::acdc find such circuits; .json holds any"));
    };
    let sizes = Sizes { n_layers, n_heads, parallel_attn_mlp: *parallel, d_model };
    let has_mlp = graph.sites.iter().any(|site| site.starts_with("mlp_out."));
    let wiring = wiring(&sizes, has_mlp)?;
    Ok((sizes, wiring))
}

/// Builds the edges of a model of given sizes.
fn wiring(sizes: &Sizes, has_mlp: bool) -> Result<Wiring> {
    /// The largest number of nodes: more than any model has, and few enough for memory.
    const MOST_NODES: usize = 1 << 13;
    match sizes.n_layers.checked_mul(sizes.n_heads.saturating_add(1)) {
        Some(nodes) if nodes <= MOST_NODES => {
            Ok(Wiring::of(sizes.n_layers, sizes.n_heads, has_mlp, !sizes.parallel_attn_mlp))
        }
        _ => Err(err!(
            Format,
            "expected a model of at most {MOST_NODES} heads and MLPs, found {} layers of {} heads",
            sizes.n_layers,
            sizes.n_heads
        )),
    }
}

fn sender_name(sender: Sender) -> String {
    match sender {
        Sender::Embed => "input".into(),
        Sender::Head { layer, head } => format!("a{layer}.h{head}"),
        Sender::Mlp { layer } => format!("m{layer}"),
    }
}

pub fn edge_name(wiring: &Wiring, edge: usize) -> String {
    let (sender, receiver) = wiring.ends(edge);
    let from = sender_name(wiring.senders[sender]);
    match wiring.receivers[receiver] {
        Receiver::Port { layer, head, port } => format!("{from}->a{layer}.h{head}<{port}>"),
        Receiver::Mlp { layer } => format!("{from}->m{layer}"),
        Receiver::Logits => format!("{from}->logits"),
    }
}

/// Writes the text of a file: the edges of a graph with their scores, of which those of `circuit` are marked as in it.
pub fn written(graph: &Graph, circuit: &Graph) -> Result<String> {
    let (cfg, wiring) = sizes(graph)?;
    let mut is_in = vec![false; wiring.edges()];
    numbers(&wiring, circuit)?.into_iter().flatten().for_each(|edge| is_in[edge] = true);
    let mut scores = vec![None; wiring.edges()];
    for (edge, numbers) in graph.edges.iter().zip(numbers(&wiring, graph)?) {
        numbers.into_iter().for_each(|number| scores[number] = Some(edge.effect));
    }
    if let Some(edge) = (0..wiring.edges()).find(|edge| is_in[*edge] && scores[*edge].is_none()) {
        return Err(
            err!(Argument, "expected a circuit of this one's edges, found {}", edge_name(&wiring, edge)).about("part")
        );
    }
    let mut is_node = vec![false; wiring.senders.len()];
    for edge in (0..wiring.edges()).filter(|edge| is_in[*edge]) {
        let (sender, receiver) = wiring.ends(edge);
        is_node[sender] = true;
        wiring.owner(receiver).into_iter().for_each(|owner| is_node[owner] = true);
    }
    let mut nodes: serde_json::Map<String, Value> = wiring
        .senders
        .iter()
        .zip(is_node)
        .map(|(sender, is_in)| (sender_name(*sender), serde_json::json!({ "in_graph": is_in })))
        .collect();
    nodes.insert("logits".into(), serde_json::json!({ "in_graph": true }));
    let scored = wiring.listed().into_iter().filter_map(|edge| scores[edge].map(|score| (edge, score)));
    let edge = |(edge, score): (usize, f64)| {
        let value = serde_json::json!({ "score": score, "in_graph": is_in[edge] });
        (edge_name(&wiring, edge), value)
    };
    let file = File { cfg, nodes, edges: scored.map(edge).collect() };
    serde_json::to_string(&file).map_err(|error| err!(Bug, "a circuit as JSON: {error}"))
}

/// Returns whether a text is a circuit in the JSON format of EAP-IG.
pub fn is_one(text: &str) -> bool {
    /// The keys alone, without their values.
    #[derive(Deserialize)]
    struct Keys {
        cfg: Option<serde::de::IgnoredAny>,
        nodes: Option<serde::de::IgnoredAny>,
        edges: Option<serde::de::IgnoredAny>,
    }
    json::read_content(text.as_bytes(), |error| err!(Format, "{error}"))
        .is_ok_and(|keys: Keys| keys.cfg.is_some() && keys.nodes.is_some() && keys.edges.is_some())
}

/// Reads the circuit of a file's text: the edges that are in it, or all that have a score.
pub fn parse(text: &str, is_all: bool) -> Result<Graph> {
    let file: File = json::read_content(text.as_bytes(), |error| {
        err!(Format, "expected a circuit as EAP-IG writes it, found: {error}")
    })?;
    let has_mlp = file.nodes.keys().any(|name| name.starts_with('m'));
    let wiring = wiring(&file.cfg, has_mlp)?;
    let known: BTreeMap<String, usize> = (0..wiring.edges()).map(|edge| (edge_name(&wiring, edge), edge)).collect();
    let mut found = Vec::new();
    for (name, value) in &file.edges {
        let wrong = |what: &str| err!(Format, "expected {what} of the edge {name}, found {value}");
        let edge = known.get(name).ok_or_else(|| {
            err!(Format, "a model of {} layers and {} heads has no edge {name}", file.cfg.n_layers, file.cfg.n_heads)
        })?;
        let score = value.get("score").and_then(Value::as_f64).ok_or_else(|| wrong("a number as the score"))?;
        let is_in =
            value.get("in_graph").and_then(Value::as_bool).ok_or_else(|| wrong("true or false as `in_graph`"))?;
        if is_all || is_in {
            found.push((*edge, score));
        }
    }
    let mut graph = graph_of(&wiring, found.into_iter());
    graph.title = "circuit from EAP-IG".into();
    graph.quantity = Some("score".into());
    let Sizes { n_layers, n_heads, parallel_attn_mlp, d_model } = file.cfg;
    graph.made = vec![
        ("layers".into(), n_layers.into()),
        ("heads".into(), n_heads.into()),
        ("d_model".into(), d_model.into()),
        ("parallel".into(), parallel_attn_mlp.into()),
    ];
    Ok(graph)
}
