//! GGUF files as candle reads them by itself: metadata, names, blocks, and the families that compute with quantised
//! weights.
//!
//! Candle multiplies a quantised matrix with activations rounded to int8, in blocks of 32 or 256 numbers.

use std::io::Cursor;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Content;
use candle_transformers::models::{quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3};

use super::families::{self, Next, computes_the_same, equal_part, sized};
use crate::base::disk::Mapping;
use crate::common::*;
use crate::model::config::{Activation, Config, Rotary};
use crate::tensor::{Device, Tensor};

/// A model of candle that was read from a file.
pub struct QuantisedModel {
    /// The model, which forgets what it has read when it is at position 0 again.
    pub next: Next,
    /// Relative error of one block beyond that of f32.
    pub coarse: f64,
}

/// A family of GGUF files that candle implements.
struct GgufFamily {
    /// Name in our configs.
    name: &'static str,
    /// The config that candle's implementation computes, given a model's.
    computes: fn(&Config) -> Config,
    make: fn(Content, &mut Cursor<&[u8]>) -> candle_core::Result<Next>,
    /// Whether the table of rotary embeddings is in half precision.
    has_half_rope: bool,
}

/// Constructor of models of a module of candle, with its flag for fused attention if it has one.
macro_rules! made {
    ($module:ident $(, $flag:expr)?) => {
        |content, file| {
            let mut model = $module::ModelWeights::from_gguf($($flag,)? content, file, &Device::Cpu)?;
            Ok(Box::new(move |ids: &Tensor, before: usize| model.forward(ids, before)))
        }
    };
}

/// Gemma 3 is missing, since candle's MLP of its files has SiLU where the model has GELU.
const FAMILIES: &[GgufFamily] = &[
    GgufFamily { name: "llama", computes: llama, make: made!(quantized_llama), has_half_rope: false },
    GgufFamily { name: "phi3", computes: phi3, make: made!(quantized_phi3, false), has_half_rope: false },
    GgufFamily { name: "qwen2", computes: qwen2, make: made!(quantized_qwen2), has_half_rope: false },
    GgufFamily { name: "qwen3", computes: qwen3, make: make_qwen3, has_half_rope: true },
];

fn make_qwen3(content: Content, file: &mut Cursor<&[u8]>) -> candle_core::Result<Next> {
    let mut model = quantized_qwen3::ModelWeights::from_gguf(content, file, &Device::Cpu)?;
    Ok(Box::new(move |ids: &Tensor, before: usize| {
        // The other families do so themselves.
        if before == 0 {
            model.clear_kv_cache();
        }
        model.forward(ids, before)
    }))
}

/// Relative error of a block with int8 activations. Their steps are 1/127 of the largest number of 32 or 256, so a
/// product is off by some thousandths of its norm, more where few numbers are large; a block has four products in a
/// row.
const OF_INT8: f64 = 1.0 / 32.0;

/// Unit of rounding of half precision. An angle of RoPE is off by this times the position.
const OF_HALF: f64 = 1.0 / 2048.0;

/// Reads the file of a model with candle, for texts of this many tokens.
pub fn read(config: &Config, file: Arc<Mapping>, tokens: usize, task: &Task) -> Result<QuantisedModel> {
    let name = &config.family;
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        return Err(err!(Argument, "candle reads no GGUF files of {name}, or computes something else of them"));
    };
    computes_the_same(&format!("candle's quantised {name}"), config, &(family.computes)(config))?;
    let embedding = config.vocab * config.d_model * 4;
    memory::check((file.len() + embedding) as u128, || "the file as candle has it".into())?;
    let make = family.make;
    let rotary = if family.has_half_rope { OF_HALF * (tokens + 1) as f64 } else { 0.0 };
    let read = move || -> candle_core::Result<QuantisedModel> {
        let mut cursor = Cursor::new(&file[..]);
        let content = Content::read(&mut cursor)?;
        let is_plain = |dtype| matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        let rounding = if content.tensor_infos.values().all(|info| is_plain(info.ggml_dtype)) { 0.0 } else { OF_INT8 };
        Ok(QuantisedModel { next: make(content, &mut cursor)?, coarse: rounding + rotary })
    };
    task.apart(move || read().map_err(Error::from))
}

/// Returns what candle's quantised llama computes, which reads no scaling of RoPE from files.
fn llama(ours: &Config) -> Config {
    let config = sized(ours, equal_part(ours));
    let rotary = config.rotary.map(|rotary| Rotary { neighbours: true, ..rotary });
    Config { rotary, ..config }
}

/// Returns what candle's quantised phi3 computes, whose base of RoPE is fixed.
fn phi3(ours: &Config) -> Config {
    let config = sized(ours, equal_part(ours));
    let rotary = config.rotary.map(|rotary| Rotary { theta: 10_000.0, ..rotary });
    Config { rotary, tied: false, ..config }
}

fn qwen2(ours: &Config) -> Config {
    Config { act: Activation::Silu, ..families::qwen2(ours) }
}

fn qwen3(ours: &Config) -> Config {
    Config { act: Activation::Silu, qkv_bias: false, out_bias: false, ..families::qwen3(ours) }
}
