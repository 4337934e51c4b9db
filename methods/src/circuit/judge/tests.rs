//! Evaluations compared with full forward passes with hooks.

use super::change::LevelChange;
use super::contexts::MeasuredBatch;
use super::random::SetKind;
use super::runs::{JudgedRun, RunMeasure, RunValues};
use super::*;
use crate::circuit::graph::{Edge, Node, Part};
use crate::circuit::samples::{self, CONTEXT, FEATURES, found};
use crate::data::{Text, text};
use crate::fixtures::config;
use crate::intervene::OnFeatures;
use crate::intervene::features::FeatureChoice;
use crate::model::hooks::{Action, BoundHook, PatchSource};
use crate::model::run::Run as Whole;
use crate::sae::Sae;
use crate::sae::splice::ErrorTreatment;
use crate::tensor::normalise;

fn graph(target: usize) -> Graph {
    let node = |level: usize, feature: usize| Node::new(format!("resid_post.{level}"), level, Part::Feature(feature));
    Graph {
        title: "a graph".into(),
        model: "a small model".into(),
        sites: (0..3).map(|layer| format!("resid_post.{layer}")).collect(),
        nodes: vec![node(2, target), node(1, 3), node(0, 1), node(0, 7)],
        edges: vec![Edge { cosine: Some(0.0), ..Edge::new(1, 0, 0.5) }],
        is_whole: true,
        ..Graph::default()
    }
}

/// Returns the text of the samples, and rows in which neither "a" nor "c" occurs.
fn text() -> Text {
    let words = "a c e g b d f h k j i l m q r s t a a b c o p n c b a f e d";
    let others = "i l m q r s t n o p j k d e f g h t s r q p o n m l k j i h b b d d e e f f g g";
    Text::given([words, words, others].map(String::from).to_vec(), text::TextOptions::default()).unwrap()
}

/// Returns a target that is active in some rows and inactive in others.
fn target(survey: &Survey) -> usize {
    (0..FEATURES).min_by_key(|feature| survey.dictionaries[2][*feature].fired.abs_diff(12)).unwrap()
}

/// The ids of "a" and "c".
const TOKEN_IDS: [u32; 2] = [0, 2];

fn options() -> JudgeOptions {
    JudgeOptions {
        token: Some([0, 2].map(TokenPattern::Id).to_vec()),
        draws: 4,
        context: Some(CONTEXT),
        seed: Seed::of(1),
        ..JudgeOptions::default()
    }
}

/// Evaluates a graph with dictionaries on the text, without labels.
fn evaluated(model: &Model, saes: &[Sae], graph: &Graph, options: &JudgeOptions) -> Result<Judgement> {
    let circuit = Circuit { saes: saes.to_vec(), ..Circuit::without_dictionaries(graph.clone()) };
    judge(model, &circuit, &text(), None, options, &Task::default())
}

/// Runs a whole pass with the features of each level set as the changes say, from a position on.
fn plainly(
    batch: &Batch,
    model: &Model,
    saes: &[Sae],
    survey: &Survey,
    changes: &[LevelChange],
    first: usize,
) -> Whole {
    let positions: Vec<i64> = (first as i64..batch.width() as i64).collect();
    let mut hooks: Vec<BoundHook> = Vec::new();
    for (level, change) in changes.iter().enumerate() {
        let (which, rest, action) = match change {
            LevelChange::Zero(features) => (FeatureChoice::Only(features.clone()), ErrorTreatment::Kept, Action::Zero),
            LevelChange::Only(kept, rest) => {
                let which = FeatureChoice::AllBut(kept.clone());
                let means =
                    which.indices(FEATURES).unwrap().into_iter().map(|feature| {
                        (survey.dictionaries[level][feature as usize].sum / survey.positions as f64) as f32
                    });
                let means = Tensor::new(means.collect::<Vec<f32>>(), model.decoder.device()).unwrap();
                (which, *rest, Action::Patch(PatchSource::Tensor(means)))
            }
        };
        let hook = OnFeatures::new(saes[level].clone(), &which, rest, Box::new(action.begin())).unwrap();
        hooks.push(hook.at(model.decoder.config(), &format!("resid_post.{level}"), Some(positions.clone())).unwrap());
    }
    let places = crate::model::site::select(model.decoder.config(), "resid_post.2").unwrap();
    model.decoder.run(batch, Ask { hooks, places, positions: None }, &Task::default()).unwrap()
}

/// Makes runs on all rows of the text, with the survey of the evaluation.
fn with_runs(check: impl FnOnce(&JudgedRuns, &Model, &[Sae], &Survey)) {
    with_runs_behind(0, true, check);
}

