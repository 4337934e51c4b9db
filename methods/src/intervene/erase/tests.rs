//! Tests of erasers against concept-erasure 0.2.4 and scikit-learn, and against their guarantees.

use std::collections::BTreeMap;

use kit::{far_relative, tensors};
use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::probes::optimum::Solver;
use crate::probes::{Probe, ProbeOptions};
use crate::sae::baselines;
use crate::tensor::{floats, ints};

struct ErasureFixture(BTreeMap<String, Tensor>);

impl ErasureFixture {
    fn new() -> Self {
        Self(tensors("erasure/erasure.safetensors"))
    }

    fn get(&self, name: &str) -> Tensor {
        self.0[name].clone()
    }

    fn names(&self, case: &str) -> Vec<ClassName> {
        ints(&self.get(&format!("{case}.y"))).unwrap().into_iter().map(ClassName::Integer).collect()
    }

    fn eraser(&self, case: &str, options: &EraseOptions) -> Eraser {
        let labels = ClassLabels::of(&self.names(case)).unwrap();
        Eraser::fit(&self.get(&format!("{case}.x")), &labels, options, FittedWith::default(), &Task::default()).unwrap()
    }

    /// Returns how far an eraser's erasure of the test rows is from the reference, relative to the largest number.
    fn far(&self, case: &str, theirs: &str, options: &EraseOptions) -> f64 {
        let ours = self.eraser(case, options).apply(&self.get(&format!("{case}.x_test")), None).unwrap();
        far_relative(&ours, self.get(&format!("{case}.{theirs}")))
    }
}

fn of_kind(kind: EraserKind) -> EraseOptions {
    EraseOptions { kind, ..EraseOptions::default() }
}

#[test]
fn erasers_agree_with_concept_erasure_and_scikit_learn() {
    let fixture = ErasureFixture::new();
    let leace = EraseOptions::default();
    for case in ["binary", "three"] {
        let shrunk = EraseOptions { shrinkage: Some(true), ..leace.clone() };
        let unshrunk = EraseOptions { shrinkage: Some(false), ..leace.clone() };
        let linear = EraseOptions { affine: Some(false), ..leace.clone() };
        for (theirs, options, tolerance) in [
            ("leace.erased", &shrunk, 1e-5),
            ("leace_noshrink.erased", &leace, 1e-5),
            ("leace_noshrink.erased", &unshrunk, 1e-5),
            ("leace_linear.erased", &linear, 1e-5),
            ("orth.erased", &of_kind(EraserKind::MeanProjection), 1e-5),
        ] {
            let found = fixture.far(case, theirs, options);
            assert!(found < tolerance, "{case} {theirs}: {found:e}");
        }
        // Theirs is where scikit-learn stops, and its optimum is flat.
        for rounds in 1..4 {
            let asked = EraseOptions { rounds: Some(rounds), affine: Some(false), ..of_kind(EraserKind::Inlp) };
            let identity = Tensor::eye(12, DType::F64, &Device::Cpu).unwrap();
            let ours = fixture.eraser(case, &asked).apply(&identity, None).unwrap();
            let found = far_relative(&ours, fixture.get(&format!("{case}.inlp.P{rounds}")));
            assert!(found < 1e-3, "{case} {rounds}: {found:e}");
        }
    }
    let means = of_kind(EraserKind::MeanProjection);
    assert!(fixture.far("binary", "mean_difference.erased", &means) < 1e-5);
    let through_origin = EraseOptions { affine: Some(false), ..means };
    assert!(fixture.far("binary", "mean_difference.through_origin", &through_origin) < 1e-5);
}

fn rows(count: usize, width: usize, classes: usize, seed: u64) -> (Tensor, Vec<ClassName>) {
    let mut random = stream(seed, "rows to erase", 0);
    let names: Vec<usize> = (0..count).map(|i| if i < classes { i } else { random.random_range(0..classes) }).collect();
    let values: Vec<f64> = names
        .iter()
        .flat_map(|class| (0..width).map(|j| ((class + 1) * (j + 2) % 5) as f64).collect::<Vec<_>>())
        .map(|mean| mean + random.random_range(-2.0..2.0))
        .collect();
    let x = Tensor::from_vec(values, (count, width), &Device::Cpu).unwrap();
    (x, names.into_iter().map(|class| ClassName::Integer(class as i64)).collect())
}

