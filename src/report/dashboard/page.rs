//! The frame of the index, and the links between circuits and cards.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::data::{self, cut_text};
use crate::base::Result;
use crate::circuit::{Circuit, Graph, Node};
use crate::features::dashboard::FeatureCounts;
use crate::features::{Dashboard, HeadCards};
use crate::report::html::page;
use crate::report::items::circuit_html;
use crate::report::visible_text::count;
use crate::sae::Sae;

static STYLE: &str = include_str!("style.css");
static BODY: &str = include_str!("body.html");
static SCRIPT: &str = concat!(include_str!("card.js"), include_str!("head_map.js"), include_str!("index.js"));

/// Policy of the page: scripts from beside the page only, and its own; no network, no frames.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      script-src 'self' file:";

/// Writes the page. Everything but the name of the data's folder comes from scripts beside it.
pub fn index(data: &str) -> String {
    index_with(data, "")
}

/// Writes the page with a script that runs before its own.
pub fn index_with(data: &str, before: &str) -> String {
    let script = format!("{before}{SCRIPT}");
    let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\" data-from=\"{data}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY} 'sha256-{hash}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Features</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{BODY}\
         <script>{script}</script>\n</body>\n</html>\n"
    )
}

/// Returns what the page says about the whole dashboard, but for how much of it is there.
pub fn about(dashboard: &Dashboard, circuits: &[CircuitPage], heads: Option<&HeadCards>) -> Value {
    let FeatureCounts { all: features, cards, silent } = dashboard.counts();
    let dictionary = |sae: &Sae| json!({ "site": site(sae), "kind": cut_text(sae.parts().about.kind.as_str()), "features": sae.d_sae() });
    let circuit = |page: &CircuitPage| json!({ "title": cut_text(&page.title), "nodes": page.nodes });
    json!({
        "title": format!("{} of {}", count(features, "feature"), cut_text(&dashboard.model.name().to_string())),
        "text": cut_text(&dashboard.survey.name),
        "positions": dashboard.survey.positions,
        "cards": cards,
        "silent": silent,
        "dictionaries": dashboard.saes.iter().map(dictionary).collect::<Vec<_>>(),
        "circuits": circuits.iter().map(circuit).collect::<Vec<_>>(),
        "heads": heads.map(data::heads),
    })
}

fn site(sae: &Sae) -> String {
    cut_text(&sae.parts().about.site())
}

/// A circuit's page in a dashboard.
pub struct CircuitPage {
    title: String,
    pub html: String,
    /// The name of each feature with a card, and the anchor of its node on the page.
    nodes: Vec<(String, String)>,
}

impl CircuitPage {
    pub fn of(dashboard: &Dashboard, circuit: &Circuit) -> Result<Self> {
        let graph = &circuit.graph;
        let names: Vec<Option<String>> = graph.nodes.iter().map(|node| name(dashboard, node)).collect();
        let address = |name: &Option<String>| name.as_ref().map(|name| format!("../../index.html#{name}"));
        let addresses: Vec<Option<String>> = names.iter().map(address).collect();
        let (inside, anchors) = circuit_html(circuit, &addresses)?;
        let nodes = names.into_iter().zip(anchors).filter_map(|(name, anchor)| Some((name?, anchor?)));
        let back = "<p><a href=\"../../index.html\">All features</a></p>\n";
        Ok(Self {
            title: title(graph),
            html: page::page(&title(graph), &format!("{back}{inside}")),
            nodes: nodes.collect(),
        })
    }
}

fn title(graph: &Graph) -> String {
    if graph.title.is_empty() { "circuit".into() } else { graph.title.clone() }
}

/// Returns a node's feature by dictionary and index, as addresses name it, where it has a card.
fn name(dashboard: &Dashboard, node: &Node) -> Option<String> {
    let feature = node.feature()?;
    let dictionary = dashboard.saes.iter().position(|sae| sae.parts().about.site() == node.site)?;
    dashboard.has_card(dictionary, feature).then(|| format!("{dictionary}/{feature}"))
}
