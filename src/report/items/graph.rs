//! Circuits: a tree of lines in the terminal; on pages a drawing whose nodes open the cards of their features.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Item, feature};
use crate::base::Result;
use crate::base::files::hex;
use crate::circuit::{Circuit, Edge, Graph};
use crate::features::FeatureCard;
use crate::report::draw::graph::node_names;
use crate::report::draw::graph::view::{GraphView, NodeBox};
use crate::report::html::escape;
use crate::report::html::page::CIRCUIT;
use crate::report::json::json;
use crate::report::live::circuit::of_dictionaries;
use crate::report::live::part::LivePart;
use crate::report::number::{digits, fixed};
use crate::report::picture::{self, Picture, PictureLink};
use crate::report::terminal::{Screen, tree};
use crate::report::visible_text::count;

impl Item for Circuit {
    fn kind(&self) -> &'static str {
        self.graph.kind()
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.graph.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        Ok(html(&self.graph, &self.cards, &[])?.0)
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

    fn live(&self) -> Option<LivePart> {
        Some(of_dictionaries(self))
    }
}

impl Item for Graph {
    fn kind(&self) -> &'static str {
        "graph"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(tree::written(self, screen))
    }

    fn html(&self) -> Result<String> {
        Ok(html(self, &[], &[])?.0)
    }

    fn data(&self) -> Result<Value> {
        json(self)
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(self.clone()))
    }

    fn graphviz(&self) -> Option<String> {
        Some(self.dot())
    }
}

/// Maximum numbers of effects in the table, the strongest ones, and of nodes with a card.
const MOST_EFFECTS: usize = 500;
const MOST_CARDS: usize = 1000;
/// Maximum number of neighbours that are named on each side of a node.
const MOST_NEIGHBOURS: usize = 20;

/// Writes a circuit whose nodes lead to pages elsewhere, too: `addresses` has those of some nodes. Returned with the
/// HTML are the anchors of the nodes that have a card on this page.
pub fn circuit_html(circuit: &Circuit, addresses: &[Option<String>]) -> Result<(String, Vec<Option<String>>)> {
    html(&circuit.graph, &circuit.cards, addresses)
}

/// Draws a graph alone, each node of which is a link.
pub fn linked_graph(graph: &Graph, link: &dyn Fn(usize) -> PictureLink) -> Result<String> {
    let view = GraphView::of(graph);
    let links: Vec<PictureLink> =
        view.boxes.iter().filter_map(|shown| shown.nodes.first()).map(|node| link(*node)).collect();
    picture::linked_svg(graph, &links)
}

/// Writes the drawing, a table of the strongest effects, and a card for each group and each node, which its box in the
/// drawing opens beside it.
fn html(
    graph: &Graph,
    cards: &[Option<FeatureCard>],
    addresses: &[Option<String>],
) -> Result<(String, Vec<Option<String>>)> {
    let view = GraphView::of(graph);
    let page = GraphPage::of(graph, &view, addresses)?;
    let mut out = page.figure(&view)?;
    out.push_str(&effects(graph)?);
    for group in 0..graph.supernodes.len() {
        out.push_str(&page.group(group));
    }
    let listed: Vec<usize> = (0..graph.nodes.len()).filter(|node| page.is_listed[*node]).collect();
    for node in &listed {
        out.push_str(&page.node(*node, cards.get(*node).and_then(Option::as_ref))?);
    }
    if listed.len() < graph.nodes.len() {
        let left = listed.len();
        let of = count(graph.nodes.len(), "node");
        out.push_str(&format!("<p class=\"note\">{left} of {of} are listed; the graph's JSON has all of them.</p>\n"));
    }
    let anchor = |node: usize| page.is_listed[node].then(|| page.anchor(node));
    Ok((out, (0..graph.nodes.len()).map(anchor).collect()))
}

