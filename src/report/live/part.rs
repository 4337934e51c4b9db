//! The part of an item that answers in a live report: plain data for the page, and the dictionaries that it names.

use serde::{Deserialize, Serialize};

use crate::sae::{Sae, Transcoders};

/// An item that answers, with what it needs.
#[derive(Debug, Clone)]
pub struct LivePart {
    pub item: LiveItem,
    /// The name of the model, where the item knows it.
    pub model: Option<String>,
    /// The dictionaries that the item names by their places here.
    pub dictionaries: Vec<Sae>,
    /// The transcoders that the item's features are of, where it is an attribution graph.
    pub transcoders: Option<Transcoders>,
}

impl LivePart {
    /// Builds the part of an item that needs the model and nothing else.
    pub fn of_model(item: LiveItem) -> Self {
        Self { item, model: None, dictionaries: Vec::new(), transcoders: None }
    }
}

/// An item that answers, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LiveItem {
    Circuit(LiveCircuit),
    Lenses(LiveLenses),
    Heads,
    Feature(LiveFeature),
}

/// A circuit whose nodes are read and changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveCircuit {
    /// The text that the page begins with.
    pub text: String,
    /// The nodes, in the order of the graph.
    pub nodes: Vec<LiveNode>,
    /// The nodes of each group.
    pub groups: Vec<Vec<usize>>,
    /// The tokens whose probabilities are shown at every position.
    pub targets: Vec<u32>,
    /// The tokens of an attribution graph's prompt, at whose positions its features are.
    pub prompt: Vec<u32>,
    /// The place of the transcoders that the features are of, where it is an attribution graph.
    pub transcoders: Option<usize>,
}

/// A node of a circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveNode {
    /// The name of the node, and its meaning.
    pub name: String,
    /// The part of the model that the node is; None for one that is neither read nor changed.
    pub unit: Option<LiveUnit>,
}

/// A part of a model that is read or changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "unit", rename_all = "lowercase")]
pub enum LiveUnit {
    /// A feature of a dictionary.
    Feature { dictionary: usize, feature: usize },
    /// A feature of transcoders at a position of the prompt.
    Transcoder { layer: usize, feature: usize, position: usize },
    /// A head or a layer, which has no code: its site, `z.3.5` or `mlp_out.3`.
    Site { site: String },
}

/// A page of lenses: that of the logit lens is read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveLenses {
    /// Number of guesses in each layer at each position.
    pub guesses: usize,
    /// The tokens that are pinned.
    pub pinned: Vec<u32>,
}

/// The card of a feature, which is read in other contexts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveFeature {
    /// The site of the feature's dictionary.
    pub site: String,
    pub feature: usize,
    /// The place of the dictionary, once it is known.
    pub dictionary: Option<usize>,
}
