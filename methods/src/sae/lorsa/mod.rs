//! Low-rank sparse attention (He et al. 2025, arXiv 2504.20938): a dictionary of an attention layer. Many heads of rank one each
//! read a number at every token, mix these numbers by an attention pattern that a group of heads shares, and write along one
//! direction. Only few heads are active at a token.
//!
//! A [`Lorsa`] is the mathematics as data, as a [`Sae`](crate::sae::Sae) is; since its codes depend on earlier tokens, it encodes
//! texts and not rows. [`fit`] makes one of a layer of a model, [`openmoss`] reads those that its authors publish.

mod about;
pub mod file;
pub mod fit;
pub mod measure;
pub mod openmoss;
pub mod options;
pub mod random;
mod start;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use about::LorsaAbout;

use super::Activation;
use super::codes::norms;
use super::select::greater;
use crate::common::*;
use crate::model::config::Rotary;
use crate::model::decoder::RotaryTable;
use crate::model::hooks::checks;
use crate::tensor::elementwise;
use kernels::{Gap, Reach};

/// The map to the queries or to the keys of all groups.
#[derive(Debug, Clone)]
pub struct GroupMap {
    /// The weights, `[groups * d_qk, d_in]`.
    pub weight: Tensor,
    /// The biases, `[groups * d_qk]`.
    pub bias: Tensor,
    /// The weights of an RMS norm behind the map, `[groups, d_qk]`, where there is one.
    pub norm: Option<Tensor>,
}

/// The rotation of queries and keys, with its table.
#[derive(Debug, Clone)]
pub struct Turning {
    pub rotary: Rotary,
    table: Arc<RotaryTable>,
}

impl From<Rotary> for Turning {
    fn from(rotary: Rotary) -> Self {
        let table = Arc::new(RotaryTable::new(&rotary));
        Self { rotary, table }
    }
}

/// A dictionary of an attention layer: groups of heads of rank one, each group with one attention pattern.
#[derive(Debug, Clone)]
pub struct Lorsa {
    pub queries: GroupMap,
    pub keys: GroupMap,
    /// The direction that each head reads, `[heads, d_in]`.
    pub values: Tensor,
    /// The bias of what each head reads, `[heads]`.
    pub value_bias: Tensor,
    /// The direction that each head writes, `[heads, d_out]`.
    pub decoder: Tensor,
    /// The bias of what is written, `[d_out]`.
    pub decoder_bias: Tensor,
    /// The number of groups. Heads of a group follow one another, and share queries and keys.
    pub groups: usize,
    pub turning: Option<Turning>,
    /// The factor of `q . k`.
    pub score_scale: f64,
    /// The small number of the norms of queries and keys.
    pub norm_eps: f64,
    /// The choice of active heads: `Relu`, `TopK` or `Threshold`.
    pub activation: Activation,
    /// Whether heads are chosen by what they write: by their codes times the lengths of their directions.
    pub rescaled: bool,
    pub about: LorsaAbout,
}

/// The queries, keys and values of a batch of texts.
pub struct Attended {
    /// Queries and keys behind norm and rotation: `[batch, pos, group, d_qk]`.
    pub queries: Tensor,
    pub keys: Tensor,
    /// The numbers that heads read: `[batch, pos, head]`.
    pub values: Tensor,
}

/// The names of the tensors that every Lorsa has, in the order of [`Lorsa::tensors`].
pub const TENSORS: [&str; 8] =
    ["queries", "query_bias", "keys", "key_bias", "values", "value_bias", "decoder", "decoder_bias"];

impl Lorsa {
    /// Returns the number of heads.
    pub fn heads(&self) -> usize {
        self.decoder.dims().first().copied().unwrap_or_default()
    }

    /// Returns the number of heads that share queries and keys.
    pub fn group_size(&self) -> usize {
        self.heads() / self.groups.max(1)
    }

