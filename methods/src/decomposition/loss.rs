//! The losses of a decomposition (Bushnaq et al. 2025, section 2; the terms of the language models' runs from the authors'
//! code): faithfulness, minimality of importances, and reconstruction under masks that are drawn or chosen by an adversary.

use rand::Rng;

use super::gates::Importance;
use super::masks::{self, Mask, Sources};
use super::parts::MatrixParts;
use super::target::{Clean, Target};
use crate::common::*;

/// Number that is added to importances before they are raised to a power.
const EPS: f64 = 1e-12;

crate::options! {
    /// Weights of the losses.
    pub struct LossOptions {
        /// Weight of the minimality loss: the mean over inputs of the sum over parts of g^p, where g is the causal importance.
        minimality: f64 = 3e-3 => at_least(0.0);
        /// The power p of the minimality loss.
        p: f64 = 1.0 => above(0.0);
        /// The power at the end of the fit, to which it goes linearly.
        p_end: Option<f64> = None => usually("`p`").above(0.0);
        /// Weight of the minimality of frequent parts: of m log2(1 + n m) beside each part's mean m over n inputs.
        frequency: f64 = 0.0 => at_least(0.0);
        /// Weight of the reconstruction with all matrices masked at random.
        stochastic: f64 = 1.0 => at_least(0.0);
        /// Weight of the reconstruction with one matrix at a time masked at random.
        layerwise: f64 = 1.0 => at_least(0.0);
        /// Weight of the reconstruction with a random subset of the matrices masked at random, another one at each input.
        subset: f64 = 0.0 => at_least(0.0);
        /// Weight of the reconstruction with masks that an adversary chose.
        adversarial: f64 = 0.0 => at_least(0.0);
        /// Weight of the mean squared difference between the matrices and the sums of their parts.
        faithfulness: f64 = 0.0 => at_least(0.0);
        /// Whether what is missing in the sum of the parts is one more part, of importance 0, so that outputs do not
        /// depend on it.
        delta: bool = true;
        with adversary: AdversaryOptions;
    }

    /// The adversary that chooses masks: projected gradient ascent on their sources.
    pub struct AdversaryOptions {
        /// Steps of the adversary.
        ascent: usize = 1;
        /// Change of a source in a step of the adversary, by the sign of its gradient.
        ascent_size: f64 = 1.0 => above(0.0);
        /// Whether the adversary chooses one mask for all inputs of a batch, and not one for each.
        common: bool = true;
        /// Whether the masks of the adversary hold for a random subset of the matrices, another one at each input.
        routed: bool = false;
    }
}

impl LossOptions {
    /// Returns the power p where this share of the fit is done.
    fn power(&self, progress: f64) -> f64 {
        self.p_end.map_or(self.p, |end| self.p + (end - self.p) * progress)
    }
}

/// The sources of the masks of one step; none for losses that are not computed.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Sources for all matrices together.
    pub stochastic: Option<Vec<Sources>>,
    /// Sources for each matrix alone.
    pub layerwise: Option<Vec<Sources>>,
    /// Sources for a subset of the matrices at each input.
    pub subset: Option<Vec<Sources>>,
    /// Sources that the adversary chose.
    pub adversarial: Option<Vec<Sources>>,
}

impl Draws {
    /// Draws the random sources of the losses that have a weight.
    pub fn random(parts: &[MatrixParts], inputs: usize, of: &LossOptions, random: &mut impl Rng) -> Result<Self> {
        let mut drawn = |weight: f64| (weight > 0.0).then(|| sources(parts, inputs, of.delta, random)).transpose();
        let stochastic = drawn(of.stochastic)?;
        let layerwise = drawn(of.layerwise)?;
        let subset = drawn(of.subset)?;
        let subset = subset.map(|sources| masks::routed(sources, inputs, random)).transpose()?;
        Ok(Self { stochastic, layerwise, subset, adversarial: None })
    }

    /// Moves the sources to a device.
    pub fn on(self, device: &Device) -> Result<Self> {
        let moved = |sources: Option<Vec<Sources>>| sources.map(|sources| masks::on(&sources, device)).transpose();
        Ok(Self {
            stochastic: moved(self.stochastic)?,
            layerwise: moved(self.layerwise)?,
            subset: moved(self.subset)?,
            adversarial: moved(self.adversarial)?,
        })
    }
}

/// Draws sources for the parts of all matrices.
pub fn sources(parts: &[MatrixParts], inputs: usize, with_delta: bool, random: &mut impl Rng) -> Result<Vec<Sources>> {
    parts.iter().map(|parts| Sources::random(inputs, parts.count(), with_delta, random)).collect()
}

/// The losses of a step, each a number with its gradient graph, without their weights.
#[derive(Debug, Clone)]
pub struct Losses {
    pub faithfulness: Tensor,
    pub minimality: Tensor,
    pub stochastic: Option<Tensor>,
    pub layerwise: Option<Tensor>,
    pub subset: Option<Tensor>,
    pub adversarial: Option<Tensor>,
    /// The weighted sum.
    pub total: Tensor,
}

/// A target under masks.
pub struct MaskedTarget<'a, T: Target> {
    pub target: &'a T,
    pub parts: &'a [MatrixParts],
    /// The matrices less the sums of their parts, if that is masked, too.
    pub deltas: Option<&'a [Tensor]>,
    pub batch: &'a T::Batch,
}

