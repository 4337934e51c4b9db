//! Graphs in the language of Graphviz: levels in rows as in the drawing, a shape for each kind of node, supernodes as
//! clusters.

use std::collections::BTreeMap;

use super::graph::{Edge, Graph, Node, Part};

/// Edges by which the later node falls with the earlier one, and those by which it grows.
const WITH: &str = "color = \"#0072B2\"";
const AGAINST: &str = "color = \"#D55E00\", style = dashed";

impl Graph {
    /// Writes the graph in the language of Graphviz.
    pub fn dot(&self) -> String {
        let quantity = self.quantity.as_ref().map(|quantity| format!("\\nedges: {}", quoted(quantity)));
        let title = quoted(&self.title) + quantity.as_deref().unwrap_or_default();
        let mut text = format!("digraph circuit {{\n    label = \"{title}\";\n    labelloc = t;\n");
        text += "    rankdir = BT;\n    node [shape = box, style = rounded];\n";
        text.extend(self.nodes.iter().enumerate().map(|(i, node)| format!("    n{i} [{}];\n", looks(node))));
        let grouped = self.dot_clusters(&mut text);
        // Graphviz cannot hold a node of a cluster in a row with nodes outside of it.
        let mut levels: BTreeMap<usize, String> = BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| !grouped[*i]) {
            *levels.entry(node.level).or_default() += &format!(" n{i};");
        }
        text.extend(levels.values().map(|nodes| format!("    {{ rank = same;{nodes} }}\n")));
        let largest = self.largest();
        text.extend(self.edges.iter().map(|edge| self.dot_edge(edge, largest)));
        text + "}\n"
    }

    /// Writes the supernodes, each node in the first one that has it; returns which nodes are in one.
    fn dot_clusters(&self, text: &mut String) -> Vec<bool> {
        let mut grouped = vec![false; self.nodes.len()];
        for (i, group) in self.supernodes.iter().enumerate() {
            let is_new = |node: &&usize| grouped.get_mut(**node).is_some_and(|known| !std::mem::replace(known, true));
            let members: String = group.nodes.iter().filter(is_new).map(|node| format!(" n{node};")).collect();
            let name = quoted(&group.name);
            *text += &format!("    subgraph cluster_{i} {{ label = \"{name}\"; style = rounded;{members} }}\n");
        }
        grouped
    }

    fn dot_edge(&self, edge: &Edge, largest: f64) -> String {
        let looks = if edge.effect < 0.0 { AGAINST } else { WITH };
        let width = 0.5 + 4.0 * (edge.effect.abs() / largest).min(1.0);
        let effect = match &self.quantity {
            None => format!("{:.0} %", 100.0 * edge.effect),
            Some(_) => format!("{:.3}", edge.effect),
        };
        let port = edge.port.map(|port| format!(", {port}")).unwrap_or_default();
        let cosine = edge.cosine.map(|cosine| format!(", {cosine:.2}")).unwrap_or_default();
        let label = format!("{effect}{port}{cosine}");
        format!("    n{} -> n{} [label = \"{label}\", penwidth = {width:.2}, {looks}];\n", edge.from, edge.to)
    }
}

/// Returns the label of a node and the shape of its kind; features are rounded boxes, dashed where they write along an
/// outlier dimension.
fn looks(node: &Node) -> String {
    let meaning = node.meaning.as_ref().map(|meaning| format!("\\n{}", quoted(meaning))).unwrap_or_default();
    let shape = match node.part {
        Part::Feature(_) | Part::Channel(_) => "",
        Part::Whole => ", style = solid",
        Part::Head(_) => ", shape = octagon, style = solid",
        Part::Token(_) => ", shape = oval, style = solid",
        Part::Error => ", shape = diamond, style = solid",
    };
    let outlier = if node.outlier { ", style = \"rounded,dashed\"" } else { "" };
    format!("label = \"{}{meaning}\"{shape}{outlier}", quoted(&node.name()))
}

/// Quotes a text for a dot file; control characters and marks of the writing direction become their escapes.
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
    use crate::circuit::{Port, Supernode};
    use proptest::prelude::*;

    fn graph() -> Graph {
        let node = |site: &str, level, feature| Node::new(site, level, Part::Feature(feature));
        let mut nodes = vec![node("resid_post.1", 1, 7), node("resid_post.0", 0, 3)];
        nodes[1].meaning = Some("token is \"(\" \n".into());
        Graph {
            title: "causal tree".into(),
            sites: vec!["resid_post.0".into(), "resid_post.1".into()],
            nodes,
            edges: vec![Edge { cosine: Some(-0.5), ..Edge::new(1, 0, 0.25) }],
            ..Graph::default()
        }
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

    #[test]
    fn kinds_have_shapes_groups_are_clusters_and_numbers_have_their_quantity() {
        let node = |site: &str, level, part| Node::new(site, level, part);
        let nodes = vec![
            node("embed", 0, Part::Token(5)),
            node("z.0", 1, Part::Head(2)),
            node("mlp_out.0", 2, Part::Whole),
            node("mlp_out.0", 2, Part::Error),
        ];
        let edge = |from, to, port, effect| Edge { port, ..Edge::new(from, to, effect) };
        let graph = Graph {
            title: "heads".into(),
            nodes,
            edges: vec![edge(0, 1, Some(Port::K), 2.0), edge(1, 2, None, -0.5)],
            supernodes: vec![
                Supernode { name: "a \"pair\"".into(), nodes: vec![1, 2] },
                Supernode { name: "again".into(), nodes: vec![2] },
            ],
            quantity: Some("change of the logit".into()),
            ..Graph::default()
        };
        let expected = r##"    label = "heads\nedges: change of the logit";
    labelloc = t;
    rankdir = BT;
    node [shape = box, style = rounded];
    n0 [label = "embed/5", shape = oval, style = solid];
    n1 [label = "z.0.2", shape = octagon, style = solid];
    n2 [label = "mlp_out.0", style = solid];
    n3 [label = "mlp_out.0/error", shape = diamond, style = solid];
    subgraph cluster_0 { label = "a \"pair\""; style = rounded; n1; n2; }
    subgraph cluster_1 { label = "again"; style = rounded; }
    { rank = same; n0; }
    { rank = same; n3; }
    n0 -> n1 [label = "2.000, k", penwidth = 4.50, color = "#0072B2"];
    n1 -> n2 [label = "-0.500", penwidth = 1.50, color = "#D55E00", style = dashed];
"##;
        assert!(graph.dot().contains(expected), "{}", graph.dot());
    }

    /// Splits a dot file as Graphviz reads it: the quoted strings, and all that is outside of them.
    fn strings(dot: &str) -> (Vec<String>, String) {
        let mut found = Vec::new();
        let mut outside = String::new();
        let mut letters = dot.chars();
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
            graph.supernodes = vec![Supernode { name: meaning.clone(), nodes: Vec::new() }];
            let (found, outside) = strings(&graph.dot());
            let cluster = "    subgraph cluster_0 { label = ; style = rounded; }\n";
            prop_assert_eq!(outside.replace(cluster, ""), plain);
            let shown = meaning.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}").replace('\u{202e}', "\\u{202e}");
            prop_assert_eq!(&found[2], &format!("resid_post.0/3\n{shown}"));
            prop_assert_eq!(&found[3], &shown);
        }
    }
}
