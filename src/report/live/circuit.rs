//! Circuits as parts of live reports: which feature, head or layer each node is.

use std::collections::BTreeMap;

use super::part::{LiveCircuit, LiveItem, LiveNode, LivePart, LiveUnit};
use crate::circuit::attribution_graph::{ActiveFeature, AttributionGraph, LayerPart};
use crate::circuit::{Circuit, Graph, Node, Part};
use crate::sae::Transcoders;

/// Outputs of layers, which are changed as wholes.
const LAYERS: [&str; 2] = ["attn_out.", "mlp_out."];

/// Returns the part of a circuit whose features are of dictionaries of one site each. It begins with the first context of its
/// target.
pub fn of_dictionaries(circuit: &Circuit) -> LivePart {
    let graph = &circuit.graph;
    let unit = |node: &Node| {
        let feature = node.feature().and_then(|feature| {
            let dictionary = circuit.saes.iter().position(|sae| sae.parts().about.site() == node.site)?;
            Some(LiveUnit::Feature { dictionary, feature })
        });
        feature.or_else(|| of_model(node))
    };
    let described = |number: usize| {
        let card = circuit.cards.get(number).and_then(Option::as_ref)?;
        card.description.as_ref().map(|description| description.text.clone())
    };
    let target = circuit.cards.first().and_then(Option::as_ref);
    let context = target.and_then(|card| card.contexts.iter().flat_map(|group| &group.texts).next());
    let item = LiveCircuit {
        text: context.map(|text| text.tokens.concat()).unwrap_or_default(),
        targets: circuit.promotes.iter().flat_map(|tokens| tokens.iter().copied()).collect(),
        ..begun(graph, unit, described)
    };
    let model = Some(graph.model.clone()).filter(|model| !model.is_empty());
    LivePart { item: LiveItem::Circuit(item), model, dictionaries: circuit.saes.clone(), transcoders: None }
}

/// Returns the part of a circuit of an attribution graph by transcoders. It begins with the prompt.
pub fn of_transcoders(graph: &Graph, whole: &AttributionGraph, transcoders: &Transcoders) -> LivePart {
    let named = |(place, feature)| (whole.node(place).name(), feature);
    let known: BTreeMap<String, &ActiveFeature> = whole.features.iter().enumerate().map(named).collect();
    let unit = |node: &Node| {
        let found = known.get(&node.name()).filter(|found| found.part == LayerPart::Mlp)?;
        let ActiveFeature { layer, position, feature, .. } = **found;
        Some(LiveUnit::Transcoder { layer, feature, position })
    };
    let item = LiveCircuit {
        text: whole.prompt.clone(),
        prompt: whole.tokens.clone(),
        transcoders: Some(0),
        ..begun(graph, unit, |_| None)
    };
    LivePart {
        item: LiveItem::Circuit(item),
        model: Some(whole.model.clone()),
        dictionaries: Vec::new(),
        transcoders: Some(transcoders.clone()),
    }
}

/// Begins the plain data of a circuit: its nodes, its groups, and the tokens whose logits are nodes.
fn begun(
    graph: &Graph,
    unit: impl Fn(&Node) -> Option<LiveUnit>,
    described: impl Fn(usize) -> Option<String>,
) -> LiveCircuit {
    let node = |(number, node): (usize, &Node)| {
        let meaning = node.meaning.clone().or_else(|| described(number));
        let name = meaning.map_or_else(|| node.name(), |meaning| format!("{}: {meaning}", node.name()));
        LiveNode { name, unit: unit(node) }
    };
    let mut targets = Vec::new();
    for node in graph.nodes.iter().filter(|node| node.site == "logits") {
        if let Part::Token(id) = node.part
            && !targets.contains(&id)
        {
            targets.push(id);
        }
    }
    LiveCircuit {
        nodes: graph.nodes.iter().enumerate().map(node).collect(),
        groups: graph.supernodes.iter().map(|group| group.nodes.clone()).collect(),
        targets,
        ..LiveCircuit::default()
    }
}

/// Returns a head or the output of a layer, which a model has without dictionaries.
fn of_model(node: &Node) -> Option<LiveUnit> {
    let site = match node.part {
        Part::Head(head) => format!("{}.{head}", node.site),
        Part::Whole if LAYERS.iter().any(|layer| node.site.starts_with(layer)) => node.site.clone(),
        _ => return None,
    };
    Some(LiveUnit::Site { site })
}
