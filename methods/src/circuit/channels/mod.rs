//! Node pruning (Gao et al. 2025, section 2.2): the smallest set of channels that does a task, with the weights between them.
//!
//! Each channel has a mask, 1 or 0. With s = sigmoid(t) for a parameter t of each, the mask is 1 where s >= 1/2, and its
//! gradient that of s (a straight-through estimate). The mean of s is minimised while the loss on pairs of prompts stays at
//! a target:
//!
//!     mean(s) + p loss,   p <- p exp(r (loss - target) / target)
//!
//! The fewest channels that had a loss within the target on the way are then left out one at a time, those with the smallest
//! parameters first, as long as the loss stays within the target.

mod links;
mod runs;
mod sites;
#[cfg(test)]
mod tests;

pub use links::gains;
pub use runs::ChannelRuns;

use super::edges::EdgeAblation;
use super::graph::{Edge, Graph, Node, Part};
use crate::intervene::metric::Measure;
use crate::sae::prelude::*;
use crate::tensor::derivative::value_and_gradients;
use crate::tensor::elementwise::sigmoid;
use crate::training::descent::{Descent, DescentOptions, DescentRule, Steps, descend};
use sites::Channels;

crate::options! {
    pub struct NodePruningOptions {
        /// The loss that the circuit may have: the mean of -log of the share of the answers in the probability of answers
        /// and wrong answers together, after the clean prompts; of the wrong ones after the corrupt prompts.
        loss: f64 = 0.15 => above(0.0);
        /// The value of channels that are not kept: the mean over the tokens of all prompts, zero, or the channel's own in the
        /// run of the pair's other prompt.
        ablation: EdgeAblation = EdgeAblation::Mean;
        /// Number of steps.
        steps: usize = 300 => at_least(1.0);
        /// Learning rate of the masks' parameters.
        lr: f64 = 0.05 => above(0.0);
    }
}

/// The parameter that all masks begin with.
const BEGIN: f64 = 1.0;

/// The speed at which the weight of the loss follows it.
const FOLLOWS: f64 = 0.1;

/// The least and the largest weight of the loss.
const WEIGHTS: [f64; 2] = [1e-3, 1e6];

/// The number of tokens that the meaning of an embedding's channel lists.
const LISTED: usize = 4;

const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };

/// Finds a small circuit of channels, as a graph whose edges are weights. An interruption leaves what was found so far.
pub fn node_pruning(model: &Model, pairs: &[TokenPair], options: &NodePruningOptions, task: &Task) -> Result<Graph> {
    let runs = ChannelRuns::new(model, pairs, Measure::LogitDiff, options.ablation, task)?;
    let all = vec![true; runs.channels.count];
    let whole = runs.loss_with(&all, task)?;
    if whole > options.loss {
        return Err(err!(
            Argument,
            "expected a model with a loss of at most {} on these pairs, found {whole:.3}",
            options.loss
        )
        .hint("raise `loss`, or take pairs that the model tells apart")
        .about("loss"));
    }
    let begun = vec![("masks".to_string(), Tensor::full(BEGIN as f32, all.len(), model.decoder.device())?)];
    let descent = Descent::new(ADAM, begun, DescentOptions { lr: options.lr, ..DescentOptions::default() })?;
    let best = PrunedChannels { size: all.len(), kept: all, loss: whole };
    let mut pruning = Pruning { runs: &runs, options, descent, weight: 1.0, best };
    let steps = Steps { count: options.steps as u64, label: "pruning channels", left: "the smallest circuit so far" };
    let losses = descend(steps, || pruning.step(task), task)?;
    let mut is_whole = losses.len() == options.steps;
    if is_whole {
        is_whole = pruning.eliminate(task)?;
    }
    // Each takes a pass, and an interruption can leave all channels of the model.
    let effects = if is_whole { pruning.effects(task)? } else { vec![None; pruning.best.size] };
    let mut graph = drawn(model, &runs.channels, &pruning.best.kept, &effects, &answers(pairs))?;
    let size = pruning.best.size;
    let loss = pruning.best.loss;
    graph.title = format!("{size} channels with a loss of {loss:.3}, {} ablation", options.ablation.word());
    graph.is_whole = is_whole;
    let made: [(&str, Cell); 8] = [
        ("by", "node pruning".into()),
        ("ablation", options.ablation.word().into()),
        ("pairs", pairs.len().into()),
        ("loss", loss.into()),
        ("loss of the model", whole.into()),
        ("channels", size.into()),
        ("channels of the model", runs.channels.count.into()),
        ("steps", losses.len().into()),
    ];
    graph.made.splice(0..0, made.map(|(name, value)| (name.to_string(), value)));
    Ok(graph)
}

