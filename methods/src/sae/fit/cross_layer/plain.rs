//! The reference implementation of the step in candle's operations, with dense products, which the fused step must
//! agree with.

use std::cell::OnceCell;

use super::batch::{LayerStep, explained, layer_weights, of_layer, spread_of};
use crate::common::*;
use crate::sae::fit::kinds::{FitProgress, KindPass};
use crate::sae::fit::loss::{FitBatch, of_the_dead, since};
use crate::sae::fit::params::ParamName;
use crate::sae::fit::plan::Recipe;
use crate::sae::fit::state::FitState;
use crate::tensor::float;

/// The loss of a batch, with its gradient graph.
pub struct CrossLayerLoss {
    pub total: Tensor,
    pub error: f64,
    pub layers: Vec<LayerStep>,
}

/// Computes the loss: the sum over layers of the reconstruction error of what is written there, and over those that
/// read of the penalty and of the AuxK loss, in which dead features reconstruct what is left of the layers that they
/// write, each weighted as in the error.
pub fn plain_loss(states: &[FitState], batch: &[FitBatch], recipe: &Recipe) -> Result<CrossLayerLoss> {
    let kind = recipe.kind.as_ref();
    let mut pre = Vec::new();
    let mut decoders = Vec::new();
    for (layer, FitBatch { x, .. }) in states.iter().zip(batch) {
        let bias = layer.params.get(ParamName::EncoderBias)?.as_tensor();
        pre.push(recipe.compute.linear(x, layer.params.get(ParamName::Encoder)?.as_tensor(), Some(bias))?);
        decoders.push(layer.params.get(ParamName::Decoder)?.as_tensor().clone());
    }
    let read = batch.iter().zip(pre.iter().zip(&decoders));
    let passes = states.iter().zip(read).map(|(layer, (FitBatch { x, .. }, (pre, decoder)))| {
        let progress = FitProgress { step: layer.step, steps: recipe.steps, memory: &layer.memory };
        KindPass { params: &layer.params, x, pre, decoder, progress, counts: OnceCell::new() }
    });
    let passes: Vec<KindPass> = passes.collect();
    let codes = passes.iter().map(|pass| kind.codes(pass)).collect::<Result<Vec<_>>>()?;
    let first = states.first().ok_or_else(|| err!(Bug, "a cross-layer transcoder without layers"))?;
    let bias = first.params.get(ParamName::DecoderBias)?.as_tensor();
    let left = left(&codes, &decoders, bias, batch)?;
    let mut total = Tensor::zeros((), bias.dtype(), bias.device())?;
    let mut counts = Vec::new();
    let mut fves = Vec::new();
    for (left, target) in left.iter().zip(batch.iter().map(FitBatch::target)) {
        let (rows, width) = target.dims2()?;
        let spread = spread_of(target)?;
        let squares = left.sqr()?.sum_all()?;
        fves.push(explained(float(&squares)?, spread));
        counts.push(of_layer(recipe, rows, width, spread));
        total = (total + (squares * of_layer(recipe, rows, width, spread))?)?;
    }
    let error = float(&total)?;
    let (weights, _) = layer_weights(&counts);
    let weighted = left.iter().zip(weights).map(|(left, weight)| Ok((left.detach() * weight)?));
    let rest = Tensor::cat(&weighted.collect::<Result<Vec<_>>>()?, 1)?;
    let mut layers = Vec::new();
    for ((state, fve), (pass, codes)) in states.iter().zip(fves).zip(passes.iter().zip(&codes)) {
        if let Some(penalty) = kind.penalty(pass, codes)? {
            total = (total + (penalty * (recipe.sparsity(state.step) * state.price.factor()))?)?;
        }
        let silent = since(&state.silent, &codes.detach())?;
        let width = pass.decoder.dims()[1];
        let of_written = rest.narrow(1, rest.dims()[1] - width, width)?;
        if let Some(more) = of_the_dead(pass, &of_written, &silent, recipe)? {
            total = (total + more)?;
        }
        let fired = float(&codes.ne(0.0)?.to_dtype(DType::F32)?.sum_all()?)?;
        layers.push(LayerStep {
            l0: fired / codes.dims()[0] as f64,
            fve,
            silent,
            smallest: kind.smallest(pass.progress, codes)?,
        });
    }
    Ok(CrossLayerLoss { total, error, layers })
}

/// Computes what is left of each layer's target.
fn left(codes: &[Tensor], decoders: &[Tensor], bias: &Tensor, batch: &[FitBatch]) -> Result<Vec<Tensor>> {
    let mut all = Vec::new();
    let mut start = 0;
    for (written, target) in batch.iter().map(FitBatch::target).enumerate() {
        let width = target.dims2()?.1;
        let mut found = bias.narrow(0, start, width)?.broadcast_as(target.dims())?.contiguous()?;
        for (codes, decoder) in codes.iter().zip(decoders).take(written + 1) {
            // A decoder's rows end with the last layer.
            let from = start + decoder.dims()[1] - bias.dims()[0];
            found = (found + codes.matmul(&decoder.narrow(1, from, width)?.contiguous()?)?)?;
        }
        all.push((target - found)?);
        start += width;
    }
    Ok(all)
}
