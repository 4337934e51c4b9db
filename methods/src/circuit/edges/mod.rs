//! Edges between heads and MLPs: what the metric of pairs becomes where a receiver gets, through some of its edges,
//! what their senders write in another run (resample, zero or mean ablation), and how that is computed for all edges.
//!
//! `Wiring` numbers the edges of a model, `Texts` are runs of pairs, a `Propagation` computes the effect of a change on
//! them. The scores of all edges (`scores`), the search of Conmy et al. 2023 (`acdc`) and the judgement of circuits are
//! built on these.

mod ablations;
pub mod acdc;
mod atp_star;
pub mod eap_file;
mod exact;
mod gradient;
pub mod masks;
mod names;
mod propagation;
mod runs;
mod slopes;
mod texts;
pub mod wiring;

use crate::base::task::InterruptibleWork;
use crate::circuit::ablations::{naming_weights, no_number};
use crate::circuit::graph::Graph;
use crate::intervene::grid::{Alignment, PairGroup, PatchDirection, quantity};
use crate::intervene::metric::{Measure, Normaliser};
use crate::model::gradient_rules::GradientOptions;
use crate::options::OptionGroup;
use crate::sae::prelude::*;

pub use names::{graph_of, sites};
pub use runs::EdgeRuns;
pub use wiring::Wiring;

crate::choices! {
    /// Methods that score edges.
    pub enum EdgeMethod {
        /// The change of the receiver's input if the edge is cut, times the gradient there on the clean run (Syed et
        /// al. 2023).
        Eap = "eap",
        /// EAP with the mean gradient along the way from the corrupt embeddings to the clean ones (Hanna et al. 2024).
        EapIg = "eap_ig",
        /// EAP-IG with what one layer's heads, or one MLP, write moved along that way at a time.
        EapIgActivations = "eap_ig_activations",
        /// EAP with the mean of the gradients on the clean and on the corrupt run.
        CleanCorrupted = "clean_corrupted",
        /// The size of the effect of cutting, with softmaxes recomputed and gradients dropped layer by layer (Kramar et
        /// al. 2024).
        AtpStar = "atp*",
        /// A run with each edge cut.
        Exact = "exact",
    }
}

crate::choices! {
    /// Activations that a cut edge carries.
    pub enum EdgeAblation {
        /// The activation of the edge's sender in the run of the pair's corrupt prompt.
        Corrupt = "corrupt",
        Zero = "zero",
        /// The mean of the sender's activation over all corrupt prompts, at each position.
        Mean = "mean",
    }
}

crate::options! {
    /// Options of scoring edges.
    pub struct EdgeOptions {
        /// The method: a run of the model with each edge cut, or estimates from gradients on the clean run, on the way
        /// between both runs, or at its two ends; "atp*" gives sizes of effects alone.
        method: EdgeMethod = EdgeMethod::Eap;
        /// The activation that a cut edge carries.
        ablation: EdgeAblation = EdgeAblation::Corrupt;
        /// The number of points on the way.
        steps: usize = 5 => at_least(1.0).only("method", &["eap_ig", "eap_ig_activations"]);
        /// Whether an edge of which it is not sure whether the metric rises or falls without it has the score 0: one
        /// whose 95 % bootstrap interval over the pairs contains 0.
        sure: bool = false => only("method", &["eap", "eap_ig", "eap_ig_activations", "clean_corrupted"]);
        with rules: GradientOptions => only("method", &["eap", "clean_corrupted", "atp*"]);
    }
}

/// The edges that a search has scored, by number.
pub struct Scores {
    pub scores: Vec<Option<f64>>,
    pub is_whole: bool,
}

