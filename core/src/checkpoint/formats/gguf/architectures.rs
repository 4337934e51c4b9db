//! Architectures of GGUF files: what each computes, read from the metadata.

use super::super::base::{ModelSizes, llama as llama_like};
use super::common::{Architecture, gpt, rms, rotary, window};
use super::keys::GgufKeys;
use super::{bert, biased, gemma, gemma4, latent, mixtures, plain, qwen35, rope, rwkv7, state_spaces, unknown};
use crate::common::*;
use crate::model::config::{Activation, Config, Order, Positions, QkNorm, Scaling};
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;

/// Architectures that are known. Mistral's models and Mixtral are written as `llama`, OLMo 3 as `olmo2`.
const KNOWN: [&str; 35] = [
    "llama",
    "gpt2",
    "gptneox",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma4",
    "phi2",
    "phi3",
    "olmo2",
    "stablelm",
    "granite",
    "smollm3",
    "qwen2moe",
    "qwen3moe",
    "qwen35",
    "qwen35moe",
    "gpt-oss",
    "bloom",
    "falcon",
    "mpt",
    "command-r",
    "cohere2",
    "glm4",
    "starcoder",
    "deepseek2",
    "mamba",
    "mamba2",
    "granitehybrid",
    "granitemoe",
    "bert",
    "rwkv7",
    "modern-bert",
];

/// The token that ends a text, and those that end an answer in a chat.
const ENDS: [&str; 3] = ["eos", "eot", "eom"];

pub(super) fn read(keys: &GgufKeys, source: &dyn TensorSource) -> Result<Architecture> {
    if !KNOWN.contains(&keys.architecture) {
        return Err(unknown::refused(keys, source, &KNOWN));
    }
    let all_layers = keys.size("block_count")?;
    let config = common(keys, source)?;
    let mut found = Architecture {
        fused_qkv: source.shape("blk.0.attn_qkv.weight").is_some(),
        fused_gate: false,
        mlp_norm_behind_attention: false,
        attn_norm_is_second: false,
        all_layers,
        ignored: ahead(source, config.layers),
        config,
    };
    match keys.architecture {
        "gpt2" => gpt2(keys, &mut found.config)?,
        "starcoder" => {
            gpt2(keys, &mut found.config)?;
            found.config.family = "gpt_bigcode".into();
        }
        "gptneox" => gpt_neox(keys, &mut found.config)?,
        "llama" => llama(keys, source, &mut found)?,
        "gemma" => gemma::gemma(keys, &mut found.config)?,
        "gemma2" => gemma::gemma2(keys, &mut found.config)?,
        "gemma3" => gemma::gemma3(keys, &mut found.config)?,
        "gemma4" => gemma4::gemma4(keys, source, &mut found)?,
        "phi2" => plain::phi2(keys, &mut found)?,
        "phi3" => phi3(keys, &mut found)?,
        "olmo2" => plain::olmo2(keys, &mut found)?,
        "stablelm" => plain::stablelm(keys, source, &mut found)?,
        "granite" => {
            llama(keys, source, &mut found)?;
            plain::granite(keys, &mut found.config)?;
            state_spaces::of_no_layer(keys)?;
        }
        "smollm3" => {
            llama(keys, source, &mut found)?;
            plain::smollm3(&mut found.config);
        }
        "qwen2moe" | "qwen3moe" => mixtures::qwen_moe(keys, &mut found)?,
        "qwen35" | "qwen35moe" => qwen35::qwen35(keys, &mut found)?,
        "bloom" => biased::bloom(keys, &mut found.config)?,
        "falcon" => biased::falcon(keys, source, &mut found)?,
        "mpt" => biased::mpt(keys, source, &mut found.config)?,
        "command-r" | "cohere2" => plain::cohere(keys, &mut found)?,
        "glm4" => plain::glm4(keys, &mut found)?,
        "deepseek2" => latent::deepseek2(keys, source, &mut found)?,
        "mamba" | "mamba2" => state_spaces::mamba(keys, source, &mut found)?,
        "granitehybrid" | "granitemoe" => state_spaces::granite4(keys, source, &mut found)?,
        "bert" => bert::bert(keys, source, &mut found)?,
        "rwkv7" => rwkv7::rwkv7(keys, &mut found)?,
        "modern-bert" => bert::modern_bert(keys, source, &mut found)?,
        "gpt-oss" => mixtures::gpt_oss(keys, source, &mut found)?,
        _ => qwen(keys, &mut found)?,
    }
    keys.finish()?;
    found.config = found.config.checked_of_file()?;
    Ok(found)
}

