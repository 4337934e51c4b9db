//! ModernBERT (Warner et al. 2024): attention to both sides, in most layers within a window, gated MLPs, rotary positions.

use super::bert::predicts;
use super::prelude::*;
use crate::model::config::{Predicts, Transform};

pub(super) const FAMILY: Family = Family { name: "modernbert", read, names: &[NAMES], ignored: &[] };

const SIZES: Sizes = Sizes { vocab: 50368, d_model: 768, layers: 22, heads: 12, d_mlp: 1152, context: 8192 };
const COMMON: Common = Common {
    act: ("hidden_activation", "gelu"),
    eps: ("norm_eps", 1e-5),
    tied: true,
    bos: Some(50281),
    eos: Some(50282),
    ..Common::modern("modernbert", NormKind::Layer).sized(SIZES)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("model.embeddings.tok_embeddings")),
    ("embed_norm", Same("model.embeddings.norm")),
    ("blocks.*.attn_norm", Same("model.layers.*.attn_norm")),
    ("blocks.*.attn.qkv", Rows("model.layers.*.attn.Wqkv", QKV)),
    ("blocks.*.attn.o", Same("model.layers.*.attn.Wo")),
    ("blocks.*.mlp_norm", Same("model.layers.*.mlp_norm")),
    ("blocks.*.mlp.gate_up", Rows("model.layers.*.mlp.Wi", GATE_UP)),
    ("blocks.*.mlp.down", Same("model.layers.*.mlp.Wo")),
    ("transform.norm", Same("model.final_norm")),
    ("transform", Same("head.dense")),
    ("final_norm", ByTransform { with: "head.norm", without: "model.final_norm" }),
    ("unembed", Same("decoder")),
];

/// Keys of training, and of code for it.
const OF_TRAINING: [&str; 12] = [
    "classifier_pooling",
    "cls_token_id",
    "deterministic_flash_attn",
    "embedding_dropout",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "mlp_dropout",
    "position_embedding_type",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_pred_ignore_index",
    "sparse_prediction",
];

/// Default interval of layers with global attention.
const INTERVAL: usize = 3;

const ROTATIONS: TwoRotations = TwoRotations {
    whole: (Rope { default_theta: 160_000.0, ..WHOLE_HEAD }, "global_rope_theta"),
    local: (WHOLE_HEAD, "local_rope_theta"),
    scaled: false,
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.ignore(&OF_TRAINING);
    let interval = keys.size("global_attn_every_n_layers", INTERVAL)?;
    if interval == 0 {
        return Err(err!(Format, "expected `global_attn_every_n_layers` of at least 1, found 0"));
    }
    // Half of it on either side, and the query itself.
    let window = keys.size("local_attention", 128)? / 2 + 1;
    let windows = windows(keys, config.layers, Some(window), |layer| !layer.is_multiple_of(interval))?;
    let config = ROTATIONS.read(keys, Config { windows, ..config })?;
    let attention_bias = keys.flag("attention_bias", false)?;
    let config = Config {
        gated: true,
        embed_norm: true,
        unnormed: if config.layers > 0 { vec![0] } else { Vec::new() },
        norm_bias: keys.flag("norm_bias", false)?,
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        mlp_bias: keys.flag("mlp_bias", false)?,
        causal: false,
        ..config
    };
    let transform = Transform {
        act: keys.activation("classifier_activation", "gelu")?,
        norm: true,
        bias: keys.flag("classifier_bias", false)?,
    };
    let unembed_bias = keys.flag("decoder_bias", true)?;
    Ok(if predicts(keys, "ModernBertModel")? == Predicts::Nothing {
        Config { predicts: Predicts::Nothing, tied: true, ..config }
    } else {
        Config { predicts: Predicts::Masked, transform: Some(transform), unembed_bias, ..config }
    })
}
