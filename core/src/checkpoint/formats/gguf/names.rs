//! The names of tensors in GGUF files.

/// Tensors outside of blocks. The last has the divisors of frequencies, which the config takes in.
const OUTSIDE: [&str; 5] = ["token_embd", "position_embd", "output_norm", "output", "rope_freqs"];

/// Tensors of a block that are the rows of several of ours.
const FUSED: [&str; 1] = ["attn_qkv"];

/// Names of the parts of a block: ours, and those in GGUF files.
const PARTS: [(&str, &str); 13] = [
    ("attn_norm", "attn_norm"),
    ("attn.q", "attn_q"),
    ("attn.k", "attn_k"),
    ("attn.v", "attn_v"),
    ("attn.o", "attn_output"),
    ("attn.q_norm", "attn_q_norm"),
    ("attn.k_norm", "attn_k_norm"),
    ("attn_post_norm", "post_attention_norm"),
    ("mlp_norm", "ffn_norm"),
    ("mlp.gate", "ffn_gate"),
    ("mlp.up", "ffn_up"),
    ("mlp.down", "ffn_down"),
    ("mlp_post_norm", "post_ffw_norm"),
];

/// Returns the name of a part of a block in GGUF files.
pub fn theirs(part: &str) -> Option<&'static str> {
    PARTS.iter().find(|(ours, _)| *ours == part).map(|(_, theirs)| *theirs)
}

/// Returns whether some architecture has a tensor of this name, without the number of its layer.
pub fn is_known(part: &str) -> bool {
    OUTSIDE.contains(&part) || FUSED.contains(&part) || PARTS.iter().any(|(_, theirs)| *theirs == part)
}
