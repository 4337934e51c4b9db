//! Files that llama.cpp's converter wrote and its library quantised: what transformers computes of their weights, and what
//! llama.cpp computes. `tests/fixtures/gguf/make.py` makes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kit::{far, far_relative};

use super::quantised::TensorKind;
use super::{GgufFile, GgufModel, part_names, writer};
use crate::base::Task;
use crate::checkpoint::load::{self, LoadSettings};
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::generate::SamplingSettings;
use crate::model::layout::TensorSource;
use crate::model::run::Ask;
use crate::model::site;
use crate::tensor::files::gguf_value::Value;
use crate::tensor::{DType, Tensor};
use crate::tokenizer::Tokenizer;

/// Every file, its family, and a bound of the distance of llama.cpp's logits from those of transformers, in the largest of them.
/// It rounds what its products read. Its logits and tokens are missing where it does not read the file.
const FILES: [(&str, &str, f64); 38] = [
    ("mixtral", "llama", 0.03),
    ("phi2", "phi", 0.005),
    ("phi3", "phi3", 0.02),
    ("olmo2", "olmo2", 0.04),
    ("olmo3", "olmo3", 0.03),
    ("stablelm", "stablelm", 0.002),
    ("stablelm-parallel", "stablelm", 0.02),
    ("granite", "granite", 0.01),
    ("smollm3", "smollm3", 0.03),
    ("qwen2moe", "qwen2_moe", 0.03),
    ("qwen3moe", "qwen3_moe", 0.02),
    ("qwen35", "qwen3_5_text", 0.07),
    ("qwen35moe", "qwen3_5_moe_text", 0.4),
    ("gpt-oss", "gpt_oss", 0.03),
    ("gemma4", "gemma4_text", 0.1),
    ("gemma4-experts", "gemma4_text", 0.02),
    ("bloom", "bloom", 0.02),
    ("falcon", "falcon", 0.03),
    ("mpt", "mpt", 0.002),
    ("command-r", "cohere", 0.05),
    ("cohere2", "cohere2", 0.05),
    ("glm4", "glm4", 0.05),
    ("starcoder", "gpt_bigcode", 0.05),
    ("deepseek2", "deepseek_v2", 0.05),
    ("deepseek2-lite", "deepseek_v2", 0.0),
    ("deepseek3", "deepseek_v3", 0.05),
    ("mamba", "mamba", 0.02),
    ("falcon_mamba", "falcon_mamba", 0.02),
    ("mamba2", "mamba2", 0.05),
    ("granitehybrid", "granitemoehybrid", 0.02),
    ("granitehybrid-experts", "granitemoehybrid", 0.02),
    ("granitemoe", "granitemoehybrid", 0.02),
    ("rwkv7", "rwkv7", 0.05),
    ("rwkv7-heads", "rwkv7", 0.0),
    ("llama-q2_k", "llama", 0.05),
    ("gemma2", "gemma2", 0.05),
    ("gemma3", "gemma3_text", 0.05),
    ("mistral", "llama", 0.05),
];

/// The largest distance from transformers, in the largest number; a delta net with experts behind it is 1.1e-5 off.
const ROUNDING: f64 = 3e-5;

fn fixture(name: &str) -> PathBuf {
    kit::fixture("gguf").join(name)
}

fn expected(name: &str) -> BTreeMap<String, Tensor> {
    kit::tensors(fixture(&format!("{name}.safetensors")))
}

/// Reads the files of a model, one or its parts.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let whole = format!("{name}.gguf");
    let names = if fixture(&whole).exists() {
        vec![whole]
    } else {
        part_names(&format!("{name}-00001-of-00002.gguf")).unwrap().1
    };
    names.into_iter().map(|name| (name.clone(), std::fs::read(fixture(&name)).unwrap())).collect()
}

/// Loads a model, whose matrices stay as they are or become f32.
fn model(name: &str, stays: bool) -> (GgufModel<Vec<u8>>, Decoder) {
    let parts = files(name).into_iter().map(|(name, bytes)| {
        let file = GgufFile::new(bytes.clone()).unwrap();
        (name, if stays { file.staying_in(Arc::new(bytes)) } else { file })
    });
    let source = GgufModel::new(parts.collect()).unwrap();
    let layout = source.layout().unwrap_or_else(|e| panic!("{name}: {e}"));
    let weights = load::weights(&layout, &source, name, &LoadSettings::default(), &Task::default())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let decoder = Decoder::new(layout.config, weights);
    (source, decoder)
}

