//! The names of tensors in GGUF files.

/// Tensors outside of blocks, by our names.
const OUTSIDE: [(&str, &str); 10] = [
    ("embed", "token_embd"),
    ("embed_norm", "token_embd_norm"),
    ("pos_embed", "position_embd"),
    ("type_embed", "token_types"),
    ("stream_norm", "token_embd_norm"),
    ("final_norm", "output_norm"),
    ("unembed", "output"),
    ("layer_inputs.embed", "per_layer_token_embd"),
    ("layer_inputs.project", "per_layer_model_proj"),
    ("layer_inputs.norm", "per_layer_proj_norm"),
];

/// Tensors that are no weights of ours, or the rows of several: divisors of frequencies, which the config takes in, fused
/// matrices, the matrices of all experts; a name of Falcon's norms, and maps from latents.
const OTHERS: [&str; 11] = [
    "attn_norm_2",
    "rope_freqs",
    "attn_qkv",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
    "ffn_gate_up_exps",
    "attn_q_b",
    "attn_k_b",
    "attn_v_b",
    "attn_kv_b",
];

/// Names of the parts of a block: ours, and those in GGUF files. A name with a dot has its ending. `rwkv.` is before what only
/// blocks with time mixing call so, and `.bias` behind a bias that has a name of its own.
const PARTS: [(&str, &str); 83] = [
    ("attn_norm", "attn_norm"),
    ("attn.q", "attn_q"),
    ("attn.k", "attn_k"),
    ("attn.v", "attn_v"),
    ("attn.o", "attn_output"),
    ("attn.q_norm", "attn_q_norm"),
    ("attn.k_norm", "attn_k_norm"),
    ("attn.sinks", "attn_sinks.weight"),
    ("attn.q_latent", "attn_q_a"),
    ("attn.q_latent_norm", "attn_q_a_norm"),
    ("attn.kv_latent", "attn_kv_a_mqa"),
    ("attn.k_shared", "attn_kv_a_mqa"),
    ("attn.kv_latent_norm", "attn_kv_a_norm"),
    ("attn_post_norm", "post_attention_norm"),
    ("attn_stream_norm", "attn_output_norm"),
    ("mlp_stream_norm", "layer_output_norm"),
    ("mlp_norm", "ffn_norm"),
    ("mlp.gate", "ffn_gate"),
    ("mlp.up", "ffn_up"),
    ("mlp.down", "ffn_down"),
    ("mlp_post_norm", "post_ffw_norm"),
    ("mlp.router", "ffn_gate_inp"),
    ("mlp.choice_bias", "exp_probs_b.bias"),
    ("mlp.router_scale", "ffn_gate_inp.scale"),
    ("mlp.expert_scales", "ffn_down_exps.scale"),
    ("mlp.experts_norm", "pre_ffw_norm_2"),
    ("mlp.experts_post_norm", "post_ffw_norm_2"),
    ("mlp.own_post_norm", "post_ffw_norm_1"),
    ("mlp.shared_gate", "ffn_gate_inp_shexp"),
    ("mlp.shared.gate", "ffn_gate_shexp"),
    ("mlp.shared.up", "ffn_up_shexp"),
    ("mlp.shared.down", "ffn_down_shexp"),
    ("layer_input.gate", "inp_gate"),
    ("layer_input.project", "proj"),
    ("layer_input.post_norm", "post_norm"),
    ("scale", "layer_output_scale.weight"),
    ("delta.q", "attn_qkv"),
    ("delta.k", "attn_qkv"),
    ("delta.v", "attn_qkv"),
    ("delta.gate", "attn_gate"),
    ("delta.conv", "ssm_conv1d"),
    ("delta.write", "ssm_beta"),
    ("delta.forget", "ssm_alpha"),
    ("delta.forget_bias", "ssm_dt.bias"),
    ("delta.log_rate", "ssm_a."),
    ("delta.norm", "ssm_norm"),
    ("delta.o", "ssm_out"),
    ("ssm.x", "ssm_in"),
    ("ssm.gate", "ssm_in"),
    ("ssm.conv", "ssm_conv1d"),
    ("ssm.dt_in", "ssm_x"),
    ("ssm.b", "ssm_x"),
    ("ssm.c", "ssm_x"),
    ("ssm.dt", "ssm_dt"),
    ("ssm.dt_bias", "ssm_dt.bias"),
    ("ssm.log_rate", "ssm_a."),
    ("ssm.skip", "ssm_d."),
    ("ssm.norm", "ssm_norm"),
    ("ssm.o", "ssm_out"),
    ("rwkv.shift", "time_mix_lerp_fused"),
    ("rwkv.r", "time_mix_receptance"),
    ("rwkv.k", "time_mix_key"),
    ("rwkv.v", "time_mix_value"),
    ("rwkv.w.bias", "time_mix_w0.weight"),
    ("rwkv.w_in", "time_mix_w1"),
    ("rwkv.w", "time_mix_w2"),
    ("rwkv.a.bias", "time_mix_a0.weight"),
    ("rwkv.a_in", "time_mix_a1"),
    ("rwkv.a", "time_mix_a2"),
    ("rwkv.v_share.bias", "time_mix_v0.weight"),
    ("rwkv.v_share_in", "time_mix_v1"),
    ("rwkv.v_share", "time_mix_v2"),
    ("rwkv.g_in", "time_mix_g1"),
    ("rwkv.g", "time_mix_g2"),
    ("rwkv.removal", "time_mix_k_k"),
    ("rwkv.replacement", "time_mix_k_a"),
    ("rwkv.bonus", "time_mix_r_k"),
    ("rwkv.norm", "time_mix_ln"),
    ("rwkv.o", "time_mix_output"),
    ("rwkv.mlp_norm", "attn_norm_2"),
    ("rwkv.mlp.up", "channel_mix_key"),
    ("rwkv.mlp.down", "channel_mix_value"),
    ("mlp.shift", "channel_mix_lerp_k"),
];

/// Returns the name of a part of a block in GGUF files, `.weight` or `.bias` included.
pub fn theirs(part: &str, ending: &str) -> Option<String> {
    named(&PARTS, part, ending)
}

/// Returns the name of a weight outside of blocks in GGUF files, `.weight` or `.bias` included.
pub fn outside(ours: &str, ending: &str) -> Option<String> {
    named(&OUTSIDE, ours, ending)
}

fn named(names: &[(&str, &str)], wanted: &str, ending: &str) -> Option<String> {
    let (_, theirs) = names.iter().find(|(ours, _)| *ours == wanted)?;
    Some(match theirs.split_once('.') {
        Some((bare, "")) => bare.to_string(),
        Some(_) => (*theirs).to_string(),
        None => format!("{theirs}.{ending}"),
    })
}

/// Returns whether some architecture has a tensor of this name, without the number of its layer and without its ending.
pub fn is_known(part: &str) -> bool {
    let is = |theirs: &str| theirs.split('.').next() == Some(part);
    OTHERS.contains(&part) || OUTSIDE.iter().chain(&PARTS).any(|(_, theirs)| is(theirs))
}
