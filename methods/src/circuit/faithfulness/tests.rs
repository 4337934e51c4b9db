//! Tests of judgements on runs whose values are known: each unit adds a number of its own.

use kit::far;

use super::*;
use crate::circuit::dictionaries::Circuit;
use crate::circuit::graph::{Edge, Node, Part};

/// Five edges; the metric of a pair is the sum of what the kept ones add, times a factor of the pair.
struct AdditiveUnits {
    adds: Vec<f64>,
    pairs: Vec<f64>,
}

const NAMES: [&str; 4] = ["embed", "mlp_out.0", "mlp_out.1", "logits"];
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];

fn graph(edges: &[(usize, usize, f64)]) -> Graph {
    Graph {
        title: "a circuit".into(),
        sites: NAMES.map(String::from).to_vec(),
        nodes: NAMES.iter().enumerate().map(|(level, name)| Node::new(*name, level, Part::Whole)).collect(),
        edges: edges.iter().map(|(from, to, effect)| Edge::new(*from, *to, *effect)).collect(),
        is_whole: true,
        ..Graph::default()
    }
}

fn scored(scores: [f64; 6]) -> Graph {
    let edges: Vec<(usize, usize, f64)> = EDGES.iter().zip(scores).map(|((a, b), score)| (*a, *b, score)).collect();
    graph(&edges)
}

impl Ablations for AdditiveUnits {
    fn units(&self) -> usize {
        self.adds.len()
    }

    fn kept(&self, graph: &Graph) -> Result<Vec<bool>> {
        Ok(EDGES.iter().map(|(from, to)| graph.edges.iter().any(|edge| (edge.from, edge.to) == (*from, *to))).collect())
    }

    fn alike(&self) -> Vec<usize> {
        // By the later node.
        EDGES.iter().map(|(_, to)| *to).collect()
    }

    fn values(&self, kept: &[bool], _: &Task) -> Result<Vec<f64>> {
        let sum: f64 = self.adds.iter().zip(kept).filter(|(_, kept)| **kept).map(|(adds, _)| adds).sum();
        Ok(self.pairs.iter().map(|pair| 3.0 + pair * sum).collect())
    }
}

fn sums() -> AdditiveUnits {
    AdditiveUnits { adds: vec![4.0, 0.0, 3.0, 0.0, 2.0, 1.0], pairs: vec![1.0, 2.0, 0.5] }
}

fn judged(graph: &Graph, runs: &dyn Ablations) -> PairJudgement {
    judge(graph, runs, &PairJudgeOptions::default(), &Task::default()).unwrap()
}

fn near(found: Option<f64>, expected: f64) -> bool {
    far(found, expected) < 1e-12
}

#[test]
fn everything_explains_all_and_nothing_nothing() {
    let all = judged(&scored([1.0; 6]), &sums());
    assert!(near(all.faithfulness(), 1.0) && near(all.complement.share.value, 0.0));
    assert_eq!(all.circuit.share.interval, Some([1.0, 1.0]));
    let nothing = judged(&graph(&[]), &sums());
    assert!(near(nothing.faithfulness(), 0.0) && near(nothing.complement.share.value, 1.0));
    assert_eq!((nothing.minimality(), nothing.left_out.len()), (None, 0));
    assert!(nothing.random.iter().all(|[drawn, rest]| drawn.units == 0 && rest.units == 6));
}

#[test]
fn faithfulness_is_the_share_of_what_the_circuit_adds() {
    // 4 + 3 + 1 of 10; of the single edges the last adds least.
    let found = judged(&scored([4.0, 0.0, 3.0, 0.0, 0.0, 1.0]), &sums());
    assert_eq!(found.circuit.units, 6);
    let three = graph(&[(0, 1, 4.0), (1, 2, 3.0), (2, 3, 1.0)]);
    let found = judged(&three, &sums());
    assert!(near(found.faithfulness(), 0.8) && near(found.complement.share.value, 0.2));
    assert!((found.everything - (3.0 + 35.0 / 3.0)).abs() < 1e-12 && found.nothing == 3.0);
    assert!(near(found.minimality(), 0.1) && found.left_out[0].unit == "mlp_out.1 -> logits");
    assert_eq!(found.left_out.iter().map(|one| (one.change * 10.0).round()).collect::<Vec<_>>(), [1.0, 3.0, 4.0]);
    // Random ones have an edge into each of the three nodes, too, and their complements the rest.
    for [drawn, rest] in &found.random {
        assert_eq!((drawn.units, rest.units), (3, 3));
        assert!(near(Some(drawn.share.value.unwrap() + rest.share.value.unwrap()), 1.0));
        // The only edge into the first MLP is always among them.
        assert!(drawn.share.value.unwrap() >= 0.4 - 1e-12);
    }
    let fewer = PairJudgeOptions { each: 1, draws: 2, ..PairJudgeOptions::default() };
    let fewer = judge(&three, &sums(), &fewer, &Task::default()).unwrap();
    assert_eq!((fewer.left_out.len(), fewer.random.len()), (1, 2));
    assert_eq!(fewer.left_out[0].unit, "mlp_out.1 -> logits");
}

