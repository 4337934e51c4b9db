//! Labels that the nodes of a circuit stand for, by a text with labels.

use crate::circuit::{Circuit, Node, row_length};
use crate::data::grammar::Mix;
use crate::data::text::{TextOptions, TextPart};
use crate::features::FeatureList;
use crate::features::labels::{aurocs, table};
use crate::features::text_codes::FeatureTextOptions;
use crate::sae::prelude::*;

/// The number of tokens with labels, and the length of a row if the model's context is as long.
const TOKENS: usize = 20_000;
const ROW: usize = 256;

/// The separation of each label by each node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeLabels {
    /// The label with the largest correlation, node by node.
    pub best: Table,
    /// All labels of each node.
    pub all: Table,
}

impl NodeLabels {
    pub(super) fn of(model: &Model, circuit: &Circuit, text: &Text, task: &Task) -> Result<Self> {
        let context = Some(row_length(model, None, ROW));
        let options = FeatureTextOptions { tokens: TOKENS, context };
        let found = aurocs(model, &FeatureList::of(&circuit.features()?), text, &options, task)
            .map_err(|error| Error { about: None, ..error }.about("labels"))?;
        let names: Vec<String> = circuit.graph.nodes.iter().map(Node::name).collect();
        Ok(Self { best: table(&names, &found, 1), all: table(&names, &found, usize::MAX) })
    }
}

/// Returns the held-out part of the labelled language, whose labels are ground truth.
pub fn labelled_language() -> Text {
    Text::grammar(&Mix::default(), TextPart::Held, TextOptions::default())
}
