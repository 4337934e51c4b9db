//! A decomposition: the parts of all matrices, with what they are parts of.

use rand::Rng;

use super::gates::Importance;
use super::loss::{self, AdversaryOptions, LossOptions, LossStep, MaskedTarget};
use super::masks::{Mask, Sources};
use super::network::{Network, NetworkTarget, SparseInputs};
use super::parts::MatrixParts;
use super::state::StepLosses;
use super::target::{Clean, Target, TargetMatrix};
use crate::common::*;

/// The parts of all matrices of a network, or of an MLP of a language model.
#[derive(Debug, Clone)]
pub struct Decomposition {
    pub parts: Vec<MatrixParts>,
    /// The matrices that the parts sum to.
    pub matrices: Vec<TargetMatrix>,
    pub of: Decomposed,
    /// The losses of each step of the fit.
    pub history: Vec<StepLosses>,
    /// The options of the fit, by their names.
    pub options: serde_json::Value,
    /// Whether the fit was completed, or interrupted.
    pub is_whole: bool,
}

/// The function that was decomposed.
#[derive(Debug, Clone)]
pub enum Decomposed {
    Network(Network),
    Mlp(MlpName),
}

/// The name of an MLP: that of its model, and its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlpName {
    pub model: String,
    pub layer: usize,
}

crate::choices! {
    /// The masks with which a decomposition is run.
    pub enum MaskChoice {
        /// The causal importances: as little of each part as may be.
        Importance = "importance",
        /// Random masks between the causal importances and 1, as in the fit.
        Random = "random",
        /// Parts whose importance is above the threshold in whole, and no others.
        Active = "active",
        /// All parts in whole.
        All = "all",
    }
}

crate::options! {
    /// A run with masked parts.
    pub struct RunMaskedOptions {
        /// Masks of the parts.
        masks: MaskChoice = MaskChoice::Importance;
        /// Importance above which a part is active.
        threshold: f64 = 0.1 => at_least(0.0).only("masks", &["active"]);
        /// The seed of random masks.
        seed: Seed = Seed::default() => usually(OF_CALL).only("masks", &["random"]);
    }
}

/// The errors of outputs under masks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskedErrors {
    /// The divergence with random masks.
    pub random: f64,
    /// The divergence with the masks that the adversary chose.
    pub worst: f64,
}

/// A column of a matrix, and its part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnMatch {
    pub part: usize,
    /// The cosine of the column and that of the part.
    pub cosine: f64,
    /// The norm of the part's column over that of the column.
    pub ratio: f64,
}

impl Decomposition {
    /// Moves the parts of a language model's MLP to a device; networks are computed on the CPU.
    pub fn to_device(mut self, device: &Device) -> Result<Self> {
        if matches!(self.of, Decomposed::Network(_)) {
            return Ok(self);
        }
        self.parts = self.parts.iter().map(|parts| parts.to_device(device)).collect::<Result<_>>()?;
        for matrix in &mut self.matrices {
            matrix.weight = matrix.weight.to_device(device)?;
        }
        Ok(self)
    }

    /// Returns the number of a matrix by its name.
    pub fn place(&self, name: &str) -> Result<usize> {
        let known = || self.parts.iter().map(|parts| parts.name.as_str());
        self.parts.iter().position(|parts| parts.name == name).ok_or_else(|| {
            let all: Vec<String> = known().map(|name| format!("`{name}`")).collect();
            err!(Name, "expected the name of a matrix ({}), found {name:?}", all.join(", "))
                .maybe_hint(names::suggestion(name, known()))
                .about("name")
        })
    }

    /// Returns the network that was decomposed, and refuses what is another target.
    pub fn network(&self) -> Result<&Network> {
        match &self.of {
            Decomposed::Network(network) => Ok(network),
            Decomposed::Mlp(mlp) => Err(err!(
                Argument,
                "expected the decomposition of a network of layers, found one of the MLP of layer {} of {}",
                mlp.layer,
                mlp.model
            )
            .hint("`d.contexts(model, text, name, part)` and `d.card(..)` read what a language model's parts do")),
        }
    }

    /// Computes the network on inputs, with what its matrices read.
    fn clean(&self, x: &Tensor) -> Result<(Tensor, Clean)> {
        let network = self.network()?;
        let x = network.read(x)?;
        let inputs = SparseInputs::default();
        let clean = Clean::of(&NetworkTarget::new(network, &inputs, 0), &x, &Task::default())?;
        Ok((x, clean))
    }

    /// Computes the causal importances of all parts on inputs of the network, `[inputs, parts]` for each matrix.
    pub fn importances(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let (_, clean) = self.clean(x)?;
        let importance = |importance: Importance| importance.lower.detach();
        Ok(loss::importances(&self.parts, &clean)?.into_iter().map(importance).collect())
    }

