//! The inputs of a step: the batch and the weights as slices, centred and normalised where the kind requires it.

use std::borrow::Cow;

use crate::common::*;
use crate::sae::fit::loss::FitBatch;
use crate::sae::fit::params::{DictionaryShape, ParamName, Params};
use crate::sae::fit::plan::{EncoderProducts, Recipe};
use kernels::sparse::{Bf16Factors, scale, squares};
use kernels::{Bf16Rows, FlatNumbers, arch, flat};

/// Minimum norm that an encoder row is divided by.
const SHORTEST: f32 = 1e-8;

/// The tensors of a step, without their history.
pub struct StepTensors {
    x: Tensor,
    target: Option<Tensor>,
    /// The target of the features after a skip connection, where there is one.
    rest: Option<Tensor>,
    weights: Vec<(ParamName, Tensor)>,
    rows: usize,
    shape: DictionaryShape,
    /// Whether the decoder bias is subtracted from what is read.
    is_centred: bool,
    is_tied: bool,
    compute: EncoderProducts,
}

/// The tensors of a step, locked for reading.
pub struct StepNumbers<'a> {
    tensors: &'a StepTensors,
    x: FlatNumbers<'a>,
    target: Option<FlatNumbers<'a>>,
    rest: Option<FlatNumbers<'a>>,
    weights: Vec<(ParamName, FlatNumbers<'a>)>,
}

impl StepTensors {
    /// Takes the tensors of a step; None where a tensor is not in f32 on the CPU, where shapes do not match (the
    /// reference implementation reports which), or where sizes overflow the index type.
    pub fn of(params: &Params, batch: &FitBatch, recipe: &Recipe) -> Result<Option<Self>> {
        let (&[rows, _], &[others, d_out]) = (batch.x.dims(), batch.target().dims()) else { return Ok(None) };
        let target = batch.target.as_ref();
        if rows != others || !target.is_none_or(is_here) {
            return Ok(None);
        }
        let Some(of_layer) = Self::of_layer(params, &batch.x, d_out, recipe)? else { return Ok(None) };
        let rest = match params.maybe(ParamName::Skip) {
            Some(skip) => {
                let around = kernels::linear(&batch.x, &skip.as_detached_tensor(), None)?;
                Some(flat(&(batch.target() - around)?)?)
            }
            None => None,
        };
        let is_centred = recipe.kind.properties().is_centred && target.is_none();
        Ok(Some(Self { target: target.map(flat).transpose()?, rest, is_centred, ..of_layer }))
    }

    /// Takes the tensors of one layer of a cross-layer transcoder, whose features write this many numbers; without a
    /// target, which all layers have in common.
    pub fn of_layer(params: &Params, x: &Tensor, d_out: usize, recipe: &Recipe) -> Result<Option<Self>> {
        let weights = params.all.iter().map(|parameter| (parameter.name, parameter.weight.as_detached_tensor()));
        let weights: Vec<_> = weights.collect();
        let are_here = weights.iter().map(|(_, weight)| weight).chain(std::iter::once(x)).all(is_here);
        let d_sae = params.get(ParamName::EncoderBias)?.elem_count();
        let &[rows, d_in] = x.dims() else { return Ok(None) };
        let shape = DictionaryShape { d_in, d_sae, d_out };
        let fit = weights.iter().all(|(name, weight)| fits(*name, weight.dims(), shape));
        let scores = rows.saturating_mul(d_sae);
        if !are_here || !fit || scores == 0 || d_in * d_out == 0 || u32::try_from(scores).is_err() {
            return Ok(None);
        }
        let flat = |(name, weight)| Ok((name, flat(&weight)?));
        let weights = weights.into_iter().map(flat).collect::<Result<_>>()?;
        let is_tied = recipe.kind.properties().is_tied;
        let target = None;
        let rest = None;
        let x = kernels::flat(x)?;
        let compute = recipe.compute;
        Ok(Some(Self { x, target, rest, weights, rows, shape, is_centred: false, is_tied, compute }))
    }

    pub fn locked(&self) -> Result<StepNumbers<'_>> {
        let weights = self.weights.iter().map(|(name, weight)| Ok((*name, FlatNumbers::of(weight)?)));
        Ok(StepNumbers {
            tensors: self,
            x: FlatNumbers::of(&self.x)?,
            target: self.target.as_ref().map(FlatNumbers::of).transpose()?,
            rest: self.rest.as_ref().map(FlatNumbers::of).transpose()?,
            weights: weights.collect::<Result<_>>()?,
        })
    }
}

