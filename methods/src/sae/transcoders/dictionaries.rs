//! Transcoders that were fitted or loaded one by one, as transcoders of all layers; and those of all layers one by one.

use super::{DecoderRows, Fires, Reads, TranscoderLayer, Transcoders, Writes};
use crate::common::*;
use crate::sae::codes::norms;
use crate::sae::formats::{is_before_weights, parsed_site};
use crate::sae::{About, Activation, Parts, ReadSite, Sae, Scaling};

/// The key of what circuit-tracer's config says of the place that is written.
const OUTPUT: &str = "feature_output_hook";

/// Value of that key where the output of the MLP before a norm is written.
const INNER: &str = "mlp.hook_out";

impl Transcoders {
    /// Makes transcoders of one for each layer, in any order.
    pub fn of(saes: &[Sae]) -> Result<Self> {
        let mut found = Vec::with_capacity(saes.len());
        for sae in saes {
            let (layer, reads) = reads(sae.parts())?;
            let writes = writes(sae.parts(), layer)?;
            found.push((layer, reads, writes, sae));
        }
        found.sort_by_key(|(layer, ..)| *layer);
        let Some(&(_, reads, writes, _)) = found.first() else {
            return Err(err!(Argument, "expected a transcoder for each layer, found none"));
        };
        for (wanted, (layer, ..)) in found.iter().enumerate() {
            if *layer > wanted {
                return Err(err!(Argument, "expected a transcoder for each layer, found none for layer {wanted}")
                    .hint("each MLP is replaced by one: fit or load that of this layer, too"));
            }
            if *layer < wanted {
                return Err(err!(Argument, "expected one transcoder for each layer, found two for layer {layer}"));
            }
        }
        if let Some((layer, ..)) = found.iter().find(|(_, r, w, _)| (*r, *w) != (reads, writes)) {
            return Err(err!(
                Argument,
                "expected transcoders that read and write alike, found another at layer {layer}"
            ));
        }
        let layers = found.iter().map(|(layer, .., sae)| self::layer(*layer, sae.parts())).collect::<Result<_>>()?;
        let model = found.iter().find_map(|(.., sae)| sae.parts().about.models.first().cloned());
        Ok(Self { model, ..Self::new(layers, reads, writes)? })
    }

    /// Returns a dictionary for each layer, of the features that read there with what they write in that layer: for what is asked
    /// of single features, since those of a cross-layer transcoder reconstruct no layer by themselves.
    pub fn one_by_one(&self) -> Result<Vec<Sae>> {
        let reads = match self.reads {
            Reads::ResidMid => SiteKind::ResidMid,
            Reads::MlpIn => SiteKind::MlpIn,
            Reads::Normed => {
                return Err(err!(
                    Argument,
                    "expected transcoders that read `mlp_in` or `resid_mid`, found ones that read what a norm gives \
                     before its weights, which is no site"
                ));
            }
        };
        let of_layer = |(layer, one): (usize, &TranscoderLayer)| {
            let (writes, hook) = match self.writes {
                Writes::MlpOut => (Some(Site::new(SiteKind::MlpOut, layer).to_string()), None),
                Writes::Inner => (None, Some((OUTPUT.to_string(), INNER.into()))),
            };
            let about = About {
                kind: self.kind().trim_end_matches('s').into(),
                models: self.model.iter().cloned().collect(),
                sites: vec![ReadSite::new(Site::new(reads, layer).to_string())],
                writes,
                more: hook.into_iter().collect(),
                ..About::default()
            };
            Sae::new(Parts {
                encoder: one.encoder.clone(),
                encoder_bias: one.encoder_bias.clone(),
                activation: match &one.fires {
                    Fires::Relu => Activation::Relu,
                    Fires::TopK { k, .. } => Activation::TopK(*k),
                    Fires::Threshold(threshold) => Activation::Threshold(threshold.clone()),
                },
                decoder: one.decoder.own_layer()?,
                decoder_bias: one.decoder_bias.clone(),
                centred: false,
                rescaled: false,
                skip: one.skip.clone(),
                scaling: Scaling::None,
                about,
            })
        };
        self.layers().iter().enumerate().map(of_layer).collect()
    }
}

