//! The fused step of a cross-layer transcoder: sparse codes of every layer, their sum in the outputs of all later layers,
//! and gradients feature by feature.
//!
//! A row of a decoder has what a feature writes to its own and to all later layers, concatenated, so that it is added to
//! the end of a row of all outputs, and its gradient is a sum of such ends.

use super::inputs::{Inputs, StepTensors};
use super::reconstruct::{PIECE, Residual};
use super::{ChosenCodes, CodeChoice, FusedGradients, FusedStep, choose, l0};
use crate::common::*;
use crate::sae::fit::cross_layer::batch::{LayerStep, explained, layer_weights, of_layer, spread_of};
use crate::sae::fit::kinds::FitProgress;
use crate::sae::fit::loss::{FitBatch, StepState};
use crate::sae::fit::params::Params;
use crate::sae::fit::plan::Recipe;
use kernels::sparse::{add, add_columns, add_rows, dots_with_rows, scale, squares};
use kernels::{FlatNumbers, arch, flat};

/// The results of a step before it changes anything.
pub struct CrossLayerResult {
    pub total: f64,
    pub error: f64,
    /// The norm of all gradients together.
    pub norm: f64,
    pub layers: Vec<LayerStep>,
}

/// Computes the loss and, into `rooms`, its gradients, one for each layer; None where this is left to the reference
/// implementation. `most`: the maximum share of codes above 0.
pub fn compute(
    layers: &[(&Params, StepState)],
    batch: &[FitBatch],
    recipe: &Recipe,
    most: f64,
    rooms: &mut [FusedGradients],
) -> Result<Option<CrossLayerResult>> {
    let Some(StepState { step, memory, .. }) = layers.first().map(|(_, before)| *before) else { return Ok(None) };
    let Some(choice) = recipe.kind.choice(FitProgress { step, steps: recipe.steps, memory }) else { return Ok(None) };
    if matches!(choice, CodeChoice::Gated { .. }) || !recipe.kind.properties().nested.is_empty() {
        return Ok(None);
    }
    let width = |batch: &FitBatch| batch.target().dims().last().copied().unwrap_or(0);
    let widths: Vec<usize> = batch.iter().map(width).collect();
    let mut tensors = Vec::with_capacity(layers.len());
    for (layer, ((params, _), FitBatch { x, .. })) in layers.iter().zip(batch).enumerate() {
        let d_out = widths.iter().skip(layer).sum();
        let Some(found) = StepTensors::of_layer(params, x, d_out, recipe)? else { return Ok(None) };
        tensors.push(found);
    }
    let numbers = tensors.iter().map(StepTensors::locked).collect::<Result<Vec<_>>>()?;
    let mut unused = vec![Vec::new(); layers.len()];
    let inputs = numbers.iter().zip(&mut unused).map(|(numbers, room)| numbers.inputs(room));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let mut codes = Vec::with_capacity(layers.len());
    for inputs in &inputs {
        let Some(found) = choose(inputs, choice, most)? else { return Ok(None) };
        codes.push(found);
    }
    let targets = batch.iter().map(|batch| flat(batch.target())).collect::<std::result::Result<Vec<_>, _>>()?;
    let spreads = targets.iter().map(spread_of).collect::<Result<_>>()?;
    let all = Layers { inputs, spreads, widths, choice, recipe };
    let target = flat(&Tensor::cat(&targets, 1)?)?;
    let befores: Vec<StepState> = layers.iter().map(|(_, before)| *before).collect();
    all.compute(FlatNumbers::of(&target)?.slice(), &codes, &befores, rooms).map(Some)
}

/// The inputs and settings that all parts of a step share.
struct Layers<'a> {
    inputs: Vec<Inputs<'a>>,
    /// The sums of squares of the targets about their mean.
    spreads: Vec<f64>,
    widths: Vec<usize>,
    choice: CodeChoice<'a>,
    recipe: &'a Recipe,
}

/// The residuals of the targets of all layers.
struct LeftOfAll {
    /// `[rows, sum of widths]`, each layer with its weight.
    rest: Vec<f32>,
    /// Sum of squares of each layer's residual without its weight.
    squares: Vec<f64>,
    sums: Vec<f64>,
    /// Dot product of the direction of each code of each layer that reads with the residual, times a factor.
    slopes: Vec<Vec<f32>>,
}

