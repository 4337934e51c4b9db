//! Circuits as a tree of lines: below each feature those that lead to it, each followed once.

use super::screen::{self, Screen};
use crate::circuit::{Edge, Graph};
use crate::report::draw::graph::names;
use crate::report::number::fixed;
use crate::report::palette::SERIES;
use crate::report::symbols::visible;

pub fn written(graph: &Graph, screen: &Screen) -> String {
    let mut lines: Vec<String> = screen::wrapped(&visible(&graph.title), screen.width);
    lines.iter_mut().for_each(|line| *line = screen.bold(line));
    if !graph.is_whole {
        lines.push(screen.bold(&screen::fitted("partial: it was interrupted", screen.width)));
    }
    if !graph.edges.is_empty() {
        let share = match names::is_restored(graph) {
            true => "what one below restores of it alone",
            false => "what it loses when one below is ablated",
        };
        let key = format!("{share}, cosine of both, name, meaning (score)");
        lines.extend(screen::wrapped(&key, screen.width).iter().map(|line| screen.dim(line)));
    }
    lines.extend(Tree::of(graph).lines(screen));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

struct Tree<'a> {
    graph: &'a Graph,
    names: Vec<String>,
    /// The edges that end at each node, the strongest first.
    below: Vec<Vec<&'a Edge>>,
}

/// A line that is still to be written.
struct Open<'a> {
    node: usize,
    edge: Option<&'a Edge>,
    /// What stands before the branch of this line, and before those of the lines below it.
    margin: String,
    is_last: bool,
}

impl<'a> Tree<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut below = vec![Vec::new(); graph.nodes.len()];
        for edge in &graph.edges {
            if let Some(edges) = below.get_mut(edge.to) {
                edges.push(edge);
            }
        }
        below.iter_mut().for_each(|edges: &mut Vec<&Edge>| edges.sort_by(|a, b| b.effect.total_cmp(&a.effect)));
        Self { graph, names: names::nodes(graph), below }
    }

    /// The target first, then what leads nowhere else.
    fn roots(&self) -> Vec<usize> {
        let mut leads = vec![false; self.graph.nodes.len()];
        for edge in &self.graph.edges {
            if let Some(leads) = leads.get_mut(edge.from) {
                *leads = true;
            }
        }
        leads.iter().enumerate().filter(|(i, leads)| *i == 0 || !**leads).map(|(i, _)| i).collect()
    }

    /// Without recursion, since a graph from a file may be as deep as it is large.
    fn lines(&self, screen: &Screen) -> Vec<String> {
        let mut shown = vec![false; self.graph.nodes.len()];
        let root = |node| Open { node, edge: None, margin: String::new(), is_last: true };
        let mut open: Vec<Open> = self.roots().into_iter().rev().map(root).collect();
        let mut lines = Vec::new();
        while let Some(next) = open.pop() {
            let below = self.below.get(next.node).map(Vec::as_slice).unwrap_or_default();
            let is_known = shown.get_mut(next.node).is_none_or(|shown| std::mem::replace(shown, true));
            lines.push(self.line(&next, is_known && !below.is_empty(), screen));
            if is_known {
                continue;
            }
            let margin = match (next.edge, next.is_last) {
                (None, _) => String::new(),
                // Beyond the edge of the screen nothing is seen of it.
                _ if next.margin.chars().count() > screen.width => next.margin.clone(),
                (_, true) => format!("{}   ", next.margin),
                (_, false) => format!("{}│  ", next.margin),
            };
            let line = |(i, edge): (usize, &&'a Edge)| Open {
                node: edge.from,
                edge: Some(edge),
                margin: margin.clone(),
                is_last: i + 1 == below.len(),
            };
            open.extend(below.iter().enumerate().rev().map(line));
        }
        lines
    }

    fn line(&self, open: &Open, is_above: bool, screen: &Screen) -> String {
        let mut line = Line { text: String::new(), left: screen.width };
        if let Some(edge) = open.edge {
            line.add(&format!("{}{}", open.margin, if open.is_last { "└─ " } else { "├─ " }), |text| {
                screen.dim(text)
            });
            let colour = if edge.effect < 0.0 { SERIES[1] } else { SERIES[0] };
            line.add(&screen::right(&names::effect(self.graph, edge), 5), |text| screen.ink(text, colour));
            if let Some(cosine) = edge.cosine {
                line.add(&format!("  {:>5}", fixed(cosine, 2)), |text| screen.dim(text));
            }
            line.add("  ", str::to_owned);
        }
        line.add(self.names.get(open.node).map(String::as_str).unwrap_or_default(), |text| screen.bold(text));
        let Some(node) = self.graph.nodes.get(open.node) else { return line.text };
        let outlier = if node.outlier { "  outlier dimension" } else { "" };
        let above = if is_above { "  (above)" } else { "" };
        let score = node.score.map(|score| format!(" ({})", fixed(score, 2))).unwrap_or_default();
        let after = format!("{score}{outlier}{above}");
        if let Some(meaning) = &node.meaning {
            let room = line.left.saturating_sub(screen::width(&after));
            line.add(&screen::fitted(&format!("  {}", visible(meaning)), room), str::to_owned);
        }
        line.add(&after, |text| screen.dim(text));
        line.text
    }
}