/// Makes runs that leave the first positions as they are, of a model in which positions see earlier ones, or all.
fn with_runs_behind(without_first: usize, causal: bool, check: impl FnOnce(&JudgedRuns, &Model, &[Sae], &Survey)) {
    let (_, saes, _) = found();
    let model = samples::model(Config { layers: 3, causal, ..config() });
    let skip = harvest::Skipped { without_first, ..harvest::Skipped::default() };
    let harvesting = harvest::HarvestOptions { context: Some(CONTEXT), skip };
    let kept = KeptPositions { top: 1, some: ACTIVE, seed: 0 };
    let text = text();
    let reading = harvest::TextReading::new(&model, &text, &harvesting);
    let survey = Survey::of(&saes, reading, kept, &Task::default()).unwrap();
    let target = target(&survey);
    let options = options();
    let stages = Stage::all(&model, &saes).unwrap();
    let rows = TextRows::of(&model, &text, CONTEXT, None, &Task::default()).unwrap().behind(without_first);
    let judged = JudgedFeature { stage: &stages[2], feature: target, tally: survey.dictionaries[2].get(target) };
    let contexts = Contexts::of(&model, &judged, &rows, &TOKEN_IDS, &options, &Task::default()).unwrap();
    let runs = JudgedRuns::of(&model, &stages, &survey, target, &TOKEN_IDS, contexts, without_first).unwrap();
    check(&runs, &model, &saes, &survey);
}

fn shown(runs: &JudgedRuns, changes: &[Vec<LevelChange>]) -> (RunValues, Vec<RunValues>) {
    let all = changes.iter().map(|changes| JudgedRun { changes: changes.clone(), reads: &RunMeasure::ALL });
    runs.all(&all.collect::<Vec<_>>(), &Task::default()).unwrap()
}

#[test]
fn all_rows_are_looked_at() {
    with_runs(|runs, _, _, survey| {
        let target = target(survey);
        // Twice "a c e g b d f h k j | i l m q r s t a a b | c o p n c b a f e d" without its first token, where "a" and
        // "c" come next.
        let due = |rows: &[Vec<u32>]| -> usize {
            rows.iter().map(|row| row.iter().skip(1).filter(|id| [0, 2].contains(*id)).count()).sum()
        };
        let of = |measure: RunMeasure| runs.group(measure).spots().collect::<Vec<_>>();
        let found = of(RunMeasure::Chance).iter().filter(|spot| spot.is_due).count();
        assert_eq!((found, runs.contexts.read), (due(&survey.rows), 10));
        assert!(found >= 10);
        assert_eq!(of(RunMeasure::Code).len() as u64, survey.dictionaries[2][target].fired);
        for part in &runs.group(RunMeasure::Chance).parts {
            for spot in &part.spots {
                let row = &part.batch.rows()[spot.within];
                // Rows end where a token is due; which one is known from the text alone.
                assert!(spot.column + 1 < row.len() || spot.is_due);
                let is_token = row.get(spot.column + 1).map(|id| [0, 2].contains(id));
                assert!(is_token.is_none_or(|is_token| is_token == spot.is_due));
            }
        }
    });
}

#[test]
fn runs_from_the_first_change_on_show_what_whole_passes_show() {
    for (without_first, causal) in [(0, true), (2, true), (2, false)] {
        runs_are_whole_passes(without_first, causal);
    }
}

fn runs_are_whole_passes(without_first: usize, causal: bool) {
    with_runs_behind(without_first, causal, |runs, model, saes, survey| {
        let target = target(survey);
        let sets = [
            vec![],
            vec![LevelChange::Zero(vec![1, 7]), LevelChange::Zero(vec![3])],
            vec![LevelChange::Zero(vec![]), LevelChange::Zero(vec![3, 9])],
            vec![LevelChange::Zero(vec![5]), LevelChange::Zero(vec![])],
            vec![LevelChange::Only(vec![1, 7], ErrorTreatment::Kept), LevelChange::Only(vec![3], ErrorTreatment::Kept)],
            vec![
                LevelChange::Only(vec![1, 7], ErrorTreatment::Dropped),
                LevelChange::Only(vec![], ErrorTreatment::Dropped),
            ],
        ];
        let (clean, all) = shown(runs, &sets);
        assert_eq!((&all[0].code, &all[0].chance), (&clean.code, &clean.chance));
        for (changes, found) in sets.iter().zip(&all) {
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}: {changes:?}");
            for measure in RunMeasure::ALL {
                let mut values = found.of(measure).iter();
                let spots = |part: &MeasuredBatch| {
                    let rows = part.batch.rows().to_vec();
                    part.spots.clone().into_iter().map(move |spot| (spot, rows[spot.within].clone()))
                };
                for (spot, row) in runs.group(measure).parts.iter().flat_map(spots) {
                    assert!(spot.column >= without_first);
                    let batch = Batch::new(vec![row]).unwrap();
                    let at = |x: &Tensor| -> Vec<f64> {
                        let row = x.get(0).unwrap().get(spot.column).unwrap().to_vec1::<f32>().unwrap();
                        row.into_iter().map(f64::from).collect()
                    };
                    let chances = |run: &Whole| at(&normalise::softmax(&run.logits, -1).unwrap());
                    let whole = plainly(&batch, model, saes, survey, changes, without_first);
                    let p = chances(&whole);
                    let expected = match measure {
                        RunMeasure::Code => {
                            at(&saes[2].encode(&whole.cache.get("resid_post.2").unwrap()).unwrap())[target]
                        }
                        RunMeasure::Chance => p[0] + p[2],
                        RunMeasure::Kl => {
                            let before = chances(&plainly(&batch, model, saes, survey, &[], 0));
                            before.iter().zip(p).map(|(p, q)| p * (p / q).ln()).sum()
                        }
                    };
                    close(*values.next().unwrap(), expected);
                }
                assert!(values.next().is_none());
            }
        }
        assert!(all[1].kl.iter().any(|kl| *kl > 1e-6) && all[1].chance != clean.chance);
    });
}

