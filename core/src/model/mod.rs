//! Floor 8: models. Their configs and weights, sites, hooks, one decoder, and what is done with its runs.
//!
//! ```rust,no_run
//! use microtome_core::base::files::Files;
//! use microtome_core::base::{Error, Task};
//! use microtome_core::checkpoint::load::LoadSettings;
//! use microtome_core::model::Model;
//! use microtome_core::model::batch::Batch;
//! use microtome_core::model::hooks::{Action, BoundHook};
//!
//! let task = Task::default();
//! let files = Files::unrecorded("out".as_ref())?;
//! let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
//!
//! // The unembedding has no bias: where the final norm is ablated, all logits are 0.
//! let batch = Batch::new(vec![vec![1, 2, 3]])?;
//! let ablated = BoundHook::new(model.decoder.config(), "final_norm", None, None, Box::new(Action::Zero.begin()))?;
//! let logits = model.decoder.logits_at(&batch, &[-1], vec![ablated], &task)?;
//! assert!(logits.flatten_all()?.to_vec1::<f32>()?.iter().all(|logit| *logit == 0.0));
//! # Ok::<(), Error>(())
//! ```

pub mod adapter;
pub mod batch;
pub mod by_words;
pub mod cache;
pub mod chat;
pub mod config;
pub mod decoder;
mod divergence;
pub mod fingerprint;
pub mod generate;
pub mod gradient_rules;
pub mod grads;
pub mod hooks;
pub mod init;
pub mod inject;
pub mod layout;
mod name;
pub mod padding;
pub mod predict;
pub mod reading;
pub mod run;
pub mod site;
pub mod train;
pub mod weight;
pub mod weights;

use std::sync::Arc;

use crate::base::{Result, Task};
use crate::err;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::tokens::{TokenName, token_id};
use decoder::Decoder;
use gradient_rules::GradientRules;
pub use name::ModelName;

/// A model: its decoder, its tokenizer, and where it is from.
#[derive(Debug, Clone)]
pub struct Model {
    pub decoder: Arc<Decoder>,
    /// The tokenizer; None for models of plain ids.
    pub tokenizer: Option<Tokenizer>,
    /// The source of the model: a path, `org/name@commit`, or `init` and a seed.
    pub origin: String,
    /// The format of its files, if it was loaded, so that it is saved in the same one.
    pub published: Option<Arc<layout::PublishedForm>>,
    /// History of the training, where the model was trained here.
    pub history: Option<Arc<train::ModelHistory>>,
    /// The adapter beside the weights, where there is one.
    pub adapter: Option<Arc<adapter::Adapter>>,
}

impl Model {
    /// Builds a model that is neither of published files nor trained here.
    pub fn new(decoder: impl Into<Arc<Decoder>>, tokenizer: Option<Tokenizer>, origin: impl Into<String>) -> Self {
        let decoder = decoder.into();
        let origin = origin.into();
        Self { decoder, tokenizer, origin, published: None, history: None, adapter: None }
    }

    /// Returns this model with keys and values of its own for each query head. The result is no longer what its files
    /// have.
    pub fn ungrouped(&self) -> Result<Self> {
        let decoder = Arc::new(self.decoder.by_query_head()?);
        Ok(Self { decoder, published: None, adapter: None, ..self.clone() })
    }

    /// Returns the tokenizer, or an error with what to do without one.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            err!(Argument, "this model has no tokenizer: it reads token ids, and no text")
                .hint("give it ids, such as [1, 2, 3], or a tokenizer: model::load(.., #{ tokenizer: \"FILE\" })")
        })
    }

    /// Returns this model with these hooks kept, and no others.
    pub fn keeping(&self, hooks: Vec<hooks::KeptHook>) -> Self {
        Self { decoder: Arc::new(self.decoder.keeping(hooks)), ..self.clone() }
    }

    /// Returns this model with gradients by these rules; refuses a model with parts that the rules do not cover.
    pub fn by_rules(&self, rules: GradientRules) -> Result<Self> {
        match rules {
            GradientRules::Derivatives => Ok(self.clone()),
            GradientRules::Relp => Ok(Self { decoder: Arc::new(self.decoder.by_rules(rules)?), ..self.clone() }),
        }
    }

    /// Returns the name by which the model is shown and recorded: its origin, and the hooks that it keeps.
    pub fn name(&self) -> ModelName {
        let hooks = self.decoder.kept().iter().map(|hook| hook.told().to_string()).collect();
        ModelName { origin: self.origin.clone(), hooks }
    }

    /// Returns the id of a token among those that the model predicts.
    pub fn token(&self, name: &TokenName, task: &Task) -> Result<u32> {
        match name {
            TokenName::Text(text) => self.tokenizer()?.token(text, task),
            TokenName::Id(id) => token_id(*id, self.decoder.config().outputs()),
        }
    }

    /// Returns the tokenizer of a model that reads text.
    pub fn text_tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            err!(Argument, "this model has no tokenizer: it reads token ids, and no text")
                .hint("give it ids, such as [1, 2, 3], or a tokenizer: model::load(.., #{ tokenizer: \"FILE\" })")
        })
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
