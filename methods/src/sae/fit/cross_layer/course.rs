//! A cross-layer transcoder in training: its steps, checkpoints, and end.

use std::path::Path;

use super::batch::{CrossLayerBatch, CrossLayerShape};
use super::checkpoint;
use super::finish::finished;
use super::reading::CrossLayerReading;
use super::state::CrossLayerState;
use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::sae::fit::history::{FitHistory, FitStep};
use crate::sae::fit::recipe::Recipe;
use crate::sae::transcoders::{Reads, Transcoders};
use crate::tensor::{Device, Tensor};
use crate::training::{CheckpointFolder, Checkpoints, Trainer};

/// The result of a fit.
pub struct CrossLayerFitted {
    pub transcoders: Transcoders,
    /// L0 and dead features are of all layers together, FVE is their mean.
    pub history: FitHistory,
    /// Whether it was completed.
    pub is_whole: bool,
}

pub struct CrossLayerCourse<'a> {
    recipe: Recipe,
    reading: CrossLayerReading,
    checkpoints: Option<Checkpoints<'a>>,
    state: CrossLayerState,
    history: FitHistory,
    /// The description of the data, as checkpoints have it.
    data: String,
}

impl<'a> CrossLayerCourse<'a> {
    /// From its beginning, centred on the `first` rows, or from its checkpoint.
    pub fn begin(
        (recipe, shape): (Recipe, CrossLayerShape),
        mut reading: CrossLayerReading,
        first: &CrossLayerBatch,
        keep: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        let device = first.x.first().map_or(&Device::Cpu, Tensor::device);
        room(&recipe, shape, device)?;
        let data = if keep.is_some() { reading.about() } else { String::new() };
        let mut state = CrossLayerState::draw(&recipe, shape, &mut stream(recipe.seed, "dictionary", 0), device)?;
        let mut history = FitHistory { read_per_step: recipe.batch as u64, ..FitHistory::default() };
        let mut checkpoints = keep.map(|folder| Checkpoints::open(folder, &checkpoint::FORMAT)).transpose()?;
        match &mut checkpoints {
            Some(checkpoints) if checkpoints.has_one()? => {
                checkpoints.resume(|file| checkpoint::restore(&mut state, &mut history, &recipe, &data, file))?;
                reading.skip(state.step(), task)?;
            }
            _ => state.start(first, &recipe, task)?,
        }
        Ok(Self { recipe, reading, checkpoints, state, history, data })
    }

    /// The transcoder in its current state.
    pub fn finish(self, (reads, model): (Reads, Option<String>)) -> Result<CrossLayerFitted> {
        let inputs = (self.reading.read.as_slice(), self.reading.written.as_slice());
        let transcoders = finished(&self.recipe, &self.state, inputs, (reads, model))?;
        let is_whole = self.state.step() >= self.recipe.steps;
        Ok(CrossLayerFitted { transcoders, history: self.history, is_whole })
    }
}

impl Trainer for CrossLayerCourse<'_> {
    fn label(&self) -> String {
        format!("fitting a cross-layer transcoder of {} layers", self.state.layers.len())
    }

    fn steps(&self) -> u64 {
        self.recipe.steps
    }

    fn made(&self) -> u64 {
        self.state.step()
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let batch = self.reading.next(task)?;
        task.check()?;
        self.history.steps.push(self.state.advance(&batch, &self.recipe)?);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        let rows = speed * self.recipe.batch as f64;
        let told = |FitStep { loss, l0, fve, dead, .. }: FitStep| {
            format!("loss {loss:.4}, L0 {l0:.1}, FVE {fve:.3}, {dead} dead, {rows:.0} rows/s")
        };
        self.history.recent(20).map(told).unwrap_or_default()
    }

    fn folder(&self) -> Option<&Path> {
        self.checkpoints.as_ref().map(Checkpoints::folder)
    }

    fn is_due(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due(self.state.step()))
    }

    fn save(&mut self) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let (state, history) = (&self.state, &self.history);
        checkpoints.save(state.step(), || checkpoint::saved(state, history, &self.recipe, &self.data))
    }

    fn left(&self) -> String {
        "the cross-layer transcoder as it is".into()
    }
}

/// Refuses a fit that does not fit into memory.
fn room(recipe: &Recipe, shape: CrossLayerShape, device: &Device) -> Result<()> {
    let weights = |layer| {
        let of = shape.of_layer(layer);
        of.d_sae as u128 * (of.d_in + of.d_out) as u128
    };
    let all: u128 = (0..shape.layers).map(weights).sum();
    let codes = (recipe.batch * shape.layers) as u128 * shape.d_sae as u128;
    // Weights, two moments and gradients; pre-activations, codes and their gradient graph.
    memory::check_on(device, 4 * (4 * all + 6 * codes), || "this cross-layer transcoder".into())
}
