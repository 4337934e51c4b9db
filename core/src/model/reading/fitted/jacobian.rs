//! Fitting a Jacobian lens: backward passes with one-hot gradients at all positions at once.
//!
//! J_l is the mean over prompts of (1 / |V|) sum over t in V of sum over t' in V, t' >= t, of d h_final(t') / d h_l(t),
//! where h_l is the output of layer l, h_final that of the last one, before the final norm, and V all positions but the
//! first ones and the last. A gradient of 1 in one dimension of h_final at every t' in V gives sum over t' of that row of
//! the Jacobians at once, and t' < t contributes nothing in a causal model. So d_model gradients are enough for the
//! matrices of all layers. They are taken from copies of the prompt in one batch, whose forward pass is computed once.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Var;
use kernels::TapedTensor;

use super::prompts::{cut, layers};
use super::{AffineMap, FittedLens, LensKind};
use crate::base::{Kind, Result, Task, memory};
use crate::err;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits, Pass};
use crate::model::hooks::{At, Hooks};
use crate::model::site::{Site, SiteKind};
use crate::tensor::{DType, Tensor};

crate::options! {
    /// Options of fitting a Jacobian lens.
    pub struct JacobianLensOptions {
        /// Maximum number of tokens of a prompt.
        context: usize = 128 => at_least(2.0);
        /// Number of positions at the beginning of each prompt that are left out.
        skip_first: usize = 16;
        /// Maximum number of prompts.
        prompts: usize = 100 => at_least(1.0);
        /// The layers whose output is read.
        layers: Option<Vec<usize>> = None => usually("all but the last");
    }
}

/// Tokens in a batch of copies of one prompt.
const TOKENS: usize = 2048;

/// Numbers that a layer keeps for its backward pass, in widths of the residual stream for each token; an estimate.
const KEPT: usize = 24;

/// Fits a lens to a model by prompts. An interruption after the first prompt ends the fit, and the lens is the mean over
/// the prompts so far.
pub fn fit_jacobian(
    model: &Arc<Decoder>,
    prompts: &[Vec<u32>],
    options: &JacobianLensOptions,
    task: &Task,
) -> Result<FittedLens> {
    if !model.config().causal {
        return Err(
            err!(Argument, "expected a causal model for a Jacobian lens, found one that sees both ways").about("m")
        );
    }
    let layers = layers(model.config(), options.layers.as_deref())?;
    let prompts = long_enough(cut(prompts, model.config(), options.context, options.prompts)?, options.skip_first)?;
    let d = model.config().d_model;
    let passes: usize = prompts.iter().map(|ids| d.div_ceil(copies(ids.len(), d))).sum();
    let bar = task.begin("fitting a Jacobian lens", Some(passes as u64));
    let mut sums: Option<Vec<Tensor>> = None;
    let piece = task.piece();
    let mut count = 0;
    for ids in &prompts {
        let work = || of_prompt(model, ids, options.skip_first, &layers, &mut || bar.advance(1), task);
        let found = match piece.check(count as u64).and_then(|()| work()) {
            Err(error) if error.kind == Kind::Interrupted && count > 0 => {
                piece.answer(count as u64);
                break;
            }
            found => found?,
        };
        sums = Some(match sums {
            None => found,
            Some(sums) => {
                sums.iter().zip(&found).map(|(sum, more)| Ok((sum + more)?)).collect::<Result<Vec<Tensor>>>()?
            }
        });
        count += 1;
        bar.note(&format!("{count} of {} prompts", prompts.len()));
    }
    let means = sums.into_iter().flatten().map(|sum| Ok((sum / count as f64)?)).collect::<Result<Vec<_>>>()?;
    let map = |(layer, matrix)| (layer, AffineMap { matrix, bias: None });
    FittedLens::new(LensKind::Jacobian, layers.into_iter().zip(means).map(map).collect(), count)
}

/// Refuses prompts of which no position would be left.
fn long_enough(prompts: Vec<&[u32]>, skipped: usize) -> Result<Vec<&[u32]>> {
    let least = skipped + 2;
    let short = prompts.iter().enumerate().find(|(_, ids)| ids.len() < least);
    if let Some((number, ids)) = short {
        return Err(err!(Argument, "expected at least {least} tokens, found {} in prompt {number}", ids.len())
            .hint(format!("the first {skipped} and the last are left out: choose a smaller `skip_first`"))
            .about("text"));
    }
    Ok(prompts)
}

