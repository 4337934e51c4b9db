//! Probes against their invariants, scikit-learn, and their own measures.

use proptest::prelude::*;

use super::fit::ProbeOptions;
use super::labels::{ClassLabels, ClassName, RowGroups};
use super::matrix::matrix;
use super::measures::{JudgedRows, auroc, runs};
use super::optimum::Solver;
use super::probe::{Probe, ProbeKind};
use super::split::{HeldOutOptions, RowSplit};
use crate::base::files::Files;
use crate::base::random::{Seed, stream};
use crate::base::{Cell, Task};
use crate::tensor::{Device, Tensor, floats, ints};
use rand::RngExt;

fn names(of_row: &[usize]) -> Vec<ClassName> {
    of_row.iter().map(|class| ClassName::Integer(*class as i64)).collect()
}

fn tensor(values: &[f64], width: usize) -> Tensor {
    Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu).unwrap()
}

/// Draws rows around the means of classes that overlap.
fn sample(rows: usize, width: usize, classes: usize, apart: f64, seed: u64) -> (Tensor, Vec<ClassName>) {
    let mut random = stream(seed, "a sample", 0);
    let mut noise = || (0..6).map(|_| random.random_range(-1.0..1.0)).sum::<f64>() / 2.0_f64.sqrt();
    let of_row: Vec<usize> = (0..rows).map(|i| i % classes).collect();
    let value = |class: usize, j: usize| apart * ((class * 7 + j * 3) % 5) as f64 / 4.0;
    let values: Vec<f64> = of_row
        .iter()
        .flat_map(|class| (0..width).map(|j| value(*class, j)).collect::<Vec<_>>())
        .map(|v| v + noise())
        .collect();
    (tensor(&values, width), names(&of_row))
}

fn fitted(x: &Tensor, y: &[ClassName], options: &ProbeOptions) -> crate::base::Result<Probe> {
    Probe::fit(x, &ClassLabels::of(y).unwrap(), options, &Task::default())
}

fn options(l2: f64, solver: Solver) -> ProbeOptions {
    ProbeOptions { l2: Some(l2), solver: Some(solver), ..ProbeOptions::default() }
}

