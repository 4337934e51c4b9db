//! Files of circuit-tracer are written and read as they are.

use kit::within;

use super::*;
use crate::base::HeatText;
use crate::circuit::attribution_graph::PruneOptions;
use crate::circuit::attribution_graph::tests::{Fixture, all, fixture};
use crate::features::FeatureCard;
use crate::features::card::Group;

fn theirs(fixture: &Fixture) -> Value {
    let number = fixture.name.rsplit(' ').next().unwrap();
    kit::json(fixture.folder.join(format!("graph{number}.json")))
}

pub fn ours(fixture: &Fixture) -> Value {
    let graph = fixture.graph();
    let slug = theirs(fixture)["metadata"]["slug"].as_str().unwrap().to_string();
    graph.neuronpedia(&graph.circuit(PruneOptions::default()), &slug).unwrap()
}

/// Asserts that two values are equal but for the last digits of numbers.
fn same(a: &Value, b: &Value, place: &str) {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => assert!(within(a, b, 1e-4, 1e-5), "{place}: {a} and {b}"),
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{place}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| same(a, b, &format!("{place}[{i}]")));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<BTreeSet<_>>(), b.keys().collect::<BTreeSet<_>>(), "{place}");
            a.iter().for_each(|(key, value)| same(value, &b[key], &format!("{place}.{key}")));
        }
        _ => assert_eq!(a, b, "{place}"),
    }
}

/// Renames errors that have the id of a feature, as circuit-tracer writes them, to the id that they have here.
fn renamed(mut theirs: Value) -> (Value, usize) {
    let features: BTreeSet<String> = theirs["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["feature_type"] == FEATURE)
        .map(|node| node["node_id"].as_str().unwrap().to_string())
        .collect();
    let mut count = 0;
    for node in theirs["nodes"].as_array_mut().unwrap() {
        let id = node["node_id"].as_str().unwrap().to_string();
        if node["feature_type"] == ERROR && features.contains(&id) {
            node["node_id"] = format!("{id}_error").into();
            count += 1;
        }
    }
    (theirs, count)
}

#[test]
fn files_are_those_of_circuit_tracer() {
    let mut collisions = 0;
    for fixture in all() {
        let (expected, renamed) = renamed(theirs(&fixture));
        let found = ours(&fixture);
        same(&found["metadata"], &expected["metadata"], &fixture.name);
        same(&found["qParams"], &expected["qParams"], &fixture.name);
        same(&found["nodes"], &expected["nodes"], &fixture.name);
        if renamed == 0 {
            same(&found["links"], &expected["links"], &fixture.name);
        } else {
            // Their links do not say which of the two is meant.
            let weights = |file: &Value| -> Vec<Value> {
                file["links"].as_array().unwrap().iter().map(|link| link["weight"].clone()).collect()
            };
            same(&weights(&found).into(), &weights(&expected).into(), &fixture.name);
        }
        collisions += renamed;
    }
    assert_eq!(collisions, 1, "one of the fixtures has two nodes of one id");
}

#[test]
fn a_file_is_read_as_the_circuit_that_was_written() {
    let graph = fixture("gemma2-jumprelu", 0).graph();
    let mut circuit = graph.circuit(PruneOptions::default());
    let feature = circuit.nodes.iter().position(|node| node.feature().is_some()).unwrap();
    circuit.nodes[feature].meaning = Some("brackets".into());
    circuit.supernodes = vec![Supernode { name: "both".into(), nodes: vec![feature, 0] }];
    let file = graph.neuronpedia(&circuit, "x").unwrap();
    assert!(is_theirs(&file));
    assert_eq!(file["qParams"]["supernodes"][0][0], "both");
    let read = parse(&file).unwrap();
    let names = |graph: &Graph| graph.nodes.iter().map(Node::name).collect::<BTreeSet<_>>();
    assert_eq!(names(&read), names(&circuit));
    assert_eq!(read.edges.len(), circuit.edges.len());
    assert_eq!(read.supernodes[0].name, "both");
    let found = read.nodes.iter().find(|node| node.name() == circuit.nodes[feature].name()).unwrap();
    assert_eq!((found.meaning.as_deref(), found.value), (Some("brackets"), circuit.nodes[feature].value));
    // Every file of circuit-tracer is read, but the one with two nodes of one id.
    let read: Vec<bool> = all().map(|fixture| parse(&theirs(&fixture)).is_ok()).collect();
    assert_eq!(read.iter().filter(|read| !**read).count(), 1);
}

#[test]
fn damaged_files_are_refused() {
    let whole = ours(&fixture("gpt2-relu", 1));
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut file = whole.clone();
        change(&mut file);
        parse(&file).unwrap_err().message
    };
    assert!(refused(&|file| file["nodes"][0]["ctx_idx"] = Value::Null).contains("`ctx_idx`"));
    assert!(refused(&|file| file["nodes"][0]["node_id"] = "E".into()).contains("expected a link between nodes"));
    assert!(refused(&|file| file["links"][0]["weight"] = "1".into()).contains("weight"));
    assert!(refused(&|file| file["nodes"] = 3.into()).contains("`nodes`"));
    assert!(
        refused(&|file| {
            let a = file["links"][0]["source"].clone();
            let b = file["links"][0]["target"].clone();
            file["links"][0] = serde_json::json!({ "source": b, "target": a, "weight": 1.0 });
        })
        .contains("from an earlier node to a later one")
    );
}

