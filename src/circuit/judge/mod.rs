//! How well a circuit explains its target, on text that it was not found on.
//!
//! Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024, section 4): m(M) is the unchanged model, C keeps
//! the circuit's features and mean-ablates all others of every dictionary, 0 mean-ablates all of them.
//!
//! Every figure is over the positions of some rows of text, with a bootstrap interval over these rows.

pub(super) mod change;
mod contexts;
mod figures;
mod random;
mod runs;
mod sets;
mod tables;

#[cfg(test)]
mod tests;

use crate::base::{Result, Table, Task, memory};
use crate::circuit::Graph;
use crate::circuit::tree::Stage;
use crate::data::{Text, harvest};
use crate::err;
use crate::features::Survey;
use crate::features::survey::Kept;
use crate::model::Model;
use crate::sae::Sae;
use contexts::{ACTIVE, Contexts, Rows};
use random::Pool;
use runs::Runs;
use sets::Sets;

/// The default length of rows, if the model's context is as long: hundreds of runs read all of them.
const CONTEXT: usize = 32;

/// Nodes are not ablated one by one by default if there are more than this.
const MANY: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Maximum number of rows in which one of the tokens comes next; all of them by default.
    pub contexts: Option<usize>,
    /// Maximum number of unrelated rows.
    pub unrelated: usize,
    /// Number of random sets of each kind for the whole circuit.
    pub draws: usize,
    /// Tokens whose probability is measured, such as all that begin with ")". None where empty.
    pub tokens: Vec<u32>,
    /// The label of the text that groups the positions where one of the tokens comes next.
    pub by: Option<String>,
    /// Whether each node is ablated alone.
    pub nodes: Option<bool>,
    /// Tokens in a row.
    pub context: Option<usize>,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            contexts: None,
            unrelated: 500,
            draws: 20,
            tokens: Vec::new(),
            by: None,
            nodes: None,
            context: None,
            seed: 0,
        }
    }
}

/// How well a circuit explains its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub faithfulness: Table,
    /// What is lost without the circuit, and without sets of other features.
    pub necessity: Table,
    /// What is lost without its features at one level.
    pub levels: Table,
    /// What is lost without each node alone.
    pub nodes: Option<Table>,
    /// What the tokens lose where one of them comes next, by the values of a label.
    pub by: Option<Table>,
    /// The numbers of rows and positions, and how they were drawn.
    pub looked_at: Table,
    /// Whether the circuit is more necessary than any set of other features: the lower end of the interval of what the
    /// tokens lose of their probability without it, where one of them comes next, is above the largest loss without any
    /// of the sets, of all kinds. None where there are no such positions.
    pub beats_random: Option<bool>,
}

/// Evaluates a graph of features on a text, with its dictionaries in the order of the computation.
pub fn judge(
    model: &Model,
    saes: &[Sae],
    text: &Text,
    graph: &Graph,
    options: &Options,
    task: &Task,
) -> Result<Judgement> {
    let stages = Stage::in_order(model, saes)?;
    let target =
        graph.nodes.first().ok_or_else(|| err!(Argument, "expected a graph with a target, found an empty one"))?;
    let features = by_level(graph, &stages)?;
    let context = options.context.unwrap_or(CONTEXT.min(model.decoder.config().context));
    let harvesting = harvest::HarvestOptions { context: Some(context), ..harvest::HarvestOptions::default() };
    let kept = Kept { top: 1, some: ACTIVE, seed: options.seed };
    let survey = Survey::of(model, saes, text, &harvesting, kept, task)?;
    let rows = Rows::of(model, text, context, options.by.as_deref(), task)?;
    let target = (target.level, target.feature);
    let contexts = Contexts::of(model, &stages[target.0], target, (&survey, &rows), options, task)?;
    drop(rows);
    let runs = Runs::of(model, &stages, &survey, target, &options.tokens, contexts)?;
    let pool = Pool::of(&runs, &features, options.seed, task)?;
    let nodes = options.nodes.unwrap_or(graph.nodes.len() <= MANY).then_some(graph);
    let numbers = features.iter().map(Vec::len).sum::<usize>().max(3) as u128;
    memory::check(options.draws as u128 * numbers * 64, || format!("{} random sets", options.draws))?;
    let sets = Sets::of(&runs, &pool, &features, nodes, options.draws, task)?;
    let (clean, found) = runs.all(&sets.runs, task)?;
    let told = tables::Told::new(&runs, &sets, &clean, &found, options.seed);
    Ok(Judgement {
        faithfulness: told.faithfulness(),
        necessity: told.necessity(),
        levels: told.levels(),
        nodes: nodes.map(|_| told.nodes()),
        by: told.by(),
        looked_at: told.looked_at(),
        beats_random: told.beats_random(),
    })
}

/// The features of the graph at each of the dictionaries before the target's.
pub(super) fn by_level(graph: &Graph, stages: &[Stage]) -> Result<Vec<Vec<usize>>> {
    let mut levels = vec![Vec::new(); graph.nodes.first().map_or(0, |node| node.level)];
    for (number, node) in graph.nodes.iter().enumerate() {
        let Some(stage) = stages.get(node.level).filter(|stage| stage.place.to_string() == node.site) else {
            return Err(err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
                .hint("judge a graph with the dictionaries that it was found with"));
        };
        if node.feature >= stage.sae.d_sae() {
            let (place, count) = (stage.place, stage.sae.d_sae());
            return Err(err!(Argument, "expected a feature below {count} of {place}, found {}", node.feature));
        }
        match levels.get_mut(node.level) {
            Some(level) if number > 0 => level.push(node.feature),
            _ if number == 0 => {}
            _ => {
                let name = node.name();
                return Err(err!(Argument, "expected features before that of the target, found {name} behind it"));
            }
        }
    }
    Ok(levels)
}
