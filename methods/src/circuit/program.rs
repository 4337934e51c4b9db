//! The circuit of a number of edges with the largest sum of effects in size, by integer programming (Nikankin et al.
//! 2025, MIB's shared task).
//!
//! With x_e = 1 for the edges and y_v = 1 for the nodes of the circuit:
//!
//!     max sum_e |effect_e| x_e,   sum_e x_e <= n,   x_e <= y_u and x_e <= y_v for e = u -> v,
//!     y = 1 for the embedding and the logits,
//!     sum of x into v >= y_v but for the embedding,   sum of x out of v >= y_v but for the logits
//!
//! The last line leaves nothing that hangs loose. Once the nodes are chosen, edges are what a network flow is: each is
//! in one sum of its sender and one of its receiver, and both within the sum of all, which makes the matrix totally
//! unimodular. So only y has to be whole.

#[cfg_attr(not(feature = "ilp"), path = "program/no_solver.rs")]
mod solver;

use super::dictionaries::Circuit;
use super::graph::Graph;
use super::subgraph::{self, SubgraphOptions, at_least_negative};
use crate::common::*;

crate::options! {
    /// Options of a circuit by integer programming.
    #[derive(Debug, Clone, Copy)]
    pub struct ProgramOptions {
        /// The least share of the number of edges that have a negative effect: of a logit difference, edges that it
        /// hangs on. Where no circuit has so many of them, it has as many as one can have.
        negative: f64 = 0.0 => at_least(0.0).at_most(1.0);
    }
}

/// Returns the circuit of at most `wanted` edges, below 1 that share of all, with the largest sum of effects in size in
/// which every node but the embedding has an edge into it, and every node but the logits one out of it. Where there are
/// not as many edges with an effect, others fill it up as far as they do not hang loose.
pub fn ilp(circuit: &Circuit, wanted: f64, options: ProgramOptions, task: &Task) -> Result<Circuit> {
    let graph = &circuit.graph;
    subgraph::check_edges(graph)?;
    subgraph::effects(graph)?;
    let count = subgraph::count(wanted, graph.edges.len())?;
    let mut kept = vec![false; graph.edges.len()];
    if count > 0 {
        let own = graph.clone();
        let bar = task.begin("choosing edges", None);
        kept = task.apart(move || solved(&own, count, options.negative))?;
        bar.advance(1);
        let room = count.saturating_sub(kept.iter().filter(|kept| **kept).count());
        let without = |edge: &usize| graph.edges[*edge].effect == 0.0 && !kept[*edge];
        let filling: Vec<usize> = (0..kept.len()).filter(without).take(room).collect();
        filling.into_iter().for_each(|edge| kept[edge] = true);
    }
    Ok(subgraph::selected(circuit, kept, SubgraphOptions { prune: true }))
}

