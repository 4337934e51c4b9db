//! Judgement of how well a circuit explains its target, on text that it was not found on.
//!
//! Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024, section 4): m(M) is the unchanged model, C keeps
//! the circuit's features and mean-ablates all others of every dictionary, 0 mean-ablates all of them.
//!
//! Every figure is over the positions of some rows of text, with a bootstrap interval over these rows.

pub(super) mod change;
mod contexts;
mod figures;
mod labels;
mod random;
mod runs;
mod sets;
mod tables;

#[cfg(test)]
mod tests;

use super::{CONTEXT, Circuit, check_draws, row_length};
use crate::circuit::Graph;
use crate::circuit::tree::{Stage, check_stream_alone};
use crate::common::*;
use crate::data::{Text, harvest, pack};
use crate::features::feature::check_feature;
use crate::features::survey::KeptPositions;
use crate::features::tokens::token_ids;
use crate::features::{Survey, TokenPattern};
use contexts::{ACTIVE, Contexts, JudgedFeature, TextRows};
use random::Pool;
use runs::JudgedRuns;
use sets::Sets;

pub use labels::{NodeLabels, labelled_language};

/// The largest number of nodes that are ablated one by one by default.
const MANY: usize = 100;

/// The number of tokens of a text that does not limit it.
const TOKENS: u64 = 40_000;

/// The label by which positions are grouped where the text has it.
const BY: &str = "paren_kind";

crate::options! {
    pub struct JudgeOptions {
        /// A text that tokens begin with, or their ids.
        token: Option<Vec<TokenPattern>> = None => usually("those that the target was selected for");
        /// Maximum number of rows in which one of the tokens comes next, drawn from all of them.
        contexts: Option<usize> = None => usually("all").at_least(1.0);
        /// Maximum number of unrelated rows on which KL is measured.
        unrelated: usize = 500 => at_least(1.0);
        /// Number of random sets of each kind.
        draws: usize = 20;
        /// A label of the text, as in "depth", or (); the loss of the tokens is computed for each of its values.
        by: Option<Option<String>> = None => usually("\"paren_kind\" where the text has that label, else ()");
        /// Whether each node is ablated alone.
        nodes: Option<bool> = None => usually("true where there are at most 100");
        /// Seed of the draws and the bootstrap; without one, the rows to judge on are those of seed 0.
        seed: Seed = Seed::default() => usually(OF_CALL);
        /// Number of tokens of the text, for means and for rows.
        tokens: Option<usize> = None => usually("all that the text is limited to, else 40000");
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
        /// Number of first positions of each row that are neither changed nor measured.
        without_first: Option<usize> = None => usually("that of the tree's search");
    }
}

/// Judgement of how well a circuit explains its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub title: String,
    pub faithfulness: Table,
    /// The loss without the circuit, and without sets of other features.
    pub necessity: Table,
    /// The loss without the circuit's features at one level.
    pub levels: Table,
    /// The loss without each node alone.
    pub nodes: Option<Table>,
    /// The loss of the tokens where one of them comes next, by the values of a label.
    pub by: Option<Table>,
    /// The numbers of rows and positions, and how they were drawn.
    pub looked_at: Table,
    /// Whether the circuit is more necessary than any set of other features: the lower end of the interval of what the
    /// tokens lose of their probability without it, where one of them comes next, is above the largest loss without any
    /// of the sets, of all kinds. None where there are no such positions.
    pub beats_random: Option<bool>,
    /// The labels that the nodes stand for, where a labelled text was given.
    pub labels: Option<NodeLabels>,
}

