//! Tests that the circuits found keep the shares they state, and that slopes are slopes.

use super::*;
use crate::circuit::faithfulness::UnitClasses;
use crate::circuit::graph::{Graph, Node, Part};
use crate::circuit::samples::{FEATURES, dictionary, found, text};
use crate::circuit::sparse_features::FeatureAblations;
use crate::model::gradient_rules::GradientRules;
use crate::sae::Activation;
use crate::watch::{Moment, Watch};

/// Runs a test with continuous activations, so that differences are slopes.
fn with(work: impl FnOnce(&FeatureAblations, &MinimalOptions)) {
    let model = found().0;
    let d = model.decoder.config().d_model;
    let of = |layer: usize| dictionary(d, FEATURES, Activation::Relu, &format!("resid_post.{layer}"));
    let saes = [of(0), of(1)];
    let task = Task::default();
    let of = FeatureAblations::of_text(&model, &saes, &text(), &[0, 2], 8, NodeAblation::Mean, &task).unwrap();
    work(&of, &MinimalOptions::default());
}

#[test]
fn slopes_are_what_m_gains_with_each_unit() {
    with(|of, _| {
        let task = Task::default();
        let shares: Vec<f32> = (0..of.units()).map(|number| 0.3 + 0.6 * ((number * 7 % 11) as f32 / 11.0)).collect();
        let found = of.slopes(&shares, &task).unwrap();
        let slopes = found.signed;
        assert!(slopes.iter().zip(&found.sizes).all(|(slope, size)| *size >= slope.abs() - 1e-9));
        let largest = slopes.iter().fold(0.0_f64, |most, slope| most.max(slope.abs()));
        assert!(largest > 1e-4);
        for number in (0..of.units()).step_by(3).chain([of.units() - 1]) {
            let moved = |by: f32| {
                let mut shares = shares.clone();
                shares[number] += by;
                of.slopes(&shares, &task).unwrap().sum
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((slope - slopes[number]).abs() < 0.03 * largest, "{number}: {slope} and {}", slopes[number]);
        }
    });
}

#[test]
fn every_method_finds_a_set_that_keeps_the_share() {
    with(|of, options| {
        let task = Task::default();
        for method in
            [MinimalMethod::Attribution, MinimalMethod::Integrated, MinimalMethod::Elimination, MinimalMethod::Masks]
        {
            let options = MinimalOptions { method, steps: 20, rate: 0.2, ..options.clone() };
            let search = MinimalSearch::new(of, &options, &task).unwrap();
            for share in [0.5, 0.8] {
                let found = search.smallest(share, &task).unwrap();
                assert!(found.share >= share && found.size() < of.units(), "{method:?}: {}", found.size());
                let again = search.mean(&found.kept, &task).unwrap() / search.whole;
                assert!((again - found.share).abs() < 1e-5);
            }
        }
    });
}

#[test]
fn relevance_gives_other_slopes_of_the_same_circuit_and_is_no_step_of_an_optimisation() {
    let (model, saes, _) = found();
    let task = Task::default();
    let of = |token, method, gradients| {
        let rules = GradientOptions { gradients };
        let token = vec![TokenPattern::Id(token)];
        let options = MinimalOptions { token, method, rules, context: Some(8), ..MinimalOptions::default() };
        minimal_circuits(&model, &saes[..2], &text(), &options, &task)
    };
    // One whose probability is not kept without any unit.
    let methods = [MinimalMethod::Attribution, MinimalMethod::Elimination];
    let needs_some = |token: &i64| {
        let sizes = methods.map(|method| of(*token, method, GradientRules::Derivatives).unwrap()[0].graph.nodes.len());
        sizes.iter().all(|size| *size > 1)
    };
    let token = (0..20).find(needs_some).unwrap();
    for method in methods {
        let [derivatives, relp] = [GradientRules::Derivatives, GradientRules::Relp].map(|gradients| {
            let mut circuits = of(token, method, gradients).unwrap();
            circuits.remove(0).graph
        });
        assert_eq!(derivatives.nodes[0].value, relp.nodes[0].value, "values are those of the model");
        let effects = |graph: &Graph| graph.nodes.iter().map(|node| node.effect).collect::<Vec<_>>();
        assert_ne!(effects(&derivatives), effects(&relp));
        assert_eq!(relp.made.last(), Some(&("gradients".to_string(), "relp".into())));
        assert_ne!(derivatives.made.last().map(|(name, _)| name.as_str()), Some("gradients"));
    }
    for method in [MinimalMethod::Integrated, MinimalMethod::Masks] {
        assert_eq!(of(token, method, GradientRules::Relp).unwrap_err().about.as_deref(), Some("gradients"));
    }
}

#[test]
fn circuits_are_judged_beside_random_ones_of_their_kind() {
    let (model, saes, _) = found();
    let task = Task::default();
    let options = MinimalOptions {
        token: vec![TokenPattern::Id(0), TokenPattern::Id(2)],
        share: vec![0.6, 1.0],
        context: Some(8),
        ..MinimalOptions::default()
    };
    let circuits = minimal_circuits(&model, &saes[..2], &text(), &options, &task).unwrap();
    let judged = shares(
        &model,
        &circuits,
        &text(),
        &ShareOptions { draws: 3, context: Some(8), ..ShareOptions::default() },
        &task,
    )
    .unwrap();
    let number = |row: usize, column: usize| match judged.rows[row][column] {
        Cell::Float(x) => x,
        Cell::Int(x) => x as f64,
        ref other => panic!("{other:?}"),
    };
    assert!(number(0, 5) >= 0.6 - 1e-6 && number(0, 6) <= number(0, 5) && number(0, 5) <= number(0, 7));
    assert_eq!(number(0, 1), number(0, 2) + number(0, 3));
    assert_eq!(number(0, 1) as usize + 1, circuits[0].graph.nodes.len());
    assert!(number(1, 1) >= number(0, 1));
    let empty = shares(&model, &[], &text(), &ShareOptions::default(), &task).unwrap_err();
    assert_eq!(empty.message, "expected at least one circuit, found none");
    let none = MinimalOptions::default();
    assert!(
        minimal_circuits(&model, &saes, &text(), &none, &task).unwrap_err().message.starts_with("expected `token`")
    );
}

#[test]
fn a_tree_is_judged_by_its_features_below_the_target() {
    let (model, saes, _) = found();
    let task = Task::default();
    let of = FeatureAblations::of_text(&model, &saes[..2], &text(), &[0], 8, NodeAblation::Mean, &task).unwrap();
    let node = |level: usize| Node::new(format!("resid_post.{level}"), level, Part::Feature(1));
    let sites = (0..3).map(|level| format!("resid_post.{level}")).collect();
    let mut tree = Graph { sites, nodes: vec![node(2), node(1), node(0)], ..Graph::default() };
    let kept = of.kept(&tree).unwrap();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 2);
    // A node below it that no dictionary has is refused.
    tree.nodes[1].site = "mlp_out.1".into();
    assert!(of.kept(&tree).unwrap_err().message.contains("mlp_out.1/1"));
}

#[test]
fn random_circuits_have_as_many_of_each_class() {
    let kept = [true, false, true, false, false, true];
    let alike = [0, 0, 1, 1, 1, 2];
    let found: Vec<Vec<bool>> = (0..20).map(|draw| UnitClasses::new(&alike, &kept).draw(0, draw)).collect();
    for found in &found {
        let count = |class: usize| (0..6).filter(|at| alike[*at] == class && found[*at]).count();
        assert_eq!([count(0), count(1), count(2)], [1, 1, 1]);
    }
    assert!(found.iter().any(|found| found[0]) && found.iter().any(|found| found[1]));
}

#[test]
fn an_interrupted_elimination_gives_what_it_has() {
    let (model, saes, _) = found();
    let (task, _) = Watch::until(Some(Moment::Advances("eliminating")));
    let options = MinimalOptions { token: vec![TokenPattern::Id(0)], share: vec![0.01], ..MinimalOptions::default() };
    let circuits = minimal_circuits(&model, &saes[..2], &text(), &options, &task).unwrap();
    assert!(!circuits[0].graph.is_whole && !task.is_interrupted());
    assert_eq!(circuits[0].graph.nodes.len(), 2 * (FEATURES + 1) + 1);
}