/// Writes the effects as a table, the strongest where they are many.
fn effects(graph: &Graph) -> Result<String> {
    let edges = &graph.edges;
    let all = count(edges.len(), "effect");
    if edges.len() <= MOST_EFFECTS {
        let table = graph.table().html()?;
        return Ok(format!("<details class=\"effects\"><summary>{all} as a table</summary>\n{table}</details>\n"));
    }
    let mut order: Vec<&Edge> = edges.iter().collect();
    order.sort_by(|a, b| size(b.effect).total_cmp(&size(a.effect)));
    let strongest = order.into_iter().take(MOST_EFFECTS).cloned().collect();
    let table = Graph { edges: strongest, ..graph.clone() }.table().html()?;
    let words = format!("the strongest {MOST_EFFECTS} of {all} as a table");
    Ok(format!("<details class=\"effects\"><summary>{words}</summary>\n{table}</details>\n"))
}

/// Returns the strength of an effect; what is no number comes last.
fn size(effect: f64) -> f64 {
    if effect.is_nan() { -1.0 } else { effect.abs() }
}

/// Returns the prefix that tells the addresses of this graph from those of another one on the same page.
fn key(graph: &Graph) -> Result<String> {
    let digest = hex(&Sha256::digest(graph.json()?.as_bytes()));
    Ok(format!("circuit-{}", digest.get(..8).unwrap_or_default()))
}

/// A graph on a page.
struct GraphPage<'a> {
    graph: &'a Graph,
    key: String,
    /// Short names, by node.
    names: Vec<String>,
    /// The edges from each node, and those to it, the strongest first.
    from: Vec<Vec<&'a Edge>>,
    to: Vec<Vec<&'a Edge>>,
    /// The supernode of each node.
    groups: Vec<Option<usize>>,
    /// Whether a node has a card.
    is_listed: Vec<bool>,
    /// Address elsewhere of each node, where it has one.
    addresses: &'a [Option<String>],
}

impl<'a> GraphPage<'a> {
    fn of(graph: &'a Graph, view: &GraphView, addresses: &'a [Option<String>]) -> Result<Self> {
        let count = graph.nodes.len();
        let mut from = vec![Vec::new(); count];
        let mut to = vec![Vec::new(); count];
        for edge in graph.edges.iter().filter(|edge| edge.from < count && edge.to < count) {
            from[edge.from].push(edge);
            to[edge.to].push(edge);
        }
        for edges in from.iter_mut().chain(&mut to) {
            edges.sort_by(|a: &&Edge, b| size(b.effect).total_cmp(&size(a.effect)));
        }
        // What is drawn comes first.
        let mut is_listed = vec![count <= MOST_CARDS; count];
        let drawn = view.boxes.iter().flat_map(|shown| shown.nodes.iter().copied());
        let mut left = MOST_CARDS;
        for node in drawn.chain(0..count) {
            if !is_listed[node] && left > 0 {
                is_listed[node] = true;
                left -= 1;
            }
        }
        let names = node_names::nodes(graph);
        let groups = node_names::groups(graph);
        Ok(Self { graph, key: key(graph)?, names, from, to, groups, is_listed, addresses })
    }

    fn figure(&self, view: &GraphView) -> Result<String> {
        let key = &self.key;
        let link = |shown: &NodeBox| match (shown.group, shown.nodes.first()) {
            (Some(group), _) => {
                PictureLink { address: format!("#{}", self.group_anchor(group)), title: self.spoken_group(group) }
            }
            (None, node) => {
                let node = node.copied().unwrap_or_default();
                PictureLink { address: format!("#{}", self.anchor(node)), title: self.spoken(node) }
            }
        };
        let links: Vec<PictureLink> = view.boxes.iter().map(link).collect();
        let svg = picture::linked_svg(self.graph, &links)?;
        let whole = "<label><input type=\"checkbox\" class=\"whole\"> full size</label>";
        Ok(format!("{CIRCUIT} id=\"{key}\">{whole}<div class=\"sheet\">{svg}</div></figure>\n"))
    }

    fn anchor(&self, node: usize) -> String {
        format!("{}-{node}", self.key)
    }

    fn group_anchor(&self, group: usize) -> String {
        format!("{}-group-{group}", self.key)
    }

