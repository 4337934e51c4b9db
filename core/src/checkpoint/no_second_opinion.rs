//! Second opinions in a build without the feature `second_opinion`, which has candle's own models: they are refused.

use crate::base::disk::Mapping;
use crate::common::*;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::reading::verify::Verification;

/// Name by which scripts ask for a second opinion.
pub const NAME: &str = "candle";

fn not_built() -> Error {
    Error::not_built("candle's models", "second_opinion")
}

pub fn usual_text(_model: &Model, _task: &Task) -> Result<Batch> {
    Err(not_built())
}

/// Files of a model that candle reads by itself.
#[derive(Default)]
pub struct Sources<'a> {
    pub config_json: Option<&'a Value>,
    pub gguf: Option<Arc<Mapping>>,
}

pub fn verify(
    _model: &Decoder,
    _sources: Sources,
    _batch: &Batch,
    _hooks: Vec<BoundHook>,
    _task: &Task,
) -> Result<Verification> {
    Err(not_built())
}
