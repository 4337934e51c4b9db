//! Circuits of all sizes for tests.

use crate::circuit::{Edge, Graph, Node, Part, Port, Supernode};
use crate::report::samples::noise;

/// Builds a graph with a number of nodes at each level, the earliest level first; every node but the last ones leads to
/// one or more of the next level.
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
                    edges.push(Edge { cosine, ..Edge::new(*from, to, effect) });
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

/// Builds graphs of 1, 4, 12, 30 and 60 nodes.
pub fn all() -> Vec<Graph> {
    [&[1][..], &[3, 1], &[5, 4, 2, 1], &[10, 8, 6, 3, 2, 1], &[18, 16, 13, 9, 3, 1]].map(graph).into()
}

/// Builds a graph of heads, MLPs, the embedding and logits: 30 edges, with the inputs of heads told apart.
pub fn heads() -> Graph {
    let layers = 4;
    let sites = (0..layers).flat_map(|layer| [format!("z.{layer}"), format!("mlp_out.{layer}")]);
    let sites: Vec<String> = std::iter::once("embed".into()).chain(sites).chain(["logits".into()]).collect();
    let mut nodes = vec![Node::new("embed", 0, Part::Whole)];
    for layer in 0..layers {
        let heads = (0..1 + (layer * 5 + 1) % 3).map(|head| Part::Head(head + layer % 2));
        nodes.extend(heads.map(|head| Node::new(format!("z.{layer}"), 1 + 2 * layer, head)));
        nodes.push(Node::new(format!("mlp_out.{layer}"), 2 + 2 * layer, Part::Whole));
    }
    nodes.push(Node::new("logits", 1 + 2 * layers, Part::Whole));
    let mut edges: Vec<Edge> = Vec::new();
    for i in 0.. {
        let pick = |turn: usize| (noise(3 * i + turn) * nodes.len() as f64) as usize;
        let from = pick(0);
        let to = pick(1);
        if nodes[from].level >= nodes[to].level {
            continue;
        }
        let port = matches!(nodes[to].part, Part::Head(_)).then(|| [Port::Q, Port::K, Port::V][i % 3]);
        if !edges.iter().any(|edge| (edge.from, edge.to, edge.port) == (from, to, port)) {
            let effect = 2.4 * noise(i + 9).powi(3) * if i % 4 == 3 { -1.0 } else { 1.0 };
            edges.push(Edge { port, ..Edge::new(from, to, effect) });
        }
        if edges.len() == 30 {
            break;
        }
    }
    Graph {
        title: "edges by attribution, indirect objects".into(),
        model: "tiny".into(),
        sites,
        nodes,
        edges,
        quantity: Some("change of the logit difference".into()),
        is_whole: true,
        made: vec![("pairs".into(), 40_usize.into()), ("threshold".into(), 0.01.into())],
        ..Graph::default()
    }
}

/// Builds a sparse circuit of features with the errors of their dictionaries.
pub fn features() -> Graph {
    let mut graph = graph(&[6, 5, 4, 2]);
    for (i, node) in graph.nodes.iter_mut().enumerate() {
        node.score = None;
        node.effect = Some(noise(i) - 0.3);
        if i % 5 == 3 {
            *node = Node { effect: node.effect, ..Node::new(node.site.clone(), node.level, Part::Error) };
        }
    }
    graph.edges.iter_mut().for_each(|edge| (edge.effect, edge.cosine) = (edge.effect * 3.0, None));
    graph.title = "sparse feature circuit, agreement".into();
    graph.quantity = Some("indirect effect on the logit difference".into());
    graph
}

