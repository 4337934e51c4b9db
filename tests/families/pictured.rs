//! Checkpoints with parts for pictures and sounds: the text part computes what the whole computes of a text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::{far, fixture};
use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::tensor::{DType, Device, Tensor};

use super::files::{files, ids, load, tensors, write};
use super::streams;

/// Their text parts are in the layout before transformers 5, and in that of today.
const WHOLES: [(&str, &str); 3] = [("gemma3", "gemma3_text"), ("gemma4", "gemma4_text"), ("qwen3_5", "qwen3_5_text")];

fn whole(family: &str) -> PathBuf {
    fixture("pictured").join(family)
}

#[test]
fn texts_are_read_as_by_the_whole() {
    for (family, of_text) in WHOLES {
        let decoder = load(&files(), &whole(family), &LoadSettings::default());
        assert_eq!(decoder.config().family, of_text);
        let expected = tensors(&whole(family).join("expected.safetensors"));
        let (logits, hidden) = streams(&decoder, &Batch::new(ids(&expected["input_ids"])).unwrap());
        let off = far(&logits, &expected["logits"]);
        assert!(off < 1e-4, "{family}: logits are off by {off}");
        assert_eq!(hidden.len(), decoder.config().layers + 1);
        assert!(!expected.contains_key(&format!("hidden.{}", hidden.len())));
        for (i, x) in hidden.iter().enumerate() {
            let off = far(x, &expected[&format!("hidden.{i}")]);
            assert!(off < 1e-4, "{family}: hidden.{i} is off by {off}");
        }
    }
}

/// The layers that predict tokens ahead, which published checkpoints have, and a text part whose head is stored.
#[test]
fn layers_that_predict_ahead_are_left_out_and_a_head_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(whole("qwen3_5").join("config.json")).unwrap()).unwrap();
    config["tie_word_embeddings"] = false.into();
    config["text_config"]["mtp_num_hidden_layers"] = 1.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut all = tensors(&whole("qwen3_5").join("model.safetensors"));
    let embedding = all["model.language_model.embed_tokens.weight"].clone();
    all.insert("mtp.fc.weight".into(), Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap());
    all.insert("lm_head.weight".into(), (&embedding * 2.0).unwrap());
    write(&folder.path().join("model.safetensors"), all);
    let [tied, untied] =
        [&whole("qwen3_5"), folder.path()].map(|place: &Path| load(&files(), place, &LoadSettings::default()));
    let batch = Batch::new(vec![vec![5, 6, 7]]).unwrap();
    let logits = |decoder: &Decoder| decoder.logits(&batch, Vec::new(), &Task::default()).unwrap();
    assert!(far((logits(&tied) * 2.0).unwrap(), logits(&untied)) < 1e-4);
}

#[test]
fn a_text_part_is_saved_as_a_model_of_its_own() {
    for (family, of_text) in WHOLES {
        let folder = tempfile::tempdir().unwrap();
        let task = Task::default();
        let files = Files::unrecorded(folder.path()).unwrap();
        let model = Model::load(&files, &whole(family).display().to_string(), &LoadSettings::default(), &task).unwrap();
        let saved = folder.path().join("text");
        model.save(&files, &saved, &task).unwrap();
        let config: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(saved.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["model_type"], of_text);
        let again = load(&files, &saved, &LoadSettings::default());
        let batch = Batch::new(vec![vec![5, 6, 7]]).unwrap();
        let of = |decoder: &Decoder| decoder.logits(&batch, Vec::new(), &task).unwrap();
        assert_eq!(far(of(&model.decoder), of(&again)), 0.0);
    }
}

/// Published files have keys and values also in layers that read those of earlier ones.
#[test]
fn keys_that_nothing_reads_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(whole("gemma4").join("config.json"), folder.path().join("config.json")).unwrap();
    let mut all = tensors(&whole("gemma4").join("model.safetensors"));
    let name = |layer: usize| format!("model.language_model.layers.{layer}.self_attn.k_proj.weight");
    assert!(all.insert(name(4), all[&name(2)].clone()).is_none());
    write(&folder.path().join("model.safetensors"), all);
    load(&files(), folder.path(), &LoadSettings::default());
}

/// What belongs to no part is refused as ever.
#[test]
fn a_tensor_of_no_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(whole("gemma3").join("config.json"), folder.path().join("config.json")).unwrap();
    let mut all: BTreeMap<String, Tensor> = tensors(&whole("gemma3").join("model.safetensors"));
    all.insert("audio_tower.weight".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    write(&folder.path().join("model.safetensors"), all);
    let error =
        microtome::checkpoint::load::folder(&files(), folder.path(), &LoadSettings::default(), &Task::default());
    assert!(error.unwrap_err().message.contains("`audio_tower.weight`"));
}
