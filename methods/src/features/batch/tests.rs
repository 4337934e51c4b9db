//! Tests that batch files have the numbers that SAEDashboard computed from the same model, dictionary and tokens, and
//! that they can be read back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use kit::far;
use serde_json::Value;

use super::*;
use crate::base::Task;
use crate::base::files::Files;
use crate::features::samples;
use crate::fixtures::loaded;
use crate::model::Model;
use crate::sae::Sae;
use crate::sae::load::LoadOptions;
use crate::tensor::DType;

fn folder() -> PathBuf {
    kit::fixture("dashboard")
}

fn fixture() -> (Model, Sae, Vec<Vec<u32>>, Batch) {
    let out = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(out.path()).unwrap();
    let place = folder().join("sae").display().to_string();
    let model = loaded("dashboard/model");
    let sae = Sae::load(&files, &place, &LoadOptions::default(), &Task::default()).unwrap();
    let tensors = kit::tensors("dashboard/tokens.safetensors");
    let rows = tensors["tokens"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
    let theirs = parse(&std::fs::read(folder().join("batch-0.json")).unwrap()).unwrap();
    (model, sae, rows, theirs)
}

fn options() -> BatchOptions {
    let model_id = Some("tiny-gpt2".to_string());
    BatchOptions {
        top: 6,
        intervals: 3,
        each: 3,
        logits: 5,
        model_id,
        sae_set: "tiny".into(),
        ..BatchOptions::default()
    }
}

fn ours(features: &[usize]) -> Vec<Batch> {
    let (model, sae, rows, _) = fixture();
    let mut found = Vec::new();
    let mut take = |batch| {
        found.push(batch);
        Ok(())
    };
    batches(&model, &sae, features, &rows, &options(), &mut take, &Task::default()).unwrap();
    found
}

/// Asserts that numbers agree to the digits to which the reference is rounded; ours come from other sums.
fn close(found: &[f64], expected: &[f64], digits: i32, what: &str) {
    let far = far(found, expected);
    assert!(far < 1.5 * 10_f64.powi(-digits), "{what}: {far}: {found:?} {expected:?}");
}

#[test]
fn the_numbers_are_those_of_sae_dashboard() {
    let (.., theirs) = fixture();
    let ours = ours(&[0, 5, 9]).remove(0);
    assert_eq!((&ours.model_id, ours.layer, &ours.sae_set), (&theirs.model_id, theirs.layer, &theirs.sae_set));
    assert_eq!(ours.features.len(), theirs.features.len());
    for (a, b) in ours.features.iter().zip(&theirs.features) {
        assert_eq!(a.feature_index, b.feature_index);
        assert_eq!((a.n_prompts_total, a.n_tokens_in_prompt), (b.n_prompts_total, b.n_tokens_in_prompt));
        assert_eq!(a.neuron_alignment_indices, b.neuron_alignment_indices);
        assert_eq!(a.correlated_neurons_indices, b.correlated_neurons_indices);
        assert_eq!(a.correlated_features_indices, b.correlated_features_indices);
        assert_eq!((&a.pos_str, &a.neg_str), (&b.pos_str, &b.neg_str));
        assert_eq!(a.freq_hist_data_bar_heights, b.freq_hist_data_bar_heights);
        assert_eq!(a.logits_hist_data_bar_heights, b.logits_hist_data_bar_heights);
        close(&[a.frac_nonzero], &[b.frac_nonzero], 5, "density");
        for (what, a, b) in [
            ("alignment", &a.neuron_alignment_values, &b.neuron_alignment_values),
            ("alignment, share", &a.neuron_alignment_l1, &b.neuron_alignment_l1),
            ("entries", &a.correlated_neurons_pearson, &b.correlated_neurons_pearson),
            ("entries, cosine", &a.correlated_neurons_l1, &b.correlated_neurons_l1),
            ("features", &a.correlated_features_pearson, &b.correlated_features_pearson),
            ("features, cosine", &a.correlated_features_l1, &b.correlated_features_l1),
            ("raised", &a.pos_values, &b.pos_values),
            ("lowered", &a.neg_values, &b.neg_values),
            ("codes", &a.freq_hist_data_bar_values, &b.freq_hist_data_bar_values),
            ("logits", &a.logits_hist_data_bar_values, &b.logits_hist_data_bar_values),
        ] {
            close(a, b, 3, what);
        }
        assert_eq!(a.activations.len(), b.activations.len());
        for (number, (a, b)) in a.activations.iter().zip(&b.activations).enumerate() {
            close(&[a.bin_min, a.bin_max], &[b.bin_min, b.bin_max], 3, "interval");
            close(&[a.bin_contains], &[b.bin_contains], 5, "share of the interval");
            // The strongest are no draws.
            if number < 6 {
                assert_eq!((&a.tokens, a.qualifying_token_index), (&b.tokens, b.qualifying_token_index));
                close(&a.values, &b.values, 3, "context");
            }
        }
    }
}

#[test]
fn drawn_contexts_are_of_their_interval_and_the_same_every_time() {
    let first = ours(&[0, 5, 9]);
    assert_eq!(first, ours(&[0, 5, 9]));
    for context in first[0].features.iter().flat_map(|feature| &feature.activations) {
        if let Ok(at) = usize::try_from(context.qualifying_token_index) {
            let code = context.values[at];
            assert!(code >= context.bin_min - 1e-3 && code <= context.bin_max + 1e-3, "{context:?}");
        }
    }
}

/// Notes the keys of an object, of its first elements, and the type of each value.
fn shape(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| shape(value, &format!("{path}.{key}"), found)),
        Value::Array(values) => values.iter().for_each(|value| shape(value, &format!("{path}[]"), found)),
        Value::String(_) => drop(found.insert(format!("{path} text"))),
        Value::Number(_) => drop(found.insert(format!("{path} number"))),
        other => drop(found.insert(format!("{path} {other}"))),
    }
}

