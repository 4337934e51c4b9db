//! The attribution graph of a prompt, unpruned, and the circuit that pruning leaves of it.

use super::InfluenceSearch;
use super::dictionaries::GraphDictionaries;
use super::influence::{self, InfluenceMatrix, NodeCounts, PrunedGraph};
use super::layer_writes::ActiveFeature;
use super::mlps::MlpPaths;
use super::sources::ContributionRow;
use super::steps::{GraphSteps, LayerPart};
use super::targets::GraphTarget;
use crate::circuit::graph::{Edge, Graph, Node, Part};
use crate::common::*;
use crate::sae::Transcoders;
use crate::sae::transcoders::Reads;

crate::options! {
    /// Shares of an attribution graph that pruning keeps.
    #[derive(Debug, Clone, Copy)]
    pub struct PruneOptions {
        /// The share of the influence that the kept features and errors have. Tokens and targets always stay.
        nodes: f64 = 0.8 => at_least(0.0).at_most(1.0);
        /// The share of the scores that the kept edges between them have.
        edges: f64 = 0.98 => at_least(0.0).at_most(1.0);
    }
}

/// An attribution graph: every node that was computed, and all edges between them. Nodes are in this order: features by
/// step, position and index; errors by step and position; tokens; targets. A step is a dictionary: a layer's
/// transcoder, or, before it, the layer's Lorsa.
#[derive(Debug, Clone)]
pub struct AttributionGraph {
    /// The model's name.
    pub model: String,
    /// The name that viewers know the transcoders by.
    pub scan: Option<String>,
    /// The input of the transcoders' features.
    pub reads: Reads,
    pub layers: usize,
    /// Whether Lorsas stand for attention, so that their heads are among the features.
    pub has_lorsas: bool,
    /// Treatment of the model's own MLPs, where the transcoders are adapters beside them.
    pub mlps: MlpPaths,
    /// The number of tokens that have logits.
    pub vocabulary: usize,
    pub tokens: Vec<u32>,
    /// The text of each token.
    pub texts: Vec<String>,
    pub prompt: String,
    /// The number of active features, whether computed or not.
    pub active: usize,
    pub features: Vec<ActiveFeature>,
    pub targets: Vec<GraphTarget>,
    /// The edges: rows are targets.
    pub matrix: InfluenceMatrix,
    /// Whether the search was completed: false after an interruption.
    pub is_whole: bool,
}

/// Returns the sites of a graph. Features and errors are at the site that the features of their dictionary read.
pub(super) fn sites(steps: GraphSteps, reads: Reads) -> Vec<String> {
    let of_step = |step: usize| {
        let (layer, part) = steps.at(step);
        let kind = match (part, reads) {
            (LayerPart::Attention, _) => SiteKind::AttnIn,
            (LayerPart::Mlp, Reads::ResidMid) => SiteKind::ResidMid,
            (LayerPart::Mlp, Reads::MlpIn | Reads::Normed) => SiteKind::MlpIn,
        };
        Site::new(kind, layer).to_string()
    };
    let ends = [SiteKind::Embed, SiteKind::Logits].map(|kind| Site::new(kind, 0).to_string());
    let [first, last] = ends;
    std::iter::once(first).chain((0..steps.count()).map(of_step)).chain([last]).collect()
}

