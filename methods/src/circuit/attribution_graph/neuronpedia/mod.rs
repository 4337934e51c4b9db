//! The graph JSON of circuit-tracer and Neuronpedia, which their viewers and anthropics/attribution-graphs-frontend open. The
//! schema is hijohnnylin/neuronpedia: apps/webapp/app/api/graph/graph-schema.json.
//!
//! A feature is known by the Cantor pairing of layer and index, which is also the name of its own file. circuit-tracer calls
//! the error of layer 3 at position 5 `0_3_5`, which is also its name of feature 3 of layer 0 there. Where both are in
//! the graph, the error is `0_3_5_error` here.
//!
//! Heads of Lorsas, which circuit-tracer has not, are as Neuronpedia's own converter of such graphs writes them: of the
//! type `lorsa`, called `3_lor_17_5` by layer, head and position; their errors are of the type `lorsa error`, called
//! `3_error_attn_5`.

mod features;
mod viewer;

use serde_json::Map;

use super::graph::{AttributionGraph, sites};
use super::influence::cumulative;
use super::steps::{GraphSteps, LayerPart};
use crate::circuit::graph::{Edge, Graph, Node, Part, Supernode};
use crate::common::*;
use crate::sae::transcoders::Reads;

const FEATURE: &str = "cross layer transcoder";
const ERROR: &str = "mlp reconstruction error";
const HEAD: &str = "lorsa";
const HEAD_ERROR: &str = "lorsa error";
const EMBEDDING: &str = "embedding";
const LOGIT: &str = "logit";

/// Maximum number of layers of a graph in a file, which has sites for each: no model has a tenth of it.
const MOST_LAYERS: usize = 10_000;

/// Returns the Cantor pairing of two numbers, by which the viewers number features. Refuses one that is none of their
/// integers, of which -1 is an error's.
pub fn cantor(x: usize, y: usize) -> Result<i64> {
    let of_sum = |sum: usize| (sum as u128) * (sum as u128 + 1) / 2 + y as u128;
    x.checked_add(y).and_then(|sum| i64::try_from(of_sum(sum)).ok()).ok_or_else(|| {
        err!(Argument, "expected a feature whose number with its layer is below 2^63, found {y} of layer {x}")
    })
}

/// Returns the two numbers of a Cantor pairing; none where they are larger than indices.
fn uncantor(number: u64) -> Option<(usize, usize)> {
    let number = u128::from(number);
    let diagonal = ((8 * number + 1).isqrt() - 1) / 2;
    let y = number - diagonal * (diagonal + 1) / 2;
    Some((usize::try_from(diagonal - y).ok()?, usize::try_from(y).ok()?))
}

