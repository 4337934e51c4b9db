//! The cache key of a dictionary: a hash of everything that its numbers depend on.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::common::*;
use crate::data::harvest::{Contents, Harvest, TextReading};
use crate::data::sample::machine;
use crate::data::store::Made;
use crate::model::ModelName;
use crate::sae::fit::Recipe;

/// The version of the numbers that fitting gives. It is raised with every change after which a fit gives other bits, so
/// that no outdated dictionary is found; the version of the program stays the same between two releases.
const FITTING: u32 = 6;

/// The part of a key that all fits on a text of a model share: what they read.
pub struct ReadingKey {
    /// The model, the text and the options of the reading.
    made: Value,
    contents: Contents,
    /// Source of each model, which is its name in dictionaries.
    models: Vec<ModelName>,
    /// Readings of the other models, where several read the same text.
    beside: Vec<Value>,
    machine: Value,
}

/// The order in which the rows of one site are read.
pub struct RowOrder<'a> {
    pub site: &'a str,
    /// Rows of tokens in a batch of the model.
    pub at_once: usize,
    /// Rows of activations in memory at once, where that is not all of them.
    pub buffer: Option<usize>,
    /// Seed of the order of the rows.
    pub seed: u64,
}

impl ReadingKey {
    /// Describes a reading. `harvest` is one of it, whose sites do not matter.
    pub fn new(reading: TextReading, harvest: Harvest, task: &Task) -> Result<Self> {
        let made = Made::new(reading, &harvest, DType::F32, 0, task)?;
        let mut made = serde_json::to_value(made).map_err(|e| err!(Bug, "a key that cannot be written: {e}"))?;
        // The model's content counts, not where it was loaded from.
        made["model"]["origin"] = Value::Null;
        let machine = machine(reading.model.decoder.device());
        let models = vec![reading.model.name()];
        Ok(Self { made, contents: harvest.contents(task)?, models, beside: Vec::new(), machine })
    }

    /// Adds what another model reads.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        self.beside.push(json!({ "reads": other.made, "tokens": other.contents.hash }));
        self.models.extend(other.models);
        self
    }

    /// Returns the number of rows of activations in an epoch.
    pub fn rows(&self) -> u64 {
        self.contents.rows
    }
}

/// The key of one dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitKey {
    hash: String,
    text: String,
    models: Vec<ModelName>,
    site: String,
}

impl FitKey {
    /// Hashes all that a fit depends on:
    ///
    /// - the program and `FITTING`: another may fit otherwise;
    /// - the CPU, its instructions, threads and device: sums are added up in another order on another;
    /// - each model by a hash of its weights, its config and its dtype: activations are its own;
    /// - the text by its recipe and by a hash of the tokens that were just read: files may have changed;
    /// - the site, and how its rows come: in which order, and in which batches through the model;
    /// - every option of the fit, the seed among them, and the number of features.
    ///
    /// The paths of model and dictionary are left out.
    pub fn new(reads: &ReadingKey, rows: &RowOrder, recipe: &Recipe) -> Self {
        let mut made = reads.made.clone();
        made["sites"] = json!(rows.site);
        made["at_once"] = json!(rows.at_once);
        let mut text = json!({
            "fitting": FITTING,
            "machine": reads.machine,
            "reads": made,
            "tokens": reads.contents.hash,
            "rows": reads.contents.rows,
            "buffer": rows.buffer,
            "order": rows.seed,
            "recipe": recipe.json(),
            "d_sae": recipe.d_sae,
        });
        if !reads.beside.is_empty() {
            text["beside"] = json!(reads.beside);
        }
        Self::of(&text, reads.models.clone(), rows.site)
    }

    /// Hashes all that a fit on the rows of a text depends on: the program and `FITTING`, the CPU and the device, and
    /// what identifies the fit to its checkpoints; and the name of the text, which the list of the cache shows.
    pub fn of_rows(identity: &Value, model: &Model, site: &str, text: &str) -> Self {
        let mut depends = identity.clone();
        depends["reads"]["text"] = json!({ "name": text });
        Self::of_identity(depends, vec![model.name()], model.decoder.device(), site)
    }

    /// Hashes the program and `FITTING`, the CPU and the device, and what identifies a fit, of whatever it is.
    pub fn of_identity(mut depends: Value, models: Vec<ModelName>, device: &Device, site: &str) -> Self {
        depends["fitting"] = json!(FITTING);
        depends["by"] = json!(env!("CARGO_PKG_VERSION"));
        depends["machine"] = machine(device);
        Self::of(&depends, models, site)
    }

    fn of(depends: &Value, models: Vec<ModelName>, site: &str) -> Self {
        let text = depends.to_string();
        let hash = hex(&Sha256::digest(&text));
        Self { hash, text, models, site: site.into() }
    }

    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the text that the key is a hash of.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the names that the models have now.
    pub fn models(&self) -> &[ModelName] {
        &self.models
    }

    /// Returns the site that the dictionary reads, or the label of several.
    pub fn site(&self) -> &str {
        &self.site
    }
}
