//! Sufficiency compared with full forward passes with hooks, and at both ends of the curve.

use super::*;
use crate::circuit::attribution::attribution;
use crate::circuit::due::tests::due;
use crate::circuit::samples::{FEATURES, found};
use crate::circuit::selection::ranking;
use crate::features::Survey;
use crate::intervene::OnFeatures;
use crate::intervene::features::FeatureChoice;
use crate::model::hooks::{Action, BoundHook, PatchSource};
use crate::tensor::normalise;

const TOKENS: [u32; 2] = [0, 2];

fn means(survey: &Survey) -> Vec<Vec<f32>> {
    let mean = |sum: f64| (sum / survey.positions as f64) as f32;
    let levels = survey.dictionaries.iter().take(2);
    levels.map(|tallies| tallies.iter().map(|tally| mean(tally.sum)).collect()).collect()
}

/// Returns features of the first two of three dictionaries in the order of their effects, and where tokens 0 and 2 are
/// due.
fn chosen() -> (Model, Vec<Sae>, Selection, Due) {
    let (model, saes, survey) = found();
    let due = due(&[&[3, 0, 5, 6, 2, 1, 4], &[7, 8, 2, 0, 9], &[1, 2], &[4, 4, 0, 4, 11, 2]], &TOKENS);
    let stages = Stage::all(&model, &saes).unwrap();
    let means = means(&survey);
    let scores = attribution(&model, &stages[..2], &means, &due, &Task::default()).unwrap();
    let selection = Selection {
        by: "attribution".into(),
        model: "a small model".into(),
        saes: saes.clone(),
        sites: (0..3).map(|layer| format!("resid_post.{layer}")).collect(),
        target: 3,
        tokens: TOKENS.to_vec(),
        ranking: ranking(&scores),
        means,
        text: String::new(),
        rows: due.rows(),
        positions: due.positions(),
    };
    (model, saes, selection, due)
}

/// Computes the mean of P where the tokens are due, by whole passes with hooks.
fn plainly(
    model: &Model,
    saes: &[Sae],
    selection: &Selection,
    due: &Due,
    set: Option<(&[Vec<usize>], ErrorTreatment)>,
) -> f64 {
    let mut sum = 0.0;
    for part in due.parts(1000).unwrap() {
        let mut hooks: Vec<BoundHook> = Vec::new();
        for (level, kept) in set.into_iter().flat_map(|(kept, _)| kept).enumerate() {
            let rest = set.unwrap().1;
            let which = FeatureChoice::AllBut(kept.clone());
            let means = which.indices(FEATURES).unwrap().into_iter().map(|f| selection.means[level][f as usize]);
            let means = Tensor::new(means.collect::<Vec<f32>>(), model.decoder.device()).unwrap();
            let action = Action::Patch(PatchSource::Tensor(means));
            let hook = OnFeatures::new(saes[level].clone(), &which, rest, Box::new(action.begin())).unwrap();
            hooks.push(hook.at(model.decoder.config(), &format!("resid_post.{level}"), None).unwrap());
        }
        let logits = model.decoder.logits(&part.batch, hooks, &Task::default()).unwrap();
        let p = normalise::softmax(&part.chosen(&logits).unwrap().to_dtype(DType::F32).unwrap(), -1).unwrap();
        sum += p.to_vec2::<f32>().unwrap().iter().map(|row| f64::from(row[0] + row[2])).sum::<f64>();
    }
    sum / due.positions() as f64
}

fn judged(sizes: Vec<usize>, graphs: &[Graph]) -> Sufficiency {
    let (model, _, selection, due) = chosen();
    let options = SufficiencyOptions { sizes, draws: 3, seed: Seed::of(1), ..SufficiencyOptions::default() };
    let graphs: Vec<&Graph> = graphs.iter().collect();
    where_due(&model, &selection, &graphs, &due, &options, &Task::default()).unwrap()
}

#[test]
fn what_is_kept_is_what_whole_passes_show() {
    let (model, saes, selection, due) = chosen();
    let found = judged(vec![5, 20], &[]);
    assert_eq!(found.points.len(), 6);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} and {b}");
    let whole = plainly(&model, &saes, &selection, &due, None);
    close(found.whole.value, whole);
    for point in &found.points {
        let kept = selection.best(point.features);
        let p = plainly(&model, &saes, &selection, &due, Some((&kept, point.rest)));
        close(point.p, p);
        close(point.share.value * whole, p);
        let none = plainly(&model, &saes, &selection, &due, Some((&vec![vec![]; 2], point.rest)));
        let faithfulness = (p - none) / (whole - none);
        assert!((point.faithfulness.value - faithfulness).abs() < 1e-3 * faithfulness.abs().max(1.0));
    }
}

