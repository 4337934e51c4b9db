//! Parts of a dictionary: its computation as data.

pub mod activation;

use super::about::About;
use super::scaling::Scaling;
use crate::common::*;
use crate::tensor::dtype;
pub use activation::Activation;

/// The parts of a dictionary. With x scaled as `scaling` says:
///
///     pre = (x - b_dec, where centred) W_enc^T + b_enc
///     codes = activation(pre), times |d_i| where rescaled
///     x_hat = codes W_dec (codes over |d_i| where rescaled) + b_dec + W_skip x, and the scaling undone
#[derive(Debug, Clone)]
pub struct Parts {
    /// One row a feature: `[d_sae, d_in]`.
    pub encoder: Tensor,
    /// `[d_sae]`.
    pub encoder_bias: Option<Tensor>,
    pub activation: Activation,
    /// Decoder: the direction that each feature writes, one row a feature: `[d_sae, d_out]`.
    pub decoder: Tensor,
    /// `[d_out]`.
    pub decoder_bias: Option<Tensor>,
    /// Whether the decoder bias is subtracted from the input first.
    pub centred: bool,
    /// Whether codes are in units of what they write: multiplied by the norm of their direction.
    pub rescaled: bool,
    /// A linear skip connection: `[d_out, d_in]`.
    pub skip: Option<Tensor>,
    pub scaling: Scaling,
    pub about: About,
}

impl Parts {
    /// Moves the parts to another device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |tensor: &Tensor| tensor.to_device(device);
        let maybe = |tensor: &Option<Tensor>| tensor.as_ref().map(moved).transpose();
        Ok(Self {
            encoder: moved(&self.encoder)?,
            encoder_bias: maybe(&self.encoder_bias)?,
            activation: self.activation.changed(|one| Ok(moved(one.tensor)?))?,
            decoder: moved(&self.decoder)?,
            decoder_bias: maybe(&self.decoder_bias)?,
            skip: maybe(&self.skip)?,
            ..self.clone()
        })
    }

    /// Refuses inconsistent parts.
    pub fn check(&self) -> Result<()> {
        let (d_sae, d_in) = matrix("encoder", &self.encoder)?;
        let (rows, d_out) = matrix("decoder", &self.decoder)?;
        if d_sae == 0 || d_in == 0 || d_out == 0 {
            return Err(err!(
                Shape,
                "expected a dictionary with features, found [{d_sae}, {d_in}] and [{rows}, {d_out}]"
            ));
        }
        let mut given = vec![("decoder", Some(&self.decoder), vec![d_sae, d_out])];
        given.push(("encoder's bias", self.encoder_bias.as_ref(), vec![d_sae]));
        given.push(("decoder's bias", self.decoder_bias.as_ref(), vec![d_out]));
        given.push(("skip", self.skip.as_ref(), vec![d_out, d_in]));
        for one in self.activation.tensors() {
            given.push((one.name, Some(one.tensor), one.part.shape(d_sae, d_in)));
        }
        if let Some(k) = self.activation.most()
            && (k == 0 || k > d_sae)
        {
            return Err(err!(Argument, "expected k from 1 to {d_sae}, the number of features, found {k}"));
        }
        for (name, tensor, wanted) in given {
            let Some(tensor) = tensor else { continue };
            if tensor.dims() != wanted {
                return Err(err!(Shape, "expected the {name} as {wanted:?}, found {:?}", tensor.dims()));
            }
            if tensor.dtype() != self.encoder.dtype() {
                let found = tensor.dtype().as_str();
                let others = self.encoder.dtype().as_str();
                return Err(err!(Argument, "expected all parts in {others}, found the {name} in {found}"));
            }
        }
        if self.centred && (self.decoder_bias.is_none() || d_in != d_out) {
            return Err(err!(Shape, "expected a decoder bias of width {d_in} to centre the input with, found none"));
        }
        if let Activation::Other(other) = &self.activation
            && let Some(check) = other.function.check
        {
            check(self)?;
        }
        if !dtype::is_float(self.encoder.dtype()) {
            return Err(err!(Argument, "expected floats, found {}", self.encoder.dtype().as_str()));
        }
        if let Some(last) = self.about.prefixes.last()
            && (*last > d_sae || !self.about.prefixes.is_sorted())
        {
            let prefixes = &self.about.prefixes;
            return Err(err!(Argument, "expected prefixes in order and up to {d_sae}, found {prefixes:?}"));
        }
        self.check_spans(d_in, d_out)
    }

    fn check_spans(&self, d_in: usize, d_out: usize) -> Result<()> {
        let spans = &self.about.spans;
        let sum = spans.iter().try_fold(0_usize, |sum, span| sum.checked_add(span.width));
        if !spans.is_empty() && (sum != Some(d_in) || d_in != d_out) {
            let widths: Vec<usize> = spans.iter().map(|span| span.width).collect();
            return Err(err!(
                Shape,
                "expected sites that are {d_in} wide together and written as they are read, found {widths:?} and {d_out}"
            ));
        }
        match spans.iter().find(|span| !(span.scale.is_finite() && span.scale > 0.0)) {
            Some(span) => Err(err!(Argument, "expected scales of sites above 0, found {}", span.scale)),
            None => Ok(()),
        }
    }

    /// Returns the dictionary with directions of norm 1 and codes scaled to match; a direction of norm 0 stays, and so
    /// do its codes.
    pub fn with_unit_directions(self) -> Result<Self> {
        if matches!(&self.activation, Activation::Other(other) if other.function.reads_directions) {
            return Ok(self);
        }
        if self.rescaled {
            return Err(err!(Bug, "codes that are in units of what they write already"));
        }
        let norms = self.decoder.sqr()?.sum(1)?.sqrt()?;
        let zero = norms.eq(0.0)?.to_dtype(norms.dtype())?;
        let norms = (norms + zero)?;
        let rows = norms.unsqueeze(1)?;
        let times = |t: &Tensor| -> Result<Tensor> { Ok(t.mul(&norms)?) };
        Ok(Self {
            encoder: self.encoder.broadcast_mul(&rows)?,
            encoder_bias: self.encoder_bias.as_ref().map(times).transpose()?,
            activation: self.activation.with_offsets(times)?,
            decoder: self.decoder.broadcast_div(&rows)?,
            ..self
        })
    }
}

fn matrix(name: &str, tensor: &Tensor) -> Result<(usize, usize)> {
    match *tensor.dims() {
        [rows, columns] => Ok((rows, columns)),
        ref dims => Err(err!(Shape, "expected the {name} as a matrix, found the shape {dims:?}")),
    }
}
