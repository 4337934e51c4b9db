//! The causal tree of a feature: the features of earlier dictionaries that it depends on (Cunningham et al. 2023,
//! section 5).
//!
//! The strongest positions of a feature are selected, every feature of the dictionary before is ablated there, and
//! those by which it falls most are its children; each of them has children in turn, down to the first dictionary.

mod effects;
mod options;
mod outliers;
mod read;
mod stage;

#[cfg(test)]
mod tests;

use super::dictionaries::Circuit;
use super::graph::{Edge, Graph, Node, Part};
use super::row_length;
use crate::base::task::InterruptibleWork;
use crate::data::harvest;
use crate::features::card::{CardPlan, SurveyedDictionary, cards as cards_of};
use crate::features::feature::check_feature;
use crate::features::survey::KeptPositions;
use crate::features::{Feature, FeatureCard, Survey, Tally};
use crate::sae::prelude::*;
use crate::tensor::normalise::cosine;
use outliers::Outliers;

pub use effects::{EffectTarget, Effects, effects};
pub use options::{Depth, ParentReading, Rank, TreeIntervention, TreeOptions};
pub use read::CodeReader;
pub use stage::{Stage, check_stream_alone, is_same, leading_to};

/// Number of tokens in a row of the text: a context that a person can take in.
const CONTEXT: usize = 64;

/// The number of random positions of each feature, for the cards of those that become nodes.
const IN_CARDS: usize = 8;

/// The number of contexts for each thread that are searched side by side, of several nodes where one has fewer: the last
/// ones then keep no thread waiting for long.
const CONTEXTS_OF_A_THREAD: usize = 16;

/// Finds the causal tree of a feature over the dictionaries before its own, with the cards of its nodes, from a text.
/// An interrupted tree has no cards.
pub fn causal_tree(
    model: &Model,
    saes: &[Sae],
    target: &Feature,
    text: &Text,
    options: &TreeOptions,
    task: &Task,
) -> Result<Circuit> {
    let read = TreeText::read(model, saes, &target.sae, text, options, task)?;
    let graph = read.tree(model, target.index, options, task)?;
    let TreeText { saes, survey } = read;
    let cards = if graph.is_whole { cards(model, &saes, &survey, &graph, task)? } else { Vec::new() };
    Ok(Circuit { graph, saes, promotes: target.promotes.clone(), cards })
}

/// A text as read by the dictionaries that lead to one of them: for any number of trees of its features.
#[derive(Debug, Clone)]
pub struct TreeText {
    /// The dictionaries in the order of the computation; the last one is that of the targets.
    pub saes: Vec<Sae>,
    pub survey: Survey,
}

impl TreeText {
    pub fn read(
        model: &Model,
        saes: &[Sae],
        target: &Sae,
        text: &Text,
        options: &TreeOptions,
        task: &Task,
    ) -> Result<Self> {
        let saes = leading_to(model, saes, target).map_err(|e| e.about("saes"))?;
        let kept = KeptPositions { top: options.contexts, some: IN_CARDS, seed: 0 };
        let context = Some(row_length(model, options.context, CONTEXT));
        let skip = harvest::Skipped { without_first: options.without_first, ..harvest::Skipped::default() };
        let harvesting = harvest::HarvestOptions { context, skip };
        let text = text.limited(options.tokens.max(1) as u64);
        let survey = Survey::of(&saes, harvest::TextReading::new(model, &text, &harvesting), kept, task)?;
        Ok(Self { saes, survey })
    }

    /// Finds the causal tree of a feature of the last dictionary.
    pub fn tree(&self, model: &Model, target: usize, options: &TreeOptions, task: &Task) -> Result<Graph> {
        let mut graph = from_survey(model, &self.saes, &self.survey, target, options, task)?;
        graph.made.push(("text".into(), self.survey.name.as_str().into()));
        graph.made.push(("tokens".into(), Cell::Int(self.survey.positions as i64)));
        Ok(graph)
    }
}

/// Builds a card for each node, from the text that the tree was found on.
fn cards(model: &Model, saes: &[Sae], survey: &Survey, graph: &Graph, task: &Task) -> Result<Vec<Option<FeatureCard>>> {
    let bar = task.begin("looking at the features", Some(graph.nodes.len() as u64));
    let mut found = vec![None; graph.nodes.len()];
    for (level, sae) in saes.iter().enumerate() {
        let nodes: Vec<usize> = (0..graph.nodes.len()).filter(|node| graph.nodes[*node].level == level).collect();
        let features = nodes.iter().map(|node| graph.nodes[*node].needed_feature()).collect::<Result<Vec<_>>>()?;
        let surveyed = SurveyedDictionary { survey, dictionary: level };
        for (node, card) in nodes.iter().zip(cards_of(sae, &features, model, surveyed, &CardPlan::brief(), task)?) {
            found[*node] = Some(card);
        }
        bar.advance(nodes.len() as u64);
    }
    Ok(found)
}

