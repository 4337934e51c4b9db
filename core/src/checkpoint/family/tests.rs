//! Tests of reading configs: defaults, old and new keys, and what is refused.

use serde_json::json;

use super::*;
use crate::model::config::{Order, Scaling};

fn config(json: Value) -> Config {
    read(&json, &[]).unwrap_or_else(|e| panic!("{e}")).config
}

/// Reads a small llama with some keys changed.
fn llama(changes: Value) -> crate::base::Result<Config> {
    let mut fields =
        json!({"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2});
    fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    read(&fields, &[]).map(|layout| layout.config)
}

fn refusal(changes: Value) -> String {
    llama(changes).unwrap_err().to_string()
}

#[test]
fn what_is_left_out_is_what_transformers_takes() {
    let written = kit::json("models/defaults.json");
    assert_eq!(written.as_object().unwrap().len(), FAMILIES.len());
    for (family, all) in written.as_object().unwrap() {
        let mut short = json!({"model_type": family});
        let mut all = all.clone();
        if family == "deepseek_v2" {
            // By default no number of experts is routed, which transformers cannot compute.
            assert!(read(&short, &[]).unwrap_err().message.contains("`experts.chosen`"));
            [&mut short, &mut all].into_iter().for_each(|fields| fields["num_experts_per_tok"] = json!(6));
        }
        assert_eq!(config(short), config(all), "{family}");
    }
}

#[test]
fn the_families_are_sorted_and_an_unknown_one_is_answered() {
    let known = known();
    assert!(known[..known.len() - 1].is_sorted());
    let error = read(&json!({"model_type": "qwen4"}), &[]).unwrap_err();
    assert_eq!(error.message, "the family `qwen4` of the config.json is not known");
    let hint = error.hint.unwrap();
    assert!(
        hint.starts_with("did you mean `qwen2`? families are bert bloom cohere cohere2 deepseek_v2 deepseek_v3 "),
        "{hint}"
    );
    assert!(read(&json!({}), &[]).unwrap_err().message.contains("model_type"));
    assert!(read(&json!([1]), &[]).is_err());
}

#[test]
fn keys_that_nobody_reads_are_refused_unless_they_are_ignored() {
    let strange = json!({"model_type": "llama", "attention_multiplier": 0.5});
    let error = read(&strange, &[]).unwrap_err();
    assert_eq!(error.message, "the config key `attention_multiplier` (0.5) is not known here");
    assert!(error.hint.unwrap().contains("ignore: [\"attention_multiplier\"]"));
    assert!(read(&strange, &["attention_multiplier".into()]).is_ok());
    assert!(refusal(json!({"num_atention_heads": 4})).contains("`num_atention_heads`"));
    assert!(refusal(json!({"quantization_config": {"bits": 4}})).contains("`quantization_config`"));
    assert!(refusal(json!({"num_key_value_head": 4})).contains("did you mean `num_key_value_heads`?"));
    // Null and empty values change nothing.
    assert!(llama(json!({"quantization_config": null, "pruned_heads": {}, "attention_multiplier": []})).is_ok());
}

#[test]
fn values_that_change_the_mathematics_are_refused_by_name() {
    let refused = |family: &str, key: &str, value: Value| {
        let mut fields = json!({"model_type": family});
        fields[key] = value;
        read(&fields, &[]).unwrap_err().message
    };
    for (family, key, value) in [
        ("opt", "do_layer_norm_before", json!(false)),
        ("opt", "word_embed_proj_dim", json!(512)),
        ("phi", "qk_layernorm", json!(true)),
        ("stablelm", "qk_layernorm", json!(true)),
        ("gpt2", "add_cross_attention", json!(true)),
        ("gptj", "scale_attn_weights", json!(false)),
        ("gemma2", "use_bidirectional_attention", json!(true)),
        ("gemma3_text", "use_bidirectional_attention", json!(true)),
        ("phi3", "attention_bias", json!(true)),
        ("cohere", "use_qk_norm", json!(true)),
        ("cohere2", "use_parallel_block", json!(false)),
        ("deepseek_v2", "norm_topk_prob", json!(true)),
        ("deepseek_v2", "mlp_bias", json!(true)),
        ("deepseek_v2", "scoring_func", json!("sigmoid")),
        ("deepseek_v3", "scoring_func", json!("softmax")),
        ("deepseek_v3", "topk_method", json!("greedy")),
        ("deepseek_v3", "moe_layer_freq", json!(2)),
        ("deepseek_v3", "num_key_value_heads", json!(8)),
        ("mamba", "rms_norm", json!(false)),
        ("mamba2", "d_model", json!(1)),
        ("gpt_bigcode", "num_key_value_heads", json!(12)),
        ("bloom", "apply_residual_connection_post_layernorm", json!(true)),
        ("bloom", "n_inner", json!(100)),
        ("mpt", "expansion_ratio", json!(2)),
        ("mpt", "logit_scale", json!(0.5)),
        ("falcon", "apply_residual_connection_post_layernorm", json!(true)),
        ("llama", "is_encoder_decoder", json!(true)),
    ] {
        let message = refused(family, key, value.clone());
        assert_eq!(message, format!("the config key `{key}` is {value}, which is not implemented"), "{family}");
    }
    assert!(refused("llama", "hidden_act", json!("relu2")).contains("`relu2` of config key `hidden_act`"));
    assert!(refused("llama", "hidden_size", json!("many")).contains("expected a size as config key `hidden_size`"));
    assert!(refused("llama", "eos_token_id", json!(-1)).contains("`eos_token_id`"));
}

#[test]
fn rotary_positions_are_read_from_old_keys_and_new_ones() {
    let rotary = |changes: Value| llama(changes).unwrap().rotary.unwrap();
    assert_eq!(rotary(json!({"rope_theta": 5e5})).theta, 5e5);
    assert_eq!(rotary(json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})).theta, 5e5);
    let linear = Scaling::Linear { factor: 2.0 };
    assert_eq!(rotary(json!({"rope_scaling": {"type": "linear", "factor": 2.0}})).scaling, linear);
    assert_eq!(rotary(json!({"rope_parameters": {"rope_type": "linear", "factor": 2}})).scaling, linear);
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
    let whole = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 2048 };
    assert_eq!(rotary(json!({"rope_scaling": llama3})).scaling, whole);

    for (kind, name) in [("rope_type", "proportional"), ("type", "dynamic"), ("rope_type", "longrope")] {
        let message = refusal(json!({"rope_scaling": {kind: name, "factor": 2.0}}));
        assert!(message.contains(&format!("`rope_type` {name} are not implemented")), "{message}");
    }
    let message = refusal(json!({"rope_scaling": {"type": "linear", "factor": 2.0, "mscale": 1.0}}));
    assert!(message.contains("`rope_scaling.mscale`"), "{message}");
    assert!(refusal(json!({"rope_scaling": {"type": "linear"}})).contains("`factor`"));
    assert!(refusal(json!({"rope_scaling": {"type": "linear", "rope_type": "llama3"}})).contains("contradict"));
    assert!(refusal(json!({"partial_rotary_factor": 0.5})).contains("`partial_rotary_factor` of 0.5"));
    let contradiction = json!({"model_type": "gpt_neox", "rotary_pct": 0.25, "partial_rotary_factor": 0.5});
    assert!(read(&contradiction, &[]).unwrap_err().message.contains("`rotary_pct` and `partial_rotary_factor`"));
}

