//! Tests of state dictionaries: they compute what TransformerLens computes with them, and ask for what cannot be
//! inferred.

use kit::{far, fixture};
use serde_json::json;

use super::*;
use crate::checkpoint::formats::pickle;
use crate::checkpoint::load::{self, LoadSettings};
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Tensor, floats};

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(fixture("formats/lens").join(file)).unwrap()
}

type Tensors = BTreeMap<String, Tensor>;

fn tensors(file: &str) -> Tensors {
    SafetensorsFile::new(bytes(file)).unwrap().all().unwrap().tensors
}

fn held(name: &str) -> Tensors {
    if name == "gelu" {
        return tensors("gelu.safetensors");
    }
    let file = pickle::PickleFile::new(bytes(&format!("{name}.pt"))).unwrap().weights().unwrap();
    file.names().into_iter().map(|name| (name.clone(), file.tensor(&name).unwrap())).collect()
}

fn options(options: Value) -> Map<String, Value> {
    options.as_object().unwrap().clone()
}

fn decoder(source: &Tensors, given: Value) -> Decoder {
    let layout = layout(source, &options(given)).unwrap();
    let weights = load::weights(&layout, source, "a test", &LoadSettings::default(), &Task::default()).unwrap();
    Decoder::new(layout.config, weights)
}

/// Computes the largest difference of the logits from those of TransformerLens.
fn off(name: &str, given: Value) -> f64 {
    let expected = tensors(&format!("{name}.expected.safetensors"));
    let batch = Batch::new(expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap()).unwrap();
    let logits = decoder(&held(name), given).logits(&batch, Vec::new(), &Task::default()).unwrap();
    far(logits, &expected["logits"])
}

#[test]
fn models_compute_what_transformer_lens_computes() {
    for (name, given) in [
        ("attn_only", json!({"norm": "none", "scale_attn_by_inverse_layer_idx": true})),
        (
            "attn_only",
            json!({"normalization_type": null, "n_layers": 2, "attn_only": true, "act_fn": "relu", "seed": 3,
                   "scale_attn_by_inverse_layer_idx": true}),
        ),
        ("gelu", json!({"act": "gelu"})),
        (
            "pre",
            json!({"act_fn": "relu", "normalization_type": "LNPre", "attention_dir": "bidirectional",
                   "attn_scores_soft_cap": 2.0, "output_logits_soft_cap": 3.0}),
        ),
        ("pre", json!({"act": "relu", "norm": "layer", "causal": false, "score_cap": 2, "logit_cap": 3})),
        ("sums", json!({"act_fn": "relu", "norm": "none", "d_vocab_out": 17})),
        ("rotary", json!({"act_fn": "gelu_new", "parallel_attn_mlp": true, "use_attn_scale": false})),
        (
            "gated",
            json!({"act": "silu", "norm_eps": 1e-3, "use_local_attn": true, "window_size": 3,
                   "attn_types": ["global", "local"]}),
        ),
    ] {
        let off = off(name, given);
        assert!(off < 1e-4, "{name} is off by {off}");
    }
}

#[test]
fn what_is_given_wrong_would_show() {
    assert!(off("gelu", json!({"act": "relu"})) > 1e-2);
    assert!(off("rotary", json!({"act": "gelu_new", "parallel_attn_mlp": true})) > 1e-2);
    assert!(off("gated", json!({"act": "silu"})) > 1e-3);
    assert!(off("attn_only", json!({"norm": "none"})) > 1e-2);
    assert!(off("pre", json!({"act": "relu", "norm": "layer", "causal": false, "logit_cap": 3})) > 1e-3);
}

#[test]
fn the_early_layout_computes_the_same() {
    let turned = |(name, t): (&String, &Tensor)| {
        let turned = match name.rsplit('.').next().unwrap() {
            "W_E" | "W_in" | "W_out" => t.t().unwrap(),
            "W_Q" | "W_K" | "W_V" => t.transpose(1, 2).unwrap(),
            "W_O" => t.flatten(0, 1).unwrap().t().unwrap(),
            _ => t.clone(),
        };
        (name.clone(), turned.contiguous().unwrap())
    };
    let now = held("gelu");
    let given = json!({"act": "gelu"});
    let early: Tensors = now.iter().map(turned).collect();
    let batch = Batch::new(vec![vec![3, 1, 4, 1, 5]]).unwrap();
    let logits = |held: &Tensors| decoder(held, given.clone()).logits(&batch, Vec::new(), &Task::default()).unwrap();
    assert_eq!(floats(&logits(&early)).unwrap(), floats(&logits(&now)).unwrap());
    // Only the heads of the queries are transposed.
    let mut mixed = held("gelu");
    let queries = mixed["blocks.0.attn.W_Q"].transpose(1, 2).unwrap();
    mixed.insert("blocks.0.attn.W_Q".into(), queries);
    assert!(layout(&mixed, &options(given)).unwrap_err().hint.unwrap().contains("`transpose`"));
}

