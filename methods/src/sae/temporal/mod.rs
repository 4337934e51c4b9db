//! Temporal feature analysis (Lubana et al. 2025, arXiv 2511.01836): a dictionary that predicts the codes of a token
//! from those of the tokens before it, and codes sparsely what the prediction leaves.
//!
//! With the dictionary's rows D, λ = 1 / (4 d_in) and z(x) = relu(λ x E), where E is D transposed or an encoder of its
//! own, each attention layer computes p = relu(attention(queries of z(x_t), keys and values of z(x_0) .. z(x_{t-1}))).
//! The predicted part is the projection of x_t on p D, and the novel codes are z of the rest, all of them or the k
//! largest.
//!
//! A [`TemporalSae`] is the mathematics as data, as a [`Sae`](crate::sae::Sae) is; since its codes depend on earlier
//! tokens, it encodes texts and not rows. [`fit`] makes one of a site of a model, [`files`] reads and writes those of
//! SAELens and its authors.

pub mod files;
pub mod fit;
pub mod measure;
mod random;
mod yaml;

#[cfg(test)]
mod tests;

use super::select::largest;
use super::{About, Activation, Scaling, site_layer};
use crate::common::*;
use crate::model::hooks::checks::{self, finite};
use crate::tensor::{elementwise, matmul};
use kernels::{Gap, Reach};

/// The number that is added to the length of what a layer predicts before it divides.
const EPS: f64 = 1e-6;

/// The number that keeps the gradient of a length finite where a layer predicts nothing.
const TINY: f64 = 1e-30;

/// A linear map with a bias.
#[derive(Debug, Clone)]
pub struct LinearMap {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Tensor,
}

impl LinearMap {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::linear(x, &self.weight, Some(&self.bias))?)
    }
}

/// An attention layer that predicts codes from those of earlier tokens.
#[derive(Debug, Clone)]
pub struct PredictingLayer {
    pub keys: LinearMap,
    pub queries: LinearMap,
    pub values: LinearMap,
    pub output: LinearMap,
}

impl PredictingLayer {
    /// Returns the maps in the order of [`TemporalSae::tensors`].
    fn maps(&self) -> [&LinearMap; 4] {
        [&self.keys, &self.queries, &self.values, &self.output]
    }
}

/// The names of a layer's maps in files, in the order of [`TemporalSae::tensors`].
const MAPS: [&str; 4] = ["k_ctx", "q_target", "v_ctx", "c_proj"];

/// A dictionary that predicts from the past and codes what is new.
#[derive(Debug, Clone)]
pub struct TemporalSae {
    pub layers: Vec<PredictingLayer>,
    /// Attention heads of each layer.
    pub heads: usize,
    /// The directions that features read, `[d_sae, d_in]`; None where these are those of the decoder.
    pub encoder: Option<Tensor>,
    /// The directions that features write, `[d_sae, d_in]`.
    pub decoder: Tensor,
    /// The bias of what is written, `[d_in]`.
    pub bias: Tensor,
    /// Whether the bias is subtracted from what is read.
    pub centred: bool,
    /// The novel codes: `Relu`, or `TopK`.
    pub activation: Activation,
    /// The number that activations are multiplied by before anything else, and divided by at the end.
    pub factor: f64,
    pub scaling: Scaling,
    /// Most tokens of a row of the text that it was fitted on, where known.
    pub context: Option<usize>,
    pub about: About,
}

/// The codes of texts: `[batch, pos, d_sae]` each.
#[derive(Debug, Clone)]
pub struct TemporalCodes {
    pub predicted: Tensor,
    pub novel: Tensor,
}

/// The prediction of all layers.
struct Prediction {
    codes: Tensor,
    /// The input without its prediction.
    rest: Tensor,
    /// The dense codes that each layer reads.
    read: Vec<Tensor>,
}

impl TemporalSae {
    /// Returns the number of features.
    pub fn d_sae(&self) -> usize {
        self.decoder.dims().first().copied().unwrap_or_default()
    }

    /// Returns the width of the activations that it reads and writes.
    pub fn d_in(&self) -> usize {
        self.bias.elem_count()
    }

