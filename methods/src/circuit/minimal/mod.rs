//! Minimal circuits: the smallest feature circuit that keeps a share of a probability: features and errors of
//! dictionaries, each at the cost of one, with everything else at its mean.
//!
//! m is the mean total probability of some tokens where they are due in a text. Four ways search for a small set C
//! whose m(C) is a share of m(all): the first units by attribution or by integrated gradients of the unchanged model,
//! which do not account for what else is missing; elimination from all units down, with attributions recomputed on what
//! is left; and masks between 0 and 1 that are optimised with a sparsity penalty. The result is fitted to the text,
//! so it is judged on another one (`shares`).

mod eliminate;
mod masks;
mod ranks;
mod shares;

#[cfg(test)]
mod tests;

use super::sparse_features::{EffectMethod, FeatureAblations, NodeAblation, SparseFeatureOptions};
use super::{Ablations, CONTEXT, Circuit, row_length};
use crate::features::TokenPattern;
use crate::features::tokens::token_ids;
use crate::model::gradient_rules::GradientOptions;
use crate::options::OptionGroup;
use crate::sae::prelude::*;

pub use shares::{ShareOptions, shares};

crate::choices! {
    /// Methods to search for a small circuit.
    pub enum MinimalMethod {
        /// The first units by gradient times the distance from the mean.
        Attribution = "attribution",
        /// The first units by gradients averaged on the way to the mean.
        Integrated = "integrated",
        /// Removal from all units down: the units with the smallest attributions in what is left are removed, some at a
        /// time.
        Elimination = "elimination",
        /// Masks that are optimised with a sparsity penalty, and elimination from there.
        Masks = "masks",
    }
}

crate::options! {
    /// The share that a small circuit has to keep, and the search for it.
    pub struct MinimalOptions {
        /// A text that tokens begin with, or their ids: the tokens whose probability is measured.
        token: Vec<TokenPattern> = Vec::new() => usually("has to be given");
        /// The share of the probability that is to be kept, or several.
        share: Vec<f64> = vec![0.8] => above(0.0).at_most(1.0);
        /// The method of the search.
        method: MinimalMethod = MinimalMethod::Elimination;
        /// The share of units that is removed at a time, in "elimination" and "masks".
        rate: f64 = 0.05 => above(0.0).at_most(0.9);
        /// The number of steps of "masks".
        steps: usize = 100 => at_least(1.0);
        /// The learning rate of "masks": how far a mask moves in a step at most.
        lr: f64 = 0.03 => above(0.0);
        /// Number of tokens of the text.
        tokens: usize = 100_000;
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
        with rules: GradientOptions => only("method", &["attribution", "elimination"]);
    }
}

/// A set of units with the share that it keeps.
#[derive(Debug, Clone)]
struct KeptUnits {
    kept: Vec<bool>,
    share: f64,
}

impl KeptUnits {
    fn size(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }
}

/// Finds for each share the smallest circuit on a text; the whole one where none keeps as much.
pub fn minimal_circuits(
    model: &Model,
    saes: &[Sae],
    text: &Text,
    options: &MinimalOptions,
    task: &Task,
) -> Result<Vec<Circuit>> {
    if options.token.is_empty() {
        return Err(err!(Argument, "expected `token`, whose probability is to be kept, found none")
            .hint("#{ token: \")\" }")
            .about("token"));
    }
    options.refuse_others()?;
    let model = &model.by_rules(options.rules.gradients)?;
    let tokens = token_ids(model, &options.token)?;
    let limited = text.limited(options.tokens.max(1) as u64);
    let context = row_length(model, options.context, CONTEXT);
    let ablations = FeatureAblations::of_text(model, saes, &limited, &tokens, context, NodeAblation::Mean, task)?;
    let search = MinimalSearch::new(&ablations, options, task)?;
    let found = options.share.iter().map(|share| {
        let found = search.smallest(*share, task)?;
        let slopes = ablations.slopes(&shares_of(&found.kept), task)?.signed;
        let effects: Vec<f64> = slopes.iter().map(|slope| -slope).collect();
        let mut circuit = ablations.circuit(&effects, &found.kept);
        let graph = &mut circuit.graph;
        graph.title =
            format!("{} units by {} that keep {:.3} of P(tokens)", found.size(), options.method.word(), found.share);
        graph.quantity = Some("change of P(tokens)".into());
        graph.is_whole = search.is_whole;
        graph.nodes[0].value = Some(search.whole);
        let made: [(&str, Cell); 6] = [
            ("by", "smallest".into()),
            ("method", options.method.word().into()),
            ("wanted", (*share).into()),
            ("share", found.share.into()),
            ("text", limited.name().into()),
            ("units", ablations.units().into()),
        ];
        graph.made = made.map(|(name, value)| (name.to_string(), value)).to_vec();
        graph.made.extend(options.rules.stated());
        circuit.promotes = Some(tokens.as_slice().into());
        Ok(circuit)
    });
    found.collect()
}