/// Returns the layer of a transcoder, and what it reads there.
fn reads(parts: &Parts) -> Result<(usize, Reads)> {
    let said = match parts.about.sites.as_slice() {
        [] => "nothing that it says".to_string(),
        _ => parts.about.site(),
    };
    let place = match parts.about.sites.as_slice() {
        [site] => parsed_site(&site.name),
        _ => None,
    };
    match place.map(|place| place.site) {
        Some(Site { kind: SiteKind::ResidMid, layer }) => Ok((layer, Reads::ResidMid)),
        Some(Site { kind: SiteKind::MlpIn, layer }) => {
            let is_normed = parts.about.sites.iter().any(|site| is_before_weights(&site.name));
            Ok((layer, if is_normed { Reads::Normed } else { Reads::MlpIn }))
        }
        _ => Err(err!(Argument, "expected a transcoder that reads an MLP's input, found one that reads {said}")
            .hint("it reads `mlp_in.N` or `resid_mid.N`, and writes `mlp_out.N`")),
    }
}

fn writes(parts: &Parts, layer: usize) -> Result<Writes> {
    let hook = parts.about.more.get(OUTPUT).and_then(|hook| hook.as_str());
    match (parts.about.writes.as_deref(), hook) {
        (Some(site), _) if site == Site::new(SiteKind::MlpOut, layer).to_string() => Ok(Writes::MlpOut),
        (None, Some("hook_mlp_out")) => Ok(Writes::MlpOut),
        (None, Some(INNER)) => Ok(Writes::Inner),
        (found, hook) => {
            let found = found.or(hook).unwrap_or("nothing that it says");
            Err(err!(Argument, "expected a transcoder that writes `mlp_out.{layer}`, found one that writes {found}"))
        }
    }
}

/// Returns the layer's features. Centring and rescaling are folded into encoder and decoder.
pub fn layer(layer: usize, parts: &Parts) -> Result<TranscoderLayer> {
    let refuse = |what: &str| {
        Err(err!(Argument, "the transcoder of layer {layer} {what}: its features are not linear in their input")
            .hint("attribution graphs are of relu, top-k, JumpReLU and gated transcoders"))
    };
    if parts.scaling != Scaling::None {
        return refuse("normalises each input");
    }
    let wide = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.to_dtype(DType::F32)?) };
    let some = |tensor: &Option<Tensor>| tensor.as_ref().map(wide).transpose();
    let mut encoder = wide(&parts.encoder)?;
    let mut decoder = wide(&parts.decoder)?;
    let mut bias = some(&parts.encoder_bias)?;
    let decoder_bias = some(&parts.decoder_bias)?;
    if let Some(centre) = decoder_bias.as_ref().filter(|_| parts.centred) {
        let shift = encoder.matmul(&centre.unsqueeze(1)?)?.squeeze(1)?.neg()?;
        bias = Some(match bias {
            Some(bias) => (bias + shift)?,
            None => shift,
        });
    }
    if parts.rescaled {
        let lengths = norms(&decoder)?;
        encoder = encoder.broadcast_mul(&lengths.unsqueeze(1)?)?;
        bias = bias.map(|bias| bias.mul(&lengths)).transpose()?;
        decoder = decoder.broadcast_div(&lengths.maximum(f32::MIN_POSITIVE)?.unsqueeze(1)?)?;
    }
    let fires = match &parts.activation {
        Activation::Relu => Fires::Relu,
        Activation::TopK(k) => Fires::TopK { k: *k, signed: false },
        // What is below 0 does not fire either.
        Activation::Threshold(threshold) => Fires::Threshold(wide(threshold)?.maximum(0.0)?),
        // Where pre + gate > 0, e^s pre + m is above m - e^s gate: a JumpReLU (Rajamanoharan et al. 2024a).
        Activation::Gated { gate, magnitude, log_scale } => {
            let scale = wide(log_scale)?.exp()?;
            let magnitude = wide(magnitude)?;
            encoder = encoder.broadcast_mul(&scale.unsqueeze(1)?)?;
            bias = Some(match bias {
                Some(bias) => ((bias * &scale)? + &magnitude)?,
                None => magnitude.clone(),
            });
            Fires::Threshold((magnitude - (wide(gate)? * scale)?)?.maximum(0.0)?)
        }
        other => return refuse(&format!("is {}", other.name())),
    };
    let decoder = DecoderRows::Held(decoder.unsqueeze(1)?.contiguous()?);
    Ok(TranscoderLayer { encoder, encoder_bias: bias, fires, decoder, decoder_bias, skip: some(&parts.skip)? })
}

/// Returns the layer of a site within blocks, by its name.
pub fn site_layer(site: &str) -> Option<usize> {
    let place = parsed_site(site)?;
    place.site.kind.in_blocks().then_some(place.site.layer)
}
