//! The losses of one step, with their gradients: passes whose gradients are added, so that one graph is held at a time.
//!
//!     own + error + to_sparse + to_dense
//!     error     = sum over sites of NMSE(f(d), s) + NMSE(g(s), d)
//!     to_sparse = sum over sites of KL(y || the sparse model from f(d) on)
//!     to_dense  = sum over sites of KL(y || the dense model from g(s) on)
//!
//! d and s are the streams of the dense and of the sparse model, f an encoder, g a decoder, y what the dense model predicts. The
//! variance that an error is divided by counts as a constant. The passes that end in the dense model are made first: what they
//! ask of s is a term of the pass of the sparse model.

use super::options::BridgeLoss;
use super::sites::{StreamedPass, logits_from, streams};
use super::{TENSORS, dictionary};
use crate::common::*;
use crate::model::weights::Weights;
use crate::sae::{About, Sae};
use crate::tensor::derivative::value_and_gradients;
use crate::tensor::{float, normalise};
use crate::training::LossRecord;

/// Added to a variance, which is 0 where a stream is the same at all tokens.
const SMALL: f64 = 1e-8;

/// Losses of a step without their weights; those of passes that were not made are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLosses {
    /// Loss of the sparse model in nats, the mean over tokens with a next one.
    pub own: f64,
    pub error: f64,
    pub to_sparse: f64,
    pub to_dense: f64,
}

impl LossRecord<4> for StepLosses {
    const NAMES: [&'static str; 4] = ["own", "error", "to_sparse", "to_dense"];

    fn numbers(&self) -> [f64; 4] {
        [self.own, self.error, self.to_sparse, self.to_dense]
    }

    fn from_numbers([own, error, to_sparse, to_dense]: [f64; 4]) -> Self {
        Self { own, error, to_sparse, to_dense }
    }
}

/// Texts of a step, with the stream of the dense model and what it predicts.
pub struct Lesson {
    pub batch: Batch,
    /// Rows and columns of the tokens with a next one that counts.
    pub points: Vec<(usize, usize)>,
    pub dense: StreamedPass,
}

impl Lesson {
    pub fn of(dense: &Decoder, sites: &[Site], batch: Batch, points: Vec<(usize, usize)>, task: &Task) -> Result<Self> {
        let dense = StreamedPass::new(dense, sites, &batch, &points, task)?;
        Ok(Self { batch, points, dense })
    }

    /// Returns the next token at each point.
    fn targets(&self) -> Vec<u32> {
        self.points.iter().map(|(row, column)| self.batch.rows()[*row][column + 1]).collect()
    }

    /// Computes KL(dense || mixed) at each point, in nats, of a pass of a model that begins with this stream at a site.
    pub fn divergences(&self, decoder: &Decoder, site: Site, stream: &Tensor, task: &Task) -> Result<Tensor> {
        let logits = logits_from(decoder, &self.batch, site, stream, &self.points, task)?;
        normalise::divergences(&self.dense.logits, &logits)
    }
}

/// Models, whose sparse weights and bridges are given as tensors, and the weights of the losses.
#[derive(Clone, Copy)]
pub struct BridgeStep<'a> {
    pub dense: &'a Decoder,
    pub sparse: &'a Decoder,
    pub sites: &'a [Site],
    /// Number of channels that an encoder predicts.
    pub active: usize,
    pub loss: &'a BridgeLoss,
}

