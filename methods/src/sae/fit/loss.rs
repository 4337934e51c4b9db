//! The loss of a fit: reconstruction error, sparsity penalty, and the auxiliary loss that revives dead features.

use std::cell::OnceCell;

use super::kinds::{FitProgress, KindPass, powers, product};
use super::params::{ParamName, Params, unit_rows};
use super::plan::{Dead, ErrorNormalisation, Recipe};
use crate::base::Result;
use crate::sae::select::{greater, largest};
use crate::tensor::{DType, Tensor, elementwise, float};

/// Activations of one step, scaled.
pub struct FitBatch {
    /// `[rows, d_in]`.
    pub x: Tensor,
    /// The target, where that is not `x`: `[rows, d_out]`.
    pub target: Option<Tensor>,
}

impl FitBatch {
    pub fn target(&self) -> &Tensor {
        self.target.as_ref().unwrap_or(&self.x)
    }
}

/// The parts of the loss of a batch; each is one number with its gradient graph.
pub struct Loss {
    pub total: Tensor,
    pub error: Tensor,
    pub codes: Tensor,
    /// The residual.
    pub rest: Tensor,
    pub smallest: Option<f64>,
    /// Rows since each feature was last active, with this batch.
    pub silent: Vec<u64>,
    /// The kind's own state after this step.
    pub memory: Vec<f64>,
}

/// The state before a step.
#[derive(Debug, Clone, Copy)]
pub struct StepState<'a> {
    /// Number of steps made.
    pub step: u64,
    /// Rows since each feature was last active.
    pub silent: &'a [u64],
    pub memory: &'a [f64],
    /// The current weight of the penalty, relative to the recipe's.
    pub price: f64,
}

/// Computes the loss of a batch at a step.
pub fn loss(recipe: &Recipe, params: &Params, batch: &FitBatch, before: StepState) -> Result<Loss> {
    let StepState { step, silent, memory, price } = before;
    let kind = recipe.kind.as_ref();
    let properties = kind.properties();
    let encoder = params.get(ParamName::Encoder)?.as_tensor();
    let encoder = if properties.is_tied { unit_rows(encoder)? } else { encoder.clone() };
    let decoder = match params.maybe(ParamName::Decoder) {
        Some(decoder) => decoder.as_tensor().clone(),
        None => encoder.clone(),
    };
    let bias = params.maybe(ParamName::DecoderBias).map(|bias| bias.as_tensor());
    let x = match bias.filter(|_| properties.is_centred && batch.target.is_none()) {
        Some(bias) => batch.x.broadcast_sub(bias)?,
        None => batch.x.clone(),
    };
    let pre = recipe.compute.linear(&x, &encoder, Some(params.get(ParamName::EncoderBias)?.as_tensor()))?;
    let progress = FitProgress { step, steps: recipe.steps, memory };
    let pass = KindPass { params, x: &x, pre: &pre, decoder: &decoder, progress, counts: OnceCell::new() };
    let codes = kind.codes(&pass)?;
    let around = match params.maybe(ParamName::Skip) {
        Some(skip) => Some(kernels::linear(&batch.x, skip, None)?),
        None => None,
    };
    let finished = |found: Tensor| -> Result<Tensor> {
        let found = match bias {
            Some(bias) => found.broadcast_add(bias)?,
            None => found,
        };
        Ok(match &around {
            Some(around) => (found + around)?,
            None => found,
        })
    };
    let mut total = Tensor::zeros((), codes.dtype(), codes.device())?;
    let mut rest = None;
    for (found, weight) in kind.reconstructions(&pass, &codes)? {
        let left = (batch.target() - finished(found)?)?;
        total = (total + (counted(&left, batch.target(), recipe.counting)? * weight)?)?;
        rest = Some(left);
    }
    let rest = rest.ok_or_else(|| crate::err!(Bug, "a kind without a reconstruction"))?;
    let error = counted(&rest, batch.target(), recipe.counting)?;
    if let Some(penalty) = kind.penalty(&pass, &codes)? {
        total = (total + (penalty * (recipe.sparsity(step) * price))?)?;
    }
    if let Some(codes) = kind.auxiliary(&pass)? {
        // Through detached directions and a detached bias (Rajamanoharan et al. 2024a, equation 8).
        let mut found = codes.matmul(&decoder.detach())?;
        if let Some(bias) = bias {
            found = found.broadcast_add(&bias.detach())?;
        }
        total = (total + counted(&(batch.target() - found)?, batch.target(), recipe.counting)?)?;
    }
    let silent = since(silent, &codes.detach())?;
    if let Some(more) = of_the_dead(&pass, &rest.detach(), &silent, recipe)? {
        total = (total + more)?;
    }
    let smallest = kind.smallest(progress, &codes)?;
    let codes = codes.detach();
    let memory = kind.remembered(pass.progress, &|p| float(&powers(&codes, p)?))?;
    Ok(Loss { total, error, codes, rest: rest.detach(), smallest, silent, memory })
}

