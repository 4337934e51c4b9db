//! The loss of a model on examples: the mean of -log p of the targets, in nats.

use super::added::BoundVector;
use super::dropout::ToTheLastNorm;
use super::examples::Examples;
use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits, Pass};
use crate::tensor::{DType, Number, Tensor};

/// The regularisation of a pass, and the random stream of its dropout: the training's seed, and the number of the pass.
#[derive(Debug, Clone, Default)]
pub struct Regularisation {
    pub dropout: f64,
    /// The factor of the sum of the sizes of all neurons at a token.
    pub neuron_l1: f64,
    /// Vectors that are added at sites.
    pub added: Vec<BoundVector>,
    pub seed: u64,
    pub pass: u64,
}

/// The loss of a pass, with its gradient graph.
pub struct PassLoss {
    /// The weighted sum of -log p(target), divided by the whole.
    pub tokens: Tensor,
    /// The penalty of neurons, if there is one.
    pub penalty: Option<Tensor>,
}

impl PassLoss {
    /// Returns the number that is minimised.
    pub fn sum(&self) -> Result<Tensor> {
        Ok(match &self.penalty {
            Some(penalty) => (&self.tokens + penalty)?,
            None => self.tokens.clone(),
        })
    }
}

/// Computes the weighted sum of -log p(target), divided by `whole`, and the penalty of neurons. If `whole` is the sum of the
/// weights, the first is the mean.
pub fn loss(decoder: &Decoder, examples: &Examples, whole: f64, by: &Regularisation, task: &Task) -> Result<PassLoss> {
    let batch = Batch::new(examples.ids.clone())?;
    let random = stream(by.seed, "dropout", by.pass);
    let adds_up = by.neuron_l1 > 0.0;
    let mut hooks = ToTheLastNorm { share: by.dropout, random, added: &by.added, adds_up, sizes: None, found: None };
    decoder.forward(&batch, Pass { hooks: &mut hooks, past: None, logits: Logits::All, task })?;
    let penalty = hooks.sizes.take().map(|sizes| sizes * (by.neuron_l1 / whole)).transpose()?;
    let tokens = token_loss(decoder, examples, whole, hooks, task)?;
    Ok(PassLoss { tokens, penalty })
}

fn token_loss(decoder: &Decoder, examples: &Examples, whole: f64, hooks: ToTheLastNorm, task: &Task) -> Result<Tensor> {
    let x = hooks.found.ok_or_else(|| err!(Bug, "a pass that did not come to the last norm"))?;
    let targets: Vec<u32> = examples.targets.concat();
    let share = |count: f32| (f64::from(count) / whole) as f32;
    let counts: Vec<f32> = match &examples.counts {
        None => vec![share(1.0); targets.len()],
        Some(counts) => counts.concat().into_iter().map(share).collect(),
    };
    let losses = match decoder.by_words(targets.len()) {
        Some(by) => decoder.losses_of_rows(&x, &by, &targets, task)?,
        None if decoder.config().logit_cap.is_none() && decoder.config().logit_scale.is_none() => {
            let unembed = &decoder.weights().unembed;
            let bias = unembed.bias.as_ref();
            return Ok(kernels::cross_entropy(&x, &unembed.weight.tensor()?, bias, &targets, &counts)?);
        }
        None => {
            let x = x.reshape(((), decoder.config().d_model))?;
            kernels::token_losses(&decoder.unembedded(&x, task)?, &targets)?
        }
    };
    let counts = Tensor::from_vec(counts, targets.len(), losses.device())?.to_dtype(losses.dtype())?;
    Ok((losses * counts)?.sum_all()?)
}

/// Computes the mean loss, reading `rows` rows at a time.
pub fn mean_loss(decoder: &Decoder, examples: &Examples, rows: usize, task: &Task) -> Result<f64> {
    let mut sum = 0.0;
    for part in examples.parts(rows) {
        let loss = loss(decoder, &part, examples.weight(), &Regularisation::default(), task)?.tokens.detach();
        sum += Number::of(&loss.to_dtype(DType::F64)?)?.as_f64();
    }
    Ok(sum)
}
