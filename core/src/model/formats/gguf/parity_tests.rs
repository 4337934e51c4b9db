//! Models rewritten as the converter of llama.cpp would write them compute what they computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::rope::recognised;
use super::{File, Value, writer};
use crate::base::Task;
use crate::model::batch::Batch;
use crate::model::config::{Rotary, Scaling};
use crate::model::decoder::Decoder;
use crate::model::load::{self, Loading};
use crate::tensor::files::safetensors::Reader;
use crate::tensor::{DType, Device, Tensor};

type Tensors = BTreeMap<String, Tensor>;

fn fixture(family: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models").join(family).join(file)
}

fn tensors(family: &str, file: &str) -> Tensors {
    Reader::new(std::fs::read(fixture(family, file)).unwrap()).unwrap().all().unwrap().tensors
}

/// Permutes the rows of each head so that rotated pairs, one of each half, become adjacent.
fn permuted(t: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = t.dims2().unwrap();
    let halves = t.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

/// GPT-NeoX keeps (head, part, d_head); the converter puts all queries first.
fn by_part(t: &Tensor, heads: usize) -> Tensor {
    let rows = t.dim(0).unwrap();
    let inner = t.elem_count() / rows;
    let parts = t.reshape((heads, 3, rows / heads / 3, inner)).unwrap().transpose(0, 1).unwrap();
    parts.contiguous().unwrap().reshape(t.dims()).unwrap()
}

/// GGUF's name for a tensor of the safetensors file.
fn renamed(name: &str) -> String {
    let words = [
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
        ("post_attention_layernorm", "ffn_norm"),
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
        "llama" | "llama3_rope" if name.ends_with("attn_q.weight") => permuted(t, 4),
        "llama" | "llama3_rope" if name.ends_with("attn_k.weight") => permuted(t, 2),
        "gpt_neox" | "gpt_neox_serial" if name.contains("attn_qkv") => by_part(t, 4),
        "gpt2" if t.rank() == 2 && name.starts_with("blk.") => t.t().unwrap().contiguous().unwrap(),
        "gemma" if name.ends_with("norm.weight") => (t + 1.0).unwrap(),
        _ => t.clone(),
    }
}

/// The metadata that the converter would write, from the numbers of the fixtures' config.json.
fn metadata(family: &str, architecture: &str) -> Vec<(String, Value)> {
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture(family, "config.json")).unwrap()).unwrap();
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
    if let Some(theta) = config["rope_parameters"]["rope_theta"].as_f64() {
        add("rope.freq_base", Value::Single(theta as f32));
    }
    if architecture == "gptneox" {
        let turning = config["rope_parameters"]["partial_rotary_factor"].as_f64().unwrap() * 8.0;
        add("rope.dimension_count", Value::Unsigned(turning as u64));
        add("use_parallel_residual", Value::Bool(config["use_parallel_residual"].as_bool().unwrap()));
    }
    if let Some(window) = config["sliding_window"].as_f64().filter(|_| architecture == "phi3") {
        add("attention.sliding_window", Value::Unsigned(window as u64));
    }
    metadata
}

fn rewritten(family: &str, architecture: &str, kind: impl Fn(&str) -> writer::Kind) -> Vec<u8> {
    let mut named = BTreeMap::new();
    for (name, t) in tensors(family, "model.safetensors") {
        let name = renamed(&name);
        let t = converted(family, &name, &t);
        let kind = kind(&name);
        named.insert(name, (t, kind));
    }
    if family == "llama3_rope" {
        named.insert("rope_freqs.weight".into(), (divisors(8, 64.0), writer::F32));
    }
    let metadata = metadata(family, architecture);
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    writer::file(&metadata, &named)
}

/// The divisors that the converter writes for factor 8, low 1, high 4 and this original context, base 500,000.
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
    let file = File::new(bytes).unwrap();
    let layout = file.layout().unwrap();
    let weights = load::weights(&layout, &file, "a test", &Loading::default(), &Task::default()).unwrap();
    let batch = Batch::new(ids.to_dtype(DType::U32).unwrap().to_vec2().unwrap()).unwrap();
    Decoder::new(layout.config, weights).logits(&batch, Vec::new(), &Task::default()).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

const FAMILIES: [(&str, &str); 9] = [
    ("llama", "llama"),
    ("llama3_rope", "llama"),
    ("gpt2", "gpt2"),
    ("gpt_neox", "gptneox"),
    ("gpt_neox_serial", "gptneox"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("gemma", "gemma"),
    ("phi3", "phi3"),
];

#[test]
fn models_in_f32_compute_what_they_were_published_to() {
    for (family, architecture) in FAMILIES {
        let expected = tensors(family, "expected.safetensors");
        let bytes = rewritten(family, architecture, |_| writer::F32);
        let off = distance(&logits(bytes, &expected["input_ids"]), &expected["logits"]);
        assert!(off < 1e-4, "{family} is off by {off}");
    }
}

#[test]
fn quantised_models_compute_nearly_the_same() {
    let expected = tensors("llama", "expected.safetensors");
    let scale = distance(&expected["logits"], &expected["logits"].zeros_like().unwrap());
    for (kind, most) in [((1, GgmlDType::F16), 0.01), ((8, GgmlDType::Q8_0), 0.05), ((2, GgmlDType::Q4_0), 0.6)] {
        // Rows of 56 are not whole blocks; converters do not quantise such tensors, nor norms.
        let quantised = |name: &str| !name.contains("norm") && !name.contains("ffn_down");
        let bytes = rewritten("llama", "llama", |name| if quantised(name) { kind } else { writer::F32 });
        let off = distance(&logits(bytes, &expected["input_ids"]), &expected["logits"]) / scale;
        assert!(off > 0.0 && off < most, "{:?} is off by {off} of the largest logit", kind.1);
    }
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

fn refused(change: impl Fn(&mut Vec<(String, Value)>)) -> String {
    let mut pairs = metadata("llama", "llama");
    change(&mut pairs);
    let pairs: Vec<(&str, Value)> = pairs.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let tensors = tensors("llama", "model.safetensors");
    let named = tensors.into_iter().map(|(name, t)| (renamed(&name), (t, writer::F32))).collect();
    File::new(writer::file(&pairs, &named)).unwrap().layout().unwrap_err().message
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
        with("general.architecture", Value::Text("mamba".into())),
        "the architecture `mamba` of GGUF files is not known here"
    );
    assert_eq!(
        with("llama.attention.sliding_window", Value::Unsigned(4)),
        "the metadata have `llama.attention.sliding_window`, which is not known here and may change the mathematics"
    );
    assert_eq!(
        with("llama.rope.scaling.type", Value::Text("yarn".into())),
        "expected no rotary scaling or a linear one, found `yarn` by nothing"
    );
    assert_eq!(
        with("llama.expert_count", Value::Unsigned(8)),
        "this model is a mixture of 8 experts, which is not known here"
    );
    assert_eq!(with("split.count", Value::Unsigned(2)), "this file is one part of a model that was split into several");
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