#[test]
fn nothing_taken_off_changes_nothing_and_surely() {
    with_runs(|runs, _, _, _| {
        let none = vec![LevelChange::Zero(vec![]); 2];
        let all: Vec<usize> = (0..FEATURES).collect();
        let every =
            vec![LevelChange::Only(all.clone(), ErrorTreatment::Kept), LevelChange::Only(all, ErrorTreatment::Kept)];
        let (clean, found) = shown(runs, &[none, every]);
        let rows = figures::MeasuredRows::of(runs.group(RunMeasure::Kl), 0, |_| true);
        assert!(rows.rows() >= 1 && rows.positions() > rows.rows());
        let kl = rows.mean(|at| found[0].kl[at]).unwrap();
        assert_eq!((kl.value, kl.interval.unwrap_or_default()), (0.0, [0.0; 2]));
        assert_eq!(found[0], clean);
        // The same through all the passes: every feature is kept.
        assert!(found[1].kl.iter().all(|kl| kl.abs() < 1e-6));
        assert!(found[1].chance.iter().zip(&clean.chance).all(|(a, b)| (a - b).abs() < 1e-5));
    });
}

#[test]
fn masses_are_the_sums_of_codes_up_to_where_tokens_come_next() {
    with_runs(|runs, model, saes, _| {
        let masses = runs.masses(&Task::default()).unwrap();
        let mut expected = vec![0.0; FEATURES];
        for row in runs.contexts.tokens.parts.iter().flat_map(|part| part.batch.rows()) {
            let batch = Batch::new(vec![row.clone()]).unwrap();
            let places = crate::model::site::select(model.decoder.config(), "resid_post.1").unwrap();
            let cache = model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
            let codes = saes[1].encode(&cache.get("resid_post.1").unwrap().get(0).unwrap()).unwrap();
            for codes in codes.to_vec2::<f32>().unwrap() {
                expected.iter_mut().zip(codes).for_each(|(sum, code)| *sum += f64::from(code));
            }
        }
        assert!(masses[1].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b)));
        assert!(expected.iter().any(|sum| *sum > 0.0) && masses.len() == 2);
    });
}

#[test]
fn a_graph_is_judged_beside_others_and_the_same_each_time() {
    let (model, saes, survey) = found();
    let graph = graph(target(&survey));
    let judged = |options: &JudgeOptions| evaluated(&model, &saes, &graph, options).unwrap();
    let found = judged(&options());
    assert_eq!(found, judged(&options()));
    assert_eq!(found.faithfulness.rows.len(), 4);
    let due: Vec<&Vec<Cell>> =
        found.necessity.rows.iter().filter(|row| row[0] == Cell::from("P(tokens) where one comes next")).collect();
    let names: Vec<&Cell> = due.iter().map(|row| &row[1]).collect();
    assert_eq!(names.len(), 1 + SetKind::ALL.len());
    assert_eq!((names[0], &due[0][2], &due[0][8]), (&Cell::from("the circuit"), &Cell::Int(3), &Cell::Int(1)));
    // Four draws of each kind but the last, of which there is one; two of them on other text.
    assert_eq!(due[1..].iter().map(|row| row[8].clone()).collect::<Vec<_>>(), [4, 4, 4, 1].map(Cell::Int));
    let kl: Vec<&Vec<Cell>> =
        found.necessity.rows.iter().filter(|row| row[0] == Cell::from("KL on other text, nats")).collect();
    assert_eq!(kl.iter().map(|row| row[8].clone()).collect::<Vec<_>>(), [1, 2, 2, 2, 1].map(Cell::Int));
    let kl = kl[0];
    assert!(matches!((&kl[3], &kl[9]), (Cell::Float(change), Cell::Int(rows)) if *change > 0.0 && *rows > 0));
    for row in &found.necessity.rows {
        let [Cell::Float(change), Cell::Float(from), Cell::Float(to)] = &row[3..6] else { continue };
        assert!(from <= change && change <= to, "{row:?}");
    }
    let nodes = found.nodes.unwrap();
    assert_eq!(nodes.rows.len(), 3);
    assert!(nodes.rows.is_sorted_by(|a, b| matches!((&a[1], &b[1]), (Cell::Float(a), Cell::Float(b)) if a >= b)));
    assert!(found.beats_random.is_some() && found.by.is_none());
    let fewer = judged(&JudgeOptions { contexts: Some(2), nodes: Some(false), draws: 0, ..options() });
    assert_eq!((fewer.nodes, &fewer.looked_at.rows[0][2]), (None, &Cell::Int(2)));
    assert_eq!(fewer.faithfulness.rows[0][5..8], [Cell::Missing, Cell::Missing, Cell::Missing]);
    let without = judged(&JudgeOptions { token: None, ..options() });
    assert_eq!((without.beats_random, without.faithfulness.rows.len()), (None, 2));
}

