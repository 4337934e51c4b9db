//! Where models come from: a folder, one file of each kind, and saved models.

use std::path::Path;

use kit::far;
use serde_json::json;
use tempfile::TempDir;

use super::files::{fixture, floats};
use microtome::base::files::Files;
use microtome::base::{Result, Task};
use microtome::checkpoint::load::{LoadOptions, LoadSettings};
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::options::fields::ConfigFields;

/// The path of a fixture, as options have it.
fn named(name: &str) -> String {
    kit::fixture(name).display().to_string()
}

fn load_with(path: &Path, options: &LoadSettings) -> Result<Model> {
    let files = Files::unrecorded(&std::env::temp_dir()).unwrap();
    Model::load(&files, path.to_str().unwrap(), options, &Task::default())
}

fn load(path: &Path) -> Model {
    load_with(path, &LoadSettings::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(path: &Path) -> String {
    load_with(path, &LoadSettings::default()).unwrap_err().to_string()
}

fn logits(model: &Model, ids: &[u32]) -> Vec<f64> {
    let batch = Batch::new(vec![ids.to_vec()]).unwrap();
    floats(&model.decoder.logits(&batch, Vec::new(), &Task::default()).unwrap())
}

/// Files of GPT-2 in a folder of their own, each copied from a fixture.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in files {
        std::fs::copy(kit::fixture("models").join(from), folder.path().join(to)).unwrap();
    }
    folder
}

#[test]
fn a_folder_brings_its_tokenizer() {
    let here = folder(&[
        ("gpt2/config.json", "config.json"),
        ("gpt2/model.safetensors", "model.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
    ]);
    let model = load(here.path());
    let tokenizer = model.tokenizer.as_ref().unwrap();
    let tokens = tokenizer.encode("the keeper", None, &Task::default()).unwrap();
    assert_eq!(tokenizer.decode(&tokens.ids).unwrap(), "the keeper");
    // The config still has the token id of the large model, which does not exist here.
    assert_eq!((model.decoder.config().bos, tokenizer.bos()), (Some(50256), None));
    assert_eq!(model.origin, here.path().to_str().unwrap());
    assert!(load(&fixture("gpt2")).tokenizer.is_none());
    let options = LoadOptions { tokenizer: Some(named("models/tokenizer.json")), ..LoadOptions::default() }
        .onto(microtome::tensor::Device::Cpu);
    assert!(load_with(&fixture("gpt2"), &options).unwrap().tokenizer.is_some());
}

#[test]
fn weights_of_pytorch_are_those_of_safetensors() {
    let in_folder = folder(&[("gpt2/config.json", "config.json"), ("gpt2/pytorch_model.bin", "pytorch_model.bin")]);
    let single = folder(&[("gpt2/config.json", "config.json"), ("gpt2/pytorch_model.bin", "weights.pt")]);
    let exact = logits(&load(&fixture("gpt2")), &[5, 6, 7]);
    let a = load(in_folder.path());
    let b = load(&single.path().join("weights.pt"));
    assert_eq!(logits(&a, &[5, 6, 7]), logits(&b, &[5, 6, 7]));
    let off = far(&exact, logits(&a, &[5, 6, 7]));
    assert!(off > 0.0 && off < 0.05, "half precision is off by {off}");
}

#[test]
fn one_file_needs_its_config_beside_it_unless_it_says_it_itself() {
    let alone = folder(&[("gpt2/model.safetensors", "some.safetensors")]);
    let place = alone.path().join("some.safetensors");
    assert!(refused(&place).contains("no config.json beside it"));
    std::fs::copy(fixture("gpt2").join("config.json"), alone.path().join("config.json")).unwrap();
    assert_eq!(logits(&load(&place), &[1, 2]), logits(&load(&fixture("gpt2")), &[1, 2]));
    let stated = LoadOptions {
        config: ConfigFields(json!({"n_heads": 4}).as_object().unwrap().clone()),
        ..LoadOptions::default()
    }
    .onto(microtome::tensor::Device::Cpu);
    let error = load_with(&place, &stated).unwrap_err();
    assert!(error.message.contains("expected no `config`"), "{error}");
}

#[test]
fn the_llama_of_llama2c_loads_with_its_tokenizer() {
    let stories = kit::fixture("stories260K/stories260K.bin");
    let options = LoadOptions { tokenizer: Some(named("stories260K/tok512.bin")), ..LoadOptions::default() }
        .onto(microtome::tensor::Device::Cpu);
    let model = load_with(&stories, &options).unwrap();
    let tokens = model.tokenizer.as_ref().unwrap().encode("Once upon a time", Some(true), &Task::default()).unwrap();
    let logits = logits(&model, &tokens.ids);
    let last = &logits[logits.len() - 512..];
    let best = (0..512).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
    assert_eq!(model.tokenizer.unwrap().text_of(best as u32).unwrap(), ",");
    assert!(load(&stories).tokenizer.is_none());
}

#[test]
fn what_is_no_model_says_so() {
    let near = refused(&kit::fixture("models/gpt3"));
    assert!(near.contains("did you mean") && near.contains("gpt2"), "{near}");
    assert!(refused(Path::new("./nowhere")).contains("cannot read ./nowhere"));
    assert!(refused(&kit::fixture("models/tokenizer.json")).contains("expected the weights of a model"));
    let evil = refused(&kit::fixture("formats/pt/evil.pt"));
    assert!(evil.contains("evil.pt"), "{evil}");
    let vocabulary = refused(&kit::fixture("tokenizers/ggml-vocab-gpt-2.gguf"));
    assert!(vocabulary.contains("ggml-vocab-gpt-2.gguf"), "{vocabulary}");
}

#[test]
fn a_saved_model_is_the_same_when_it_is_loaded_again() {
    let out = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(out.path()).unwrap();
    let options = LoadOptions { tokenizer: Some(named("stories260K/tok512.bin")), ..LoadOptions::default() }
        .onto(microtome::tensor::Device::Cpu);
    let stories = load_with(&kit::fixture("stories260K/stories260K.bin"), &options).unwrap();
    for (name, model) in [("gpt_neox", load(&fixture("gpt_neox"))), ("stories", stories)] {
        let places = model.save(&files, Path::new(name), &Task::default()).unwrap();
        assert!(places.iter().all(|place| place.is_file()));
        let again = load(&out.path().join(name));
        assert_eq!(again.decoder.config(), model.decoder.config());
        assert_eq!(logits(&again, &[1, 2, 3]), logits(&model, &[1, 2, 3]));
        assert_eq!(again.tokenizer.is_some(), model.tokenizer.is_some());
    }
}
