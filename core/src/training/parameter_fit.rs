//! Fits of parameters by Adam to what models do on a text, with several named losses in each step.

use kernels::AdamW;

use super::adam::{Optimizer, Parameter};
use super::checkpoint::{CheckpointFolder, CheckpointFormat, Checkpoints};
use super::fit_checkpoints::FitCheckpoints;
use super::losses::{LossRecord, losses_of_step};
use super::trainer::Trainer;
use crate::common::*;
use crate::tensor::Tensor;

/// A fit of parameters: what a step computes, and the words of the fit.
pub trait ParameterFit<const N: usize> {
    /// Losses of a step.
    type Losses: LossRecord<N>;

    /// Label of the progress bar.
    const LABEL: &'static str;
    /// Name of what an interrupted fit leaves: "the model as it is".
    const LEFT: &'static str;
    const FORMAT: &'static CheckpointFormat;

    /// Returns all options by name, for trackers.
    fn options(&self) -> Value;

    /// Returns what identifies the fit: models, text and options.
    fn identity(&self, task: &Task) -> Result<Value>;

    /// Computes the losses of a step, counted from 0, and the gradients of the parameters.
    fn losses(&self, parameters: &[Tensor], step: u64, task: &Task) -> Result<(Self::Losses, Vec<Tensor>)>;

    /// Returns the loss that has to be finite.
    fn main_loss(losses: &Self::Losses) -> f64;

    /// Returns the losses that stand beside the progress bar.
    fn shown(losses: &Self::Losses) -> String;

    /// Makes a step of a parameter, given by its number.
    fn update(
        &self,
        _number: usize,
        parameter: &Parameter<String>,
        gradient: &Tensor,
        settings: AdamW,
        _step: u64,
    ) -> Result<()> {
        parameter.step(gradient, settings)
    }
}

/// A fit of parameters that runs.
pub struct ParameterTraining<'a, const N: usize, F: ParameterFit<N>> {
    pub fit: F,
    /// Losses of the steps made.
    pub losses: Vec<F::Losses>,
    parameters: Vec<Parameter<String>>,
    optimizer: Optimizer,
    checkpoints: Option<FitCheckpoints<'a>>,
}

impl<'a, const N: usize, F: ParameterFit<N>> ParameterTraining<'a, N, F> {
    /// Begins a fit at these parameters, or resumes it from the checkpoint of its folder.
    pub fn begin(
        fit: F,
        parameters: Vec<Parameter<String>>,
        optimizer: Optimizer,
        folder: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        let opened = folder.map(|folder| FitCheckpoints::open(folder, F::FORMAT, || fit.identity(task)));
        let mut checkpoints = opened.transpose()?;
        let losses = match &mut checkpoints {
            Some(kept) => kept.resume_parameters::<N, F::Losses>(
                "other models or another text",
                "the same models, text",
                &parameters,
            )?,
            None => None,
        };
        Ok(Self { fit, losses: losses.unwrap_or_default(), parameters, optimizer, checkpoints })
    }

    /// Returns the parameters as they are.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.weight.as_detached_tensor()).collect()
    }
}

impl<const N: usize, F: ParameterFit<N>> Trainer for ParameterTraining<'_, N, F> {
    fn label(&self) -> String {
        F::LABEL.into()
    }

    fn steps(&self) -> u64 {
        self.optimizer.steps
    }

    fn made(&self) -> u64 {
        self.losses.len() as u64
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let made = self.made();
        let (losses, gradients) = self.fit.losses(&self.tensors(), made, task)?;
        let norm = kernels::global_norm(&gradients)?;
        let loss = F::main_loss(&losses);
        if !norm.is_finite() || !loss.is_finite() {
            return Err(err!(Numeric, "the loss is {loss} at step {}, with a gradient of norm {norm}", made + 1)
                .hint("try a lower `lr`; NaN or infinity in the models' activations has the same effect"));
        }
        let settings = self.optimizer.update(made, norm);
        for (number, (parameter, gradient)) in self.parameters.iter().zip(&gradients).enumerate() {
            self.fit.update(number, parameter, gradient, settings, made)?;
        }
        self.losses.push(losses);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        self.losses.last().map_or_else(String::new, |step| format!("{}, {speed:.1} steps/s", F::shown(step)))
    }

    fn settings_of(&self, _member: usize) -> Value {
        self.fit.options()
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        losses_of_step::<N, F::Losses>(&self.losses, step)
    }

    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.checkpoints.as_ref().map(|kept| &kept.files)
    }

    fn save(&mut self) -> Result<()> {
        let Some(kept) = &mut self.checkpoints else { return Ok(()) };
        kept.save_parameters::<N, F::Losses>(&self.parameters, &self.losses)
    }

    fn left(&self) -> String {
        F::LEFT.into()
    }
}
