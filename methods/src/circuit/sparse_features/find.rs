//! The step from effects to a circuit: the nodes above a threshold, the edges between them, and the graph.

use super::ablated_values::AblatedValues;
use super::cases::Cases;
use super::edges::Edges;
use super::effects::SearchInputs;
use super::placed::PlacedDictionary;
use super::units::{Unit, Units};
use super::{NodeAblation, NodePositions, PairCircuitOptions, TextCircuitOptions};
use crate::circuit::ablations::naming_weights;
use crate::circuit::due::Due;
use crate::circuit::graph::{Edge, Graph, Node, Part};
use crate::circuit::{CONTEXT, Circuit, row_length};
use crate::data::pack::gathered;
use crate::features::feature::tokenizer;
use crate::features::tokens::token_ids;
use crate::intervene::metric::Measure;
use crate::sae::prelude::*;
use crate::tensor::normalise::cosine;

/// The part of a usual pass that each may take: a pass holds its gradients and all activations.
pub const SHARE: usize = 4;

/// Finds the feature circuit of a metric of pairs of prompts.
pub fn of_pairs(
    model: &Model,
    saes: &[Sae],
    pairs: &[TokenPair],
    measure: Measure,
    is_normalised: bool,
    options: &PairCircuitOptions,
    task: &Task,
) -> Result<Circuit> {
    let model = &options.search.ruled(model)?;
    let placed = PlacedDictionary::all(model, saes)?;
    let cases = Cases::of_pairs(model, pairs, measure, is_normalised, SHARE, task)?;
    let positions = match options.positions {
        NodePositions::Summed => None,
        NodePositions::Each => Some(cases.length()?),
    };
    let units = Units::new(&placed, positions);
    let others = others(model, &placed, &cases, options.ablation, &cases.prompts(), positions, task)?;
    let search = SearchInputs {
        model,
        placed: &placed,
        cases: &cases,
        others: &others,
        units: &units,
        options: &options.search,
    };
    let made = [
        ("ablation", options.ablation.word().into()),
        ("positions", options.positions.word().into()),
        ("metric", measure.name().into()),
        ("pairs", pairs.len().into()),
    ];
    circuit(&search, measure.quantity(), &made, task)
}

/// Finds the feature circuit of the probability of some tokens where they are due in a text.
pub fn of_text(model: &Model, saes: &[Sae], text: &Text, options: &TextCircuitOptions, task: &Task) -> Result<Circuit> {
    if options.token.is_empty() {
        return Err(err!(Argument, "expected `token`, whose probability the circuit is of, found none")
            .hint("#{ token: \")\" }")
            .about("token"));
    }
    let model = &options.search.ruled(model)?;
    let tokens = token_ids(model, &options.token)?;
    let placed = PlacedDictionary::all(model, saes)?;
    let text = text.limited(options.tokens.max(1) as u64);
    let context = row_length(model, options.context, CONTEXT);
    let due = Due::of(model, &text, &tokens, context, task).map_err(|e| e.about("text"))?;
    let cases = Cases::of_due(model, &due)?;
    let units = Units::new(&placed, None);
    let rows = rows(model, &text, context, task)?;
    let others = others(model, &placed, &cases, options.ablation, &rows, None, task)?;
    let search = SearchInputs {
        model,
        placed: &placed,
        cases: &cases,
        others: &others,
        units: &units,
        options: &options.search,
    };
    let made = [
        ("ablation", options.ablation.word().into()),
        ("positions", NodePositions::Summed.word().into()),
        ("text", text.name().into()),
        ("due", due.positions().into()),
    ];
    let mut found = circuit(&search, "P(tokens)", &made, task)?;
    found.promotes = Some(tokens.into());
    Ok(found)
}

/// Returns all rows of a text.
pub fn rows(model: &Model, text: &Text, context: usize, task: &Task) -> Result<Vec<Vec<u32>>> {
    let rows = gathered(text, tokenizer(model)?, context, None, task, |row| Ok(row.ids))?;
    Ok(rows.into_iter().filter(|row| !row.is_empty()).collect())
}

/// Returns the values of ablated nodes.
pub fn others(
    model: &Model,
    placed: &[PlacedDictionary],
    cases: &Cases,
    ablation: NodeAblation,
    texts: &[Vec<u32>],
    positions: Option<usize>,
    task: &Task,
) -> Result<AblatedValues> {
    match ablation {
        NodeAblation::Patch => {
            cases.check_corrupt()?;
            Ok(AblatedValues::Corrupt)
        }
        NodeAblation::Zero => AblatedValues::zero(&model.decoder, placed),
        NodeAblation::Mean => AblatedValues::mean(&model.decoder, placed, texts, positions, task),
    }
}