impl AttributionGraph {
    /// Writes a circuit of this graph in the format of Neuronpedia: `circuit` has the nodes and edges, their meanings
    /// and groups, and this graph their influence. `slug` is the name that the viewers list it by.
    pub fn neuronpedia(&self, circuit: &Graph, slug: &str) -> Result<Value> {
        let places: BTreeMap<String, usize> =
            (0..self.matrix.size()).map(|index| (self.node(index).name(), index)).collect();
        let index = |node: &Node| {
            places.get(&node.name()).copied().ok_or_else(|| {
                err!(Argument, "expected a circuit of this graph, found one with {}", node.name())
                    .hint("prune this graph: g.prune()")
                    .about("circuit")
            })
        };
        let indices: Vec<usize> = circuit.nodes.iter().map(index).collect::<Result<_>>()?;
        let ids = self.ids(&circuit.nodes, &indices);
        let linked: BTreeSet<&str> =
            circuit.edges.iter().flat_map(|edge| [ids[edge.from].as_str(), ids[edge.to].as_str()]).collect();
        let shares = cumulative(&self.influence());
        let all = circuit.nodes.iter().zip(&indices).zip(&ids);
        let nodes: Vec<Value> = all
            .filter(|((node, _), id)| linked.contains(id.as_str()) || matches!(node.part, Part::Token(_)))
            .map(|((node, index), id)| self.described(node, *index, id, shares[*index]))
            .collect::<Result<_>>()?;
        let link = |edge: &Edge| json!({ "source": ids[edge.from], "target": ids[edge.to], "weight": edge.effect });
        let group = |group: &Supernode| {
            let members = group.nodes.iter().filter_map(|node| ids.get(*node));
            std::iter::once(&group.name).chain(members).cloned().collect::<Vec<String>>()
        };
        let pinned: BTreeSet<&String> =
            circuit.supernodes.iter().flat_map(|group| &group.nodes).filter_map(|node| ids.get(*node)).collect();
        let mut metadata = json!({
            "slug": slug,
            "scan": self.scan.as_deref().unwrap_or(&self.model),
            "transcoder_list": [],
            "prompt_tokens": self.texts,
            "prompt": self.prompt,
            "schema_version": 1,
        });
        if let Some((_, Cell::Float(share))) = circuit.made.iter().find(|(name, _)| name == "share of nodes") {
            metadata["node_threshold"] = (*share).into();
        }
        Ok(json!({
            "metadata": metadata,
            "qParams": {
                "pinnedIds": pinned,
                "supernodes": circuit.supernodes.iter().map(group).collect::<Vec<_>>(),
                "linkType": "both",
                "clickedId": "",
                "sg_pos": "",
            },
            "nodes": nodes,
            "links": circuit.edges.iter().map(link).collect::<Vec<_>>(),
        }))
    }

    /// Returns the id of each node; no two nodes share one.
    fn ids(&self, nodes: &[Node], indices: &[usize]) -> Vec<String> {
        let plain: Vec<String> = nodes.iter().zip(indices).map(|(node, index)| self.id(node, *index)).collect();
        let features: BTreeSet<&String> =
            nodes.iter().zip(&plain).filter_map(|(node, id)| node.feature().map(|_| id)).collect();
        let unique = |(node, id): (&Node, &String)| {
            if node.part == Part::Error && features.contains(id) { format!("{id}_error") } else { id.clone() }
        };
        nodes.iter().zip(&plain).map(unique).collect()
    }

    fn id(&self, node: &Node, index: usize) -> String {
        let position = node.position.unwrap_or(0);
        let (layer, of) = self.steps().at(node.level.saturating_sub(1));
        match (node.part, of) {
            (Part::Feature(feature), LayerPart::Mlp) => format!("{layer}_{feature}_{position}"),
            (Part::Feature(head), LayerPart::Attention) => format!("{layer}_lor_{head}_{position}"),
            (Part::Error, LayerPart::Mlp) => format!("0_{layer}_{position}"),
            (Part::Error, LayerPart::Attention) => format!("{layer}_error_attn_{position}"),
            (Part::Token(token), _) if index < self.counts().first_target() => format!("E_{token}_{position}"),
            (Part::Token(token), _) => format!("{}_{token}_{position}", self.layers + 1),
            (Part::Whole | Part::Head(_) | Part::Channel(_), _) => node.name(),
        }
    }