#[test]
fn all_features_with_errors_keep_everything_and_none_explain_nothing() {
    let found = judged(Vec::new(), &[]);
    let all =
        found.points.iter().find(|point| point.features == 2 * FEATURES && point.rest == ErrorTreatment::Kept).unwrap();
    let [low, high] = all.share.interval.unwrap();
    assert!([all.share.value, all.faithfulness.value, low, high].iter().all(|x| (x - 1.0).abs() < 1e-5), "{all:?}");
    assert!(all.random.is_empty());
    for none in found.points.iter().filter(|point| point.features == 0) {
        assert_eq!((none.faithfulness.value, none.faithfulness.interval), (0.0, Some([0.0, 0.0])));
        assert!((none.share.value - 1.0).abs() > 1e-3 && none.random.is_empty());
    }
    let some = &found.points[1];
    assert_eq!((some.features, some.random.len()), (10, 3));
    let [low, high] = some.share.interval.unwrap();
    assert!(low < some.share.value && some.share.value < high);
    assert_eq!(found, judged(Vec::new(), &[]));
}

#[test]
fn a_graph_keeps_what_as_many_of_the_first_do_where_it_has_these() {
    let (.., selection, _) = chosen();
    let found = judged(Vec::new(), &[selection.graph(8)]);
    let sizes: Vec<usize> = found.points.iter().map(|point| point.features).collect();
    assert_eq!(sizes[..7], [0, 2, 4, 8, 16, 32, 48]);
    assert_eq!((sizes[7], found.points.len()), (8, 16));
    assert_eq!((found.points[7].p, found.points[7].share), (found.points[3].p, found.points[3].share));
    assert_eq!(found.points[7].name, "the first 8 by attribution, before resid_post.2/3");
}

#[test]
fn random_sets_are_of_what_is_active_and_as_many_of_each_dictionary() {
    let set = KeptFeatures { name: String::new(), is_first: true, kept: vec![vec![0, 1], vec![]] };
    let means = [vec![0.0, 1.0, 1.0, 1.0], vec![1.0; 4]];
    for draw in 0..20 {
        let found = drawn(&set, &means, 0, draw).unwrap();
        assert!(found[0].len() == 2 && !found[0].contains(&0) && found[1].is_empty());
    }
    let all = KeptFeatures { name: String::new(), is_first: true, kept: vec![vec![0, 1, 2], vec![0, 1, 2, 3]] };
    assert_eq!(drawn(&all, &means, 0, 0), None);
}

#[test]
fn the_random_sets_of_one_call_differ() {
    let set = KeptFeatures { name: String::new(), is_first: true, kept: vec![(0..6).collect(), vec![3]] };
    let means = [vec![1.0; 40], vec![1.0; 9]];
    let sets: Vec<_> = (0..20).map(|draw| drawn(&set, &means, 2, draw).unwrap()).collect();
    assert!((0..20).all(|at| !sets[..at].contains(&sets[at])), "{sets:?}");
}

#[test]
fn sizes_double_around_that_of_a_graph() {
    assert_eq!(sizes(Some(55), 7680), [14, 28, 55, 110, 220, 440, 880, 7680]);
    assert_eq!(sizes(None, 7680), [10, 20, 40, 80, 160, 320, 640, 7680]);
    assert_eq!(sizes(Some(1), 10), [1, 2, 4, 8, 10]);
    assert_eq!(sizes(Some(0), 1), [1]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (model, saes, selection, due) = chosen();
    let run = |saes: &[Sae], graphs: &[&Graph]| {
        let options = SufficiencyOptions::default();
        let selection = Selection { saes: saes.to_vec(), ..selection.clone() };
        where_due(&model, &selection, graphs, &due, &options, &Task::default()).unwrap_err().message
    };
    assert!(
        run(&saes[..2], &[]).starts_with("expected the dictionaries of the selection, for resid_post.0, resid_post.1,")
    );
    let mut graph = selection.graph(2);
    graph.nodes.swap(0, 1);
    graph.nodes.truncate(1);
    assert!(run(&saes, &[&graph]).starts_with("expected a graph of what comes before resid_post.2, found the"));
}
