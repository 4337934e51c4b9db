//! Adapters that PEFT wrote compute what PEFT computes, and those that do not fit are refused before weights are read.

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::base::random::stream;
use crate::checkpoint::load::{LoadOptions, LoadSettings, Precision};
use crate::model::batch::Batch;
use crate::tensor::files::{NamedTensors, safetensors};
use crate::tensor::{Tensor, create, floats};

/// The adapters of tests/fixtures/adapters, and their bases.
const ADAPTERS: [(&str, &str); 9] = [
    ("llama", "llama"),
    ("patterns", "llama"),
    ("saved", "llama"),
    ("embedding", "llama"),
    ("gpt2", "gpt2"),
    ("biases", "gpt2"),
    ("gpt_neox", "gpt_neox"),
    ("phi3", "phi3"),
    ("tied", "smollm3"),
];

/// A change of the names in the file of an adapter.
type Rename<'a> = &'a dyn Fn(&mut BTreeMap<String, Tensor>);

fn files() -> Files {
    Files::unrecorded(&std::env::temp_dir().join("microtome-adapters")).unwrap()
}

fn base(name: &str) -> String {
    kit::fixture("models").join(name).display().to_string()
}

fn adapter(name: &str) -> String {
    kit::fixture("adapters").join(name).display().to_string()
}

fn settings(adapter: Option<String>) -> LoadSettings {
    LoadOptions { adapter, ..LoadOptions::default() }.onto(Device::Cpu)
}

fn loaded(base: &str, adapter: Option<String>) -> Result<Model> {
    Model::load(&files(), base, &settings(adapter), &Task::default())
}

fn logits(model: &Model, ids: &Tensor) -> Tensor {
    let ids = ids.to_dtype(DType::U32).unwrap().to_vec2().unwrap();
    model.decoder.logits(&Batch::new(ids).unwrap(), Vec::new(), &Task::default()).unwrap()
}

/// Writes a copy of an adapter with another config or other tensors.
fn changed(
    name: &str,
    config: impl FnOnce(&mut Value),
    tensors: impl FnOnce(&mut BTreeMap<String, Tensor>),
) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut json = kit::json(format!("adapters/{name}/{CONFIG}"));
    config(&mut json);
    std::fs::write(folder.path().join(CONFIG), json.to_string()).unwrap();
    let mut all = kit::tensors(format!("adapters/{name}/{}", TENSORS[0]));
    tensors(&mut all);
    let mut bytes = Vec::new();
    safetensors::write(&NamedTensors { tensors: all, ..NamedTensors::default() }, &mut bytes).unwrap();
    std::fs::write(folder.path().join(TENSORS[0]), bytes).unwrap();
    let place = folder.path().display().to_string();
    (folder, place)
}

/// Returns the error of an adapter that was changed, without the name of its folder.
fn complaint(of: &str, config: impl FnOnce(&mut Value), tensors: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    let (_folder, place) = changed(of, config, tensors);
    let (_, base_of) = ADAPTERS.into_iter().find(|(name, _)| *name == of).unwrap();
    let error = loaded(&base(base_of), Some(place.clone())).unwrap_err();
    assert_eq!(error.about.as_deref(), Some("adapter"), "{error}");
    error.to_string().replace(&format!("{place}: "), "")
}

#[test]
fn logits_are_those_of_peft_beside_merged_and_scaled() {
    let task = Task::default();
    for (name, of) in ADAPTERS {
        let expected = kit::tensors(format!("adapters/{name}/expected.safetensors"));
        let ids = &expected["input_ids"];
        let plain = loaded(&base(of), None).unwrap();
        let model = loaded(&base(of), Some(adapter(name))).unwrap();
        let merged = model.merged(&task).unwrap();
        let scaled = model.with_adapter_scale(1.5).unwrap();
        let all = [("base", &plain), ("logits", &model), ("merged", &merged), ("scaled", &scaled)];
        // Relative to the largest logit, which is 1 to 11: the same sums in another order differ by a few units in the last place.
        let off = all
            .map(|(key, model)| kit::far(logits(model, ids), &expected[key]) / kit::largest(&expected[key]).max(1.0));
        assert!(off.iter().all(|off| *off < 1e-5), "{name}: {off:?}");
        let none = model.with_adapter_scale(0.0).unwrap();
        assert_eq!(floats(&logits(&none, ids)).unwrap(), floats(&logits(&plain, ids)).unwrap(), "{name}");
        assert!(kit::far(&expected["base"], &expected["logits"]) > 0.1, "{name} changes nothing");
    }
}