    /// Returns the size of all queries of a layer together.
    pub fn d_qk(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.keys.bias.elem_count())
    }

    /// Returns the site that it reads and writes; an error where it is unknown.
    pub fn site(&self) -> Result<&str> {
        match self.about.sites.as_slice() {
            [site] if site_layer(&site.name).is_some() || !site.name.contains("blocks.") => Ok(&site.name),
            [site] => Err(err!(
                Argument,
                "expected a temporal dictionary of a site that models have here, found {}",
                site.name
            )),
            _ => Err(err!(Argument, "the temporal dictionary does not say which site it reads")
                .hint("name it where it is loaded, with the option `site`, such as `resid_post.3`")),
        }
    }

    /// Returns the tensors by their names in files: `W_dec`, `b_dec`, `W_enc` where it has one, and four maps for each
    /// layer.
    pub fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![("W_dec".to_string(), &self.decoder), ("b_dec".to_string(), &self.bias)];
        all.extend(self.encoder.as_ref().map(|encoder| ("W_enc".to_string(), encoder)));
        for (number, layer) in self.layers.iter().enumerate() {
            for (name, map) in MAPS.iter().zip(layer.maps()) {
                all.push((format!("attn_layers.{number}.{name}.weight"), &map.weight));
                all.push((format!("attn_layers.{number}.{name}.bias"), &map.bias));
            }
        }
        all
    }

    /// Returns a dictionary with other tensors, in the order of [`TemporalSae::tensors`].
    pub fn with(&self, tensors: Vec<Tensor>) -> Result<Self> {
        let count = self.tensors().len();
        if tensors.len() != count {
            return Err(err!(Bug, "expected {count} tensors of a temporal dictionary, found {}", tensors.len()));
        }
        let mut found = self.clone();
        let mut places = vec![&mut found.decoder, &mut found.bias];
        places.extend(found.encoder.as_mut());
        for layer in &mut found.layers {
            for map in [&mut layer.keys, &mut layer.queries, &mut layer.values, &mut layer.output] {
                places.push(&mut map.weight);
                places.push(&mut map.bias);
            }
        }
        places.into_iter().zip(tensors).for_each(|(place, tensor)| *place = tensor);
        Ok(found)
    }

    /// Moves the tensors to a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = self.tensors().into_iter().map(|(_, tensor)| Ok(tensor.to_device(device)?));
        self.with(moved.collect::<Result<_>>()?)
    }

    /// Refuses tensors of shapes that do not fit together, numbers that are not finite, and other activation functions.
    pub fn check(self) -> Result<Self> {
        let features = self.d_sae();
        let d_in = self.d_in();
        let heads = self.heads;
        let wide = self.d_qk();
        if self.layers.is_empty()
            || heads == 0
            || !features.is_multiple_of(heads)
            || wide == 0
            || !wide.is_multiple_of(heads)
        {
            return Err(err!(
                Format,
                "expected heads that divide {features} features and {wide} numbers of queries, found {heads} in {} layers",
                self.layers.len()
            ));
        }
        for (name, tensor) in self.tensors() {
            let wanted = match name.rsplit_once('.') {
                None if name == "b_dec" => vec![d_in],
                None => vec![features, d_in],
                Some((map, "bias")) if map.ends_with("v_ctx") || map.ends_with("c_proj") => vec![features],
                Some((_, "bias")) => vec![wide],
                Some((map, _)) if map.ends_with("v_ctx") || map.ends_with("c_proj") => vec![features, features],
                Some(_) => vec![wide, features],
            };
            checks::weight(&name, tensor, &wanted)?;
        }
        match &self.activation {
            Activation::Relu => {}
            Activation::TopK(k) if (1..=features).contains(k) => {}
            Activation::TopK(k) => {
                return Err(err!(Format, "expected from 1 to {features} novel codes, found {k}").about("k"));
            }
            other => return Err(err!(Format, "expected the activation relu or topk, found {}", other.name())),
        }
        if !self.factor.is_finite() || self.factor <= 0.0 {
            return Err(err!(Format, "expected a factor of the activations above 0, found {}", self.factor));
        }
        Ok(self)
    }

    /// Refuses activations of other shapes, or with numbers that are not finite.
    fn check_read(&self, x: &Tensor) -> Result<()> {
        let d_in = self.d_in();
        match x.dims() {
            [_, _, found] if *found == d_in => finite(x, "activations"),
            dims => Err(err!(Shape, "expected activations [batch, pos, {d_in}], found {dims:?}")),
        }
    }

    /// Computes the codes of activations `[batch, pos, d_in]` of texts from their first token on, without numbers in
    /// the padding that are not finite.
    pub fn codes(&self, x: &Tensor, gap: Option<&Gap>) -> Result<TemporalCodes> {
        self.check_read(x)?;
        let found = self.predict(&self.input(x)?, None, gap)?;
        Ok(TemporalCodes { novel: self.novel(&found.rest)?, predicted: found.codes })
    }

    /// Computes codes whose prediction reads the tokens before in other texts: at each position those at earlier
    /// positions of the same row of `past`.
    pub fn codes_after(&self, x: &Tensor, past: &Tensor) -> Result<TemporalCodes> {
        self.check_read(x)?;
        self.check_read(past)?;
        let read = self.predict(&self.input(past)?, None, None)?.read;
        let found = self.predict(&self.input(x)?, Some(&read), None)?;
        Ok(TemporalCodes { novel: self.novel(&found.rest)?, predicted: found.codes })
    }

    /// Computes what codes write, in the units of what layers read and without the bias: `[batch, pos, d_in]`.
    pub fn written(&self, codes: &Tensor) -> Result<Tensor> {
        matmul::matmul(codes, &self.decoder)
    }

    /// Computes the reconstruction of activations `x` by codes of them.
    pub fn decode(&self, x: &Tensor, codes: &Tensor) -> Result<Tensor> {
        let found = (self.written(codes)?.broadcast_add(&self.bias)? / self.factor)?;
        self.scaling.of(x)?.after(&found)
    }

    /// Computes the reconstruction of activations, by predicted and novel codes together.
    pub fn reconstruct(&self, x: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
        let TemporalCodes { predicted, novel } = self.codes(x, gap)?;
        self.decode(x, &(predicted + novel)?)
    }

    /// Computes the attention pattern of a head: `[batch, query, key]`, where key 0 is nothing and key t is token t -
    /// 1.
    pub fn pattern(&self, x: &Tensor, layer: usize, head: usize) -> Result<Tensor> {
        self.check_read(x)?;
        let count = self.layers.len();
        let heads = self.heads;
        if layer >= count || head >= heads {
            return Err(err!(
                Argument,
                "expected a head below {heads} of a layer below {count}, found head {head} of layer {layer}"
            )
            .about("head"));
        }
        let read = self.predict(&self.input(x)?, None, None)?.read;
        let [queries, keys] = self.looks(&self.layers[layer], &read[layer], &read[layer], None)?;
        let one = |t: &Tensor| -> Result<Tensor> { Ok(t.narrow(2, head, 1)?.contiguous()?) };
        let reach = Reach { causal: true, ..Reach::default() };
        let scores = kernels::scores(&one(&queries)?, &one(&keys)?, self.score_scale(), None, &reach)?;
        Ok(kernels::pattern(&scores, &reach)?.squeeze(1)?)
    }

    /// Scales activations, and subtracts the bias from them where that is done.
    fn input(&self, x: &Tensor) -> Result<Tensor> {
        let scaled = (self.scaling.of(x)?.before(x)? * self.factor)?;
        if self.centred { Ok(scaled.broadcast_sub(&self.bias)?) } else { Ok(scaled) }
    }

    /// Computes the dense codes z of what is left of an input.
    fn dense(&self, rest: &Tensor) -> Result<Tensor> {
        let lambda = 1.0 / (4.0 * self.d_in() as f64);
        let encoder = self.encoder.as_ref().unwrap_or(&self.decoder);
        elementwise::relu(&kernels::linear(&(rest * lambda)?, encoder, None)?)
    }

    /// Computes the novel codes of what the prediction leaves.
    fn novel(&self, rest: &Tensor) -> Result<Tensor> {
        let dense = self.dense(rest)?;
        match self.activation {
            Activation::TopK(k) => largest(&dense, &dense, k),
            _ => Ok(dense),
        }
    }

    fn score_scale(&self) -> f64 {
        1.0 / ((self.d_qk() / self.heads) as f64).sqrt()
    }

    /// Splits the last axis into heads.
    fn by_head(&self, t: &Tensor) -> Result<Tensor> {
        let (rows, columns, wide) = t.dims3()?;
        Ok(kernels::reshape(t, &[rows, columns, self.heads, wide / self.heads])?)
    }

    /// Computes the queries and keys of a layer.
    fn looks(&self, layer: &PredictingLayer, own: &Tensor, past: &Tensor, gap: Option<&Gap>) -> Result<[Tensor; 2]> {
        Ok([self.by_head(&layer.queries.of(own)?)?, self.by_head(&layer.keys.of(&one_later(past, gap)?)?)?])
    }

    /// Predicts an input from the tokens before it: those that `past` has dense codes of for each layer, or its own.
    fn predict(&self, input: &Tensor, past: Option<&[Tensor]>, gap: Option<&Gap>) -> Result<Prediction> {
        let mut rest = input.clone();
        let mut codes: Option<Tensor> = None;
        let mut read = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let own = self.dense(&rest)?;
            let before = past.map_or(&own, |past| &past[number]);
            let [queries, keys] = self.looks(layer, &own, before, gap)?;
            let values = self.by_head(&layer.values.of(&one_later(before, gap)?)?)?;
            let reach = Reach { causal: true, gap, ..Reach::default() };
            let mixed = kernels::attention(&queries, &keys, &values, self.score_scale(), None, &reach)?;
            let mixed = kernels::reshape(&mixed, own.dims())?;
            let found = elementwise::relu(&layer.output.of(&mixed)?)?;
            let written = self.written(&found)?;
            let length = ((written.sqr()?.sum_keepdim(2)? + TINY)?.sqrt()? + EPS)?;
            let share = written.mul(&rest)?.sum_keepdim(2)?.div(&length.sqr()?)?;
            let found = found.broadcast_mul(&share)?;
            rest = (rest - written.broadcast_mul(&share)?)?;
            codes = Some(match codes {
                Some(codes) => (codes + found)?,
                None => found,
            });
            read.push(own);
        }
        let codes = codes.ok_or_else(|| err!(Bug, "a temporal dictionary without a layer"))?;
        Ok(Prediction { codes, rest, read })
    }
}

