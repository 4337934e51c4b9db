//! Circuits as a tree of lines: below each node those that lead to it, each followed once. Of a large graph these are
//! the strongest.

use super::screen::{self, Screen};
use crate::circuit::{Edge, Graph};
use crate::report::draw::graph::node_names;
use crate::report::draw::graph::strongest_part::{self, WeightedEdge};
use crate::report::number::{digits, fixed};
use crate::report::palette::SERIES;
use crate::report::visible_text::{count, visible};

/// Maximum number of lines of nodes, the number of rows that are shown of a table.
const MOST_LINES: usize = 200;

pub fn written(graph: &Graph, screen: &Screen) -> String {
    let mut lines: Vec<String> = screen::wrapped(&visible(&graph.title), screen.width);
    lines.iter_mut().for_each(|line| *line = screen.bold(line));
    if !graph.is_whole {
        lines.push(screen.bold(&screen::fitted("partial: it was interrupted", screen.width)));
    }
    let dim = |text: &str| screen::wrapped(text, screen.width).into_iter().map(|line| screen.dim(&line));
    if !graph.edges.is_empty() {
        lines.extend(dim(&key(graph)));
    }
    let tree = Tree::of(graph);
    lines.extend(tree.lines(screen));
    lines.extend(tree.groups(screen));
    lines.extend(tree.left_out().iter().flat_map(|text| dim(text)));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Tells what stands in a line, from left to right.
fn key(graph: &Graph) -> String {
    let effect = match (&graph.quantity, node_names::is_restored(graph)) {
        (Some(quantity), _) => format!("{} of one below", visible(quantity)),
        (None, true) => "what one below restores of it alone".into(),
        (None, false) => "what it loses when one below is ablated".into(),
    };
    let port = if graph.edges.iter().any(|edge| edge.port.is_some()) { ", through which input" } else { "" };
    let cosine = if graph.edges.iter().any(|edge| edge.cosine.is_some()) { ", cosine of both" } else { "" };
    let meaning = if graph.nodes.iter().any(|node| node.meaning.is_some()) { ", meaning" } else { "" };
    let score = if graph.nodes.iter().any(|node| node.score.is_some()) { " (score)" } else { "" };
    format!("{effect}{port}{cosine}, name{meaning}{score}")
}

struct Tree<'a> {
    graph: &'a Graph,
    names: Vec<String>,
    roots: Vec<usize>,
    /// The edges that end at each node and are shown, the strongest first.
    below: Vec<Vec<&'a Edge>>,
    /// Number of edges that end at each node and are not shown.
    weaker: Vec<usize>,
    /// The nodes that are shown.
    nodes: Vec<bool>,
    /// Widths of the longest effect, and of the longest name of an input.
    effects: usize,
    ports: usize,
}

/// A line that is still to be written.
struct PendingLine<'a> {
    node: usize,
    edge: Option<&'a Edge>,
    /// Text before the branch of this line, and before those of the lines below it.
    margin: String,
    is_last: bool,
}

