//! The single type of graphs: the result of every method that finds circuits, which is drawn, evaluated, saved and
//! compared.
//!
//! A graph of heads and MLPs is a set of edges, out of all edges of the model. A graph of features is a set of nodes,
//! whose edges lead from cause to effect.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::json;
use crate::common::*;

/// The part of its site that a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The whole site: an MLP, the embedding, the logits.
    Whole,
    Head(usize),
    /// A feature of the site's dictionary.
    Feature(usize),
    /// The reconstruction error of the site's dictionary.
    Error,
    /// A coordinate of the site: of the stream, of queries, keys or values, or a neuron.
    Channel(usize),
    /// A token that is read, or one whose logit is.
    Token(u32),
}

/// A part of a model, with its description if it is a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NodeFile", into = "NodeFile")]
pub struct Node {
    /// The site: `resid_post.3`, `z.3` for heads, `embed`, `logits`.
    pub site: String,
    pub part: Part,
    /// The position in the text, where positions are distinguished.
    pub position: Option<usize>,
    /// The index of the site in the order of the computation.
    pub level: usize,
    /// A short description, where there is one.
    pub meaning: Option<String>,
    /// The score of the description on held-out text: a correlation.
    pub score: Option<f64>,
    /// Whether the node writes along one outlier dimension of the residual stream.
    pub outlier: bool,
    /// The node's effect on what is explained, by the method that found it.
    pub effect: Option<f64>,
    /// A feature's activation, or the probability of a logit's token.
    pub value: Option<f64>,
}

/// A node in JSON: its part is one of five keys, or none of them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    site: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feature: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    error: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    level: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default)]
    outlier: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
}

impl TryFrom<NodeFile> for Node {
    type Error = String;

    fn try_from(file: NodeFile) -> std::result::Result<Self, String> {
        let named = [
            file.feature.map(Part::Feature),
            file.head.map(Part::Head),
            file.channel.map(Part::Channel),
            file.token.map(Part::Token),
            file.error.then_some(Part::Error),
        ];
        let mut parts = named.into_iter().flatten();
        let part = parts.next().unwrap_or(Part::Whole);
        if parts.next().is_some() {
            let site = &file.site;
            return Err(format!("a node of {site} that is more than one of feature, head, channel, token and error"));
        }
        let NodeFile { site, position, level, meaning, score, outlier, effect, value, .. } = file;
        Ok(Self { site, part, position, level, meaning, score, outlier, effect, value })
    }
}

impl From<Node> for NodeFile {
    fn from(node: Node) -> Self {
        let Node { site, part, position, level, meaning, score, outlier, effect, value } = node;
        let mut feature = None;
        let mut head = None;
        let mut channel = None;
        let mut token = None;
        match part {
            Part::Feature(index) => feature = Some(index),
            Part::Head(index) => head = Some(index),
            Part::Channel(index) => channel = Some(index),
            Part::Token(id) => token = Some(id),
            Part::Whole | Part::Error => {}
        }
        let error = part == Part::Error;
        Self { site, feature, head, channel, token, error, position, level, meaning, score, outlier, effect, value }
    }
}

/// An input of a head: queries, keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    Q,
    K,
    V,
}

impl Port {
    pub const ALL: [Self; 3] = [Port::Q, Port::K, Port::V];
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Port::Q => "q",
            Port::K => "k",
            Port::V => "v",
        })
    }
}

/// The effect of one node on another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The index of the node that the edge leads from; `to` is that of the node it leads to.
    pub from: usize,
    pub to: usize,
    /// The input of a head that the edge ends at, where inputs are distinguished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// The effect in the graph's `quantity`; without one the share by which the later node falls when the earlier one
    /// is ablated, negative where it rises.
    pub effect: f64,
    /// The cosine between the two directions, where both nodes have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f64>,
    /// The shares of attention heads in an edge of an attribution graph, where it was split by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<EdgeHeads>,
    /// The score with which a head looks along an edge of an attribution graph, where it was split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<EdgeScore>,
}

impl Edge {
    /// Builds an edge between two nodes, without what only some graphs know of edges.
    pub fn new(from: usize, to: usize, effect: f64) -> Self {
        Self { from, to, port: None, effect, cosine: None, heads: None, score: None }
    }
}