impl AttributionGraph {
    /// Builds the graph of a search: the nodes that were found, and their rows.
    pub(super) fn assembled(
        model: &Model,
        transcoders: &Transcoders,
        prompt: &[u32],
        targets: Vec<GraphTarget>,
        search: InfluenceSearch,
        is_whole: bool,
    ) -> Result<Self> {
        let InfluenceSearch { held, sources, rows, found, task, .. } = search;
        let features: Vec<ActiveFeature> = found.keys().map(|feature| sources.feature(*feature)).collect();
        // The node of each source; features that were not computed are none.
        let mut rows: Vec<Option<ContributionRow>> = rows.into_iter().map(Some).collect();
        let all = sources.active;
        let first = features.len();
        let mut node: Vec<Option<usize>> = vec![None; all];
        found.keys().enumerate().for_each(|(place, feature)| node[*feature] = Some(place));
        node.extend((all..sources.count()).map(|source| Some(source - all + first)));
        let others = first + sources.count() - all;
        let size = others + targets.len();
        let mut matrix = InfluenceMatrix { rows: vec![Vec::new(); size] };
        let of_targets = (0..targets.len()).map(|target| (others + target, target));
        for (place, row) in found.values().copied().enumerate().chain(of_targets) {
            // What an interrupted search has found is kept.
            if is_whole {
                task.check()?;
            }
            // A row that is in the matrix is held no longer.
            let Some(row) = rows.get_mut(row).and_then(Option::take) else {
                return Err(err!(Bug, "a node without its row"));
            };
            let mut line = vec![0.0; size];
            sources.each_source(&row, &mut |source, value| {
                if let Some(place) = node[source] {
                    line[place] = value;
                }
            });
            matrix.rows[place] = line;
        }
        let (texts, text) = match &model.tokenizer {
            Some(tokenizer) => {
                let texts = prompt.iter().map(|token| tokenizer.decode(&[*token])).collect::<Result<_>>()?;
                (texts, tokenizer.decode(prompt)?)
            }
            None => {
                let texts: Vec<String> = prompt.iter().map(u32::to_string).collect();
                let text = texts.join(" ");
                (texts, text)
            }
        };
        Ok(Self {
            model: model.name().to_string(),
            scan: transcoders.scan.clone(),
            reads: transcoders.reads,
            layers: sources.steps.layers,
            has_lorsas: sources.steps.has_lorsas,
            mlps: held.mlps(),
            vocabulary: model.decoder.config().outputs(),
            tokens: prompt.to_vec(),
            texts,
            prompt: text,
            active: all,
            features,
            targets,
            matrix,
            is_whole,
        })
    }

    /// Returns the order of the graph's dictionaries.
    pub fn steps(&self) -> GraphSteps {
        GraphSteps { layers: self.layers, has_lorsas: self.has_lorsas }
    }

    /// Refuses dictionaries without Lorsas where the graph was made with some, and the other way round.
    pub(super) fn check_dictionaries(&self, dictionaries: &GraphDictionaries) -> Result<()> {
        if dictionaries.has_lorsas() == self.has_lorsas {
            return Ok(());
        }
        let [wanted, found] = if self.has_lorsas {
            ["transcoders and Lorsas", "no Lorsas"]
        } else {
            ["transcoders alone", "Lorsas, too"]
        };
        Err(err!(Argument, "expected {wanted}, with which the graph was made, found {found}"))
    }

    pub fn counts(&self) -> NodeCounts {
        let features = self.features.len();
        let tokens = self.tokens.len();
        let targets = self.targets.len();
        NodeCounts { features, errors: self.steps().count() * tokens, tokens, targets }
    }

