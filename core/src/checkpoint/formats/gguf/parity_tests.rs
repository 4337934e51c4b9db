//! Parity of models rewritten as the converter of llama.cpp would write them: they compute what they computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use kit::far;
use serde_json::{Value as Json, json};

use super::rope::recognised;
use super::{GgufFile, writer};
use crate::base::Task;
use crate::base::files::Files;
use crate::checkpoint::load::LoadSettings;
use crate::checkpoint::second_opinion::{Sources, verify};
use crate::checkpoint::{family, load};
use crate::model::batch::Batch;
use crate::model::config::{Rotary, Scaling};
use crate::model::decoder::Decoder;
use crate::model::layout::{Layout, TensorSource};
use crate::tensor::files::gguf_value::Value;
use crate::tensor::{DType, Device, Tensor};

type Tensors = BTreeMap<String, Tensor>;

fn fixture(family: &str, file: &str) -> PathBuf {
    kit::fixture("models").join(family).join(file)
}

fn tensors(family: &str, file: &str) -> Tensors {
    kit::tensors(fixture(family, file))
}

/// Permutes the rows of each head so that rotated pairs, one of each half, become adjacent.
fn permuted(t: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = t.dims2().unwrap();
    let halves = t.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

/// Puts all queries first, as the converter does; GPT-NeoX keeps (head, part, d_head).
fn by_part(t: &Tensor, heads: usize) -> Tensor {
    let rows = t.dim(0).unwrap();
    let inner = t.elem_count() / rows;
    let parts = t.reshape((heads, 3, rows / heads / 3, inner)).unwrap().transpose(0, 1).unwrap();
    parts.contiguous().unwrap().reshape(t.dims()).unwrap()
}

/// Returns GGUF's name for a tensor of the safetensors file.
fn renamed(family: &str, name: &str) -> String {
    // Where attention has a norm behind it, too, this one has the name that others give the norm before the MLP.
    let four = ["gemma2", "gemma3_text"].contains(&family);
    let words = [
        ("post_attention_layernorm", if four { "post_attention_norm" } else { "ffn_norm" }),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("transformer.h.", "blk."),
        ("transformer.", ""),
        ("gpt_neox.", ""),
        ("model.", ""),
        ("embed_tokens", "token_embd"),
        ("embed_in", "token_embd"),
        ("embed_out", "output"),
        ("lm_head", "output"),
        ("wte", "token_embd"),
        ("wpe", "position_embd"),
        ("layers.", "blk."),
        ("final_layer_norm", "output_norm"),
        ("ln_f", "output_norm"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("attention.query_key_value", "attn_qkv"),
        ("attention.dense", "attn_output"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("input_layernorm", "attn_norm"),
        ("ln_1", "attn_norm"),
        ("ln_2", "ffn_norm"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ];
    let name = words.iter().fold(name.to_string(), |name, (theirs, gguf)| name.replace(theirs, gguf));
    if name == "norm.weight" { "output_norm.weight".into() } else { name }
}

fn converted(family: &str, name: &str, t: &Tensor) -> Tensor {
    match family {
        "llama" | "llama3_rope" | "mistral" if name.ends_with("attn_q.weight") => permuted(t, 4),
        "llama" | "llama3_rope" | "mistral" if name.ends_with("attn_k.weight") => permuted(t, 2),
        "gpt_neox" | "gpt_neox_serial" if name.contains("attn_qkv") => by_part(t, 4),
        "gpt2" if t.rank() == 2 && name.starts_with("blk.") => t.t().unwrap().contiguous().unwrap(),
        "gemma" | "gemma2" | "gemma3_text" if name.ends_with("norm.weight") => (t + 1.0).unwrap(),
        _ => t.clone(),
    }
}

fn config(family: &str) -> Json {
    serde_json::from_str(&std::fs::read_to_string(fixture(family, "config.json")).unwrap()).unwrap()
}

/// Makes the metadata that the converter would write, from the numbers of a config.json.
fn metadata(config: &Json, architecture: &str) -> Vec<(String, Value)> {
    let number = |keys: &[&str]| keys.iter().find_map(|key| config[*key].as_f64());
    let mut metadata = vec![("general.architecture".to_string(), Value::Text(architecture.into()))];
    let mut add = |key: &str, value: Value| metadata.push((format!("{architecture}.{key}"), value));
    for (key, theirs) in [
        ("block_count", ["num_hidden_layers", "n_layer"]),
        ("context_length", ["max_position_embeddings", "n_positions"]),
        ("embedding_length", ["hidden_size", "n_embd"]),
        ("attention.head_count", ["num_attention_heads", "n_head"]),
        ("attention.head_count_kv", ["num_key_value_heads", ""]),
        ("attention.key_length", ["head_dim", ""]),
        ("attention.value_length", ["head_dim", ""]),
    ] {
        if let Some(size) = number(&theirs) {
            add(key, Value::Unsigned(size as u64));
        }
    }
    let width = number(&["intermediate_size"]).or_else(|| number(&["n_embd"]).map(|d| 4.0 * d)).unwrap();
    add("feed_forward_length", Value::Unsigned(width as u64));
    let layer = ["gpt2", "gptneox"].contains(&architecture);
    let eps = number(&["rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"]).unwrap();
    let kind = if layer { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    add(kind, Value::Single(eps as f32));
    let rotation = &config["rope_parameters"];
    let rotation = rotation.get("full_attention").unwrap_or(rotation);
    if let Some(theta) = rotation["rope_theta"].as_f64() {
        add("rope.freq_base", Value::Single(theta as f32));
    }
    if let Some(factor) = rotation["factor"].as_f64().filter(|_| rotation["rope_type"] == "linear") {
        add("rope.scaling.type", Value::Text("linear".into()));
        add("rope.scaling.factor", Value::Single(factor as f32));
    }
    for cap in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap_of_it) = number(&[cap]) {
            add(cap, Value::Single(cap_of_it as f32));
        }
    }
    if architecture == "gptneox" {
        let turning = config["rope_parameters"]["partial_rotary_factor"].as_f64().unwrap() * 8.0;
        add("rope.dimension_count", Value::Unsigned(turning as u64));
        add("use_parallel_residual", Value::Bool(config["use_parallel_residual"].as_bool().unwrap()));
    }
    if let Some(window) = config["sliding_window"].as_f64() {
        add("attention.sliding_window", Value::Unsigned(window as u64));
    }
    metadata
}

/// Renames and converts tensors of a folder as the file has them.
fn named(
    family: &str,
    tensors: &Tensors,
    kind: impl Fn(&str) -> writer::GgmlKind,
) -> BTreeMap<String, (Tensor, writer::GgmlKind)> {
    let mut named = BTreeMap::new();
    for (name, t) in tensors {
        let name = renamed(family, name);
        let t = converted(family, &name, t);
        let kind = kind(&name);
        named.insert(name, (t, kind));
    }
    if family == "llama3_rope" {
        named.insert("rope_freqs.weight".into(), (divisors(8, 64.0), writer::F32));
    }
    named
}

fn file(metadata: &[(String, Value)], tensors: &BTreeMap<String, (Tensor, writer::GgmlKind)>) -> Vec<u8> {
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    writer::file(&metadata, tensors)
}

fn rewritten(family: &str, architecture: &str, kind: impl Fn(&str) -> writer::GgmlKind) -> Vec<u8> {
    let tensors = named(family, &tensors(family, "model.safetensors"), kind);
    file(&metadata(&config(family), architecture), &tensors)
}

/// Computes the divisors that the converter writes for factor 8, low 1, high 4 and this original context, base 500,000.
fn divisors(dims: usize, original: f64) -> Tensor {
    let divisor = |pair: usize| {
        let wavelength = std::f64::consts::TAU * 500_000_f64.powf((2 * pair) as f64 / dims as f64);
        if wavelength < original / 4.0 {
            return 1.0;
        }
        if wavelength > original {
            return 8.0;
        }
        let smooth = (original / wavelength - 1.0) / 3.0;
        (1.0 / ((1.0 - smooth) / 8.0 + smooth)) as f32
    };
    Tensor::from_vec((0..dims / 2).map(divisor).collect::<Vec<f32>>(), dims / 2, &Device::Cpu).unwrap()
}

fn logits(bytes: Vec<u8>, ids: &Tensor) -> Tensor {
    let file = GgufFile::new(bytes).unwrap();
    logits_of(file.layout().unwrap(), &file, ids)
}

fn logits_of(layout: Layout, source: &dyn TensorSource, ids: &Tensor) -> Tensor {
    let weights = load::weights(&layout, source, "a test", &LoadSettings::default(), &Task::default()).unwrap();
    let batch = Batch::new(ids.to_dtype(DType::U32).unwrap().to_vec2().unwrap()).unwrap();
    Decoder::new(layout.config, weights).logits(&batch, Vec::new(), &Task::default()).unwrap()
}

const FAMILIES: [(&str, &str); 12] = [
    ("llama", "llama"),
    ("llama3_rope", "llama"),
    ("gpt2", "gpt2"),
    ("gpt_neox", "gptneox"),
    ("gpt_neox_serial", "gptneox"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("gemma", "gemma"),
    ("gemma2", "gemma2"),
    ("gemma3_text", "gemma3"),
    ("mistral", "llama"),
    ("phi3", "phi3"),
];

#[test]
fn models_in_f32_compute_what_they_were_published_to() {
    for (family, architecture) in FAMILIES {
        let expected = tensors(family, "expected.safetensors");
        let bytes = rewritten(family, architecture, |_| writer::F32);
        let off = far(logits(bytes, &expected["input_ids"]), &expected["logits"]);
        assert!(off < 1e-4, "{family} is off by {off}");
    }
}

#[test]
fn quantised_models_compute_nearly_the_same() {
    let expected = tensors("llama", "expected.safetensors");
    let scale = far(&expected["logits"], expected["logits"].zeros_like().unwrap());
    let halves = [((1, GgmlDType::F16), 0.01), ((30, GgmlDType::BF16), 0.02)];
    for (kind, most) in halves.into_iter().chain([((8, GgmlDType::Q8_0), 0.05), ((2, GgmlDType::Q4_0), 0.6)]) {
        // Rows of 56 are not whole blocks; converters do not quantise such tensors, nor norms.
        let quantised = |name: &str| !name.contains("norm") && !name.contains("ffn_down");
        let bytes = rewritten("llama", "llama", |name| if quantised(name) { kind } else { writer::F32 });
        let off = far(logits(bytes, &expected["input_ids"]), &expected["logits"]) / scale;
        assert!(off > 0.0 && off < most, "{:?} is off by {off} of the largest logit", kind.1);
    }
}

/// Compares candle's own reading of a file with ours: returns the name and the difference of each row, and whether it
/// agrees.
fn second_opinion(
    family: &str,
    architecture: &str,
    kind: writer::GgmlKind,
    theta: Option<f64>,
) -> Vec<(String, f64, bool)> {
    let mut pairs = metadata(&config(family), architecture);
    if ["llama", "phi3"].contains(&architecture) {
        pairs.push((format!("{architecture}.rope.dimension_count"), Value::Unsigned(8)));
    }
    let is_quantised = |name: &str| !name.contains("norm") && !name.contains("ffn_down") && !name.ends_with("bias");
    let kinds = |name: &str| if is_quantised(name) { kind } else { writer::F32 };
    let bytes = file(&pairs, &named(family, &tensors(family, "model.safetensors"), kinds));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.gguf"), &bytes).unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let gguf = Some(Arc::new(files.map(Path::new("model.gguf")).unwrap()));
    let read = GgufFile::new(bytes).unwrap();
    let layout = read.layout().unwrap();
    let task = Task::default();
    let weights = load::weights(&layout, &read, "a test", &LoadSettings::default(), &task).unwrap();
    let mut ours = layout.config;
    if let (Some(rotary), Some(theta)) = (&mut ours.rotary, theta) {
        rotary.theta = theta;
    }
    let batch = Batch::new(vec![vec![3, 141, 59, 26, 5, 35], vec![89, 79, 32]]).unwrap();
    let sources = Sources { config_json: None, gguf };
    let found = verify(&Decoder::new(ours, weights), sources, &batch, Vec::new(), &task).unwrap();
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    found.compared.iter().map(|one| (one.name.clone(), one.relative, one.agrees() == Some(true))).collect()
}

#[test]
fn candle_reads_these_files_by_itself_and_computes_the_same() {
    for (family, architecture) in [("llama", "llama"), ("phi3", "phi3"), ("qwen2", "qwen2"), ("qwen3", "qwen3")] {
        for kind in [writer::F32, (8, GgmlDType::Q8_0)] {
            let rows = second_opinion(family, architecture, kind, None);
            assert_eq!(rows[rows.len() - 2].0, "logits of the file as candle reads it");
            assert!(rows.iter().all(|(_, _, agrees)| *agrees), "{family} in {:?}: {rows:?}", kind.1);
        }
    }
    // Candle takes the base of the rotation from the file, and the model that is made of our weights takes ours.
    let rows = second_opinion("llama", "llama", writer::F32, Some(1000.0));
    let apart: Vec<&str> = rows.iter().filter(|(_, _, agrees)| !agrees).map(|(name, _, _)| name.as_str()).collect();
    assert!(apart.contains(&"logits of the file as candle reads it"), "{rows:?}");
    assert!(!apart.contains(&"logits"), "{rows:?}");
}

#[test]
fn the_factors_of_llama_3_are_recognised_and_others_refused() {
    let rotary = |dims| Rotary { dims, theta: 500_000.0, neighbours: true, scaling: Scaling::None };
    for original in [2048, 8192, 1 << 17] {
        let found = recognised(&divisors(128, original as f64), &rotary(128)).unwrap();
        assert_eq!(found, Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original });
    }
    let ones = divisors(8, 64.0).ones_like().unwrap();
    assert_eq!(recognised(&ones, &rotary(8)).unwrap(), Scaling::None);
    let odd = Tensor::new(&[1_f32, 3.0, 2.0, 8.0], &Device::Cpu).unwrap();
    assert!(recognised(&odd, &rotary(8)).unwrap_err().message.starts_with("expected the factors of Llama 3"));
    assert!(recognised(&odd, &rotary(4)).unwrap_err().message.starts_with("expected 2 factors"));
}

/// Repeats the layers of a fixture until there are as many.
fn deeper(family: &str, layers: usize) -> Tensors {
    let all = tensors(family, "model.safetensors");
    let mut made = Tensors::new();
    for (name, t) in &all {
        let Some((layer, rest)) = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else {
            made.insert(name.clone(), t.clone());
            continue;
        };
        for copy in (layer.parse().unwrap()..layers).step_by(3) {
            // Smaller, so that many layers do not outgrow each other, and each of another size.
            made.insert(format!("model.layers.{copy}.{rest}"), (t * (1.0 - copy as f64 / 100.0)).unwrap());
        }
    }
    made
}

/// Computes how far a GGUF file with these changes to its metadata is from a folder of the same weights with these
/// changes to its config.json.
fn off(family: &str, architecture: &str, layers: usize, config_json: Json, changes: &[(&str, Value)]) -> f64 {
    let ids = tensors(family, "expected.safetensors").remove("input_ids").unwrap();
    let mut config = config(family);
    let fields = config.as_object_mut().unwrap();
    fields.remove("layer_types");
    fields.insert("num_hidden_layers".into(), layers.into());
    fields.extend(config_json.as_object().unwrap().clone());
    let made = deeper(family, layers);
    let mut metadata = metadata(&config, architecture);
    for (key, value) in changes {
        let key = format!("{architecture}.{key}");
        metadata.retain(|(other, _)| *other != key);
        metadata.push((key, value.clone()));
    }
    let bytes = file(&metadata, &named(family, &made, |_| writer::F32));
    let expected = logits_of(family::read(&config, &[]).unwrap(), &made, &ids);
    far(logits(bytes, &ids), &expected)
}

#[test]
fn layers_of_gemma_3_slide_as_in_a_folder() {
    let rotations = json!({ "rope_parameters": {
        "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
        "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 },
    } });
    let of = |config: Json, changes: &[(&str, Value)]| {
        let mut all = rotations.clone();
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        off("gemma3_text", "gemma3", 7, all, changes)
    };
    let pattern = |value: Value| ("attention.sliding_window_pattern", value);
    let types = |slides: [bool; 7]| json!({ "layer_types": slides.map(|slides| if slides { "sliding_attention" } else { "full_attention" }) });
    // By default, every sixth layer is global.
    assert!(of(types([true, true, true, true, true, false, true]), &[]) < 1e-4);
    let third = types([true, true, false, true, true, false, true]);
    assert!(of(third.clone(), &[pattern(Value::Unsigned(3))]) < 1e-4);
    let listed = [true, true, false, true, true, false, true].map(Value::Bool).to_vec();
    assert!(of(third.clone(), &[pattern(Value::Array(listed))]) < 1e-4);
    // And each of these counts.
    assert!(of(third, &[]) > 1e-2);
    let local = [pattern(Value::Unsigned(6)), ("rope.freq_base_swa", Value::Single(100.0))];
    assert!(of(json!({}), &local) > 1e-2);
    assert!(of(json!({}), &[("rope.scaling.factor", Value::Single(4.0))]) > 1e-4);
    let capped = [("final_logit_softcapping", Value::Single(5.0))];
    assert!(of(json!({ "final_logit_softcapping": 5.0 }), &capped) < 1e-4);
    // Without a window there is one rotation, and all layers are global.
    let global = json!({ "layer_types": vec!["full_attention"; 7] });
    assert!(of(global, &[("attention.sliding_window", Value::Unsigned(0))]) < 1e-4);
}

#[test]
fn queries_of_the_largest_gemmas_have_their_scale() {
    // 32 dimensions of 4 heads, whose size is 16.
    let scaled = |scale: u64| json!({ "query_pre_attn_scalar": scale });
    assert!(off("gemma2", "gemma2", 46, scaled(8), &[]) < 1e-3);
    assert!(off("gemma3_text", "gemma3", 62, scaled(8), &[]) < 1e-3);
    assert!(off("gemma2", "gemma2", 45, scaled(16), &[]) < 1e-3);
    assert!(off("gemma2", "gemma2", 45, scaled(8), &[]) > 1e-2);
}

#[test]
fn caps_and_windows_of_gemma_2_have_the_values_of_llama_cpp_by_default() {
    let pairs: Vec<(String, Value)> = metadata(&config("gemma2"), "gemma2")
        .into_iter()
        .filter(|(key, _)| !key.ends_with("softcapping") && !key.ends_with("sliding_window"))
        .collect();
    let tensors = named("gemma2", &tensors("gemma2", "model.safetensors"), |_| writer::F32);
    let config = GgufFile::new(file(&pairs, &tensors)).unwrap().layout().unwrap().config;
    assert_eq!((config.score_cap, config.logit_cap), (Some(50.0), Some(30.0)));
    assert_eq!(config.windows, [Some(4096), None, Some(4096)]);
}

#[test]
fn a_mistral_has_a_window_where_its_file_states_one() {
    let whole = json!({ "sliding_window": null });
    assert!(off("mistral", "llama", 3, whole.clone(), &[]) < 1e-4);
    assert!(off("mistral", "llama", 3, whole, &[("attention.sliding_window", Value::Unsigned(8))]) > 1e-2);
    // Heads of a size of their own.
    assert!(off("mistral", "llama", 3, json!({}), &[]) < 1e-4);
}

fn refused(change: impl Fn(&mut Vec<(String, Value)>)) -> String {
    let mut pairs = metadata(&config("llama"), "llama");
    change(&mut pairs);
    let tensors = named("llama", &tensors("llama", "model.safetensors"), |_| writer::F32);
    GgufFile::new(file(&pairs, &tensors)).unwrap().layout().unwrap_err().message
}

#[test]
fn an_architecture_that_is_not_known_is_refused_by_what_has_no_meaning_here() {
    let other = |name: &str, keys: &[&str], tensors: &[&str]| {
        let size = |key: &&str| (format!("{name}.{key}"), Value::Unsigned(4));
        let mut pairs = vec![("general.architecture".to_string(), Value::Text(name.into()))];
        pairs.extend(keys.iter().map(size));
        let one = Tensor::new(&[1_f32], &Device::Cpu).unwrap();
        let tensors = tensors.iter().map(|name| (name.to_string(), (one.clone(), writer::F32))).collect();
        GgufFile::new(file(&pairs, &tensors)).unwrap().layout().unwrap_err()
    };
    let rwkv = other(
        "rwkv6",
        &["block_count", "token_shift_count", "wkv.head_size", "time_mix_extra_dim"],
        &[
            "blk.0.attn_norm.weight",
            "blk.0.time_mix_lerp_w",
            "blk.1.time_mix_lerp_w",
            "blk.1.time_mix_decay_w1.bias",
            "blk.1.time_mix_w1",
            "token_embd.weight",
        ],
    );
    assert_eq!(
        rwkv.message,
        "the architecture `rwkv6` of GGUF files is not known here: no meaning here have the keys `time_mix_extra_dim`, \
         `token_shift_count`, and the tensors `time_mix_decay_w1`, `time_mix_lerp_w`"
    );
    assert_eq!(
        rwkv.hint.unwrap(),
        "known are llama, gpt2, gptneox, qwen2, qwen3, gemma, gemma2, gemma3, gemma4, phi2, phi3, olmo2, stablelm, granite, \
         smollm3, qwen2moe, qwen3moe, qwen35, qwen35moe, gpt-oss, bloom, falcon, mpt, command-r, cohere2, glm4, starcoder, deepseek2, mamba, mamba2, granitehybrid, granitemoe, bert, rwkv7, modern-bert, Mistral's models as llama; folders \
         with a config.json may be of more families"
    );
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let many = other("gemma3n", &keys, &[]).message;
    assert!(many.ends_with("no meaning here have the keys `a`, `b`, `c`, `d`, `e`, `f` and 2 more"), "{many}");
    let none = other("internlm2", &["block_count"], &["token_embd.weight"]).message;
    assert!(none.ends_with("and the file does not say what to compute with them"), "{none}");
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let with = |key: &str, value: Value| {
        refused(|pairs| {
            pairs.retain(|(other, _)| other != key);
            pairs.push((key.to_string(), value.clone()));
        })
    };
    assert_eq!(
        with("llama.attention.sliding_window_pattern", Value::Unsigned(4)),
        "the metadata have `llama.attention.sliding_window_pattern`, which is not known here and may change the mathematics"
    );
    assert_eq!(
        with("llama.rope.scaling.type", Value::Text("yarn".into())),
        "expected no rotary scaling, a linear one or YaRN's, found `yarn` by nothing"
    );
    assert_eq!(with("llama.expert_count", Value::Unsigned(8)), "expected 1 to 8 experts to read each token, found 0");
    assert_eq!(with("split.count", Value::Unsigned(2)), "expected `split.no` in a part of a model, found none");
    assert_eq!(
        with("llama.vocab_size", Value::Unsigned(9)),
        "expected 9 tokens as `vocab_size` says, found 320 rows in token_embd.weight"
    );
    assert_eq!(
        with("llama.block_count", Value::Unsigned(1 << 30)),
        "expected at most as many layers as there are tensors, 30, found 1073741824"
    );
    assert_eq!(
        with("llama.attention.head_count", Value::Unsigned(0)),
        "expected at least one head and one dimension, found 0 and 32"
    );
    assert_eq!(
        with("llama.context_length", Value::Text("long".into())),
        "llama.context_length: expected a whole number, found a text"
    );
    assert_eq!(
        refused(|pairs| pairs.retain(|(key, _)| key != "llama.context_length")),
        "expected `llama.context_length` in the metadata, found none"
    );
}