impl<'a> Tree<'a> {
    fn of(graph: &'a Graph) -> Self {
        let count = graph.nodes.len();
        let edges: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.from < count && edge.to < count).collect();
        let ways: Vec<WeightedEdge> = edges.iter().map(|edge| (edge.from, edge.to, edge.effect)).collect();
        let roots = node_names::roots(count, &ways, &node_names::targets(graph));
        let room = if count + edges.len() > MOST_LINES { MOST_LINES } else { usize::MAX };
        let part = strongest_part::part(count, &ways, &roots, (room, room - roots.len().min(room / 4)));
        let mut below = vec![Vec::new(); count];
        let mut weaker = vec![0; count];
        for (edge, is_shown) in edges.iter().zip(&part.edges) {
            if *is_shown { below[edge.to].push(*edge) } else { weaker[edge.to] += 1 }
        }
        below.iter_mut().for_each(|edges: &mut Vec<&Edge>| edges.sort_by(|a, b| b.effect.total_cmp(&a.effect)));
        let shown = || below.iter().flatten();
        let effects =
            shown().map(|edge| screen::width(&node_names::effect(graph, edge.effect))).max().unwrap_or(0).max(5);
        let ports = if shown().any(|edge| edge.port.is_some()) { 2 } else { 0 };
        let roots = roots.into_iter().filter(|root| part.nodes[*root]).collect();
        Self { graph, names: node_names::nodes(graph), roots, below, weaker, nodes: part.nodes, effects, ports }
    }

    /// Writes the lines of the tree, without recursion, since a graph from a file may be as deep as it is large.
    fn lines(&self, screen: &Screen) -> Vec<String> {
        let mut shown = vec![false; self.graph.nodes.len()];
        let root = |node| PendingLine { node, edge: None, margin: String::new(), is_last: true };
        let mut open: Vec<PendingLine> = self.roots.iter().rev().map(|node| root(*node)).collect();
        let mut lines = Vec::new();
        while let Some(next) = open.pop() {
            let below = self.below.get(next.node).map(Vec::as_slice).unwrap_or_default();
            let is_known = shown.get_mut(next.node).is_none_or(|shown| std::mem::replace(shown, true));
            lines.push(self.line(&next, is_known, screen));
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
            let line = |(i, edge): (usize, &&'a Edge)| PendingLine {
                node: edge.from,
                edge: Some(edge),
                margin: margin.clone(),
                is_last: i + 1 == below.len(),
            };
            open.extend(below.iter().enumerate().rev().map(line));
        }
        lines
    }

    fn line(&self, open: &PendingLine, is_known: bool, screen: &Screen) -> String {
        let mut line = ScreenLine { text: String::new(), left: screen.width };
        if let Some(edge) = open.edge {
            line.add(&format!("{}{}", open.margin, if open.is_last { "└─ " } else { "├─ " }), |text| {
                screen.dim(text)
            });
            let colour = if edge.effect < 0.0 { SERIES[1] } else { SERIES[0] };
            let effect = node_names::effect(self.graph, edge.effect);
            line.add(&screen::right(&effect, self.effects), |text| screen.ink(text, colour));
            if self.ports > 0 {
                let port = edge.port.map(|port| port.to_string()).unwrap_or_default();
                line.add(&screen::right(&port, self.ports), |text| screen.bold(text));
            }
            if let Some(cosine) = edge.cosine {
                line.add(&format!("  {:>5}", fixed(cosine, 2)), |text| screen.dim(text));
            }
            line.add("  ", str::to_owned);
        }
        line.add(self.names.get(open.node).map(String::as_str).unwrap_or_default(), |text| screen.bold(text));
        let Some(node) = self.graph.nodes.get(open.node) else { return line.text };
        let below = self.below[open.node].len();
        let weaker = self.weaker[open.node];
        let outlier = if node.outlier { "  outlier dimension" } else { "" };
        let above = if is_known && below > 0 { "  (above)" } else { "" };
        let weaker = if !is_known && weaker > 0 { format!("  (and {weaker} weaker)") } else { String::new() };
        let score = node.score.map(|score| format!(" ({})", fixed(score, 2))).unwrap_or_default();
        let probability = node.value.filter(|_| node_names::is_logit(node)).map(|p| format!("  p {}", digits(p, 2)));
        let after = format!("{}{score}{outlier}{above}{weaker}", probability.unwrap_or_default());
        if let Some(meaning) = &node.meaning {
            let room = line.left.saturating_sub(screen::width(&after));
            line.add(&screen::fitted(&format!("  {}", visible(meaning)), room), str::to_owned);
        }
        line.add(&after, |text| screen.dim(text));
        line.text
    }

    /// Writes a line for each supernode, with as many of its members as fit.
    fn groups(&self, screen: &Screen) -> Vec<String> {
        let groups = self.graph.supernodes.iter().take(MOST_LINES).map(|group| {
            let mut line = ScreenLine { text: String::new(), left: screen.width };
            line.add(&visible(&group.name), |text| screen.bold(text));
            line.add(&format!("  {}: ", count(group.nodes.len(), "node")), |text| screen.dim(text));
            // Beyond the screen's width nothing is seen of them.
            let members = group.nodes.iter().take(screen.width).filter_map(|node| self.names.get(*node));
            line.add(&members.map(String::as_str).collect::<Vec<_>>().join(", "), str::to_owned);
            line.text
        });
        let heading = (!self.graph.supernodes.is_empty()).then(|| screen.dim(&screen::fitted("groups", screen.width)));
        heading.into_iter().chain(groups).collect()
    }

    /// Tells how much of a large graph is not shown.
    fn left_out(&self) -> Option<String> {
        let edges = self.graph.edges.len();
        let shown = self.below.iter().map(Vec::len).sum::<usize>();
        let nodes = self.nodes.iter().filter(|is| **is).count();
        (shown < edges || nodes < self.graph.nodes.len()).then(|| {
            let nodes = format!("{nodes} of {}", count(self.graph.nodes.len(), "node"));
            match edges {
                0 => format!("shown: {nodes}"),
                edges => format!("shown: the strongest {shown} of {}, and {nodes}", count(edges, "edge")),
            }
        })
    }
}

