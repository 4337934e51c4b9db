//! The state of a fit between two steps: weights, activity of features, and the running threshold.

use kernels::{device, sparse};

use super::coefficient::{self, Price};
use super::fused::{self, FusedGradients, FusedResult};
use super::history::FitStep;
use super::loss::{FitBatch, Loss, StepState, loss};
use super::params::{ParamName, Params, unit_rows};
use super::plan::{ErrorNormalisation, Recipe};
use crate::common::*;
use crate::tensor::float;
use crate::training::Parameter;

pub struct FitState {
    pub step: u64,
    pub params: Params,
    /// Rows since each feature was last active.
    pub silent: Vec<u64>,
    pub threshold: Option<f64>,
    /// The kind's own state.
    pub memory: Vec<f64>,
    /// The weight of the penalty, relative to the recipe's.
    pub price: Price,
    /// Memory that each step reuses.
    pub(super) room: FusedGradients,
}

impl FitState {
    pub fn new(params: Params, d_sae: usize) -> Self {
        let silent = vec![0; d_sae];
        let room = FusedGradients::default();
        Self { step: 0, params, silent, threshold: None, memory: Vec::new(), price: Price::default(), room }
    }

    /// Makes one step, by the fused loops or the kernels of a device where they support the kind. A step that fails
    /// changes nothing.
    pub fn advance(&mut self, batch: &FitBatch, recipe: &Recipe) -> Result<FitStep> {
        let found = self.advance_fused(batch, recipe, fused::MOST)?;
        #[cfg(feature = "cuda")]
        let found = match found {
            Some(found) => Some(found),
            None => self.advance_on_device(batch, recipe)?,
        };
        let found = match found {
            Some(found) => found,
            None => self.advance_plain(batch, recipe)?,
        };
        if recipe.dead.resamples(self.step) {
            self.resample(batch, recipe)?;
        }
        Ok(found)
    }

    /// Computes the loss of a batch in candle's operations, and all that belongs to it.
    pub fn loss(&self, batch: &FitBatch, recipe: &Recipe) -> Result<Loss> {
        loss(recipe, &self.params, batch, self.before())
    }