fn far(a: &Probe, b: &Probe) -> f64 {
    let weights = |probe: &Probe| -> Vec<Vec<f64>> {
        let rows = (0..probe.weights.nrows()).map(|row| probe.weights.row(row).iter().copied().collect());
        rows.collect()
    };
    kit::far(weights(a), weights(b)).max(kit::far(&a.biases, &b.biases))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn newton_and_lbfgs_find_the_same_weights(seed in 0_u64..1000, classes in 2_usize..4, l2 in prop::sample::select(vec![0.0, 1e-3, 0.1])) {
        let (x, y) = sample(120, 4, classes, 1.0, seed);
        let newton = fitted(&x, &y, &options(l2, Solver::Newton)).unwrap();
        let lbfgs = fitted(&x, &y, &options(l2, Solver::Lbfgs)).unwrap();
        prop_assert!(far(&newton, &lbfgs) < 1e-5, "{newton:?} {lbfgs:?}");
    }

    #[test]
    fn without_a_penalty_the_units_of_the_rows_do_not_matter(seed in 0_u64..1000, scale in 0.01_f64..100.0, turn in 0.0_f64..3.0) {
        let (x, y) = sample(80, 2, 2, 1.0, seed);
        let (sin, cos) = turn.sin_cos();
        let map = Tensor::new(&[[scale * cos, sin], [-scale * sin, cos]], &Device::Cpu).unwrap();
        let turned = (x.matmul(&map).unwrap() + 5.0).unwrap();
        let plain = fitted(&x, &y, &options(0.0, Solver::Newton)).unwrap();
        let other = fitted(&turned, &y, &options(0.0, Solver::Newton)).unwrap();
        let a = floats(&plain.scores(&x).unwrap()).unwrap();
        let b = floats(&other.scores(&turned).unwrap()).unwrap();
        for (a, b) in a.iter().zip(&b) {
            prop_assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_order(scores in prop::collection::vec(0_u8..6, 4..30), weights in prop::collection::vec(0_u8..3, 30)) {
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let weights: Vec<f64> = weights[..scores.len()].iter().map(|w| f64::from(*w)).collect();
        let is_positive = |row: usize| row.is_multiple_of(3);
        let mut won = 0.0;
        let mut pairs = 0.0;
        for i in (0..scores.len()).filter(|i| is_positive(*i)) {
            for j in (0..scores.len()).filter(|j| !is_positive(*j)) {
                let weight = weights[i] * weights[j];
                pairs += weight;
                won += weight * if scores[i] > scores[j] { 1.0 } else if scores[i] == scores[j] { 0.5 } else { 0.0 };
            }
        }
        let found = auroc(&runs(&scores), &weights, is_positive);
        prop_assert!(pairs == 0.0 && found.is_nan() || (found - won / pairs).abs() < 1e-12);
    }

    #[test]
    fn no_group_is_in_both_parts(ids in prop::collection::vec(0_u8..7, 8..40), seed in 0_u64..50) {
        let groups = RowGroups::of(ids.iter().copied());
        prop_assume!(groups.count() > 1);
        let asked = HeldOutOptions { groups: Some(groups.clone()), ..HeldOutOptions::default() };
        let RowSplit { train, held_out } = RowSplit::of(ids.len(), &asked, seed).unwrap();
        prop_assert_eq!(train.len() + held_out.len(), ids.len());
        prop_assert!(!train.is_empty() && !held_out.is_empty());
        prop_assert!(train.iter().all(|a| held_out.iter().all(|b| groups.0[*a] != groups.0[*b])));
    }
}

#[test]
fn the_gradient_of_the_loss_is_0_at_the_optimum() {
    // Computed here by its formula: mean of (p - y) x + l2 w.
    let (x, y) = sample(60, 3, 2, 1.0, 3);
    let probe = fitted(&x, &y, &options(0.05, Solver::Newton)).unwrap();
    let m = matrix(&x).unwrap();
    let scores = probe.outputs_of(&x).unwrap();
    let error = |i: usize| 1.0 / (1.0 + (-scores[(i, 0)]).exp()) - (i % 2) as f64;
    for j in 0..3 {
        let slope = (0..60).map(|i| error(i) * m[(i, j)]).sum::<f64>() / 60.0 + 0.05 * probe.weights[(j, 0)];
        assert!(slope.abs() < 1e-8, "{slope}");
    }
    assert!((0..60).map(error).sum::<f64>().abs() < 1e-6);
}

#[test]
fn classes_that_can_be_separated_have_no_optimum_without_a_penalty() {
    let whole = tensor(&[0.0, 1.0, 2.0, 5.0, 6.0, 7.0], 1);
    let y = names(&[0, 0, 0, 1, 1, 1]);
    // In the second one row of each class lies on the border, and in the third only one of three classes is apart.
    let touching = tensor(&[0.0, 1.0, 2.0, 2.0, 6.0, 7.0], 1);
    let three = (tensor(&[0.0, 1.0, 2.0, 0.5, 1.5, 2.5, 9.0, 10.0], 1), names(&[0, 0, 0, 1, 1, 1, 2, 2]));
    for (x, y) in [(&whole, &y), (&touching, &y), (&three.0, &three.1)] {
        for solver in [Solver::Newton, Solver::Lbfgs] {
            let error = fitted(x, y, &options(0.0, solver)).unwrap_err();
            assert!(
                error.message.starts_with("the classes can be separated") && error.about.as_deref() == Some("l2"),
                "{error:?}"
            );
            assert_eq!(
                fitted(x, y, &options(1e-3, solver)).unwrap().classes.len(),
                y.iter().collect::<std::collections::BTreeSet<_>>().len()
            );
        }
    }
}

#[test]
fn columns_that_say_nothing_new_have_a_solution() {
    let (x, y) = sample(60, 2, 2, 1.0, 5);
    let more = Tensor::cat(&[&x, &x, &(x.zeros_like().unwrap() + 3.0).unwrap()], 1).unwrap();
    let plain = fitted(&x, &y, &options(0.0, Solver::Newton)).unwrap();
    let other = fitted(&more, &y, &options(0.0, Solver::Newton)).unwrap();
    let a = floats(&plain.scores(&x).unwrap()).unwrap();
    let b = floats(&other.scores(&more).unwrap()).unwrap();
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    assert_eq!(other.weights[(4, 0)], 0.0);
}

#[test]
fn sparse_probes_are_those_of_sae_bench_with_scikit_learn() {
    let truth = kit::tensors("probes/sparse_probing.safetensors");
    let n = ints(&truth["n_train"]).unwrap()[0] as usize;
    let x = truth["codes"].narrow(0, 0, n).unwrap();
    let y: Vec<usize> = ints(&truth["labels"]).unwrap()[..n].iter().map(|y| *y as usize).collect();
    for k in [1, 2, 5, 30] {
        let asked = ProbeOptions { kind: ProbeKind::Sparse, k: Some(k), ..ProbeOptions::default() };
        let probe = fitted(&x, &names(&y), &asked).unwrap();
        let theirs = floats(&truth[&format!("k{k}.coef")]).unwrap();
        let bias = floats(&truth[&format!("k{k}.intercept")]).unwrap()[0];
        let mut ours: Vec<f64> = (0..k).map(|j| probe.weights[(j, 0)]).collect();
        let mut theirs = theirs;
        ours.sort_by(f64::total_cmp);
        theirs.sort_by(f64::total_cmp);
        // Theirs end where no slope is above 1e-4; ours, found in two ways, where none is above rounding.
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 5e-3), "{k}: {ours:?} {theirs:?}");
        assert!((probe.biases[0] - bias).abs() < 5e-3, "{k}: {} {bias}", probe.biases[0]);
    }
}