#[test]
fn what_yarn_leaves_out_follows_from_the_rest() {
    let scaling = |changes: Value| {
        let mut yarn = json!({"rope_type": "yarn", "factor": 4.0});
        yarn.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        llama(json!({"rope_scaling": yarn})).map(|config| config.rotary.unwrap().scaling)
    };
    let amplitude = 0.1 * 4.0_f64.ln() + 1.0;
    let plain = Scaling::Yarn { factor: 4.0, slow: 1.0, fast: 32.0, original: 2048, rounded: true, amplitude };
    assert_eq!(scaling(json!({})).unwrap(), plain);
    assert_eq!(scaling(json!({"beta_fast": 0, "truncate": true, "mscale": 1.0})).unwrap(), plain);
    let stated = json!({"beta_fast": 16, "beta_slow": 2, "truncate": false, "attention_factor": 1.5,
        "original_max_position_embeddings": 512, "factor": null});
    let expected = Scaling::Yarn { factor: 4.0, slow: 2.0, fast: 16.0, original: 512, rounded: false, amplitude: 1.5 };
    assert_eq!(scaling(stated).unwrap(), expected);
    let Scaling::Yarn { amplitude, .. } = scaling(json!({"mscale": 1.0, "mscale_all_dim": 0.5})).unwrap() else {
        panic!("not YaRN")
    };
    assert_eq!(amplitude, (0.1 * 4.0_f64.ln() + 1.0) / (0.05 * 4.0_f64.ln() + 1.0));
    assert!(scaling(json!({"beta_fast": 1, "beta_slow": 2})).unwrap_err().message.contains("`fast`"));
    assert!(scaling(json!({"factor": -1.0})).is_err());
    // transformers rounds the bounds of OLMo 3 whatever is stated, so a file that states otherwise computes another thing.
    let olmo = |truncate: bool| {
        let yarn = json!({"rope_type": "yarn", "factor": 4.0, "truncate": truncate});
        read(&json!({"model_type": "olmo3", "rope_scaling": yarn}), &[]).map(|layout| layout.config.rotary.unwrap())
    };
    assert!(matches!(olmo(true).unwrap().scaling, Scaling::Yarn { rounded: true, .. }));
    let error = olmo(false).unwrap_err();
    assert_eq!(error.message, "the config key `rope_scaling.truncate` is false, which is not implemented");
    assert_eq!(error.hint.unwrap(), "only true is; the model would compute something else");
}

