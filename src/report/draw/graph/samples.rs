//! Circuits of all sizes for tests.

use crate::circuit::{Edge, Graph, Node, Part};
use crate::report::samples::noise;

/// So many nodes at each level, the earliest first; every node but the last ones leads to one or more of the next level.
pub fn graph(levels: &[usize]) -> Graph {
    let mut nodes = Vec::new();
    let mut at = vec![Vec::new(); levels.len()];
    for (level, count) in levels.iter().enumerate().rev() {
        for feature in 0..*count {
            at[level].push(nodes.len());
            nodes.push(Node {
                meaning: (feature % 5 > 0).then(|| "words inside a bracket, or digits ".repeat(feature % 5)),
                score: Some(noise(nodes.len()).abs()),
                outlier: feature % 7 == 6,
                ..Node::new(format!("resid_post.{level}"), level, Part::Feature(100 * level + feature))
            });
        }
    }
    let mut edges = Vec::new();
    for pair in at.windows(2) {
        for (i, from) in pair[0].iter().enumerate() {
            for step in 0..1 + i % 3 {
                let to = pair[1][(i * 5 + step * 3) % pair[1].len()];
                if !edges.iter().any(|edge: &Edge| (edge.from, edge.to) == (*from, to)) {
                    let effect = noise(edges.len()) * if step == 2 { -0.3 } else { 0.8 };
                    let cosine = Some(noise(edges.len() + 7));
                    edges.push(Edge { from: *from, to, port: None, effect, cosine });
                }
            }
        }
    }
    let sites = (0..levels.len()).map(|level| format!("resid_post.{level}")).collect();
    Graph {
        title: "causal tree".into(),
        model: "tiny".into(),
        sites,
        nodes,
        edges,
        is_whole: true,
        made: vec![("contexts".into(), 20_usize.into())],
        ..Graph::default()
    }
}

/// Graphs of 1, 4, 12, 30 and 60 nodes.
pub fn all() -> Vec<Graph> {
    [&[1][..], &[3, 1], &[5, 4, 2, 1], &[10, 8, 6, 3, 2, 1], &[18, 16, 13, 9, 3, 1]].map(graph).into()
}