#[test]
fn the_difference_of_means_is_0_halfway_and_points_from_one_to_the_other() {
    let x = tensor(&[0.0, 1.0, 0.0, 3.0, 4.0, 1.0, 4.0, 3.0], 2);
    let asked = ProbeOptions { kind: ProbeKind::DifferenceOfMeans, ..ProbeOptions::default() };
    let probe = fitted(&x, &names(&[0, 0, 1, 1]), &asked).unwrap();
    assert_eq!(probe.direction().unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0]);
    let middle = floats(&probe.scores(&tensor(&[2.0, 9.0], 2)).unwrap()).unwrap()[0];
    assert!(middle.abs() < 1e-6);
    // With one standard deviation within the classes the log odds at a mean are d^2 / (2 s^2).
    let x = tensor(&[-1.0, 1.0, 3.0, 5.0], 1);
    let probe = fitted(&x, &names(&[0, 0, 1, 1]), &asked).unwrap();
    let at_mean = floats(&probe.scores(&tensor(&[4.0], 1)).unwrap()).unwrap()[0];
    assert!((at_mean - 16.0 / (2.0 * 2.0)).abs() < 1e-6, "{at_mean}");
    let same = tensor(&[1.0, 2.0, 1.0, 2.0], 1);
    assert!(fitted(&same, &names(&[0, 0, 1, 1]), &asked).unwrap_err().message.contains("different means"));
}

#[test]
fn measures_are_their_formulas() {
    let outputs = faer::Mat::from_fn(4, 1, |i, _| [2.0, -1.0, 0.5, 3.0][i]);
    let labels = ClassLabels::among(&names(&[1, 0, 0, 1]), &names(&[0, 1])).unwrap();
    let judged = JudgedRows::new(outputs.as_ref(), labels);
    let once = judged.each_once();
    assert_eq!((judged.accuracy(&once), judged.auroc(&once)), (0.75, 1.0));
    assert_eq!(judged.confusion(), [[1, 1], [0, 2]]);
    // Each row is alone in its bin, but for those at .88 and at .73: |1 - .881| + |1 - .731| + |0 - .622| + |1 - .953|.
    let p = |s: f64| 1.0 / (1.0 + (-s).exp());
    let expected = (1.0 - p(2.0) + 1.0 - p(1.0) + p(0.5) + 1.0 - p(3.0)) / 4.0;
    assert!((judged.calibration_error(&once) - expected).abs() < 1e-12);
    assert_eq!(judged.bins(&once).iter().map(|bin| bin.weight).sum::<f64>(), 4.0);
}

#[test]
fn a_probe_is_judged_beside_the_majority_rate_with_intervals_by_group() {
    let (x, y) = sample(90, 3, 3, 3.0, 1);
    let probe = fitted(&x, &y, &ProbeOptions::default()).unwrap();
    let table = probe.judge(&x, &y, &super::judge::JudgeProbeOptions::default()).unwrap();
    let value = |row: usize, column: usize| if let Cell::Float(x) = table.rows[row][column] { x } else { f64::NAN };
    assert!((value(1, 1) - 1.0 / 3.0).abs() < 1e-12);
    assert!((value(0, 1) - value(1, 1) - value(2, 1)).abs() < 1e-12);
    assert!(value(0, 2) <= value(0, 1) && value(0, 1) <= value(0, 3) && value(2, 2) > 0.0);
    let groups = Some(RowGroups::of((0..90).map(|i| i / 45)));
    let wide = super::judge::JudgeProbeOptions { groups, seed: Seed::of(0) };
    assert_eq!(probe.judge(&x, &y, &wide).unwrap().title, "logistic probe on 90 rows in 2 groups");
}

