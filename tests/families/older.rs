//! The same models in the form of older hub files: old config keys, half precision, mask buffers, no prefix, two
//! shards.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::{FAMILIES, config_json, files, fixture, floats, ids, load, tensors, write};
use microtome::base::Task;
use microtome::checkpoint::load::{LoadOptions, LoadSettings};
use microtome::model::batch::Batch;
use microtome::tensor::{DType, Device, Tensor};

/// Moves a key, if it is there.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.into(), value);
    }
}

/// The config as transformers wrote it before it had `rope_parameters`, `dtype` and `layer_types`.
fn old_config(family: &str) -> Value {
    let Value::Object(mut fields) = config_json(family) else { panic!("a config is a map") };
    let rope = fields.remove("rope_parameters").unwrap_or_default();
    for newer in ["layer_types", "attn_implementation", "_sliding_window_pattern", "use_bidirectional_attention"] {
        fields.remove(newer);
    }
    rename(&mut fields, "dtype", "torch_dtype");
    fields.insert("transformers_version".into(), json!("4.31.0"));
    if family != "llama3_rope" {
        // Left out where it is the family's default.
        fields.remove("tie_word_embeddings");
    }
    if family == "bloom" {
        rename(&mut fields, "hidden_size", "n_embed");
        rename(&mut fields, "n_head", "num_attention_heads");
    }
    if family == "mpt" {
        fields.remove("layer_norm_epsilon");
    }
    let mut add = |more: Value| fields.extend(more.as_object().unwrap().clone());
    match family {
        "gpt_neox" | "gpt_neox_serial" => {
            add(json!({"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"]}));
        }
        "glm4" | "phi" | "stablelm" => {
            add(json!({"rope_theta": rope["rope_theta"], "rope_scaling": null}));
            add(json!({"partial_rotary_factor": rope["partial_rotary_factor"]}));
        }
        "llama3_rope" | "gpt_oss" | "deepseek_v2" | "deepseek_v3" => {
            let mut scaling = rope.as_object().unwrap().clone();
            let theta = scaling.remove("rope_theta").unwrap();
            add(json!({"rope_theta": theta, "rope_scaling": scaling}));
        }
        "gemma3_text" => add(json!({
            "rope_theta": rope["full_attention"]["rope_theta"],
            "rope_local_base_freq": rope["sliding_attention"]["rope_theta"],
            "sliding_window_pattern": 6,
            "cache_implementation": "hybrid",
        })),
        "bert" => add(json!({"position_embedding_type": "absolute", "gradient_checkpointing": false})),
        "modernbert" => add(json!({
            "global_rope_theta": rope["full_attention"]["rope_theta"],
            "local_rope_theta": rope["sliding_attention"]["rope_theta"],
            "global_attn_every_n_layers": 3,
            "layer_norm_eps": 1e-5,
            "position_embedding_type": "absolute",
            "reference_compile": null,
            "repad_logits_with_grad": false,
        })),
        "gpt2" => add(json!({"n_ctx": 128, "gradient_checkpointing": false, "task_specific_params": {"a": 1}})),
        "gptj" => add(json!({"rotary": true, "scale_attn_weights": true})),
        "opt" => add(json!({"activation_dropout": 0.0, "prefix": "</s>"})),
        "falcon_mamba" => add(json!({"use_falcon_mambapy": false})),
        "mamba" => add(json!({"d_inner": 64, "d_model": 32, "n_layer": 3, "rms_norm": true, "ssm_cfg": {}})),
        "granitemoehybrid" | "granitemoehybrid_experts" => add(json!({
            "layer_types": ["mamba", "attention", "mamba"],
            "position_embedding_type": "nope",
            "normalization_function": "rmsnorm",
            "rope_theta": 1e4,
            "rope_scaling": null,
        })),
        "mamba2" => add(json!({"norm_before_gate": true, "rms_norm": true})),
        "gpt_bigcode" | "gpt_bigcode_heads" | "gpt_neo" | "rwkv7" => {}
        "bloom" => {
            add(json!({"n_inner": null, "offset_alibi": 100, "skip_bias_add": true, "masked_softmax_fusion": true}));
        }
        "mpt" => {
            add(json!({"attn_config": {"alibi": true, "alibi_bias_max": 8, "attn_impl": "torch", "clip_qkv": null,
                "softmax_scale": 0.4}}));
            add(json!({"init_config": {"name": "kaiming_normal_"}, "tokenizer_name": "x", "verbose": 0}));
        }
        "cohere2" => add(json!({"rope_theta": rope["rope_theta"], "sliding_window_pattern": 2})),
        // Two rotations that differ in more than their scaling had no older form.
        "olmo3" => add(json!({"rope_parameters": rope, "layer_types": config_json(family)["layer_types"]})),
        // They came after them.
        "qwen3_5_text" | "qwen3_5_moe_text" | "gemma4_text" | "gemma4_text_experts" | "modernbert_biases" => {
            add(json!({"rope_parameters": rope, "layer_types": config_json(family)["layer_types"]}))
        }
        "smollm3" => add(json!({"rope_theta": rope["rope_theta"], "max_window_layers": 28})),
        _ => add(json!({"rope_theta": rope["rope_theta"]})),
    }
    match family {
        // transformers writes them; the published configs have not got them.
        "deepseek_v2" | "deepseek_v2_groups" | "deepseek_v3" => {
            let is_third = family == "deepseek_v3";
            add(json!({"aux_loss_alpha": 0.001, "ep_size": 1, "moe_layer_freq": 1, "seq_aux": true}));
            add(json!({"scoring_func": if is_third { "sigmoid" } else { "softmax" }}));
            if is_third {
                add(json!({"topk_method": "noaux_tc"}));
            }
            for newer in ["head_dim", "qk_head_dim", "mlp_bias"] {
                fields.remove(newer);
            }
        }
        "rwkv7" => {
            add(json!({"num_heads": null, "intermediate_size": 56}));
            for newer in ["value_dim", "use_l2warp", "fuse_linear_cross_entropy"] {
                fields.remove(newer);
            }
        }
        "gemma" => add(json!({"hidden_act": "gelu"})),
        "gemma2" => add(json!({"hidden_act": "gelu_pytorch_tanh", "sliding_window_size": 8})),
        "qwen2" => add(json!({"use_mrope": false, "sliding_window": 128})),
        _ => {}
    }
    Value::Object(fields)
}