/// An edge split by the attention heads that carry it: what passes none, one alone, or several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeHeads {
    /// The share of the path without any head.
    pub direct: f64,
    /// The share of paths through several heads, one of a layer at most.
    pub several: f64,
    /// The shares of the heads, in the order of the computation.
    pub heads: Vec<HeadLoading>,
    /// Whether the heads are those of Lorsas, in the place of the model's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_lorsas: bool,
}

/// The share of an edge that one head carries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadLoading {
    pub layer: usize,
    pub head: usize,
    /// The share of paths that pass no other head.
    pub alone: f64,
    /// The share of all paths that pass the head, alone or with heads of other layers.
    pub through: f64,
}

/// The score of the head that carries the most of an edge alone, from where the edge ends to where it begins, with its largest pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeScore {
    /// The site of the score, such as `scores.3.0`.
    pub head: String,
    /// The score that the model computed.
    pub score: f64,
    /// The sum of the pairs with the biases of the key, which say nothing of where the head looks.
    pub biases: f64,
    /// The largest of the other pairs.
    pub pairs: Vec<ScorePair>,
}

/// A part of a query and a part of a key, by the names that nodes have without their positions, and what they add to a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorePair {
    pub query: String,
    pub key: String,
    pub score: f64,
}

/// The columns that a table of edges has where the scores of some are split.
const SCORE_COLUMNS: [&str; 5] = ["looks by", "score", "query part", "key part", "their score"];

/// Returns the cells of these columns, of the largest pair.
fn score_cells(score: Option<&EdgeScore>) -> [Cell; 5] {
    let Some(score) = score else { return [(); 5].map(|()| Cell::Missing) };
    let [query, key, value] = match score.pairs.first() {
        Some(pair) => [pair.query.as_str().into(), pair.key.as_str().into(), pair.score.into()],
        None => [(); 3].map(|()| Cell::Missing),
    };
    [score.head.as_str().into(), score.score.into(), query, key, value]
}

/// The columns that a table of edges has where some are split by heads.
const HEAD_COLUMNS: [&str; 4] = ["no head", "several heads", "strongest head", "through it"];

/// Returns the cells of these columns.
fn head_cells(heads: Option<&EdgeHeads>) -> [Cell; 4] {
    let Some(heads) = heads else { return [(); 4].map(|()| Cell::Missing) };
    let strongest = heads.strongest();
    let name = strongest.map(|one| heads.name(one));
    let through = strongest.map(|one| one.through);
    [heads.direct.into(), heads.several.into(), name.into(), through.into()]
}

impl EdgeHeads {
    /// Returns the name of one of the heads: `z.3.0`, or of a Lorsa `attn_in.3/17`, as nodes of graphs have it.
    pub fn name(&self, head: &HeadLoading) -> String {
        let HeadLoading { layer, head, .. } = head;
        if self.is_of_lorsas { format!("attn_in.{layer}/{head}") } else { format!("z.{layer}.{head}") }
    }

    /// Returns the head with the largest loading in size.
    pub fn strongest(&self) -> Option<&HeadLoading> {
        self.heads.iter().max_by(|a, b| a.through.abs().total_cmp(&b.through.abs()))
    }

    /// Returns the head that carries the most of the edge alone, if one does.
    pub fn carrier(&self) -> Option<&HeadLoading> {
        let heads = self.heads.iter().filter(|head| head.alone != 0.0);
        heads.max_by(|a, b| a.alone.abs().total_cmp(&b.alone.abs()))
    }
}

/// Nodes that are drawn and changed as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supernode {
    pub name: String,
    /// The indices of the nodes.
    pub nodes: Vec<usize>,
}

/// Elements that a graph is a set of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    Edges,
    Nodes,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    pub title: String,
    /// The model's name.
    pub model: String,
    /// The sites of all nodes that there could be, in the order of the computation.
    pub sites: Vec<String>,
    /// The nodes; the first one of a tree is its target.
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supernodes: Vec<Supernode>,
    /// The quantity that effects of edges are, as on an axis; without one they are shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Whether the search was completed, and not interrupted.
    pub is_whole: bool,
    /// The settings that the graph was made with, in pairs of a name and a value.
    pub made: Vec<(String, Cell)>,
}