impl BridgeStep<'_> {
    /// Computes the losses, and the gradients of their weighted sum. The tensors are the weights of the sparse model, and
    /// behind them those of each bridge.
    pub fn losses(&self, tensors: &[Tensor], lesson: &Lesson, task: &Task) -> Result<(StepLosses, Vec<Tensor>)> {
        let count = tensors.len() - TENSORS.len() * self.sites.len();
        let mut losses = StepLosses { own: f64::NAN, error: 0.0, to_sparse: f64::NAN, to_dense: f64::NAN };
        let zeros: Result<Vec<Tensor>> = tensors.iter().map(|tensor| Ok(tensor.zeros_like()?)).collect();
        let mut gradients = zeros?;
        let mut asked = Vec::new();
        if self.loss.to_dense > 0.0 {
            let plain = with_weights(self.sparse, &tensors[..count])?;
            losses.to_dense = 0.0;
            for (number, stream) in streams(&plain, self.sites, &lesson.batch, task)?.into_iter().enumerate() {
                let own = tensors_of(number, count);
                let (kl, mut found) = self.ending_dense(&tensors[own.clone()], number, stream, lesson, task)?;
                losses.to_dense += kl;
                asked.extend(found.pop());
                add(&mut gradients[own], &found)?;
            }
        }
        if self.loss.to_sparse > 0.0 {
            losses.to_sparse = 0.0;
            for number in 0..self.sites.len() {
                let own = tensors_of(number, count);
                let (kl, found) = self.ending_sparse(&tensors[own.clone()], &tensors[..count], number, lesson, task)?;
                losses.to_sparse += kl;
                let (of_bridge, of_weights) = found.split_at(TENSORS.len());
                add(&mut gradients[own], of_bridge)?;
                add(&mut gradients[..count], of_weights)?;
            }
        }
        let found = self.of_sparse(tensors, count, &asked, &mut losses, lesson, task)?;
        add(&mut gradients, &found)?;
        Ok((losses, gradients))
    }

    /// Computes the KL of a pass that begins in the sparse model and ends in the dense one, and the gradients of its weighted
    /// value: those of the bridge's tensors, and of the stream.
    fn ending_dense(
        &self,
        bridge: &[Tensor],
        number: usize,
        stream: Tensor,
        lesson: &Lesson,
        task: &Task,
    ) -> Result<(f64, Vec<Tensor>)> {
        let weight = self.loss.to_dense;
        let mut value = |at: &[Tensor]| -> Result<Tensor> {
            let stream = self.bridge(&at[..TENSORS.len()])?.decode(&at[TENSORS.len()])?;
            let found = lesson.divergences(self.dense, self.sites[number], &stream, task)?;
            Ok((found.mean_all()? * weight)?)
        };
        let at: Vec<Tensor> = bridge.iter().cloned().chain([stream]).collect();
        let found = value_and_gradients(&mut value, &at, task)?;
        Ok((found.value / weight, found.gradients))
    }

    /// Computes the KL of a pass that begins in the dense model and ends in the sparse one, and the gradients of its weighted
    /// value: those of the bridge's tensors, and of the sparse weights.
    fn ending_sparse(
        &self,
        bridge: &[Tensor],
        weights: &[Tensor],
        number: usize,
        lesson: &Lesson,
        task: &Task,
    ) -> Result<(f64, Vec<Tensor>)> {
        let weight = self.loss.to_sparse;
        let mut value = |at: &[Tensor]| -> Result<Tensor> {
            let (bridge, weights) = at.split_at(TENSORS.len());
            let stream = self.bridge(bridge)?.encode(&lesson.dense.streams[number])?;
            let sparse = with_weights(self.sparse, weights)?;
            let found = lesson.divergences(&sparse, self.sites[number], &stream, task)?;
            Ok((found.mean_all()? * weight)?)
        };
        let at: Vec<Tensor> = bridge.iter().chain(weights).cloned().collect();
        let found = value_and_gradients(&mut value, &at, task)?;
        Ok((found.value / weight, found.gradients))
    }

    /// Computes the pass of the sparse model: its loss, the errors of the bridges, and the gradients of their weighted sum with
    /// what other passes ask of its stream.
    fn of_sparse(
        &self,
        tensors: &[Tensor],
        count: usize,
        asked: &[Tensor],
        losses: &mut StepLosses,
        lesson: &Lesson,
        task: &Task,
    ) -> Result<Vec<Tensor>> {
        let targets = lesson.targets();
        let mut value = |at: &[Tensor]| -> Result<Tensor> {
            let sparse = with_weights(self.sparse, &at[..count])?;
            let pass = StreamedPass::new(&sparse, self.sites, &lesson.batch, &lesson.points, task)?;
            let own = kernels::token_losses(&pass.logits, &targets)?.mean_all()?;
            losses.own = float(&own.detach())?;
            let mut sum = (own * self.loss.own)?;
            for (number, stream) in pass.streams.iter().enumerate() {
                let bridge = self.bridge(&at[tensors_of(number, count)])?;
                let of_dense = &lesson.dense.streams[number];
                let encoded = relative_error(&bridge.encode(of_dense)?, stream)?;
                let error = (encoded + relative_error(&bridge.decode(stream)?, of_dense)?)?;
                losses.error += float(&error.detach())?;
                sum = (sum + (error * self.loss.error)?)?;
                if let Some(asked) = asked.get(number) {
                    sum = (sum + (stream * asked)?.sum_all()?)?;
                }
            }
            Ok(sum)
        };
        Ok(value_and_gradients(&mut value, tensors, task)?.gradients)
    }

    fn bridge(&self, tensors: &[Tensor]) -> Result<Sae> {
        dictionary(tensors, self.active, About::default())
    }
}

/// Returns the places of the tensors of a bridge, behind so many weights.
fn tensors_of(number: usize, count: usize) -> Range<usize> {
    let first = count + TENSORS.len() * number;
    first..first + TENSORS.len()
}

/// Returns a model with these weights, in the order in which a model is built.
pub fn with_weights(decoder: &Decoder, tensors: &[Tensor]) -> Result<Decoder> {
    let mut next = tensors.iter();
    let weights = Weights::build(decoder.config(), &mut |name, _| {
        next.next().cloned().ok_or_else(|| err!(Bug, "no tensor for the weight `{name}`"))
    })?;
    Ok(decoder.with_weights(weights))
}

/// Computes the mean squared error over the variance of the target, which counts as a constant.
fn relative_error(found: &Tensor, target: &Tensor) -> Result<Tensor> {
    let fixed = target.detach();
    let variance = float(&fixed.broadcast_sub(&fixed.mean_keepdim((0, 1))?)?.sqr()?.mean_all()?)?;
    Ok(((found - target)?.sqr()?.mean_all()? / (variance + SMALL))?)
}

fn add(sums: &mut [Tensor], more: &[Tensor]) -> Result<()> {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = (&*sum + more)?;
    }
    Ok(())
}
