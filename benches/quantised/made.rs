//! Made-up GGUF files: llamas of random weights in Q4_K or Q8_0, with the sizes of Qwen2.5-1.5B.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use microtome::base::random::stream;
use rand::Rng;

pub const VOCAB: usize = 151_936;
pub const D_MODEL: usize = 1536;
pub const D_MLP: usize = 8960;
const KEYS: usize = 256;

/// ggml's numbers of the types of tensors.
const F32: u32 = 0;
pub const Q8_0: u32 = 8;
pub const Q4_K: u32 = 12;
const Q6_K: u32 = 14;

struct MadeTensor {
    name: String,
    rows: usize,
    inner: usize,
    kind: u32,
}

impl MadeTensor {
    fn bytes(&self) -> usize {
        let (numbers, bytes) = block(self.kind);
        self.rows * self.inner / numbers * bytes
    }
}

/// Numbers in a block of a type, and its bytes.
fn block(kind: u32) -> (usize, usize) {
    match kind {
        F32 => (1, 4),
        Q8_0 => (32, 34),
        Q4_K => (256, 144),
        _ => (256, 210),
    }
}

/// Writes a file of so many layers with matrices of a type; returns its number of weights.
pub fn write(place: &Path, kind: u32, layers: usize) -> usize {
    let entries = entries(kind, layers);
    let mut file = BufWriter::new(File::create(place).unwrap());
    let header = header(&entries, layers);
    file.write_all(&header).unwrap();
    let mut random = stream(1, "weights", 0);
    let mut made = [0_u8; 210];
    for entry in &entries {
        if entry.kind == F32 {
            (0..entry.rows * entry.inner).for_each(|_| file.write_all(&1_f32.to_le_bytes()).unwrap());
        } else {
            let (_, size) = block(entry.kind);
            for _ in 0..entry.bytes() / size {
                random.fill_bytes(&mut made[..size]);
                scaled(&mut made[..size], entry.kind);
                file.write_all(&made[..size]).unwrap();
            }
        }
        let padding = entry.bytes().next_multiple_of(32) - entry.bytes();
        file.write_all(&[0; 32][..padding]).unwrap();
    }
    file.flush().unwrap();
    entries.iter().map(|entry| entry.rows * entry.inner).sum()
}

/// Scales that give numbers around 0 of about .02: those of Q4_K are six bits for each group, here all 32 of 64.
fn scaled(block: &mut [u8], kind: u32) {
    let half = |x: f32| half::f16::from_f32(x).to_le_bytes();
    match kind {
        Q8_0 => block[..2].copy_from_slice(&half(0.02 / 64.0)),
        Q4_K => {
            block[..2].copy_from_slice(&half(0.004 / 32.0));
            block[2..4].copy_from_slice(&half(0.004 * 7.5 / 32.0));
            block[4..12].fill(32);
            // The last four groups have four of their bits here and two in the bytes before: 0 and 32 >> 4.
            block[12..16].fill(0);
            block[4..12].iter_mut().for_each(|byte| *byte |= 2 << 6);
        }
        _ => {
            block[208..].copy_from_slice(&half(0.001 / 64.0));
            block[192..208].fill(64);
        }
    }
}

/// The tensors: matrices of a type, and the embedding in Q6_K beside Q4_K, as files have it.
fn entries(kind: u32, layers: usize) -> Vec<MadeTensor> {
    let entry = |name: String, rows: usize, inner: usize, kind: u32| MadeTensor { name, rows, inner, kind };
    let of_embedding = if kind == Q4_K { Q6_K } else { kind };
    let mut all = vec![
        entry("token_embd.weight".into(), VOCAB, D_MODEL, of_embedding),
        entry("output_norm.weight".into(), 1, D_MODEL, F32),
    ];
    for layer in 0..layers {
        let at = |part: &str| format!("blk.{layer}.{part}.weight");
        all.extend([
            entry(at("attn_norm"), 1, D_MODEL, F32),
            entry(at("attn_q"), D_MODEL, D_MODEL, kind),
            entry(at("attn_k"), KEYS, D_MODEL, kind),
            entry(at("attn_v"), KEYS, D_MODEL, kind),
            entry(at("attn_output"), D_MODEL, D_MODEL, kind),
            entry(at("ffn_norm"), 1, D_MODEL, F32),
            entry(at("ffn_gate"), D_MLP, D_MODEL, kind),
            entry(at("ffn_up"), D_MLP, D_MODEL, kind),
            entry(at("ffn_down"), D_MODEL, D_MLP, kind),
        ]);
    }
    all
}

/// The metadata and the list of tensors, padded.
fn header(entries: &[MadeTensor], layers: usize) -> Vec<u8> {
    let sizes = [
        ("llama.block_count", layers),
        ("llama.context_length", 4096),
        ("llama.embedding_length", D_MODEL),
        ("llama.attention.head_count", 12),
        ("llama.attention.head_count_kv", 2),
        ("llama.feed_forward_length", D_MLP),
        ("llama.rope.dimension_count", 128),
        ("llama.vocab_size", VOCAB),
    ];
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    out.extend((sizes.len() as u64 + 3).to_le_bytes());
    for (key, text) in [("general.architecture", "llama"), ("tokenizer.ggml.model", "none")] {
        write_text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        write_text(&mut out, text);
    }
    for (key, size) in sizes {
        write_text(&mut out, key);
        out.extend(4_u32.to_le_bytes());
        out.extend((size as u32).to_le_bytes());
    }
    write_text(&mut out, "llama.attention.layer_norm_rms_epsilon");
    out.extend(6_u32.to_le_bytes());
    out.extend(1e-6_f32.to_le_bytes());
    let mut offset = 0;
    for entry in entries {
        write_text(&mut out, &entry.name);
        let is_row = entry.kind == F32;
        out.extend(if is_row { 1_u32 } else { 2 }.to_le_bytes());
        out.extend((entry.inner as u64).to_le_bytes());
        if !is_row {
            out.extend((entry.rows as u64).to_le_bytes());
        }
        out.extend(entry.kind.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += entry.bytes().next_multiple_of(32);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
