//! The integer program itself, solved.

use microlp::{ComparisonOp, Error as Unsolved, OptimizationDirection, Problem, SolveOutcome, Variable};

use crate::circuit::graph::Graph;
use crate::circuit::subgraph;
use crate::common::*;

/// Returns which edges are in the best circuit with at least some of negative effect; nothing where there is none.
pub fn best_with(graph: &Graph, count: usize, least: usize) -> Result<Option<Vec<bool>>> {
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let x: Vec<Variable> = graph.edges.iter().map(|edge| problem.add_var(edge.effect.abs(), (0.0, 1.0))).collect();
    let y: Vec<Variable> = graph.nodes.iter().map(|_| problem.add_binary_var(0.0)).collect();
    problem.add_constraint(sum(x.iter().copied()), ComparisonOp::Le, count as f64);
    let mut into = vec![Vec::new(); y.len()];
    let mut out = vec![Vec::new(); y.len()];
    for (edge, x) in graph.edges.iter().zip(&x) {
        for node in [edge.from, edge.to] {
            problem.add_constraint([(*x, 1.0), (y[node], -1.0)], ComparisonOp::Le, 0.0);
        }
        into[edge.to].push(*x);
        out[edge.from].push(*x);
    }
    for (number, node) in graph.nodes.iter().enumerate() {
        let is_first = node.level == 0;
        let is_last = subgraph::is_last(graph, node.level);
        if is_first || is_last {
            problem.add_constraint([(y[number], 1.0)], ComparisonOp::Eq, 1.0);
        }
        for (edges, is_free) in [(&into[number], is_first), (&out[number], is_last)] {
            if !is_free {
                let mut terms = sum(edges.iter().copied());
                terms.push((y[number], -1.0));
                problem.add_constraint(terms, ComparisonOp::Ge, 0.0);
            }
        }
    }
    if least > 0 {
        let of_negative = graph.edges.iter().zip(&x).filter(|(edge, _)| edge.effect < 0.0).map(|(_, x)| *x);
        problem.add_constraint(sum(of_negative), ComparisonOp::Ge, least as f64);
    }
    match problem.solve() {
        Ok(SolveOutcome::Solution(found)) => Ok(Some(x.iter().map(|x| found.var_value(*x) > 0.5).collect())),
        Ok(SolveOutcome::Interrupted(_)) => Err(err!(Bug, "a program without a limit was not solved to its end")),
        Err(Unsolved::Infeasible) => Ok(None),
        Err(why) => Err(err!(Numeric, "the integer program has no solution: {why}")),
    }
}

fn sum(terms: impl Iterator<Item = Variable>) -> Vec<(Variable, f64)> {
    terms.map(|x| (x, 1.0)).collect()
}