/// A line of a screen, and how much of it is left.
struct ScreenLine {
    text: String,
    left: usize,
}

impl ScreenLine {
    fn add(&mut self, text: &str, style: impl Fn(&str) -> String) {
        let fitted = screen::fitted(text, self.left);
        self.left -= screen::width(&fitted).min(self.left);
        self.text.push_str(&style(&fitted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Node, Part, Port, Supernode};
    use crate::report::draw::graph::samples;

    fn graph() -> Graph {
        let node = |site: &str, feature: usize, level: usize, meaning: Option<&str>| Node {
            meaning: meaning.map(String::from),
            score: (feature == 5).then_some(0.714),
            outlier: feature == 9,
            ..Node::new(site, level, Part::Feature(feature))
        };
        let edge = |from: usize, to: usize, effect: f64| Edge { cosine: Some(0.5), ..Edge::new(from, to, effect) };
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
    fn heads_have_inputs_and_numbers_and_groups_their_members() {
        let node = |site: &str, level, part| Node::new(site, level, part);
        let edge = |from, to, port, effect| Edge { port, ..Edge::new(from, to, effect) };
        let graph = Graph {
            title: "heads".into(),
            nodes: vec![
                node("embed", 0, Part::Whole),
                node("z.0", 1, Part::Head(3)),
                node("mlp_out.0", 2, Part::Whole),
                node("logits", 3, Part::Whole),
            ],
            edges: vec![
                edge(0, 1, Some(Port::K), 1.25),
                edge(0, 1, Some(Port::V), -0.5),
                edge(1, 3, None, 2.0),
                edge(2, 3, None, 0.125),
            ],
            supernodes: vec![Supernode { name: "both".into(), nodes: vec![1, 2] }],
            quantity: Some("change of the logit difference".into()),
            is_whole: true,
            ..Graph::default()
        };
        let expected = "\
heads
change of the logit difference of one below, through which input, name
logits
├─     2    z.0.3
│  ├─  1.25 k  embed
│  └─  -0.5 v  embed
└─ 0.125    mlp_out.0
groups
both  2 nodes: z.0.3, mlp_out.0
";
        assert_eq!(written(&graph, &Screen::default()), expected);
    }

    #[test]
    fn logits_are_roots_and_tokens_and_errors_are_named() {
        let graph = samples::attribution(3, 2);
        let text = written(&graph, &Screen::default());
        let roots: Vec<&str> = text.lines().filter(|line| line.starts_with("logits/")).collect();
        assert_eq!(roots, ["logits/4@2   are  p 0.43", "logits/3@2   is  p 0.21"]);
        assert!(text.contains("embed/101@1   keys") && text.contains("0/201@2"), "{text}");
    }

    #[test]
    fn a_very_deep_graph_is_followed_as_far_as_there_are_lines() {
        let mut deep = samples::graph(&[1; 3000]);
        deep.edges.iter_mut().for_each(|edge| edge.effect = 0.5);
        let text = written(&deep, &Screen::default());
        assert_eq!(text.lines().count(), 2 + MOST_LINES + 1);
        assert!(text.ends_with("shown: the strongest 199 of 2999 edges, and 200 of 3000 nodes\n"), "{text}");
    }

    #[test]
    fn of_a_large_graph_the_strongest_lines_are_written_and_the_rest_is_counted() {
        let graph = samples::large(5000);
        let text = written(&graph, &Screen::default());
        assert!((100..=MOST_LINES + 4).contains(&text.lines().count()), "{}", text.lines().count());
        assert!(text.contains(" weaker)") && text.contains("of 5050 edges, and "), "{text}");
    }
}