/// Builds a graph of features, errors and tokens at `tokens` positions below two logits.
pub fn attribution(tokens: usize, layers: usize) -> Graph {
    let words = ["The", " keys", " to", " the", " old", " cabinet", " (", "in", " two", " brackets", ")", " is"];
    let sites = (0..layers).map(|layer| format!("mlp_out.{layer}"));
    let sites: Vec<String> = std::iter::once("embed".into()).chain(sites).chain(["logits".into()]).collect();
    let at = |position: usize, node: Node| Node { position: Some(position), ..node };
    let token = |position: usize| Node {
        meaning: Some(words[position % words.len()].into()),
        ..Node::new("embed", 0, Part::Token(100 + position as u32))
    };
    let mut nodes: Vec<Node> = (0..tokens).map(|position| at(position, token(position))).collect();
    for layer in 0..layers {
        for position in 1..tokens {
            let count = if position + 1 == tokens { 3 } else { (noise(layer * 31 + position) * 1.9) as usize };
            for feature in 0..count {
                let meaning = (feature % 2 == 0).then(|| "words inside a bracket".into());
                let part = Part::Feature(100 * position + feature);
                nodes.push(at(position, Node { meaning, ..Node::new(sites[layer + 1].clone(), layer + 1, part) }));
            }
            if (layer + position) % 9 == 0 {
                nodes.push(at(position, Node::new(sites[layer + 1].clone(), layer + 1, Part::Error)));
            }
        }
    }
    for (token, value) in [(" are", 0.43), (" is", 0.21)] {
        let logit = Node::new("logits", layers + 1, Part::Token(token.len() as u32));
        nodes.push(at(tokens - 1, Node { meaning: Some(token.into()), value: Some(value), ..logit }));
    }
    let mut edges = Vec::new();
    for (to, target) in nodes.iter().enumerate() {
        for (from, source) in nodes.iter().enumerate() {
            let reaches = source.level < target.level && source.position <= target.position;
            let effect = noise(from * 131 + to);
            if reaches && effect > 0.78 {
                let sign = if from % 4 == 1 { -1.0 } else { 1.0 };
                edges.push(Edge::new(from, to, sign * (effect - 0.7).powi(2) * 20.0));
            }
        }
    }
    Graph {
        title: "attribution graph".into(),
        model: "tiny".into(),
        sites,
        nodes,
        edges,
        quantity: Some("direct effect".into()),
        is_whole: true,
        made: vec![("nodes kept".into(), 0.8.into()), ("edges kept".into(), 0.98.into())],
        ..Graph::default()
    }
}

/// Builds the circuit of heads with two groups, one of which spans levels.
pub fn grouped() -> Graph {
    let mut graph = heads();
    let of = |site: &str| (0..graph.nodes.len()).filter(|i| graph.nodes[*i].site == site).collect::<Vec<_>>();
    let middle = of("z.2");
    let late = [of("z.1"), of("mlp_out.3")].concat();
    graph.supernodes = vec![
        Supernode { name: "copying heads".into(), nodes: middle },
        Supernode { name: "what writes the name".into(), nodes: late },
    ];
    graph
}

/// Builds an attribution graph with groups.
pub fn grouped_by_position() -> Graph {
    let mut graph = attribution(12, 6);
    let inside = |i: &usize| graph.nodes[*i].feature().is_some() && graph.nodes[*i].position == Some(9);
    let late = |i: &usize| graph.nodes[*i].feature().is_some() && graph.nodes[*i].position == Some(11);
    let all = 0..graph.nodes.len();
    graph.supernodes = vec![
        Supernode { name: "inside of brackets".into(), nodes: all.clone().filter(inside).collect() },
        Supernode { name: "a verb comes".into(), nodes: all.filter(late).take(9).collect() },
    ];
    graph
}

/// Builds a graph with a number of edges between features of three levels, as no method should give.
pub fn large(edges: usize) -> Graph {
    let wide = (edges as f64 / 2.0).sqrt().ceil() as usize;
    let mut graph = graph(&[wide, wide, wide, 1]);
    let nodes: Vec<Vec<usize>> =
        (0..4).map(|level| (0..graph.nodes.len()).filter(|i| graph.nodes[*i].level == level).collect()).collect();
    graph.edges = nodes
        .windows(2)
        .flat_map(|pair| pair[0].iter().flat_map(|from| pair[1].iter().map(move |to| (*from, *to))))
        .take(edges)
        .enumerate()
        .map(|(i, (from, to))| Edge::new(from, to, noise(i).powi(4)))
        .collect();
    graph.edges.extend(nodes[2].iter().map(|from| Edge::new(*from, 0, 0.5)));
    graph
}

/// Builds all graphs that are drawn in tests, by name.
pub fn named() -> Vec<(&'static str, Graph)> {
    vec![
        ("tree", graph(&[5, 4, 2, 1])),
        ("heads", heads()),
        ("features", features()),
        ("attribution", attribution(12, 6)),
        ("attribution-long", attribution(24, 4)),
        ("grouped", grouped()),
        ("grouped-by-position", grouped_by_position()),
        ("large", large(5000)),
    ]
}