#[test]
fn an_adapter_that_is_saved_comes_back_to_the_last_bit() {
    for (name, of) in ADAPTERS {
        let model = loaded(&base(of), Some(adapter(name))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let ids = &kit::tensors(format!("adapters/{name}/expected.safetensors"))["input_ids"];
        let own = model.adapter.as_ref().unwrap();
        own.save(&files, folder.path()).unwrap();
        let again = loaded(&base(of), Some(folder.path().display().to_string())).unwrap();
        assert_eq!(floats(&logits(&model, ids)).unwrap(), floats(&logits(&again, ids)).unwrap(), "{name}");
        // A scale is in alpha, as long as nothing is saved as a whole.
        let scaled = model.with_adapter_scale(1.5).unwrap();
        let saved = scaled.adapter.as_ref().unwrap().save(&files, folder.path());
        if own.parts.wholes.is_empty() {
            let again = loaded(&base(of), Some(folder.path().display().to_string())).unwrap();
            assert!(kit::far(logits(&scaled, ids), logits(&again, ids)) < 1e-5, "{name}");
        } else {
            assert!(saved.unwrap_err().message.contains("expected scale 1"), "{name}");
        }
    }
}

#[test]
fn an_adapter_beside_quantised_weights_adds_the_same() {
    let ids = &kit::tensors("adapters/llama/expected.safetensors")["input_ids"];
    let load = |adapter: Option<String>| {
        let options = LoadOptions { dtype: Precision::Q8, adapter, ..LoadOptions::default() };
        Model::load(&files(), &base("llama"), &options.onto(Device::Cpu), &Task::default()).unwrap()
    };
    let model = load(Some(adapter("llama")));
    assert_eq!(model.decoder.weights().packings(), ["Q8_0"]);
    let off = kit::far(logits(&model, ids), logits(&model.merged(&Task::default()).unwrap(), ids));
    assert!(off < 1e-4, "off by {off}");
    assert!(kit::far(logits(&model, ids), logits(&load(None), ids)) > 0.1);
}

#[test]
fn an_adapter_of_another_base_is_refused_by_the_first_name_or_shape() {
    let of = |base_of: &str, name: &str| {
        let error = loaded(&base(base_of), Some(adapter(name))).unwrap_err();
        error.to_string().replace(&format!("{}: ", adapter(name)), "")
    };
    let name = of("gpt2", "llama");
    assert!(name.starts_with("the adapter changes `model.layers.0.mlp.down_proj`, which this base has not"), "{name}");
    assert!(name.contains("it is an adapter of models/llama"), "{name}");
    let shape = complaint(
        "llama",
        |_| {},
        |all| {
            let key = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight";
            all.insert(key.into(), Tensor::zeros((4, 24), DType::F32, &Device::Cpu).unwrap());
        },
    );
    assert!(shape.contains("layers.0.mlp.down_proj.lora_A.weight`: expected shape [4, 56], found [4, 24]"), "{shape}");
    let tokens = complaint(
        "saved",
        |_| {},
        |all| {
            all.insert(
                "base_model.model.lm_head.weight".into(),
                Tensor::zeros((321, 32), DType::F32, &Device::Cpu).unwrap(),
            );
        },
    );
    assert!(tokens.contains("lm_head.weight`: expected shape [320, 32], found [321, 32]"), "{tokens}");
}

#[test]
fn a_rank_that_is_not_the_configs_is_refused() {
    let rank = complaint("llama", |config| config["rank_pattern"] = json!({ "1.mlp.up_proj": 3 }), |_| {});
    assert!(rank.contains("layers.1.mlp.up_proj.lora_A.weight`: expected the rank 3 of the config, found 4"), "{rank}");
    let rank = complaint("llama", |config| config["r"] = json!(8), |_| {});
    assert!(rank.contains("expected the rank 8 of the config, found 4"), "{rank}");
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let key = "base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight";
    let alone = complaint("llama", |_| {}, |all| drop(all.remove(key)));
    assert!(alone.contains("expected both matrices of `model.layers.2.self_attn.q_proj`, found"), "{alone}");
    let with = |name: &str| {
        complaint(
            "llama",
            |_| {},
            |all| {
                all.insert(name.into(), Tensor::zeros(32, DType::F32, &Device::Cpu).unwrap());
            },
        )
    };
    let magnitude = with("base_model.model.model.layers.2.self_attn.q_proj.lora_magnitude_vector.weight");
    assert!(magnitude.contains("the adapter is a DoRA (it has `"), "{magnitude}");
    let other = with("base_model.model.model.layers.2.self_attn.q_proj.lora_C.weight");
    assert!(other.contains("lora_C.weight` of an adapter is not known here"), "{other}");
    assert!(with("model.norm.weight").contains("names of tensors that begin with `base_model.model.`"));
    let norms = with("base_model.model.model.layers.0.q_norm.weight");
    assert!(norms.contains("the adapter changes `model.layers.0.q_norm.weight`, which this base has not"), "{norms}");
    let config = complaint("llama", |config| config["use_dora"] = json!(true), |_| {});
    assert!(config.contains("adapter_config.json: the adapter is a DoRA (`use_dora` is true)"), "{config}");
}

#[test]
fn embeddings_of_a_tied_base_are_changed_together_or_not_at_all() {
    let key = |name: &str| format!("base_model.model.{name}");
    let random = || create::randn(&[320, 32], DType::F32, &mut stream(1, "test", 0)).unwrap();
    let own = kit::tensors("models/smollm3/model.safetensors")["model.embed_tokens.weight"].clone();
    let low_rank = complaint(
        "tied",
        |_| {},
        |all| {
            let zeros = |shape: [usize; 2]| Tensor::zeros(&shape, DType::F32, &Device::Cpu).unwrap();
            all.insert(key("model.embed_tokens.lora_embedding_A"), zeros([2, 320]));
            all.insert(key("model.embed_tokens.lora_embedding_B"), zeros([32, 2]));
        },
    );
    assert!(low_rank.contains("`model.embed_tokens`, and the unembedding of this base is its embedding"), "{low_rank}");
    let head = complaint("tied", |_| {}, |all| drop(all.insert(key("lm_head.weight"), random())));
    assert!(
        head.contains("lm_head.weight` is not the embedding, which is the unembedding of this base, too"),
        "{head}"
    );
    let copy = complaint(
        "tied",
        |config| config["modules_to_save"] = json!(["embed_tokens"]),
        |all| drop(all.insert(key("model.embed_tokens.weight"), random())),
    );
    assert!(copy.contains("`model.embed_tokens` is not the embedding"), "{copy}");
    let taken = |tensors: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let (_folder, place) = changed("tied", |_| {}, |all| tensors(all));
        loaded(&base("smollm3"), Some(place)).unwrap().adapter.clone().unwrap().parts.wholes.len()
    };
    let same = |all: &mut BTreeMap<String, Tensor>| {
        all.insert(key("model.embed_tokens.weight"), own.clone());
        all.insert(key("lm_head.weight"), own.clone());
    };
    assert_eq!(taken(&same), 0);
    let both = |all: &mut BTreeMap<String, Tensor>| {
        all.insert(key("model.embed_tokens.weight"), random());
        all.insert(key("lm_head.weight"), random());
    };
    assert_eq!(taken(&both), 1);
}