/// Counts the rows since each feature was last active, after a batch.
pub(super) fn since(before: &[u64], codes: &Tensor) -> Result<Vec<u64>> {
    let rows = codes.dims()[0] as u64;
    let fired = codes.ne(0.0)?.to_dtype(DType::F32)?.max(0)?.to_vec1::<f32>()?;
    Ok(before.iter().zip(fired).map(|(silent, fired)| if fired > 0.0 { 0 } else { silent + rows }).collect())
}

/// Computes the reconstruction error, as the recipe counts it.
pub fn counted(rest: &Tensor, target: &Tensor, counting: ErrorNormalisation) -> Result<Tensor> {
    let sum = rest.sqr()?.sum_all()?;
    let (rows, width) = rest.dims2()?;
    Ok(match counting {
        ErrorNormalisation::Mean => (sum / (rows * width) as f64)?,
        ErrorNormalisation::Sum => (sum / rows as f64)?,
        ErrorNormalisation::Normalised => sum.div(&variance(target)?)?,
    })
}

/// Computes the sum of squares about the mean of the rows.
fn variance(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.detach();
    Ok(rows.broadcast_sub(&rows.mean_keepdim(0)?)?.sqr()?.sum_all()?)
}

/// Computes the AuxK loss with its weight, where that is wanted and features are dead: the error of the k largest dead
/// features of a row on the residual of the living ones, relative to the variance of that residual (Gao et al. 2024,
/// section A.2, whose code scales both by the variance of their own targets).
pub(super) fn of_the_dead(pass: &KindPass, rest: &Tensor, silent: &[u64], recipe: &Recipe) -> Result<Option<Tensor>> {
    let count = silent.iter().filter(|rows| **rows >= recipe.dead_after).count();
    let Dead::AuxK(auxk) = recipe.dead else { return Ok(None) };
    let k = auxk.of_row(count);
    if k == 0 {
        return Ok(None);
    }
    let dead: Vec<f32> = silent.iter().map(|rows| f32::from(u8::from(*rows >= recipe.dead_after))).collect();
    let dead = Tensor::new(dead, pass.pre.device())?.to_dtype(pass.pre.dtype())?;
    let codes = elementwise::relu(pass.pre)?.broadcast_mul(&dead)?;
    // The living ones have -1, so that an inactive dead one comes before them.
    let sizes = codes.detach().broadcast_add(&(dead - 1.0)?)?;
    let codes = largest(&codes, &sizes, k)?;
    let error = (rest - product(&codes, pass.decoder, Some(k))?)?.sqr()?.sum_all()?;
    let whole = variance(rest)?;
    let some = greater(&whole, &whole.zeros_like()?)?;
    // No loss where the residual has no variance.
    Ok(Some((error.mul(&some)?.div(&(whole + (some.neg()? + 1.0)?)?)? * auxk.weight)?))
}