fn row(ids: &Tensor) -> Vec<u32> {
    ids.to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn logits_hidden_states_and_greedy_tokens_are_those_of_transformers_on_the_weights_of_the_file() {
    for (name, family, theirs) in FILES.into_iter().chain([("llama-iq4_xs", "llama", 0.06)]) {
        let expected = expected(name);
        let (_, decoder) = model(name, true);
        assert_eq!(decoder.config().family, family, "{name}");
        let batch = Batch::new(vec![row(&expected["input_ids"])]).unwrap();
        let places =
            ["resid_pre.*", "final_norm"].iter().flat_map(|name| site::select(decoder.config(), name).unwrap());
        let ask = Ask { places: places.collect(), ..Ask::default() };
        let run = decoder.run(&batch, ask, &Task::default()).unwrap();
        let logits = run.logits.squeeze(0).unwrap();
        let off = far_relative(&logits, &expected["logits"]);
        let hidden = run
            .cache
            .iter()
            .enumerate()
            .map(|(at, (_, x))| far_relative(x.squeeze(0).unwrap(), &expected[&format!("hidden.{at}")]));
        let worst = hidden.fold(0.0, f64::max);
        let size = far(&expected["logits"], expected["logits"].zeros_like().unwrap());
        let start: Vec<u32> = row(&expected["greedy"])[..3].to_vec();
        let wanted = row(&expected["greedy"])[3..].to_vec();
        let greedy = decoder.generate(
            &Batch::new(vec![start]).unwrap(),
            &SamplingSettings::greedy(wanted.len()),
            Vec::new(),
            &mut |_, _| Ok(true),
            &Task::default(),
        );
        let greedy = greedy.unwrap().remove(0);
        println!("{name}: {:?} logits {off:.1e} hidden {worst:.1e}", decoder.weights().packings());
        assert!(off < ROUNDING && worst < ROUNDING, "{name}: {off} {worst}");
        assert!(greedy.ends_with(&wanted), "{name}: {greedy:?} {wanted:?}");
        let Some(of_llama) = expected.get("llama_logits") else { continue };
        let ours = far(&logits, of_llama);
        let own = far(&expected["logits"], of_llama);
        let alike =
            row(&expected["greedy"]).iter().zip(row(&expected["llama_greedy"])).filter(|(a, b)| **a == *b).count();
        println!(
            "{name}: llama.cpp from us {:.2e}, from transformers {:.2e}; its greedy tokens {}",
            ours / size,
            own / size,
            alike - 3
        );
        assert!(ours < own * 1.01 + ROUNDING * size && own < theirs * size, "{name}: {ours} {own}");
    }
}

#[test]
fn hidden_states_of_an_encoder_are_those_of_transformers_and_texts_are_the_tokens_of_llama_cpp() {
    of_encoder("bert", "bert", "resid_post.1");
    of_encoder("modern-bert", "modernbert", "final_norm");
}

/// Compares an encoder, whose vectors are those at the site `last`.
fn of_encoder(name: &str, family: &str, last: &str) {
    let expected = expected(name);
    let (source, decoder) = model(name, true);
    assert_eq!(decoder.config().family, family);
    let batch = Batch::new(vec![row(&expected["input_ids"])]).unwrap();
    let places: Vec<_> =
        ["resid_pre.*", last].iter().flat_map(|name| site::select(decoder.config(), name).unwrap()).collect();
    let cache = decoder.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &Task::default()).unwrap();
    let states: Vec<Tensor> = places.iter().map(|place| cache.at(*place).unwrap().squeeze(0).unwrap()).collect();
    for (at, state) in states.iter().enumerate() {
        let off = far_relative(state, &expected[&format!("hidden.{at}")]);
        println!("{name}: {:?} hidden {at}: {off:.1e}", decoder.weights().packings());
        assert!(off < ROUNDING, "{name} {at}: {off}");
    }
    let layers = decoder.config().layers;
    let ours = far_relative(&states[layers], &expected["llama_hidden"]);
    let own = far_relative(&expected[&format!("hidden.{layers}")], &expected["llama_hidden"]);
    println!("{name}: llama.cpp from us {ours:.2e}, from transformers {own:.2e}");
    assert!(ours < own * 1.01 + ROUNDING && own < 0.03, "{name}: {ours} {own}");
    let tokenizer = Tokenizer::from_metadata(&source.first().unwrap().metadata, &Task::default()).unwrap().unwrap();
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(fixture("texts.json")).unwrap()).unwrap();
    for (at, text) in texts.iter().enumerate() {
        let found = tokenizer.encode(text, None, &Task::default()).unwrap().ids;
        assert_eq!(found, row(&expected[&format!("tokens.{at}")]), "{name}: {text}");
    }
}