fn refused(source: &Tensors, given: Value) -> String {
    layout(source, &options(given)).unwrap_err().message
}

#[test]
fn what_the_tensors_do_not_show_is_asked_for_by_name() {
    assert_eq!(refused(&held("gelu"), json!({})), "expected `act_fn` in the option `config`, found nothing");
    assert_eq!(
        refused(&held("attn_only"), json!({})),
        "expected `normalization_type` in the option `config`, found nothing"
    );
    let mut bare = held("rotary");
    bare.retain(|name, _| !name.contains("rotary_"));
    let asked = layout(&bare, &options(json!({"act": "gelu_new"}))).unwrap_err();
    assert_eq!(asked.message, "expected `n_ctx` in the option `config`, found nothing");
    assert!(asked.hint.unwrap().ends_with("give it as #{ config: #{ n_ctx: 1024 } }"));
    let asked = refused(&bare, json!({"act": "gelu_new", "context": 12}));
    assert_eq!(asked, "expected `positional_embedding_type` in the option `config`, found nothing");
    let config =
        layout(&bare, &options(json!({"act": "gelu_new", "context": 12, "positions": "none"}))).unwrap().config;
    assert_eq!((config.context, config.positions, config.rotary), (12, crate::model::config::Positions::None, None));
    let old = json!({"use_local_attn": true, "act": "silu", "window_size": 3});
    assert_eq!(refused(&held("gated"), old), "expected `attn_types` in the option `config`, found nothing");
}

#[test]
fn what_contradicts_the_tensors_is_refused() {
    let gelu = |given: Value| refused(&held("gelu"), given);
    assert_eq!(gelu(json!({"act": "gelu", "n_layers": 3})), "n_layers: expected 2, as the tensors show, found 3");
    assert_eq!(gelu(json!({"act": "gelu", "vocab": 21})), "d_vocab: expected 20, as the tensors show, found 21");
    assert_eq!(
        gelu(json!({"act": "gelu", "norm": "RMS"})),
        "normalization_type: the tensors show norms with biases, and \"RMS\" is given"
    );
    assert_eq!(
        gelu(json!({"act": "gelu", "norm": "LNPre"})),
        "normalization_type: the tensors show norms with biases, and \"LNPre\" is given"
    );
    assert_eq!(
        gelu(json!({"act": "gelu", "positions": "rotary"})),
        "positional_embedding_type: expected learned positions, as the tensors show, found something else"
    );
    assert_eq!(
        gelu(json!({"act": "gelu", "attn_only": true})),
        "attn_only: expected false, as the tensors show, found the opposite"
    );
    assert_eq!(
        gelu(json!({"act": "gelu", "gated": true})),
        "gated_mlp: expected false, as the tensors show, found the opposite"
    );
    assert_eq!(
        gelu(json!({"act": "gelu", "context": 12, "n_ctx": 12})),
        "expected one of `context` and `n_ctx`, found both"
    );
    let mut biased = held("gated");
    let bias = biased["blocks.1.mlp.b_in"].ones_like().unwrap();
    biased.insert("blocks.1.mlp.b_in".into(), bias);
    assert_eq!(
        refused(&biased, json!({"act": "silu"})),
        "blocks.1.mlp.b_in: a bias in a gated MLP whose gate has none is not known here"
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let gelu = |given: Value| layout(&held("gelu"), &options(given)).unwrap_err();
    assert_eq!(gelu(json!({"act": "solu_ln"})).message, "act_fn: the activation `solu_ln` is not known here");
    assert_eq!(
        gelu(json!({"act": "gelu", "use_logn_attn": true})).message,
        "`use_logn_attn: true` changes the mathematics in a way that is not known here"
    );
    assert!(layout(&held("gelu"), &options(json!({"act": "gelu", "use_logn_attn": false, "seed": 1}))).is_ok());
    assert_eq!(gelu(json!({"act": "gelu", "n_layer": 2})).hint.unwrap(), "did you mean `n_layers`?");
    assert_eq!(
        gelu(json!({"act": "gelu", "positional_embedding_type": "alibi"})).message,
        "positional_embedding_type: the kind `alibi` is not known here"
    );
    assert!(!is_state_dict(&Tensors::new()));
    assert_eq!(refused(&Tensors::new(), json!({})), "expected the tensor `embed.W_E`, found none");
}