impl StepNumbers<'_> {
    /// Returns the inputs as slices. `room`: memory for the rows that are read, once they are centred.
    pub fn inputs<'a>(&'a self, room: &'a mut Vec<f32>) -> Result<Inputs<'a>> {
        let StepTensors { rows, shape, is_centred, is_tied, compute, .. } = *self.tensors;
        let maybe = |name| self.weights.iter().find(|(known, _)| *known == name).map(|(_, numbers)| numbers.slice());
        let get = |name: ParamName| maybe(name).ok_or_else(|| err!(Bug, "a dictionary without its {name}"));
        let encoder = get(ParamName::Encoder)?;
        let encoder_bias = get(ParamName::EncoderBias)?;
        let decoder_bias = maybe(ParamName::DecoderBias);
        let (encoder, lengths) = if is_tied { unit(encoder, shape.d_in) } else { (Cow::Borrowed(encoder), Vec::new()) };
        let x = self.x.slice();
        let whole = self.target.as_ref().unwrap_or(&self.x).slice();
        let x = decoder_bias.filter(|_| is_centred).map_or(x, |centre| less(x, centre, room));
        let rounds = compute == EncoderProducts::Bf16;
        Ok(Inputs {
            x,
            rounded: rounds.then(|| [x, &*encoder].map(|numbers| Bf16Rows::of(numbers, shape.d_in))),
            whole,
            target: self.rest.as_ref().map_or(whole, FlatNumbers::slice),
            decoder: if is_tied { None } else { Some(get(ParamName::Decoder)?) },
            encoder_bias,
            decoder_bias,
            threshold: maybe(ParamName::Threshold),
            gate: maybe(ParamName::Gate),
            log_scale: maybe(ParamName::LogScale),
            encoder,
            lengths,
            is_centred,
            has_skip: self.rest.is_some(),
            rows,
            shape,
        })
    }
}

fn is_here(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::F32 && tensor.device().is_cpu()
}

/// The numbers of a step.
pub struct Inputs<'a> {
    /// The input, centred: `[rows, d_in]`.
    pub x: &'a [f32],
    /// The target of the dictionary: `[rows, d_out]`; of a layer of a cross-layer transcoder, which has none of its own, x.
    pub whole: &'a [f32],
    /// Target of the features, without a skip connection.
    pub target: &'a [f32],
    /// Encoder that the step uses: the rows of a tied dictionary are normalised.
    pub encoder: Cow<'a, [f32]>,
    /// The input and the encoder rounded to bf16, where the products of the encoder are of these.
    rounded: Option<[Bf16Rows; 2]>,
    /// The norms of the rows of a tied dictionary.
    pub lengths: Vec<f32>,
    pub encoder_bias: &'a [f32],
    /// Decoder; None where it is the encoder.
    decoder: Option<&'a [f32]>,
    pub decoder_bias: Option<&'a [f32]>,
    pub threshold: Option<&'a [f32]>,
    pub gate: Option<&'a [f32]>,
    pub log_scale: Option<&'a [f32]>,
    pub is_centred: bool,
    pub has_skip: bool,
    pub rows: usize,
    pub shape: DictionaryShape,
}

impl Inputs<'_> {
    /// Returns the directions: `[d_sae, d_out]`.
    pub fn directions(&self) -> &[f32] {
        self.decoder.unwrap_or(&self.encoder)
    }

    pub fn is_tied(&self) -> bool {
        self.decoder.is_none()
    }

    /// Returns the factors of the encoder's product rounded to bf16, where it is the product of these.
    pub fn rounded(&self) -> Option<Bf16Factors<'_>> {
        self.rounded.as_ref().map(|[x, weights]| Bf16Factors { x, weights })
    }

    pub fn encoder_row(&self, feature: usize) -> &[f32] {
        &self.encoder[feature * self.shape.d_in..(feature + 1) * self.shape.d_in]
    }

    pub fn direction(&self, feature: usize) -> &[f32] {
        &self.directions()[feature * self.shape.d_out..(feature + 1) * self.shape.d_out]
    }
}

fn fits(name: ParamName, dims: &[usize], shape: DictionaryShape) -> bool {
    let DictionaryShape { d_in, d_sae, d_out } = shape;
    match name {
        ParamName::Encoder => dims == [d_sae, d_in],
        ParamName::Decoder => dims == [d_sae, d_out],
        ParamName::DecoderBias => dims == [d_out],
        ParamName::Skip => dims == [d_out, d_in],
        ParamName::EncoderBias | ParamName::Threshold | ParamName::Gate | ParamName::LogScale => dims == [d_sae],
        // Kinds with weights of their own have steps in candle's operations alone.
        ParamName::Own(_) => false,
    }
}

/// Subtracts a centre from rows.
fn less<'a>(rows: &[f32], centre: &[f32], room: &'a mut Vec<f32>) -> &'a [f32] {
    room.resize(rows.len(), 0.0);
    parallel::fill(room, centre.len(), &|first, less| {
        for ((less, x), centre) in less.iter_mut().zip(&rows[first..]).zip(centre) {
            *less = x - centre;
        }
    });
    room
}

/// Normalises rows, and returns their norms, too.
fn unit<'a>(rows: &[f32], width: usize) -> (Cow<'a, [f32]>, Vec<f32>) {
    let arch = arch();
    let mut unit = rows.to_vec();
    let length = |row: &mut [f32]| {
        let length = squares(arch, row).sqrt().max(SHORTEST);
        scale(arch, row, 1.0 / length);
        length
    };
    let lengths = parallel::blocks(&mut unit, width, &|_, row| length(row));
    (Cow::Owned(unit), lengths)
}