fn shares_of(kept: &[bool]) -> Vec<f32> {
    kept.iter().map(|kept| f32::from(u8::from(*kept))).collect()
}

/// A search on the runs of one text.
struct MinimalSearch<'a> {
    ablations: &'a FeatureAblations<'a>,
    options: &'a MinimalOptions,
    /// m of the unchanged model.
    whole: f64,
    /// Sets from large to small, each within the one before: the way down of an elimination.
    path: Vec<KeptUnits>,
    /// Units in the order of a score, the best first.
    ranking: Vec<usize>,
    /// Whether the search was completed, and not interrupted.
    is_whole: bool,
}

impl<'a> MinimalSearch<'a> {
    fn new(ablations: &'a FeatureAblations<'a>, options: &'a MinimalOptions, task: &Task) -> Result<Self> {
        let count = ablations.units();
        let mut search = Self { ablations, options, whole: 1.0, path: Vec::new(), ranking: Vec::new(), is_whole: true };
        search.whole = search.mean(&vec![true; count], task)?;
        if search.whole.is_nan() || search.whole <= 0.0 {
            let found = search.whole;
            return Err(err!(
                Numeric,
                "expected tokens that the model gives a probability to, found a mean of {found}"
            )
            .about("token"));
        }
        let (least, most) =
            options.share.iter().fold((1.0_f64, 0.0_f64), |(a, b), share| (a.min(*share), b.max(*share)));
        match options.method {
            MinimalMethod::Attribution => search.ranking = search.ranked(EffectMethod::Attribution, task)?,
            MinimalMethod::Integrated => search.ranking = search.ranked(EffectMethod::Integrated, task)?,
            MinimalMethod::Elimination => search.eliminate(vec![true; count], least, task)?,
            MinimalMethod::Masks => {
                let order = search.masked(most, task)?;
                // A little more than what keeps the largest share, so that there is a choice.
                let start = search.first(&order, 0.5 * (1.0 + most), task)?;
                search.eliminate(start.kept, least, task)?;
            }
        }
        Ok(search)
    }

    /// Returns the smallest set that keeps a share.
    fn smallest(&self, share: f64, task: &Task) -> Result<KeptUnits> {
        match self.options.method {
            MinimalMethod::Attribution | MinimalMethod::Integrated => self.first(&self.ranking, share, task),
            MinimalMethod::Elimination | MinimalMethod::Masks => Ok(self.least(&self.path, share)),
        }
    }

    /// Returns the smallest of some sets that keeps a share; all units where none does.
    fn least(&self, sets: &[KeptUnits], share: f64) -> KeptUnits {
        let enough = sets.iter().filter(|found| found.share >= share);
        let all = KeptUnits { kept: vec![true; self.ablations.units()], share: 1.0 };
        enough.min_by_key(|found| found.size()).cloned().unwrap_or(all)
    }

    /// Computes m with some units kept.
    fn mean(&self, kept: &[bool], task: &Task) -> Result<f64> {
        let sum: f64 = self.ablations.sums(kept, task)?.iter().sum();
        Ok(sum / self.ablations.weights().iter().sum::<f64>())
    }

    fn ranked(&self, method: EffectMethod, task: &Task) -> Result<Vec<usize>> {
        let options = SparseFeatureOptions { method, edges: false, ..SparseFeatureOptions::default() };
        // What lowers P most where it is ablated comes first.
        Ok(order::ascending(&self.ablations.effects(&options, task)?))
    }
}