impl<T: Target> MaskedTarget<'_, T> {
    /// Computes the output with masks; a matrix without one is the target's own.
    pub fn output(&self, masks: &[Option<Mask>], task: &Task) -> Result<Tensor> {
        let matrices = self.target.matrices();
        self.target.output(
            self.batch,
            &mut |number, x| {
                let own = || -> Result<Tensor> { Ok(x.matmul(&matrices[number].weight.t()?)?) };
                let Some(mask) = &masks[number] else { return own() };
                let masked = self.parts[number].masked(x, mask, self.deltas.map(|deltas| &deltas[number]))?;
                match &mask.route {
                    Some(route) => Ok(route.broadcast_as(masked.shape())?.where_cond(&masked, &own()?)?),
                    None => Ok(masked),
                }
            },
            task,
        )
    }

    /// Computes the divergence from the target with all matrices masked.
    pub fn divergence(&self, clean: &Tensor, masks: Vec<Mask>, task: &Task) -> Result<Tensor> {
        let masks: Vec<Option<Mask>> = masks.into_iter().map(Some).collect();
        self.target.divergence(clean, &self.output(&masks, task)?, task)
    }
}

/// Computes the mean squared difference between the matrices and the sums of their parts, over all of their numbers.
pub fn faithfulness(deltas: &[Tensor]) -> Result<Tensor> {
    let numbers: usize = deltas.iter().map(Tensor::elem_count).sum();
    let squares = deltas.iter().map(|delta| Ok(delta.sqr()?.sum_all()?)).collect::<Result<Vec<Tensor>>>()?;
    Ok((Tensor::stack(&squares, 0)?.sum_all()? / numbers as f64)?)
}

/// Computes the minimality loss: each part's mean over inputs of (g + eps)^p, summed over parts and matrices.
fn minimality(importances: &[Importance], options: &LossOptions, progress: f64) -> Result<Tensor> {
    let power = options.power(progress);
    let one = |importance: &Importance| -> Result<Tensor> {
        let inputs = importance.upper.dim(0)? as f64;
        let raised = (&importance.upper + EPS)?;
        let raised = if power == 1.0 { raised } else { raised.powf(power)? };
        let sums = raised.sum(0)?;
        let means = (&sums / inputs)?;
        if options.frequency == 0.0 {
            return Ok(means.sum_all()?);
        }
        let bits = ((sums + 1.0)?.log()? * (options.frequency / std::f64::consts::LN_2))?;
        Ok((&means + (&means * bits)?)?.sum_all()?)
    };
    let all = importances.iter().map(one).collect::<Result<Vec<Tensor>>>()?;
    Ok(Tensor::stack(&all, 0)?.sum_all()?)
}

/// Computes the losses of a step. `progress` is the share of the fit that is done.
pub fn losses<T: Target>(step: &LossStep<'_, T>, parts: &[MatrixParts], draws: &Draws, task: &Task) -> Result<Losses> {
    let LossStep { target, batch, clean, options, progress } = step;
    let deltas = deltas(*target, parts)?;
    let importances = importances(parts, clean)?;
    let masked = MaskedTarget { target: *target, parts, deltas: options.delta.then_some(&deltas), batch };
    let masks = |sources: &[Sources]| -> Result<Vec<Mask>> {
        sources.iter().zip(&importances).map(|(sources, importance)| sources.masks(&importance.lower)).collect()
    };
    let all_masked = |sources: &[Sources]| masked.divergence(&clean.output, masks(sources)?, task);
    let stochastic = draws.stochastic.as_deref().map(all_masked).transpose()?;
    let subset = draws.subset.as_deref().map(all_masked).transpose()?;
    let adversarial = draws.adversarial.as_deref().map(all_masked).transpose()?;
    let layerwise = draws.layerwise.as_deref().map(|sources| layerwise(&masked, clean, masks(sources)?, task));
    let layerwise = layerwise.transpose()?;
    let faithfulness = faithfulness(&deltas)?;
    let minimality = minimality(&importances, options, *progress)?;
    let mut total = (&minimality * options.minimality)?;
    for (weight, loss) in [
        (options.faithfulness, Some(&faithfulness)),
        (options.stochastic, stochastic.as_ref()),
        (options.layerwise, layerwise.as_ref()),
        (options.subset, subset.as_ref()),
        (options.adversarial, adversarial.as_ref()),
    ] {
        if let Some(loss) = loss.filter(|_| weight > 0.0) {
            total = (total + (loss * weight)?)?;
        }
    }
    Ok(Losses { faithfulness, minimality, stochastic, layerwise, subset, adversarial, total })
}

/// The inputs of the losses of a step, beside the parts and the draws.
pub struct LossStep<'a, T: Target> {
    pub target: &'a T,
    pub batch: &'a T::Batch,
    pub clean: &'a Clean,
    pub options: &'a LossOptions,
    /// The share of the fit that is done.
    pub progress: f64,
}

fn layerwise<T: Target>(masked: &MaskedTarget<'_, T>, clean: &Clean, masks: Vec<Mask>, task: &Task) -> Result<Tensor> {
    let count = masks.len();
    let one = |(number, mask): (usize, Mask)| -> Result<Tensor> {
        let mut alone: Vec<Option<Mask>> = vec![None; count];
        alone[number] = Some(mask);
        masked.target.divergence(&clean.output, &masked.output(&alone, task)?, task)
    };
    let all = masks.into_iter().enumerate().map(one).collect::<Result<Vec<Tensor>>>()?;
    Ok(Tensor::stack(&all, 0)?.mean_all()?)
}

/// Computes what is missing in the sum of each matrix's parts.
pub fn deltas<T: Target>(target: &T, parts: &[MatrixParts]) -> Result<Vec<Tensor>> {
    target.matrices().iter().zip(parts).map(|(matrix, parts)| parts.delta(&matrix.weight)).collect()
}

/// Computes the causal importances of all parts on what the target's matrices read.
pub fn importances(parts: &[MatrixParts], clean: &Clean) -> Result<Vec<Importance>> {
    parts.iter().zip(&clean.inputs).map(|(parts, x)| parts.importance(x)).collect()
}
