//! Broken model folders: each error names what is wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::files::{config_json, files, fixture, tensors, write};
use microtome::base::task::{Bar, Progress};
use microtome::base::{Error, Kind, Task};
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::tensor::{DType, Device, Tensor};

const WEIGHTS: &str = "model.safetensors";

/// A folder with the files of a family, changed.
fn broken(
    family: &str,
    config: impl FnOnce(&mut Value),
    weights: impl FnOnce(&mut BTreeMap<String, Tensor>),
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut json = config_json(family);
    config(&mut json);
    std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let mut all = tensors(&fixture(family).join(WEIGHTS));
    weights(&mut all);
    write(&folder.path().join(WEIGHTS), all);
    folder
}

fn refused(folder: &Path) -> Error {
    load::folder(&files(), folder, &LoadSettings::default(), &Task::default()).unwrap_err()
}

/// The message and hint of the error of loading a folder.
fn complaint(folder: &TempDir) -> String {
    refused(folder.path()).to_string()
}

fn complaint_about_weights(family: &str, weights: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    complaint(&broken(family, |_| {}, weights))
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn half_a_folder_says_what_is_missing() {
    let folder = broken("llama", |_| {}, |_| {});
    std::fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
    assert!(complaint(&folder).contains("has a config.json and no weights"));
    std::fs::copy(fixture("llama").join(WEIGHTS), folder.path().join("part.safetensors")).unwrap();
    assert!(complaint(&folder).contains("1 files of safetensors, and no model.safetensors.index.json"));
    let folder = broken("llama", |_| {}, |_| {});
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(complaint(&folder).contains("has weights (model.safetensors) and no config.json"));
    assert!(complaint(&tempfile::tempdir().unwrap()).contains("found neither in"));
}

#[test]
fn tensors_missing_extra_or_of_the_wrong_kind_are_named() {
    let up = "model.layers.1.mlp.up_proj.weight";
    let missing = complaint_about_weights("llama", |all| drop(all.remove(up)));
    assert!(missing.contains(&format!("expected a tensor `{up}`, found none")), "{missing}");
    assert!(missing.contains("our `blocks.1.mlp.up.weight`"), "{missing}");
    let misspelt = complaint_about_weights("llama", |all| {
        let found = all.remove(up).unwrap();
        all.insert("model.layers.1.mlp.upp_proj.weight".into(), found);
    });
    assert!(misspelt.contains("the file has `model.layers.1.mlp.upp_proj.weight`"), "{misspelt}");
    let several = complaint_about_weights("llama", |all| all.retain(|name, _| !name.contains("layers.2.mlp")));
    assert!(several.contains("and 2 more are missing"), "{several}");

    let extra = complaint_about_weights("llama", |all| drop(all.insert("score.weight".into(), zeros(&[2, 32]))));
    assert!(extra.contains("found tensor that is not known here: `score.weight`"), "{extra}");
    let layers = complaint(&broken("llama", |config| config["num_hidden_layers"] = json!(2), |_| {}));
    assert!(
        layers.contains("found 9 tensors that are not known here: `model.layers.2.input_layernorm.weight`"),
        "{layers}"
    );

    let shape = complaint_about_weights("gpt2", |all| {
        let name = "transformer.h.0.attn.c_attn.weight";
        all.insert(name.into(), all[name].t().unwrap().contiguous().unwrap());
    });
    assert!(shape.contains("`transformer.h.0.attn.c_attn.weight`: expected shape [32, 96], found [96, 32]"), "{shape}");
    assert!(shape.contains("our `blocks.0.attn.q.weight`"), "{shape}");

    let whole = complaint_about_weights("llama", |all| {
        let ints = all["model.norm.weight"].to_dtype(DType::I64).unwrap();
        all.insert("model.norm.weight".into(), ints);
    });
    assert!(whole.contains("expected floats in tensor `model.norm.weight`, found i64"), "{whole}");
}

#[test]
fn an_unembedding_beside_a_tied_embedding_has_to_be_that() {
    let tied = |unembed: fn(&Tensor) -> Tensor| {
        broken(
            "gpt2",
            |_| {},
            |all| {
                let embed = unembed(&all["transformer.wte.weight"]);
                all.insert("lm_head.weight".into(), embed);
            },
        )
    };
    let same = tied(Tensor::clone);
    assert!(load::folder(&files(), same.path(), &LoadSettings::default(), &Task::default()).is_ok());
    for other in [(|embed| (embed * 1.5).unwrap()) as fn(&Tensor) -> Tensor, |embed| embed.narrow(0, 0, 3).unwrap()] {
        let message = complaint(&tied(other));
        assert!(message.contains("`lm_head.weight` is not the embedding"), "{message}");
        assert!(message.contains("tie_word_embeddings"), "{message}");
    }
}

#[test]
fn headers_that_are_cut_short_or_lie_are_refused() {
    let folder = broken("llama", |_| {}, |_| {});
    let place = folder.path().join(WEIGHTS);
    let good = std::fs::read(&place).unwrap();
    let with = |bytes: &[u8]| {
        std::fs::write(&place, bytes).unwrap();
        refused(folder.path())
    };
    for length in [0, 7, 100, good.len() - 1] {
        let error = with(&good[..length]);
        assert!(matches!(error.kind, Kind::Format | Kind::File), "{error}");
        assert!(error.message.contains(WEIGHTS), "{error}");
    }
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(with(&huge).message.contains("header of 18446744073709551615 bytes"));
    let text = String::from_utf8_lossy(&good).replacen("\"data_offsets\":[0,", "\"data_offsets\":[8,", 1);
    let start = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let lying = [&good[..8], &text.as_bytes()[text.find('{').unwrap()..][..start - 8], &good[start..]].concat();
    assert!(with(&lying).message.contains("expected"), "the offsets do not fit the shape");
}

#[test]
fn an_index_that_lies_is_refused() {
    let folder = broken("llama", |_| {}, |_| {});
    std::fs::rename(folder.path().join(WEIGHTS), folder.path().join("a.safetensors")).unwrap();
    let names: Vec<String> = tensors(&folder.path().join("a.safetensors")).into_keys().collect();
    let with = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut map = names.iter().map(|name| (name.clone(), "a.safetensors".to_string())).collect();
        change(&mut map);
        let index = json!({"weight_map": map});
        std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        load::folder(&files(), folder.path(), &LoadSettings::default(), &Task::default()).map_err(|e| e.to_string())
    };
    assert!(with(&|_| {}).is_ok());
    let put =
        |name: &'static str, file: &'static str| with(&|map| drop(map.insert(name.into(), file.into()))).unwrap_err();
    assert!(put("model.norm.weight", "../a.safetensors").contains("lists `../a.safetensors`"));
    assert!(put("model.norm.weight", "/etc/passwd").contains("lists `/etc/passwd`"));
    assert!(put("model.norm.weight", "b.safetensors").contains("did you mean"));
    assert!(put("another.weight", "a.safetensors").contains("`another.weight` is in a.safetensors, and it is not"));
    assert!(
        with(&|map| drop(map.remove("model.norm.weight"))).unwrap_err().contains("does not list tensor `model.norm")
    );
    std::fs::copy(folder.path().join("a.safetensors"), folder.path().join("b.safetensors")).unwrap();
    assert!(put("model.norm.weight", "b.safetensors").contains("is in two files"));
}