fn half(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F16).unwrap()
}

/// Buffers in older files, by the names of this family's layers.
fn buffers(family: &str) -> Vec<(String, Tensor)> {
    let mask = Tensor::ones((1, 1, 128, 128), DType::U8, &Device::Cpu).unwrap();
    let masked = Tensor::full(-1e4_f32, (), &Device::Cpu).unwrap();
    let frequencies = Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
    let of = |prefix: &str, parts: &[(&str, &Tensor)]| {
        let all = (0..3).flat_map(|layer| parts.iter().map(move |(part, t)| (format!("{layer}.{part}"), *t)));
        all.map(|(name, t)| (format!("{prefix}.{name}"), t.clone())).collect()
    };
    match family {
        "gpt2" | "gptj" => of("h", &[("attn.bias", &mask), ("attn.masked_bias", &masked)]),
        "gpt_neo" => of("h", &[("attn.attention.bias", &mask), ("attn.attention.masked_bias", &masked)]),
        "gpt_neox" | "gpt_neox_serial" => of(
            "layers",
            &[
                ("attention.bias", &mask),
                ("attention.masked_bias", &masked),
                ("attention.rotary_emb.inv_freq", &frequencies),
            ],
        ),
        "bert" => {
            vec![(
                "embeddings.position_ids".into(),
                Tensor::arange(0_i64, 128, &Device::Cpu).unwrap().unsqueeze(0).unwrap(),
            )]
        }
        "modernbert" | "modernbert_biases" => Vec::new(),
        "bloom" | "falcon" | "falcon_alibi" | "falcon_grouped" | "falcon_mamba" | "mamba" | "mamba2" => Vec::new(),
        "gpt_bigcode" | "gpt_bigcode_heads" | "mpt" | "opt" | "rwkv7" => Vec::new(),
        _ => of("layers", &[("self_attn.rotary_emb.inv_freq", &frequencies)]),
    }
}

