//! Circuits: a tree of lines in the terminal; on pages a drawing whose nodes open the cards of their features.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Item;
use crate::base::Result;
use crate::base::files::hex;
use crate::circuit::{Circuit, Edge, Graph};
use crate::features::FeatureCard;
use crate::report::draw::graph::names;
use crate::report::html::escape;
use crate::report::json::json;
use crate::report::number::fixed;
use crate::report::picture::{self, Link, Picture};
use crate::report::symbols::count;
use crate::report::terminal::{Screen, tree};

impl Item for Circuit {
    fn kind(&self) -> &'static str {
        self.graph.kind()
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.graph.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        html(&self.graph, &self.cards)
    }

    fn data(&self) -> Result<Value> {
        let mut data = self.graph.data()?;
        if self.cards.iter().any(Option::is_some) {
            let card = |card: &Option<FeatureCard>| card.as_ref().map_or(Ok(Value::Null), Item::data);
            data["cards"] = self.cards.iter().map(card).collect::<Result<Value>>()?;
        }
        Ok(data)
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        self.graph.picture()
    }

    fn graphviz(&self) -> Option<String> {
        self.graph.graphviz()
    }
}

impl Item for Graph {
    fn kind(&self) -> &'static str {
        "graph"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(tree::written(self, screen))
    }

    fn html(&self) -> Result<String> {
        html(self, &[])
    }

    fn data(&self) -> Result<Value> {
        json(self)
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        self.can_be_drawn().then(|| Box::new(self.clone()) as Box<dyn Picture>)
    }

    fn graphviz(&self) -> Option<String> {
        Some(self.dot())
    }
}

/// The drawing, the table of all effects, and a card for each node, which its box in the drawing opens.
fn html(graph: &Graph, cards: &[Option<FeatureCard>]) -> Result<String> {
    let page = Page { graph, key: key(graph)?, names: names::nodes(graph) };
    let mut out = page.figure()?;
    let effects = count(graph.edges.len(), "effect");
    let table = graph.table().html()?;
    out.push_str(&format!("<details class=\"effects\"><summary>{effects} as a table</summary>\n{table}</details>\n"));
    for node in 0..graph.nodes.len() {
        out.push_str(&page.feature(node, cards.get(node).and_then(Option::as_ref))?);
    }
    Ok(out)
}

/// What tells the addresses of this graph from those of another one on the same page.
fn key(graph: &Graph) -> Result<String> {
    let digest = hex(&Sha256::digest(graph.json()?.as_bytes()));
    Ok(format!("circuit-{}", digest.get(..8).unwrap_or_default()))
}

/// A graph on a page.
struct Page<'a> {
    graph: &'a Graph,
    key: String,
    /// Short ones, by node.
    names: Vec<String>,
}

