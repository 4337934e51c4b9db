//! Head loadings (Kamath et al. 2025): how much of an edge of an attribution graph each attention head carries.
//!
//! With patterns and norms held, an edge is a sum over paths through the residual stream, each of which passes any number
//! of heads, one of a layer at most. A head's loading is the share that goes through it, alone or with heads of other
//! layers. In each layer the loadings of its heads and what passes by all of them sum to the edge; and the edge is what
//! passes no head, what passes exactly one, head by head, and what passes several.
//!
//! Where Lorsas stand for attention, an edge passes the head that it ends at, or none; such a sum is one over paths of edges
//! there (`lorsa_paths`).

use super::AttributionGraph;
use super::backward::Backward;
use super::dictionaries::GraphDictionaries;
use super::frozen::{self, FrozenBlock, FrozenModel};
use super::mixing::Patterns;
use super::prompt_run::PromptRun;
use super::sources::GraphSources;
use super::steps::LayerPart;
use super::targets;
use crate::circuit::graph::{EdgeHeads, HeadLoading};
use crate::common::*;
use crate::sae::Transcoders;

/// An edge of an attribution graph, split by the heads that carry it.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeLoadings {
    /// The nodes of the edge, in the graph's order.
    pub from: usize,
    pub to: usize,
    /// The edge: what the source adds to the input of the target; or, of a pair of nodes that is split by heads of Lorsas, what it
    /// adds over all paths through these.
    pub value: f64,
    pub parts: EdgeHeads,
}

impl EdgeLoadings {
    /// Tabulates the heads, those with the largest loadings first, and what passes none or several.
    pub fn table(&self, title: String, top: usize) -> Table {
        let mut order: Vec<&HeadLoading> = self.parts.heads.iter().collect();
        order::sort_descending(&mut order, |head| head.through.abs());
        let others = order.split_off(top.min(order.len()));
        let row = |name: String, alone: f64, through: Cell| vec![name.into(), alone.into(), through];
        let head = |one: &&HeadLoading| row(self.parts.name(one), one.alone, one.through.into());
        let mut rows: Vec<Vec<Cell>> = order.iter().map(head).collect();
        if !others.is_empty() {
            let alone = others.iter().map(|one| one.alone).sum();
            rows.push(row(format!("{} other heads", others.len()), alone, Cell::Missing));
        }
        rows.push(row("no head".into(), self.parts.direct, Cell::Missing));
        rows.push(row("several heads".into(), self.parts.several, Cell::Missing));
        rows.push(row("edge".into(), self.value, self.value.into()));
        Table { title, columns: vec!["path".into(), "alone".into(), "through".into()], rows }
    }
}

/// A gradient in the layers below a target: over all paths, at every position, and along the path without heads, which
/// stays at the target's own position.
struct Gradient {
    all: Tensor,
    direct: Tensor,
}

/// The gradients of one target.
struct TargetGradients {
    position: usize,
    /// The gradients behind the attention of each layer that the target reads from.
    behind_attention: BTreeMap<usize, Gradient>,
    /// The gradients behind each block below the target.
    behind_block: BTreeMap<usize, Gradient>,
    at_embedding: Gradient,
}

/// The part of a node that writes.
#[derive(Debug, Clone, Copy)]
enum Writer {
    Feature(usize),
    Error { layer: usize, position: usize },
    Token(usize),
}

