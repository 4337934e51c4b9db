//! A step on a GPU where codes are the largest of a row or of a batch: one dense product, and everything after it
//! sparse, as in the fused loops of the CPU. It equals the reference implementation in candle's operations up to
//! rounding.

use kernels::device::rows::{SparseRows, add_to_rows, has};

use super::fused::FusedResult;
use super::kinds::{CodeChoice, FitProgress};
use super::loss::{FitBatch, StepState};
use super::params::{ParamName, Params};
use super::plan::{Dead, Recipe};
use crate::base::Result;
use crate::tensor::{DType, Tensor, float};

/// The gradients of a dictionary's weights, by their names.
pub type NamedGradients = Vec<(ParamName, Tensor)>;

/// Computes the loss of a batch and its gradients; None where this is left to the reference implementation.
pub fn compute(
    params: &Params,
    before: StepState,
    batch: &FitBatch,
    recipe: &Recipe,
) -> Result<Option<(FusedResult, NamedGradients)>> {
    let progress = FitProgress { step: before.step, steps: recipe.steps, memory: before.memory };
    let kind = recipe.kind.as_ref();
    let (k, of_all) = match kind.choice(progress) {
        Some(CodeChoice::LargestOfRows(k)) => (k, false),
        Some(CodeChoice::LargestOfAll(k)) => (k, true),
        _ => return Ok(None),
    };
    let properties = kind.properties();
    let has_own_decoder = !properties.is_tied && properties.nested.is_empty();
    let Some(decoder) = params.maybe(ParamName::Decoder).filter(|_| has_own_decoder) else { return Ok(None) };
    let encoder = params.get(ParamName::Encoder)?;
    if !has(&[encoder, decoder, &batch.x, batch.target()]) {
        return Ok(None);
    }
    let detached = |name| params.maybe(name).map(|weight| weight.as_detached_tensor());
    let encoder = encoder.as_detached_tensor();
    let decoder = decoder.as_detached_tensor();
    let bias = detached(ParamName::DecoderBias);
    let skip = detached(ParamName::Skip);
    let of_encoder = params.get(ParamName::EncoderBias)?.as_detached_tensor();
    let is_centred = properties.is_centred && batch.target.is_none();
    let x = match bias.as_ref().filter(|_| is_centred) {
        Some(bias) => batch.x.broadcast_sub(bias)?,
        None => batch.x.contiguous()?,
    };
    let rows = x.dims()[0];
    let codes = if of_all {
        SparseRows::largest_of_all(&x.matmul(&encoder.t()?)?, Some(&of_encoder), k * rows)?
    } else {
        SparseRows::largest_of_product(&x, &encoder, &of_encoder, k)?
    };
    let mut found = codes.times(&decoder)?;
    if let Some(bias) = &bias {
        found = found.broadcast_add(bias)?;
    }
    if let Some(skip) = &skip {
        found = (found + batch.x.matmul(&skip.t()?)?)?;
    }
    let rest = (batch.target() - found)?;
    let squares = squares(&rest)?;
    let spread = spread(batch.target())?;
    let weight = recipe.counting.weight(rows, rest.dims()[1], spread);
    let slope = (&rest * (-2.0 * weight))?;
    let mut part = CodeGradients::of(&codes, &slope, &x, &decoder)?;
    let since = |(silent, fired): (&u64, &u32)| if *fired > 0 { 0 } else { silent + rows as u64 };
    let silent: Vec<u64> = before.silent.iter().zip(&part.counts).map(since).collect();
    let mut total = squares * weight;
    if let Dead::AuxK(auxk) = recipe.dead {
        let dead = |(_, rows): &(u32, &u64)| **rows >= recipe.dead_after;
        let dead: Vec<u32> = (0..).zip(&silent).filter(dead).map(|(feature, _)| feature).collect();
        let k = auxk.of_row(dead.len());
        if k > 0 {
            total += part.add_dead(dead, &rest, &x, [&encoder, &of_encoder, &decoder], k, auxk.weight)?;
        }
    }
    let values = codes.values.to_vec1::<f32>()?;
    let fired = || values.iter().copied().filter(|code| *code > 0.0);
    let powers = |p: f64| Ok(fired().map(|code| f64::from(code).powf(p)).sum::<f64>() / rows as f64);
    let mut gradients = vec![(ParamName::Encoder, part.encoder), (ParamName::Decoder, part.decoder)];
    if bias.is_some() {
        let mut of_bias = sum_of_rows(&slope)?;
        if is_centred {
            let through_codes = part.encoder_bias.unsqueeze(0)?.matmul(&encoder)?.squeeze(0)?;
            of_bias = (of_bias - through_codes)?;
        }
        gradients.push((ParamName::DecoderBias, of_bias));
    }
    if skip.is_some() {
        gradients.push((ParamName::Skip, slope.t()?.matmul(&batch.x)?));
    }
    gradients.push((ParamName::EncoderBias, part.encoder_bias));
    let smallest = of_all.then(|| fired().reduce(f32::min).map_or(0.0, f64::from));
    let computed = FusedResult {
        total,
        error: squares * weight,
        l0: fired().count() as f64 / rows as f64,
        fve: 1.0 - squares / spread,
        silent,
        smallest,
        memory: kind.remembered(progress, &powers)?,
    };
    Ok(Some((computed, gradients)))
}