#[test]
fn files_have_the_keys_of_the_published_format_in_its_order_and_come_back() {
    let ours = ours(&[0, 5, 9]).remove(0);
    let text = serde_json::to_string(&ours).unwrap();
    assert_eq!(parse(text.as_bytes()).unwrap(), ours);
    let theirs = std::fs::read_to_string(folder().join("batch-0.json")).unwrap();
    let [ours, theirs] = [&text, &theirs].map(|text| serde_json::from_str::<Value>(text).unwrap());
    let [mut found, mut expected] = [BTreeSet::new(), BTreeSet::new()];
    shape(&ours, "", &mut found);
    shape(&theirs, "", &mut expected);
    assert_eq!(found, expected);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&theirs));
    assert_eq!(keys(&ours["features"][0]), keys(&theirs["features"][0]));
    assert_eq!(keys(&ours["features"][0]["activations"][0]), keys(&theirs["features"][0]["activations"][0]));
}

#[test]
fn cards_of_a_file_show_what_is_in_it() {
    let (.., theirs) = fixture();
    let cards = cards(&theirs);
    let card = &cards[1];
    let feature = &theirs.features[1];
    assert_eq!((card.feature, card.contexts.len()), (5, 4));
    let text = feature.activations[0].tokens.concat().replace('Ġ', " ");
    assert_eq!(card.contexts[0].texts[0].tokens.concat(), text);
    assert_eq!(card.contexts.iter().map(|group| group.texts.len()).collect::<Vec<_>>(), [6, 3, 3, 3]);
    let histogram = card.facts.histogram.as_ref().unwrap();
    assert_eq!(histogram.edges.len(), histogram.counts.len() + 1);
    assert_eq!(card.tables[0].rows[0][0], "n".into());
    // Files of earlier versions lack some keys.
    let mut older: Value = serde_json::from_slice(&std::fs::read(folder().join("batch-0.json")).unwrap()).unwrap();
    for key in ["vector", "dataset"] {
        older["features"][0].as_object_mut().unwrap().remove(key);
    }
    older["features"][0]["activations"][0].as_object_mut().unwrap().remove("qualifying_token_index");
    assert_eq!(parse(older.to_string().as_bytes()).unwrap().features[0].activations[0].qualifying_token_index, -1);
}

#[test]
fn what_is_no_batch_is_refused() {
    assert!(parse(b"{\"features\": 3}").unwrap_err().message.starts_with("expected a batch of SAEDashboard"));
    let mut file: Value = serde_json::from_slice(&std::fs::read(folder().join("batch-0.json")).unwrap()).unwrap();
    file["features"][2]["activations"][1]["values"] = serde_json::json!([1.0]);
    let error = parse(file.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.message, "feature 9: expected as many values as tokens in each of `activations`");
}

#[test]
fn features_that_are_never_active_and_many_features_are_written() {
    let model = samples::model();
    let sae = samples::dictionary("resid_post.1", 1);
    let rows = vec![vec![1, 2, 3], vec![4]];
    let all: Vec<usize> = (0..24).collect();
    let mut found = Vec::new();
    let mut take = |batch: Batch| {
        found.extend(batch.features);
        Ok(())
    };
    batches(&model, &sae, &all, &rows, &options(), &mut take, &Task::default()).unwrap();
    assert_eq!(found.iter().map(|feature| feature.feature_index).collect::<Vec<_>>(), all);
    let silent: Vec<&BatchFeature> = found.iter().filter(|feature| feature.frac_nonzero == 0.0).collect();
    assert!(!silent.is_empty() && silent.len() < 24);
    for feature in silent {
        assert!(feature.freq_hist_data_bar_values.is_empty());
        assert!(feature.correlated_neurons_pearson.iter().all(|number| *number == 0.0));
        assert!(!serde_json::to_string(feature).unwrap().contains("null"));
    }
}
