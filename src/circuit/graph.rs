//! The one type of graph: the result of every method that finds circuits, which is drawn, evaluated, saved and
//! compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Cell, Result, Table, json};
use crate::err;

/// A feature of a dictionary, with its description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The site that its dictionary reads, as in `resid_post.3`.
    pub site: String,
    pub feature: usize,
    /// Its level in the drawing: 0 is the earliest of all dictionaries, also of those without a node.
    pub level: usize,
    /// A short description, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// The score of the description on held-out text: a correlation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether it writes along one outlier dimension of the residual stream.
    #[serde(default)]
    pub outlier: bool,
}

/// The effect of one node on another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Indices of nodes.
    pub from: usize,
    pub to: usize,
    /// The share by which the later one falls when the earlier one is ablated; negative where it rises.
    pub effect: f64,
    /// Between the two directions.
    pub cosine: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    pub title: String,
    /// The model's name.
    pub model: String,
    /// The sites of all dictionaries, in the order of the computation.
    pub sites: Vec<String>,
    /// The first one is the target.
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Whether the search was completed, or interrupted.
    pub is_whole: bool,
    /// How it was made, in pairs of a name and a value.
    pub made: Vec<(String, Cell)>,
}

impl Node {
    /// Its layer and index, as in `3/1044`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.site, self.feature)
    }
}

impl Graph {
    /// Reads what [`Graph::json`] writes, and refuses inconsistent graphs.
    pub fn parse(text: &str) -> Result<Self> {
        let graph: Graph = json::read_content(text.as_bytes(), |error| {
            err!(Format, "expected a graph, found: {error}").hint("a graph is saved by its method `save(\"x.json\")`")
        })?;
        graph.check()?;
        Ok(graph)
    }

    fn check(&self) -> Result<()> {
        let nodes = self.nodes.len();
        for (i, edge) in self.edges.iter().enumerate() {
            let (Some(from), Some(to)) = (self.nodes.get(edge.from), self.nodes.get(edge.to)) else {
                let (from, to) = (edge.from, edge.to);
                return Err(err!(Format, "expected edges between {nodes} nodes, found {from} to {to} as edge {i}"));
            };
            if from.level >= to.level {
                let (from, to) = (from.name(), to.name());
                return Err(err!(Format, "expected an edge from an earlier node to a later one, found {from} to {to}"));
            }
        }
        match self.nodes.iter().find(|node| self.sites.get(node.level) != Some(&node.site)) {
            Some(node) => Err(err!(Format, "expected {} among the sites at its level {}", node.name(), node.level)),
            None => Ok(()),
        }
    }

    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| err!(Bug, "a graph as JSON: {error}"))
    }

    /// The edges that end at a node, the strongest first.
    pub fn into_node(&self, node: usize) -> Vec<&Edge> {
        let mut edges: Vec<&Edge> = self.edges.iter().filter(|edge| edge.to == node).collect();
        edges.sort_by(|a, b| b.effect.total_cmp(&a.effect));
        edges
    }

    pub fn table(&self) -> Table {
        let name = |i: usize| self.nodes.get(i).map_or(Cell::Missing, |node| node.name().into());
        let rows =
            self.edges.iter().map(|edge| vec![name(edge.from), name(edge.to), edge.effect.into(), edge.cosine.into()]);
        Table {
            title: self.title.clone(),
            columns: ["from", "to", "effect", "cosine"].map(String::from).to_vec(),
            rows: rows.collect(),
        }
    }

    /// In the language of Graphviz, levels in rows as in the drawing.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph circuit {{\n    label = \"{}\";\n    labelloc = t;\n", quoted(&self.title));
        text += "    rankdir = BT;\n    node [shape = box, style = rounded];\n";
        for (i, node) in self.nodes.iter().enumerate() {
            let meaning = node.meaning.as_ref().map(|meaning| format!("\\n{}", quoted(meaning))).unwrap_or_default();
            let outlier = if node.outlier { ", style = \"rounded,dashed\"" } else { "" };
            text += &format!("    n{i} [label = \"{}{meaning}\"{outlier}];\n", quoted(&node.name()));
        }
        let mut levels: BTreeMap<usize, String> = BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            *levels.entry(node.level).or_default() += &format!(" n{i};");
        }
        text.extend(levels.values().map(|nodes| format!("    {{ rank = same;{nodes} }}\n")));
        for edge in &self.edges {
            let looks = if edge.effect < 0.0 { "color = \"#D55E00\", style = dashed" } else { "color = \"#0072B2\"" };
            let width = 0.5 + 4.0 * edge.effect.abs().min(1.0);
            let label = format!("{:.0} %, {:.2}", 100.0 * edge.effect, edge.cosine);
            text +=
                &format!("    n{} -> n{} [label = \"{label}\", penwidth = {width:.2}, {looks}];\n", edge.from, edge.to);
        }
        text + "}\n"
    }
}