#[test]
fn faithfulness_is_0_for_the_means_and_1_for_all_features() {
    let (model, saes, survey) = found();
    let target = graph(target(&survey));
    let node = |level: usize| {
        let of = target.nodes[if level == 0 { 2 } else { 1 }].clone();
        move |feature: usize| Node { part: Part::Feature(feature), ..of.clone() }
    };
    let every = (0..FEATURES).map(node(0)).chain((0..FEATURES).map(node(1)));
    let nodes = |others: Vec<Node>| [vec![target.nodes[0].clone()], others].concat();
    let shares = |others: Vec<Node>| -> Vec<[f64; 3]> {
        let graph = Graph { nodes: nodes(others), edges: vec![], ..target.clone() };
        let found = evaluated(&model, &saes, &graph, &options()).unwrap();
        let kept = found.faithfulness.rows.into_iter().filter(|row| row[1] == Cell::from("kept"));
        let number = |cell: &Cell| if let Cell::Float(number) = cell { *number } else { f64::NAN };
        kept.map(|row| [2, 3, 4].map(|at| number(&row[at]))).collect()
    };
    let whole = shares(every.collect());
    let none = shares(vec![]);
    assert_eq!((whole.len(), none.len()), (2, 2));
    assert!(whole.iter().flatten().all(|share| (share - 1.0).abs() < 1e-3), "{whole:?}");
    assert!(none.iter().flatten().all(|share| *share == 0.0), "{none:?}");
}

#[test]
fn what_is_lost_is_told_by_the_values_of_a_label() {
    let (model, saes, survey) = found();
    let graph = graph(target(&survey));
    let judged = |by: &str| {
        let options = JudgeOptions { by: Some(Some(by.into())), ..options() };
        evaluated(&model, &saes, &graph, &options)
    };
    let found = judged("depth").unwrap();
    let by = found.by.unwrap();
    // No bracket stands in the text: all is at depth 0, and that is the whole.
    assert_eq!((by.rows.len(), &by.rows[0][0]), (1, &Cell::Int(0)));
    let whole = found.necessity.rows.iter().find(|row| row[0] == Cell::from("P(tokens) where one comes next")).unwrap();
    assert_eq!(by.rows[0][4..9], [&whole[3..6], &whole[9..11]].concat());
    assert_eq!(judged("dept").unwrap_err().message, "no label is called `dept`");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let (model, saes, survey) = found();
    let judged = |graph: &Graph, saes: &[Sae]| evaluated(&model, saes, graph, &options()).unwrap_err().message;
    let whole = graph(target(&survey));
    let empty = Graph { nodes: vec![], edges: vec![], ..whole.clone() };
    assert_eq!(judged(&empty, &saes), "expected a graph with a target, found an empty one");
    let mut beyond = whole.clone();
    beyond.nodes[2].part = Part::Feature(FEATURES);
    assert_eq!(judged(&beyond, &saes), "expected a feature below 24 of resid_post.0, found 24");
    let missing = [saes[1].clone(), saes[2].clone()];
    assert!(judged(&whole, &missing).starts_with("expected dictionaries for the graph's sites, found none for"));
    let mut behind = whole.clone();
    behind.nodes.swap(0, 1);
    assert!(judged(&behind, &saes).contains("found resid_post.2/"));
    if let Some(silent) = survey.dictionaries[2].iter().position(|tally| tally.fired == 0) {
        assert!(judged(&graph(silent), &saes).ends_with("is never active in the text that the tree is evaluated on"));
    }
}
