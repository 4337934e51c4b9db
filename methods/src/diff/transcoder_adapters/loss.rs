//! The loss of one step, with its gradients: three passes, whose gradients are added, so that one graph is held at a time.

use super::branch::{AdaptedPass, Branch};
use super::hybrid::with_base_mlps;
use super::options::AdapterLoss;
use crate::common::*;
use crate::diff::ModelPair;
use crate::model::hooks::BoundHook;
use crate::tensor::derivative::{ValueAndGradients, value_and_gradients};
use crate::tensor::float;
use crate::training::LossRecord;

/// The losses of a step, unweighted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepLosses {
    /// KL(tuned || adapted) in nats, the mean over tokens with a next one.
    pub kl: f64,
    /// The sum of KL(tuned || mixed) of the two mixed passes.
    pub bridge: f64,
    /// The relative squared error of the residual stream, the mean over the embedding and all layers.
    pub streams: f64,
    /// The L1 penalty, summed over layers.
    pub l1: f64,
    /// The number of active features, the mean over tokens and layers.
    pub l0: f64,
}

impl LossRecord<5> for StepLosses {
    const NAMES: [&'static str; 5] = ["kl", "bridge", "streams", "l1", "l0"];

    fn numbers(&self) -> [f64; 5] {
        [self.kl, self.bridge, self.streams, self.l1, self.l0]
    }

    fn from_numbers([kl, bridge, streams, l1, l0]: [f64; 5]) -> Self {
        Self { kl, bridge, streams, l1, l0 }
    }
}

/// The texts of a step, with what the tuned model predicts and writes.
pub struct Lesson {
    pub batch: Batch,
    /// Rows and columns of the tokens with a next one, and the end of the tuned model's pass there.
    points: Vec<(usize, usize)>,
    end: PassEnd,
    /// The residual stream behind each layer, in f32.
    streams: Vec<Tensor>,
}

impl Lesson {
    pub fn of(tuned: &Decoder, batch: Batch, task: &Task) -> Result<Self> {
        let place = |layer: usize| Place { site: Site::new(SiteKind::ResidPost, layer), head: None };
        let places: Vec<Place> = (0..tuned.config().layers).map(place).collect();
        let with_next = |(row, length): (usize, usize)| (0..length.saturating_sub(1)).map(move |column| (row, column));
        let points: Vec<_> = batch.lengths().into_iter().enumerate().flat_map(with_next).collect();
        let (cache, end) = tuned.run_to_end(&batch, Ask { places: places.clone(), ..Ask::default() }, &points, task)?;
        let stream = |place: &Place| dtype::convert(&cache.at(*place)?.detach(), DType::F32);
        let streams = places.iter().map(stream).collect::<Result<_>>()?;
        Ok(Self { batch, points, end, streams })
    }
}

/// The models and the weights of the losses.
#[derive(Clone, Copy)]
pub struct LossStep<'a> {
    pub pair: ModelPair<'a>,
    /// The tuned model with the MLPs of its base in all layers.
    pub hybrid: &'a Decoder,
    pub weights: &'a AdapterLoss,
}

impl LossStep<'_> {
    /// Computes the losses at some tensors of adapters, and the gradients of their weighted sum. In the mixed passes the layers
    /// before `cut` are of one model and the others of the other.
    pub fn losses(
        &self,
        tensors: &[Tensor],
        lesson: &Lesson,
        cut: usize,
        task: &Task,
    ) -> Result<(StepLosses, Vec<Tensor>)> {
        let layers = self.pair.tuned.decoder.config().layers;
        let mut found = StepLosses::default();
        let whole = self.adapted(tensors, lesson, &mut found, task)?;
        let mut gradients = whole.gradients;
        // With no adapted layer a mixed pass is the tuned model, and has no gradient.
        let mixed: [(usize, &dyn Fn(usize) -> bool); 2] =
            [(cut, &|layer| layer < cut), (layers - cut, &|layer| layer >= cut)];
        for (count, is_adapted) in mixed {
            if count == 0 || self.weights.bridge == 0.0 {
                continue;
            }
            let more = self.mixed(tensors, lesson, is_adapted, task)?;
            found.bridge += more.value / self.weights.bridge;
            for (sum, more) in gradients.iter_mut().zip(&more.gradients) {
                *sum = (&*sum + more)?;
            }
        }
        Ok((found, gradients))
    }

    /// Computes KL + streams + l1 of the pass in which all layers are adapted.
    fn adapted(
        &self,
        tensors: &[Tensor],
        lesson: &Lesson,
        found: &mut StepLosses,
        task: &Task,
    ) -> Result<ValueAndGradients> {
        let decoder = self.hybrid;
        let layers = decoder.config().layers as f64;
        let mut loss = |tensors: &[Tensor]| {
            let branches = Branch::of(tensors);
            let pass = AdaptedPass::new(&branches, &|_| true, Some(&lesson.streams));
            let hooks = AdaptedPass::hooks(&pass, decoder.config())?;
            let kl = divergence(lesson, decoder, hooks, task)?;
            let sums = pass.borrow_mut().sums();
            let missing = || err!(Bug, "a pass without adapted layers");
            let l1 = sums.l1.ok_or_else(missing)?;
            // The embedding is the tuned model's, so that its error is 0.
            let streams = (sums.streams.ok_or_else(missing)? / (layers + 1.0))?;
            *found = StepLosses {
                kl: float(&kl)?,
                bridge: 0.0,
                streams: float(&streams)?,
                l1: float(&l1)?,
                l0: sums.active / layers,
            };
            let weights = self.weights;
            Ok(((kl + (streams * weights.streams)?)? + (l1 * weights.l1)?)?)
        };
        value_and_gradients(&mut loss, tensors, task)
    }

    /// Computes the weighted KL of a pass in which some layers are adapted, and the others the tuned model's.
    fn mixed(
        &self,
        tensors: &[Tensor],
        lesson: &Lesson,
        is_adapted: &dyn Fn(usize) -> bool,
        task: &Task,
    ) -> Result<ValueAndGradients> {
        let decoder = with_base_mlps(self.pair, is_adapted)?;
        let mut loss = |tensors: &[Tensor]| {
            let branches = Branch::of(tensors);
            let pass = AdaptedPass::new(&branches, is_adapted, None);
            let hooks = AdaptedPass::hooks(&pass, decoder.config())?;
            let kl = divergence(lesson, &decoder, hooks, task)?;
            Ok((kl * self.weights.bridge)?)
        };
        value_and_gradients(&mut loss, tensors, task)
    }
}

/// Computes KL(tuned || decoder with hooks), the mean over tokens with a next one.
fn divergence(lesson: &Lesson, decoder: &Decoder, hooks: Vec<BoundHook>, task: &Task) -> Result<Tensor> {
    let (_, end) = decoder.run_to_end(&lesson.batch, Ask { hooks, ..Ask::default() }, &lesson.points, task)?;
    dtype::convert(&decoder.divergences(&lesson.end, &end, task)?.mean_all()?, DType::F32)
}
