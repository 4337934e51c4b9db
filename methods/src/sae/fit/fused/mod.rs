//! A fused step on the CPU in f32: one dense product, whose result is never stored, and everything after it sparse.
//!
//! The step equals the reference implementation in candle's operations up to rounding. A kind takes part by stating how
//! its codes are selected ([`CodeChoice`]); a batch with many codes is left to the reference implementation.

mod auxiliary;
pub mod cross_layer;
mod gates;
mod gradients;
mod inputs;
mod jump;
mod reconstruct;
#[cfg(test)]
mod tests;

use super::kinds::{CodeChoice, Cost, FitProgress};
use super::loss::{FitBatch, StepState};
use super::params::Params;
use super::plan::{Dead, Recipe};
use crate::base::Result;
use gates::{Gates, GatesLeft};
pub use gradients::FusedGradients;
use gradients::{CodeGradient, Directions, ErrorTerm};
use inputs::{Inputs, StepTensors};
use jump::ThresholdEffect;
use kernels::arch;
use kernels::sparse::{AtLeast, ByColumn, Product, ScoreSizes, SparseRows, spread, squares};
use reconstruct::{Residual, reconstruct, reconstruct_nested};

/// The share of codes above 0 from which on the dense products of the reference implementation are faster. (Measured at
/// 4,096 features of 512: with 19 % above 0 a fused step takes two thirds of the time of the reference implementation,
/// and with about 28 % as long.)
pub const MOST: f64 = 0.25;
/// Minimum squared norm of a part.
const SHORTEST: f32 = 1e-16;

/// The results of a step before it changes anything.
pub struct FusedResult {
    pub total: f64,
    pub error: f64,
    pub l0: f64,
    pub fve: f64,
    pub silent: Vec<u64>,
    /// The smallest code, where the kind tracks it.
    pub smallest: Option<f64>,
    /// The kind's own state after this step.
    pub memory: Vec<f64>,
}

/// Computes the loss and, into `room`, its gradients, with the norm of all of them together; None where this is left to
/// the reference implementation. `most`: the maximum share of codes above 0.
pub fn compute(
    params: &Params,
    before: StepState,
    batch: &FitBatch,
    recipe: &Recipe,
    most: f64,
    room: &mut FusedGradients,
) -> Result<Option<(FusedResult, f64)>> {
    let progress = FitProgress { step: before.step, steps: recipe.steps, memory: before.memory };
    let Some(choice) = recipe.kind.choice(progress) else { return Ok(None) };
    let Some(tensors) = StepTensors::of(params, batch, recipe)? else { return Ok(None) };
    let numbers = tensors.locked()?;
    let mut centred = std::mem::take(&mut room.centred);
    let inputs = numbers.inputs(&mut centred)?;
    let chosen = choose(&inputs, choice, most)?;
    let computed = chosen.map(|chosen| {
        let powers = |p: f64| Ok(powers(&chosen.codes, p));
        let memory = recipe.kind.remembered(progress, &powers)?;
        let step = FusedStep::of(&inputs, choice, recipe, before);
        step.compute(&chosen, room).map(|(computed, norm)| (FusedResult { memory, ..computed }, norm))
    });
    drop(inputs);
    room.centred = centred;
    computed.transpose()
}

/// The codes of a batch.
struct ChosenCodes {
    codes: SparseRows,
    /// The effect of thresholds on the codes.
    jumped: Option<ThresholdEffect>,
    /// Gates that the codes passed.
    gates: Option<Gates>,
}

impl From<SparseRows> for ChosenCodes {
    fn from(codes: SparseRows) -> Self {
        Self { codes, jumped: None, gates: None }
    }
}

/// Computes the codes of a batch; None where they are too many.
fn choose(inputs: &Inputs, choice: CodeChoice<'_>, most: f64) -> Result<Option<ChosenCodes>> {
    let rows = inputs.rows;
    let d_sae = inputs.shape.d_sae;
    if !choice.fits(d_sae) {
        return Ok(None);
    }
    let sizes = ScoreSizes { rows, inner: inputs.shape.d_in, columns: d_sae };
    let rounded = inputs.rounded();
    let product = Product { x: inputs.x, weights: &inputs.encoder, bias: inputs.encoder_bias, sizes, rounded };
    Ok(match choice {
        CodeChoice::LargestOfRows(k) => Some(product.largest_of_rows(k)?.into()),
        CodeChoice::LargestOfAll(k) => Some(product.largest_of_all(k * rows)?.into()),
        CodeChoice::Positive { .. } => product.few(AtLeast::Positive, most).map(ChosenCodes::from),
        CodeChoice::Above(jump) => {
            let thresholds = inputs.threshold.unwrap_or_default();
            product.few(AtLeast::Floors(&jump.floors(thresholds)), most).map(|mut codes| {
                let jumped = Some(jump.jump(&mut codes, thresholds));
                ChosenCodes { jumped, ..codes.into() }
            })
        }
        CodeChoice::Gated { .. } => {
            let product = Product { bias: inputs.gate.unwrap_or_default(), ..product };
            product.few(AtLeast::Positive, most).map(|open| {
                let gates = Gates::of(open, inputs);
                ChosenCodes { codes: gates.codes(inputs), jumped: None, gates: Some(gates) }
            })
        }
    })
}

