//! How well a circuit explains its target, on text that it was not found on.
//!
//! Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024, section 4): m(M) is the model as it is, C keeps the
//! circuit's features and sets all others of every dictionary to their means, 0 sets all of them to their means.

mod random;
mod runs;

use crate::base::{Cell, Result, Table, Task};
use crate::circuit::Graph;
use crate::circuit::tree::Stage;
use crate::err;
use crate::features::Survey;
use crate::intervene::features::Which;
use crate::model::Model;
use crate::sae::Sae;
use crate::sae::splice::Rest;
use random::{Pool, interval};
use runs::{Change, Found, Runs};

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// At how many positions the target is measured, and at how many rows of other text.
    pub contexts: usize,
    /// How many random sets stand beside the circuit.
    pub draws: usize,
    /// Tokens whose probability is measured, such as all that begin with ")". None where empty.
    pub tokens: Vec<u32>,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { contexts: 32, draws: 20, tokens: Vec::new(), seed: 0 }
    }
}

/// One row: a set of features, and what becomes of the target and of the tokens without them or with them alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub faithfulness: Table,
    pub necessity: Table,
}

/// Judges a graph of features on what its dictionaries found in another text.
pub fn judge(
    model: &Model,
    saes: &[Sae],
    survey: &Survey,
    graph: &Graph,
    options: &Options,
    task: &Task,
) -> Result<Judgement> {
    let stages = Stage::all(model, saes)?;
    let target =
        graph.nodes.first().ok_or_else(|| err!(Argument, "expected a graph with a target, found an empty one"))?;
    let kept = by_level(graph, &stages)?;
    let runs = Runs::of(model, saes, &stages, survey, (target.level, target.feature), options, task)?;
    let pool = Pool::of(&runs, &kept, options.seed);
    Ok(Judgement {
        faithfulness: faithfulness(&runs, &kept, &pool, options, task)?,
        necessity: necessity(&runs, &kept, &pool, options, task)?,
    })
}

/// The features of the graph at each of the dictionaries before the target's.
fn by_level(graph: &Graph, stages: &[Stage]) -> Result<Vec<Vec<usize>>> {
    let target = graph.nodes.first().map_or(0, |node| node.level);
    let mut levels = vec![Vec::new(); target];
    for node in graph.nodes.iter().skip(1) {
        let stage = stages.get(node.level).filter(|stage| stage.place.to_string() == node.site);
        let (Some(stage), Some(level)) = (stage, levels.get_mut(node.level)) else {
            return Err(err!(Argument, "expected dictionaries for the graph's sites, found none for {}", node.site)
                .hint("judge a graph with the dictionaries that it was found with"));
        };
        if node.feature >= stage.sae.d_sae() {
            let (place, count) = (stage.place, stage.sae.d_sae());
            return Err(err!(Argument, "expected a feature below {count} of {place}, found {}", node.feature));
        }
        level.push(node.feature);
    }
    Ok(levels)
}