/// Six edges; the metric of a pair is their number, and with three of them it depends on the pair.
struct Noisy;

impl Ablations for Noisy {
    fn units(&self) -> usize {
        6
    }
    fn kept(&self, graph: &Graph) -> Result<Vec<bool>> {
        sums().kept(graph)
    }
    fn alike(&self) -> Vec<usize> {
        vec![0; 6]
    }
    fn values(&self, kept: &[bool], _: &Task) -> Result<Vec<f64>> {
        let count = kept.iter().filter(|kept| **kept).count() as f64;
        Ok((0..40).map(|pair| count + if count == 3.0 { f64::from(pair % 4) - 1.5 } else { 0.0 }).collect())
    }
}

#[test]
fn intervals_are_over_pairs_and_a_single_pair_has_none() {
    let found = judged(&graph(&[(0, 1, 4.0), (1, 2, 3.0), (2, 3, 1.0)]), &Noisy);
    let [low, high] = found.circuit.share.interval.unwrap();
    // Half, with a deviation of sqrt(1.25 / 40) / 6.
    assert!(near(found.faithfulness(), 0.5) && low < 0.5 && high > 0.5);
    assert!((high - low - 2.0 * 1.96 * (1.25_f64 / 40.0).sqrt() / 6.0).abs() < 0.02, "{low} to {high}");
    let single = judged(&scored([1.0; 6]), &AdditiveUnits { pairs: vec![1.0], ..sums() });
    assert!(near(single.faithfulness(), 1.0) && single.circuit.share.interval.is_none());
}

#[test]
fn a_target_that_never_changes_has_no_faithfulness_and_says_so() {
    let found = judged(&scored([1.0; 6]), &AdditiveUnits { adds: vec![0.0; 6], ..sums() });
    assert_eq!((found.faithfulness(), found.minimality(), found.random_faithfulness()), (None, None, None));
    assert!(found.note().contains("There is no faithfulness"), "{}", found.note());
    assert!(found.table().rows[0][3] == Cell::Missing);
    let runs = AdditiveUnits { adds: vec![0.0; 6], ..sums() };
    let found = curve(&whole(&scored([1.0; 6])), &runs, &CurveOptions::default(), &Task::default()).unwrap();
    assert_eq!((found.areas, found.random, found.intervals), (None, None, [None; 2]));
    assert!(found.areas_table().rows.is_empty());
}

#[test]
fn the_interval_of_an_area_is_over_pairs() {
    let options = CurveOptions { shares: vec![0.0, 0.5, 1.0], pruned: false, ..CurveOptions::default() };
    let found = curve(&whole(&scored([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])), &Noisy, &options, &Task::default()).unwrap();
    let [low, high] = found.intervals[0].unwrap();
    // Half of the area is that of f at the half, whose deviation is sqrt(1.25 / 40) / 6.
    assert!((found.areas.unwrap().cpr - 0.5).abs() < 1e-12 && low < 0.5 && high > 0.5);
    assert!((high - low - 1.96 * (1.25_f64 / 40.0).sqrt() / 6.0).abs() < 0.01, "{low} to {high}");
    let single = AdditiveUnits { pairs: vec![1.0], ..sums() };
    let found = curve(&whole(&scored([1.0; 6])), &single, &options, &Task::default()).unwrap();
    assert_eq!((found.areas.is_some(), found.intervals), (true, [None; 2]));
}