/// Evaluates a circuit on a text, with the labels that its nodes stand for in a labelled text, if there is one.
pub fn judge(
    model: &Model,
    circuit: &Circuit,
    text: &Text,
    labelled: Option<&Text>,
    options: &JudgeOptions,
    task: &Task,
) -> Result<Judgement> {
    let tokens = match &options.token {
        Some(tokens) => token_ids(model, tokens)?,
        None => circuit.promotes.as_deref().unwrap_or_default().to_vec(),
    };
    let by = match &options.by {
        Some(by) => by.clone(),
        None => pack::columns(text, task)?.iter().any(|column| column.name == BY).then(|| BY.into()),
    };
    let most = options.tokens.map(|tokens| tokens as u64).or(text.options().tokens);
    let text = text.limited(most.unwrap_or(TOKENS).max(1));
    let graph = &circuit.graph;
    let stages = Stage::in_order(model, circuit.dictionaries()?)?;
    check_stream_alone(model, &stages, "judging a tree")?;
    let target =
        graph.nodes.first().ok_or_else(|| err!(Argument, "expected a graph with a target, found an empty one"))?;
    let features = by_level(graph, &stages)?;
    let context = row_length(model, options.context, CONTEXT);
    let seed = options.seed.sample();
    let without_first = options.without_first.unwrap_or_else(|| graph.without_first());
    let skip = harvest::Skipped { without_first, ..harvest::Skipped::default() };
    let harvesting = harvest::HarvestOptions { context: Some(context), skip };
    let kept = KeptPositions { top: 1, some: ACTIVE, seed };
    let survey = Survey::of(&circuit.saes, harvest::TextReading::new(model, &text, &harvesting), kept, task)?;
    let rows = TextRows::of(model, &text, context, by.as_deref(), task)?.behind(without_first);
    let level = target.level;
    let feature = target.needed_feature()?;
    let tally = survey.dictionaries.get(level).and_then(|tallies| tallies.get(feature));
    let judged = JudgedFeature { stage: &stages[level], feature, tally };
    let contexts = Contexts::of(model, &judged, &rows, &tokens, options, task)?;
    drop(rows);
    let runs = JudgedRuns::of(model, &stages[..=level], &survey, feature, &tokens, contexts, without_first)?;
    let pool = Pool::of(&runs, &features, options.seed.draws(), task)?;
    let nodes = options.nodes.unwrap_or(graph.nodes.len() <= MANY).then_some(graph);
    check_draws(options.draws, features.iter().map(Vec::len).sum::<usize>().max(3))?;
    let sets = Sets::of(&runs, &pool, &features, nodes, options.draws, task)?;
    let (clean, found) = runs.all(&sets.runs, task)?;
    let evaluation = tables::Evaluation::new(&runs, &sets, &clean, &found, options.seed.draws());
    Ok(Judgement {
        title: format!("{}, evaluated on {}", graph.title, text.name()),
        faithfulness: evaluation.faithfulness(),
        necessity: evaluation.necessity(),
        levels: evaluation.levels(),
        nodes: nodes.map(|_| evaluation.nodes()),
        by: evaluation.by(),
        looked_at: evaluation.looked_at(),
        beats_random: evaluation.beats_random(),
        labels: labelled.map(|text| NodeLabels::of(model, circuit, text, task)).transpose()?,
    })
}

/// Returns the features of the graph at each of the dictionaries before the target's.
pub(super) fn by_level(graph: &Graph, stages: &[Stage]) -> Result<Vec<Vec<usize>>> {
    let mut levels = vec![Vec::new(); graph.nodes.first().map_or(0, |node| node.level)];
    for (number, node) in graph.nodes.iter().enumerate() {
        let Some(stage) = stages.get(node.level).filter(|stage| stage.place.to_string() == node.site) else {
            return Err(err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
                .hint("judge a graph with the dictionaries that it was found with"));
        };
        let feature = node.needed_feature()?;
        check_feature(&stage.sae, feature)?;
        match levels.get_mut(node.level) {
            Some(level) if number > 0 => level.push(feature),
            _ if number == 0 => {}
            _ => {
                let name = node.name();
                return Err(err!(Argument, "expected features before that of the target, found {name} behind it"));
            }
        }
    }
    Ok(levels)
}