#[test]
fn names_may_begin_later_or_earlier_than_the_bases() {
    let short = |all: &mut BTreeMap<String, Tensor>| {
        let renamed = std::mem::take(all).into_iter().map(|(name, t)| (name.replace(".model.model.", ".model."), t));
        all.extend(renamed);
    };
    let expected = kit::tensors("adapters/llama/expected.safetensors");
    let longer = |all: &mut BTreeMap<String, Tensor>| {
        let there = "base_model.model.model.language_model.layers";
        let renamed =
            std::mem::take(all).into_iter().map(|(name, t)| (name.replace("base_model.model.model.layers", there), t));
        all.extend(renamed);
    };
    let renames: [Rename<'_>; 2] = [&short, &longer];
    for rename in renames {
        let (_folder, place) = changed("llama", |_| {}, |all| rename(all));
        let model = loaded(&base("llama"), Some(place)).unwrap();
        assert!(kit::far(logits(&model, &expected["input_ids"]), &expected["logits"]) < 1e-5);
    }
}

#[test]
fn what_is_no_adapter_says_so() {
    let error = loaded(&base("llama"), Some(base("llama"))).unwrap_err();
    assert!(error.message.contains("expected the folder of an adapter, with adapter_config.json"), "{error}");
    assert_eq!(error.hint.as_deref(), Some("it has a model: model::load(..) reads it"));
    let error = loaded(&adapter("llama"), None).unwrap_err();
    assert!(error.hint.unwrap().starts_with("it has an adapter: model::load(BASE, #{ adapter: "));
    assert!(loaded(&base("llama"), Some("nowhere".into())).is_err());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(Path::new(&adapter("llama")).join(CONFIG), folder.path().join(CONFIG)).unwrap();
    let error = loaded(&base("llama"), Some(folder.path().display().to_string())).unwrap_err();
    assert!(error.message.contains("has an adapter_config.json and no adapter_model.safetensors"), "{error}");
}