#[test]
fn what_is_no_number_is_refused_with_its_pair() {
    let error = judge(
        &scored([1.0; 6]),
        &AdditiveUnits { pairs: vec![1.0, f64::NAN], ..sums() },
        &PairJudgeOptions::default(),
        &Task::default(),
    );
    let error = error.unwrap_err();
    assert!(error.kind == Kind::Numeric && error.message.contains("pair 1 is NaN with 6 of 6 units"), "{error}");
    let none = AdditiveUnits { pairs: Vec::new(), ..sums() };
    let error = judge(&scored([1.0; 6]), &none, &PairJudgeOptions::default(), &Task::default()).unwrap_err();
    assert!(error.message.contains("at least one pair"), "{error}");
}

#[test]
fn an_interruption_stops_a_judgement() {
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let stopped = judge(&scored([1.0; 6]), &sums(), &PairJudgeOptions::default(), &task).unwrap_err();
    assert_eq!(stopped.kind, Kind::Interrupted);
}

fn curved(graph: &Graph, options: CurveOptions) -> Curve {
    curve(&whole(graph), &sums(), &options, &Task::default()).unwrap()
}

fn whole(graph: &Graph) -> Circuit {
    Circuit::without_dictionaries(graph.clone())
}

#[test]
fn areas_are_by_trapezoids_over_the_share() {
    let halves = CurveOptions { shares: vec![0.0, 0.5, 1.0], pruned: false, ..CurveOptions::default() };
    // The three edges that add 4, 3 and 2 are the best half: f = 0, .9, 1.
    let found = curved(&scored([4.0, 0.0, -3.0, 0.0, 2.0, 1.0]), halves.clone());
    let areas = found.areas.unwrap();
    assert!((areas.cpr - (0.5 * 0.45 + 0.5 * 0.95)).abs() < 1e-12 && (areas.cmd - 0.3).abs() < 1e-12);
    assert_eq!(
        found.points.iter().map(|point| (point.chosen, point.kept)).collect::<Vec<_>>(),
        [(0, 0), (3, 3), (6, 6)]
    );
    assert!(found.points.iter().all(|point| point.random.len() == 3));
    // Whichever pairs are drawn, f is the same.
    let same = |interval: Option<[f64; 2]>, area: f64| {
        interval.is_some_and(|[low, high]| (low - area).abs() < 1e-12 && (high - area).abs() < 1e-12)
    };
    assert!(same(found.intervals[0], areas.cpr) && same(found.intervals[1], areas.cmd));
    let table = found.areas_table();
    assert_eq!(table.column("area").unwrap(), [&Cell::from("CPR"), &Cell::from("CMD")]);
    assert_eq!(table.column("value").unwrap(), [&Cell::Float(areas.cpr), &Cell::Float(areas.cmd)]);
    // Each random half has one f, and its distances from 1 are averaged, not its f.
    let random = found.random.unwrap();
    let halves: Vec<f64> = found.points[1].random.clone();
    let expected = halves.iter().map(|f| 0.25 * (1.0 + 2.0 * (1.0 - f).abs())).sum::<f64>() / 3.0;
    assert!((random.cmd - expected).abs() < 1e-12, "{} is not {expected}", random.cmd);
    // A circuit that has all of the metric from the first share on: area 1 of 1, and none to 1.
    let perfect = AdditiveUnits { adds: vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0], ..sums() };
    let shares = CurveOptions { shares: vec![0.2, 0.5, 1.0], pruned: false, ..CurveOptions::default() };
    let found = curve(&whole(&scored([4.0, 0.0, 3.0, 0.0, 2.0, 1.0])), &perfect, &shares, &Task::default()).unwrap();
    let areas = found.areas.unwrap();
    assert!((areas.cpr - 0.8).abs() < 1e-12 && areas.cmd.abs() < 1e-12);
    for wrong in [vec![], vec![0.5, 0.5], vec![0.5, 0.1]] {
        let options = CurveOptions { shares: wrong, ..CurveOptions::default() };
        let error = curve(&whole(&scored([1.0; 6])), &sums(), &options, &Task::default()).unwrap_err();
        assert_eq!(error.about.as_deref(), Some("shares"));
    }
}