    /// Writes the name of a node and its meaning.
    fn spoken(&self, node: usize) -> String {
        let name = self.names.get(node).cloned().unwrap_or_default();
        match self.graph.nodes.get(node).and_then(|node| node.meaning.as_ref()) {
            Some(meaning) => format!("{name}: {meaning}"),
            None => name,
        }
    }

    fn spoken_group(&self, group: usize) -> String {
        self.graph
            .supernodes
            .get(group)
            .map_or(String::new(), |found| format!("{}: {}", found.name, count(found.nodes.len(), "node")))
    }

    /// Writes the name of a node and its meaning, as a link to its card if it has one.
    fn link(&self, node: usize) -> String {
        let spoken = escape::text(&self.spoken(node));
        match self.is_listed.get(node) {
            Some(true) => format!("<a href=\"#{}\">{spoken}</a>", self.anchor(node)),
            _ => spoken,
        }
    }

    /// Writes the card of a supernode: its members.
    fn group(&self, group: usize) -> String {
        let Some(found) = self.graph.supernodes.get(group) else { return String::new() };
        let members: Vec<String> = found.nodes.iter().map(|node| self.link(*node)).collect();
        let rows = format!("<dl><dt>members</dt><dd>{}</dd>\n</dl>\n", members.join("<br>"));
        let size = format!(" <small>{}</small>", count(found.nodes.len(), "node"));
        self.card(&self.group_anchor(group), &format!("<b>{}</b>{size}", escape::text(&found.name)), &rows)
    }

    /// Writes a node's card.
    fn node(&self, node: usize, card: Option<&FeatureCard>) -> Result<String> {
        let Some(known) = self.graph.nodes.get(node) else { return Ok(String::new()) };
        let name = escape::text(&known.name());
        let described = card.and_then(|card| card.description.as_ref());
        let meaning = known.meaning.as_ref().or(described.map(|described| &described.text));
        let meaning = meaning.map(|meaning| escape::text(meaning)).unwrap_or_default();
        let score = known.score.or(described.map(|described| described.score));
        let score = score.map(|score| format!(" <small>{}</small>", fixed(score, 2))).unwrap_or_default();
        let outlier = if known.outlier { " <small>outlier dimension</small>" } else { "" };
        let inside = card.map_or(Ok(String::new()), feature::inside)?;
        let elsewhere =
            self.addresses.get(node).and_then(Option::as_ref).map(|address| {
                format!("<p><a href=\"{}\">Its card among all features</a></p>\n", escape::text(address))
            });
        let inside = elsewhere.unwrap_or_default() + self.neighbours(node).as_str() + inside.as_str();
        Ok(self.card(&self.anchor(node), &format!("<b>{name}</b> {meaning}{score}{outlier}"), &inside))
    }

    /// Writes a card. Its address stands inside of it, since browsers open what an address is inside of.
    fn card(&self, anchor: &str, summary: &str, inside: &str) -> String {
        format!(
            "<details class=\"card feature\"><summary>{summary}</summary>\n\
             <div id=\"{anchor}\">{inside}<p class=\"note back\"><a href=\"#{}\">Back to the drawing</a></p></div></details>\n",
            self.key
        )
    }