    /// Returns the weight of each node in what is explained: that of targets, and 0 for all others.
    pub fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.counts().first_target()];
        weights.extend(self.targets.iter().map(|target| target.weight));
        weights
    }

    /// Returns how much of the targets' inputs comes through each node.
    pub fn influence(&self) -> Vec<f64> {
        self.matrix.influence(&self.weights())
    }

    /// Returns the share of the tokens in the influence of tokens and errors, or none if there is no influence.
    pub fn replacement(&self) -> Option<f64> {
        influence::scores(&self.matrix, &self.weights(), self.counts()).0
    }

    /// Returns the share of the nodes' inputs that does not come from errors, weighted by influence.
    pub fn completeness(&self) -> Option<f64> {
        influence::scores(&self.matrix, &self.weights(), self.counts()).1
    }

    pub fn pruned(&self, options: PruneOptions) -> PrunedGraph {
        influence::prune(&self.matrix, &self.weights(), self.counts(), options.nodes, options.edges)
    }

    /// Returns all edges as a tensor whose rows are targets and whose columns are sources.
    pub fn adjacency(&self) -> Result<Tensor> {
        let size = self.matrix.size();
        memory::check(4 * (size as u128).pow(2), || "all edges as a tensor".into())?;
        let mut values = vec![0.0; size * size];
        for (line, row) in values.chunks_mut(size.max(1)).zip(&self.matrix.rows) {
            line[..row.len()].copy_from_slice(row);
        }
        Ok(Tensor::from_vec(values, (size, size), &Device::Cpu)?)
    }

    /// Returns the sites of the nodes in the order of the computation: tokens, the input of each dictionary's features,
    /// logits.
    fn sites(&self) -> Vec<String> {
        sites(self.steps(), self.reads)
    }

    /// Returns the token of a target. A target that is not a token gets an id after all tokens, by its place among the
    /// targets.
    pub fn logit(&self, target: usize) -> u32 {
        let token = self.targets.get(target).and_then(|target| target.token);
        token.unwrap_or((self.vocabulary + target) as u32)
    }

    /// Returns a node in the graph type, without its influence.
    pub fn node(&self, index: usize) -> Node {
        let counts = self.counts();
        let sites = self.sites();
        let at = |level: usize, part: Part, position: usize| Node {
            position: Some(position),
            ..Node::new(sites[level].clone(), level, part)
        };
        let steps = self.steps();
        if let Some(one) = self.features.get(index) {
            let value = Some(one.activation);
            let level = steps.of(one.layer, one.part) + 1;
            return Node { value, ..at(level, Part::Feature(one.feature), one.position) };
        }
        let tokens = self.tokens.len();
        if index < counts.first_token() {
            let error = index - counts.features;
            return at(error / tokens + 1, Part::Error, error % tokens);
        }
        if index < counts.first_target() {
            let position = index - counts.first_token();
            let meaning = Some(self.texts[position].clone());
            return Node { meaning, ..at(0, Part::Token(self.tokens[position]), position) };
        }
        let number = index - counts.first_target();
        let target = &self.targets[number];
        let part = Part::Token(self.logit(number));
        let meaning = Some(target.label.clone());
        let value = Some(target.weight);
        Node { meaning, value, ..at(steps.count() + 1, part, tokens - 1) }
    }

    /// Returns the circuit that pruning leaves. The effect of a node is its influence, that of an edge the source's
    /// term in what the target reads.
    pub fn circuit(&self, options: PruneOptions) -> Graph {
        let pruned = self.pruned(options);
        let influence = self.influence();
        let kept: Vec<usize> = (0..self.matrix.size()).filter(|node| pruned.nodes[*node]).collect();
        let mut places = vec![None; self.matrix.size()];
        kept.iter().enumerate().for_each(|(place, node)| places[*node] = Some(place));
        let with_influence = |node: &usize| Node { effect: Some(influence[*node]), ..self.node(*node) };
        let edges = pruned.edges.iter().filter_map(|(to, from)| {
            let effect = f64::from(self.matrix.edge(*to, *from));
            Some(Edge::new(places[*from]?, places[*to]?, effect))
        });
        let (replacement, completeness) = influence::scores(&self.matrix, &self.weights(), self.counts());
        let mut made: Vec<(String, Cell)> = vec![
            ("active features".into(), self.active.into()),
            ("computed features".into(), self.features.len().into()),
            ("share of nodes".into(), options.nodes.into()),
            ("share of edges".into(), options.edges.into()),
            ("replacement".into(), replacement.into()),
            ("completeness".into(), completeness.into()),
        ];
        if self.mlps == MlpPaths::Relp {
            made.push(("mlps".into(), self.mlps.word().into()));
        }
        Graph {
            title: format!("attribution graph of \"{}\"", self.prompt),
            model: self.model.clone(),
            sites: self.sites(),
            nodes: kept.iter().map(with_influence).collect(),
            edges: edges.collect(),
            supernodes: Vec::new(),
            quantity: Some("direct effect".into()),
            is_whole: self.is_whole,
            made,
        }
    }
}