#[test]
fn windows_are_read_as_each_family_writes_them() {
    let windows = |changes: Value| config(changes).windows;
    let of = |family: &str| json!({"model_type": family, "sliding_window": 8, "num_hidden_layers": 3});
    assert_eq!(windows(of("mistral")), [Some(8), Some(8), Some(8)]);
    assert_eq!(windows(json!({"model_type": "mistral", "sliding_window": null})), []);
    assert_eq!(windows(of("gemma2")), [Some(8), None, Some(8)]);
    assert_eq!(windows(of("qwen2")), []);
    let mut qwen = of("qwen3");
    qwen["use_sliding_window"] = json!(true);
    qwen["max_window_layers"] = json!(2);
    assert_eq!(windows(qwen.clone()), [None, None, Some(8)]);
    qwen["layer_types"] = json!(["sliding_attention", "full_attention", "full_attention"]);
    assert_eq!(windows(qwen.clone()), [Some(8), None, None]);
    qwen["layer_types"] = json!(["sliding_attention"]);
    assert!(read(&qwen, &[]).unwrap_err().message.contains("expected 3 `layer_types`"));
    let mut gemma = of("gemma3_text");
    gemma["sliding_window_pattern"] = json!(2);
    assert_eq!(windows(gemma), [Some(8), None, Some(8)]);
    let neo = json!({"model_type": "gpt_neo", "num_layers": 3, "attention_types": [[["local", "global"], 1], [["local"], 1]]});
    assert_eq!(windows(neo), [Some(256), None, Some(256)]);
}

#[test]
fn huge_and_impossible_sizes_are_refused_before_anything_is_made_of_them() {
    for (key, value) in [
        ("num_hidden_layers", json!(u64::MAX)),
        ("hidden_size", json!(1_u64 << 60)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(7)),
        ("vocab_size", json!(0)),
        ("max_position_embeddings", json!(u64::MAX)),
    ] {
        assert!(llama(json!({key: value})).is_err(), "{key} {value}");
    }
    let endless = json!({"model_type": "gpt_neo", "num_layers": 2, "attention_types": [[["global"], u64::MAX]]});
    assert!(read(&endless, &[]).unwrap_err().message.contains("expected `attention_types` of 2 layers"));
}

