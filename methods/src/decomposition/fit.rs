//! The fit of a decomposition: steps of Adam on the losses, behind a start on faithfulness alone.

use super::loss::{Draws, LossStep};
use super::options::FitOptions;
use super::parts::MatrixParts;
use super::state::{FitState, StepLosses};
use super::target::{Clean, Target};
use crate::common::*;
use crate::training::{
    self, CheckpointFolder, CheckpointFormat, Checkpoints, FitCheckpoints, Optimizer, Trainer, TrainingEnd,
    losses_of_step,
};

const FORMAT: CheckpointFormat = CheckpointFormat {
    file: "decomposition.safetensors",
    kind: "microtome fit of a decomposition, 1",
    of: "a fit of a decomposition",
};

/// The result of a fit.
#[derive(Debug, Clone)]
pub struct Fitted {
    pub parts: Vec<MatrixParts>,
    pub history: Vec<StepLosses>,
    /// Whether it was completed, or interrupted.
    pub is_whole: bool,
}

/// Fits a decomposition. An interruption ends the fit early: the result is the decomposition as it is.
pub fn fit<T: Target>(
    target: &T,
    options: &FitOptions,
    folder: Option<CheckpointFolder>,
    task: &Task,
) -> Result<Fitted> {
    let mut fitting = Fitting::new(target, options, folder, task)?;
    let ended = training::run(&mut fitting, task)?;
    let parts = fitting.state.parts()?;
    Ok(Fitted { parts, history: fitting.state.history, is_whole: ended == TrainingEnd::Done })
}

/// A fit that runs.
struct Fitting<'a, T: Target> {
    target: &'a T,
    options: &'a FitOptions,
    optimizer: Optimizer,
    device: Device,
    state: FitState,
    checkpoints: Option<FitCheckpoints<'a>>,
}

impl<'a, T: Target> Fitting<'a, T> {
    fn new(target: &'a T, options: &'a FitOptions, folder: Option<CheckpointFolder<'a>>, task: &Task) -> Result<Self> {
        let optimizer = options.optimizer();
        optimizer.check()?;
        let device = target.matrices().first().map_or(Device::Cpu, |matrix| matrix.weight.device().clone());
        let widths: usize = target.matrices().iter().map(|matrix| matrix.weight.dims().iter().sum::<usize>()).sum();
        let widths = (widths as u128).saturating_add(options.gate_width as u128);
        let parts = options.parts as u128;
        memory::check_on(&device, parts.saturating_mul(widths).saturating_mul(16), || {
            "the parts of a decomposition".into()
        })
        .map_err(|e| e.about("parts"))?;
        let mut random = stream(options.seed.draws(), "decomposition", 0);
        let mut parts = Vec::new();
        for matrix in target.matrices() {
            parts.push(MatrixParts::random(matrix, options.shape(), &mut random)?.to_device(&device)?);
        }
        let mut state = FitState::new(parts)?;
        let identity = || -> Result<Value> { Ok(json!({ "target": target.identity()?, "options": options.json() })) };
        let mut checkpoints = folder.map(|folder| FitCheckpoints::open(folder, &FORMAT, identity)).transpose()?;
        let history = match &mut checkpoints {
            Some(kept) => kept.resume_parameters("another network", "the same network", &state.parameters)?,
            None => None,
        };
        match history {
            Some(history) => state.history = history,
            None => state = state.start(target, options, task)?,
        }
        Ok(Self { target, options, optimizer, device, state, checkpoints })
    }

    /// Draws the sources of one step.
    fn draws(&self, parts: &[MatrixParts], inputs: usize) -> Result<Draws> {
        let step = self.state.history.len() as u64;
        let mut random = stream(self.options.seed.draws(), "decomposition masks", step);
        Draws::random(parts, inputs, &self.options.loss, &mut random)?.on(&self.device)
    }
}

impl<T: Target> Trainer for Fitting<'_, T> {
    fn label(&self) -> String {
        "decomposing".into()
    }

    fn steps(&self) -> u64 {
        self.options.steps
    }

    fn made(&self) -> u64 {
        self.state.history.len() as u64
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let made = self.made();
        let batch = self.target.draw(made, task)?;
        let clean = Clean::of(self.target, &batch, task)?;
        let options = &self.options.loss;
        let progress = made as f64 / self.options.steps as f64;
        let step = LossStep { target: self.target, batch: &batch, clean: &clean, options, progress };
        let parts = self.state.parts()?;
        let mut draws = self.draws(&parts, clean.count())?;
        if options.adversarial > 0.0 {
            let mut random = stream(self.options.seed.draws(), "decomposition adversary", made);
            let begun = step.begun(&parts, &mut random)?;
            draws.adversarial = Some(step.worst(&parts, begun, task)?);
        }
        self.state
            .advance(&step, &draws, &self.optimizer, task)
            .map_err(|error| error.within(format!("step {}", made + 1)))
    }

    fn progress(&self, speed: f64) -> String {
        self.state.history.last().map_or_else(String::new, |step| {
            let StepLosses { minimality, stochastic, subset, .. } = step;
            // A loss that is not computed is NaN, which `max` passes over.
            let reconstruction = stochastic.max(*subset);
            format!("parts {minimality:.3}, reconstruction {reconstruction:.2e}, {speed:.0} steps/s")
        })
    }

    fn settings_of(&self, _member: usize) -> Value {
        self.options.json()
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        losses_of_step(&self.state.history, step)
    }

    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.checkpoints.as_ref().map(|kept| &kept.files)
    }

    fn save(&mut self) -> Result<()> {
        let Some(kept) = &mut self.checkpoints else { return Ok(()) };
        kept.save_parameters(&self.state.parameters, &self.state.history)
    }

    fn left(&self) -> String {
        "the decomposition as it is".into()
    }
}