/// A text inside the quotes of a dot file; control characters and marks of the writing direction as their codes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_unseen = c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let shown = if is_unseen { c.escape_default().to_string() } else { c.to_string() };
        for c in shown.chars() {
            // A backslash before any other letter would mean something to Graphviz.
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(site: &str, feature: usize, level: usize) -> Node {
        Node { site: site.into(), feature, level, meaning: None, score: None, outlier: false }
    }

    fn graph() -> Graph {
        let mut nodes = vec![node("resid_post.1", 7, 1), node("resid_post.0", 3, 0)];
        nodes[1].meaning = Some("token is \"(\" \n".into());
        Graph {
            title: "causal tree".into(),
            model: "tiny".into(),
            sites: vec!["resid_post.0".into(), "resid_post.1".into()],
            nodes,
            edges: vec![Edge { from: 1, to: 0, effect: 0.25, cosine: -0.5 }],
            is_whole: true,
            made: vec![("contexts".into(), 20_usize.into())],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let graph = graph();
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    }

    #[test]
    fn the_language_of_graphviz() {
        let mut graph = graph();
        graph.nodes[0].outlier = true;
        let expected = r##"digraph circuit {
    label = "causal tree";
    labelloc = t;
    rankdir = BT;
    node [shape = box, style = rounded];
    n0 [label = "resid_post.1/7", style = "rounded,dashed"];
    n1 [label = "resid_post.0/3\ntoken is \"(\" \\n"];
    { rank = same; n1; }
    { rank = same; n0; }
    n1 -> n0 [label = "25 %, -0.50", penwidth = 1.50, color = "#0072B2"];
}
"##;
        assert_eq!(graph.dot(), expected);
        graph.edges[0].effect = -0.25;
        assert!(graph.dot().contains("color = \"#D55E00\", style = dashed];"));
    }

    /// What stands within the quotes of a dot file, as Graphviz reads it: the strings, and all that is outside of them.
    fn strings(dot: &str) -> (Vec<String>, String) {
        let (mut found, mut outside, mut letters) = (Vec::new(), String::new(), dot.chars());
        while let Some(c) = letters.next() {
            if c != '"' {
                outside.push(c);
                continue;
            }
            let mut text = String::new();
            loop {
                match letters.next().expect("a string ends") {
                    '"' => break,
                    '\\' => match letters.next().expect("an escape has a letter") {
                        'n' => text.push('\n'),
                        c => text.push(c),
                    },
                    c => text.push(c),
                }
            }
            found.push(text);
        }
        (found, outside)
    }

    proptest! {
        #[test]
        fn no_meaning_ends_its_quotes(meaning in "(\\PC|[\"\\\\\\]};\n\u{1b}\u{202e}]){0,20}") {
            let mut graph = graph();
            let plain = strings(&graph.dot()).1;
            graph.nodes[1].meaning = Some(meaning.clone());
            let (found, outside) = strings(&graph.dot());
            prop_assert_eq!(outside, plain);
            let shown = meaning.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}").replace('\u{202e}', "\\u{202e}");
            prop_assert_eq!(&found[2], &format!("resid_post.0/3\n{shown}"));
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut wrong = graph();
        wrong.edges[0].from = 2;
        let error = Graph::parse(&wrong.json().unwrap()).unwrap_err();
        assert_eq!(error.message, "expected edges between 2 nodes, found 2 to 0 as edge 0");
        let mut wrong = graph();
        wrong.edges[0] = Edge { from: 0, to: 1, effect: 0.1, cosine: 0.0 };
        assert!(Graph::parse(&wrong.json().unwrap()).unwrap_err().message.contains("found resid_post.1/7 to"));
        assert!(Graph::parse("{\"nodes\": 1}").is_err());
    }
}
