//! Transcoders of all layers in the cache: the tensors of each layer before its number, and in the metadata what is no tensor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::json;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Transcoders, Writes};
use crate::tensor::files::NamedTensors;

/// The key of the metadata.
pub(super) const SAID: &str = "transcoders";

#[derive(Serialize, Deserialize)]
struct Said {
    reads: Reads,
    writes: Writes,
    /// The k of each layer, and whether pre-activations below 0 may be among the k largest; None for layers without a
    /// top-k activation.
    top: Vec<Option<(usize, bool)>>,
}

/// Returns the tensors and the metadata of transcoders.
pub(super) fn written(made: &Transcoders) -> Result<NamedTensors> {
    let mut tensors = BTreeMap::new();
    let mut top = Vec::new();
    for (number, layer) in made.layers().iter().enumerate() {
        let all: Vec<u32> = (0..layer.features() as u32).collect();
        let (threshold, most) = match &layer.fires {
            Fires::Relu => (None, None),
            Fires::TopK { k, signed } => (None, Some((*k, *signed))),
            Fires::Threshold(threshold) => (Some(threshold.clone()), None),
        };
        top.push(most);
        let named = [
            ("encoder", Some(layer.encoder.clone())),
            ("encoder_bias", layer.encoder_bias.clone()),
            ("threshold", threshold),
            ("decoder", Some(layer.decoder.rows(&all)?)),
            ("decoder_bias", layer.decoder_bias.clone()),
            ("skip", layer.skip.clone()),
        ];
        let given = named.into_iter().filter_map(|(name, tensor)| Some((format!("{number}.{name}"), tensor?)));
        tensors.extend(given);
    }
    let said = Said { reads: made.reads, writes: made.writes, top };
    let said = serde_json::to_string(&said).map_err(|e| err!(Bug, "transcoders that cannot be written: {e}"))?;
    Ok(NamedTensors { tensors, metadata: BTreeMap::from([(SAID.to_string(), said)]) })
}

/// Reads transcoders of which the metadata says `said`; `models` is the name that the model has now.
pub(super) fn read(stored: &dyn TensorSource, said: &str, models: &[ModelName], task: &Task) -> Result<Transcoders> {
    let said: Said = json::read(said.as_bytes(), |e| err!(Format, "expected what transcoders are: {e}"))?;
    let layer = |(number, top): (usize, Option<(usize, bool)>)| -> Result<TranscoderLayer> {
        task.check()?;
        let needed = |name: &str| stored.tensor(&format!("{number}.{name}"));
        let given = |name: &str| -> Result<Option<Tensor>> {
            stored.shape(&format!("{number}.{name}")).map(|_| needed(name)).transpose()
        };
        let fires = match (top, given("threshold")?) {
            (Some((k, signed)), _) => Fires::TopK { k, signed },
            (None, Some(threshold)) => Fires::Threshold(threshold),
            (None, None) => Fires::Relu,
        };
        Ok(TranscoderLayer {
            encoder: needed("encoder")?,
            encoder_bias: given("encoder_bias")?,
            fires,
            decoder: DecoderRows::Held(needed("decoder")?),
            decoder_bias: given("decoder_bias")?,
            skip: given("skip")?,
        })
    };
    let layers = said.top.into_iter().enumerate().map(layer).collect::<Result<_>>()?;
    let mut read = Transcoders::new(layers, said.reads, said.writes)?;
    read.model = models.first().cloned();
    Ok(read)
}