/// Returns activations `[batch, pos, d_in]` with zeros in the padding behind the ends of shorter texts.
pub fn without_padding(x: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
    let (rows, columns, _) = x.dims3()?;
    let Some(gap) = gap else { return Ok(x.clone()) };
    let is_real = (0..rows).flat_map(|row| (0..columns).map(move |column| u8::from(gap.holds(row, column))));
    let is_real = Tensor::from_vec(is_real.collect::<Vec<_>>(), (rows, columns, 1), x.device())?;
    Ok(is_real.broadcast_as(x.shape())?.where_cond(x, &x.zeros_like()?)?)
}

/// Moves dense codes one token on, so that each position has those of the token before: `[batch, pos, d_sae]`. The
/// first has zeros.
fn one_later(codes: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
    let (rows, columns, wide) = codes.dims3()?;
    let Some(gap) = gap.filter(|gap| gap.width < columns) else {
        let nothing = Tensor::zeros((rows, 1, wide), codes.dtype(), codes.device())?;
        return Ok(Tensor::cat(&[&nothing, &codes.narrow(1, 0, columns - 1)?], 1)?);
    };
    // The first token behind the padding follows the last one before it.
    let before = |row: usize, column: usize| match column {
        0 => 0,
        _ if column == gap.width => 1 + row * columns + gap.lengths[row] - 1,
        _ => 1 + row * columns + column - 1,
    };
    let places: Vec<u32> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| before(row, column) as u32)).collect();
    let nothing = Tensor::zeros((1, wide), codes.dtype(), codes.device())?;
    let flat = Tensor::cat(&[&nothing, &codes.reshape((rows * columns, wide))?], 0)?;
    let places = Tensor::from_vec(places, rows * columns, codes.device())?;
    Ok(flat.index_select(&places, 0)?.reshape((rows, columns, wide))?)
}