#[test]
fn edges_that_lead_nowhere_are_taken_off() {
    // The best two, embed to MLP 0 to MLP 1, do not reach the logits; with the third they do.
    let scores = scored([6.0, 0.0, 5.0, 0.0, 1.0, 4.0]);
    let kept = |pruned: bool| {
        let shares = CurveOptions { shares: vec![0.0, 0.34, 0.5, 1.0], pruned, ..CurveOptions::default() };
        curved(&scores, shares).points.iter().map(|point| (point.chosen, point.kept)).collect::<Vec<_>>()
    };
    assert_eq!(kept(true), [(0, 0), (2, 0), (3, 3), (6, 6)]);
    assert_eq!(kept(false), [(0, 0), (2, 2), (3, 3), (6, 6)]);
}

#[test]
fn a_circuit_that_is_the_truth_has_area_1_and_its_reverse_0() {
    let truth = graph(&[(0, 1, 1.0), (1, 3, 1.0)]);
    let found = roc(&truth, &truth, 6).unwrap();
    assert_eq!((found.auc, found.pessimistic, found.found, found.others), (1.0, 1.0, 2, 0));
    let reverse = graph(&[(0, 2, 1.0), (1, 2, 1.0), (0, 3, 1.0), (2, 3, 1.0)]);
    let found = roc(&reverse, &truth, 6).unwrap();
    assert_eq!((found.auc, found.pessimistic, found.found, found.others), (0.0, 0.0, 0, 4));
    // All scores equal: as good as random, and at worst nothing.
    let equal = roc(&scored([2.0; 6]), &truth, 6).unwrap();
    assert_eq!((equal.auc, equal.pessimistic), (0.5, 0.0));
    // One of two true edges first, then an other one, then the second: 1/2 of the area, and 3/4 of the half.
    let mixed = roc(&scored([5.0, 4.0, 0.0, 0.0, -3.0, 0.0]), &truth, 6).unwrap();
    assert!((mixed.auc - (0.25 * 0.5 + 0.75)).abs() < 1e-12);
    assert!((mixed.pessimistic - (0.5 + 0.75 * 0.5)).abs() < 1e-12);
    assert_eq!(mixed.points[..4], [[0.0, 0.0], [0.0, 0.5], [0.25, 0.5], [0.25, 1.0]]);
}

#[test]
fn a_known_circuit_must_be_one_of_the_same_units() {
    let truth = graph(&[(0, 1, 1.0)]);
    let refused = |found: &Graph, truth: &Graph, units| roc(found, truth, units).unwrap_err().message;
    assert!(refused(&truth, &graph(&[]), 6).contains("some of 6 units, found 0"));
    assert!(refused(&truth, &truth, 1).contains("some of 1 units, found 1"));
    assert!(refused(&scored([1.0; 6]), &truth, 3).contains("at most 3 units"));
    assert!(refused(&scored([f64::NAN; 6]), &truth, 6).contains("NaN"));
    let mut features = truth.clone();
    features.nodes[1].part = Part::Feature(3);
    assert!(refused(&truth, &features, 6).contains("of the same kind"));
}

#[test]
fn circuits_are_compared_by_what_both_have() {
    let a = graph(&[(0, 1, 1.0), (1, 2, 2.0), (2, 3, 3.0)]);
    let b = graph(&[(1, 2, 4.0), (2, 3, 6.0), (0, 3, 1.0)]);
    let found = compare(&a, &b);
    assert_eq!(found.edges.both, ["mlp_out.0 -> mlp_out.1", "mlp_out.1 -> logits"]);
    assert_eq!((found.edges.first.len(), found.edges.second.len()), (1, 1));
    assert_eq!((found.edges.jaccard(), found.nodes.jaccard()), (Some(0.5), Some(1.0)));
    assert!(near(found.edges.correlation, 1.0) && found.nodes.correlation.is_none());
    let nothing = compare(&Graph::default(), &Graph::default());
    assert_eq!((nothing.edges.jaccard(), nothing.edges.correlation), (None, None));
    let table = stability(&[&a, &b, &a], &Task::default()).unwrap();
    assert_eq!(table.column("Jaccard").unwrap(), [&Cell::Float(0.5), &Cell::Float(1.0), &Cell::Float(0.5)]);
    assert!(stability(&[&a], &Task::default()).unwrap_err().message.contains("at least two circuits"));
}