#[test]
fn what_is_special_of_a_family_is_in_its_config() {
    let neo = config(json!({"model_type": "gpt_neo"}));
    assert_eq!(neo.score_scale, 1.0);
    assert_eq!(config(json!({"model_type": "gpt2", "scale_attn_weights": false})).score_scale, 1.0);
    assert_eq!(config(json!({"model_type": "opt"})).position_offset, 2);
    let gemma = config(json!({"model_type": "gemma", "hidden_size": 64}));
    assert_eq!((gemma.embed_scale, gemma.norm_plus_one), (Some(8.0), true));
    assert!(!config(json!({"model_type": "gemma", "use_bidirectional_attention": true})).causal);
    assert_eq!(config(json!({"model_type": "stablelm", "use_parallel_residual": true})).order, Order::ParallelShared);
    let granite = config(json!({"model_type": "granite", "residual_multiplier": 0.22, "logits_scaling": 8}));
    assert_eq!((granite.score_scale, granite.embed_scale), (1.0, None));
    assert_eq!((granite.write_scale, granite.logit_scale), (Some(0.22), Some(0.125)));
    assert!(read(&json!({"model_type": "granite", "logits_scaling": 0}), &[]).is_err());
    let smollm =
        |key: &str, value: Value| read(&json!({"model_type": "smollm3", "num_hidden_layers": 5, key: value}), &[]);
    assert_eq!(smollm("no_rope_layers", json!([1, 0, 1, 1, 0, 0])).unwrap().config.unrotated, [1, 4]);
    assert_eq!(smollm("no_rope_layer_interval", json!(2)).unwrap().config.unrotated, [1, 3]);
    assert!(smollm("no_rope_layers", json!([1, 0])).unwrap_err().message.contains("expected 5 `no_rope_layers`"));
    let olmo = config(json!({"model_type": "olmo3", "num_hidden_layers": 5, "rope_theta": 7e5,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0}}));
    assert_eq!(olmo.windows, [Some(4096), Some(4096), Some(4096), None, Some(4096)]);
    let whole = olmo.rotary.unwrap();
    let local = olmo.rotary_local.unwrap();
    assert_eq!((whole.theta, whole.scaling), (7e5, Scaling::Linear { factor: 2.0 }));
    assert_eq!((local.theta, local.scaling), (7e5, Scaling::None));
    let moe = |changes: Value| {
        let mut fields = json!({"model_type": "qwen2_moe", "num_hidden_layers": 4});
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&fields, &[]).map(|layout| layout.config)
    };
    let experts = moe(json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]})).unwrap().experts.unwrap();
    assert_eq!((experts.plain, experts.shared, experts.renormalised), (vec![0, 2, 3], Some(5632), false));
    assert_eq!(moe(json!({"decoder_sparse_step": 5})).unwrap().experts, None);
    assert!(moe(json!({"decoder_sparse_step": 0})).is_err());
    assert!(moe(json!({"num_experts_per_tok": 61})).is_err());
    assert!(moe(json!({"num_experts": 1_u64 << 40})).is_err());
    let oss = config(json!({"model_type": "gpt_oss", "experts_per_token": 4, "initial_context_length": 4096}));
    assert!(oss.sinks && oss.mlp_bias && oss.windows[..3] == [Some(128), None, Some(128)]);
    let mxfp4 = json!({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}});
    let message = read(&mxfp4, &[]).unwrap_err().message;
    assert_eq!(message, "the weights are quantised as mxfp4 (`quantization_config`), which is not implemented");
    let neox = config(json!({"model_type": "gpt_neox", "use_parallel_residual": false, "rotary_pct": 0.5}));
    assert_eq!((neox.order, neox.rotary.unwrap().dims), (Order::Serial, 48));
    assert_eq!(config(json!({"model_type": "llama", "eos_token_id": [1, 2], "bos_token_id": null})).eos, [1, 2]);
}