    fn described(&self, node: &Node, index: usize, id: &str, share: f64) -> Result<Value> {
        let position = node.position.unwrap_or(0);
        let (layer, of) = self.steps().at(node.level.saturating_sub(1));
        let meaning = node.meaning.as_deref().unwrap_or_default();
        let first = self.counts().first_target();
        let (feature, kind, layer, js, clerp, chance, influence) = match node.part {
            Part::Feature(feature) => {
                let (kind, js) = match of {
                    LayerPart::Mlp => (FEATURE, format!("{layer}_{feature}-0")),
                    LayerPart::Attention => (HEAD, id.to_string()),
                };
                (cantor(layer, feature)?, kind, layer.to_string(), js, meaning.to_string(), 0.0, Some(share))
            }
            Part::Token(token) if index >= first => {
                let chance = self.targets[index - first].weight;
                let layer = (self.layers + 1).to_string();
                let js = format!("L_{token}-{position}");
                let clerp = format!("Output \"{meaning}\" (p={chance:.3})");
                (i64::from(token), LOGIT, layer, js, clerp, chance, None)
            }
            Part::Token(token) => {
                let js = format!("E_{token}-{position}");
                (position as i64, EMBEDDING, "E".to_string(), js, String::new(), 0.0, Some(share))
            }
            _ => {
                let (kind, js) = match of {
                    LayerPart::Mlp => (ERROR, format!("{layer}_{position}-0")),
                    LayerPart::Attention => (HEAD_ERROR, id.to_string()),
                };
                (-1, kind, layer.to_string(), js, String::new(), 0.0, Some(share))
            }
        };
        Ok(json!({
            "node_id": id,
            "feature": feature,
            "layer": layer,
            "ctx_idx": position,
            "feature_type": kind,
            "token_prob": chance,
            "is_target_logit": index == first,
            "run_idx": 0,
            "reverse_ctx_idx": 0,
            "jsNodeId": js,
            "clerp": clerp,
            "influence": influence,
            "activation": node.feature().and(node.value),
        }))
    }
}

/// Returns whether a JSON value is a graph in the format of Neuronpedia.
pub fn is_theirs(value: &Value) -> bool {
    ["metadata", "nodes", "links"].iter().all(|key| value.get(key).is_some())
}

/// Reads a graph in the format of Neuronpedia, whatever wrote it. Its nodes get no influence: the influence in the file
/// is a share of that of nodes that may be missing.
pub fn parse(value: &Value) -> Result<Graph> {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let list = |of: &Value, key: &str| -> Result<Vec<Value>> {
        of.get(key).and_then(Value::as_array).cloned().ok_or_else(|| err!(Format, "expected an array as `{key}`"))
    };
    let read: Vec<FileNode> = list(value, "nodes")?.iter().map(FileNode::of).collect::<Result<_>>()?;
    let layers =
        read.iter().filter(|node| node.kind != LOGIT).filter_map(|node| node.layer).max().map_or(0, |last| last + 1);
    let steps = GraphSteps { layers, has_lorsas: read.iter().any(FileNode::is_of_lorsa) };
    let sites = sites(steps, Reads::MlpIn);
    let texts: Vec<String> =
        list(metadata, "prompt_tokens")?.iter().filter_map(|t| t.as_str().map(str::to_string)).collect();
    let mut ids = BTreeMap::new();
    let mut nodes = Vec::with_capacity(read.len());
    for (place, one) in read.into_iter().enumerate() {
        if ids.insert(one.id.clone(), place).is_some() {
            return Err(err!(Format, "expected node ids that are different, found {} twice", one.id)
                .hint("circuit-tracer gives errors the ids of features of the first layer; leave one of them out"));
        }
        nodes.push(one.node(steps, &sites, &texts)?);
    }
    let mut edges = Vec::new();
    for link in list(value, "links")? {
        let end = |key: &str| -> Result<usize> {
            let id = link.get(key).and_then(Value::as_str).unwrap_or_default();
            ids.get(id).copied().ok_or_else(|| err!(Format, "expected a link between nodes, found the {key} `{id}`"))
        };
        let Some(effect) = link.get("weight").and_then(Value::as_f64) else {
            return Err(err!(Format, "expected a number as the weight of a link, found {link}"));
        };
        edges.push(Edge::new(end("source")?, end("target")?, effect));
    }
    let groups = value.get("qParams").and_then(|params| params.get("supernodes")).and_then(Value::as_array);
    let supernodes = groups.into_iter().flatten().filter_map(|group| {
        let mut names = group.as_array()?.iter().filter_map(Value::as_str);
        let name = names.next()?.to_string();
        Some(Supernode { name, nodes: names.filter_map(|id| ids.get(id).copied()).collect() })
    });
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let graph = Graph {
        title: format!("attribution graph of \"{}\"", text("prompt")),
        model: text("scan"),
        supernodes: supernodes.collect(),
        sites,
        nodes,
        edges,
        quantity: Some("direct effect".into()),
        is_whole: true,
        made: vec![("slug".into(), text("slug").into())],
    };
    graph.check()?;
    Ok(graph)
}