/// Returns which edges are in the best circuit, with as many of negative effect as are asked for or can be.
fn solved(graph: &Graph, count: usize, negative: f64) -> Result<Vec<bool>> {
    let all = graph.edges.iter().filter(|edge| edge.effect < 0.0).count();
    let wanted = at_least_negative(negative, count).min(all);
    if let Some(found) = solver::best_with(graph, count, wanted)? {
        return Ok(found);
    }
    let none = || {
        err!(Argument, "no {count} edges lead from the embedding to the logits with nothing loose")
            .hint("more edges")
            .about("n")
    };
    // The more are asked for, the fewer circuits there are.
    let mut best = solver::best_with(graph, count, 0)?.ok_or_else(none)?;
    let mut can_be = 0;
    let mut too_many = wanted;
    while too_many - can_be > 1 {
        let middle = can_be + (too_many - can_be) / 2;
        match solver::best_with(graph, count, middle)? {
            Some(found) => {
                best = found;
                can_be = middle;
            }
            None => too_many = middle,
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::graph::{Edge, Node, Part};
    use crate::circuit::subgraph::{TopOptions, top};

    /// Builds embed -> heads a, b -> logits with an edge past them, of given effects.
    fn circuit(effects: [f64; 5]) -> Circuit {
        let sites = ["embed", "z.0", "logits"].map(String::from).to_vec();
        let node = |level: usize, part| Node::new(sites[level].clone(), level, part);
        let nodes = vec![node(0, Part::Whole), node(1, Part::Head(0)), node(1, Part::Head(1)), node(2, Part::Whole)];
        let ends = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)];
        let edges = ends.iter().zip(effects);
        let edges = edges.map(|((from, to), effect)| Edge::new(*from, *to, effect));
        let edges = edges.collect();
        Circuit::without_dictionaries(Graph { sites, nodes, edges, is_whole: true, ..Graph::default() })
    }

    fn names(circuit: &Circuit) -> Vec<String> {
        circuit.graph.edges.iter().map(|edge| circuit.graph.edge_name(edge)).collect()
    }

    fn chosen(circuit: &Circuit, wanted: f64, negative: f64) -> Result<Circuit> {
        ilp(circuit, wanted, ProgramOptions { negative }, &Task::default())
    }

    #[test]
    fn a_pair_of_edges_outweighs_the_largest() {
        // The largest edge leads nowhere within two edges; the other head's path has more in all than the edge past it.
        let all = circuit([0.1, -3.0, 5.0, 2.5, 1.0]);
        assert_eq!(names(&chosen(&all, 2.0, 0.0).unwrap()), ["embed -> z.0.1", "z.0.1 -> logits"]);
        let three = ["embed -> z.0.0", "embed -> z.0.1", "z.0.0 -> logits", "z.0.1 -> logits"];
        assert_eq!(names(&chosen(&all, 4.0, 0.0).unwrap()), three);
        assert_eq!(chosen(&all, 1.0, 0.0).unwrap().graph.edges.len(), 1);
        assert!(names(&chosen(&all, 0.1, 0.0).unwrap()).is_empty());
    }

    #[test]
    fn edges_without_effects_fill_a_circuit_up() {
        let all = circuit([0.0, 3.0, 0.0, 2.0, 0.0]);
        assert_eq!(names(&chosen(&all, 2.0, 0.0).unwrap()), ["embed -> z.0.1", "z.0.1 -> logits"]);
        // One edge of the other head would hang loose, both do not.
        assert_eq!(chosen(&all, 3.0, 0.0).unwrap().graph.edges.len(), 2);
        assert_eq!(chosen(&all, 4.0, 0.0).unwrap().graph.edges.len(), 4);
        assert_eq!(chosen(&all, 5.0, 0.0).unwrap().graph.edges.len(), 5);
    }

    #[test]
    fn negative_effects_are_asked_for_where_there_are_any() {
        let all = circuit([4.0, -0.1, 4.0, -0.1, 1.0]);
        assert_eq!(names(&chosen(&all, 2.0, 0.0).unwrap()), ["embed -> z.0.0", "z.0.0 -> logits"]);
        assert_eq!(names(&chosen(&all, 2.0, 1.0).unwrap()), ["embed -> z.0.1", "z.0.1 -> logits"]);
        assert_eq!(names(&chosen(&circuit([1.0; 5]), 1.0, 1.0).unwrap()), ["embed -> logits"]);
        // A single edge has to be the one past the heads; of two one can be negative, of four both that are asked for.
        assert_eq!(names(&chosen(&all, 1.0, 1.0).unwrap()), ["embed -> logits"]);
        let all = circuit([-1.0, -2.0, 1.0, 1.0, 5.0]);
        assert_eq!(names(&chosen(&all, 2.0, 0.0).unwrap()), ["embed -> logits"]);
        assert_eq!(names(&chosen(&all, 2.0, 1.0).unwrap()), ["embed -> z.0.1", "z.0.1 -> logits"]);
        assert_eq!(chosen(&all, 4.0, 1.0).unwrap().graph.edges.len(), 4);
        let mut apart = all.clone();
        apart.graph.edges.pop();
        let error = chosen(&apart, 1.0, 1.0).unwrap_err();
        assert_eq!(error.message, "no 1 edges lead from the embedding to the logits with nothing loose");
    }

    #[test]
    fn the_program_is_the_best_of_all_circuits() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / f64::from(1_u32 << 24) - 0.5
        };
        for _ in 0..50 {
            let all = circuit([(); 5].map(|()| random()));
            for wanted in 1..=5_usize {
                // Every set of at most so many edges without anything loose.
                let is_loose = |set: u32| {
                    let kept: Vec<&Edge> =
                        all.graph.edges.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, e)| e).collect();
                    let loose =
                        |head| kept.iter().any(|edge| edge.to == head) != kept.iter().any(|edge| edge.from == head);
                    kept.is_empty() || loose(1) || loose(2)
                };
                let weight = |set: u32| -> f64 {
                    let edges = all.graph.edges.iter().enumerate();
                    edges.filter(|(i, _)| set >> i & 1 == 1).map(|(_, edge)| edge.effect.abs()).sum()
                };
                let sets = (0..32_u32).filter(|set| set.count_ones() as usize <= wanted && !is_loose(*set));
                let best = sets.map(weight).fold(0.0, f64::max);
                let found = chosen(&all, wanted as f64, 0.0).unwrap();
                let sum: f64 = found.graph.edges.iter().map(|edge| edge.effect.abs()).sum();
                assert!((sum - best).abs() < 1e-9, "{wanted} edges with {sum}, the best have {best}");
                let greatest = top(&all, wanted as f64, TopOptions::default()).unwrap();
                assert!(greatest.graph.edges.iter().map(|edge| edge.effect.abs()).sum::<f64>() <= sum + 1e-9);
            }
        }
    }

    #[test]
    fn circuits_of_features_and_numbers_that_choose_nothing_are_refused() {
        let all = circuit([1.0; 5]);
        for wrong in [0.0, -1.0, 1.5, f64::NAN] {
            assert_eq!(chosen(&all, wrong, 0.0).unwrap_err().about.as_deref(), Some("n"));
        }
        let sites = ["embed", "resid_post.0", "logits"].map(String::from).to_vec();
        let nodes = vec![Node { effect: Some(1.0), ..Node::new("resid_post.0", 1, Part::Feature(0)) }];
        let graph = Graph { sites, nodes, is_whole: true, ..Graph::default() };
        assert!(chosen(&Circuit::without_dictionaries(graph), 1.0, 0.0).is_err());
    }
}