    pub(super) fn before(&self) -> StepState<'_> {
        StepState { step: self.step, silent: &self.silent, memory: &self.memory, price: self.price.factor() }
    }

    /// Makes one step by the fused loops; None where it is left to the reference implementation. `most`: the maximum
    /// share of codes above 0.
    pub fn advance_fused(&mut self, batch: &FitBatch, recipe: &Recipe, most: f64) -> Result<Option<FitStep>> {
        let mut room = std::mem::take(&mut self.room);
        let computed = fused::compute(&self.params, self.before(), batch, recipe, most, &mut room)?;
        if let Some((computed, norm)) = &computed {
            self.refuse_unless_finite(computed.total, *norm)?;
            self.update_fused(&room, *norm, recipe)?;
        }
        self.room = room;
        computed.map(|(computed, _)| self.end(computed, recipe)).transpose()
    }

    /// Updates the weights by gradients that have this norm, with those of other weights where there are some.
    pub(super) fn update_fused(&self, room: &FusedGradients, norm: f64, recipe: &Recipe) -> Result<()> {
        let settings = recipe.optimizer().update(self.step, norm);
        for parameter in &self.params.all {
            let Some(gradient) = room.of(parameter.name) else { continue };
            let unit = recipe.unit && parameter.name == ParamName::Decoder;
            let [first, second] = &parameter.moments;
            sparse::adam_rows(&parameter.weight, gradient, [first, second], settings, unit)?;
        }
        Ok(())
    }

    /// Makes one step by the kernels of a device; None where it is left to the reference implementation.
    #[cfg(feature = "cuda")]
    fn advance_on_device(&mut self, batch: &FitBatch, recipe: &Recipe) -> Result<Option<FitStep>> {
        let found = super::on_device::compute(&self.params, self.before(), batch, recipe)?;
        let Some((computed, mut found)) = found else { return Ok(None) };
        let mut of = |parameter: &Parameter<ParamName>| {
            let place = found.iter().position(|(name, _)| *name == parameter.name)?;
            Some(found.swap_remove(place).1)
        };
        let gradients = self.gradients(&mut of, recipe)?;
        self.take(computed, &gradients, recipe).map(Some)
    }

    /// Makes one step in candle's operations.
    pub fn advance_plain(&mut self, batch: &FitBatch, recipe: &Recipe) -> Result<FitStep> {
        let found = self.loss(batch, recipe)?;
        let mut store = found.total.backward()?;
        let gradients = self.gradients(&mut |parameter| store.remove(&parameter.weight), recipe)?;
        let unexplained = float(&super::loss::counted(&found.rest, batch.target(), ErrorNormalisation::Normalised)?)?;
        let l0 = float(&found.codes.ne(0.0)?.to_dtype(DType::F32)?.sum_all()?)? / found.codes.dims()[0] as f64;
        let computed = FusedResult {
            total: float(&found.total)?,
            error: float(&found.error)?,
            l0,
            fve: 1.0 - unexplained,
            silent: found.silent,
            smallest: found.smallest,
            memory: found.memory,
        };
        self.take(computed, &gradients, recipe)
    }

    /// Updates the weights by gradients that are candle's tensors, and ends the step.
    fn take(&mut self, computed: FusedResult, gradients: &[Option<Tensor>], recipe: &Recipe) -> Result<FitStep> {
        let norm = kernels::global_norm(gradients.iter().flatten())?;
        self.refuse_unless_finite(computed.total, norm)?;
        self.update_plain(gradients, norm, recipe)?;
        self.end(computed, recipe)
    }

    fn end(&mut self, computed: FusedResult, recipe: &Recipe) -> Result<FitStep> {
        let FusedResult { total, error, l0, fve, silent, smallest, memory } = computed;
        self.memory = memory;
        let dead = self.finish(recipe, silent, smallest, l0)?;
        Ok(FitStep { loss: total, error, l0, fve, dead })
    }

    /// Updates the weights, as [`FitState::update_fused`] does, with gradients as candle has them.
    pub(super) fn update_plain(&self, gradients: &[Option<Tensor>], norm: f64, recipe: &Recipe) -> Result<()> {
        let settings = recipe.optimizer().update(self.step, norm);
        for (parameter, gradient) in self.params.all.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let unit = recipe.unit && parameter.name == ParamName::Decoder;
            let [first, second] = &parameter.moments;
            if unit && device::adam(&parameter.weight, gradient, [first, second], settings, unit)? {
                continue;
            }
            kernels::adamw_step(&parameter.weight, gradient, [first, second], settings)?;
            if unit {
                parameter.weight.set(&unit_rows(&parameter.weight.as_detached_tensor())?)?;
            }
        }
        Ok(())
    }

    pub(super) fn refuse_unless_finite(&self, total: f64, norm: f64) -> Result<()> {
        if total.is_finite() && norm.is_finite() {
            return Ok(());
        }
        Err(err!(Numeric, "the loss is {total} and its gradient's norm {norm} at step {}", self.step + 1)
            .hint("try a lower `lr` or a `clip`; NaN or infinity in the data has the same effect"))
    }

    /// Ends a step: updates the activity of features, the running threshold, and the adaptive penalty. Returns the
    /// number of dead features.
    pub(super) fn finish(
        &mut self,
        recipe: &Recipe,
        silent: Vec<u64>,
        smallest: Option<f64>,
        l0: f64,
    ) -> Result<usize> {
        self.silent = silent;
        if let Some(smallest) = smallest {
            self.threshold = Some(match self.threshold {
                Some(before) => recipe.follows * before + (1.0 - recipe.follows) * smallest,
                None => smallest,
            });
        }
        let properties = recipe.kind.properties();
        if let (Some(_), Some(target)) = (properties.adapted_from, properties.target) {
            self.follow(l0, target)?;
        }
        self.step += 1;
        Ok(self.silent.iter().filter(|rows| **rows >= recipe.dead_after).count())
    }

    /// Adapts to the target L0: by the weight of the penalty, or by the thresholds.
    fn follow(&mut self, l0: f64, target: f64) -> Result<()> {
        let Some(threshold) = self.params.maybe(ParamName::Threshold) else {
            self.price.hear(l0, target);
            return Ok(());
        };
        let moved = (threshold.as_detached_tensor() * coefficient::moved(l0, target))?;
        // The penalty on a code stays the value of one at the threshold: the square of its size.
        let before = float(&threshold.sqr()?.mean_all()?)?;
        let after = float(&moved.sqr()?.mean_all()?)?;
        threshold.set(&moved)?;
        if before > 0.0 && after > 0.0 {
            self.price = Price::from(self.price.factor() * after / before);
        }
        Ok(())
    }

    /// Returns the gradients of all weights; where directions are kept at norm 1, without the part along them.
    pub(super) fn gradients(
        &self,
        of: &mut dyn FnMut(&Parameter<ParamName>) -> Option<Tensor>,
        recipe: &Recipe,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut all = Vec::new();
        for parameter in &self.params.all {
            let gradient = of(parameter).map(|gradient| gradient.detach());
            all.push(match gradient {
                Some(gradient) if recipe.unit && parameter.name == ParamName::Decoder => {
                    let directions = parameter.weight.as_detached_tensor();
                    Some(match device::across(&gradient, &directions)? {
                        Some(gradient) => gradient,
                        None => across(gradient, &unit_rows(&directions)?)?,
                    })
                }
                other => other,
            });
        }
        Ok(all)
    }
}

/// Returns the part of each row of a gradient that is at right angles to a row of directions of norm 1.
fn across(gradient: Tensor, directions: &Tensor) -> Result<Tensor> {
    let along = (&gradient * directions)?.sum_keepdim(1)?;
    Ok((gradient - directions.broadcast_mul(&along)?)?)
}
