//! A cross-layer transcoder between two steps: the weights and the activity of the features of each layer.

use rand::Rng;

use super::batch::LayerStep;
use super::plain::plain_loss;
use crate::base::{Result, Task};
use crate::err;
use crate::sae::fit::fused::{self, FusedGradients};
use crate::sae::fit::history::FitStep;
use crate::sae::fit::loss::{FitBatch, number};
use crate::sae::fit::median::geometric_median;
use crate::sae::fit::params::{DictionaryShape, ParamName, Params};
use crate::sae::fit::plan::Recipe;
use crate::sae::fit::state::FitState;
use crate::tensor::{Device, Tensor};

/// One state for each layer. Rows of a decoder have what a feature writes to its own and to all later layers,
/// concatenated; the decoder bias of all layers is among the weights of the first.
pub struct CrossLayerState {
    pub layers: Vec<FitState>,
}

impl CrossLayerState {
    /// Draws initial weights, in each layer those of a dictionary.
    pub fn draw(recipe: &Recipe, shapes: &[DictionaryShape], random: &mut impl Rng, device: &Device) -> Result<Self> {
        let layer = |(layer, shape): (usize, &DictionaryShape)| {
            let mut params = Params::draw(recipe, *shape, random, device)?;
            if layer > 0 {
                params.all.retain(|parameter| parameter.name != ParamName::DecoderBias);
            }
            Ok(FitState::new(params, shape.d_sae))
        };
        Ok(Self { layers: shapes.iter().enumerate().map(layer).collect::<Result<_>>()? })
    }

    /// Initialises a fit from its first rows.
    pub fn start(&mut self, first: &[FitBatch], recipe: &Recipe, task: &Task) -> Result<()> {
        let targets: Vec<&Tensor> = first.iter().map(FitBatch::target).collect();
        self.bias()?.set(&geometric_median(&Tensor::cat(&targets, 1)?, task)?)?;
        let properties = recipe.kind.properties();
        let Some(target) = properties.target.filter(|_| properties.starts_sparse) else { return Ok(()) };
        for (state, batch) in self.layers.iter_mut().zip(first) {
            task.check()?;
            state.start_sparse(batch, recipe, target)?;
        }
        Ok(())
    }

    /// Returns the decoder bias of all layers.
    pub fn bias(&self) -> Result<&candle_core::Var> {
        let first = self.layers.first().ok_or_else(|| err!(Bug, "a cross-layer transcoder without layers"))?;
        first.params.get(ParamName::DecoderBias)
    }

    /// Returns the number of steps made.
    pub fn step(&self) -> u64 {
        self.layers.first().map_or(0, |layer| layer.step)
    }

    /// Makes one step, by the fused loops where codes are sparse. A step that fails changes nothing.
    pub fn advance(&mut self, batch: &[FitBatch], recipe: &Recipe) -> Result<FitStep> {
        match self.advance_fused(batch, recipe, fused::MOST)? {
            Some(found) => Ok(found),
            None => self.advance_plain(batch, recipe),
        }
    }

    /// Makes one step by the fused loops; None where it is left to the reference implementation. `most`: the maximum
    /// share of codes above 0.
    pub fn advance_fused(&mut self, batch: &[FitBatch], recipe: &Recipe, most: f64) -> Result<Option<FitStep>> {
        let mut rooms: Vec<FusedGradients> =
            self.layers.iter_mut().map(|layer| std::mem::take(&mut layer.room)).collect();
        let before: Vec<_> = self.layers.iter().map(|layer| (&layer.params, layer.before())).collect();
        let computed = fused::cross_layer::compute(&before, batch, recipe, most, &mut rooms)?;
        if let Some(computed) = &computed
            && let Some(first) = self.layers.first()
        {
            first.refuse_unless_finite(computed.total, computed.norm)?;
            for (layer, room) in self.layers.iter().zip(&rooms) {
                layer.update_fused(room, computed.norm, recipe)?;
            }
        }
        self.layers.iter_mut().zip(rooms).for_each(|(layer, room)| layer.room = room);
        let Some(computed) = computed else { return Ok(None) };
        self.finish(recipe, computed.total, computed.error, computed.layers).map(Some)
    }

    /// Makes one step in candle's operations.
    pub fn advance_plain(&mut self, batch: &[FitBatch], recipe: &Recipe) -> Result<FitStep> {
        let found = plain_loss(&self.layers, batch, recipe)?;
        let total = number(&found.total)?;
        let mut store = found.total.backward()?;
        let gradients = self
            .layers
            .iter()
            .map(|layer| layer.gradients(&mut |p| store.remove(&p.weight), recipe))
            .collect::<Result<Vec<_>>>()?;
        let norm = kernels::global_norm(gradients.iter().flatten().flatten())?;
        for (layer, gradients) in self.layers.iter().zip(&gradients) {
            layer.refuse_unless_finite(total, norm)?;
            layer.update_plain(gradients, norm, recipe)?;
        }
        self.finish(recipe, total, found.error, found.layers)
    }

    /// Ends a step: the means over layers of FVE, and the sums of codes and of dead features.
    fn finish(&mut self, recipe: &Recipe, loss: f64, error: f64, layers: Vec<LayerStep>) -> Result<FitStep> {
        let fves: Vec<f64> = layers.iter().filter_map(|layer| layer.fve).collect();
        let fve = fves.iter().sum::<f64>() / fves.len() as f64;
        let mut step = FitStep { loss, error, l0: 0.0, fve, dead: 0 };
        for (state, layer) in self.layers.iter_mut().zip(layers) {
            step.l0 += layer.l0;
            step.dead += state.finish(recipe, layer.silent, layer.smallest, layer.l0)?;
        }
        Ok(step)
    }
}