    /// Returns the size of queries and keys.
    pub fn d_qk(&self) -> usize {
        self.queries.bias.elem_count() / self.groups.max(1)
    }

    /// Returns the width of the activations that it reads.
    pub fn d_in(&self) -> usize {
        self.values.dims().last().copied().unwrap_or_default()
    }

    /// Returns the width of the activations that it writes.
    pub fn d_out(&self) -> usize {
        self.decoder_bias.elem_count()
    }

    /// Returns the group of a head, and refuses a head that there is none of.
    pub fn group_of(&self, head: usize) -> Result<usize> {
        let heads = self.heads();
        if head >= heads {
            return Err(err!(Argument, "expected a head below {heads}, found {head}").about("head"));
        }
        Ok(head / self.group_size())
    }

    /// Returns the tensors that every Lorsa has.
    pub fn tensors(&self) -> [&Tensor; 8] {
        let Self { queries, keys, values, value_bias, decoder, decoder_bias, .. } = self;
        [&queries.weight, &queries.bias, &keys.weight, &keys.bias, values, value_bias, decoder, decoder_bias]
    }

    /// Returns the norms of queries and keys, where there are some.
    pub fn norms(&self) -> Option<[&Tensor; 2]> {
        Some([self.queries.norm.as_ref()?, self.keys.norm.as_ref()?])
    }

    /// Returns a Lorsa with other tensors, in the order of [`TENSORS`].
    #[must_use]
    pub fn with(&self, tensors: [Tensor; 8]) -> Self {
        let [query_weight, query_bias, key_weight, key_bias, values, value_bias, decoder, decoder_bias] = tensors;
        let queries = GroupMap { weight: query_weight, bias: query_bias, norm: self.queries.norm.clone() };
        let keys = GroupMap { weight: key_weight, bias: key_bias, norm: self.keys.norm.clone() };
        Self { queries, keys, values, value_bias, decoder, decoder_bias, ..self.clone() }
    }

