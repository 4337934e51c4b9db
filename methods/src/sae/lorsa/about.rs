//! The description of a Lorsa: its model, its sites, and the texts that it was fitted on.

use serde::{Deserialize, Serialize};

use crate::model::ModelName;

/// The source of a Lorsa.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LorsaAbout {
    /// The model whose layer it is of, as its maker calls it.
    pub model: Option<ModelName>,
    /// The site that it reads.
    pub reads: String,
    /// The site that it writes.
    pub writes: String,
    /// The most tokens of a text, which those of the fit had.
    pub context: usize,
    /// The options of the fit by their names, or what else a file says.
    pub more: serde_json::Map<String, serde_json::Value>,
}