#[test]
fn control_tasks_are_at_chance_and_those_of_known_types_are_remembered() {
    use super::selectivity::{SelectivityOptions, selectivity};
    let (x, y) = sample(200, 3, 2, 2.0, 2);
    let value = |table: &crate::base::Table, row: usize| {
        if let Cell::Float(x) = table.rows[row][1] { x } else { f64::NAN }
    };
    let shuffled = selectivity(&x, &y, &SelectivityOptions::default(), &Task::default()).unwrap();
    assert!(value(&shuffled, 0) > 0.8 && (value(&shuffled, 1) - 0.5).abs() < 0.15, "{shuffled:?}");
    // Four words, each a column of its own, are remembered whatever label they get.
    let word = |i: usize| i / 2 % 4;
    let x = Tensor::from_vec(
        (0..800).map(|at| f64::from(word(at / 4) == at % 4)).collect::<Vec<_>>(),
        (200, 4),
        &Device::Cpu,
    );
    let asked = SelectivityOptions { types: Some(RowGroups::of((0..200).map(word))), ..SelectivityOptions::default() };
    let known = selectivity(&x.unwrap(), &y, &asked, &Task::default()).unwrap();
    assert_eq!(value(&known, 1), 1.0);
}

#[test]
fn a_saved_probe_is_read_as_it_was_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let (x, y) = sample(60, 4, 3, 2.0, 1);
    let asked = ProbeOptions { kind: ProbeKind::Sparse, k: Some(2), ..ProbeOptions::default() };
    let probe = fitted(&x, &y, &asked).unwrap();
    let path = probe.save(&files, std::path::Path::new("p.safetensors")).unwrap();
    let again = Probe::load(&files, &path).unwrap();
    assert_eq!((far(&probe, &again), &again.features, &again.classes), (0.0, &probe.features, &probe.classes));
    assert_eq!((again.l2, again.rows, again.width, again.kind), (probe.l2, 60, 4, ProbeKind::Sparse));
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(Probe::load(&files, &path).is_err(), "{cut}");
    }
    assert!(probe.save(&files, std::path::Path::new("p.npz")).is_err());
}

#[test]
fn what_cannot_be_fitted_is_refused_by_name() {
    let x = tensor(&[0.0, 1.0, 2.0, f64::NAN], 1);
    let error = |x: &Tensor, y: &[ClassName], asked: &ProbeOptions| {
        ClassLabels::of(y).and_then(|labels| Probe::fit(x, &labels, asked, &Task::default())).unwrap_err().message
    };
    let plain = ProbeOptions::default();
    assert_eq!(error(&x, &names(&[0, 0, 1, 1]), &plain), "expected finite numbers, found NaN at [3, 0]");
    let x = tensor(&[0.0, 1.0, 2.0, 3.0], 1);
    assert_eq!(error(&x, &names(&[0, 0, 1]), &plain), "expected a label for each of 4 rows, found 3");
    assert_eq!(error(&x, &names(&[1; 4]), &plain), "expected labels of at least two classes, found 1 only");
    let mixed = [ClassName::Flag(true), ClassName::Integer(1)];
    assert_eq!(error(&x, &mixed, &plain), "expected labels of one sort, found true or false and integers");
    let sparse = ProbeOptions { kind: ProbeKind::Sparse, k: Some(2), ..ProbeOptions::default() };
    assert_eq!(error(&x, &names(&[0, 1, 0, 1]), &sparse), "expected at most 1 columns for `k`, found 2");
    let wrong = ProbeOptions { k: Some(2), ..ProbeOptions::default() };
    assert_eq!(
        error(&x, &names(&[0, 1, 0, 1]), &wrong),
        "expected no `k` beside `kind: \"logistic\"`, where it has no effect"
    );
    let probe = fitted(&x, &names(&[0, 1, 0, 1]), &plain).unwrap();
    assert!(probe.scores(&tensor(&[1.0, 2.0], 2)).unwrap_err().message.contains("rows of 1 numbers"));
    assert!(probe.judged(&x, &names(&[0, 1, 0, 7])).err().unwrap().message.contains("found 7 in row 3"));
}