/// A set of channels with its loss.
struct PrunedChannels {
    kept: Vec<bool>,
    size: usize,
    loss: f64,
}

/// A pruning in progress.
struct Pruning<'a> {
    runs: &'a ChannelRuns<'a>,
    options: &'a NodePruningOptions,
    descent: Descent,
    /// The factor of the loss.
    weight: f64,
    /// The fewest channels so far whose loss is within the target.
    best: PrunedChannels,
}

impl Pruning<'_> {
    fn parameters(&self) -> Result<Tensor> {
        self.descent.parameters().into_iter().next().ok_or_else(|| err!(Bug, "a pruning without masks"))
    }

    /// Makes one step, and returns the loss on the pairs.
    fn step(&mut self, task: &Task) -> Result<f64> {
        let at = self.parameters()?;
        let kept: Vec<bool> = floats(&at)?.into_iter().map(|parameter| parameter >= 0.0).collect();
        let hard = self.runs.masks(&kept)?;
        let mut found = f64::NAN;
        let mut objective = |at: &[Tensor]| -> Result<Tensor> {
            let [masks, soft] = straight_through(&at[0], &hard)?;
            let loss = self.runs.loss(&masks, task)?;
            found = floats(&loss.detach())?[0];
            let size = soft.mean_all()?.to_dtype(loss.dtype())?;
            Ok(((loss * self.weight)? + size)?)
        };
        let slopes = value_and_gradients(&mut objective, &[at], task)?;
        let size = kept.iter().filter(|kept| **kept).count();
        if found <= self.options.loss && size < self.best.size {
            self.best = PrunedChannels { kept, size, loss: found };
        }
        self.descent.update(&slopes)?;
        let away = ((found - self.options.loss) / self.options.loss).clamp(-1.0, 1.0);
        self.weight = (self.weight * (FOLLOWS * away).exp()).clamp(WEIGHTS[0], WEIGHTS[1]);
        Ok(found)
    }

    /// Leaves out channels one at a time while the loss stays within the target. Returns whether it came to an end.
    fn eliminate(&mut self, task: &Task) -> Result<bool> {
        let parameters = floats(&self.parameters()?)?;
        let mut order: Vec<usize> = (0..parameters.len()).filter(|number| self.best.kept[*number]).collect();
        order::sort_ascending(&mut order, |number| parameters[*number]);
        let bar = task.begin("leaving out channels", Some(order.len() as u64));
        let piece = task.piece();
        let mut made = 0;
        loop {
            let before = self.best.size;
            for number in order.iter().copied().filter(|number| self.best.kept[*number]).collect::<Vec<_>>() {
                let mut kept = self.best.kept.clone();
                kept[number] = false;
                let found = piece.check(made).and_then(|()| self.runs.loss_with(&kept, task));
                let loss = match found {
                    Err(error) if error.kind == Kind::Interrupted => {
                        piece.answer(made);
                        return Ok(false);
                    }
                    found => found?,
                };
                made += 1;
                if loss <= self.options.loss {
                    self.best = PrunedChannels { kept, size: self.best.size - 1, loss };
                    bar.advance(1);
                }
            }
            if self.best.size == before {
                return Ok(true);
            }
        }
    }

    /// Returns how much the loss rises without each kept channel, in their order.
    fn effects(&self, task: &Task) -> Result<Vec<Option<f64>>> {
        let mut effects = Vec::new();
        for number in numbers(&self.best.kept) {
            let mut kept = self.best.kept.clone();
            kept[number] = false;
            effects.push(Some(self.runs.loss_with(&kept, task)? - self.best.loss));
        }
        Ok(effects)
    }
}