/// Finds the causal tree of feature `target` of the last dictionary. `survey` is that of a text by the dictionaries,
/// which are in the order of the computation.
pub fn from_survey(
    model: &Model,
    saes: &[Sae],
    survey: &Survey,
    target: usize,
    options: &TreeOptions,
    task: &Task,
) -> Result<Graph> {
    let stages = Stage::in_order(model, saes)?;
    let Some((last, earlier)) = stages.split_last().filter(|(_, earlier)| !earlier.is_empty()) else {
        return Err(err!(Argument, "expected dictionaries of at least two sites, found {}", stages.len()).hint(
            "a tree goes from one place to another: `sae::fit_all(m, \"resid_post.*\", text)` fits one for each",
        ));
    };
    check_feature(&last.sae, target)?;
    let search = TreeSearch { model, stages: &stages, survey, options };
    let texts = search.texts(earlier.len(), target);
    if texts.is_empty() {
        return Err(err!(Argument, "feature {target} of {} is never active in this text", last.place)
            .hint("read more text, or take a feature that is active"));
    }
    let outliers = Outliers::of(model, &stages, &texts, task)?;
    let mut growing = GrowingTree {
        search,
        outliers,
        nodes: Vec::new(),
        edges: Vec::new(),
        known: BTreeMap::new(),
        expanded: 0,
        left_out: LeftOut::default(),
    };
    growing.node(earlier.len(), target)?;
    let piece = task.piece();
    let is_whole = match growing.all(&piece, task) {
        Ok(()) => true,
        Err(error) if error.kind == Kind::Interrupted => {
            piece.answer(growing.expanded);
            false
        }
        Err(error) => return Err(error),
    };
    let GrowingTree { nodes, edges, left_out, .. } = growing;
    let mut made = options.settings();
    if left_out.features > 0 {
        made.push(("left_out".into(), left_out.features.into()));
        made.push(("left_out_share".into(), left_out.share.into()));
    }
    Ok(Graph {
        title: format!("causal tree of feature {target} of {}", last.place),
        model: model.name().to_string(),
        sites: stages.iter().map(|stage| stage.place.to_string()).collect(),
        nodes,
        edges,
        is_whole,
        made,
        ..Graph::default()
    })
}

/// The constants of a search.
struct TreeSearch<'a> {
    model: &'a Model,
    stages: &'a [Stage],
    survey: &'a Survey,
    options: &'a TreeOptions,
}

impl TreeSearch<'_> {
    /// Returns the max-activating examples of a feature, each up to the position where it is active.
    fn texts(&self, level: usize, feature: usize) -> Vec<Vec<u32>> {
        let tally: Option<&Tally> = self.survey.dictionaries.get(level).and_then(|tallies| tallies.get(feature));
        let strongest = tally.into_iter().flat_map(|tally| &tally.top).filter(|moment| moment.code > 0.0);
        strongest.take(self.options.contexts).map(|moment| self.survey.up_to(moment)).collect()
    }

    fn cosine(&self, from: usize, child: usize, to: usize, feature: usize) -> Result<f64> {
        let a = self.stages[from].sae.directions().get(child)?.to_dtype(DType::F64)?;
        let b = self.stages[to].sae.directions().get(feature)?.to_dtype(DType::F64)?;
        Ok(cosine(&a, &b, 0)?.to_scalar::<f64>()?)
    }
}

/// A tree during the search.
struct GrowingTree<'a> {
    search: TreeSearch<'a>,
    outliers: Outliers,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The node of a level and feature: a feature that several have as a child is one node.
    known: BTreeMap<(usize, usize), usize>,
    /// The number of nodes whose children were searched.
    expanded: u64,
    left_out: LeftOut,
}

/// The children that a limit of nodes left out.
#[derive(Default)]
struct LeftOut {
    features: usize,
    /// The largest share of the target that depends on one of them.
    share: f64,
}

