//! Loading models: a config, the file's names fitted to ours, and each weight once.

mod cut;
mod fit;
mod folder;
mod shards;
mod take;

use serde_json::Value;

use super::config::Config;
use super::layout::Layout;
use super::weights::Weights;
use crate::tensor::{DType, Device};

pub use cut::together;
pub use fit::place;
pub use folder::folder;
pub use shards::Shards;
pub use take::weights;

/// How a model is to be loaded.
#[derive(Debug, Clone)]
pub struct Options {
    /// The dtype that is computed in.
    pub dtype: DType,
    pub device: Device,
    /// Config keys that are not looked at.
    pub ignore: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { dtype: DType::F32, device: Device::Cpu, ignore: Vec::new() }
    }
}

/// A model as its files have it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub weights: Weights,
    pub published: Published,
}

/// How the model was published, so that it can be saved the same way.
#[derive(Debug, Clone)]
pub struct Published {
    pub config_json: Value,
    pub layout: Layout,
}