/// What of the target's activation, and of the tokens' probability, is left where only some features are.
fn faithfulness(runs: &Runs, kept: &[Vec<usize>], pool: &Pool, options: &Options, task: &Task) -> Result<Table> {
    let sets = |task: &Task, rest: Rest| -> Result<(Found, Found, Vec<Found>)> {
        let only = |kept: &[Vec<usize>]| -> Vec<Change> {
            kept.iter().map(|kept| Change::Means(Which::AllBut(kept.clone()))).collect()
        };
        let nothing = vec![Vec::new(); kept.len()];
        let empty = runs.changed(&only(&nothing), rest, task)?;
        let circuit = runs.changed(&only(kept), rest, task)?;
        let random = (0..options.draws).map(|draw| runs.changed(&only(&pool.drawn(draw)), rest, task));
        Ok((empty, circuit, random.collect::<Result<_>>()?))
    };
    let bar = task.begin("judging what is kept", Some(2));
    let mut rows = Vec::new();
    for (errors, rest) in [("kept", Rest::Kept), ("dropped", Rest::Dropped)] {
        let (empty, circuit, random) = sets(task, rest)?;
        bar.advance(1);
        type Measure = fn(&Found) -> Option<f64>;
        let measures: [(&str, Measure); 2] =
            [("target's code", |found| Some(found.code)), ("P(tokens)", |found| found.due)];
        for (what, measure) in measures {
            let (Some(whole), Some(none)) = (measure(&runs.clean), measure(&empty)) else { continue };
            // Where the model does no more than its means there is nothing to explain.
            let share = |found: &Found| measure(found).map(|m| (m - none) / (whole - none)).filter(|m| m.is_finite());
            let random: Vec<f64> = random.iter().filter_map(share).collect();
            let (mean, low, high) = interval(&random);
            rows.push(vec![
                what.into(),
                errors.into(),
                share(&circuit).map_or(Cell::Missing, Cell::from),
                mean,
                low,
                high,
                whole.into(),
                none.into(),
            ]);
        }
    }
    let columns = ["measure", "errors", "circuit", "random sets", "lowest", "highest", "m(model)", "m(means alone)"];
    Ok(Table {
        title: "faithfulness: (m(C) - m(0)) / (m(M) - m(0))".into(),
        columns: columns.map(String::from).to_vec(),
        rows,
    })
}

/// What is lost without some features, set to 0: those of the circuit, level by level and together, beside as many
/// random ones and as many that are about as active.
fn necessity(runs: &Runs, kept: &[Vec<usize>], pool: &Pool, options: &Options, task: &Task) -> Result<Table> {
    let mut sets: Vec<(String, Vec<Vec<usize>>)> = vec![("all levels".into(), kept.to_vec())];
    for (level, features) in kept.iter().enumerate().filter(|(_, features)| !features.is_empty()) {
        let mut one = vec![Vec::new(); kept.len()];
        one[level] = features.clone();
        sets.push((runs.names[level].clone(), one));
    }
    let bar = task.begin("judging what is taken off", Some((sets.len() * (1 + 2 * options.draws)) as u64));
    let zeroed = |features: &[Vec<usize>]| -> Result<Found> {
        let changes: Vec<Change> = features.iter().map(|features| Change::Zero(features.clone())).collect();
        let found = runs.changed(&changes, Rest::Kept, task)?;
        bar.advance(1);
        Ok(found)
    };
    let mut rows = Vec::new();
    for (name, features) in sets {
        let of = |draw: &dyn Fn(usize) -> Vec<Vec<usize>>| -> Result<Vec<Found>> {
            (0..options.draws).map(|i| zeroed(&only_where(&features, draw(i)))).collect()
        };
        let circuit = zeroed(&features)?;
        let random = of(&|i| pool.drawn(i))?;
        let matched = of(&|i| pool.matched(i))?;
        let count: usize = features.iter().map(Vec::len).sum();
        for (what, measure) in runs.measures() {
            let Some(here) = measure(&circuit) else { continue };
            let lost = |found: &[Found]| found.iter().filter_map(&measure).collect::<Vec<f64>>();
            let (random, matched) = (interval(&lost(&random)), interval(&lost(&matched)));
            rows.push(vec![
                Cell::from(name.clone()),
                count.into(),
                what.into(),
                here.into(),
                random.0,
                random.1,
                random.2,
                matched.0,
                matched.1,
                matched.2,
            ]);
        }
    }
    let columns = [
        "taken off",
        "features",
        "change of",
        "circuit",
        "random",
        "lowest",
        "highest",
        "as active",
        "lowest",
        "highest",
    ];
    Ok(Table {
        title: "what is lost without the features, set to 0".into(),
        columns: columns.map(String::from).to_vec(),
        rows,
    })
}

/// Sets for those levels alone that have features.
fn only_where(like: &[Vec<usize>], drawn: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    like.iter().zip(drawn).map(|(like, drawn)| if like.is_empty() { Vec::new() } else { drawn }).collect()
}
