//! Small valid files of every format, to be damaged.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use microtome::tensor::files::gguf_value::Value;
use microtome::tensor::{Device, Tensor};

use super::writer::{self, F32, GgmlKind};

pub fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap()
}

/// A llama of one layer, 32 dimensions and 16 tokens, partly quantised.
pub fn gguf() -> Vec<u8> {
    gguf_with(&[])
}

/// The same with more metadata, or with others.
pub fn gguf_with(others: &[(&str, Value)]) -> Vec<u8> {
    let size = |n| Value::Unsigned(n);
    let tokens = (0..16).map(|i| Value::Text(format!("<{i}>"))).collect();
    let scores = (0..16).map(|i| Value::Single(-(i as f32))).collect();
    let mut metadata = vec![
        ("general.architecture", Value::Text("llama".into())),
        ("general.alignment", size(32)),
        ("llama.block_count", size(1)),
        ("llama.context_length", size(8)),
        ("llama.embedding_length", size(32)),
        ("llama.feed_forward_length", size(64)),
        ("llama.attention.head_count", size(4)),
        ("llama.attention.head_count_kv", size(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Single(1e-5)),
        ("llama.rope.freq_base", Value::Single(10_000.0)),
        ("tokenizer.ggml.model", Value::Text("llama".into())),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.scores", Value::Array(scores)),
        ("tokenizer.ggml.bos_token_id", size(1)),
    ];
    metadata.retain(|(key, _)| others.iter().all(|(other, _)| other != key));
    metadata.extend_from_slice(others);
    let q8 = (8, GgmlDType::Q8_0);
    let shapes: [(&str, &[usize], GgmlKind); 12] = [
        ("token_embd.weight", &[16, 32], q8),
        ("blk.0.attn_norm.weight", &[32], F32),
        ("blk.0.attn_q.weight", &[32, 32], (2, GgmlDType::Q4_0)),
        ("blk.0.attn_k.weight", &[16, 32], q8),
        ("blk.0.attn_v.weight", &[16, 32], (1, GgmlDType::F16)),
        ("blk.0.attn_output.weight", &[32, 32], F32),
        ("blk.0.ffn_norm.weight", &[32], F32),
        ("blk.0.ffn_gate.weight", &[64, 32], (3, GgmlDType::Q4_1)),
        ("blk.0.ffn_up.weight", &[64, 32], (6, GgmlDType::Q5_0)),
        ("blk.0.ffn_down.weight", &[32, 64], (7, GgmlDType::Q5_1)),
        ("output_norm.weight", &[32], F32),
        ("rope_freqs.weight", &[4], F32),
    ];
    let tensor = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    let named: BTreeMap<_, _> =
        shapes.iter().map(|(name, shape, kind)| (name.to_string(), (tensor(shape), *kind))).collect();
    writer::file(&metadata, &named)
}

/// A checkpoint of llama2.c with one layer, of the first version or of version 1.
pub fn llama2c(newer: bool) -> Vec<u8> {
    let d = 8;
    let wide = 12;
    let vocab = 16;
    let context = 5;
    let sizes: [i32; 7] = [d, wide, 1, 4, 2, vocab, context];
    let mut bytes = Vec::new();
    if newer {
        bytes.extend(0x616b_3432_u32.to_le_bytes());
        bytes.extend(1_i32.to_le_bytes());
    }
    bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    if newer {
        bytes.push(1);
        bytes.resize(256, 0);
    }
    let tables = if newer { 0 } else { 2 * context };
    let numbers = vocab * d + 2 * d + 2 * d * d + 2 * 4 * d + 3 * d * wide + d + tables;
    bytes.extend((0..numbers).flat_map(|i| (i as f32 / 100.0).to_le_bytes()));
    bytes
}