fn circuit(search: &SearchInputs, quantity: &str, made: &[(&str, Cell)], task: &Task) -> Result<Circuit> {
    let options = search.options;
    if options.needs_gradient() {
        let what = if options.edges { "edges" } else { options.method.word() };
        search.cases.check_gradient(&format!("`{what}`"))?;
    }
    let found = search.effects(task).map_err(|e| naming_weights(e, search.model))?;
    let kept: Vec<bool> = found.effects.iter().map(|effect| effect.abs() > options.node_threshold).collect();
    let edges = if options.edges && found.is_whole {
        search.edges(&found, &kept, task)?
    } else {
        Edges { effects: BTreeMap::new(), is_whole: found.is_whole }
    };
    let told: [(&str, Cell); 4] = [
        ("by", "sparse_features".into()),
        ("method", options.method.word().into()),
        ("node_threshold", options.node_threshold.into()),
        ("edge_threshold", options.edge_threshold.into()),
    ];
    let mut graph = nodes(search.model, search.placed, search.units, &found.effects, &kept);
    for node in &mut graph.nodes {
        node.value = number_of(search, node).map(|number| found.activity[number]);
    }
    graph.nodes[0].value = Some(found.metric);
    graph.edges = strong(search, &edges, &kept)?;
    graph.title = format!("feature circuit of the {quantity}");
    graph.quantity = Some(format!("change of {quantity}"));
    graph.is_whole = found.is_whole && edges.is_whole;
    graph.made = told.iter().chain(made).map(|(name, value)| (name.to_string(), value.clone())).collect();
    graph.made.extend(options.rules.stated());
    let saes = search.placed.iter().map(|placed| placed.sae.clone()).collect();
    Ok(Circuit { saes, ..Circuit::without_dictionaries(graph) })
}

/// Returns the number of the unit that a node of the graph is.
fn number_of(search: &SearchInputs, node: &Node) -> Option<usize> {
    if node.part == Part::Whole {
        return None;
    }
    search.units.number(Unit { level: node.level, position: node.position, feature: node.feature() })
}

/// Builds the graph of kept units without edges: the logits first, then units in the order of the computation, with
/// their effects.
pub fn nodes(model: &Model, placed: &[PlacedDictionary], units: &Units, effects: &[f64], kept: &[bool]) -> Graph {
    let mut sites: Vec<String> = placed.iter().map(PlacedDictionary::name).collect();
    let of_unit = |number: usize| {
        let unit = units.unit(number);
        let part = unit.feature.map_or(Part::Error, Part::Feature);
        let node = Node::new(sites[unit.level].clone(), unit.level, part);
        Node { position: unit.position, effect: Some(effects[number]), ..node }
    };
    let kept = (0..kept.len()).filter(|number| kept[*number]).map(of_unit);
    let nodes = [Node::new("logits", placed.len(), Part::Whole)].into_iter().chain(kept).collect();
    sites.push("logits".into());
    Graph { model: model.name().to_string(), sites, nodes, is_whole: true, ..Graph::default() }
}

/// Returns the edges above the threshold.
fn strong(search: &SearchInputs, edges: &Edges, kept: &[bool]) -> Result<Vec<Edge>> {
    let numbers = (0..kept.len()).filter(|number| kept[*number]);
    let places: BTreeMap<usize, usize> =
        [search.units.count()].into_iter().chain(numbers).enumerate().map(|(place, number)| (number, place)).collect();
    let strong = edges.effects.iter().filter(|(_, effect)| effect.abs() > search.options.edge_threshold);
    let edge = |((from, to), effect): (&(usize, usize), &f64)| -> Result<Edge> {
        let both = direction(search, *from)?.zip(direction(search, *to)?);
        let cosine = both.filter(|(a, b)| a.dims() == b.dims()).map(|(a, b)| cosine_of(&a, &b)).transpose()?;
        Ok(Edge { cosine, ..Edge::new(places[from], places[to], *effect) })
    };
    strong.map(edge).collect()
}

/// Returns the vector that a unit writes, if it is a feature.
fn direction(search: &SearchInputs, number: usize) -> Result<Option<Tensor>> {
    if number >= search.units.count() {
        return Ok(None);
    }
    let unit = search.units.unit(number);
    let of = |feature: usize| Ok(search.placed[unit.level].sae.directions().get(feature)?.to_dtype(DType::F64)?);
    unit.feature.map(of).transpose()
}

fn cosine_of(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok(cosine(a, b, 0)?.to_scalar::<f64>()?)
}
