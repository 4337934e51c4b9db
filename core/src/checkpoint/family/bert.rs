//! BERT (Devlin et al. 2019): attention to both sides, norms of the stream itself, and a layer before the unembedding.

use super::prelude::*;
use crate::model::config::{Predicts, Transform};

pub(super) const FAMILY: Family = Family { name: "bert", read, names: &[NAMES], ignored: IGNORED };

const SIZES: Sizes = Sizes { vocab: 30522, d_model: 768, layers: 12, heads: 12, d_mlp: 3072, context: 512 };
const COMMON: Common = Common {
    act: ("hidden_act", "gelu"),
    eps: ("layer_norm_eps", 1e-12),
    tied: true,
    ..Common::modern("bert", NormKind::Layer).sized(SIZES)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("bert.embeddings.word_embeddings")),
    ("pos_embed", Same("bert.embeddings.position_embeddings")),
    ("type_embed", Same("bert.embeddings.token_type_embeddings")),
    ("stream_norm", Same("bert.embeddings.LayerNorm")),
    ("blocks.*.attn.q", Same("bert.encoder.layer.*.attention.self.query")),
    ("blocks.*.attn.k", Same("bert.encoder.layer.*.attention.self.key")),
    ("blocks.*.attn.v", Same("bert.encoder.layer.*.attention.self.value")),
    ("blocks.*.attn.o", Same("bert.encoder.layer.*.attention.output.dense")),
    ("blocks.*.attn_stream_norm", Same("bert.encoder.layer.*.attention.output.LayerNorm")),
    ("blocks.*.mlp.up", Same("bert.encoder.layer.*.intermediate.dense")),
    ("blocks.*.mlp.down", Same("bert.encoder.layer.*.output.dense")),
    ("blocks.*.mlp_stream_norm", Same("bert.encoder.layer.*.output.LayerNorm")),
    ("transform", Same("cls.predictions.transform.dense")),
    ("final_norm", Same("cls.predictions.transform.LayerNorm")),
    ("unembed", Apart { weight: "cls.predictions.decoder.weight", bias: "cls.predictions.bias" }),
];

/// Tensors of other tasks, and of numbers that follow from their place.
const IGNORED: &[&str] = &[
    "bert.embeddings.position_ids",
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
    "cls.predictions.decoder.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
];

/// Keys of training, and of what pools a text into one vector, which is not computed here.
const OF_TRAINING: [&str; 8] = [
    "attention_probs_dropout_prob",
    "directionality",
    "hidden_dropout_prob",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("position_embedding_type", "absolute")?;
    keys.ignore(&OF_TRAINING);
    let config = Config {
        pre_norm: false,
        stream_norm: true,
        token_types: Some(keys.size("type_vocab_size", 2)?),
        positions: Positions::Learned,
        causal: false,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..config
    };
    let act = config.act;
    Ok(if predicts(keys, "BertModel")? == Predicts::Nothing {
        Config { predicts: Predicts::Nothing, final_norm: false, tied: true, ..config }
    } else {
        let transform = Some(Transform { act, norm: false, bias: true });
        Config { predicts: Predicts::Masked, transform, unembed_bias: true, ..config }
    })
}

/// Reads whether the file has what predicts masked tokens: one of the class `bare` alone has not.
pub(super) fn predicts(keys: &mut Keys, bare: &str) -> Result<Predicts> {
    let classes = keys.words("architectures")?.unwrap_or_default();
    Ok(if classes.contains(&bare) { Predicts::Nothing } else { Predicts::Masked })
}
