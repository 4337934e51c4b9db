//! A graph with the dictionaries that its features are of.

use std::sync::Arc;

use super::graph::{Graph, Node};
use crate::base::{Result, Table, Task};
use crate::data::Text;
use crate::err;
use crate::features::card::Description;
use crate::features::describe::{self, DescribeOptions, describe};
use crate::features::{Feature, FeatureCard, FeatureList};
use crate::model::Model;
use crate::sae::Sae;

/// A graph with its dictionaries, and the cards of its nodes.
#[derive(Debug, Clone)]
pub struct Circuit {
    pub graph: Graph,
    /// In the order of the computation, one for each site of the graph; none where they are unknown.
    pub saes: Vec<Sae>,
    /// The tokens that the target was selected for, if any.
    pub promotes: Option<Arc<[u32]>>,
    /// Node by node, as far as there are cards.
    pub cards: Vec<Option<FeatureCard>>,
}

impl Circuit {
    /// A graph alone.
    pub fn without_dictionaries(graph: Graph) -> Self {
        Self { graph, saes: Vec::new(), promotes: None, cards: Vec::new() }
    }

    /// A graph with those of some dictionaries that are its own; refused where one is missing.
    pub fn with_dictionaries(graph: Graph, saes: &[Sae]) -> Result<Self> {
        let site = |sae: &Sae| sae.parts().about.sites.join(", ");
        let of_site = |wanted: &String| {
            saes.iter().find(|sae| site(sae) == *wanted).cloned().ok_or_else(|| {
                let found: Vec<String> = saes.iter().map(site).collect();
                err!(Argument, "expected a dictionary for {wanted}, as in the graph, found {}", found.join(", "))
            })
        };
        let saes: Vec<Sae> = graph.sites.iter().map(of_site).collect::<Result<_>>()?;
        for node in &graph.nodes {
            if let Some(sae) = saes.get(node.level).filter(|sae| node.feature >= sae.d_sae()) {
                let (site, count, wanted) = (&node.site, sae.d_sae(), node.feature);
                return Err(err!(
                    Argument,
                    "expected a dictionary for {site} with feature {wanted}, found one of {count} features"
                ));
            }
        }
        Ok(Self { saes, ..Self::without_dictionaries(graph) })
    }

    /// The dictionaries, or an error that says how to provide them.
    pub fn dictionaries(&self) -> Result<&[Sae]> {
        match self.saes.is_empty() {
            false => Ok(&self.saes),
            true => Err(err!(Argument, "expected a tree with its dictionaries, found one loaded without them")
                .hint("load it with its dictionaries: circuit::load(\"x.json\", saes)")),
        }
    }

    /// The features of all nodes, the target first.
    pub fn features(&self) -> Result<Vec<Feature>> {
        let saes = self.dictionaries()?;
        let of_node = |(number, node): (usize, &Node)| {
            let sae = saes.get(node.level).ok_or_else(|| {
                err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
            })?;
            let promotes = self.promotes.clone().filter(|_| number == 0);
            Ok(Feature { sae: sae.clone(), index: node.feature, promotes })
        };
        self.graph.nodes.iter().enumerate().map(of_node).collect()
    }

    /// Describes the feature of each node in one pass over a text. The nodes and their cards keep the descriptions.
    pub fn describe(&mut self, model: &Model, text: &Text, options: &DescribeOptions, task: &Task) -> Result<Table> {
        let names = self.graph.nodes.iter().map(Node::name).collect();
        let list = FeatureList { names, ..FeatureList::of(&self.features()?) };
        let found = describe(model, &list, text, options, task)?;
        for (node, described) in self.graph.nodes.iter_mut().zip(&found) {
            // For an outlier dimension, its name says more than where it is active.
            if !node.outlier {
                node.meaning = Some(described.text.clone());
            }
            node.score = Some(described.score);
        }
        for (card, described) in self.cards.iter_mut().zip(&found) {
            if let Some(card) = card {
                card.description = Some(Description { text: described.text.clone(), score: described.score });
            }
        }
        Ok(describe::table(&list.names, &found))
    }
}