/// Rewrites a file with other metadata, and with the tensors that a function makes of its own.
fn rewritten(
    name: &str,
    changes: &[(&str, Option<Value>)],
    change: impl Fn(&mut BTreeMap<String, Tensor>),
) -> GgufFile<Vec<u8>> {
    let (_, bytes) = files(name).remove(0);
    let file = GgufFile::new(bytes).unwrap();
    let mut tensors = file.names().into_iter().map(|name| (name.clone(), file.tensor(&name).unwrap())).collect();
    change(&mut tensors);
    let mut metadata = file.metadata.clone();
    for (key, value) in changes {
        metadata.remove(*key);
        metadata.extend(value.clone().map(|value| (key.to_string(), value)));
    }
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let tensors = tensors.into_iter().map(|(name, x)| (name, (x, writer::F32))).collect();
    GgufFile::new(writer::file(&metadata, &tensors)).unwrap()
}

#[test]
fn an_older_file_of_deepseek_has_the_maps_to_keys_and_values_in_one_matrix() {
    let older = [
        ("deepseek2.attention.head_count_kv", Some(Value::Unsigned(4))),
        ("deepseek2.attention.key_length", Some(Value::Unsigned(40))),
        ("deepseek2.attention.value_length", Some(Value::Unsigned(16))),
        ("deepseek2.attention.key_length_mla", None),
        ("deepseek2.attention.value_length_mla", None),
    ];
    let file = rewritten("deepseek2", &older, |tensors| {
        for layer in 0..2 {
            let mut taken = |part: &str| tensors.remove(&format!("blk.{layer}.{part}.weight")).unwrap();
            let k = taken("attn_k_b").transpose(1, 2).unwrap();
            let v = taken("attn_v_b");
            let both = Tensor::cat(&[k, v], 1).unwrap().flatten(0, 1).unwrap();
            tensors.insert(format!("blk.{layer}.attn_kv_b.weight"), both);
        }
    });
    assert!(off(&file, "deepseek2") < ROUNDING);
}

/// Computes how far the logits of a rewritten file are from those of the file that it was made of.
fn off(file: &GgufFile<Vec<u8>>, name: &str) -> f64 {
    let layout = file.layout().unwrap();
    let weights = load::weights(&layout, file, name, &LoadSettings::default(), &Task::default()).unwrap();
    let expected = expected(name);
    let batch = Batch::new(vec![row(&expected["input_ids"])]).unwrap();
    let logits = Decoder::new(layout.config, weights).logits(&batch, Vec::new(), &Task::default()).unwrap();
    far_relative(logits.squeeze(0).unwrap(), &expected["logits"])
}

/// Checks that files of Granite 4 without state spaces are read: they are those of Granite, with sizes of what they do not have.
#[test]
fn a_granite_may_have_the_sizes_of_state_spaces_that_no_layer_has() {
    let sizes = ["conv_kernel", "group_count", "inner_size", "state_size", "time_step_rank"];
    let keys = sizes.map(|key| format!("granite.ssm.{key}"));
    let mut changes: Vec<_> = keys.iter().map(|key| (key.as_str(), Some(Value::Unsigned(4)))).collect();
    changes.push(("granite.attention.head_count_kv", Some(Value::Array(vec![Value::Unsigned(2); 3]))));
    changes.push(("granite.expert_shared_feed_forward_length", Some(Value::Unsigned(64))));
    assert!(off(&rewritten("granite", &changes, |_| {}), "granite") < ROUNDING);
    changes.push(("granite.expert_shared_feed_forward_length", Some(Value::Unsigned(32))));
    let refused = rewritten("granite", &changes, |_| {}).layout().unwrap_err().message;
    assert!(refused.ends_with("to be the width of MLPs, 64, found 32"), "{refused}");
}

#[test]
fn what_a_file_of_deepseek_does_not_say_of_its_router_is_asked_for() {
    let refused = |key: &str, value: Option<u64>| {
        let changes = [(key, value.map(Value::Unsigned))];
        rewritten("deepseek3", &changes, |_| {}).layout().unwrap_err().message
    };
    let wanted = "expected `expert_gating_func` 1 (softmax) or 2 (sigmoid), found";
    assert_eq!(refused("deepseek2.expert_gating_func", None), format!("{wanted} none"));
    assert_eq!(refused("deepseek2.expert_gating_func", Some(4)), format!("{wanted} 4"));
    assert_eq!(
        refused("deepseek2.attention.indexer.top_k", Some(4)),
        "the metadata have `deepseek2.attention.indexer.top_k`, which is not known here and may change the mathematics"
    );
}

