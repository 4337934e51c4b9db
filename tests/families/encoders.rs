//! Encoders: texts beside longer ones, gradients at sites, files of other classes and of older programs, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use kit::far;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::config::Predicts;
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, select};
use microtome::tensor::{DType, Device, Tensor};

use super::checks::{checked_gradients, decoder, text};
use super::files::{ENCODERS, config_json, expected, files, fixture, ids, load, tensors, write};

fn batch(family: &str) -> Batch {
    Batch::new(ids(&expected(family)["input_ids"])).unwrap()
}

#[test]
fn a_text_beside_a_longer_one_is_that_of_transformers() {
    for family in ENCODERS {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let expected = expected(family);
        let mut rows = batch(family).rows().to_vec();
        rows[1].truncate(9);
        let texts = Batch::new(rows).unwrap();
        let places = select(decoder.config(), "transform_in").unwrap();
        let run = decoder.run(&texts, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
        let short = |x: &Tensor| x.narrow(0, 1, 1).unwrap().narrow(1, 0, 9).unwrap();
        assert!(far(short(&run.logits), &expected["short.logits"]) < 1e-4, "{family}");
        let last = run.cache.get("transform_in").unwrap();
        assert!(far(short(&last), &expected["short.transform_in"]) < 1e-4, "{family}");
    }
}

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in ["bert", "modernbert"] {
        let names = ["embed", "resid_mid.0", "pattern.0", "scores.1", "z.1", "mlp_hidden.0", "transform_in"];
        checked_gradients(&decoder(family, DType::F64), &text(family)[..7], 1..3, names, 1e-5);
    }
}

#[test]
fn queries_see_both_sides_within_the_window_of_their_layer() {
    let decoder = load(&files(), &fixture("modernbert"), &LoadSettings::default());
    assert_eq!(decoder.config().windows, [None, Some(4), Some(4)]);
    let places = select(decoder.config(), "pattern.*").unwrap();
    let cache = decoder.cache(&batch("modernbert"), Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    for (layer, reach) in [(0, 24), (1, 3), (2, 3)] {
        let pattern = cache.get(&format!("pattern.{layer}")).unwrap().get(0).unwrap().get(0).unwrap();
        for (query, row) in pattern.to_vec2::<f32>().unwrap().into_iter().enumerate() {
            for (key, share) in row.into_iter().enumerate() {
                assert_eq!(share > 0.0, query.abs_diff(key) <= reach, "layer {layer}: {query} and {key}");
            }
        }
    }
}

/// Writes a folder of the fixture's config and tensors, changed.
fn write_folder(
    place: &Path,
    family: &str,
    config: impl FnOnce(&mut serde_json::Value),
    change: impl FnOnce(BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor>,
) {
    let mut json = config_json(family);
    config(&mut json);
    std::fs::write(place.join("config.json"), json.to_string()).unwrap();
    write(&place.join("model.safetensors"), change(tensors(&fixture(family).join("model.safetensors"))));
}

#[test]
fn a_file_without_a_head_has_hidden_states_and_no_logits() {
    for (family, class, last, head) in [
        ("bert", "BertModel", "resid_post.1", vec!["cls."]),
        ("modernbert", "ModernBertModel", "final_norm", vec!["head.", "decoder."]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let pooler = [("pooler.dense.weight", zeros(&[32, 32])), ("pooler.dense.bias", zeros(&[32]))];
        write_folder(
            folder.path(),
            family,
            |json| json["architectures"] = serde_json::json!([class]),
            |all| {
                let kept = all.into_iter().filter(|(name, _)| !head.iter().any(|part| name.starts_with(part)));
                let bare = |name: &str| name.trim_start_matches("bert.").trim_start_matches("model.").to_string();
                let kept = kept.map(|(name, x)| (bare(&name), x));
                let more = pooler.map(|(name, x)| (name.to_string(), x)).into_iter().filter(|_| family == "bert");
                kept.chain(more).collect()
            },
        );
        let decoder = load(&files(), folder.path(), &LoadSettings::default());
        assert_eq!(decoder.config().predicts, Predicts::Nothing);
        let all = Site::all(decoder.config()).into_iter().map(|site| Place { site, head: None }).collect();
        let cache = decoder.cache(&batch(family), Ask { places: all, ..Ask::default() }, &Task::default()).unwrap();
        let expected = expected(family);
        assert!(far(cache.get(last).unwrap(), &expected["transform_in"]) < 1e-5, "{family}");
        assert!(far(cache.get("resid_pre.1").unwrap(), &expected["hidden.1"]) < 1e-5, "{family}");
        let error = decoder.logits(&batch(family), Vec::new(), &Task::default()).unwrap_err();
        assert!(error.message.contains("has no unembedding"), "{error}");
        assert!(select(decoder.config(), "logits").is_err());
    }
}

#[test]
fn norms_are_found_by_the_names_of_files_that_came_from_tensorflow() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(
        folder.path(),
        "bert",
        |_| {},
        |all| {
            let early = |name: String| {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            };
            all.into_iter().map(|(name, x)| (early(name), x)).collect()
        },
    );
    let decoder = load(&files(), folder.path(), &LoadSettings::default());
    let logits = decoder.logits(&batch("bert"), Vec::new(), &Task::default()).unwrap();
    assert!(far(&logits, &expected("bert")["logits"]) < 1e-4);
}