    /// Moves the tensors to a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let mut moved = Vec::new();
        for tensor in self.tensors() {
            moved.push(tensor.to_device(device)?);
        }
        let moved: [Tensor; 8] = moved.try_into().map_err(|_| err!(Bug, "expected eight tensors of a Lorsa"))?;
        let mut found = self.with(moved);
        for norm in [&mut found.queries.norm, &mut found.keys.norm].into_iter().flatten() {
            *norm = norm.to_device(device)?;
        }
        if let Activation::Threshold(threshold) = &mut found.activation {
            *threshold = threshold.to_device(device)?;
        }
        Ok(found)
    }

    /// Refuses tensors of shapes that do not fit together, numbers that are not finite, and an activation function that a Lorsa
    /// has not.
    pub fn check(self) -> Result<Self> {
        let heads = self.heads();
        let groups = self.groups;
        let d_in = self.d_in();
        let d_out = self.d_out();
        let wide = self.queries.bias.elem_count();
        if groups == 0 || heads == 0 || !heads.is_multiple_of(groups) || wide == 0 || !wide.is_multiple_of(groups) {
            return Err(err!(Format, "expected heads in groups of one size, found {heads} heads and {groups} groups")
                .hint("queries and keys have a part of one size for each group"));
        }
        let wanted: [&[usize]; 8] =
            [&[wide, d_in], &[wide], &[wide, d_in], &[wide], &[heads, d_in], &[heads], &[heads, d_out], &[d_out]];
        for ((name, tensor), wanted) in TENSORS.iter().zip(self.tensors()).zip(wanted) {
            checks::weight(name, tensor, wanted)?;
        }
        if self.queries.norm.is_some() != self.keys.norm.is_some() {
            return Err(err!(Format, "expected norms of queries and keys, or of neither, found one of them"));
        }
        for (name, norm) in ["query_norm", "key_norm"].iter().zip(self.norms().into_iter().flatten()) {
            checks::weight(name, norm, &[groups, wide / groups])?;
        }
        match &self.activation {
            Activation::Relu => {}
            Activation::TopK(k) if (1..=heads).contains(k) => {}
            Activation::TopK(k) => {
                return Err(err!(Format, "expected from 1 to {heads} active heads, found {k}").about("k"));
            }
            Activation::Threshold(threshold) => checks::weight("threshold", threshold, &[heads])?,
            other => {
                return Err(err!(Format, "expected the activation relu, topk or jumprelu, found {}", other.name()));
            }
        }
        if let Some(Turning { rotary, .. }) = &self.turning
            && (rotary.dims % 2 != 0 || rotary.dims > self.d_qk())
        {
            let size = self.d_qk();
            return Err(err!(
                Format,
                "expected an even number of rotated coordinates, at most {size}, found {}",
                rotary.dims
            ));
        }
        Ok(self)
    }

    /// Refuses texts of more tokens than it was fitted on, and activations of another width.
    fn check_read(&self, x: &Tensor) -> Result<()> {
        let d_in = self.d_in();
        let &[_, columns, found] = x.dims() else {
            return Err(err!(Shape, "expected activations [batch, pos, {d_in}], found {:?}", x.dims()));
        };
        if found != d_in {
            return Err(err!(Shape, "expected activations of width {d_in}, found the shape {:?}", x.dims()));
        }
        let context = self.about.context;
        if columns > context {
            return Err(err!(Argument, "expected texts of at most {context} tokens, as it was fitted on, found {columns}")
                .hint("a Lorsa's attention patterns are those of the positions that it was fitted on: fit one with a longer `context`"));
        }
        Ok(())
    }

    /// Computes queries, keys and values of what the layer reads in texts from their first token on: `[batch, pos, d_in]`.
    pub fn attended(&self, x: &Tensor, gap: Option<&Gap>) -> Result<Attended> {
        self.check_read(x)?;
        Ok(Attended {
            queries: self.mapped(&self.queries, x, gap)?,
            keys: self.mapped(&self.keys, x, gap)?,
            values: kernels::linear(x, &self.values, Some(&self.value_bias))?,
        })
    }

    /// Computes the queries or keys of all groups, behind norm and rotation.
    fn mapped(&self, map: &GroupMap, x: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
        let (rows, columns, _) = x.dims3()?;
        let y = kernels::linear(x, &map.weight, Some(&map.bias))?;
        let mut y = kernels::reshape(&y, &[rows, columns, self.groups, self.d_qk()])?;
        if let Some(norm) = &map.norm {
            let divisor = (y.sqr()?.mean_keepdim(3)? + self.norm_eps)?.sqrt()?;
            y = y.broadcast_div(&divisor)?.broadcast_mul(norm)?;
        }
        let Some(turning) = &self.turning else { return Ok(y) };
        let table = turning.table.table(columns, x.device())?;
        Ok(kernels::rotate(&y, &table, 0, gap)?)
    }

    /// Rotates queries or keys of one group at a position as the Lorsa does: `[rows, d_qk]`.
    pub fn rotated_at(&self, position: usize, rows: &Tensor) -> Result<Tensor> {
        let Some(turning) = &self.turning else { return Ok(rows.clone()) };
        let (count, size) = rows.dims2()?;
        let table = turning.table.table(position + 1, rows.device())?;
        let turned = kernels::rotate(&rows.reshape((count, 1, 1, size))?, &table, position, None)?;
        Ok(turned.reshape((count, size))?)
    }

    /// Computes the scores of a group from a position of the first text to each one up to it.
    pub fn scores_from(&self, read: &Attended, group: usize, from: usize) -> Result<Vec<f64>> {
        let of_group = |t: &Tensor, first: usize, count: usize| -> Result<Tensor> {
            Ok(t.narrow(0, 0, 1)?.narrow(1, first, count)?.narrow(2, group, 1)?.contiguous()?)
        };
        let query = of_group(&read.queries, from, 1)?;
        let keys = of_group(&read.keys, 0, from + 1)?;
        floats(&kernels::scores(&query, &keys, self.score_scale, None, &Reach::default())?.flatten_all()?)
    }

    /// Mixes values by the patterns of the groups: the codes before the choice of active heads, `[batch, pos, head]`.
    pub fn mixed(&self, read: &Attended, gap: Option<&Gap>) -> Result<Tensor> {
        let Attended { queries, keys, values } = read;
        let (rows, columns, heads) = values.dims3()?;
        let values = kernels::reshape(values, &[rows, columns, self.groups, self.group_size()])?;
        let reach = Reach { causal: true, gap, ..Reach::default() };
        let z = kernels::attention(queries, keys, &values, self.score_scale, None, &reach)?;
        Ok(kernels::reshape(&z, &[rows, columns, heads])?)
    }

    /// Computes the attention pattern of one group: `[batch, query, key]`.
    pub fn pattern(&self, read: &Attended, group: usize) -> Result<Tensor> {
        let one = |t: &Tensor| -> Result<Tensor> { Ok(t.narrow(2, group, 1)?.contiguous()?) };
        let reach = Reach { causal: true, ..Reach::default() };
        let scores = kernels::scores(&one(&read.queries)?, &one(&read.keys)?, self.score_scale, None, &reach)?;
        Ok(kernels::pattern(&scores, &reach)?.squeeze(1)?)
    }

    /// Computes what one head reads from each token, its attention there times its value: `[batch, query, key]`.
    pub fn reads(&self, read: &Attended, head: usize) -> Result<Tensor> {
        let pattern = self.pattern(read, self.group_of(head)?)?;
        let values = read.values.narrow(2, head, 1)?.squeeze(2)?.unsqueeze(1)?.contiguous()?;
        Ok(pattern.broadcast_mul(&values)?)
    }

    /// Chooses the active heads: the codes of what heads have mixed.
    pub fn chosen(&self, mixed: &Tensor) -> Result<Tensor> {
        let lengths = if self.rescaled { Some(norms(&self.decoder)?.maximum(f32::MIN_POSITIVE)?) } else { None };
        let sizes = match &lengths {
            Some(lengths) => mixed.broadcast_mul(lengths)?,
            None => mixed.clone(),
        };
        let positive = elementwise::relu(&sizes)?;
        let codes = match &self.activation {
            Activation::TopK(k) => positive.mul(&largest(&positive.detach(), *k)?)?,
            Activation::Threshold(threshold) => positive.mul(&greater(&sizes, threshold)?)?,
            _ => positive,
        };
        match &lengths {
            Some(lengths) => Ok(codes.broadcast_div(lengths)?),
            None => Ok(codes),
        }
    }

    /// Computes the codes of texts: `[batch, pos, head]`.
    pub fn encode(&self, x: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
        self.chosen(&self.mixed(&self.attended(x, gap)?, gap)?)
    }

    /// Computes what codes write: `[batch, pos, d_out]`.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        let wide = self.heads();
        let flat = kernels::reshape(codes, &[codes.elem_count() / wide, wide])?;
        let written = flat.matmul(&self.decoder)?.broadcast_add(&self.decoder_bias)?;
        let mut dims = codes.dims().to_vec();
        dims.pop();
        dims.push(self.d_out());
        Ok(kernels::reshape(&written, &dims)?)
    }

    /// Computes what it predicts that the layer writes in texts from their first token on.
    pub fn reconstruct(&self, x: &Tensor, gap: Option<&Gap>) -> Result<Tensor> {
        self.decode(&self.encode(x, gap)?)
    }
}

/// Returns 1 for the k largest numbers of each row, and 0 for the others.
fn largest(numbers: &Tensor, k: usize) -> Result<Tensor> {
    match kernels::device::mask_of_largest(numbers, k)? {
        Some(mask) => Ok(mask),
        None => Ok(kernels::largest(numbers, k)?),
    }
}