#[test]
fn biases_of_scores_are_those_of_each_family() {
    let bloom = config(json!({"model_type": "bloom", "n_embed": 24, "num_attention_heads": 6, "n_layer": 1}));
    assert_eq!((bloom.d_model, bloom.d_mlp, bloom.heads, bloom.embed_norm), (24, 96, 6, true));
    let biases = bloom.alibi_of(0, None).unwrap();
    assert_eq!(biases.slopes, [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    assert_eq!((biases.factor, biases.rounded), (1.0, false));
    assert_eq!(bloom.alibi_of(0, Some(&[4, 0])).unwrap().slopes, [0.5, 0.25]);
    let twice = json!({"model_type": "bloom", "n_layer": 2, "num_hidden_layers": 3});
    assert!(read(&twice, &[]).unwrap_err().message.contains("`n_layer` is 2"));

    let mpt = |changes: Value| {
        let fields = json!({"model_type": "mpt", "n_heads": 2, "d_model": 32, "attn_config": changes});
        read(&fields, &[]).map(|layout| layout.config)
    };
    let flat = mpt(json!({"alibi_bias_max": 4, "softmax_scale": 0.5, "attn_impl": "triton"})).unwrap();
    assert_eq!((flat.score_scale, flat.norm_bias), (0.5, false));
    assert_eq!(flat.alibi_of(0, None).unwrap().slopes, [0.25, 0.0625]);
    assert_eq!(mpt(json!({})).unwrap().score_scale, 0.25);
    for (key, value) in [
        ("clip_qkv", json!(6)),
        ("qk_ln", json!(true)),
        ("alibi", json!(false)),
        ("prefix_lm", json!(true)),
        ("attn_type", json!("multiquery_attention")),
    ] {
        let message = mpt(json!({key: value.clone()})).unwrap_err().message;
        assert_eq!(message, format!("the config key `attn_config.{key}` is {value}, which is not implemented"));
    }
    assert!(mpt(json!({"alibi_bias_max": 0})).is_err());
    let norms = json!({"model_type": "mpt", "norm_type": "rmsnorm"});
    assert!(read(&norms, &[]).unwrap_err().message.contains("`rmsnorm`"));
}

#[test]
fn falcon_has_several_architectures() {
    let falcon = |changes: Value| {
        let mut fields = json!({"model_type": "falcon", "hidden_size": 64, "num_attention_heads": 4});
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&fields, &[]).map(|layout| layout.config)
    };
    let old = falcon(json!({"num_kv_heads": 4})).unwrap();
    assert_eq!((old.kv_heads, old.order, old.alibi.is_some()), (1, Order::ParallelShared, false));
    assert_eq!(old.rotary.unwrap().dims, 16);
    let grouped = json!({"new_decoder_architecture": true, "num_kv_heads": 2});
    let new = falcon(grouped.clone()).unwrap();
    assert_eq!((new.kv_heads, new.order), (2, Order::Parallel));
    let mut shared = grouped;
    shared["num_ln_in_parallel_attn"] = json!(1);
    assert_eq!(falcon(shared.clone()).unwrap().order, Order::ParallelShared);
    shared["parallel_attn"] = json!(false);
    let message = falcon(shared).unwrap_err().message;
    assert!(message.starts_with("`num_ln_in_parallel_attn` 1 with `parallel_attn` false and "), "{message}");
    let biased = falcon(json!({"alibi": true, "multi_query": false, "parallel_attn": false, "bias": true})).unwrap();
    assert_eq!((biased.kv_heads, biased.order, &biased.rotary, biased.qkv_bias), (4, Order::Serial, &None, true));
    let biases = biased.alibi_of(0, None).unwrap();
    assert_eq!((biases.factor, biases.rounded), (0.25, true));
}

#[test]
fn gemma_4_has_heads_by_the_kind_of_attention_and_keys_of_earlier_layers() {
    let gemma = |changes: Value| {
        let mut fields = json!({"model_type": "gemma4_text", "num_hidden_layers": 6, "vocab_size_per_layer_input": 262_144,
            "layer_types": [S, S, F, S, F, F], "num_attention_heads": 8, "num_kv_shared_layers": 2});
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&fields, &[])
    };
    const S: &str = "sliding_attention";
    const F: &str = "full_attention";
    let layout = gemma(json!({"use_double_wide_mlp": true})).unwrap();
    let plain = &layout.config;
    let of_layers = |of: &dyn Fn(usize) -> usize| (0..6).map(of).collect::<Vec<_>>();
    assert_eq!(of_layers(&|layer| plain.d_head_of(layer)), [256, 256, 512, 256, 512, 512]);
    assert_eq!(of_layers(&|layer| plain.d_mlp_of(layer)), [9216, 9216, 9216, 9216, 18432, 18432]);
    assert_eq!(
        (0..6).map(|layer| plain.keys_from(layer)).collect::<Vec<_>>(),
        [None, None, None, None, Some(2), Some(2)]
    );
    assert_eq!(
        (plain.keys_passed_on(0, 4), plain.keys_passed_on(0, 2), plain.keys_passed_on(3, 5)),
        (vec![2], vec![], vec![])
    );
    assert!(layout.ignores("model.layers.4.self_attn.v_proj.weight"));
    assert!(!layout.ignores("model.layers.3.self_attn.v_proj.weight"));
    let whole = plain.rotary.clone().unwrap();
    assert_eq!((whole.dims, whole.scaling), (512, Scaling::Proportional { factor: 1.0, pairs: 64 }));

    // The number of heads without a window counts only where values are keys.
    let global = |changes: Value| gemma(changes).unwrap().config.global_heads.unwrap();
    assert_eq!(global(json!({"num_global_key_value_heads": 2})).kv_heads, 4);
    let alike = global(json!({"num_global_key_value_heads": 2, "attention_k_eq_v": true, "global_head_dim": 64}));
    assert_eq!((alike.kv_heads, alike.d_head, alike.values_are_keys), (2, 64, true));
    let stated = json!({"2": {"head_dim": 64}, "4": {"head_dim": 64}, "05": {"head_dim": 64}});
    assert_eq!(global(json!({"per_layer_config": stated})).d_head, 64);

    let refused = |changes: Value| gemma(changes).unwrap_err().to_string();
    let uneven = refused(json!({"per_layer_config": {"2": {"head_dim": 64}}}));
    assert!(
        uneven.contains("gives layer 4 4 key-value heads of size 256, and other layers of its type 4 of size 64"),
        "{uneven}"
    );
    assert!(refused(json!({"per_layer_config": {"6": {}}})).contains("expected layers below 6"));
    assert!(refused(json!({"per_layer_config": {"2": {"sliding_window": 3}}})).contains("`sliding_window`"));
    assert!(refused(json!({"num_kv_shared_layers": 6})).contains("`num_kv_shared_layers` below the 6 layers"));
    assert!(refused(json!({"num_kv_shared_layers": 4})).contains("without a window below 2"));
    assert!(refused(json!({"vocab_size_per_layer_input": 9})).contains("`vocab_size_per_layer_input` is 9"));
    assert!(refused(json!({"enable_moe_block": true})).contains("`num_experts` where `enable_moe_block` is true"));
    assert!(refused(json!({"use_bidirectional_attention": "all"})).contains("which is not implemented"));
    assert!(gemma(json!({"use_bidirectional_attention": "vision"})).is_ok());
    let dynamic = json!({"full_attention": {"rope_type": "dynamic", "rope_theta": 1e6}});
    assert!(refused(json!({"rope_parameters": dynamic})).contains("`rope_type` dynamic"));
    assert!(
        refused(json!({"rope_parameters": {"sliding_attention": {"rope_theta": 1e4}}})).contains("`full_attention`")
    );
    // The last layer sees all, whatever is stated.
    assert_eq!(gemma(json!({"layer_types": [S, S, F, S, F, S]})).unwrap().config.windows[5], None);
    assert!(
        read(&json!({"model_type": "gemma4"}), &[]).unwrap_err().message.contains("its text part alone, `gemma4_text`")
    );
}

