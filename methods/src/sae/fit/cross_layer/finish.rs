//! The end of a fit: transcoders that read unscaled activations and write in the model's own units.

use super::state::bias;
use crate::common::*;
use crate::model::ModelName;
use crate::sae::Activation;
use crate::sae::fit::finish::SiteScale;
use crate::sae::fit::params::ParamName;
use crate::sae::fit::plan::Recipe;
use crate::sae::fit::state::FitState;
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Transcoders, Writes};

/// Builds the transcoders of fitted weights; `read` and `written` say how each layer's input and output were scaled.
///
/// As for a transcoder of one layer, codes are those of the centred input over its scale, and the scale of each output
/// goes into the part of the directions that is written there. Directions keep their lengths: they are 1 in the scaled
/// outputs of all layers together, where codes of different features were compared.
pub fn finished(
    recipe: &Recipe,
    states: &[FitState],
    read: &[SiteScale],
    written: &[SiteScale],
    reads: Reads,
    model: Option<ModelName>,
) -> Result<Transcoders> {
    let bias = bias(states)?.as_detached_tensor();
    let mut layers = Vec::new();
    for (number, (of_layer, (read, output))) in states.iter().zip(read.iter().zip(written)).enumerate() {
        let get = |name| Ok::<_, crate::base::Error>(of_layer.params.get(name)?.as_detached_tensor());
        let encoder = get(ParamName::Encoder)?;
        let offset = encoder.matmul(&read.centre.unsqueeze(1)?)?.squeeze(1)?;
        let encoder_bias = ((get(ParamName::EncoderBias)? / read.scale)? - offset)?;
        let fires = match recipe.kind.activation(&of_layer.params, of_layer.threshold)? {
            Activation::Relu => Fires::Relu,
            Activation::TopK(k) => Fires::TopK { k, signed: false },
            // What is below 0 does not fire either.
            Activation::Threshold(threshold) => Fires::Threshold((threshold / read.scale)?.maximum(0.0)?),
            other => return Err(err!(Bug, "a cross-layer transcoder that is {}", other.name())),
        };
        let width = output.centre.dims1()?;
        let scales: Vec<f32> = written[number..].iter().map(|later| (read.scale / later.scale) as f32).collect();
        let scales = Tensor::new(scales, encoder.device())?.reshape((1, (), 1))?;
        let decoder = get(ParamName::Decoder)?.reshape((encoder.dims()[0], (), width))?.broadcast_mul(&scales)?;
        let own = bias.narrow(0, number * width, width)?;
        layers.push(TranscoderLayer {
            encoder,
            encoder_bias: Some(encoder_bias),
            fires,
            decoder: DecoderRows::Held(decoder.contiguous()?),
            decoder_bias: Some(((own / output.scale)? + &output.centre)?),
            skip: None,
        });
    }
    let mut made = Transcoders::new(layers, reads, Writes::MlpOut)?;
    made.model = model;
    Ok(made)
}
