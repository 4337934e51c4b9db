//! Activations that need not fit into memory: those of a store, and those of a model as it reads a text.

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::rows::Rows;
use crate::base::files::hex;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::{Harvest, HarvestOptions, Passes};
use crate::data::store::{Made, ModelMark, Shuffle, Shuffled, Store};
use crate::model::Model;
use crate::tensor::{DType, Tensor};

/// The rows of a store, in constant memory.
pub struct OfStore {
    shuffled: Shuffled,
    about: String,
}

impl OfStore {
    /// Of one site, or of several that are read together, in the order given.
    pub fn new(store: &Arc<Store>, sites: &[&str], shuffle: Shuffle) -> Result<Self> {
        let about = format!("{sites:?} of the store {}, {shuffle:?}", store.identity());
        Ok(Self { shuffled: store.shuffled(sites, shuffle)?, about })
    }

    /// The width of each site.
    pub fn widths(&self) -> &[usize] {
        self.shuffled.widths()
    }
}

impl Rows for OfStore {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        self.shuffled.next(rows, task)
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.shuffled.skip(rows);
        Ok(())
    }

    fn about(&self) -> String {
        self.about.clone()
    }
}

/// The activations of a model on a text, in constant memory: every epoch runs the model again.
pub struct OfModel {
    passes: Passes,
    about: String,
}

impl OfModel {
    /// At one site, or at several that are read together, in the order given.
    pub fn new(
        (model, sites): (&Model, &[&str]),
        text: &Text,
        options: &HarvestOptions,
        shuffle: Shuffle,
        task: &Task,
    ) -> Result<Self> {
        let made = Harvest::new(model, sites, text, options, task)?;
        let made = Made::new(model, &made, text, options, (DType::F32, shuffle.buffer), task)?;
        // The model's content counts, not where it was loaded from.
        let made = Made { model: ModelMark { origin: String::new(), ..made.model }, ..made };
        let made = hex(&Sha256::digest(json!(made).to_string()));
        let passes = Passes::new((model, sites), text, options, (shuffle.seed, shuffle.buffer), task)?;
        let about = format!("{sites:?} of the tokens {} as {made} has them, {shuffle:?}", passes.tokens());
        Ok(Self { passes, about })
    }

    /// Rows in an epoch.
    pub fn rows(&self) -> u64 {
        self.passes.rows()
    }

    /// The width of each site.
    pub fn widths(&self) -> Vec<usize> {
        self.passes.widths()
    }

    /// Whether all rows of an epoch are in memory at once.
    pub fn is_held(&self) -> bool {
        self.passes.fillings() == 1
    }
}

impl Rows for OfModel {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        self.passes.next(rows, task)
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.passes.skip(rows);
        Ok(())
    }

    fn about(&self) -> String {
        self.about.clone()
    }
}