/// Returns the number of copies of a prompt in a batch.
fn copies(length: usize, d_model: usize) -> usize {
    (TOKENS / length).clamp(1, d_model)
}

/// Computes the matrices of one prompt.
fn of_prompt(
    model: &Arc<Decoder>,
    ids: &[u32],
    skip: usize,
    layers: &[usize],
    done: &mut dyn FnMut(),
    task: &Task,
) -> Result<Vec<Tensor>> {
    let d = model.config().d_model;
    let valid = skip..ids.len() - 1;
    let copies = copies(ids.len(), d);
    let tokens = (copies * ids.len()) as u128;
    let bytes = tokens * (model.config().layers * KEPT * d * model.dtype().size_in_bytes()) as u128;
    memory::check(bytes, || "the activations of a prompt's copies".into())?;
    let run = Arc::new({
        let model = model.clone();
        let batch = Batch::new(vec![ids.to_vec(); copies])?;
        let layers = layers.to_vec();
        let within = task.clone();
        task.apart(move || Streams::of(&model, &batch, &layers, &within))?
    });
    let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); layers.len()];
    for start in (0..d).step_by(copies) {
        let run = run.clone();
        let valid = valid.clone();
        let dimensions = start..(start + copies).min(d);
        let found = task.apart(move || run.rows(dimensions, valid))?;
        rows.iter_mut().zip(found).for_each(|(rows, more)| rows.push(more));
        done();
    }
    rows.iter().map(|rows| -> Result<Tensor> { Ok(Tensor::cat(rows, 0)?) }).collect()
}

/// A forward pass from whose last residual stream gradients are taken.
struct Streams {
    /// The output of the last layer, `[copies, pos, d_model]`.
    last: TapedTensor,
    /// Variable of zeros that was added to the output of each layer: its gradient is that of the residual stream.
    variables: Vec<Var>,
}

impl Streams {
    fn of(model: &Decoder, batch: &Batch, layers: &[usize], task: &Task) -> Result<Self> {
        let last = Site::new(SiteKind::ResidPost, model.config().layers - 1);
        let mut hooked = StreamHooks { layers, last, variables: Vec::new(), found: None };
        let last = TapedTensor::of_tensor(|| -> Result<Tensor> {
            model.forward(batch, Pass { hooks: &mut hooked, past: None, logits: Logits::Last, task })?;
            hooked.found.take().ok_or_else(|| err!(Bug, "a pass that did not come to the last layer"))
        })?;
        Ok(Self { last, variables: hooked.variables })
    }

    /// Computes some rows of each layer's matrix: `[dimensions, d_model]`.
    fn rows(&self, dimensions: Range<usize>, valid: Range<usize>) -> Result<Vec<Tensor>> {
        let last = self.last.result();
        let (copies, width, d) = last.dims3()?;
        let mut ones = vec![0.0_f32; copies * width * d];
        for (copy, dimension) in dimensions.clone().enumerate() {
            for column in valid.clone() {
                ones[(copy * width + column) * d + dimension] = 1.0;
            }
        }
        let ones = Tensor::from_vec(ones, (copies, width, d), last.device())?.to_dtype(last.dtype())?;
        let gradients = self.last.pulled_back(&ones)?;
        let each = self.variables.iter().map(|variable| {
            let gradient =
                gradients.get(variable).ok_or_else(|| err!(Bug, "a layer that the last one does not read"))?;
            let part = gradient.narrow(0, 0, dimensions.len())?.narrow(1, valid.start, valid.len())?;
            Ok(part.to_dtype(DType::F32)?.mean(1)?)
        });
        each.collect()
    }
}

/// Hooks that add a variable of zeros to the output of each layer that is read, and end the pass with the last layer.
struct StreamHooks<'a> {
    layers: &'a [usize],
    last: Site,
    variables: Vec<Var>,
    found: Option<Tensor>,
}

impl Hooks for StreamHooks<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.last || (site.kind == SiteKind::ResidPost && self.layers.contains(&site.layer))
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        if at.site == self.last {
            self.found = Some(x.clone());
            return Ok(None);
        }
        let variable = Var::zeros(x.shape(), x.dtype(), x.device())?;
        let probed = kernels::add(x, variable.as_tensor())?;
        self.variables.push(variable);
        Ok(Some(probed))
    }

    fn last(&self) -> Option<Site> {
        Some(self.last)
    }
}
