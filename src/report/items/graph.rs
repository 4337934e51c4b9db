//! Circuits: a tree of lines in the terminal, a drawing with a table on pages.

use serde_json::Value;

use super::Item;
use crate::base::Result;
use crate::circuit::Graph;
use crate::err;
use crate::report::html::figure;
use crate::report::palette;
use crate::report::picture::Picture;
use crate::report::symbols::visible;
use crate::report::terminal::screen::{self, Screen};

impl Item for Graph {
    fn kind(&self) -> &'static str {
        "graph"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let mut lines: Vec<String> = screen::wrapped(&visible(&self.title), screen.width);
        lines.iter_mut().for_each(|line| *line = screen.bold(line));
        if !self.nodes.is_empty() {
            let mut shown = vec![false; self.nodes.len()];
            lines.push(self.named(0));
            self.below(0, "", &mut shown, screen, &mut lines);
        }
        if !self.is_whole {
            lines.push(screen.dim("interrupted: this is what had been found"));
        }
        Ok(lines.iter().map(|line| format!("{}\n", line.trim_end())).collect())
    }

    fn html(&self) -> Result<String> {
        Ok(format!("{}{}", figure(self)?, self.table().html()?))
    }

    fn data(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| err!(Bug, "a graph as JSON: {error}"))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(self.clone()))
    }
}

impl Graph {
    fn named(&self, node: usize) -> String {
        let Some(node) = self.nodes.get(node) else { return String::new() };
        let outlier = if node.outlier { "  (outlier dimension)" } else { "" };
        match &node.meaning {
            Some(meaning) => format!("{}  {}{outlier}", node.name(), visible(meaning)),
            None => format!("{}{outlier}", node.name()),
        }
    }

    /// What leads to a node, each on a line below it; what was shown above is named, and not followed again.
    fn below(&self, node: usize, margin: &str, shown: &mut [bool], screen: &Screen, lines: &mut Vec<String>) {
        if std::mem::replace(&mut shown[node], true) {
            return;
        }
        let edges = self.into_node(node);
        for (i, edge) in edges.iter().enumerate() {
            let is_last = i + 1 == edges.len();
            let effect = format!("{:>4.0} %", 100.0 * edge.effect);
            let colour = if edge.effect < 0.0 { palette::SERIES[1] } else { palette::SERIES[0] };
            let again = if shown[edge.from] && !self.into_node(edge.from).is_empty() { "  (above)" } else { "" };
            let branch = if is_last { "└─" } else { "├─" };
            let text = format!("{}{again}", self.named(edge.from));
            let room = screen.width.saturating_sub(screen::width(margin) + 11);
            let text = screen::fitted(&text, room.max(16));
            lines.push(format!("{margin}{branch}{} {text}", screen.ink(&effect, colour)));
            self.below(edge.from, &format!("{margin}{}", if is_last { "  " } else { "│ " }), shown, screen, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Edge, Node};

    #[test]
    fn a_tree_of_lines_names_each_feature_and_follows_it_once() {
        let node = |site: &str, feature: usize, level: usize, meaning: Option<&str>| Node {
            site: site.into(),
            feature,
            level,
            meaning: meaning.map(String::from),
            score: None,
            outlier: feature == 9,
        };
        let edge = |from: usize, to: usize, effect: f64| Edge { from, to, effect, cosine: 0.0 };
        let graph = Graph {
            title: "causal tree".into(),
            model: "tiny".into(),
            sites: ["resid_post.0", "resid_post.1", "resid_post.2"].map(String::from).to_vec(),
            nodes: vec![
                node("resid_post.2", 5, 2, Some("predicts )")),
                node("resid_post.1", 1, 1, None),
                node("resid_post.1", 2, 1, None),
                node("resid_post.0", 9, 0, Some("token is (")),
            ],
            edges: vec![edge(2, 0, 0.1), edge(1, 0, 0.52), edge(3, 1, 0.4), edge(3, 2, -0.3)],
            is_whole: false,
            made: Vec::new(),
        };
        let expected = "\
causal tree
resid_post.2/5  predicts )
├─  52 % resid_post.1/1
│ └─  40 % resid_post.0/9  token is (  (outlier dimension)
└─  10 % resid_post.1/2
  └─ -30 % resid_post.0/9  token is (  (outlier dimension)
interrupted: this is what had been found
";
        assert_eq!(graph.terminal(&Screen::default()).unwrap(), expected);
        assert!(graph.html().unwrap().contains("<svg"));
    }
}