impl Layers<'_> {
    fn compute(
        &self,
        target: &[f32],
        codes: &[ChosenCodes],
        befores: &[StepState],
        rooms: &mut [FusedGradients],
    ) -> Result<CrossLayerResult> {
        let rows = self.inputs.first().map_or(0, |inputs| inputs.rows);
        let counts = self.spreads.iter().zip(&self.widths);
        let counts: Vec<f64> = counts.map(|(spread, width)| of_layer(self.recipe, rows, *width, *spread)).collect();
        let (weights, factor) = layer_weights(&counts);
        let factor = (-2.0 * factor) as f32;
        let memory = rooms.first_mut().map(|room| std::mem::take(&mut room.left.rest)).unwrap_or_default();
        let mut left = self.reconstruct(target, codes, &weights, factor, memory);
        let mut loss = 0.0;
        let mut squares = 0.0;
        let mut layers = Vec::with_capacity(codes.len());
        // From the last layer, so that the first, whose features write everything, takes what is left as it is.
        for (layer, (inputs, room)) in self.inputs.iter().zip(rooms.iter_mut()).enumerate().rev() {
            let chosen = &codes[layer];
            let step = FusedStep::of(inputs, self.choice, self.recipe, befores[layer]);
            let (rest, sums) = match layer {
                0 => (std::mem::take(&mut left.rest), std::mem::take(&mut left.sums)),
                _ => (self.ends(&left.rest, layer, std::mem::take(&mut room.left.rest)), Vec::new()),
            };
            let slopes = std::mem::take(&mut left.slopes[layer]);
            let mut end = Residual { rest, sums, slopes, ..Residual::default() };
            let backward = step.backward(chosen, None, &mut end, factor, room)?;
            room.left = end;
            loss += backward.loss;
            squares += backward.squares;
            layers.push(LayerStep {
                l0: l0(&chosen.codes),
                fve: explained(left.squares[layer], self.spreads[layer]),
                silent: backward.silent,
                smallest: step.smallest(&chosen.codes),
            });
        }
        layers.reverse();
        let error = left.squares.iter().zip(&counts).map(|(squares, count)| squares * count).sum::<f64>();
        Ok(CrossLayerResult { total: error + loss, error, norm: squares.sqrt(), layers })
    }

    /// Subtracts what all features write, and the bias, from the targets. `rest`: memory to write to.
    fn reconstruct(
        &self,
        target: &[f32],
        codes: &[ChosenCodes],
        weights: &[f64],
        factor: f32,
        mut rest: Vec<f32>,
    ) -> LeftOfAll {
        let arch = arch();
        let width = self.widths.iter().sum::<usize>();
        rest.resize(target.len(), 0.0);
        let row = |row: usize, rest: &mut [f32], squared: &mut [f64], slopes: &mut [Vec<f32>]| {
            rest.copy_from_slice(&target[row * width..(row + 1) * width]);
            if let Some(bias) = self.inputs.first().and_then(|inputs| inputs.decoder_bias) {
                add_rows(arch, rest, bias, 1, |_| (0, -1.0));
            }
            let each = || {
                self.inputs.iter().zip(codes).map(|(inputs, chosen)| (inputs, &chosen.codes, chosen.codes.range(row)))
            };
            for (inputs, codes, range) in each() {
                let columns = &codes.columns[range.clone()];
                let values = &codes.values[range];
                let end = &mut rest[width - inputs.shape.d_out..];
                add_rows(arch, end, inputs.directions(), columns.len(), |i| (columns[i], -values[i]));
            }
            let mut start = 0;
            for ((width, weight), squared) in self.widths.iter().zip(weights).zip(squared) {
                let part = &mut rest[start..start + width];
                *squared += f64::from(squares(arch, part));
                scale(arch, part, *weight as f32);
                start += width;
            }
            for ((inputs, codes, range), slopes) in each().zip(slopes) {
                let begin = slopes.len();
                slopes.resize(begin + range.len(), 0.0);
                let end = &rest[width - inputs.shape.d_out..];
                dots_with_rows(arch, &mut slopes[begin..], end, inputs.directions(), &codes.columns[range]);
            }
        };
        let piece = |first: usize, rest: &mut [f32]| {
            let mut squared = vec![0.0; self.widths.len()];
            let mut sums = vec![0.0; width];
            let mut slopes = vec![Vec::new(); self.inputs.len()];
            for (i, rest) in rest.chunks_exact_mut(width).enumerate() {
                row(first / width + i, rest, &mut squared, &mut slopes);
                add_columns(arch, &mut sums, rest);
            }
            slopes.iter_mut().for_each(|slopes| scale(arch, slopes, factor));
            (squared, sums, slopes)
        };
        let pieces = parallel::blocks(&mut rest, PIECE * width, &piece);
        let squared = vec![0.0; self.widths.len()];
        let sums = vec![0.0; width];
        let mut left = LeftOfAll { rest, squares: squared, sums, slopes: vec![Vec::new(); self.inputs.len()] };
        for (squared, sums, slopes) in pieces {
            add(&mut left.squares, &squared);
            add(&mut left.sums, &sums);
            left.slopes.iter_mut().zip(slopes).for_each(|(all, slopes)| all.extend(slopes));
        }
        left
    }

    /// Collects the ends of rows of all outputs: those of a layer and of all after it. `ends`: memory to write to.
    fn ends(&self, rest: &[f32], layer: usize, mut ends: Vec<f32>) -> Vec<f32> {
        let width = self.widths.iter().sum::<usize>();
        let end = self.inputs[layer].shape.d_out;
        ends.resize(rest.len() / width * end, 0.0);
        parallel::fill(&mut ends, end, &|first, ends| {
            let row = first / end;
            ends.copy_from_slice(&rest[(row + 1) * width - end..(row + 1) * width]);
        });
        ends
    }
}