#[test]
fn a_config_of_our_own_comes_back_as_it_was_written() {
    for config in crate::model::fixtures::configs() {
        let layout = read(&config_json(&config).unwrap(), &[]).unwrap();
        assert_eq!(layout.config, config);
        assert_eq!(layout.weights.len(), config.parameters().unwrap().len());
    }
    let mut json = config_json(&crate::model::fixtures::config()).unwrap();
    json["d_modle"] = json!(3);
    assert!(read(&json, &[]).unwrap_err().message.contains("d_modle"));
}

#[test]
fn no_value_of_any_key_makes_a_reader_panic() {
    let written = kit::json("models/defaults.json");
    let strange = json!([null, true, -1, 0, 1, 3, 1.5, 1e300, u64::MAX, "", "x", [], [[]], [["x"], 3], {}, {"x": 1}]);
    let mut accepted = 0;
    for all in written.as_object().unwrap().values() {
        let mut small = all.clone();
        for (key, size) in [("num_hidden_layers", 2), ("n_layer", 2), ("vocab_size", 9)] {
            if small.get(key).is_some() {
                small[key] = json!(size);
            }
        }
        let whole: Vec<String> = small.as_object().unwrap().keys().cloned().collect();
        for key in &whole {
            for value in strange.as_array().unwrap() {
                let mut changed = small.clone();
                changed[key] = value.clone();
                accepted += usize::from(read(&changed, &[]).is_ok());
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn latent_attention_scales_its_scores_with_the_context() {
    let scaling = |slope: f64| {
        json!({"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": slope, "mscale_all_dim": slope,
            "original_max_position_embeddings": 4096, "type": "yarn"})
    };
    let lite = config(json!({
        "model_type": "deepseek_v2", "aux_loss_alpha": 0.001, "seq_aux": true, "first_k_dense_replace": 1,
        "hidden_size": 64, "kv_lora_rank": 32, "max_position_embeddings": 163_840, "moe_intermediate_size": 44,
        "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 8, "n_shared_experts": 2, "norm_topk_prob": false,
        "num_attention_heads": 4, "num_experts_per_tok": 6, "num_hidden_layers": 3, "num_key_value_heads": 4,
        "q_lora_rank": null, "rope_scaling": scaling(0.707), "rope_theta": 10000, "routed_scaling_factor": 1.0,
        "scoring_func": "softmax", "topk_group": 1, "topk_method": "greedy", "v_head_dim": 128,
    }));
    let latent = lite.latent.as_ref().unwrap();
    assert_eq!((lite.d_head, latent.d_shared, latent.d_value, latent.q_rank), (192, 64, 128, None));
    let slope = 0.1 * 0.707 * 40_f64.ln() + 1.0;
    assert!((lite.score_scale - 192_f64.powf(-0.5) * slope * slope).abs() < 1e-15);
    let Scaling::Yarn { amplitude, .. } = lite.rotary.as_ref().unwrap().scaling else { panic!("YaRN") };
    assert_eq!(amplitude, 1.0);
    let experts = lite.experts.unwrap();
    assert_eq!((experts.shared, experts.groups, experts.scale, experts.plain), (Some(88), None, None, vec![0]));

    let third = |changes: Value| {
        let mut fields = json!({
            "model_type": "deepseek_v3", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4,
            "num_hidden_layers": 4, "n_routed_experts": 16, "num_nextn_predict_layers": 1, "rope_scaling": scaling(1.0),
            "topk_method": "noaux_tc", "ep_size": 1,
        });
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&fields, &[])
    };
    let layout = third(json!({})).unwrap();
    let experts = layout.config.experts.as_ref().unwrap();
    assert!(experts.sigmoid && experts.renormalised && experts.choice_bias && experts.ungated_shared);
    assert_eq!((experts.scale, experts.groups.unwrap().best, experts.plain.len()), (Some(2.5), 2, 3));
    // The layer that predicts a further token stands behind the last one.
    assert!(
        layout.ignores("model.layers.4.self_attn.q_a_proj.weight") && layout.ignores("model.layers.4.eh_proj.weight")
    );
    assert!(!layout.ignores("model.layers.5.eh_proj.weight") && !layout.ignores("model.layers.40.eh_proj.weight"));
    assert!(
        !layout.config.rotary.as_ref().unwrap().scaling.eq(&Scaling::None) && layout.config.rotary.unwrap().neighbours
    );
    assert!(!third(json!({"rope_interleave": false})).unwrap().config.rotary.unwrap().neighbours);
    let quantised = third(json!({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}));
    assert!(quantised.unwrap_err().message.contains("quantised as fp8"));
    let uneven = third(json!({"n_group": 3})).unwrap_err();
    assert!(uneven.message.contains("multiple of the number of groups"), "{uneven}");
    let few = third(json!({"topk_group": 1, "num_experts_per_tok": 3})).unwrap_err();
    assert!(few.message.contains("`experts.chosen` between 1 and 2, found 3"), "{few}");
}
