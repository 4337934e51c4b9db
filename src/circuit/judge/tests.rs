//! Judgements beside whole passes with hooks.

use super::*;
use crate::base::Cell;
use crate::circuit::graph::{Edge, Node};
use crate::circuit::samples::{FEATURES, found};
use crate::intervene::OnFeatures;
use crate::intervene::features::Which;
use crate::model::hooks::{Action, Bound, Source};
use crate::model::run::{Ask, Run};
use crate::tensor::{Tensor, normalise};

fn graph(target: usize) -> Graph {
    let node = |level: usize, feature: usize| Node {
        site: format!("resid_post.{level}"),
        feature,
        level,
        meaning: None,
        score: None,
        outlier: false,
    };
    Graph {
        title: "a graph".into(),
        model: "a small model".into(),
        sites: (0..3).map(|layer| format!("resid_post.{layer}")).collect(),
        nodes: vec![node(2, target), node(1, 3), node(0, 1), node(0, 7)],
        edges: vec![Edge { from: 1, to: 0, effect: 0.5, cosine: 0.0 }],
        is_whole: true,
        made: Vec::new(),
    }
}

/// A target that is active in some rows and silent in others.
fn target(survey: &Survey) -> usize {
    (0..FEATURES).min_by_key(|feature| survey.dictionaries[2][*feature].fired.abs_diff(12)).unwrap()
}

/// A whole pass with the features of each level set to what the change says.
fn plainly(runs: &Runs, model: &Model, saes: &[Sae], survey: &Survey, changes: &[Change]) -> Run {
    let mut hooks: Vec<Bound> = Vec::new();
    for (level, change) in changes.iter().enumerate() {
        let (which, rest, action) = match change {
            Change::Zero(features) => (Which::Only(features.clone()), Rest::Kept, Action::Zero),
            Change::Only(kept, rest) => {
                let which = Which::AllBut(kept.clone());
                let means =
                    which.indices(FEATURES).unwrap().into_iter().map(|feature| {
                        (survey.dictionaries[level][feature as usize].sum / survey.positions as f64) as f32
                    });
                let means = Tensor::new(means.collect::<Vec<f32>>(), model.decoder.device()).unwrap();
                (which, *rest, Action::Patch(Source::Tensor(means)))
            }
        };
        let hook = OnFeatures::new(saes[level].clone(), &which, rest, Box::new(action.begin())).unwrap();
        hooks.push(hook.at(model.decoder.config(), &format!("resid_post.{level}"), None).unwrap());
    }
    let places = crate::model::site::select(model.decoder.config(), "resid_post.2").unwrap();
    model.decoder.run(&runs.contexts.batch, Ask { hooks, places, positions: None }, &Task::default()).unwrap()
}

fn at(x: &Tensor, positions: &[u32]) -> Tensor {
    let positions = Tensor::new(positions, x.device()).unwrap();
    x.flatten(0, 1).unwrap().index_select(&positions, 0).unwrap()
}

#[test]
fn runs_from_the_first_change_on_show_what_whole_passes_show() {
    let (model, saes, survey) = found();
    let (target, task) = (target(&survey), Task::default());
    let stages = Stage::all(&model, &saes).unwrap();
    let options = Options { contexts: 4, tokens: vec![0, 2], ..Options::default() };
    let runs = Runs::of(&model, &stages, &survey, (2, target), &options, &task).unwrap();
    assert!(!runs.contexts.active.is_empty() && !runs.contexts.due.is_empty());
    let sets = [
        vec![],
        vec![Change::Zero(vec![1, 7]), Change::Zero(vec![3])],
        vec![Change::Zero(vec![]), Change::Zero(vec![3, 9])],
        vec![Change::Only(vec![1, 7], Rest::Kept), Change::Only(vec![3], Rest::Kept)],
        vec![Change::Only(vec![1, 7], Rest::Dropped), Change::Only(vec![], Rest::Dropped)],
    ];
    for changes in sets {
        let found = runs.changed(&changes, &task).unwrap();
        let whole = plainly(&runs, &model, &saes, &survey, &changes);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}: {changes:?}");
        let x = at(&whole.cache.get("resid_post.2").unwrap(), &runs.contexts.active);
        let codes = saes[2].encode(&x).unwrap().narrow(1, target, 1).unwrap();
        close(found.code, codes.mean_all().unwrap().to_scalar::<f32>().unwrap().into());
        let p = normalise::softmax(&whole.logits, -1).unwrap();
        for (positions, found) in [(&runs.contexts.due, found.due), (&runs.contexts.elsewhere, found.elsewhere)] {
            let rows = at(&p, positions).to_vec2::<f32>().unwrap();
            let mean = rows.iter().map(|row| f64::from(row[0] + row[2])).sum::<f64>() / rows.len() as f64;
            close(found.unwrap(), mean);
        }
    }
    let clean = runs.changed(&[], &task).unwrap();
    assert!(clean == runs.clean && clean.kl.is_none_or(|kl| kl == 0.0));
}

#[test]
fn a_graph_is_judged_beside_random_ones_and_the_same_each_time() {
    let (model, saes, survey) = found();
    let graph = graph(target(&survey));
    let options = Options { contexts: 4, draws: 3, tokens: vec![0, 2], seed: 1 };
    let judged = || judge(&model, &saes, &survey, &graph, &options, &Task::default()).unwrap();
    let found = judged();
    assert_eq!(found, judged());
    assert_eq!(found.faithfulness.rows.len(), 4);
    let names: Vec<&Cell> = found.necessity.rows.iter().map(|row| &row[0]).collect();
    let site = |name: &str| Cell::from(name);
    assert_eq!(names.first(), Some(&&site("all levels")));
    assert!(names.contains(&&site("resid_post.0")) && names.contains(&&site("resid_post.1")));
    assert!(found.beats_random.is_some());
    let counts: Vec<&Cell> = found.necessity.rows.iter().map(|row| &row[1]).collect();
    assert_eq!(counts.first(), Some(&&Cell::from(3_usize)));
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let (model, saes, mut survey) = found();
    let judged = |graph: &Graph, saes: &[Sae], survey: &Survey| {
        judge(&model, saes, survey, graph, &Options::default(), &Task::default()).unwrap_err().message
    };
    let whole = graph(target(&survey));
    let empty = Graph { nodes: vec![], edges: vec![], ..whole.clone() };
    assert_eq!(judged(&empty, &saes, &survey), "expected a graph with a target, found an empty one");
    let mut beyond = whole.clone();
    beyond.nodes[2].feature = FEATURES;
    assert_eq!(judged(&beyond, &saes, &survey), "expected a feature below 24 of resid_post.0, found 24");
    let missing = [saes[1].clone(), saes[2].clone()];
    assert!(
        judged(&whole, &missing, &survey).starts_with("expected dictionaries for the graph's sites, found none for")
    );
    let mut behind = whole.clone();
    behind.nodes.swap(0, 1);
    assert!(judged(&behind, &saes, &survey).contains("found resid_post.2/"));
    survey.dictionaries[2][whole.nodes[0].feature].some.clear();
    assert!(judged(&whole, &saes, &survey).ends_with("is never active in the text that it is judged on"));
}