/// The tensors of a family in half precision, without their prefix, with buffers, and the unembedding of tied models.
fn old_tensors(family: &str, tied: bool) -> BTreeMap<String, Tensor> {
    let bare = |name: &str| {
        let prefix = ["transformer.", "model.", "gpt_neox.", "backbone.", "bert."]
            .into_iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        prefix.unwrap_or(name).to_string()
    };
    let mut all: BTreeMap<String, Tensor> =
        tensors(&fixture(family).join("model.safetensors")).iter().map(|(n, t)| (bare(n), half(t))).collect();
    if tied {
        let embed = [
            "wte.weight",
            "word_embeddings.weight",
            "embed_tokens.weight",
            "decoder.embed_tokens.weight",
            "embeddings.weight",
            "embeddings.word_embeddings.weight",
            "embeddings.tok_embeddings.weight",
        ];
        let embed = embed.iter().find_map(|name| all.get(*name)).unwrap().clone();
        let unembed = match family {
            "bert" => "cls.predictions.decoder.weight",
            "modernbert" | "modernbert_biases" => "decoder.weight",
            _ => "lm_head.weight",
        };
        all.insert(unembed.into(), embed);
    }
    all.extend(buffers(family));
    all
}

/// Writes the tensors into two files with an index.
fn write_shards(folder: &Path, all: BTreeMap<String, Tensor>) {
    let mut shards = [BTreeMap::new(), BTreeMap::new()];
    let mut places = Map::new();
    for (i, (name, tensor)) in all.into_iter().enumerate() {
        places.insert(name.clone(), json!(format!("model-0000{}-of-00002.safetensors", i % 2 + 1)));
        shards[i % 2].insert(name, tensor);
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": places});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    for (i, shard) in shards.into_iter().enumerate() {
        write(&folder.join(format!("model-0000{}-of-00002.safetensors", i + 1)), shard);
    }
}

fn write_config(folder: &Path, config: &Value) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn older_files_compute_the_same_as_newer_ones_of_the_same_precision() {
    for family in FAMILIES {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        let new = folder.path().join("new");
        std::fs::create_dir(&old).unwrap();
        std::fs::create_dir(&new).unwrap();
        let config = config_json(family);
        write_config(&old, &old_config(family));
        write_shards(&old, old_tensors(family, config["tie_word_embeddings"] == true));
        write_config(&new, &config);
        let rounded = tensors(&fixture(family).join("model.safetensors"));
        write(&new.join("model.safetensors"), rounded.iter().map(|(n, t)| (n.clone(), half(t))).collect());

        let old = load(&files(), &old, &LoadSettings::default());
        let new = load(&files(), &new, &LoadSettings::default());
        assert_eq!(old.config(), new.config(), "{family}");
        let input = super::files::expected(family);
        let batch = Batch::new(ids(&input["input_ids"])).unwrap();
        let logits = |decoder: &microtome::model::decoder::Decoder| {
            floats(&decoder.logits(&batch, Vec::new(), &Task::default()).unwrap())
        };
        assert_eq!(logits(&old), logits(&new), "{family}");
        assert_ne!(logits(&new), floats(&input["logits"]), "{family}: half precision rounds");
    }
}

#[test]
fn weights_are_computed_with_in_the_dtype_asked_for() {
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let decoder = load(
            &files(),
            &fixture("gpt_neox"),
            &LoadOptions { dtype: dtype.into(), ..LoadOptions::default() }.onto(Device::Cpu),
        );
        assert_eq!(decoder.dtype(), dtype);
        let published = &tensors(&fixture("gpt_neox").join("model.safetensors"))["gpt_neox.embed_in.weight"];
        assert_eq!(floats(&decoder.weights().embed.tensor().unwrap()), floats(&published.to_dtype(dtype).unwrap()));
    }
}
