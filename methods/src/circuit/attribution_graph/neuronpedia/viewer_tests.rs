//! Tests that files follow the published schema, and have what the viewer of circuit-tracer reads.

use super::tests::{ours, strongest};
use super::*;
use crate::base::Card;
use crate::base::results::Histogram;
use crate::circuit::attribution_graph::tests::{all, fixture};
use crate::circuit::attribution_graph::{PruneOptions, TargetName};
use crate::features::FeatureCard;

/// The fields of an object, their types, and whether they are required: as in the published schema, and for fields that
/// only the viewer reads as it uses them.
type Fields = &'static [(&'static str, &'static [&'static str], bool)];

const METADATA: Fields = &[
    ("slug", &["text"], true),
    ("scan", &["text"], true),
    ("prompt", &["text"], true),
    ("prompt_tokens", &["texts"], true),
    ("node_threshold", &["number"], false),
    ("transcoder_list", &["texts"], false),
    ("schema_version", &["integer"], false),
];

const STATE: Fields = &[
    ("pinnedIds", &["texts"], true),
    ("supernodes", &["list"], true),
    ("linkType", &["text"], true),
    ("clickedId", &["text"], true),
    ("sg_pos", &["text"], true),
];

const NODE: Fields = &[
    ("node_id", &["text"], true),
    ("feature", &["integer", "null"], true),
    ("layer", &["text", "integer"], true),
    ("ctx_idx", &["integer"], true),
    ("feature_type", &["text"], true),
    ("jsNodeId", &["text"], true),
    ("clerp", &["text"], true),
    ("influence", &["number", "null"], true),
    ("activation", &["number", "null"], true),
    ("token_prob", &["number"], true),
    ("is_target_logit", &["flag"], true),
    ("run_idx", &["integer"], true),
    ("reverse_ctx_idx", &["integer"], true),
];

