//! Masks that begin with the scores of another method (Mondorf et al. 2025, sequential ensembles): those of the edges
//! into each layer, ranked by size, become probabilities that a mask is not 0.
//!
//!     p = sigmoid((rank - b) / T),  rank in [0, 1],  b such that the mean of p is the share that masks begin with

use super::concrete;
use crate::circuit::edges::names::numbers;
use crate::circuit::edges::wiring::{Receiver, Wiring};
use crate::circuit::graph::Graph;
use crate::common::*;

/// The share of masks that are not 0 at the beginning, unless more are to remain.
const BEGIN: f64 = 0.1;
/// The softness of the threshold between the ranks.
const T: f64 = 0.2;
/// Bisections, to 1e-12.
const BISECTIONS: usize = 40;

/// Returns the share of masks that are not 0 when they begin with scores.
pub fn share(target: f64) -> f64 {
    target.max(BEGIN)
}

/// Returns the parameters of all masks, from a graph with a score of every edge.
pub fn parameters(wiring: &Wiring, scores: &Graph, target: f64) -> Result<Vec<f32>> {
    let mut sizes = vec![None; wiring.edges()];
    for (edge, numbers) in scores.edges.iter().zip(numbers(wiring, scores)?) {
        for number in numbers {
            sizes[number] = Some(edge.effect.abs());
        }
    }
    let known = sizes.iter().flatten().count();
    let sizes = sizes.into_iter().collect::<Option<Vec<f64>>>().filter(|sizes| sizes.iter().all(|size| !size.is_nan()));
    let sizes = sizes.ok_or_else(|| {
        err!(Argument, "expected a score of each of {} edges, found {known}", wiring.edges())
            .hint("circuit::edges scores all edges; `top` and `above` keep some")
            .about("begin")
    })?;
    let mut layers: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for edge in 0..sizes.len() {
        let layer = match wiring.receivers[wiring.ends(edge).1] {
            Receiver::Port { layer, .. } | Receiver::Mlp { layer } => Some(layer),
            Receiver::Logits => None,
        };
        layers.entry(layer).or_default().push(edge);
    }
    let mut parameters = vec![0.0; sizes.len()];
    for edges in layers.values_mut() {
        order::sort_ascending(edges, |edge| sizes[*edge]);
        let last = edges.len().saturating_sub(1).max(1) as f64;
        let ranks: Vec<f64> = (0..edges.len()).map(|place| place as f64 / last).collect();
        for (edge, remaining) in edges.iter().zip(remaining(&ranks, share(target))) {
            parameters[*edge] = concrete::parameter(remaining) as f32;
        }
    }
    Ok(parameters)
}

/// Returns probabilities that rise with the ranks and have a given mean.
fn remaining(ranks: &[f64], share: f64) -> Vec<f64> {
    let at = |b: f64| ranks.iter().map(move |rank| 1.0 / (1.0 + ((b - rank) / T).exp()));
    let mean = |b: f64| at(b).sum::<f64>() / ranks.len() as f64;
    // Beyond the ranks all probabilities are near 1, or near 0.
    let mut low = -2.0;
    let mut high = 3.0;
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if mean(middle) > share {
            low = middle;
        } else {
            high = middle;
        }
    }
    at((low + high) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::edges::{eap_file, graph_of};

    #[test]
    fn probabilities_have_the_share_for_their_mean_and_rise_with_scores() {
        let wiring = Wiring::of(2, 2, true, true);
        let scores = graph_of(&wiring, (0..wiring.edges()).map(|edge| (edge, ((edge * 37) % 101) as f64 - 50.0)));
        for target in [0.02, 0.3] {
            let found = parameters(&wiring, &scores, target).unwrap();
            let remaining = concrete::remaining(&Tensor::new(found, &Device::Cpu).unwrap()).unwrap();
            let remaining = floats(&remaining).unwrap();
            let mean = remaining.iter().sum::<f64>() / remaining.len() as f64;
            assert!((mean - share(target)).abs() < 1e-3, "{mean}");
            // Into the logits, by size.
            let logits = wiring.receivers.len() - 1;
            let mut into: Vec<(f64, f64)> = (0..wiring.edges())
                .filter(|edge| wiring.ends(*edge).1 == logits)
                .map(|edge| (scores.edges[edge].effect.abs(), remaining[edge]))
                .collect();
            into.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(into.windows(2).all(|two| two[0].1 < two[1].1));
        }
    }

    #[test]
    fn probabilities_are_those_of_another_program() {
        let text = std::fs::read_to_string(kit::fixture("edges").join("gpt2").join("eap_ig.json")).unwrap();
        let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
        let reference = kit::json(kit::fixture("edges").join("selection").join("gpt2.json"));
        let graph = eap_file::parse(&text, true).unwrap();
        let wiring = Wiring::of(3, 3, true, true);
        let found = parameters(&wiring, &graph, 0.1).unwrap();
        let found = floats(&concrete::remaining(&Tensor::new(found, &Device::Cpu).unwrap()).unwrap()).unwrap();
        // Edges are told apart by their scores, no two of which are the same.
        for (edge, numbers) in graph.edges.iter().zip(numbers(&wiring, &graph).unwrap()) {
            let is_this = |value: &serde_json::Value| value["score"].as_f64().unwrap().abs() == edge.effect.abs();
            let edges = scores["edges"].as_object().unwrap();
            let named: Vec<&String> = edges.iter().filter(|(_, value)| is_this(value)).map(|(name, _)| name).collect();
            let [name] = named[..] else { panic!("{named:?} have one score") };
            let expected = reference["remaining"][name].as_f64().unwrap();
            assert!((found[numbers[0]] - expected).abs() < 1e-4, "{name}: {}, not {expected}", found[numbers[0]]);
        }
    }

    #[test]
    fn every_edge_needs_a_score() {
        let wiring = Wiring::of(2, 2, true, true);
        let some = graph_of(&wiring, (0..3).map(|edge| (edge, 1.0)));
        let error = parameters(&wiring, &some, 0.1).unwrap_err();
        assert_eq!((error.kind, error.about.as_deref()), (Kind::Argument, Some("begin")));
        let nan = graph_of(&wiring, (0..wiring.edges()).map(|edge| (edge, f64::NAN)));
        assert!(parameters(&wiring, &nan, 0.1).is_err());
    }
}