/// Splits edges of a graph by heads: pairs of a source and a target, by their places in the graph's order. The dictionaries are
/// those that the graph was made with.
pub fn head_loadings(
    model: &Model,
    dictionaries: impl Into<GraphDictionaries>,
    graph: &AttributionGraph,
    edges: &[(usize, usize)],
    task: &Task,
) -> Result<Vec<EdgeLoadings>> {
    let decoder = &model.decoder;
    check_model(model, graph)?;
    let given: GraphDictionaries = dictionaries.into();
    graph.check_dictionaries(&given)?;
    if edges.iter().any(|(from, _)| *from >= graph.counts().first_target()) {
        return Err(err!(Argument, "expected edges that begin at features, errors or tokens, found one from a target"));
    }
    if graph.has_lorsas {
        return Ok(edges.iter().map(|(from, to)| to_its_end(graph, *from, *to)).collect());
    }
    frozen::check(decoder, &model.name().to_string(), &given.transcoders)?;
    let dictionaries = &given.of_model(model)?;
    let transcoders = &dictionaries.transcoders;
    let batch = Batch::new(vec![graph.tokens.clone()])?;
    let patterns = Patterns::of(decoder.config(), graph.tokens.len());
    let config = decoder.config();
    dictionaries.check_run(config, patterns, graph.tokens.len())?;
    let bytes = needed(config, graph.tokens.len(), edges.len()) + graph.mlps.bytes(config, graph.tokens.len());
    memory::check(bytes, || format!("{} edges split by heads", edges.len()))
        .map_err(|e| e.hint("split fewer edges: those of a graph that is pruned to a smaller share"))?;
    let PromptRun { held, sources } = PromptRun::of(decoder, dictionaries, &batch, patterns, graph.mlps, task)?;
    let split = Split { model, graph, transcoders, held: &held, sources: &sources, task };
    let mut order: Vec<usize> = (0..edges.len()).collect();
    order.sort_by_key(|edge| edges[*edge].1);
    let mut found = vec![None; edges.len()];
    let mut target: Option<(usize, TargetGradients)> = None;
    let bar = task.begin("splitting edges", Some(edges.len() as u64));
    for edge in order {
        task.check()?;
        let (from, to) = edges[edge];
        if target.as_ref().is_none_or(|(known, _)| *known != to) {
            target = Some((to, split.gradients(to)?));
        }
        if let Some((_, gradients)) = &target {
            found[edge] = Some(split.edge(from, to, gradients)?);
        }
        bar.advance(1);
    }
    found.into_iter().map(|one| one.ok_or_else(|| err!(Bug, "an edge that was not split"))).collect()
}

/// Refuses another model than that of a graph.
pub(super) fn check_model(model: &Model, graph: &AttributionGraph) -> Result<()> {
    if model.name().to_string() == graph.model {
        return Ok(());
    }
    Err(err!(Argument, "expected {}, the model of the graph, found {}", graph.model, model.name()).about("m"))
}

/// Splits an edge of a graph with Lorsas, which passes the head that it ends at, or none.
fn to_its_end(graph: &AttributionGraph, from: usize, to: usize) -> EdgeLoadings {
    let value = f64::from(graph.matrix.edge(to, from));
    let end = graph.features.get(to).filter(|one| one.part == LayerPart::Attention && value != 0.0);
    let head = end.map(|one| HeadLoading { layer: one.layer, head: one.feature, alone: value, through: value });
    let direct = if head.is_some() { 0.0 } else { value };
    let parts = EdgeHeads { direct, several: 0.0, heads: head.into_iter().collect(), is_of_lorsas: true };
    EdgeLoadings { from, to, value, parts }
}

/// Returns an upper bound on the bytes of the gradients of one target, of what heads read and write beside them, and of the loadings
/// of all edges.
pub(super) fn needed(config: &Config, tokens: usize, edges: usize) -> u128 {
    let of_heads = config.heads * config.d_head;
    // Two gradients for each layer and one at the embeddings; a stream, before and after a layer, with what is added to it.
    let rows = (2 * config.layers + 1 + 4) * config.d_model + 6 * of_heads;
    let loadings = edges * config.layers * config.heads;
    4 * rows as u128 * tokens as u128 + loadings as u128 * size_of::<HeadLoading>() as u128
}

struct Split<'a> {
    model: &'a Model,
    graph: &'a AttributionGraph,
    transcoders: &'a Transcoders,
    held: &'a FrozenModel,
    sources: &'a GraphSources,
    task: &'a Task,
}