#[test]
fn the_first_of_every_three_layers_of_modernbert_has_no_window_where_the_file_does_not_say_which() {
    let config = |key: &str, value: Option<Value>| {
        let key = format!("modern-bert.{key}");
        rewritten("modern-bert", &[(key.as_str(), value)], |_| {}).layout().map(|layout| layout.config)
    };
    let windows = |pattern| config("attention.sliding_window_pattern", pattern).unwrap().windows;
    let window = Some(4);
    assert_eq!(windows(None), [None, window, window, None]);
    assert_eq!(windows(Some(Value::Unsigned(2))), [None, window, None, window]);
    assert_eq!(windows(Some(Value::Unsigned(0))), [window; 4]);
    let listed = [true, false, true, false].map(Value::Bool).to_vec();
    assert_eq!(windows(Some(Value::Array(listed))), [window, None, window, None]);
    let whole = config("attention.sliding_window", None).unwrap();
    assert!(whole.windows.is_empty() && whole.rotary_local.is_none());
    let other = config("hidden_activation", Some(Value::Text("relu".into()))).unwrap_err().message;
    assert_eq!(other, "expected `hidden_activation` gelu or silu, found `relu`");
    let causal = config("attention.causal", Some(Value::Bool(true))).unwrap_err().message;
    assert!(causal.ends_with("found `attention.causal`"), "{causal}");
}

#[test]
fn what_a_file_of_rwkv_does_not_say_of_its_heads_is_asked_for() {
    let refused = |key: &str, value: Option<u64>| {
        rewritten("rwkv7-heads", &[(key, value.map(Value::Unsigned))], |_| {}).layout().unwrap_err().message
    };
    assert_eq!(refused("rwkv7.wkv.head_size", Some(24)), "expected heads that divide 32 dimensions, found heads of 24");
    assert_eq!(refused("rwkv7.wkv.head_size", None), "expected `rwkv7.wkv.head_size` in the metadata, found none");
    assert!(refused("rwkv7.token_shift_count", Some(1)).contains("`rwkv7.token_shift_count`, which is not known here"));
}

#[test]
fn matrices_that_stay_quantised_compute_the_bits_of_those_in_f32() {
    for (name, ..) in FILES {
        let batch = Batch::new(vec![row(&expected(name)["input_ids"])]).unwrap();
        let [packed, wide] = [true, false].map(|stays| {
            let (_, decoder) = model(name, stays);
            let logits = decoder.logits(&batch, Vec::new(), &Task::default()).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        });
        assert!(packed == wide, "{name}");
    }
}

#[test]
fn texts_are_the_tokens_of_llama_cpp() {
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(fixture("texts.json")).unwrap()).unwrap();
    for (name, ..) in FILES {
        let (source, _) = model(name, false);
        let tokenizer = Tokenizer::from_metadata(&source.first().unwrap().metadata, &Task::default()).unwrap().unwrap();
        assert!(tokenizer.chats().is_some(), "{name}");
        let expected = expected(name);
        for (at, text) in texts.iter().enumerate().filter(|_| expected.contains_key("tokens.0")) {
            let found = tokenizer.encode(text, Some(false), &Task::default()).unwrap().ids;
            assert_eq!(found, row(&expected[&format!("tokens.{at}")]), "{name}: {text}");
        }
    }
}

#[test]
fn blocks_of_every_kind_are_the_numbers_of_ggml() {
    let all = expected("blocks");
    let kinds = [
        ("Q4_0", 2),
        ("Q4_1", 3),
        ("Q5_0", 6),
        ("Q5_1", 7),
        ("Q8_0", 8),
        ("Q2_K", 10),
        ("Q3_K", 11),
        ("Q4_K", 12),
        ("Q5_K", 13),
        ("Q6_K", 14),
        ("IQ4_NL", 20),
        ("IQ4_XS", 23),
        ("MXFP4", 39),
    ];
    for (name, number) in kinds {
        let blocks: Vec<u8> = all[&format!("{name}.blocks")].flatten_all().unwrap().to_vec1().unwrap();
        let wanted = &all[&format!("{name}.numbers")];
        let kind = TensorKind::of(number).unwrap();
        let found = kind.tensor(&blocks, wanted.dims(), &Task::default()).unwrap();
        let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(&found), numbers(wanted), "{name}");
    }
}

#[test]
fn a_file_that_is_cut_or_changed_is_an_error_or_a_model() {
    let (_, whole) = files("gpt-oss").remove(0);
    let read = |bytes: &[u8]| GgufFile::new(bytes).and_then(|file| file.layout());
    let header = whole.windows(17).rposition(|window| window == b"output_norm.weigh").unwrap() + 64;
    for cut in (0..header).step_by(7).chain((header..whole.len()).step_by(997)) {
        assert!(read(&whole[..cut]).is_err(), "{cut}");
    }
    for place in (0..header).step_by(5) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x81;
        let _model_or_error = read(&bytes);
    }
}