/// Lists the tensors of blocks that predict tokens ahead, behind those of the model.
fn ahead(source: &dyn TensorSource, layers: usize) -> Vec<String> {
    let is_ahead = |name: &String| {
        let number = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
        number.and_then(|number| number.parse::<usize>().ok()).is_some_and(|number| number >= layers)
    };
    source.names().into_iter().filter(is_ahead).collect()
}

/// Reads what the llama-like architectures have in common; the others change it.
fn common(keys: &GgufKeys, source: &dyn TensorSource) -> Result<Config> {
    let layers = keys.size("block_count")?;
    let layers = match keys.architecture {
        "qwen35" | "qwen35moe" | "deepseek2" => {
            layers.saturating_sub(keys.maybe_size("nextn_predict_layers")?.unwrap_or(0))
        }
        _ => layers,
    };
    let d_model = keys.size("embedding_length")?;
    let heads = match keys.size("attention.head_count")? {
        0 if state_spaces::is_without_attention(keys.architecture) => 1,
        heads => heads,
    };
    let tensors = source.names().len();
    if layers > tensors {
        bail!(Format, "expected at most as many layers as there are tensors, {tensors}, found {layers}");
    }
    if heads == 0 || d_model == 0 {
        bail!(Format, "expected at least one head and one dimension, found {heads} and {d_model}");
    }
    let here = |name: &str| source.shape(name).is_some();
    let sizes = ModelSizes {
        layers,
        d_model,
        heads,
        d_head: head_size(keys, d_model, heads)?,
        d_mlp: width(keys, layers)?,
        vocab: vocab(keys, source)?,
        context: keys.size("context_length")?,
    };
    Ok(Config {
        family: keys.architecture.into(),
        kv_heads: first(keys, "attention.head_count_kv", layers)?.unwrap_or(heads),
        tied: !here("output.weight"),
        qkv_bias: here("blk.0.attn_q.bias") || here("blk.0.attn_qkv.bias"),
        out_bias: here("blk.0.attn_output.bias"),
        mlp_bias: here("blk.0.ffn_up.bias"),
        unembed_bias: here("output.bias"),
        bos: keys.token("bos")?,
        eos: ends(keys)?,
        ..llama_like(sizes)
    })
}

/// Reads a size that some architectures have for each layer apart, which they read once more; layers of Granite 4 without
/// attention have 0.
fn first(keys: &GgufKeys, key: &str, layers: usize) -> Result<Option<usize>> {
    match keys.architecture {
        "gemma4" => Ok(keys.sizes(key, layers)?.and_then(|sizes| sizes.first().copied())),
        "granitehybrid" | "granitemoe" | "granite" => {
            Ok(keys.sizes(key, layers)?.and_then(|sizes| sizes.into_iter().max()))
        }
        _ => keys.maybe_size(key),
    }
}

/// Reads the width of MLPs, which only a mixture without any may lack.
fn width(keys: &GgufKeys, layers: usize) -> Result<usize> {
    const KEY: &str = "feed_forward_length";
    match first(keys, KEY, layers)? {
        Some(width) => Ok(width),
        None if keys.architecture == "qwen35moe" => keys.size("expert_feed_forward_length"),
        None => keys.size(KEY),
    }
}

fn ends(keys: &GgufKeys) -> Result<Vec<u32>> {
    let mut ends = Vec::new();
    for id in ENDS.iter().map(|name| keys.token(name)).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    Ok(ends)
}

