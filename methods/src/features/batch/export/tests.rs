//! Tests that exports have the keys of Neuronpedia's tables, come back, and are read as Neuronpedia writes them.

use std::io::Read;

use super::*;
use crate::features::batch::{Batch, BatchOptions, batches};
use crate::features::samples;

fn names() -> ExportNames {
    ExportNames { model_id: "sample".into(), set: "set".into(), layer: 1, creator: CREATOR.into() }
}

/// Returns the batch of some features of a small dictionary.
fn batch() -> Batch {
    let rows = vec![vec![1, 2, 3, 4], vec![4, 26, 9, 27]];
    let options = BatchOptions { top: 3, intervals: 2, each: 1, logits: 3, ..BatchOptions::default() };
    let mut found = Vec::new();
    let mut take = |batch| {
        found.push(batch);
        Ok(())
    };
    let sae = samples::dictionary("resid_post.1", 1);
    batches(&samples::model(), &sae, &[0, 5, 17], &rows, &options, &mut take, &Task::default()).unwrap();
    found.remove(0)
}

/// Writes files below a folder.
fn written(folder: &Path, made: Vec<(PathBuf, Vec<u8>)>) {
    for (name, content) in made {
        kit::write(folder.join(name), content);
    }
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let batch = batch();
    let made = names().files(&batch, 0, "blocks.1.hook_resid_post").unwrap();
    let paths: Vec<_> = made.iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(paths, ["sample/1-set/features/batch-0.jsonl.gz", "sample/1-set/activations/batch-0.jsonl.gz"]);
    // The same each time, so that nothing is taken twice.
    assert_eq!(made, names().files(&batch, 0, "blocks.1.hook_resid_post").unwrap());
    written(folder.path(), made);
    let explained = |feature: usize, text: &str, by: Option<&str>| ExportedExplanation {
        feature,
        text: text.into(),
        by: by.map(String::from),
        method: by.map(|_| "pairs".into()),
    };
    let said =
        [explained(5, "a letter", Some("a model")), explained(5, "a letter", None), explained(9, "another", None)];
    let made = names().explained(&said, 0).unwrap();
    written(folder.path(), vec![made]);
    let source = folder.path().join(names().folder());
    let export = Export::load(&files, &source, None, &Task::default()).unwrap();
    assert_eq!(format!("{} {}-{}", export.batch.model_id, export.batch.layer, export.batch.sae_set), "sample 1-set");
    for (found, given) in export.batch.features.iter().zip(&batch.features) {
        assert_eq!((found.feature_index, &found.pos_str), (given.feature_index, &given.pos_str));
        assert_eq!(found.freq_hist_data_bar_heights, given.freq_hist_data_bar_heights);
        let mut expected = given.activations.clone();
        expected.sort_by(|a, b| (b.bin_min == -1.0, b.bin_min).partial_cmp(&(a.bin_min == -1.0, a.bin_min)).unwrap());
        assert_eq!(found.activations, expected);
    }
    assert_eq!(export.explanations[&5], ["a letter", "a letter"]);
    let table = explanations(&files, &source, "resid_post.1", &Task::default()).unwrap();
    let row = |feature: &str, text: &str, by: Cell, method: Cell| vec![feature.into(), text.into(), by, method];
    let expected = [
        row("resid_post.1/5", "a letter", "a model".into(), "pairs".into()),
        row("resid_post.1/5", "a letter", Cell::Missing, Cell::Missing),
        row("resid_post.1/9", "another", Cell::Missing, Cell::Missing),
    ];
    assert_eq!(table.rows, expected);
    // The same words of two models are two explanations.
    let mut text = String::new();
    let packed = std::fs::File::open(source.join("explanations/batch-0.jsonl.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string();
    assert_eq!(text.lines().map(id).collect::<BTreeSet<_>>().len(), 3);
    let chosen = Export::load(&files, &source, Some(&[17].into()), &Task::default()).unwrap();
    assert_eq!(chosen.batch.features, [export.batch.features[2].clone()]);
    let facts = ExportFacts { layers: 2, dimension: 16, text: "text".into(), ..ExportFacts::default() };
    let about = names().about(&facts);
    assert_eq!(about.len(), 3);
    let source: serde_json::Value = serde_json::from_slice(&about[2].1).unwrap();
    assert_eq!(json!([source["id"], source["setName"], source["dataset"]]), json!(["1-set", "set", "text"]));
}

#[test]
fn an_export_of_neuronpedia_is_read_by_feature_whatever_file_it_is_in() {
    let folder = kit::fixture("neuronpedia/0-set");
    let files = Files::unrecorded(tempfile::tempdir().unwrap().path()).unwrap();
    let export = Export::load(&files, &folder, None, &Task::default()).unwrap();
    let features: Vec<usize> = export.batch.features.iter().map(|feature| feature.feature_index).collect();
    assert_eq!(features, [0, 3, 10]);
    let largest = |at: usize| export.batch.features[at].activations.iter().map(|context| context.values[1]);
    // The strongest come first, then the intervals from the highest on.
    assert_eq!(largest(1).collect::<Vec<_>>(), [5.5, 0.0, 0.5]);
    assert_eq!(export.batch.features[2].activations[0].qualifying_token_index, 2);
    let cards = export.cards();
    let said = |at: usize| cards[at].facts.fields.iter().filter(|(name, _)| name == "explanation").count();
    assert_eq!([said(0), said(1), said(2)], [0, 2, 1]);
    let table = explanations(&files, &folder, "resid_pre.0", &Task::default()).unwrap();
    assert_eq!(table.columns, ["feature", "description", "by", "method"]);
    assert_eq!(table.rows[0][..2], [Cell::from("resid_pre.0/3"), Cell::from("names of animals")]);
    assert_eq!(table.rows[1][2], Cell::Missing);
}

#[test]
fn what_memory_does_not_hold_is_refused_and_some_features_of_it_are_read() {
    let folder = kit::fixture("neuronpedia/0-set");
    let files = Files::unrecorded(tempfile::tempdir().unwrap().path()).unwrap();
    let load = |free: u64, wanted: Option<&BTreeSet<usize>>| {
        Export::load_within(free, &files, &folder, wanted, &Task::default())
    };
    let whole = load(u64::MAX, None).unwrap();
    // As much as is needed is found by halving.
    let needed = |wanted: Option<&BTreeSet<usize>>| {
        let free: Vec<u64> = (0..40).map(|power| 1 << power).collect();
        free[free.partition_point(|free| load(*free, wanted).is_err())]
    };
    let wanted = BTreeSet::from([10]);
    let all = needed(None);
    assert!(needed(Some(&wanted)) < all && all > 1 << 12, "{all}");
    assert_eq!(load(all, None).unwrap(), whole);
    let error = load(all / 2, None).unwrap_err();
    assert_eq!(error.kind, Kind::Memory);
    assert!(error.message.starts_with("what is kept of this export needs "), "{error}");
    assert!(error.hint.unwrap().contains("#{ features: [12, 40] }"));
}

#[test]
fn what_is_no_export_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let load = || Export::load(&files, folder.path(), None, &Task::default()).unwrap_err().message;
    assert!(load().starts_with("expected files of features in "), "{}", load());
    let place = folder.path().join("features");
    std::fs::create_dir(&place).unwrap();
    for (text, words) in [
        ("{\"index\": \"3\"}\nnothing\n", "batch-0.jsonl:2: expected a line of an export"),
        ("{\"layer\": \"1-a\"}\n", "batch-0.jsonl:1: expected the `index` of a feature, found none"),
        ("{\"index\": -1}\n", "expected the `index` of a feature, found -1"),
        ("\n{\"index\": 1, \"pos_str\": 3}\n", "batch-0.jsonl:2: expected other fields"),
        ("{\"index\": 1, \"freq_hist_data_bar_values\": [1]}\n", "as many heights as values of the histogram"),
    ] {
        std::fs::write(place.join("batch-0.jsonl"), text).unwrap();
        assert!(load().contains(words), "{}", load());
    }
    std::fs::write(place.join("batch-0.jsonl"), vec![b' '; (1 << 24) + 1]).unwrap();
    assert!(load().contains("batch-0.jsonl:1: expected a line of at most 16777216 bytes"), "{}", load());
    std::fs::write(place.join("batch-0.jsonl"), "{\"index\": 1}\n").unwrap();
    std::fs::write(place.join("batch-1.jsonl.gz"), b"\x1f\x8b\x08cut").unwrap();
    assert!(load().contains("batch-1.jsonl.gz cannot be read to its end"), "{}", load());
    for wrong in ["", "..", "org/name", "a b"] {
        let error = ExportNames { model_id: wrong.into(), ..names() }.check().unwrap_err();
        assert_eq!(error.about.as_deref(), Some("model_id"));
    }
}