/// Computes the mean over rows of the sum of codes to a power.
fn powers(codes: &SparseRows, p: f64) -> f64 {
    let fired = codes.values.iter().filter(|code| **code > 0.0);
    fired.map(|code| f64::from(*code).powf(p)).sum::<f64>() / codes.rows().max(1) as f64
}

/// Computes the mean number of codes in a row.
fn l0(codes: &SparseRows) -> f64 {
    codes.values.iter().filter(|code| **code != 0.0).count() as f64 / codes.rows().max(1) as f64
}

/// Computes the lengths of the parts of a direction; as in the reference implementation, a part of length 0 is as if it
/// were very short.
pub fn lengths_of<'a>(direction: &'a [f32], parts: &'a [usize]) -> impl Iterator<Item = f32> + 'a {
    let mut rest = direction;
    parts.iter().map(move |width| {
        let (part, others) = rest.split_at((*width).min(rest.len()));
        rest = others;
        squares(arch(), part).max(SHORTEST).sqrt()
    })
}

/// The inputs and settings that all parts of a step share.
struct FusedStep<'a> {
    inputs: &'a Inputs<'a>,
    choice: CodeChoice<'a>,
    recipe: &'a Recipe,
    /// The weight of the penalty at this step.
    sparsity: f64,
    /// Prefixes of features that each reconstruct; none where only all together do.
    nested: Vec<(usize, f64)>,
    silent: &'a [u64],
}

/// The results of computing the gradients of a dictionary's weights.
struct Backward {
    /// Penalty and AuxK loss, with their weights.
    loss: f64,
    /// The sum of the squares of all gradients.
    squares: f64,
    silent: Vec<u64>,
}

impl<'a> FusedStep<'a> {
    fn of(inputs: &'a Inputs<'a>, choice: CodeChoice<'a>, recipe: &'a Recipe, before: StepState<'a>) -> Self {
        let sparsity = recipe.sparsity(before.step) * before.price;
        Self { inputs, choice, recipe, sparsity, nested: recipe.kind.properties().nested, silent: before.silent }
    }

    fn compute(&self, chosen: &ChosenCodes, room: &mut FusedGradients) -> Result<(FusedResult, f64)> {
        let inputs = self.inputs;
        let rows = inputs.rows;
        let d_out = inputs.shape.d_out;
        let spread_of_target = spread(inputs.whole, d_out);
        let counts = self.recipe.counting.weight(rows, d_out, spread_of_target);
        let factor = (-2.0 * counts) as f32;
        let target = inputs.target;
        let bias = inputs.decoder_bias;
        let memory = std::mem::take(&mut room.left);
        let mut left = match self.nested.as_slice() {
            [] => reconstruct(inputs, target, bias, &chosen.codes, factor, memory),
            prefixes => reconstruct_nested(inputs, target, bias, &chosen.codes, prefixes, factor, memory),
        };
        let of_gates = chosen.gates.as_ref().map(|gates| gates.reconstruct(inputs, self.price(), counts));
        let backward = self.backward(chosen, of_gates.as_ref(), &mut left, factor, room)?;
        let found = FusedResult {
            total: left.weighted * counts + of_gates.map_or(0.0, |gates| gates.loss) + backward.loss,
            error: left.squares * counts,
            l0: l0(&chosen.codes),
            fve: 1.0 - left.squares / spread_of_target,
            silent: backward.silent,
            smallest: self.smallest(&chosen.codes),
            memory: Vec::new(),
        };
        room.left = left;
        Ok((found, backward.squares.sqrt()))
    }

