//! Trees compared with the plain loop of full forward passes with hooks, in small models of every shape.

use super::*;
use crate::circuit::samples::{FEATURES, dictionary, found, model};
use crate::fixtures::configs;
use crate::intervene::OnFeatures;
use crate::intervene::features::FeatureChoice;
use crate::model::hooks::Action;
use crate::sae::Activation;
use crate::sae::splice::ErrorTreatment;
use crate::watch::{Moment, Watch};

fn texts() -> Vec<Vec<u32>> {
    vec![vec![1, 4, 2, 0, 3, 7, 5], vec![2, 2, 9], vec![6]]
}

/// Computes the target's activation at the last token of a text, in a full pass in which one feature is set to 0.
fn plainly(model: &Model, stages: (&Stage, &Stage), target: usize, text: &[u32], feature: Option<usize>) -> f64 {
    plainly_behind(model, stages, target, text, feature, 0)
}

/// Computes the same with the feature set to 0 from a position on.
fn plainly_behind(
    model: &Model,
    (from, to): (&Stage, &Stage),
    target: usize,
    text: &[u32],
    feature: Option<usize>,
    first: usize,
) -> f64 {
    let positions: Vec<i64> = (first as i64..text.len() as i64).collect();
    let batch = Batch::new(vec![text.to_vec()]).unwrap();
    let hooks = feature.map(|feature| {
        let zero = Box::new(Action::Zero.begin());
        let hook =
            OnFeatures::new(from.sae.clone(), &FeatureChoice::Only(vec![feature]), ErrorTreatment::Kept, zero).unwrap();
        hook.at(model.decoder.config(), &from.place.to_string(), Some(positions)).unwrap()
    });
    let ask = Ask { hooks: hooks.into_iter().collect(), places: vec![to.place], positions: None };
    let x = model.decoder.cache(&batch, ask, &Task::default()).unwrap().at(to.place).unwrap();
    let codes = to.sae.encode(&x.get(0).unwrap().get(text.len() - 1).unwrap()).unwrap();
    codes.to_vec1::<f32>().unwrap()[target].into()
}

/// Returns the effects on a target, which are the same where another one is searched beside it.
fn effects_on(model: &Model, [from, to]: [&Stage; 2], target: usize, texts: Vec<Vec<u32>>) -> Effects {
    let of = |targets: &[EffectTarget]| {
        effects(model, from, to, targets, &TreeOptions::default(), &Task::default()).unwrap()
    };
    let target = EffectTarget { feature: target, texts };
    let other = EffectTarget { feature: 0, texts: vec![vec![1, 4]] };
    let alone = of(std::slice::from_ref(&target)).remove(0);
    assert_eq!(of(&[other, target]).remove(1), alone);
    alone
}

/// Returns the feature that is most active at the last tokens.
fn active(model: &Model, to: &Stage) -> usize {
    let code = |feature: usize| texts().iter().map(|text| plainly(model, (to, to), feature, text, None)).sum::<f64>();
    (0..FEATURES).max_by(|a, b| code(*a).total_cmp(&code(*b))).unwrap()
}

#[test]
fn effects_are_those_of_a_loop_over_all_features_in_every_shape_of_model() {
    for config in configs() {
        let layers = config.layers;
        let d = config.d_model;
        let name = format!("{config:?}");
        let model = model(config);
        let activations = [Activation::Relu, Activation::TopK(5)];
        for (place, activation) in activations.iter().enumerate() {
            let of = |site: &str| Stage::new(&model, &dictionary(d, FEATURES, activation.clone(), site)).unwrap();
            // From one block to the next, and over two of them.
            let sites = [
                ("resid_post.0".to_string(), "resid_post.1".to_string()),
                ("resid_pre.0".into(), format!("resid_post.{}", layers - 1)),
            ];
            let from = of(&sites[place].0);
            let to = of(&sites[place].1);
            let target = active(&model, &to);
            let found = effects_on(&model, [&from, &to], target, texts());
            for feature in 0..FEATURES {
                let mut expected = 0.0;
                for text in texts() {
                    let whole = plainly(&model, (&from, &to), target, &text, None);
                    let without = plainly(&model, (&from, &to), target, &text, Some(feature));
                    if whole != 0.0 {
                        expected += (whole - without) / whole / 3.0;
                    }
                }
                let gap = (found.mean[feature] - expected).abs();
                assert!(gap < 1e-4 * (1.0 + expected.abs()), "{feature}: {} {expected} in {name}", found.mean[feature]);
            }
        }
    }
}