/// Computes the effect of cutting each edge on the metric, as a graph of all edges.
pub fn edges(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    normalised: bool,
    options: &EdgeOptions,
    task: &Task,
) -> Result<Graph> {
    check(model, pairs)?;
    check_slope(measure, options)?;
    let wiring = Wiring::new(model.decoder.config())?;
    let scale = scale(model, pairs, measure, normalised, task)?;
    let found = match options.method {
        EdgeMethod::Exact => exact::scores(model, pairs, measure, options.ablation, task)?,
        _ => gradient::scores(model, pairs, measure, options, task).map_err(|e| naming_weights(e, model))?,
    };
    // Sizes stay sizes where clean prompts are below corrupt ones.
    let scale = if options.method == EdgeMethod::AtpStar { scale.abs() } else { scale };
    let scored = found.scores.iter().enumerate().filter_map(|(edge, score)| score.map(|score| (edge, scale * score)));
    let mut graph = graph_of(&wiring, scored);
    graph.title = format!("edges by {}, {} ablation", options.method.word(), options.ablation.word());
    graph.model = model.name().to_string();
    let sizes = if options.method == EdgeMethod::AtpStar { "size of the change" } else { "change" };
    graph.quantity = Some(quantity(sizes, measure, normalised));
    graph.is_whole = found.is_whole;
    graph.made = vec![("method".into(), options.method.word().into())];
    if matches!(options.method, EdgeMethod::EapIg | EdgeMethod::EapIgActivations) {
        graph.made.push(("steps".into(), options.steps.into()));
    }
    if options.sure {
        graph.made.push(("sure".into(), true.into()));
    }
    graph.made.extend(options.rules.stated());
    graph.made.extend(provenance(measure, pairs, options.ablation, model));
    Ok(graph)
}

/// Returns how a graph of edges was made, by whichever method.
fn provenance(measure: Measure, pairs: &[TokenPair], ablation: EdgeAblation, model: &Model) -> Vec<(String, Cell)> {
    let mut made = vec![
        ("ablation".into(), ablation.word().into()),
        ("metric".into(), measure.name().into()),
        ("pairs".into(), pairs.len().into()),
    ];
    made.extend(eap_file::model_sizes(model.decoder.config()));
    made
}

/// Refuses models and pairs that no search of edges can use.
fn check(model: &Model, pairs: &[TokenPair]) -> Result<()> {
    model.decoder.check_keeps_none("a search for edges")?;
    if pairs.is_empty() { Err(err!(Argument, "expected at least one pair, found none").about("pairs")) } else { Ok(()) }
}

/// Refuses metrics without the gradient that a method needs, and options that it does not have.
fn check_slope(measure: Measure, options: &EdgeOptions) -> Result<()> {
    let word = options.method.word();
    options.refuse_others()?;
    if options.method != EdgeMethod::Exact && !measure.has_gradient() {
        return Err(err!(Argument, "`{}` has no gradient, which {word:?} needs", measure.name())
            .hint("method: \"exact\" needs none")
            .about("method"));
    }
    if matches!(options.method, EdgeMethod::Eap | EdgeMethod::AtpStar)
        && matches!(measure, Measure::Kl(Prompt::Clean) | Measure::MeanKl(Prompt::Clean))
    {
        return Err(err!(
            Argument,
            "the KL to clean runs is 0 on clean runs and has no slope there, which {word:?} needs"
        )
        .hint("method: \"eap_ig\" takes slopes on the way to the corrupt run, \"exact\" needs none")
        .about("method"));
    }
    if options.method == EdgeMethod::CleanCorrupted && options.ablation != EdgeAblation::Corrupt {
        return Err(err!(
            Argument,
            "{word:?} takes gradients on corrupt runs, where {:?} ablation has none",
            options.ablation.word()
        )
        .hint("method: \"eap\" or \"exact\" go with every ablation")
        .about("ablation"));
    }
    Ok(())
}

/// Returns the factor of scores.
fn scale(model: &Model, pairs: &[TokenPair], measure: Measure, normalised: bool, task: &Task) -> Result<f64> {
    if normalised { Ok(1.0 / Normaliser::of(measure, &model.decoder, pairs, task)?.distance()) } else { Ok(1.0) }
}

/// The part of a usual pass that a group takes: what senders write is held head by head.
const SHARE: usize = 32;

/// Splits the pairs into groups that are run together, each `share` times smaller than a usual pass.
fn groups(model: &Model, pairs: &[TokenPair], measure: Measure, share: usize) -> Result<Vec<PairGroup>> {
    PairGroup::of(model, pairs, measure, PatchDirection::Noise, Alignment::None, share)
}

/// Refuses a metric that is NaN.
fn check_values(values: &[f64], numbers: &[usize], when: &dyn Fn() -> String) -> Result<()> {
    match values.iter().zip(numbers).find(|(value, _)| value.is_nan()) {
        Some((value, number)) => Err(no_number(*value, *number, &when())),
        None => Ok(()),
    }
}

/// Returns whether some work was completed, or interrupted; passes other errors on.
fn completed(done: Result<()>, piece: &InterruptibleWork, made: u64) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Interrupted => {
            piece.answer(made);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
