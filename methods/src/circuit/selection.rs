//! Features ranked by a score: the result of methods that score features one by one, without edges.

use super::dictionaries::Circuit;
use super::graph::{Graph, Node, Part};
use crate::base::{Cell, order};
use crate::sae::Sae;

/// A feature by its level, its index there, and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredFeature {
    pub level: usize,
    pub feature: usize,
    pub score: f64,
}

/// All features of the dictionaries before that of a target, sorted by a score.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The name of the score.
    pub by: String,
    /// The model's name.
    pub model: String,
    /// The dictionaries in the order of the computation, that of the target last, and their sites.
    pub saes: Vec<Sae>,
    pub sites: Vec<String>,
    /// The target, a feature of the last dictionary.
    pub target: usize,
    /// The tokens that the target is about.
    pub tokens: Vec<u32>,
    /// The features, the largest score first, of equals the earliest feature.
    pub ranking: Vec<ScoredFeature>,
    /// The mean activation of each feature over the text that the scores are from, level by level.
    pub means: Vec<Vec<f32>>,
    /// The name of the text that the scores are from, and the number of its rows and positions where the tokens are
    /// due.
    pub text: String,
    pub rows: usize,
    pub positions: usize,
}

/// Ranks the features of some levels by their scores.
pub fn ranking(scores: &[Vec<f64>]) -> Vec<ScoredFeature> {
    let level = |(level, scores): (usize, &Vec<f64>)| {
        let scored =
            scores.iter().enumerate().map(move |(feature, score)| ScoredFeature { level, feature, score: *score });
        scored.collect::<Vec<_>>()
    };
    let mut all: Vec<ScoredFeature> = scores.iter().enumerate().flat_map(level).collect();
    order::sort_descending(&mut all, |one| one.score);
    all
}

impl Selection {
    /// Returns the first features, level by level.
    pub fn best(&self, count: usize) -> Vec<Vec<usize>> {
        let mut levels = vec![Vec::new(); self.means.len()];
        for one in self.ranking.iter().take(count) {
            if let Some(level) = levels.get_mut(one.level) {
                level.push(one.feature);
            }
        }
        levels
    }

    /// Returns the graph of [`Selection::graph`] with its dictionaries.
    pub fn circuit(&self, count: usize) -> Circuit {
        let saes = self.saes.clone();
        let promotes = Some(self.tokens.as_slice().into());
        Circuit { saes, promotes, ..Circuit::without_dictionaries(self.graph(count)) }
    }

    /// Returns the first features as the nodes of a graph without edges, after the target, which is its first node.
    pub fn graph(&self, count: usize) -> Graph {
        let count = count.min(self.ranking.len());
        let site = |level: usize| self.sites.get(level).cloned().unwrap_or_default();
        let node = |level: usize, feature: usize| Node::new(site(level), level, Part::Feature(feature));
        let target = node(self.means.len(), self.target);
        let name = target.name();
        let chosen = self.ranking.iter().take(count).map(|one| node(one.level, one.feature));
        let made: [(&str, Cell); 5] = [
            ("by", self.by.as_str().into()),
            ("features", count.into()),
            ("text", self.text.as_str().into()),
            ("rows", self.rows.into()),
            ("positions", self.positions.into()),
        ];
        Graph {
            title: format!("the first {count} by {}, before {name}", self.by),
            model: self.model.clone(),
            sites: self.sites.clone(),
            nodes: [target].into_iter().chain(chosen).collect(),
            edges: Vec::new(),
            is_whole: true,
            made: made.map(|(name, value)| (name.to_string(), value)).to_vec(),
            ..Graph::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        Selection {
            by: "attribution".into(),
            model: "tiny".into(),
            saes: Vec::new(),
            sites: ["resid_post.0", "resid_post.1", "resid_post.2"].map(String::from).to_vec(),
            target: 4,
            tokens: vec![1],
            ranking: ranking(&[vec![0.5, -2.0, 0.0], vec![0.5, 3.0, 0.0]]),
            means: vec![vec![0.0; 3]; 2],
            text: "some text".into(),
            rows: 3,
            positions: 4,
        }
    }

    #[test]
    fn the_largest_score_comes_first_and_of_equals_the_earliest() {
        let found: Vec<(usize, usize)> = selection().ranking.iter().map(|one| (one.level, one.feature)).collect();
        assert_eq!(found, [(1, 1), (0, 0), (1, 0), (0, 2), (1, 2), (0, 1)]);
        assert_eq!(selection().best(3), [vec![0], vec![1, 0]]);
        assert_eq!(selection().best(0), [vec![], Vec::<usize>::new()]);
    }

    #[test]
    fn a_graph_of_them_can_be_saved_and_read() {
        let graph = selection().graph(2);
        assert_eq!(graph.title, "the first 2 by attribution, before resid_post.2/4");
        let names: Vec<String> = graph.nodes.iter().map(Node::name).collect();
        assert_eq!(names, ["resid_post.2/4", "resid_post.1/1", "resid_post.0/0"]);
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
        assert_eq!(selection().graph(99).nodes.len(), 7);
    }
}
