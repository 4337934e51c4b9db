//! StarCoder's GPT-BigCode (Li et al. 2023): as gpt2, with one head of keys and values or one for each head of queries,
//! then fused by head, and matrices stored as `[out, in]`.

use super::gpt2;
use super::prelude::*;

pub(super) const FAMILY: Family =
    Family { name: "gpt_bigcode", read, names: &[NAMES, gpt2::STREAM_NAMES], ignored: gpt2::IGNORED };

const COMMON: Common = Common { act: ("activation_function", "gelu_pytorch_tanh"), ..gpt2::sized("gpt_bigcode") };

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.qkv", OfEachGroup("transformer.h.*.attn.c_attn", QKV)),
    ("blocks.*.attn.o", Same("transformer.h.*.attn.c_proj")),
    ("blocks.*.mlp.up", Same("transformer.h.*.mlp.c_fc")),
    ("blocks.*.mlp.down", Same("transformer.h.*.mlp.c_proj")),
];

/// Keys of another program that ran published models.
const OF_A_RUNNER: [&str; 6] = [
    "inference_runner",
    "max_batch_size",
    "max_sequence_length",
    "pad_key_length",
    "pre_allocate_kv_cache",
    "validate_runner_input",
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = if keys.flag("multi_query", true)? {
        keys.only("num_key_value_heads", 1)?;
        1
    } else {
        // transformers writes 12 there, whatever the number of heads, and reads it nowhere.
        keys.value("num_key_value_heads");
        config.heads
    };
    // Where a softmax is computed in f32, which ours always is.
    keys.flag("attention_softmax_in_fp32", true)?;
    keys.flag("scale_attention_softmax_in_fp32", true)?;
    keys.ignore(&OF_A_RUNNER);
    let score_scale = if keys.flag("scale_attn_weights", true)? { config.score_scale } else { 1.0 };
    Ok(Config {
        kv_heads,
        positions: Positions::Learned,
        score_scale,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..config
    })
}
