//! The effect of masked parts on a language model: how far its predictions move where an MLP is run by some of its parts
//! alone, and how many parts these are (the masks are those of the authors' `CEandKLLosses`).

use rand::Rng;
use rand::seq::SliceRandom;

use super::loss::{self, AdversaryOptions, LossOptions, LossStep, MaskedTarget};
use super::masks::{self, Mask, Sources};
use super::mlp::{MlpInputs, MlpTarget};
use super::parts::MatrixParts;
use super::result::Decomposition;
use super::target::Clean;
use crate::sae::prelude::*;
use crate::tensor::float;

/// The columns before those of the matrices.
const COLUMNS: [&str; 3] = ["masks", "KL", "recovered"];

crate::options! {
    /// A measurement of an MLP that is run by masked parts.
    pub struct MaskEffectOptions {
        /// Importance above which a part is active.
        threshold: f64 = 0.1 => at_least(0.0);
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with inputs: MlpInputs;
        with adversary: AdversaryOptions;
    }
}

/// The masks of one row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaskKind {
    /// No part at all.
    Nothing,
    /// All parts in whole.
    All,
    /// Random masks between the importances and 1, as in a fit.
    Random,
    /// Random masks that an adversary made worse.
    Worst,
    /// The importances.
    Importance,
    /// Parts in whole whose importance is above the threshold.
    Active,
    /// The active parts of other tokens.
    Shuffled,
}

impl MaskKind {
    /// The kinds in the order of the table; the others are compared with the first.
    const LISTED: [Self; 7] =
        [Self::Nothing, Self::All, Self::Random, Self::Worst, Self::Importance, Self::Active, Self::Shuffled];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::All => "all",
            Self::Random => "random",
            Self::Worst => "worst",
            Self::Importance => "importance",
            Self::Active => "active",
            Self::Shuffled => "of other tokens",
        }
    }
}

/// Some rows of text, from which masks are made.
struct MaskedBatch<'a> {
    step: LossStep<'a, MlpTarget<'a>>,
    parts: &'a [MatrixParts],
    /// The importances of each matrix's parts: `[tokens, parts]`.
    importances: Vec<Tensor>,
    threshold: f64,
}

impl MaskedBatch<'_> {
    fn masks(&self, kind: MaskKind, random: &mut impl Rng, task: &Task) -> Result<Vec<Mask>> {
        let each = |of: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<Vec<Mask>> {
            let mask = |parts: Tensor| Mask { parts, delta: None, route: None };
            self.importances.iter().map(|importance| Ok(mask(of(importance)?))).collect()
        };
        let drawn = |sources: &[Sources]| -> Result<Vec<Mask>> {
            sources.iter().zip(&self.importances).map(|(sources, importance)| sources.masks(importance)).collect()
        };
        let active = |importance: &Tensor| -> Result<Tensor> {
            Ok(importance.gt(self.threshold)?.to_dtype(importance.dtype())?)
        };
        match kind {
            MaskKind::Nothing => each(&|importance| Ok(importance.zeros_like()?)),
            MaskKind::All => each(&|importance| Ok(importance.ones_like()?)),
            MaskKind::Importance => each(&|importance| Ok(importance.clone())),
            MaskKind::Active => each(&active),
            MaskKind::Shuffled => {
                let count = self.step.clean.count();
                let mut order: Vec<u32> = (0..count as u32).collect();
                order.shuffle(random);
                let order = Tensor::from_vec(order, count, self.step.clean.output.device())?;
                each(&|importance| Ok(active(importance)?.index_select(&order, 0)?))
            }
            MaskKind::Random => {
                let sources = loss::sources(self.parts, self.step.clean.count(), true, random)?;
                drawn(&masks::on(&sources, self.step.clean.output.device())?)
            }
            MaskKind::Worst => {
                let begun = self.step.begun(self.parts, random)?;
                drawn(&self.step.worst(self.parts, begun, task)?)
            }
        }
    }
}

/// Sums over the tokens of a text.
#[derive(Debug, Clone, Default)]
struct MaskSums {
    divergence: f64,
    /// The masks of each matrix's parts.
    parts: Vec<f64>,
}

impl Decomposition {
    /// Measures how far a model's predictions move on a text where the MLP is run by masked parts: the mean KL divergence at a
    /// token, and how many parts of each matrix are left there. What is missing in the sum of the parts is left out, but for
    /// random masks and those of the adversary, which mask it, too.
    pub fn effect(&self, model: &Model, text: &Text, options: &MaskEffectOptions, task: &Task) -> Result<Table> {
        let MaskEffectOptions { threshold, seed, inputs, adversary } = options;
        let (layer, _) = self.layer(model)?;
        let target = MlpTarget::new(model, layer, text, inputs, 0, task)?;
        let losses = LossOptions { adversary: adversary.clone(), ..LossOptions::default() };
        let deltas = loss::deltas(&target, &self.parts)?;
        let mut random = stream(seed.draws(), "masks of an effect", 0);
        let mut sums = vec![MaskSums::default(); MaskKind::LISTED.len()];
        let mut tokens = 0.0;
        let bar = task.begin("measuring masked parts", Some(target.count()));
        for batch in target.batches(task) {
            let batch = batch?;
            let clean = Clean::of(&target, &batch, task)?;
            let importances = loss::importances(&self.parts, &clean)?;
            let masked = MaskedTarget { target: &target, parts: &self.parts, deltas: Some(&deltas), batch: &batch };
            let of_batch = MaskedBatch {
                step: LossStep { target: &target, batch: &batch, clean: &clean, options: &losses, progress: 1.0 },
                parts: &self.parts,
                importances: importances.into_iter().map(|importance| importance.lower.detach()).collect(),
                threshold: *threshold,
            };
            let count = clean.count() as f64;
            for (kind, sums) in MaskKind::LISTED.into_iter().zip(&mut sums) {
                let masks = of_batch.masks(kind, &mut random, task)?;
                sums.parts.resize(masks.len(), 0.0);
                for (sum, mask) in sums.parts.iter_mut().zip(&masks) {
                    *sum += float(&mask.parts.sum_all()?)?;
                }
                sums.divergence += count * float(&masked.divergence(&clean.output, masks, task)?)?;
            }
            tokens += count;
            bar.advance(batch.rows() as u64);
        }
        let nothing = sums[0].divergence;
        let row = |(kind, sums): (MaskKind, &MaskSums)| {
            let recovered = 1.0 - sums.divergence / nothing;
            let mut cells = vec![kind.name().into(), (sums.divergence / tokens).into(), Cell::unless_nan(recovered)];
            cells.extend(sums.parts.iter().map(|sum| Cell::from(sum / tokens)));
            cells
        };
        let columns = COLUMNS.into_iter().chain(self.parts.iter().map(|parts| parts.name.as_str()));
        let title = format!("predictions with the MLP of layer {layer} by masked parts");
        Ok(Table::new(title, columns, MaskKind::LISTED.into_iter().zip(&sums).map(row)))
    }
}
