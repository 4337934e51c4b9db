//! A folder with one graph that the viewer of circuit-tracer serves.
//!
//! The viewer begins with a list of graphs, reads the graph of the first, and of each feature that is pointed at its file. It
//! looks for these at a host of its own, unless the graph's `scan` is a path: that of a folder below `./data`, which is
//! what the folder is served as.

use super::features::{empty, feature_file};
use super::{AttributionGraph, cantor};
use crate::circuit::graph::Graph;
use crate::common::*;
use crate::features::FeatureCard;

/// The name of the graph in the list.
const SLUG: &str = "graph";
/// The folder of the feature files.
const FEATURES: &str = "features";
/// The only token of a feature whose logits are not known.
const UNKNOWN: &str = "unknown";

impl AttributionGraph {
    /// Returns the files of the folder by their paths in it. Features of the circuit without a card have a file, too:
    /// without one the viewer would go on showing the card before.
    pub fn viewer(&self, circuit: &Graph, cards: &[FeatureCard]) -> Result<BTreeMap<String, Value>> {
        if self.has_lorsas {
            return Err(err!(Argument, "expected a graph of transcoders, found one with Lorsas, too")
                .hint("this viewer takes heads for features; what `g.save_neuronpedia` writes tells them apart"));
        }
        let mut graph = self.neuronpedia(circuit, SLUG)?;
        let scan = format!("./data/{FEATURES}");
        let Some(metadata) = graph.get_mut("metadata") else { return Err(err!(Bug, "a graph without metadata")) };
        metadata["scan"] = scan.as_str().into();
        let list = json!({ "graphs": [metadata] });
        let path = |number: i64| format!("{FEATURES}/{number}.json");
        let mut files = BTreeMap::from([("graph-metadata.json".to_string(), list), (format!("{SLUG}.json"), graph)]);
        for (node, feature) in circuit.nodes.iter().filter_map(|node| Some((node, node.feature()?))) {
            let number = cantor(node.level.saturating_sub(1), feature)?;
            files.insert(path(number), with_logits(empty(number, &scan).into()));
        }
        for card in cards {
            let (number, file) = feature_file(card, &scan).map_err(|e| e.about("cards"))?;
            files.insert(path(number), with_logits(file));
        }
        Ok(files)
    }
}

/// Returns a feature's file that says so where no logits are known: without any, the viewer would go on showing those of
/// the card before.
fn with_logits(mut file: Value) -> Value {
    let has = |key: &str| file[key].as_array().is_some_and(|tokens| !tokens.is_empty());
    if !has("top_logits") && !has("bottom_logits") {
        file["top_logits"] = json!([UNKNOWN]);
    }
    file
}