    /// Computes the outputs of the network with masked parts. What is missing in their sum is left out.
    pub fn run(&self, x: &Tensor, options: &RunMaskedOptions) -> Result<Tensor> {
        let (x, clean) = self.clean(x)?;
        let mut random = stream(options.seed.draws(), "masks of a run", 0);
        let mut mask = |importance: Importance| -> Result<Option<Mask>> {
            let importance = importance.lower.detach();
            let parts = match options.masks {
                MaskChoice::Importance => importance,
                MaskChoice::All => importance.ones_like()?,
                MaskChoice::Active => importance.gt(options.threshold)?.to_dtype(importance.dtype())?,
                MaskChoice::Random => {
                    let (inputs, parts) = importance.dims2()?;
                    Sources::random(inputs, parts, false, &mut random)?.masks(&importance)?.parts
                }
            };
            Ok(Some(Mask { parts, delta: None, route: None }))
        };
        let masks = loss::importances(&self.parts, &clean)?.into_iter().map(&mut mask).collect::<Result<Vec<_>>>()?;
        let inputs = SparseInputs::default();
        let target = NetworkTarget::new(self.network()?, &inputs, 0);
        let masked = MaskedTarget { target: &target, parts: &self.parts, deltas: None, batch: &x };
        Ok(masked.output(&masks, &Task::default())?.detach())
    }

    /// Computes the errors of the network's outputs under random masks, and under those of an adversary.
    pub fn masked_errors(
        &self,
        x: &Tensor,
        adversary: &AdversaryOptions,
        seed: u64,
        task: &Task,
    ) -> Result<MaskedErrors> {
        let (x, clean) = self.clean(x)?;
        let inputs = SparseInputs::default();
        let target = NetworkTarget::new(self.network()?, &inputs, 0);
        let options = LossOptions { adversary: adversary.clone(), ..Default::default() };
        let step = LossStep { target: &target, batch: &x, clean: &clean, options: &options, progress: 1.0 };
        step.errors(&self.parts, &mut stream(seed, "masked errors", 0), task)
    }

    /// Computes the mean squared difference between the matrices and the sums of their parts.
    pub fn faithfulness(&self) -> Result<f64> {
        let deltas = self.parts.iter().zip(&self.matrices).map(|(parts, matrix)| parts.delta(&matrix.weight));
        Ok(floats(&loss::faithfulness(&deltas.collect::<Result<Vec<_>>>()?)?)?[0])
    }

    /// Finds the part of each column W_j of a matrix: the one whose column U_c V_jc reaches furthest along it, with the cosine of
    /// both columns and the ratio of their norms. The means over columns are the paper's MMCS and ML2R, which take the part with
    /// the highest cosine: parts of a norm near 0 point anywhere, and one of them may be nearer.
    pub fn columns(&self, name: &str) -> Result<Vec<ColumnMatch>> {
        let place = self.place(name)?;
        let parts = &self.parts[place];
        let matrix = self.matrices[place].weight.t()?.contiguous()?;
        let norms = |t: &Tensor| -> Result<Tensor> {
            Ok(t.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f64::from(f32::MIN_POSITIVE))?)
        };
        let written = norms(&parts.u)?;
        let wanted = norms(&matrix)?;
        let cosines = matrix.broadcast_div(&wanted)?.matmul(&parts.u.broadcast_div(&written)?.t()?)?;
        let cosines = (cosines * parts.v.sign()?)?;
        let sizes = parts.v.abs()?.broadcast_mul(&written.t()?)?.broadcast_div(&wanted)?;
        let reach = (&cosines * &sizes)?.to_vec2::<f32>()?;
        let cosines = cosines.to_vec2::<f32>()?;
        let sizes = sizes.to_vec2::<f32>()?;
        let furthest = |(column, reach): (usize, &Vec<f32>)| {
            let (part, _) = reach.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
            let cosine = f64::from(cosines[column][part]);
            Some(ColumnMatch { part, cosine, ratio: f64::from(sizes[column][part]) })
        };
        Ok(reach.iter().enumerate().filter_map(furthest).collect())
    }
}

impl<T: Target> LossStep<'_, T> {
    /// Computes the divergence under random masks, and under those that the adversary makes of them.
    pub fn errors(&self, parts: &[MatrixParts], random: &mut impl Rng, task: &Task) -> Result<MaskedErrors> {
        let drawn = self.begun(parts, random)?;
        let worst = self.worst(parts, drawn.clone(), task)?;
        let deltas = loss::deltas(self.target, parts)?;
        let deltas = self.options.delta.then_some(deltas.as_slice());
        let masked = MaskedTarget { target: self.target, parts, deltas, batch: self.batch };
        let importances = loss::importances(parts, self.clean)?;
        let error = |sources: &[Sources]| -> Result<f64> {
            let masks = sources.iter().zip(&importances).map(|(sources, importance)| sources.masks(&importance.lower));
            let masks = masks.collect::<Result<Vec<_>>>()?;
            Ok(floats(&masked.divergence(&self.clean.output, masks, task)?)?[0])
        };
        Ok(MaskedErrors { random: error(&drawn)?, worst: error(&worst)? })
    }
}