    /// Computes the gradients of all weights, into `room`, with the penalty and the AuxK loss. `factor`: the weight of
    /// a residual in the gradient of the error.
    fn backward(
        &self,
        chosen: &ChosenCodes,
        of_gates: Option<&GatesLeft>,
        left: &mut Residual,
        factor: f32,
        room: &mut FusedGradients,
    ) -> Result<Backward> {
        let inputs = self.inputs;
        let d_sae = self.inputs.shape.d_sae;
        let penalty = self.penalty(chosen, &mut left.slopes, room);
        let silent = self.since(&chosen.codes);
        let helped = match self.recipe.dead {
            Dead::AuxK(auxk) => auxiliary::help(inputs, &left.rest, &self.dead(&silent), auxk)?,
            Dead::Leave | Dead::Resample { .. } => None,
        };
        let by_feature = ByColumn::of(&chosen.codes, &left.slopes, d_sae);
        let of_the_dead = helped.as_ref().map(|helped| ByColumn::of(&helped.codes, &helped.left.slopes, d_sae));
        let gates = chosen.gates.as_ref().zip(of_gates);
        let by_gate = gates.map(|(gates, found)| ByColumn::of(&gates.open, &found.left.slopes, d_sae));
        let felt = match self.nested.as_slice() {
            [] => CodeGradient::Alike(&left.rest),
            prefixes => CodeGradient::Blocks(&left.felt, prefixes),
        };
        let scales = chosen.gates.as_ref().map_or(&[][..], |gates| &gates.scales);
        let mut terms = vec![ErrorTerm { felt, scales, ..ErrorTerm::of(&by_feature, &left.rest, factor) }];
        if let (Some(helped), Some(codes)) = (&helped, &of_the_dead) {
            terms.push(ErrorTerm::of(codes, &helped.left.rest, helped.factor));
        }
        if let Some(codes) = &by_gate {
            terms.push(ErrorTerm { codes, felt: CodeGradient::Nothing, factor, scales: &[], of_gates: true });
        }
        let bias = |sum: &f64| (sum * f64::from(factor)) as f32;
        room.decoder_bias = match inputs.decoder_bias {
            Some(_) => left.sums.iter().map(bias).collect(),
            None => Vec::new(),
        };
        let whole_direction = [inputs.shape.d_out];
        let parts = self.parts(&whole_direction);
        let directions = Directions { is_unit: self.recipe.unit, length: self.price() as f32, parts };
        let whole = room.sweep(inputs, &terms, directions)?;
        room.feel_skip(inputs, felt, factor)?;
        let more = [&room.decoder_bias, &room.threshold, &room.skip, &room.log_scale];
        let more = more.map(|numbers| f64::from(squares(arch(), numbers)));
        let loss = penalty + helped.map_or(0.0, |helped| helped.loss);
        Ok(Backward { loss, squares: whole + more.iter().sum::<f64>(), silent })
    }

    /// Returns the smallest code above 0, where the kind tracks it.
    fn smallest(&self, codes: &SparseRows) -> Option<f64> {
        let fired = codes.values.iter().copied().filter(|code| *code != 0.0);
        matches!(self.choice, CodeChoice::LargestOfAll(_)).then(|| fired.reduce(f32::min).map_or(0.0, f64::from))
    }

    /// Returns the weight of a code in the penalty, for a direction of length 1.
    fn price(&self) -> f64 {
        match self.choice {
            CodeChoice::Positive { price, .. } | CodeChoice::Gated { price } => {
                self.sparsity * price / self.inputs.rows as f64
            }
            _ => 0.0,
        }
    }

    /// Returns the parts of a direction whose lengths are penalised; `whole` is one part that is all of it.
    fn parts<'b>(&'b self, whole: &'b [usize]) -> &'b [usize] {
        match self.choice {
            CodeChoice::Positive { cost: Cost::Length, .. } => whole,
            CodeChoice::Positive { cost: Cost::Parts(widths), .. } => widths,
            _ => &[],
        }
    }

    /// Computes the penalty with its weight; its gradient by codes is added to their slopes, and by thresholds to their
    /// gradient. Gates have theirs in their own loss.
    fn penalty(&self, chosen: &ChosenCodes, slopes: &mut [f32], room: &mut FusedGradients) -> f64 {
        let ChosenCodes { codes, jumped, gates } = chosen;
        room.threshold.clear();
        room.log_scale.clear();
        if let Some(gates) = gates {
            room.log_scale = gates.gradient(codes, slopes, self.inputs);
        }
        if let (CodeChoice::Above(jump), Some(jumped)) = (self.choice, jumped) {
            let thresholds = self.inputs.threshold.unwrap_or_default();
            room.threshold = jump.gradient(jumped, codes, slopes, thresholds, self.sparsity);
            return self.sparsity * jumped.penalty[0];
        }
        let CodeChoice::Positive { cost, .. } = self.choice else { return 0.0 };
        let price = self.price();
        let mut sum = 0.0;
        if let Cost::Power(p) = cost {
            for (code, slope) in codes.values.iter().zip(slopes).filter(|(code, _)| **code > 0.0) {
                let code = f64::from(*code);
                *slope += (price * p * code.powf(p - 1.0)) as f32;
                sum += code.powf(p);
            }
            return price * sum;
        }
        let whole = [self.inputs.shape.d_out];
        let parts = self.parts(&whole);
        let lengths: Option<Vec<f32>> = (!parts.is_empty()).then(|| {
            let length = |feature| lengths_of(self.inputs.direction(feature), parts).sum();
            (0..self.inputs.shape.d_sae).map(length).collect()
        });
        for ((code, column), slope) in codes.values.iter().zip(&codes.columns).zip(slopes) {
            let length = lengths.as_ref().map_or(1.0, |lengths| lengths[*column as usize]);
            *slope += price as f32 * length;
            sum += f64::from(code * length);
        }
        price * sum
    }

    /// Counts the rows since each feature was last active, after this batch.
    fn since(&self, codes: &SparseRows) -> Vec<u64> {
        let mut silent: Vec<u64> = self.silent.iter().map(|rows| rows + self.inputs.rows as u64).collect();
        for (code, column) in codes.values.iter().zip(&codes.columns) {
            if *code != 0.0 {
                silent[*column as usize] = 0;
            }
        }
        silent
    }

    fn dead(&self, silent: &[u64]) -> Vec<u32> {
        (0..).zip(silent).filter(|(_, rows)| **rows >= self.recipe.dead_after).map(|(feature, _)| feature).collect()
    }
}