impl Split<'_> {
    /// Returns where a target reads, and the vector that it reads with: `[1, d]`.
    fn reader(&self, node: usize) -> Result<(usize, usize, Tensor)> {
        let graph = self.graph;
        if let Some(one) = graph.features.get(node) {
            let Some(layer) = self.transcoders.layers().get(one.layer) else {
                return Err(err!(Bug, "a feature without its layer"));
            };
            return Ok((one.layer, one.position, layer.encoder.narrow(0, one.feature, 1)?.contiguous()?));
        }
        let target = node.checked_sub(graph.counts().first_target()).and_then(|target| graph.targets.get(target));
        let Some(target) = target else { return Err(err!(Bug, "an edge to a node that reads nothing")) };
        let reading = targets::readings(self.model, std::slice::from_ref(target))?;
        Ok((self.held.blocks.len(), graph.tokens.len() - 1, reading))
    }

    /// Takes the gradient of a target through the frozen model.
    fn gradients(&self, node: usize) -> Result<TargetGradients> {
        let (layer, position, reading) = self.reader(node)?;
        let held = self.held;
        let mut all = Backward::begin(held, layer, &reading, &[position])?;
        let mut direct = all.clone();
        let last = |one: &Backward| -> Result<Tensor> { Ok(one.of_one()?.narrow(0, position, 1)?) };
        let here = |all: &Backward, direct: &Backward| -> Result<Gradient> {
            Ok(Gradient { all: all.of_one()?, direct: last(direct)? })
        };
        let mut behind_attention = BTreeMap::new();
        let mut behind_block = BTreeMap::new();
        let mut below = layer;
        if below < held.blocks.len() && held.is_serial {
            behind_attention.insert(below, here(&all, &direct)?);
            all = all.through_attention(&held.blocks[below], held, self.task)?;
        }
        while below > 0 {
            below -= 1;
            let block = &held.blocks[below];
            behind_block.insert(below, here(&all, &direct)?);
            let past_skip = direct.clone().past_skip(block)?;
            let behind =
                if held.is_serial { here(&all.clone().past_skip(block)?, &past_skip)? } else { here(&all, &direct)? };
            behind_attention.insert(below, behind);
            all = all.through_block(block, held, self.task)?;
            direct = past_skip;
        }
        let at_embedding = here(&all, &direct)?;
        Ok(TargetGradients { position, behind_attention, behind_block, at_embedding })
    }

    fn writer(&self, node: usize) -> Result<(Writer, usize)> {
        let counts = self.graph.counts();
        let tokens = self.graph.tokens.len();
        if let Some(one) = self.graph.features.get(node) {
            let place = self.sources.place(one).ok_or_else(|| err!(Bug, "a feature that is not active"))?;
            return Ok((Writer::Feature(place), one.position));
        }
        if node < counts.first_token() {
            let error = node - counts.features;
            let position = error % tokens;
            return Ok((Writer::Error { layer: error / tokens, position }, position));
        }
        let position = node - counts.first_token();
        Ok((Writer::Token(position), position))
    }

    /// Returns what a source adds to the stream in a layer: `[1, d]`.
    fn write(&self, writer: Writer, layer: usize) -> Result<Option<Tensor>> {
        let writing = &self.held.blocks[layer].writing;
        match writer {
            Writer::Feature(place) => self.sources.feature_write(place, layer, writing),
            Writer::Error { layer: own, position } if own == layer => self.sources.error_write(layer, position),
            Writer::Error { .. } | Writer::Token(_) => Ok(None),
        }
    }

    /// Takes what a source writes forward to the target, beside the gradients on their way back.
    fn edge(&self, from: usize, to: usize, target: &TargetGradients) -> Result<EdgeLoadings> {
        let (writer, position) = self.writer(from)?;
        let mut found = EdgeLoadings { from, to, value: 0.0, parts: EdgeHeads::default() };
        if position > target.position {
            return Ok(found);
        }
        let held = self.held;
        let mut stream = target.at_embedding.all.zeros_like()?;
        let mut direct = target.at_embedding.direct.zeros_like()?;
        let is_same = position == target.position;
        let add = |found: &mut EdgeLoadings, gradient: &Gradient, vector: &Tensor| -> Result<()> {
            found.value += dot(&gradient.all.narrow(0, position, 1)?, vector)?;
            if is_same {
                found.parts.direct += dot(&gradient.direct, vector)?;
            }
            Ok(())
        };
        let mut is_written = false;
        if let Writer::Token(position) = writer {
            let vector = self.sources.embedding(position)?;
            add(&mut found, &target.at_embedding, &vector)?;
            stream = placed(&stream, &vector, position)?;
            direct = vector;
            is_written = true;
        }
        for (layer, block) in held.blocks.iter().enumerate() {
            self.task.check()?;
            let Some(behind) = target.behind_attention.get(&layer) else { break };
            let mut after = stream.clone();
            if is_written {
                let mixed = self.heads(layer, block, behind, [&stream, &direct], position, &mut found)?;
                after = (after + mixed)?;
            }
            let Some(behind_block) = target.behind_block.get(&layer) else { break };
            let read = if held.is_serial { &after } else { &stream };
            let passed = [past_heads(block, read, 0)?, past_heads(block, &direct, position)?];
            if let [Some(of_all), Some(of_direct)] = passed {
                after = (after + of_all)?;
                direct = (direct + of_direct)?;
            }
            stream = after;
            if let Some(vector) = self.write(writer, layer)? {
                add(&mut found, behind_block, &vector)?;
                stream = placed(&stream, &vector, position)?;
                direct = (direct + vector)?;
                is_written = true;
            }
        }
        let alone: f64 = found.parts.heads.iter().map(|head| head.alone).sum();
        found.parts.several = found.value - found.parts.direct - alone;
        Ok(found)
    }

    /// Adds the loadings of the heads of a layer, and returns what they write of the stream.
    fn heads(
        &self,
        layer: usize,
        block: &FrozenBlock,
        behind: &Gradient,
        [stream, direct]: [&Tensor; 2],
        position: usize,
        found: &mut EdgeLoadings,
    ) -> Result<Tensor> {
        let held = self.held;
        let maps = block.heads()?;
        let (positions, _) = stream.dims2()?;
        let size = held.d_head;
        let heads = held.heads;
        let each = heads / held.kv_heads;
        // [heads, positions, d_head], of a stream.
        let values = |stream: &Tensor| -> Result<Tensor> {
            let count = stream.dim(0)?;
            let values = stream.matmul(&maps.out_of_heads)?.reshape((count, held.kv_heads, 1, size))?;
            let values = values.broadcast_as((count, held.kv_heads, each, size))?.contiguous()?;
            Ok(values.reshape((count, heads, size))?.transpose(0, 1)?.contiguous()?)
        };
        let gradients = |rows: &Tensor| -> Result<Tensor> {
            let count = rows.dim(0)?;
            let found = kernels::linear(rows, &maps.into_heads, None)?;
            Ok(found.reshape((count, heads, size))?.transpose(0, 1)?.contiguous()?)
        };
        let mixed = maps.mixing.mixed(&values(stream)?, self.task)?;
        let through = floats(&(&mixed * gradients(&behind.all)?)?.sum((1, 2))?)?;
        let weight = maps.mixing.of_queries(&[positions - 1], positions, self.task)?;
        let weight = floats(&weight.narrow(1, position, 1)?.flatten_all()?)?;
        let alone = floats(&(values(direct)? * gradients(&behind.direct)?)?.sum((1, 2))?)?;
        for (head, ((through, weight), alone)) in through.iter().zip(weight).zip(alone).enumerate() {
            found.parts.heads.push(HeadLoading { layer, head, alone: alone * weight, through: *through });
        }
        let joined = mixed.transpose(0, 1)?.contiguous()?.reshape((positions, heads * size))?;
        Ok(joined.matmul(&maps.into_heads)?)
    }
}