/// Returns the largest covariance of a column of rows and of one-hot labels.
fn covariance(x: &Tensor, labels: &ClassLabels) -> f64 {
    let x = matrix(x).unwrap();
    let means = means(x.as_ref());
    let n = x.nrows() as f64;
    let of = |class: usize, j: usize| {
        let rows = (0..x.nrows()).filter(|i| labels.of_row[*i] == class);
        rows.map(|i| x[(i, j)] - means[j]).sum::<f64>() / n
    };
    (0..labels.classes.len())
        .flat_map(|c| (0..x.ncols()).map(move |j| (c, j)))
        .map(|(c, j)| of(c, j).abs())
        .fold(0.0, f64::max)
}

fn squares(a: &Tensor, b: &Tensor) -> f64 {
    floats(&(a - b).unwrap()).unwrap().iter().map(|x| x * x).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn after_leace_no_linear_probe_beats_the_majority_rate(seed in 0_u64..1000, classes in 2_usize..4, shrinkage in any::<bool>()) {
        let (x, names) = rows(90, 5, classes, seed);
        let labels = ClassLabels::of(&names).unwrap();
        let options = EraseOptions { shrinkage: Some(shrinkage), ..EraseOptions::default() };
        let eraser = Eraser::fit(&x, &labels, &options, FittedWith::default(), &Task::default()).unwrap();
        let erased = eraser.apply(&x, None).unwrap();
        prop_assert!(covariance(&x, &labels) > 0.1 && covariance(&erased, &labels) < 1e-9);
        // The best probe is the constant one: its loss is the entropy of the labels, and its class the commonest.
        let asked = ProbeOptions { l2: Some(0.0), solver: Some(Solver::Newton), ..ProbeOptions::default() };
        let probe = Probe::fit(&erased, &labels, &asked, &Task::default()).unwrap();
        let found = crate::probes::probe::class_chances(probe.outputs_of(&erased).unwrap().as_ref());
        for (class, share) in probe.shares.iter().enumerate() {
            let far = (0..90).map(|row| (found[(row, class)] - share).abs()).fold(0.0, f64::max);
            prop_assert!(far < 1e-6, "{far}");
        }
        let judged = probe.judged(&erased, &names).unwrap();
        let mut counts = labels.counts();
        counts.sort_unstable();
        let most = counts[classes - 1] as f64 / 90.0;
        // Of classes that are equally common rounding chooses.
        let is_tied = counts[classes - 1] == counts[classes - 2];
        prop_assert!(is_tied || (judged.accuracy(&judged.each_once()) - most).abs() < 1e-12);
    }

    #[test]
    fn of_those_that_erase_as_much_leace_changes_least_and_the_oracle_less(seed in 0_u64..1000, classes in 2_usize..4) {
        each_changes_more_than_the_one_before(seed, classes)?;
    }
}

/// Checks the order of the oracle, LEACE and the mean projection.
fn each_changes_more_than_the_one_before(seed: u64, classes: usize) -> Result<(), TestCaseError> {
    let (x, names) = rows(90, 5, classes, seed);
    let labels = ClassLabels::of(&names).unwrap();
    let fit =
        |kind: EraserKind| Eraser::fit(&x, &labels, &of_kind(kind), FittedWith::default(), &Task::default()).unwrap();
    let leace = fit(EraserKind::Leace).apply(&x, None).unwrap();
    let projection = fit(EraserKind::MeanProjection).apply(&x, None).unwrap();
    let oracle = fit(EraserKind::Oracle).apply(&x, Some(&names)).unwrap();
    for erased in [&leace, &projection, &oracle] {
        prop_assert!(covariance(erased, &labels) < 1e-9);
    }
    let [least, less, more] = [&oracle, &leace, &projection].map(|erased| squares(erased, &x));
    prop_assert!(least <= less * (1.0 + 1e-9) && less <= more * (1.0 + 1e-9), "{least} {less} {more}");
    Ok(())
}

/// Tests a case in which the rounding of a third label's variance passed for variance.
#[test]
fn an_oracle_of_three_classes_is_not_one_of_rounding() {
    each_changes_more_than_the_one_before(200, 3).unwrap();
}

