//! A graph with the dictionaries that its features are of.

use super::graph::{Graph, Node, Part};
use crate::features::card::{CardPlan, Description, SurveyedDictionary, cards as cards_of};
use crate::features::describe::{self, DescribeOptions};
use crate::features::survey::KeptPositions;
use crate::features::{Feature, FeatureCard, FeatureList, Survey, TextCodes};
use crate::sae::prelude::*;

/// The number of features whose cards are made together.
const AT_ONCE: usize = 64;

/// A graph with its dictionaries, and the cards of its nodes.
#[derive(Debug, Clone)]
pub struct Circuit {
    pub graph: Graph,
    /// The dictionaries in the order of the computation, one for each site of the graph; empty if they are unknown.
    pub saes: Vec<Sae>,
    /// The tokens that the target was selected for, if any.
    pub promotes: Option<Arc<[u32]>>,
    /// The card of each node, as far as there is one.
    pub cards: Vec<Option<FeatureCard>>,
}

impl Circuit {
    /// Wraps a graph without dictionaries.
    pub fn without_dictionaries(graph: Graph) -> Self {
        Self { graph, saes: Vec::new(), promotes: None, cards: Vec::new() }
    }

    /// Adds to a graph those of some dictionaries that are at its sites; refuses if one is missing.
    pub fn with_dictionaries(graph: Graph, saes: &[Sae]) -> Result<Self> {
        let of_site = |wanted: &&String| {
            saes.iter().find(|sae| site(sae) == **wanted).cloned().ok_or_else(|| {
                let found: Vec<String> = saes.iter().map(site).collect();
                err!(Argument, "expected a dictionary for {wanted}, as in the graph, found {}", found.join(", "))
            })
        };
        // Tokens, logits, heads and MLPs have none.
        let others = graph.nodes.iter().filter(|node| !matches!(node.part, Part::Feature(_) | Part::Error));
        let others: Vec<&String> = others.map(|node| &node.site).collect();
        let saes = graph.sites.iter().filter(|site| !others.contains(site)).map(|site| of_site(&site));
        let circuit = Self { saes: saes.collect::<Result<_>>()?, ..Self::without_dictionaries(graph) };
        for node in &circuit.graph.nodes {
            let (Some(sae), Some(wanted)) = (circuit.dictionary(node), node.feature()) else { continue };
            if wanted >= sae.d_sae() {
                let site = &node.site;
                let count = sae.d_sae();
                return Err(err!(
                    Argument,
                    "expected a dictionary for {site} with feature {wanted}, found one of {count} features"
                ));
            }
        }
        Ok(circuit)
    }

    /// Returns the dictionary that a node belongs to.
    pub fn dictionary(&self, node: &Node) -> Option<&Sae> {
        self.saes.iter().find(|sae| site(sae) == node.site)
    }

    /// Returns the dictionaries, or an error that says how to provide them.
    pub fn dictionaries(&self) -> Result<&[Sae]> {
        if self.saes.is_empty() {
            Err(err!(Argument, "expected a circuit with its dictionaries, found one loaded without them")
                .hint("load it with its dictionaries: circuit::load(\"x.json\", saes)"))
        } else {
            Ok(&self.saes)
        }
    }

    /// Returns the features among the nodes, in their order; the target of a tree is the first. Nodes of other kinds
    /// are left out.
    pub fn features(&self) -> Result<Vec<Feature>> {
        self.dictionaries()?;
        let of_node = |(number, index): (usize, usize)| {
            let node = &self.graph.nodes[number];
            let sae = self.dictionary(node).ok_or_else(|| {
                err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
            })?;
            let promotes = self.promotes.clone().filter(|_| number == 0);
            Ok(Feature { sae: sae.clone(), index, promotes })
        };
        self.feature_nodes().map(of_node).collect()
    }

    /// Returns the nodes that are features, by number, with the indices of their features.
    fn feature_nodes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of_node = |(number, node): (usize, &Node)| Some((number, node.feature()?));
        self.graph.nodes.iter().enumerate().filter_map(of_node)
    }

    /// Describes the feature of each node in one pass over a text, and makes the cards of those that have none. The nodes
    /// and their cards keep the descriptions.
    pub fn describe(&mut self, model: &Model, text: &Text, options: &DescribeOptions, task: &Task) -> Result<Table> {
        let numbers: Vec<usize> = self.feature_nodes().map(|(number, _)| number).collect();
        let names = numbers.iter().map(|number| self.graph.nodes[*number].name()).collect();
        let list = FeatureList { names, ..FeatureList::of(&self.features()?) };
        let read = options.read(model, &list, text, self.graph.without_first(), task)?;
        let found = describe::of_codes(&read, options.seed.draws(), task).map_err(|e| e.about("text"))?;
        let made = self.missing_cards(model, &numbers, &list, text.name(), &read, task)?;
        self.cards.resize(self.graph.nodes.len(), None);
        for (number, card) in made {
            self.cards[number] = Some(card);
        }
        for (number, described) in numbers.into_iter().zip(&found) {
            let node = &mut self.graph.nodes[number];
            // For an outlier dimension, its name says more than where it is active.
            if !node.outlier {
                node.meaning = Some(described.text.clone());
            }
            node.score = Some(described.score);
            if let Some(Some(card)) = self.cards.get_mut(number) {
                card.description = Some(Description { text: described.text.clone(), score: described.score });
            }
        }
        Ok(describe::table(&list.names, &found))
    }

    /// Cards for the nodes that are features and have none, by their numbers, from a text that was read. A feature at
    /// several positions has one card for all.
    fn missing_cards(
        &self,
        model: &Model,
        numbers: &[usize],
        list: &FeatureList,
        name: &str,
        read: &TextCodes,
        task: &Task,
    ) -> Result<Vec<(usize, FeatureCard)>> {
        let has_none = |(number, _): &(&usize, &(usize, usize))| !matches!(self.cards.get(**number), Some(Some(_)));
        let lacking: Vec<(&usize, &(usize, usize))> = numbers.iter().zip(&list.features).filter(has_none).collect();
        if lacking.is_empty() {
            return Ok(Vec::new());
        }
        let plan = CardPlan::brief();
        let kept = KeptPositions { top: plan.options.top, some: plan.options.random, seed: 0 };
        let window = plan.options.window();
        let survey = Survey::of_codes(name, &list.saes, &list.features, read, kept, window, task)?;
        let bar = task.begin("looking at the features", Some(lacking.len() as u64));
        let mut found = Vec::new();
        for (dictionary, sae) in list.saes.iter().enumerate() {
            let mut nodes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (number, (_, feature)) in lacking.iter().filter(|(_, (of, _))| *of == dictionary) {
                nodes.entry(*feature).or_default().push(**number);
            }
            let features: Vec<usize> = nodes.keys().copied().collect();
            // The effects on all logits are computed together, and are many where the vocabulary is large.
            for some in features.chunks(AT_ONCE) {
                let surveyed = SurveyedDictionary { survey: &survey, dictionary };
                let cards = cards_of(sae, some, model, surveyed, &plan, task)?;
                for (feature, card) in some.iter().zip(cards) {
                    let numbers = nodes.get(feature).map(Vec::as_slice).unwrap_or_default();
                    found.extend(numbers.iter().map(|number| (*number, card.clone())));
                    bar.advance(numbers.len() as u64);
                }
            }
        }
        Ok(found)
    }
}

/// Returns the site of a dictionary, as graphs name it.
fn site(sae: &Sae) -> String {
    sae.parts().about.site()
}