impl Node {
    pub fn new(site: impl Into<String>, level: usize, part: Part) -> Self {
        let site = site.into();
        let position = None;
        let meaning = None;
        let score = None;
        let effect = None;
        let value = None;
        Self { site, part, position, level, meaning, score, outlier: false, effect, value }
    }

    /// Returns whether the node is an element of a graph of nodes.
    pub fn is_unit(&self) -> bool {
        matches!(self.part, Part::Feature(_) | Part::Error | Part::Channel(_))
    }

    /// Returns the index of the node's feature, if it is one.
    pub fn feature(&self) -> Option<usize> {
        match self.part {
            Part::Feature(index) => Some(index),
            _ => None,
        }
    }

    /// Returns the index of the node's feature, or an error for what is done with features only.
    pub fn needed_feature(&self) -> Result<usize> {
        self.feature().ok_or_else(|| err!(Argument, "expected nodes that are features, found {}", self.name()))
    }

    /// Returns the node's site and part, and its position where it has one: `resid_post.3/1044@5`, `z.3.2`,
    /// `mlp_out.3/error`.
    pub fn name(&self) -> String {
        let site = &self.site;
        let name = match self.part {
            Part::Whole => site.clone(),
            Part::Head(head) => format!("{site}.{head}"),
            Part::Feature(feature) => format!("{site}/{feature}"),
            Part::Error => format!("{site}/error"),
            Part::Channel(channel) => format!("{site}[{channel}]"),
            Part::Token(token) => format!("{site}/{token}"),
        };
        self.position.map_or(name.clone(), |position| format!("{name}@{position}"))
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

    /// Refuses edges and supernodes between what does not exist or exists twice, and edges that go back.
    pub(super) fn check(&self) -> Result<()> {
        let nodes = self.nodes.len();
        let mut known = BTreeSet::new();
        for (i, edge) in self.edges.iter().enumerate() {
            let (Some(from), Some(to)) = (self.nodes.get(edge.from), self.nodes.get(edge.to)) else {
                let from = edge.from;
                let to = edge.to;
                return Err(err!(Format, "expected edges between {nodes} nodes, found {from} to {to} as edge {i}"));
            };
            if from.level >= to.level {
                let from = from.name();
                let to = to.name();
                return Err(err!(Format, "expected an edge from an earlier node to a later one, found {from} to {to}"));
            }
            if !known.insert((edge.from, edge.to, edge.port)) {
                let from = from.name();
                let to = to.name();
                return Err(err!(Format, "expected each edge once, found {from} to {to} twice"));
            }
        }
        for Supernode { name, nodes: members } in &self.supernodes {
            if let Some(beyond) = members.iter().find(|member| **member >= nodes) {
                return Err(err!(Format, "expected `{name}` to group some of {nodes} nodes, found {beyond}"));
            }
        }
        match self.nodes.iter().find(|node| self.sites.get(node.level) != Some(&node.site)) {
            Some(node) => Err(err!(Format, "expected {} among the sites at its level {}", node.name(), node.level)),
            None => Ok(()),
        }
    }

    /// Returns whether some nodes are features of dictionaries, or their errors.
    fn has_features(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.part, Part::Feature(_) | Part::Error))
    }

    /// Returns whether the graph is a set of channels.
    pub fn has_channels(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.part, Part::Channel(_)))
    }

    /// Returns what the graph is a set of: nodes if some are features, reconstruction errors or channels, else edges.
    pub fn units(&self) -> Units {
        if self.nodes.iter().any(|node| node.is_unit()) { Units::Nodes } else { Units::Edges }
    }

    /// Returns the name of an edge, with its port after the name of the later node: `z.0.1 -> z.2.3<k>`.
    pub fn edge_name(&self, edge: &Edge) -> String {
        let name = |node: usize| self.nodes.get(node).map(Node::name).unwrap_or_default();
        let port = edge.port.map(|port| format!("<{port}>")).unwrap_or_default();
        format!("{} -> {}{port}", name(edge.from), name(edge.to))
    }

    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| err!(Bug, "a graph as JSON: {error}"))
    }

    /// Returns what the strength of an edge is drawn relative to: 1 for shares, else the largest effect.
    pub fn largest(&self) -> f64 {
        let largest = self.edges.iter().map(|edge| edge.effect.abs()).fold(0.0, f64::max);
        if self.quantity.is_none() || largest == 0.0 { 1.0 } else { largest }
    }

    /// Returns the edges that end at a node, the strongest first.
    pub fn into_node(&self, node: usize) -> Vec<&Edge> {
        let mut edges: Vec<&Edge> = self.edges.iter().filter(|edge| edge.to == node).collect();
        order::sort_descending(&mut edges, |edge| edge.effect);
        edges
    }

    pub fn table(&self) -> Table {
        let name = |i: usize| Cell::from(self.nodes.get(i).map(Node::name));
        let has_ports = self.edges.iter().any(|edge| edge.port.is_some());
        let has_cosines = self.has_features();
        let has_heads = self.edges.iter().any(|edge| edge.heads.is_some());
        let has_scores = self.edges.iter().any(|edge| edge.score.is_some());
        let row = |edge: &Edge| {
            let port = || Cell::from(edge.port.map(|port| port.to_string()));
            let cosine = || Cell::from(edge.cosine);
            let cells = [Some(name(edge.from)), Some(name(edge.to)), has_ports.then(port), Some(edge.effect.into())];
            let of_heads = has_heads.then(|| head_cells(edge.heads.as_ref()));
            let of_score = has_scores.then(|| score_cells(edge.score.as_ref()));
            cells
                .into_iter()
                .chain([has_cosines.then(cosine)])
                .flatten()
                .chain(of_heads.into_iter().flatten())
                .chain(of_score.into_iter().flatten())
                .collect()
        };
        let columns = [("from", true), ("to", true), ("input", has_ports), ("effect", true), ("cosine", has_cosines)];
        let columns = columns
            .into_iter()
            .chain(HEAD_COLUMNS.map(|name| (name, has_heads)))
            .chain(SCORE_COLUMNS.map(|name| (name, has_scores)));
        Table::new(
            &self.title,
            columns.filter(|(_, is_there)| *is_there).map(|(name, _)| name),
            self.edges.iter().map(row),
        )
    }

    /// Returns a table of the nodes with a column for each thing that some of them have.
    pub fn node_table(&self) -> Table {
        type NodeCell = fn(&Node) -> Cell;
        let has = |is_there: fn(&Node) -> bool| self.nodes.iter().any(is_there);
        let heads = has(|n| matches!(n.part, Part::Head(_)));
        let tokens = has(|n| matches!(n.part, Part::Token(_)));
        let features = self.has_features();
        let channels = has(|n| matches!(n.part, Part::Channel(_)));
        let columns: [(&str, bool, NodeCell); 10] =
            [
                ("site", true, |node| node.site.as_str().into()),
                ("head", heads, |node| if let Part::Head(head) = node.part { head.into() } else { Cell::Missing }),
                ("token", tokens, |node| if let Part::Token(id) = node.part { id.into() } else { Cell::Missing }),
                ("feature", features, |node| match node.part {
                    Part::Feature(feature) => feature.into(),
                    Part::Error => "error".into(),
                    Part::Whole | Part::Head(_) | Part::Channel(_) | Part::Token(_) => Cell::Missing,
                }),
                ("channel", channels, |node| {
                    if let Part::Channel(channel) = node.part { channel.into() } else { Cell::Missing }
                }),
                ("position", has(|n| n.position.is_some()), |node| node.position.into()),
                ("effect", has(|n| n.effect.is_some()), |node| node.effect.into()),
                ("value", has(|n| n.value.is_some()), |node| node.value.into()),
                ("meaning", features || has(|n| n.meaning.is_some()), |node| node.meaning.as_deref().into()),
                ("score", features, |node| node.score.into()),
            ];
        let outlier: (&str, bool, NodeCell) = ("outlier dimension", features, |node| node.outlier.into());
        let columns: Vec<_> = columns.into_iter().chain([outlier]).filter(|(_, is_there, _)| *is_there).collect();
        Table::new(
            &self.title,
            columns.iter().map(|(name, _, _)| *name),
            self.nodes.iter().map(|node| columns.iter().map(|(_, _, of)| of(node)).collect()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(site: &str, feature: usize, level: usize) -> Node {
        Node::new(site, level, Part::Feature(feature))
    }

    fn graph() -> Graph {
        let mut nodes = vec![node("resid_post.1", 7, 1), node("resid_post.0", 3, 0)];
        nodes[1].meaning = Some("token is \"(\" \n".into());
        Graph {
            title: "causal tree".into(),
            model: "tiny".into(),
            sites: vec!["resid_post.0".into(), "resid_post.1".into()],
            nodes,
            edges: vec![Edge { cosine: Some(-0.5), ..Edge::new(1, 0, 0.25) }],
            is_whole: true,
            made: vec![("contexts".into(), 20_usize.into())],
            ..Graph::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let graph = graph();
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
        let graph = all_parts();
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    }

    /// Builds a graph with a node of each part.
    fn all_parts() -> Graph {
        let sites = ["embed", "z.0", "mlp_out.0", "logits"];
        let parts = [Part::Token(5), Part::Head(2), Part::Feature(3), Part::Whole];
        let mut nodes: Vec<Node> = parts.iter().zip(sites).enumerate().map(|(i, (p, s))| Node::new(s, i, *p)).collect();
        nodes.push(Node { position: Some(4), effect: Some(0.5), ..Node::new("mlp_out.0", 2, Part::Error) });
        let edge = |from, to, port| Edge { port, ..Edge::new(from, to, 2.0) };
        Graph {
            title: "all".into(),
            model: "tiny".into(),
            sites: sites.map(String::from).to_vec(),
            nodes,
            edges: vec![edge(0, 1, Some(Port::Q)), edge(0, 1, Some(Port::V)), edge(1, 3, None)],
            supernodes: vec![Supernode { name: "both".into(), nodes: vec![1, 2] }],
            quantity: Some("change of the logit".into()),
            ..Graph::default()
        }
    }

    #[test]
    fn names_tell_parts_and_ports_apart() {
        let graph = all_parts();
        let names: Vec<String> = graph.nodes.iter().map(Node::name).collect();
        assert_eq!(names, ["embed/5", "z.0.2", "mlp_out.0/3", "logits", "mlp_out.0/error@4"]);
        assert_eq!(graph.edge_name(&graph.edges[1]), "embed/5 -> z.0.2<v>");
        assert_eq!(graph.units(), Units::Nodes);
        let heads = Graph { nodes: graph.nodes[..2].to_vec(), edges: graph.edges[..2].to_vec(), ..Graph::default() };
        assert_eq!((heads.units(), heads.table().columns.join(" ")), (Units::Edges, "from to input effect".into()));
        let twice = graph.json().unwrap().replace("\"head\": 2", "\"head\": 2, \"feature\": 1");
        assert!(
            Graph::parse(&twice)
                .unwrap_err()
                .message
                .contains("more than one of feature, head, channel, token and error")
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut wrong = graph();
        wrong.edges[0].from = 2;
        let error = Graph::parse(&wrong.json().unwrap()).unwrap_err();
        assert_eq!(error.message, "expected edges between 2 nodes, found 2 to 0 as edge 0");
        let mut wrong = graph();
        wrong.edges[0] = Edge { from: 0, to: 1, ..wrong.edges[0].clone() };
        assert!(Graph::parse(&wrong.json().unwrap()).unwrap_err().message.contains("found resid_post.1/7 to"));
        let mut wrong = graph();
        wrong.edges.push(wrong.edges[0].clone());
        assert!(Graph::parse(&wrong.json().unwrap()).unwrap_err().message.contains("twice"));
        let mut wrong = graph();
        wrong.supernodes.push(Supernode { name: "pair".into(), nodes: vec![0, 2] });
        let error = Graph::parse(&wrong.json().unwrap()).unwrap_err();
        assert_eq!(error.message, "expected `pair` to group some of 2 nodes, found 2");
        assert!(Graph::parse("{\"nodes\": 1}").is_err());
    }
}
