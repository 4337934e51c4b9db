//! The causal tree of one feature, and the loop of full forwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use microtome::base::Task;
use microtome::base::task::human as human_time;
use microtome::circuit::tree::{Depth, EffectTarget, Effects, Stage, TreeOptions, effects, from_survey};
use microtome::circuit::{Graph, Node};
use microtome::features::Survey;
use microtome::features::survey::{KeptPositions, Moment, Tally};
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::run::Ask;
use microtome::sae::Sae;

use super::common::peers::Peers;
use super::common::{Rows, milliseconds, most_memory, timed};
use super::{CONTEXTS, FEATURES, LENGTH, TIMED, human, made};

/// The number of texts that the contexts are chosen from, and of those that run through the model at once.
const TEXTS: usize = 4000;
const AT_ONCE: usize = 100;
const RUNS: usize = 3;
/// The times of the peer, and what they are of.
const LOOPS: [(&str, &str); 2] = [("forward", "the loop"), ("stream", "the loop without logits")];

/// The activations of the dictionaries at the last token of random texts, each of which is a context of full length.
fn survey(model: &Model, saes: &[Sae]) -> Survey {
    let id = |row: usize, column: usize| ((row * 7919 + column * 104_729 + row * column * 31) % 50_000) as u32;
    let texts: Vec<Vec<u32>> = (0..TEXTS).map(|row| (0..LENGTH).map(|column| id(row, column)).collect()).collect();
    let stages: Vec<Stage> = saes.iter().map(|sae| Stage::new(model, sae).unwrap()).collect();
    let mut dictionaries = vec![vec![Tally::default(); FEATURES]; saes.len()];
    let kept = KeptPositions { top: CONTEXTS, ..KeptPositions::default() };
    for (part, rows) in texts.chunks(AT_ONCE).enumerate() {
        let batch = Batch::new(rows.to_vec()).unwrap();
        let places = stages.iter().map(|stage| stage.place).collect();
        let ask = Ask { places, positions: Some(vec![-1]), ..Ask::default() };
        let cache = model.decoder.cache(&batch, ask, &Task::default()).unwrap();
        for (stage, tallies) in stages.iter().zip(&mut dictionaries) {
            let x = cache.at(stage.place).unwrap().squeeze(1).unwrap();
            let codes = stage.sae.encode_sparse(&x, &Task::default()).unwrap();
            for row in 0..codes.rows() {
                let (features, values) = codes.row(row);
                for (feature, code) in features.iter().zip(values) {
                    let place = (part * AT_ONCE + row) as u32;
                    let moment = Moment { row: place, column: LENGTH as u32 - 1, code: *code };
                    tallies[*feature as usize].take(moment, *feature as usize, kept);
                }
            }
        }
    }
    Survey {
        name: "random tokens".into(),
        rows: texts,
        positions: TEXTS as u64,
        classes: Vec::new(),
        occurrences: Vec::new(),
        spreads: vec![Vec::new(); dictionaries.len()],
        windows: vec![Vec::new(); dictionaries.len()],
        dictionaries,
    }
}

/// The feature of the last dictionary that fires most often.
fn target(survey: &Survey) -> usize {
    let fired = |feature: &usize| survey.dictionaries.last().unwrap()[*feature].fired;
    (0..FEATURES).max_by_key(fired).unwrap()
}

pub fn rows(rows: &mut Rows) {
    let place = tempfile::tempdir().unwrap();
    let model = made::model(place.path());
    let saes = made::dictionaries();
    let task = Task::default();
    let survey = survey(&model, &saes);
    let target = target(&survey);
    let moments = &survey.dictionaries.last().unwrap()[target].top;
    let contexts: Vec<Vec<u32>> = moments.iter().map(|moment| survey.up_to(moment)).collect();
    assert!(contexts.len() == CONTEXTS && contexts.iter().all(|context| context.len() == LENGTH));

    let stages = [saes.len() - 2, saes.len() - 1].map(|at| Stage::new(&model, &saes[at]).unwrap());
    let targets = [EffectTarget { feature: target, texts: contexts.clone() }];
    let options = TreeOptions::default();
    let node = || effects(&model, &stages[0], &stages[1], &targets, &options, &task).unwrap().remove(0);
    let each = timed(|| drop(node()), RUNS);
    let found = node();

    let options = TreeOptions { depth: Depth::Paper, min_effect: 0.0, ..TreeOptions::default() };
    let begin = Instant::now();
    let tree = from_survey(&model, &saes, &survey, target, &options, &task).unwrap();
    let whole = begin.elapsed();
    let most = most_memory();

    made::write(place.path(), &saes, &contexts, target);
    let arguments = [place.path().display().to_string(), TIMED.to_string()];
    let peers = Peers::run("circuit.py", &arguments);
    // A forward reads as many contexts as one node has.
    let forwards = |contexts: usize| (contexts * FEATURES / CONTEXTS) as u32;
    let mut row = |what: &str, said: String| rows.push((what.into(), said));
    row("effects of all features on one node", milliseconds(each));
    for (name, what) in LOOPS {
        let said = peers.against(name, each / forwards(CONTEXTS), |time| long(time * forwards(CONTEXTS)));
        row(&format!("{what}, {TIMED} features timed, scaled to {FEATURES}"), said);
    }
    row("active features in a context", active(&found));
    row("largest difference between effects of both", difference(&found, made::effects(place.path())));
    let nodes = expanded(&tree);
    let read: usize = nodes.iter().map(|node| contexts_of(&survey, &tree.nodes[*node])).sum();
    let what = format!("causal tree of {} nodes, {} of them expanded", tree.nodes.len(), nodes.len());
    row(&what, format!("{} ({read} contexts)", milliseconds(whole)));
    for (name, what) in LOOPS {
        let said = peers.against(name, whole / forwards(read), |time| long(time * forwards(read)));
        row(&format!("{what}, scaled to all of these nodes"), said);
    }
    row("peak memory of the process, model and contexts included", human(most));
}

/// Extrapolated times may be hours.
fn long(time: Duration) -> String {
    human_time(time.as_secs_f64())
}

/// Nodes that have children.
fn expanded(tree: &Graph) -> BTreeSet<usize> {
    tree.edges.iter().map(|edge| edge.to).collect()
}

/// The number of contexts in which a node was tested.
fn contexts_of(survey: &Survey, node: &Node) -> usize {
    node.feature().map_or(0, |feature| survey.dictionaries[node.level][feature].top.len())
}

fn active(found: &Effects) -> String {
    let active: u32 = found.active.iter().sum();
    format!("{:.1} %", 100.0 * f64::from(active) / (CONTEXTS * FEATURES) as f64)
}

fn difference(found: &Effects, theirs: Option<Vec<f64>>) -> String {
    let Some(theirs) = theirs else { return "not measured".into() };
    assert_eq!(theirs.len(), TIMED);
    let apart = found.mean.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs());
    let largest = found.mean.iter().take(TIMED).copied().fold(0.0, |most: f64, effect| most.max(effect.abs()));
    format!("{:.1e}, where the largest effect is {largest:.1e}", apart.fold(0.0, f64::max))
}
