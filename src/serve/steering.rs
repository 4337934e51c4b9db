//! Steering as Neuronpedia has it: directions with strengths at hooks of the residual stream, in one of three ways.

use serde::{Deserialize, Serialize};

use super::state::Served;
use crate::common::*;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::model::site::Place;
use crate::tensor::{DType, Device, Tensor, dtype};

/// Ways to steer along a unit vector v with a coefficient c, from the activation h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SteerMethod {
    /// h + c d, for the vector d as it is given.
    SimpleAdditive,
    /// h + (c - 1) (h . v) v: the part along the vector times c.
    OrthogonalDecomp,
    /// h + (min(h . v, c) - h . v) v: the part along the vector at most c.
    ProjectionCap,
}

/// Types of output: a text that is written with steering, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SteerType {
    Steered,
    Default,
}

/// A feature that is steered with, and how hard.
#[derive(Deserialize)]
pub struct SteerFeature {
    model: String,
    source: String,
    index: i64,
    strength: f64,
}

/// A vector that is steered with, its hook, and how hard.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SteerVector {
    steering_vector: Vec<f64>,
    strength: f64,
    hook: String,
}

/// A direction at a place, `[width]`, and its coefficient.
#[derive(Debug, Clone)]
pub struct SteerDirection {
    pub place: Place,
    pub vector: Tensor,
    pub factor: f64,
}

impl SteerFeature {
    /// Finds the direction that the feature writes.
    pub fn direction(&self, served: &Served, multiplier: f64) -> Result<SteerDirection> {
        served.check_model(&self.model)?;
        let (source, index) = served.with_feature(&self.source, self.index)?;
        source.check_steers()?;
        Ok(SteerDirection { place: source.place, vector: source.direction(index)?, factor: multiplier * self.strength })
    }
}

impl SteerVector {
    /// Finds the place of the vector.
    pub fn direction(&self, served: &Served, multiplier: f64) -> Result<SteerDirection> {
        let vector = Tensor::new(self.steering_vector.as_slice(), &Device::Cpu)?.to_dtype(DType::F32)?;
        let place = served.hook(&self.hook, self.steering_vector.len())?;
        Ok(SteerDirection { place, vector, factor: multiplier * self.strength })
    }
}

impl SteerDirection {
    /// Returns the vector with norm 1. Refuses one that has no direction.
    fn unit(&self) -> Result<Tensor> {
        let length = self.vector.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
        if length > 0.0 && length.is_finite() {
            return Ok((&self.vector / f64::from(length))?);
        }
        Err(err!(Argument, "expected a vector with a direction to steer along, found one of norm {length}"))
    }

    /// Returns the hook that steers, but for some positions of the prompt. `is_unit` takes the vector with norm 1.
    pub fn hook(
        &self,
        served: &Served,
        method: SteerMethod,
        is_unit: bool,
        spared: &[usize],
    ) -> Result<BoundHook<'static>> {
        let unit = self.unit()?;
        let vector = if method == SteerMethod::SimpleAdditive && !is_unit { self.vector.clone() } else { unit };
        let edit = SteerEdit { method, vector, factor: self.factor, spared: spared.to_vec() };
        BoundHook::new(served.model.decoder.config(), &self.place.to_string(), None, None, Box::new(edit))
    }
}

/// The edit of one direction.
struct SteerEdit {
    method: SteerMethod,
    vector: Tensor,
    factor: f64,
    /// Positions of the prompt that stay as they are.
    spared: Vec<usize>,
}

impl SteerEdit {
    /// Computes what is added to rows `[1, columns, width]`.
    fn added(&self, rows: &Tensor) -> Result<Tensor> {
        let vector = self.vector.to_device(rows.device())?;
        let along = || -> Result<Tensor> { Ok(rows.broadcast_mul(&vector)?.sum_keepdim(2)?) };
        let share = match self.method {
            SteerMethod::SimpleAdditive => {
                return Ok((&vector * self.factor)?.broadcast_as(rows.shape())?.contiguous()?);
            }
            SteerMethod::OrthogonalDecomp => (along()? * (self.factor - 1.0))?,
            SteerMethod::ProjectionCap => {
                let along = along()?;
                (along.minimum(self.factor as f32)? - along)?
            }
        };
        Ok(share.broadcast_mul(&vector)?)
    }
}

impl Edit for SteerEdit {
    fn edit(&mut self, at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let width = self.vector.elem_count();
        let columns = at.columns.len();
        // Heads are one row, as in the dictionaries and vectors of their site.
        let rows = dtype::convert(x, DType::F32)?.reshape((1, columns, width))?;
        let mut added = self.added(&rows)?;
        let kept = |column: usize| if self.spared.contains(&column) { 0.0 } else { 1.0_f32 };
        if at.columns.clone().any(|column| self.spared.contains(&column)) {
            let kept: Vec<f32> = at.columns.clone().map(kept).collect();
            added = added.broadcast_mul(&Tensor::from_vec(kept, (1, columns, 1), rows.device())?)?;
        }
        Ok(Some(dtype::convert(&(rows + added)?.reshape(x.dims())?, x.dtype())?))
    }
}

/// Returns the hooks of directions, each of which acts on what those before it have made.
pub fn hooks(
    served: &Served,
    directions: &[SteerDirection],
    method: SteerMethod,
    is_unit: bool,
    spared: &[usize],
    task: &Task,
) -> Result<Vec<BoundHook<'static>>> {
    task.check()?;
    directions.iter().map(|direction| direction.hook(served, method, is_unit, spared)).collect()
}