/// Gradients of the weights by the codes, and the number of rows in which each feature is active.
struct CodeGradients {
    encoder: Tensor,
    encoder_bias: Tensor,
    decoder: Tensor,
    counts: Vec<u32>,
}

impl CodeGradients {
    /// Computes the gradients of the encoder and the decoder. `slope`: the gradient of what the codes write.
    fn of(codes: &SparseRows, slope: &Tensor, x: &Tensor, decoder: &Tensor) -> Result<Self> {
        let by_column = codes.by_column()?;
        let slopes = codes.slopes(slope, decoder)?;
        Ok(Self {
            encoder: by_column.sums(&slopes, x)?,
            encoder_bias: by_column.totals(&slopes)?,
            decoder: by_column.sums(&codes.values, slope)?,
            counts: by_column.counts()?,
        })
    }

    /// Adds the gradients of the AuxK loss, as `of_the_dead` has it, and returns that loss.
    fn add_dead(
        &mut self,
        dead: Vec<u32>,
        rest: &Tensor,
        x: &Tensor,
        weights: [&Tensor; 3],
        k: usize,
        weight: f64,
    ) -> Result<f64> {
        let spread = spread(rest)?;
        if spread <= 0.0 {
            return Ok(0.0);
        }
        let dead = Tensor::new(dead, x.device())?;
        let [encoder, bias, decoder] = weights.map(|weight| weight.index_select(&dead, 0));
        let encoder = encoder?;
        let bias = bias?;
        let decoder = decoder?;
        let codes = SparseRows::largest_of_product(x, &encoder, &bias, k)?;
        let left = (codes.times(&decoder)? - rest)?;
        let loss = weight * squares(&left)? / spread;
        let part = Self::of(&codes, &(left * (2.0 * weight / spread))?, x, &decoder)?;
        add_to_rows(&self.encoder, &dead, &part.encoder)?;
        add_to_rows(&self.encoder_bias, &dead, &part.encoder_bias.unsqueeze(1)?)?;
        add_to_rows(&self.decoder, &dead, &part.decoder)?;
        Ok(loss)
    }
}

/// Computes the sum of squares; first by rows, since candle sums a whole tensor in one block of threads.
fn squares(rows: &Tensor) -> Result<f64> {
    float(&rows.sqr()?.sum(1)?.to_dtype(DType::F64)?.sum_all()?)
}

/// Computes the sum of squares about the mean of the rows.
fn spread(rows: &Tensor) -> Result<f64> {
    squares(&rows.broadcast_sub(&mean(rows)?)?)
}

/// Computes the mean of the rows: `[width]`.
fn mean(rows: &Tensor) -> Result<Tensor> {
    Ok((sum_of_rows(rows)? / rows.dims()[0] as f64)?)
}

/// Sums the rows, as a product: candle's own sum reads columns one number at a time.
fn sum_of_rows(rows: &Tensor) -> Result<Tensor> {
    Ok(Tensor::ones((1, rows.dims()[0]), rows.dtype(), rows.device())?.matmul(rows)?.squeeze(0)?)
}
