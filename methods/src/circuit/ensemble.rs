//! Scores of several methods as one (Mondorf et al. 2025, MIB's shared task): parallel ensembles of circuits that score
//! the same edges.

use super::graph::Graph;
use super::subgraph;
use crate::common::*;

crate::choices! {
    /// Ways to make one score of several.
    pub enum Ensemble {
        /// The mean of the scores, which have to be on one scale.
        Mean = "mean",
        /// The score of the largest size: whatever one method finds.
        Largest = "largest",
        /// The score of the smallest size: what all methods find.
        Smallest = "smallest",
        /// The mean rank by size as a share of all edges, 1 for the largest: of scores on different scales, without a sign.
        Rank = "rank",
    }
}

crate::options! {
    /// Options of an ensemble of scores.
    #[derive(Debug, Clone, Copy)]
    pub struct EnsembleOptions {
        /// The way to make one score of several.
        by: Ensemble = Ensemble::Mean;
    }
}

/// Combines the scores that some graphs have of the same edges, as a graph like the first.
pub fn ensemble(graphs: &[&Graph], options: EnsembleOptions) -> Result<Graph> {
    let [first, others @ ..] = graphs else {
        return Err(err!(Argument, "expected at least one circuit, found none").about("circuits"));
    };
    let names: Vec<String> = first.edges.iter().map(|edge| first.edge_name(edge)).collect();
    let mut scores: Vec<Vec<f64>> = vec![Vec::with_capacity(graphs.len()); names.len()];
    for (number, graph) in std::iter::once(first).chain(others).enumerate() {
        subgraph::check_edges(graph)?;
        subgraph::effects(graph)?;
        let by_name: BTreeMap<String, f64> = graph.edges.iter().map(|e| (graph.edge_name(e), e.effect)).collect();
        let own = names.iter().map(|name| by_name.get(name).copied()).collect::<Option<Vec<f64>>>();
        let own = own.filter(|own| own.len() == graph.edges.len()).ok_or_else(|| {
            let found = format!("{} edges in circuit {number}, not all of them among the first's", graph.edges.len());
            err!(Argument, "expected a score of the same {} edges in all circuits, found {found}", names.len())
                .hint("circuit::edges and circuit::edge_pruning score all edges of a model")
                .about("circuits")
        })?;
        let own = if options.by == Ensemble::Rank { ranks(&own) } else { own };
        scores.iter_mut().zip(own).for_each(|(all, score)| all.push(score));
    }
    let mut graph = (*first).clone();
    for (edge, scores) in graph.edges.iter_mut().zip(&scores) {
        let by_size = |a: &&f64, b: &&f64| a.abs().total_cmp(&b.abs());
        edge.effect = match options.by {
            Ensemble::Mean | Ensemble::Rank => scores.iter().sum::<f64>() / scores.len() as f64,
            Ensemble::Largest => scores.iter().max_by(by_size).copied().unwrap_or(0.0),
            Ensemble::Smallest => scores.iter().min_by(by_size).copied().unwrap_or(0.0),
        };
    }
    graph.title = format!("{} of {} scores", options.by.word(), graphs.len());
    graph.is_whole = graphs.iter().all(|graph| graph.is_whole);
    if options.by == Ensemble::Rank {
        graph.quantity = Some("mean rank by size, as a share".into());
    }
    graph.made.insert(0, ("ensemble".into(), options.by.word().into()));
    Ok(graph)
}

/// Returns the rank of each score by size as a share, 0 for the smallest and 1 for the largest; equal ones have the mean
/// of their ranks.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order::sort_ascending(&mut order, |place| scores[*place].abs());
    let last = scores.len().saturating_sub(1).max(1) as f64;
    let mut ranks = vec![0.0; scores.len()];
    let mut begin = 0;
    for run in order.chunk_by(|a, b| scores[*a].abs() == scores[*b].abs()) {
        let mean = begin as f64 + (run.len() - 1) as f64 / 2.0;
        run.iter().for_each(|edge| ranks[*edge] = mean / last);
        begin += run.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::graph::{Edge, Node, Part};

    fn scored(effects: &[f64]) -> Graph {
        let sites = ["embed", "z.0", "logits"].map(String::from).to_vec();
        let nodes = vec![
            Node::new("embed", 0, Part::Whole),
            Node::new("z.0", 1, Part::Head(0)),
            Node::new("logits", 2, Part::Whole),
        ];
        let ends = [(0, 1), (1, 2), (0, 2)];
        let edges = ends.iter().zip(effects);
        let edges = edges.map(|((from, to), effect)| Edge::new(*from, *to, *effect));
        Graph { sites, nodes, edges: edges.collect(), is_whole: true, ..Graph::default() }
    }

    fn effects(graphs: &[&Graph], by: Ensemble) -> Vec<f64> {
        ensemble(graphs, EnsembleOptions { by }).unwrap().edges.iter().map(|edge| edge.effect).collect()
    }

    #[test]
    fn every_way_by_its_definition() {
        let one = scored(&[1.0, -4.0, 0.5]);
        let other = scored(&[3.0, 2.0, -0.5]);
        assert_eq!(effects(&[&one, &other], Ensemble::Mean), [2.0, -1.0, 0.0]);
        assert_eq!(effects(&[&one, &other], Ensemble::Largest), [3.0, -4.0, -0.5]);
        assert_eq!(effects(&[&one, &other], Ensemble::Smallest), [1.0, 2.0, 0.5]);
        assert_eq!(effects(&[&one, &other], Ensemble::Rank), [0.75, 0.75, 0.0]);
        for by in [Ensemble::Mean, Ensemble::Largest, Ensemble::Smallest] {
            assert_eq!(effects(&[&one], by), [1.0, -4.0, 0.5]);
        }
        assert_eq!(ranks(&[2.0, -2.0, 1.0, 5.0, 2.0]), [0.5, 0.5, 0.0, 1.0, 0.5]);
    }

    #[test]
    fn edges_are_matched_by_name_and_have_to_be_the_same() {
        let one = scored(&[1.0, 2.0, 3.0]);
        let mut turned = scored(&[1.0, 2.0, 3.0]);
        turned.edges.reverse();
        assert_eq!(effects(&[&one, &turned], Ensemble::Mean), [1.0, 2.0, 3.0]);
        turned.edges.pop();
        for few in [&[&one, &turned] as &[&Graph], &[&turned, &one], &[]] {
            let error = ensemble(few, EnsembleOptions::default()).unwrap_err();
            assert_eq!(error.about.as_deref(), Some("circuits"));
        }
    }
}