impl Page<'_> {
    fn figure(&self) -> Result<String> {
        let key = &self.key;
        if !self.graph.can_be_drawn() {
            let (nodes, edges) = (count(self.graph.nodes.len(), "node"), count(self.graph.edges.len(), "edge"));
            let title = escape::text(&self.graph.title);
            return Ok(format!("<h3 id=\"{key}\">{title}</h3>\n<p>Too large to draw: {nodes} and {edges}.</p>\n"));
        }
        let links: Vec<Link> = (0..self.graph.nodes.len())
            .map(|node| Link { address: format!("#{}", self.anchor(node)), title: self.spoken(node) })
            .collect();
        let svg = picture::linked_svg(self.graph, &links)?;
        let whole = "<label><input type=\"checkbox\" class=\"whole\"> full size</label>";
        Ok(format!("<figure class=\"picture circuit\" id=\"{key}\">{whole}{svg}</figure>\n"))
    }

    fn anchor(&self, node: usize) -> String {
        format!("{}-{node}", self.key)
    }

    /// Its name and its meaning.
    fn spoken(&self, node: usize) -> String {
        let name = self.names.get(node).cloned().unwrap_or_default();
        match self.graph.nodes.get(node).and_then(|node| node.meaning.as_ref()) {
            Some(meaning) => format!("{name}: {meaning}"),
            None => name,
        }
    }

    /// A node's card. The address stands inside of it, since browsers open what an address is inside of.
    fn feature(&self, node: usize, card: Option<&FeatureCard>) -> Result<String> {
        let Some(known) = self.graph.nodes.get(node) else { return Ok(String::new()) };
        let name = escape::text(&known.name());
        let described = card.and_then(|card| card.description.as_ref());
        let meaning = known.meaning.as_ref().or(described.map(|described| &described.text));
        let meaning = meaning.map(|meaning| escape::text(meaning)).unwrap_or_default();
        let score = known.score.or(described.map(|described| described.score));
        let score = score.map(|score| format!(" <small>{}</small>", fixed(score, 2))).unwrap_or_default();
        let outlier = if known.outlier { " <small>outlier dimension</small>" } else { "" };
        let inside = card.map_or(Ok(String::new()), FeatureCard::inside)?;
        Ok(format!(
            "<details class=\"card feature\"><summary><b>{name}</b> {meaning}{score}{outlier}</summary>\n\
             <div id=\"{}\">{}{inside}<p class=\"note\"><a href=\"#{}\">Back to the drawing</a></p></div></details>\n",
            self.anchor(node),
            self.neighbours(node),
            self.key
        ))
    }

    /// What a node leads to, and what leads to it, as links to their cards.
    fn neighbours(&self, node: usize) -> String {
        let mut leads: Vec<&Edge> = self.graph.edges.iter().filter(|edge| edge.from == node).collect();
        leads.sort_by(|a, b| b.effect.total_cmp(&a.effect));
        let rows = [
            ("leads to", leads, (|edge| edge.to) as fn(&Edge) -> usize),
            ("comes from", self.graph.into_node(node), |edge| edge.from),
        ];
        let row = |(name, edges, other): &(&str, Vec<&Edge>, fn(&Edge) -> usize)| {
            let link = |edge: &&Edge| {
                let spoken = escape::text(&self.spoken(other(edge)));
                format!("<a href=\"#{}\">{spoken}</a> {}", self.anchor(other(edge)), names::effect(self.graph, edge))
            };
            let links: Vec<String> = edges.iter().map(link).collect();
            format!("<dt>{name}</dt><dd>{}</dd>\n", links.join("<br>"))
        };
        let rows: String = rows.iter().filter(|(_, edges, _)| !edges.is_empty()).map(row).collect();
        if rows.is_empty() { rows } else { format!("<dl>{rows}</dl>\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HeatText;
    use crate::features::card::Group;
    use crate::report::draw::graph::samples;

    /// A circuit of 12 nodes, of which the second one has a card.
    fn circuit() -> Circuit {
        let graph = samples::graph(&[5, 4, 2, 1]);
        let tokens = vec!["<img src=x onerror=alert(1)>".to_string(), "\u{202e}".into()];
        let text = HeatText { tokens, values: vec![1.0, 0.0], ..HeatText::default() };
        let card = FeatureCard {
            contexts: vec![Group { name: "strongest".into(), texts: vec![text] }],
            ..FeatureCard::default()
        };
        Circuit { cards: vec![None, Some(card)], ..Circuit::without_dictionaries(graph) }
    }

    #[test]
    fn every_node_leads_to_its_card_and_back() {
        let page = circuit().html().unwrap();
        let key = page.split("id=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(key.starts_with("circuit-") && key.len() == 16, "{key}");
        for node in 0..12 {
            assert_eq!(page.matches(&format!("<div id=\"{key}-{node}\">")).count(), 1);
            assert!(page.contains(&format!("<a href=\"#{key}-{node}\" aria-label=")));
        }
        assert_eq!(page.matches("<a href=\"#").count(), page.matches("</a>").count());
        assert!(page.contains(&format!("<figure class=\"picture circuit\" id=\"{key}\">")));
    }

    #[test]
    fn what_stands_in_cards_is_text() {
        let page = circuit().html().unwrap();
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;</span>\\u{202e}"));
        assert!(!page.contains("<img") && !page.contains('\u{202e}') && !page.contains("<script"));
    }

    #[test]
    fn cards_are_part_of_the_data_where_there_are_some() {
        let data = circuit().data().unwrap();
        assert_eq!((&data["cards"][0], &data["cards"][1]["contexts"][0]["name"]), (&Value::Null, &"strongest".into()));
        assert_eq!(data["nodes"].as_array().map(Vec::len), Some(12));
        assert!(circuit().graph.data().unwrap().get("cards").is_none());
    }

    #[test]
    fn a_graph_too_large_to_draw_still_has_its_tables() {
        let graph = samples::graph(&[200, 101]);
        let page = graph.html().unwrap();
        assert!(page.contains("Too large to draw: 301 nodes") && page.matches("<details class=\"card").count() == 301);
        assert!(graph.picture().is_none());
    }
}