/// A node as it stands in a file.
struct FileNode {
    id: String,
    kind: String,
    layer: Option<usize>,
    position: usize,
    fields: Map<String, Value>,
}

impl FileNode {
    fn of(value: &Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            return Err(err!(Format, "expected a node as an object, found {value}"));
        };
        let text = |key: &str| -> Result<String> {
            let found = fields.get(key).and_then(Value::as_str);
            found.map(str::to_string).ok_or_else(|| err!(Format, "expected a text as `{key}` of each node"))
        };
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        let layer = fields.get("layer").and_then(|layer| size(layer).or_else(|| layer.as_str()?.parse().ok()));
        let position = fields.get("ctx_idx").and_then(size);
        let position = position.ok_or_else(|| err!(Format, "expected a position as `ctx_idx` of each node"))?;
        let id = text("node_id")?;
        if let Some(layer) = layer.filter(|layer| *layer >= MOST_LAYERS) {
            return Err(err!(Format, "{id}: expected a layer below {MOST_LAYERS}, found {layer}")
                .hint("the file is damaged: layers are numbered from 0 on"));
        }
        Ok(Self { id, kind: text("feature_type")?, layer, position, fields: fields.clone() })
    }

    fn is_of_lorsa(&self) -> bool {
        matches!(self.kind.as_str(), HEAD | HEAD_ERROR)
    }

    /// Returns the number in the middle of the node's id.
    fn number(&self) -> Option<usize> {
        self.id.split('_').nth(1)?.parse().ok()
    }

    fn node(&self, steps: GraphSteps, sites: &[String], texts: &[String]) -> Result<Node> {
        let within = || err!(Format, "expected a node of layers and tokens, found `{}`, {}", self.id, self.kind);
        let of = if self.is_of_lorsa() { LayerPart::Attention } else { LayerPart::Mlp };
        let level = match (self.kind.as_str(), self.layer) {
            (EMBEDDING, _) => 0,
            (LOGIT, _) => sites.len() - 1,
            (_, Some(layer)) => steps.of(layer, of) + 1,
            (_, None) => return Err(within()),
        };
        let number = self.fields.get("feature").and_then(Value::as_u64);
        let index = || number.and_then(|number| usize::try_from(number).ok());
        let token = || self.number().and_then(|id| u32::try_from(id).ok()).map(Part::Token).ok_or_else(within);
        let part = match self.kind.as_str() {
            ERROR | HEAD_ERROR => Part::Error,
            EMBEDDING | LOGIT => token()?,
            // The number of a feature is that of the pair where a file has them, and its own where not.
            _ => match (number.and_then(uncantor), self.number().or_else(index)) {
                (Some((layer, feature)), _) if Some(layer) == self.layer => Part::Feature(feature),
                (_, Some(feature)) => Part::Feature(feature),
                (_, None) => return Err(within()),
            },
        };
        let clerp = self.fields.get("clerp").and_then(Value::as_str).filter(|clerp| !clerp.is_empty());
        let quoted =
            clerp.and_then(|clerp| clerp.strip_prefix("Output \"")?.rsplit_once("\" (p=").map(|(text, _)| text));
        let meaning = match self.kind.as_str() {
            EMBEDDING => texts.get(self.position).map(String::as_str),
            LOGIT => quoted.or(clerp),
            _ => clerp,
        };
        let key = if self.kind == LOGIT { "token_prob" } else { "activation" };
        let value = self.fields.get(key).and_then(Value::as_f64);
        let meaning = meaning.map(str::to_string);
        Ok(Node { position: Some(self.position), meaning, value, ..Node::new(sites[level].clone(), level, part) })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod viewer_tests;
