//! Edge pruning by optimised masks (Bhaskar et al. 2024): a number m in [0, 1] for each edge, with which the receiver
//! reads m times what the sender writes in this run and 1 - m times what cut edges carry.
//!
//! Masks are drawn from hard concrete distributions (`concrete`). The loss is KL(whole model || masked model) with a
//! penalty on the share s of masks that are not 0, whose target t falls from 1 to the requested share over the first
//! half of the steps:
//!
//!     KL + a (s - t) + b (s - t)^2
//!
//! Masks descend, and the multipliers a and b ascend. The result is, for each edge, the probability that its mask is
//! not 0. Masks begin alike, or with the scores of another method (`warm`); t then falls from the share they begin with.

mod concrete;
mod run;
mod warm;

use rand_chacha::ChaCha8Rng;

use super::runs::EdgeRuns;
use super::{EdgeAblation, graph_of, provenance};
use crate::circuit::graph::Graph;
use crate::intervene::metric::Measure;
use crate::sae::prelude::*;
use crate::tensor::derivative::{TensorFunction, value_and_gradients};
use crate::training::descent::{Descent, DescentOptions, DescentRule, Steps, descend};

crate::options! {
    pub struct EdgePruningOptions {
        /// The share of edges that is to remain.
        target: f64 = 0.1 => above(0.0).at_most(1.0);
        /// Number of steps.
        steps: usize = 200 => at_least(2.0);
        /// Learning rate of masks and multipliers.
        lr: f64 = 0.1 => above(0.0);
        /// The activation that a cut edge carries.
        ablation: EdgeAblation = EdgeAblation::Corrupt;
        /// Seed of the draws.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// The initial parameter of masks: each is 0 with a probability of a few percent.
const BEGIN: f64 = 2.0;
const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };

/// Computes the probability that each edge remains, as a graph of all edges. An interruption leaves the masks as they
/// are. Masks begin with scores of all edges, where there are such.
pub fn edge_pruning(
    model: &Model,
    pairs: &[TokenPair],
    begin: Option<&Graph>,
    options: &EdgePruningOptions,
    task: &Task,
) -> Result<Graph> {
    let runs = EdgeRuns::new(model, pairs, Measure::Kl(Prompt::Clean), options.ablation, task)?;
    let edges = runs.wiring.edges();
    let device = model.decoder.device();
    let (masks, share) = match begin {
        None => (Tensor::full(BEGIN as f32, edges, device)?, 1.0),
        Some(scores) => {
            let masks = warm::parameters(&runs.wiring, scores, options.target)?;
            (Tensor::from_vec(masks, edges, device)?, warm::share(options.target))
        }
    };
    let begun = vec![("masks".to_string(), masks), ("prices".to_string(), Tensor::zeros(2, DType::F32, device)?)];
    let descent = Descent::new(ADAM, begun, DescentOptions { lr: options.lr, ..DescentOptions::default() })?;
    let random = stream(options.seed.draws(), "edge pruning", 0);
    let mut pruning = Pruning { runs: &runs, options, share, descent, random };
    let steps = Steps { count: options.steps as u64, label: "pruning edges", left: "the masks as they are" };
    let losses = descend(steps, || pruning.step(task), task)?;
    let masks = pruning.masks()?;
    let scores = floats(&concrete::remaining(&masks)?)?;
    let mut graph = graph_of(&runs.wiring, scores.into_iter().enumerate());
    graph.title = format!("edges by optimised masks, {} ablation", options.ablation.word());
    graph.model = model.name().to_string();
    graph.quantity = Some("probability that the edge remains".into());
    graph.is_whole = losses.len() == options.steps;
    let own = [("target", options.target.into()), ("steps", losses.len().into()), ("lr", options.lr.into())];
    graph.made = own.map(|(name, value): (&str, Cell)| (name.to_string(), value)).to_vec();
    if let Some(scores) = begin {
        graph.made.push(("begun with".into(), scores.title.as_str().into()));
    }
    graph.made.extend(provenance(Measure::Kl(Prompt::Clean), pairs, options.ablation, model));
    Ok(graph)
}

/// A pruning in progress.
struct Pruning<'a, 'b> {
    runs: &'a EdgeRuns<'b>,
    options: &'a EdgePruningOptions,
    /// The share of masks from which the target falls.
    share: f64,
    descent: Descent,
    random: ChaCha8Rng,
}

impl Pruning<'_, '_> {
    fn masks(&self) -> Result<Tensor> {
        let parameters = self.descent.parameters();
        parameters.into_iter().next().ok_or_else(|| err!(Bug, "a pruning without masks"))
    }

    /// Makes one step, and returns the loss.
    fn step(&mut self, task: &Task) -> Result<f64> {
        let at = self.descent.parameters();
        let edges = self.runs.wiring.edges();
        let done = self.descent.made() as f64 / (self.options.steps as f64 / 2.0);
        let target = self.share - (self.share - self.options.target) * done.min(1.0);
        let drawn: Vec<f32> = (0..edges).map(|_| concrete::noise(&mut self.random)).collect();
        let noise = Tensor::from_vec(drawn, edges, at[0].device())?;
        let runs = self.runs;
        let mut loss = |at: &[Tensor]| -> Result<Tensor> {
            let [masks, prices] = at else { return Err(err!(Bug, "a pruning without its prices")) };
            let drawn = concrete::drawn(masks, &noise)?;
            let mut sum = Tensor::zeros((), DType::F32, masks.device())?;
            for texts in &runs.texts {
                sum = (sum + texts.masked(&runs.wiring, &drawn, task)?.to_dtype(DType::F32)?.sum_all()?)?;
            }
            let over = (concrete::remaining(masks)?.mean_all()? - target)?;
            let powers = Tensor::stack(&[over.clone(), over.sqr()?], 0)?;
            Ok(((sum / runs.pairs as f64)? + (prices * powers)?.sum_all()?)?)
        };
        let found = value_and_gradients(&mut loss as &mut TensorFunction, &at, task);
        let mut found = found.map_err(|error| self.descent.at_step(error))?;
        // Prices ascend.
        if let Some(prices) = found.gradients.get_mut(1) {
            *prices = prices.neg()?;
        }
        self.descent.update(&found)?;
        Ok(found.value)
    }
}

#[cfg(test)]
mod tests;