    /// Writes the values of a node and where it belongs, what it leads to, and what leads to it, as links to their
    /// cards.
    fn neighbours(&self, node: usize) -> String {
        let known = &self.graph.nodes[node];
        let number = |(name, value): (&str, Option<f64>)| value.map(|value| (name.to_string(), digits(value, 3)));
        let value = if node_names::is_logit(known) { "probability" } else { "activation" };
        let mut rows: Vec<(String, String)> =
            [("own effect", known.effect), (value, known.value)].into_iter().filter_map(number).collect();
        if let Some((group, found)) = self.groups[node].and_then(|i| Some((i, self.graph.supernodes.get(i)?))) {
            let name = escape::text(&found.name);
            rows.push(("group".into(), format!("<a href=\"#{}\">{name}</a>", self.group_anchor(group))));
        }
        type EdgeEnd = fn(&Edge) -> usize;
        let leads: EdgeEnd = |edge| edge.to;
        let comes: EdgeEnd = |edge| edge.from;
        let ends = [("leads to", &self.from[node], leads), ("comes from", &self.to[node], comes)];
        for (name, edges, other) in ends.into_iter().filter(|(_, edges, _)| !edges.is_empty()) {
            let link = |edge: &&Edge| {
                let port = edge.port.map(|port| format!(" {port}")).unwrap_or_default();
                format!("{} {}{port}", self.link(other(edge)), node_names::effect(self.graph, edge.effect))
            };
            let mut links: Vec<String> = edges.iter().take(MOST_NEIGHBOURS).map(link).collect();
            let more = edges.len().saturating_sub(MOST_NEIGHBOURS);
            links.extend((more > 0).then(|| format!("and {}", count(more, "weaker one"))));
            rows.push((name.into(), links.join("<br>")));
        }
        let rows: String = rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n")).collect();
        if rows.is_empty() { rows } else { format!("<dl>{rows}</dl>\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HeatText;
    use crate::circuit::{Node, Part};
    use crate::features::card::Group;
    use crate::report::draw::graph::samples;

    /// Builds a circuit of 12 nodes, of which the second one has a card.
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
        assert!(page.contains(&format!("{CIRCUIT} id=\"{key}\">")));
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
    fn a_group_leads_to_its_members_and_they_to_it() {
        let mut graph = samples::grouped();
        graph.supernodes[0].name = "<b>\u{202e}".into();
        let page = graph.html().unwrap();
        let key = key(&graph).unwrap();
        let cards = graph.nodes.len() + graph.supernodes.len();
        assert_eq!(page.matches("<details class=\"card feature\">").count(), cards);
        for (i, group) in graph.supernodes.iter().enumerate() {
            assert_eq!(page.matches(&format!("<div id=\"{key}-group-{i}\">")).count(), 1);
            // Its box in the drawing, and each of its members.
            assert_eq!(page.matches(&format!("href=\"#{key}-group-{i}\"")).count(), 1 + group.nodes.len());
        }
        assert!(!page.contains("<b>\u{202e}") && page.contains("&lt;b&gt;\\u{202e}"));
    }

    #[test]
    fn a_hundred_thousand_edges_are_shown_by_their_strongest_part() {
        let graph = samples::large(100_000);
        let started = std::time::Instant::now();
        assert_eq!((graph.nodes.len(), graph.edges.len()), (673, 100_224));
        let page = graph.html().unwrap();
        assert!(page.contains("the strongest 500 of 100,224 effects as a table"));
        assert!(page.contains("Drawn: the strongest 300 of 100,224 edges"), "{}", &page[..3000]);
        assert_eq!(page.matches("<details class=\"card").count(), 673);
        assert!(page.contains("weaker ones") && page.len() < 8_000_000, "{} bytes", page.len());
        let text = graph.terminal(&Screen::default()).unwrap();
        assert!(text.contains("of 100,224 edges, and ") && text.lines().count() < 220);
        assert_eq!(graph.dot().matches(" -> ").count(), 100_224);
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
        assert!(graph.table().html().unwrap().matches("<tr>").count() > 100_000);
        assert!(picture::png(&graph).unwrap().len() > 10_000);
        // What is quadratic in the edges would take an hour in a debug build; this takes fifteen seconds.
        assert!(started.elapsed().as_secs() < 240, "{:?}", started.elapsed());
    }

    #[test]
    fn of_thousands_of_nodes_those_that_are_drawn_are_listed() {
        let mut graph = samples::graph(&[1, 1]);
        graph.edges.clear();
        let node = graph.nodes[1].clone();
        graph.nodes.extend((0..3000).map(|i| Node { part: Part::Feature(9000 + i), ..node.clone() }));
        let page = graph.html().unwrap();
        assert_eq!(page.matches("<details class=\"card").count(), MOST_CARDS);
        assert!(
            page.contains("1000 of 3002 nodes are listed") && page.contains("the strongest 150 of 3002 nodes."),
            "{}",
            &page[..3000]
        );
    }
}