impl GrowingTree<'_> {
    fn node(&mut self, level: usize, feature: usize) -> Result<usize> {
        if let Some(known) = self.known.get(&(level, feature)) {
            return Ok(*known);
        }
        let stage = &self.search.stages[level];
        let outlier = self.outliers.dimension(level, stage, feature)?;
        self.nodes.push(Node {
            meaning: outlier.map(|dimension| format!("outlier dimension {dimension}")),
            outlier: outlier.is_some(),
            ..Node::new(stage.place.to_string(), level, Part::Feature(feature))
        });
        self.known.insert((level, feature), self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }

    /// Expands the tree level by level, so that a feature that is a child of several is expanded once.
    fn all(&mut self, piece: &InterruptibleWork, task: &Task) -> Result<()> {
        let top = self.search.stages.len() - 1;
        let mut followed = vec![(0, 1.0)];
        for level in (1..=top).rev() {
            let place = self.search.stages[level - 1].place;
            let bar = task.begin(&format!("ablating {place}"), Some(followed.len() as u64));
            let is_all = level == top || self.search.options.depth == Depth::Full;
            let mut found = Vec::new();
            let mut tried = Ok(());
            for some in followed.chunks(self.together()) {
                let effects = piece.check(self.expanded).and_then(|()| self.effects(level, some, task));
                tried = effects.and_then(|effects| {
                    for ((node, share), effects) in some.iter().zip(effects) {
                        piece.check(self.expanded)?;
                        self.children(*node, *share, is_all, &effects, &mut found);
                        self.expanded += 1;
                        bar.advance(1);
                    }
                    bar.note(&format!("{} features so far", self.nodes.len() + found.len()));
                    Ok(())
                });
                if tried.is_err() {
                    break;
                }
            }
            // What was found before an interruption is kept.
            followed = self.keep(level, found)?;
            tried?;
        }
        Ok(())
    }

    /// Returns the number of nodes that are searched together.
    fn together(&self) -> usize {
        let contexts = CONTEXTS_OF_A_THREAD * parallel::threads().max(1);
        contexts.div_ceil(self.search.options.contexts)
    }

    /// Computes the effects on some nodes of a level.
    fn effects(&self, level: usize, nodes: &[(usize, f64)], task: &Task) -> Result<Vec<Effects>> {
        let TreeSearch { model, stages, options, .. } = self.search;
        let target = |(node, _): &(usize, f64)| -> Result<EffectTarget> {
            let feature = self.nodes[*node].needed_feature()?;
            Ok(EffectTarget { feature, texts: self.search.texts(level, feature) })
        };
        let targets = nodes.iter().map(target).collect::<Result<Vec<_>>>()?;
        effects(model, &stages[level - 1], &stages[level], &targets, options, task)
    }

    /// Finds the children of a node, on which a share of the target depends, by the effects on it.
    fn children(&self, node: usize, share: f64, is_all: bool, effects: &Effects, found: &mut Vec<Child>) {
        let (followed, shown) = self.search.options.chosen(&effects.mean);
        let most = if is_all { followed.len() } else { 1 };
        for (i, child) in followed.iter().chain(&shown).enumerate() {
            let effect = effects.mean[*child];
            let share = share * effect.abs();
            found.push(Child { of: node, feature: *child, effect, share, is_followed: i < most.min(followed.len()) });
        }
    }

    /// Adds the children that were found at a level, and returns those that are expanded, with their shares. Where
    /// nodes are limited, each level below gets an equal part of what is left, for the children on which most of the
    /// target depends.
    fn keep(&mut self, level: usize, found: Vec<Child>) -> Result<Vec<(usize, f64)>> {
        let mut shares: BTreeMap<usize, f64> = BTreeMap::new();
        for child in &found {
            let share = shares.entry(child.feature).or_default();
            *share = share.max(child.share);
        }
        if let Some(most) = self.search.options.max_nodes {
            let mut by_share: Vec<(usize, f64)> = shares.iter().map(|(feature, share)| (*feature, *share)).collect();
            order::sort_descending(&mut by_share, |(_, share)| *share);
            let room = most.saturating_sub(self.nodes.len()).div_ceil(level);
            for (feature, share) in by_share.iter().skip(room) {
                shares.remove(feature);
                self.left_out.features += 1;
                self.left_out.share = self.left_out.share.max(*share);
            }
        }
        let mut followed = BTreeMap::new();
        for child in found {
            let Some(share) = shares.get(&child.feature) else { continue };
            let feature = self.nodes[child.of].needed_feature()?;
            let cosine = Some(self.search.cosine(level - 1, child.feature, level, feature)?);
            let from = self.node(level - 1, child.feature)?;
            self.edges.push(Edge { cosine, ..Edge::new(from, child.of, child.effect) });
            if child.is_followed {
                followed.insert(from, *share);
            }
        }
        Ok(followed.into_iter().collect())
    }
}

/// A feature that a node depends on.
struct Child {
    of: usize,
    feature: usize,
    effect: f64,
    /// The share of the target that depends on the feature: the product of the effects on the strongest way up.
    share: f64,
    is_followed: bool,
}