/// Returns masks that are 1 or 0 with the gradient of the sigmoids of their parameters, and these sigmoids.
fn straight_through(parameters: &Tensor, hard: &Tensor) -> Result<[Tensor; 2]> {
    let soft = sigmoid(parameters)?;
    Ok([(&soft + (hard - soft.detach())?)?, soft])
}

fn numbers(kept: &[bool]) -> Vec<usize> {
    kept.iter().enumerate().filter(|(_, kept)| **kept).map(|(number, _)| number).collect()
}

/// Returns the first tokens of all answers, right and wrong.
fn answers(pairs: &[TokenPair]) -> Vec<u32> {
    let all = pairs.iter().flat_map(|pair| pair.answers.iter().chain(&pair.wrong));
    let first: BTreeSet<u32> = all.filter_map(|ids| ids.first().copied()).collect();
    first.into_iter().collect()
}

/// Builds the graph of the kept channels, and of the tokens whose logits they write.
fn drawn(model: &Model, channels: &Channels, kept: &[bool], effects: &[Option<f64>], tokens: &[u32]) -> Result<Graph> {
    let decoder = &model.decoder;
    let kept = numbers(kept);
    let found = links::links(decoder, channels, &kept, tokens)?;
    let mut sites: Vec<String> = channels.sites.iter().map(|one| one.site.to_string()).collect();
    let logits = sites.len();
    sites.push("logits".into());
    let mut nodes = Vec::new();
    for (number, effect) in kept.iter().zip(effects) {
        let meaning = meaning(model, channels, *number)?;
        nodes.push(Node { effect: *effect, meaning, ..channels.node(*number) });
    }
    for token in tokens {
        let meaning = match &model.tokenizer {
            Some(tokenizer) => Some(format!("{:?}", tokenizer.text_of(*token)?)),
            None => None,
        };
        nodes.push(Node { meaning, ..Node::new("logits", logits, Part::Token(*token)) });
    }
    let within = found.links.iter().map(|link| Edge::new(link.from, link.to, link.weight));
    let written = found.logits.iter().map(|link| Edge::new(link.from, kept.len() + link.to, link.weight));
    Ok(Graph {
        model: model.name().to_string(),
        sites,
        nodes,
        edges: within.chain(written).collect(),
        quantity: Some("weight".into()),
        is_whole: true,
        made: vec![("weights".to_string(), found.weights.into())],
        ..Graph::default()
    })
}

/// Describes a channel that tokens or positions write to, or that belongs to a head.
fn meaning(model: &Model, channels: &Channels, number: usize) -> Result<Option<String>> {
    let (index, channel) = channels.place(number);
    let one = &channels.sites[index];
    match (one.site.kind, &model.tokenizer) {
        (SiteKind::Q | SiteKind::K | SiteKind::V, _) => Ok(Some(format!("head {}", channel / one.shape[1]))),
        (SiteKind::Embed, Some(tokenizer)) => {
            let column = model.decoder.weights().embed.tensor()?.narrow(1, channel, 1)?.to_dtype(DType::F32)?;
            let weights = floats(&column)?;
            let mut order: Vec<usize> = (0..weights.len()).filter(|token| weights[*token] != 0.0).collect();
            order::sort_descending(&mut order, |token| weights[*token].abs());
            let mut words = Vec::new();
            for token in order.into_iter().take(LISTED) {
                words.push(format!("{:?} {:+.2}", tokenizer.text_of(token as u32)?, weights[token]));
            }
            Ok(Some(words.join(", ")))
        }
        _ => Ok(None),
    }
}
