//! Types that most programs begin with: `use microtome_methods::prelude::*;`.
//!
//! The prelude has the types of models, hooks, texts, dictionaries, features and circuits, and what is needed to load, read
//! and fit them. Functions are imported with their options from their modules, where their names say what they do:
//! `circuit::tree::{TreeOptions, causal_tree}`.

pub use crate::base::access::{Access, Rules};
pub use crate::base::files::Files;
pub use crate::base::{Error, Result, Table, Task};
pub use crate::checkpoint::load::LoadSettings;
pub use crate::circuit::{Circuit, Edge, Graph, Node};
pub use crate::data::Text;
pub use crate::data::harvest::{HarvestOptions, TextReading};
pub use crate::data::pairs::tokens::TokenPair;
pub use crate::data::text::TextOptions;
pub use crate::features::{Feature, FeatureCard, FeatureList, Overview};
pub use crate::intervene::OnFeatures;
pub use crate::intervene::metric::Measure;
pub use crate::model::Model;
pub use crate::model::batch::Batch;
pub use crate::model::cache::Cache;
pub use crate::model::hooks::{Action, BoundHook, Hooks};
pub use crate::model::run::{Ask, Run};
pub use crate::model::site::{Place, Site};
pub use crate::sae::fit::{FitOptions, FitPlan, FitStorage, Job, Source, Target, kinds};
pub use crate::sae::{Sae, Transcoders};
pub use crate::tensor::{DType, Device, Tensor};
pub use crate::tokenizer::Tokenizer;
pub use crate::tokenizer::tokens::{TokenName, Tokens};
