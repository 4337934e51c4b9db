//! A decomposition: the parts of all matrices, with what they are parts of.

use rand::Rng;

use super::fit::{self, Fitted};
use super::gates::Importance;
use super::loss::{self, AdversaryOptions, LossOptions, LossStep, MaskedTarget};
use super::masks::{Mask, Sources};
use super::network::{Network, NetworkTarget, SparseInputs};
use super::options::FitOptions;
use super::parts::MatrixParts;
use super::state::StepLosses;
use super::target::{Clean, Target, TargetMatrix};
use crate::base::random::{OF_CALL, Seed, stream};
use crate::base::{Result, Task, names};
use crate::err;
use crate::tensor::{Tensor, floats};
use crate::training::CheckpointFolder;

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
    #[derive(Debug, Clone)]
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

/// A column of a matrix, and the part that is nearest to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnMatch {
    pub part: usize,
    /// The cosine of the column and that of the part.
    pub cosine: f64,
    /// The norm of the part's column over that of the column.
    pub ratio: f64,
}

impl Decomposition {
    /// Decomposes the matrices of a network.
    pub fn of_network(
        network: &Network,
        inputs: &SparseInputs,
        options: &FitOptions,
        folder: Option<CheckpointFolder>,
        task: &Task,
    ) -> Result<Self> {
        let target = NetworkTarget::new(network, inputs, options.seed.draws());
        let fitted = fit::fit(&target, options, folder, task)?;
        Ok(Self::new(fitted, &target, Decomposed::Network(network.clone()), options))
    }

    pub(super) fn new<T: Target>(fitted: Fitted, target: &T, of: Decomposed, options: &FitOptions) -> Self {
        let Fitted { parts, history, is_whole } = fitted;
        Self { parts, matrices: target.matrices().to_vec(), of, history, options: options.json(), is_whole }
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
            Ok(Some(Mask { parts, delta: None }))
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

    /// Finds the nearest part to each column of a matrix: the highest cosine of the column W_j and the part's, U_c V_jc, and
    /// the ratio of their norms (the paper's MMCS and ML2R are the means over columns).
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
        let cosines = (cosines * parts.v.sign()?)?.to_vec2::<f32>()?;
        let sizes = parts.v.abs()?.broadcast_mul(&written.t()?)?.broadcast_div(&wanted)?.to_vec2::<f32>()?;
        let nearest = |(cosines, sizes): (Vec<f32>, Vec<f32>)| {
            let best = cosines.iter().zip(sizes).enumerate().max_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b));
            let (part, (cosine, ratio)) = best?;
            Some(ColumnMatch { part, cosine: f64::from(*cosine), ratio: f64::from(ratio) })
        };
        Ok(cosines.into_iter().zip(sizes).filter_map(nearest).collect())
    }
}

impl<T: Target> LossStep<'_, T> {
    /// Computes the divergence under random masks, and under those that the adversary makes of them.
    pub fn errors(&self, parts: &[MatrixParts], random: &mut impl Rng, task: &Task) -> Result<MaskedErrors> {
        let inputs = self.clean.inputs.first().map_or(0, |x| x.dims()[0]);
        let device = self.clean.output.device();
        let drawn = loss::Draws::random(parts, inputs, self.options.delta, random)?.on(device)?.stochastic;
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