#[test]
fn configs_that_are_not_understood_name_the_file_and_the_key() {
    let unknown = complaint(&broken("llama", |config| config["model_type"] = json!("lama"), |_| {}));
    assert!(unknown.contains("config.json: the family `lama`"), "{unknown}");
    assert!(unknown.contains("did you mean `llama`?"), "{unknown}");
    let key = complaint(&broken("llama", |config| config["residual_multiplier"] = json!(0.2), |_| {}));
    assert!(key.contains("config.json: the config key `residual_multiplier` (0.2) is not known here"), "{key}");
    let folder = broken("llama", |_| {}, |_| {});
    std::fs::write(folder.path().join("config.json"), "{\"model_type\": ").unwrap();
    assert!(complaint(&folder).contains("config.json: expected JSON"));
    let huge = complaint(&broken("llama", |config| config["num_hidden_layers"] = json!(u64::MAX), |_| {}));
    assert!(huge.contains("`layers` between"), "{huge}");
}

/// Interrupts the task as soon as the first weight is loaded.
struct FirstWeightInterrupt(Arc<AtomicBool>, Arc<AtomicUsize>);

impl Progress for FirstWeightInterrupt {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        assert!(label.starts_with("loading ") && total.is_some());
        Box::new(FirstWeightInterrupt(self.0.clone(), self.1.clone()))
    }

    fn say(&self, _line: &str) {}
}

impl Bar for FirstWeightInterrupt {
    fn advance(&self, _by: u64) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.store(true, Ordering::Relaxed);
    }

    fn note(&self, _text: &str) {}
}

#[test]
fn an_interruption_ends_the_loading_in_its_middle() {
    let flag = Arc::new(AtomicBool::new(false));
    let weights = Arc::new(AtomicUsize::new(0));
    let task = Task::new(flag.clone(), Arc::new(FirstWeightInterrupt(flag, weights.clone())));
    let error = load::folder(&files(), &fixture("llama"), &LoadSettings::default(), &task).unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    assert_eq!(weights.load(Ordering::Relaxed), 1);
}
