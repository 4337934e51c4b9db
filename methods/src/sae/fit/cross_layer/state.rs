//! Steps of a cross-layer transcoder, which has a state for each layer. Rows of a decoder have what a feature writes to
//! its own and to all later layers, concatenated; the decoder bias of all layers is among the weights of the first.

use rand::Rng;

use super::batch::LayerStep;
use super::plain::plain_loss;
use crate::common::*;
use crate::sae::fit::fused::{self, FusedGradients};
use crate::sae::fit::history::FitStep;
use crate::sae::fit::loss::FitBatch;
use crate::sae::fit::median::geometric_median;
use crate::sae::fit::params::{DictionaryShape, ParamName, Params};
use crate::sae::fit::plan::Recipe;
use crate::sae::fit::state::FitState;
use crate::tensor::float;

/// Draws initial weights, in each layer those of a dictionary.
pub fn draw(
    recipe: &Recipe,
    shapes: &[DictionaryShape],
    random: &mut impl Rng,
    device: &Device,
) -> Result<Vec<FitState>> {
    let layer = |(layer, shape): (usize, &DictionaryShape)| {
        let mut params = Params::draw(recipe, *shape, random, device)?;
        if layer > 0 {
            params.all.retain(|parameter| parameter.name != ParamName::DecoderBias);
        }
        Ok(FitState::new(params, shape.d_sae))
    };
    shapes.iter().enumerate().map(layer).collect()
}

/// Initialises a fit from its first rows.
pub fn start(layers: &mut [FitState], first: &[FitBatch], recipe: &Recipe, task: &Task) -> Result<()> {
    let targets: Vec<&Tensor> = first.iter().map(FitBatch::target).collect();
    bias(layers)?.set(&geometric_median(&Tensor::cat(&targets, 1)?, task)?)?;
    let properties = recipe.kind.properties();
    let Some(target) = properties.target.filter(|_| properties.starts_sparse) else { return Ok(()) };
    for (state, batch) in layers.iter_mut().zip(first) {
        task.check()?;
        state.start_sparse(batch, recipe, target)?;
    }
    Ok(())
}

/// Returns the decoder bias of all layers.
pub fn bias(layers: &[FitState]) -> Result<&candle_core::Var> {
    let first = layers.first().ok_or_else(|| err!(Bug, "a cross-layer transcoder without layers"))?;
    first.params.get(ParamName::DecoderBias)
}

/// Makes one step, by the fused loops where codes are sparse. A step that fails changes nothing.
pub fn advance(layers: &mut [FitState], batch: &[FitBatch], recipe: &Recipe) -> Result<FitStep> {
    match advance_fused(layers, batch, recipe, fused::MOST)? {
        Some(found) => Ok(found),
        None => advance_plain(layers, batch, recipe),
    }
}

/// Makes one step by the fused loops; None where it is left to the reference implementation. `most`: the maximum
/// share of codes above 0.
pub fn advance_fused(
    layers: &mut [FitState],
    batch: &[FitBatch],
    recipe: &Recipe,
    most: f64,
) -> Result<Option<FitStep>> {
    let mut rooms: Vec<FusedGradients> = layers.iter_mut().map(|layer| std::mem::take(&mut layer.room)).collect();
    let before: Vec<_> = layers.iter().map(|layer| (&layer.params, layer.before())).collect();
    let computed = fused::cross_layer::compute(&before, batch, recipe, most, &mut rooms)?;
    if let Some(computed) = &computed
        && let Some(first) = layers.first()
    {
        first.refuse_unless_finite(computed.total, computed.norm)?;
        for (layer, room) in layers.iter().zip(&rooms) {
            layer.update_fused(room, computed.norm, recipe)?;
        }
    }
    layers.iter_mut().zip(rooms).for_each(|(layer, room)| layer.room = room);
    let Some(computed) = computed else { return Ok(None) };
    finish(layers, recipe, [computed.total, computed.error], computed.layers).map(Some)
}

/// Makes one step in candle's operations.
pub fn advance_plain(layers: &mut [FitState], batch: &[FitBatch], recipe: &Recipe) -> Result<FitStep> {
    let found = plain_loss(layers, batch, recipe)?;
    let total = float(&found.total)?;
    let mut store = found.total.backward()?;
    let gradients = layers.iter().map(|layer| layer.gradients(&mut |p| store.remove(&p.weight), recipe));
    let gradients = gradients.collect::<Result<Vec<_>>>()?;
    let norm = kernels::global_norm(gradients.iter().flatten().flatten())?;
    for (layer, gradients) in layers.iter().zip(&gradients) {
        layer.refuse_unless_finite(total, norm)?;
        layer.update_plain(gradients, norm, recipe)?;
    }
    finish(layers, recipe, [total, found.error], found.layers)
}

/// Ends a step: the means over layers of FVE, and the sums of codes and of dead features.
fn finish(layers: &mut [FitState], recipe: &Recipe, [loss, error]: [f64; 2], made: Vec<LayerStep>) -> Result<FitStep> {
    let fves: Vec<f64> = made.iter().filter_map(|layer| layer.fve).collect();
    let fve = fves.iter().sum::<f64>() / fves.len() as f64;
    let mut step = FitStep { loss, error, l0: 0.0, fve, dead: 0 };
    for (state, layer) in layers.iter_mut().zip(made) {
        step.l0 += layer.l0;
        step.dead += state.finish(recipe, layer.silent, layer.smallest, layer.l0)?;
    }
    Ok(step)
}