#[test]
fn first_positions_are_left_as_they_are() {
    let (model, saes, _) = found();
    let [from, to] = [0, 1].map(|at: usize| Stage::new(&model, &saes[at]).unwrap());
    let target = EffectTarget { feature: active(&model, &to), texts: vec![texts().swap_remove(0)] };
    let options = TreeOptions { without_first: 2, ..TreeOptions::default() };
    let of = |options: &TreeOptions| {
        effects(&model, &from, &to, std::slice::from_ref(&target), options, &Task::default()).unwrap().remove(0)
    };
    let found = of(&options);
    let text = &target.texts[0];
    let whole = plainly(&model, (&from, &to), target.feature, text, None);
    for feature in 0..FEATURES {
        let without = plainly_behind(&model, (&from, &to), target.feature, text, Some(feature), 2);
        let expected = (whole - without) / whole;
        assert!((found.mean[feature] - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{feature}: {expected}");
    }
    assert_ne!(found.mean, of(&TreeOptions::default()).mean);
    // Alone, a feature that is active in the first positions only restores what these do by themselves.
    let alone = TreeOptions { way: TreeIntervention::Restore, ..options.clone() };
    let all = TreeOptions { without_first: text.len(), ..alone.clone() };
    assert_eq!(of(&all).active.iter().sum::<u32>(), 0);
    assert_ne!(of(&alone).mean, of(&TreeOptions { without_first: 0, ..alone }).mean);
}

/// Returns the feature of the last dictionary that is active most often.
fn most_active(survey: &Survey) -> usize {
    let fired = |feature: &usize| survey.dictionaries[2][*feature].fired;
    (0..FEATURES).max_by_key(fired).unwrap()
}

#[test]
fn a_tree_goes_down_level_by_level_and_has_each_feature_once() {
    let (model, saes, survey) = found();
    let target = most_active(&survey);
    let options = TreeOptions { contexts: 3, children: 2, ..TreeOptions::default() };
    let grow = |options: &TreeOptions| from_survey(&model, &saes, &survey, target, options, &Task::default()).unwrap();
    let tree = grow(&options);
    assert!(tree.is_whole && Graph::parse(&tree.json().unwrap()).unwrap() == tree);
    assert_eq!((tree.nodes[0].feature(), tree.nodes[0].level, tree.sites.len()), (Some(target), 2, 3));
    let mut names: Vec<String> = tree.nodes.iter().map(Node::name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), tree.nodes.len());
    for (number, node) in tree.nodes.iter().enumerate().filter(|(_, node)| node.level > 0) {
        let children = tree.into_node(number);
        assert!(children.iter().filter(|edge| edge.effect > 0.0).count() <= 2, "{node:?}");
        assert!(children.iter().all(|edge| tree.nodes[edge.from].level + 1 == node.level && edge.effect.abs() >= 0.01));
    }
    assert!(!tree.into_node(0).is_empty());
    // An edge says what the effect is at the max-activating examples of the later feature.
    let stages = Stage::all(&model, &saes).unwrap();
    let texts: Vec<_> = survey.dictionaries[2][target].top.iter().take(3).map(|moment| survey.up_to(moment)).collect();
    let expected = effects_on(&model, [&stages[1], &stages[2]], target, texts);
    for edge in tree.into_node(0) {
        assert_eq!(edge.effect, expected.mean[tree.nodes[edge.from].feature().unwrap()]);
    }
    // A limit keeps the features on which most of the target depends, at every level, and their effects.
    let few = grow(&TreeOptions { max_nodes: Some(3), ..options.clone() });
    assert_eq!(few.nodes.iter().map(|node| node.level).collect::<Vec<_>>(), [2, 1, 0]);
    let size = |graph: &Graph| graph.into_node(0).iter().map(|edge| edge.effect.abs()).fold(0.0, f64::max);
    assert_eq!((few.into_node(0).len(), size(&few)), (1, size(&tree)));
    assert!(few.made.iter().any(|(name, cell)| name == "left_out" && *cell != Cell::Int(0)), "{:?}", few.made);
    let share = few.made.iter().find(|(name, _)| name == "left_out_share").map(|(_, cell)| cell.clone());
    assert!(matches!(share, Some(Cell::Float(share)) if share > 0.0), "{share:?}");
    assert_eq!(grow(&TreeOptions { max_nodes: Some(1000), ..options.clone() }).edges, tree.edges);
    // By the paper's rule not all children are followed, and one child alone is a chain.
    assert!(grow(&TreeOptions { depth: Depth::Paper, ..options.clone() }).edges.len() <= tree.edges.len());
    let chain = grow(&TreeOptions { children: 1, contexts: 1, rank: Rank::Absolute, ..options.clone() });
    assert_eq!((chain.nodes.len(), chain.edges.len()), (3, 2));
}

#[test]
fn other_ways_to_ask_are_answered() {
    let (model, saes, survey) = found();
    let target = most_active(&survey);
    for (way, read) in [
        (TreeIntervention::Restore, ParentReading::Code),
        (TreeIntervention::Ablate, ParentReading::Pre),
        (TreeIntervention::Restore, ParentReading::Pre),
    ] {
        let options = TreeOptions { contexts: 2, children: 2, way, read, ..TreeOptions::default() };
        let tree = from_survey(&model, &saes, &survey, target, &options, &Task::default()).unwrap();
        assert!(tree.is_whole && tree.edges.iter().all(|edge| edge.effect.is_finite()));
    }
}

#[test]
fn an_interruption_keeps_what_was_found() {
    let (model, saes, survey) = found();
    let target = most_active(&survey);
    let options = TreeOptions { contexts: 2, children: 2, ..TreeOptions::default() };
    let whole = from_survey(&model, &saes, &survey, target, &options, &Task::default()).unwrap();
    // The second level begins.
    let (task, _) = Watch::until(Some(Moment::Begins("ablating", 2)));
    let part = from_survey(&model, &saes, &survey, target, &options, &task).unwrap();
    assert!(!part.is_whole && !task.is_interrupted());
    assert_eq!(part.edges, whole.edges[..part.edges.len()]);
    assert!(!part.edges.is_empty() && part.nodes.iter().all(|node| node.level >= 1));
}

#[test]
fn what_makes_no_tree_is_refused() {
    let (model, saes, mut survey) = found();
    let grow = |saes: &[Sae], survey: &Survey, target: usize| {
        from_survey(&model, saes, survey, target, &TreeOptions::default(), &Task::default()).unwrap_err().message
    };
    assert_eq!(grow(&saes, &survey, FEATURES), "expected a feature below 24 of resid_post.2, found 24");
    assert_eq!(grow(&saes[2..], &survey, 0), "expected dictionaries of at least two sites, found 1");
    survey.dictionaries[2][5].top.clear();
    assert_eq!(grow(&saes, &survey, 5), "feature 5 of resid_post.2 is never active in this text");
    let d = model.decoder.config().d_model;
    let other = dictionary(d, 7, Activation::Relu, "resid_post.1");
    let both = [saes[0].clone(), saes[1].clone(), other.clone()];
    let twice = leading_to(&model, &both, &saes[2]).unwrap_err();
    assert_eq!(twice.message, "expected dictionaries of different layers, found resid_post.1 and resid_post.1");
    let wrong = leading_to(&model, &saes, &other).unwrap_err();
    assert!(wrong.message.contains("another dictionary (relu of 24 features)"), "{}", wrong.message);
    let names = |saes: Vec<Sae>| saes.iter().map(|sae| sae.parts().about.site()).collect::<Vec<_>>();
    // Those after the target are left out, their order does not matter, and layers may be missing.
    let [a, _, c] = [0, 1, 2].map(|i| saes[i].clone());
    assert_eq!(names(leading_to(&model, &[c.clone(), a.clone()], &saes[1]).unwrap()), ["resid_post.0", "resid_post.1"]);
    assert_eq!(names(leading_to(&model, &[c, a], &saes[2]).unwrap()), ["resid_post.0", "resid_post.2"]);
    let mlp = dictionary(d, 7, Activation::Relu, "mlp_out.1");
    let error = leading_to(&model, &[mlp], &saes[2]).unwrap_err();
    assert_eq!(error.message, "expected a dictionary of the residual stream, found one that reads mlp_out.1");
}