#[test]
fn with_a_background_leace_erases_as_well_and_changes_it_less() {
    // Labelled rows lie in a corner of what there is, and are few.
    let (x, names) = rows(30, 12, 2, 3);
    let labels = ClassLabels::of(&names).unwrap();
    let (other, _) = rows(2000, 12, 4, 4);
    let background = Tensor::cat(&[&x, &((other * 3.0).unwrap() + 5.0).unwrap()], 0).unwrap();
    let fit = |with: FittedWith| Eraser::fit(&x, &labels, &EraseOptions::default(), with, &Task::default()).unwrap();
    let own = fit(FittedWith::default());
    let wide = fit(FittedWith { background: Some(&background), dictionary: None });
    for eraser in [&own, &wide] {
        assert!(covariance(&eraser.apply(&x, None).unwrap(), &labels) < 1e-9);
    }
    let change = |eraser: &Eraser| squares(&eraser.apply(&background, None).unwrap(), &background);
    assert!(change(&wide) < 0.9 * change(&own), "{} {}", change(&wide), change(&own));
    let narrow = FittedWith { background: Some(&x.narrow(1, 0, 3).unwrap()), dictionary: None };
    let refused = Eraser::fit(&x, &labels, &EraseOptions::default(), narrow, &Task::default()).unwrap_err();
    assert_eq!(refused.about.as_deref(), Some("background"));
}

#[test]
fn random_directions_leave_what_they_do_not_touch_and_features_only_their_own() {
    let (x, names) = rows(60, 5, 2, 1);
    let labels = ClassLabels::of(&names).unwrap();
    let random = EraseOptions { k: Some(2), ..of_kind(EraserKind::Random) };
    let eraser = Eraser::fit(&x, &labels, &random, FittedWith::default(), &Task::default()).unwrap();
    assert_eq!(eraser.rank(), Some(2));
    assert!(covariance(&eraser.apply(&x, None).unwrap(), &labels) > 0.05);
    let sae = baselines::identity(5).unwrap();
    let features = EraseOptions { k: Some(1), ..of_kind(EraserKind::Features) };
    let eraser =
        Eraser::fit(&x, &labels, &features, FittedWith { dictionary: Some(&sae), background: None }, &Task::default())
            .unwrap();
    let chosen = eraser.features().unwrap()[0] as usize;
    let before = matrix(&x).unwrap();
    let after = matrix(&eraser.apply(&x, None).unwrap()).unwrap();
    for j in 0..5 {
        let far =
            (0..60).map(|i| (after[(i, j)] - if j == chosen { 0.0 } else { before[(i, j)] }).abs()).fold(0.0, f64::max);
        assert!(far < 1e-5, "{j}: {far}");
    }
}

#[test]
fn what_cannot_erase_is_refused_by_name() {
    let (x, names) = rows(20, 3, 2, 1);
    let labels = ClassLabels::of(&names).unwrap();
    let error = |options: &EraseOptions| {
        Eraser::fit(&x, &labels, options, FittedWith::default(), &Task::default()).unwrap_err().message
    };
    let few = EraseOptions { k: Some(4), ..of_kind(EraserKind::Random) };
    assert_eq!(error(&few), "expected at most 3 directions for `k`, found 4");
    let rounds = EraseOptions { rounds: Some(2), ..EraseOptions::default() };
    assert_eq!(error(&rounds), "expected no `rounds` beside `kind: \"leace\"`, where it has no effect");
    assert!(error(&of_kind(EraserKind::Features)).starts_with("expected a dictionary"));
    let oracle =
        Eraser::fit(&x, &labels, &of_kind(EraserKind::Oracle), FittedWith::default(), &Task::default()).unwrap();
    assert!(oracle.apply(&x, None).unwrap_err().message.contains("labels of the rows"));
    assert!(oracle.check_hook().unwrap_err().message.contains("oracle"));
    let leace = Eraser::fit(&x, &labels, &EraseOptions::default(), FittedWith::default(), &Task::default()).unwrap();
    assert!(leace.apply(&x, Some(&names)).unwrap_err().message.contains("expected no labels"));
    assert!(leace.apply(&x.narrow(1, 0, 2).unwrap(), None).unwrap_err().message.contains("rows of 3 numbers"));
}