fn head_size(keys: &GgufKeys, d_model: usize, heads: usize) -> Result<usize> {
    if keys.architecture == "deepseek2" {
        return latent::key_size(keys);
    }
    let stated = keys.maybe_size("attention.key_length")?;
    let values = keys.maybe_size("attention.value_length")?;
    let size = match stated {
        Some(size) => size,
        None if d_model.is_multiple_of(heads) => d_model / heads,
        None => bail!(Format, "expected heads that divide {d_model} dimensions, found {heads}"),
    };
    match values {
        Some(other) if other != size => {
            bail!(Format, "expected values as long as keys, {size}, found {other}")
        }
        _ if size == 0 => bail!(Format, "expected heads of at least one dimension, found none"),
        _ => Ok(size),
    }
}

fn vocab(keys: &GgufKeys, source: &dyn TensorSource) -> Result<usize> {
    const NAME: &str = "token_embd.weight";
    let found = match source.shape(NAME).as_deref() {
        Some(&[vocab, _]) => vocab,
        Some(other) => bail!(Format, "{NAME}: expected two axes, found shape {other:?}"),
        None => {
            return Err(err!(Format, "expected the tensor `{NAME}`, found none")
                .hint("the file holds a tokenizer alone, or no model of text"));
        }
    };
    match keys.maybe_size("vocab_size")? {
        Some(stated) if stated != found => {
            bail!(Format, "expected {stated} tokens as `vocab_size` says, found {found} rows in {NAME}")
        }
        _ => Ok(found),
    }
}

/// Returns the same window for every layer, where the file states one.
fn same_window(keys: &GgufKeys, layers: usize) -> Result<Vec<Option<usize>>> {
    Ok(window(keys, None)?.map_or(Vec::new(), |window| vec![Some(window); layers]))
}

fn gpt2(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    gpt(keys, config)?;
    config.act = Activation::GeluTanh;
    config.positions = Positions::Learned;
    Ok(())
}

/// Reads GPT-NeoX. The file does not say which GELU; Pythia and GPT-NeoX-20B were trained with the exact one and the fast one,
/// which differ by less than 1e-3.
fn gpt_neox(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    gpt(keys, config)?;
    config.family = "gpt_neox".into();
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    config.order = if keys.flag("use_parallel_residual", true)? { Order::Parallel } else { Order::Serial };
    Ok(())
}

/// Reads what llama adds. llama.cpp's converter permutes the rows of queries and keys so that adjacent ones are rotated
/// together.
///
/// The window of Mistral's first model is not written by the converter; where another writer states it, it is obeyed,
/// as its training did, which llama.cpp does not do.
fn llama(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    const FACTORS: &str = "rope_freqs.weight";
    keys.maybe_text("tensor_data_layout")?;
    let config = &mut found.config;
    if keys.architecture == "llama" {
        config.experts = mixtures::experts(keys, config)?;
    }
    rms(keys, config)?;
    let mut rotary = rotary(keys, config.d_head, true)?;
    if source.shape(FACTORS).is_some() {
        if rotary.scaling != Scaling::None {
            bail!(Format, "the file scales its rotation twice, by its metadata and by `{FACTORS}`");
        }
        let factors: Tensor = source.tensor(FACTORS)?;
        rotary.scaling = rope::recognised(&factors, &rotary).map_err(|e| e.within(FACTORS))?;
        found.ignored.push(FACTORS.into());
    }
    config.rotary = Some(rotary);
    config.windows = same_window(keys, config.layers)?;
    Ok(())
}

fn qwen(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    rms(keys, config)?;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    if keys.architecture == "qwen3" {
        config.qk_norm = QkNorm::Head;
    }
    Ok(())
}

fn phi3(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    found.fused_gate = true;
    let config = &mut found.config;
    rms(keys, config)?;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    config.windows = same_window(keys, config.layers)?;
    Ok(())
}