const LINK: Fields = &[("source", &["text"], true), ("target", &["text"], true), ("weight", &["number"], true)];

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "text" => value.is_string(),
        "texts" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "list" => value.is_array(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "flag" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

/// Asserts that every field of an object is in the list, and of its type.
#[track_caller]
fn conforms(object: &Value, fields: Fields) {
    for (name, value) in object.as_object().unwrap() {
        let (_, kinds, _) = fields.iter().find(|(known, ..)| known == name).expect(name);
        assert!(kinds.iter().any(|kind| is(value, kind)), "{name}: {value} is none of {kinds:?}");
    }
    for (name, ..) in fields.iter().filter(|(.., needed)| *needed) {
        assert!(object.get(*name).is_some(), "{name} of {object}");
    }
}

/// Builds a graph with what the schema leaves open: custom targets, and a group.
fn with_group() -> (AttributionGraph, Graph) {
    let mut fixture = fixture("llama-clt-jumprelu", 0);
    let token = |id: i64| crate::tokenizer::tokens::TokenName::Id(id);
    let direction = TargetName::Direction(vec![0.5; 24]);
    fixture.options.targets = vec![TargetName::Difference(token(4), token(9)), direction];
    let graph = fixture.graph();
    let mut circuit = graph.circuit(PruneOptions::default());
    circuit.supernodes = vec![Supernode { name: "both".into(), nodes: vec![0, 1] }];
    (graph, circuit)
}

#[test]
fn a_file_is_as_the_published_schema_says() {
    let (graph, circuit) = with_group();
    let mut unpruned = circuit.clone();
    unpruned.made.clear();
    let more = [&circuit, &unpruned].map(|circuit| graph.neuronpedia(circuit, "x").unwrap());
    for file in all().map(|fixture| ours(&fixture)).chain(more) {
        conforms(&file["metadata"], METADATA);
        conforms(&file["qParams"], STATE);
        file["nodes"].as_array().unwrap().iter().for_each(|node| conforms(node, NODE));
        file["links"].as_array().unwrap().iter().for_each(|link| conforms(link, LINK));
        assert_eq!(file.as_object().unwrap().len(), 4);
    }
}

/// Tests what the viewer of circuit-tracer makes of the fields, as found in its scripts.
#[test]
fn the_viewer_finds_what_it_reads() {
    let (graph, circuit) = with_group();
    let file = graph.neuronpedia(&circuit, "x").unwrap();
    for file in all().map(|fixture| ours(&fixture)).chain([file]) {
        let tokens = file["metadata"]["prompt_tokens"].as_array().unwrap().len();
        let mut ids = BTreeSet::new();
        for node in file["nodes"].as_array().unwrap() {
            let text = |key: &str| node[key].as_str().unwrap();
            // What follows the text of a logit is its probability.
            if text("feature_type") == LOGIT {
                let (label, chance) = text("clerp").rsplit_once(" (p=").unwrap();
                assert!(
                    label.starts_with("Output \"") && chance.trim_end_matches(')').parse::<f64>().is_ok(),
                    "{node}"
                );
            }
            // Layers are rows by their number, but for that of tokens; positions are columns.
            assert_eq!(text("feature_type") == EMBEDDING, text("layer").parse::<usize>().is_err(), "{node}");
            assert!(node["ctx_idx"].as_u64().unwrap() < tokens as u64);
            // Features are called by the pair that their number stands for.
            if text("feature_type") == FEATURE {
                let (layer, feature) = uncantor(node["feature"].as_u64().unwrap()).unwrap();
                assert_eq!(text("node_id"), format!("{layer}_{feature}_{}", node["ctx_idx"]));
                assert!(node["activation"].is_number());
            }
            assert!(ids.insert(text("node_id").to_string()), "{node}");
        }
        for link in file["links"].as_array().unwrap() {
            assert!(ids.contains(link["source"].as_str().unwrap()) && ids.contains(link["target"].as_str().unwrap()));
        }
        // The members of a group are drawn only where they are pinned.
        let pinned: BTreeSet<&str> =
            file["qParams"]["pinnedIds"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for group in file["qParams"]["supernodes"].as_array().unwrap() {
            let members = &group.as_array().unwrap()[1..];
            assert!(members.len() > 1 && members.iter().all(|id| pinned.contains(id.as_str().unwrap())));
        }
    }
}

#[test]
fn a_folder_for_the_viewer_has_a_file_for_each_feature() {
    let (graph, circuit) = with_group();
    let with = circuit.nodes.iter().find(|node| node.feature().is_some()).unwrap();
    let card = FeatureCard {
        feature: with.feature().unwrap(),
        site: with.site.clone(),
        contexts: vec![strongest()],
        facts: Card {
            fields: vec![("density".into(), 0.25.into())],
            histogram: Some(Histogram { edges: vec![0.0, 1.0, 2.0], counts: vec![3, 1] }),
            ..Card::default()
        },
        ..FeatureCard::default()
    };
    let files = graph.viewer(&circuit, &[card]).unwrap();
    let list = &files["graph-metadata.json"]["graphs"];
    let file = &files["graph.json"];
    assert_eq!(list.as_array().unwrap().as_slice(), [file["metadata"].clone()]);
    // It is served as `./data`, and called by what the list says.
    assert_eq!((list[0]["slug"].as_str(), list[0]["scan"].as_str()), (Some("graph"), Some("./data/features")));
    let mut found = BTreeSet::new();
    for node in file["nodes"].as_array().unwrap().iter().filter(|node| node["feature_type"] == FEATURE) {
        let one = &files[&format!("features/{}.json", node["feature"])];
        found.insert(node["feature"].as_u64().unwrap());
        assert_eq!(one["index"], node["feature"]);
        assert!(["examples_quantiles", "top_logits", "bottom_logits"].iter().all(|key| one[*key].is_array()));
        // The card has no logits, either.
        assert_eq!(one["top_logits"], serde_json::json!(["unknown"]));
        let is_known = node["feature"].as_i64() == cantor(with.level - 1, with.feature().unwrap()).ok();
        for key in ["histogram", "quantile_values", "activation_frequency", "act_max"] {
            assert_eq!(one.get(key).is_some(), is_known, "{key} of {one}");
        }
    }
    assert_eq!(files.len(), 2 + found.len());
    let one = &files[&format!("features/{}.json", cantor(with.level - 1, with.feature().unwrap()).unwrap())];
    let example = &one["examples_quantiles"][0]["examples"][0];
    assert_eq!(example["tokens"].as_array().unwrap().len(), example["tokens_acts_list"].as_array().unwrap().len());
    assert_eq!((example["train_token_ind"].clone(), one["activation_frequency"].clone()), (1.into(), 0.25.into()));
    // Of the activations 75 % are in the first bin, up to 1.
    let hundredths = one["quantile_values"].as_array().unwrap();
    assert_eq!((hundredths.len(), hundredths[74].as_f64(), hundredths[75].as_f64()), (100, Some(1.0), Some(2.0)));
    assert_eq!((one["act_max"].as_f64(), one["histogram"].clone()), (Some(2.0), serde_json::json!([3, 1])));
    let other = FeatureCard { site: "embed".into(), ..FeatureCard::default() };
    assert_eq!(graph.viewer(&circuit, &[other]).unwrap_err().about.as_deref(), Some("cards"));
}