#[test]
fn pairs_are_numbered_and_found_again() {
    for (x, y) in [(0, 0), (2, 10), (25, 16_383), (41, 1_048_575)] {
        assert_eq!(uncantor(cantor(x, y).unwrap().cast_unsigned()), Some((x, y)));
    }
    assert_eq!(cantor(2, 10).unwrap(), 88);
}

#[test]
fn numbers_at_the_top_have_their_pairs_and_larger_ones_are_refused() {
    let (x, y) = uncantor(i64::MAX.cast_unsigned()).unwrap();
    assert_eq!(cantor(x, y).unwrap(), i64::MAX);
    let (x, y) = uncantor(u64::MAX).unwrap();
    let error = cantor(x, y).unwrap_err();
    assert!(error.message.contains(&format!("found {y} of layer {x}")), "{error}");
    assert!(cantor(usize::MAX, usize::MAX).is_err() && cantor(3, usize::MAX).is_err());
    // A file may have any number beside the feature that an id names.
    let mut file = ours(&fixture("gpt2-relu", 1));
    let of_feature = |node: &Value| node["feature_type"] == FEATURE;
    let place = file["nodes"].as_array().unwrap().iter().position(of_feature).unwrap();
    let named = parse(&file).unwrap().nodes[place].part;
    for number in [i64::MAX.cast_unsigned(), u64::MAX] {
        file["nodes"][place]["feature"] = number.into();
        assert_eq!(parse(&file).unwrap().nodes[place].part, named);
    }
    // The file of a feature is called by its number, which a card of a damaged file may not have.
    let card = FeatureCard { feature: usize::MAX, site: "mlp_in.2".into(), ..FeatureCard::default() };
    assert!(features::feature_file(&card, "tiny").unwrap_err().message.contains("below 2^63"));
}

#[test]
fn a_layer_that_no_model_has_is_refused_with_its_node() {
    let whole = ours(&fixture("gpt2-relu", 1));
    let id = whole["nodes"][0]["node_id"].as_str().unwrap().to_string();
    for layer in [Value::from(1_000_000_000_u64), u64::MAX.into(), u64::MAX.to_string().into(), MOST_LAYERS.into()] {
        let mut file = whole.clone();
        file["nodes"][0]["layer"] = layer.clone();
        let error = parse(&file).unwrap_err().message;
        assert!(error.starts_with(&format!("{id}: expected a layer below 10000, found ")), "{layer}: {error}");
    }
}

pub fn strongest() -> Group {
    let text = HeatText {
        title: "here".into(),
        tokens: ["a", "b"].map(String::from).to_vec(),
        values: vec![0.0, 2.0],
        quantity: "code".into(),
    };
    Group { name: "strongest".into(), texts: vec![text] }
}

#[test]
fn the_file_of_a_feature_is_made_of_its_card() {
    let card =
        FeatureCard { feature: 10, site: "mlp_in.2".into(), contexts: vec![strongest()], ..FeatureCard::default() };
    let (number, file) = features::feature_file(&card, "tiny").unwrap();
    assert_eq!((number, file["index"].clone()), (88, 88.into()));
    assert_eq!(file["examples_quantiles"][0]["quantile_name"], "strongest");
    assert_eq!(file["examples_quantiles"][0]["examples"][0]["tokens_acts_list"], serde_json::json!([0.0, 2.0]));
    assert_eq!((file["act_max"].clone(), file["top_logits"].clone()), (2.0.into(), serde_json::json!([])));
    assert!(features::feature_file(&FeatureCard { site: "embed".into(), ..card }, "tiny").is_err());
}