/// Takes a stream through what passes by the attention of a block, if anything does; the first row is at a position.
fn past_heads(block: &FrozenBlock, stream: &Tensor, first: usize) -> Result<Option<Tensor>> {
    let skipped = block.skip.as_ref().map(|(map, factors)| forward_skip(stream, map, factors, first)).transpose()?;
    let passed = block.mlp.as_ref().map(|mlp| mlp.forward(stream, first)).transpose()?;
    Ok(match (skipped, passed) {
        (Some(skipped), Some(passed)) => Some((skipped + passed)?),
        (skipped, passed) => skipped.or(passed),
    })
}

/// Takes a stream through a skip connection, whose map is that of gradients; the first row is at a position.
fn forward_skip(stream: &Tensor, map: &Tensor, factors: &[f32], first: usize) -> Result<Tensor> {
    let count = stream.dim(0)?;
    let factor = |row: usize| factors.get(first + row).copied().unwrap_or(1.0);
    let factors = Tensor::from_vec((0..count).map(factor).collect::<Vec<f32>>(), (count, 1), stream.device())?;
    Ok(stream.matmul(map)?.broadcast_mul(&factors)?)
}

/// Adds a vector at a position of a stream.
fn placed(stream: &Tensor, vector: &Tensor, position: usize) -> Result<Tensor> {
    let place = Tensor::new(&[position as u32], stream.device())?;
    Ok(stream.index_add(&place, vector, 0)?)
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok(floats(&(a * b)?.sum_all()?.reshape(1)?)?.into_iter().sum())
}
