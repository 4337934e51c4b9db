//! The end of a fit: a dictionary that reads unscaled activations, with directions of norm 1 and codes in the
//! activations' own units.

use super::params::{ParamName, Params, unit_rows};
use super::plan::Recipe;
use crate::common::*;
use crate::sae::{About, Activation, KindLabel, Parts, Sae, Scaling, Span};

/// The normalisation of activations during training: `(x - centre) * scale`.
#[derive(Debug, Clone)]
pub struct SiteScale {
    /// `[d]`.
    pub centre: Tensor,
    pub scale: f64,
}

impl SiteScale {
    pub fn of(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::centred(x, &self.centre, self.scale)?)
    }
}

/// Builds the dictionary of fitted weights. `read` is how its input was scaled, `written` what a transcoder
/// reconstructs.
///
/// With y = s (x - m) fitted as y_hat = codes(y) D + b, codes are homogeneous: codes(y) / s are those of x - m with
/// biases and thresholds over s. So x_hat = (codes / s) D + b / s + m, and no weight of the encoder changes.
pub fn finished(
    recipe: &Recipe,
    params: &Params,
    threshold: Option<f64>,
    read: &SiteScale,
    written: Option<&SiteScale>,
    about: About,
) -> Result<Sae> {
    let kind = recipe.kind.as_ref();
    let properties = kind.properties();
    let get = |name| Ok::<_, crate::base::Error>(params.get(name)?.as_detached_tensor());
    let encoder = if properties.is_tied { unit_rows(&get(ParamName::Encoder)?)? } else { get(ParamName::Encoder)? };
    let decoder = if properties.is_tied { encoder.clone() } else { get(ParamName::Decoder)? };
    let over = |t: &Tensor| Ok::<_, crate::base::Error>((t / read.scale)?);
    let is_same = written.is_none();
    let written = written.unwrap_or(read);
    let bias = match params.maybe(ParamName::DecoderBias) {
        Some(bias) => bias.as_detached_tensor(),
        None => written.centre.zeros_like()?,
    };
    // In units of what is read; a transcoder's directions take up how differently the two sides were scaled.
    let decoder = (decoder * (read.scale / written.scale))?;
    let decoder_bias = ((bias / written.scale)? + &written.centre)?;
    let centred = is_same && (properties.is_centred || properties.is_tied);
    let encoder_bias = over(&get(ParamName::EncoderBias)?)?;
    let offset = |bias: &Tensor| -> Result<Tensor> {
        // Where the decoder bias does not centre the input, its mean is folded in here.
        Ok(bias.sub(&encoder.matmul(&read.centre.unsqueeze(1)?)?.squeeze(1)?)?)
    };
    let activation = kind.activation(params, threshold)?.of_unscaled(read.scale)?;
    let encoder_bias = match (&activation, centred) {
        (Activation::Gated { .. }, true) => None,
        (Activation::Other(other), true) if other.function.reads_directions => None,
        (_, true) => Some(encoder_bias),
        (Activation::Gated { .. }, false) => Some(offset(&encoder_bias.zeros_like()?)?),
        (_, false) => Some(offset(&encoder_bias)?),
    };
    let skip = match params.maybe(ParamName::Skip) {
        Some(skip) => Some((skip.as_detached_tensor() * (read.scale / written.scale))?),
        None => None,
    };
    let decoder_bias = match &skip {
        Some(skip) => decoder_bias.sub(&skip.matmul(&read.centre.unsqueeze(1)?)?.squeeze(1)?)?,
        None => decoder_bias,
    };
    let about = About {
        prefixes: properties.nested.into_iter().map(|(end, _)| end).collect(),
        spans: if is_same { spans(&properties.widths) } else { Vec::new() },
        ..about
    };
    let fitted = Parts {
        encoder,
        encoder_bias,
        activation,
        decoder,
        decoder_bias: Some(decoder_bias),
        centred,
        rescaled: false,
        skip,
        scaling: Scaling::None,
        about: named(about, recipe, is_same),
    };
    let chosen = fitted.activation.clone();
    let mut parts = fitted.with_unit_directions()?;
    if threshold.is_some() && is_same && recipe.unit {
        // Norms that are 1 but for rounding would make several thresholds of the one that all features have, and formats of
        // batch top-k have one.
        parts.activation = chosen;
    }
    Sae::new(parts)
}

/// Returns the sites of a crosscoder of given rows, which are scaled as one; none where there are not several.
fn spans(widths: &[usize]) -> Vec<Span> {
    let several = widths.iter().filter(|_| widths.len() > 1);
    several.map(|width| Span { width: *width, scale: 1.0 }).collect()
}

/// Names the kind: its own name; for transcoders "transcoder", with the kind beside it.
fn named(mut about: About, recipe: &Recipe, is_same: bool) -> About {
    let kind = recipe.kind.name();
    about.kind = if is_same { kind.into() } else { KindLabel::of_transcoders(recipe.skip) };
    if !is_same {
        about.more.insert("fitted_as".into(), kind.into());
    }
    about
}