/// A line of a screen, and how much of it is left.
struct Line {
    text: String,
    left: usize,
}

impl Line {
    fn add(&mut self, text: &str, style: impl Fn(&str) -> String) {
        let fitted = screen::fitted(text, self.left);
        self.left -= screen::width(&fitted).min(self.left);
        self.text.push_str(&style(&fitted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Node, Part};
    use crate::report::draw::graph::samples;

    fn graph() -> Graph {
        let node = |site: &str, feature: usize, level: usize, meaning: Option<&str>| Node {
            meaning: meaning.map(String::from),
            score: (feature == 5).then_some(0.714),
            outlier: feature == 9,
            ..Node::new(site, level, Part::Feature(feature))
        };
        let edge = |from: usize, to: usize, effect: f64| Edge { from, to, port: None, effect, cosine: Some(0.5) };
        Graph {
            title: "causal tree".into(),
            model: "tiny".into(),
            sites: ["resid_post.0", "resid_post.1", "resid_post.2"].map(String::from).to_vec(),
            nodes: vec![
                node("resid_post.2", 5, 2, Some("predicts )")),
                node("resid_post.1", 1, 1, None),
                node("resid_post.1", 2, 1, Some("a line\nof \x1b[2J")),
                node("resid_post.0", 9, 0, Some("token is (")),
                node("resid_post.2", 6, 2, None),
            ],
            edges: vec![edge(2, 0, 0.1), edge(1, 0, 0.52), edge(3, 1, 0.4), edge(3, 2, -0.3), edge(1, 4, 1.0)],
            ..Graph::default()
        }
    }

    #[test]
    fn a_tree_of_lines_names_each_feature_and_follows_it_once() {
        let expected = "\
causal tree
partial: it was interrupted
what it loses when one below is ablated, cosine of both, name, meaning (score)
2/5  predicts ) (0.71)
├─  52 %   0.50  1/1
│  └─  40 %   0.50  0/9  token is (  outlier dimension
└─  10 %   0.50  1/2  a line↵of ␛[2J
   └─ -30 %   0.50  0/9  token is (  outlier dimension
2/6
└─ 100 %   0.50  1/1  (above)
";
        assert_eq!(written(&graph(), &Screen::default()), expected);
    }

    #[test]
    fn lines_fit_the_screen_and_have_codes_only_with_colour() {
        for graph in samples::all() {
            for width in [8, 30, 80, 120] {
                let text = written(&graph, &Screen { width, ..Screen::default() });
                assert!(text.lines().all(|line| screen::width(line) <= width) && !text.contains('\x1b'), "{text}");
            }
            let text = written(&graph, &Screen { colour: true, ..Screen::default() });
            assert!(text.contains('\x1b'));
        }
    }

    #[test]
    fn a_very_deep_graph_is_followed_to_its_end() {
        let mut deep = samples::graph(&[1; 3000]);
        deep.edges.iter_mut().for_each(|edge| edge.effect = 0.5);
        assert_eq!(written(&deep, &Screen::default()).lines().count(), 3002);
    }
}
