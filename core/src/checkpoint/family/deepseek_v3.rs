//! DeepSeek V3 and R1 (DeepSeek-AI 2024): as DeepSeek V2, with experts whose probabilities are sigmoids, chosen by way of
//! biases.

use super::common::Common;
use super::deepseek_v2::{ExpertSizes, NAMES, experts, groups, latent};
use super::keys::Keys;
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{Config, Experts, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "deepseek_v3",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    // Layers that predict further tokens stand behind the last one, as transformers leaves them out, too.
    ignored: &[llama_names::FREQUENCIES, "model.layers.{layers}."],
};

const COMMON: Common = Common {
    vocab: 129_280,
    d_model: ("hidden_size", 7168),
    layers: ("num_hidden_layers", 61),
    heads: ("num_attention_heads", 128),
    d_mlp: ("intermediate_size", Some(18432)),
    context: ("max_position_embeddings", 4096),
    bos: Some(0),
    eos: Some(1),
    ..Common::modern("deepseek_v3", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("scoring_func", "sigmoid")?;
    keys.only("topk_method", "noaux_tc")?;
    // The number of layers that predict further tokens, which are not computed.
    for key in ["num_nextn_predict_layers", "num_mtp_layers"] {
        keys.value(key);
    }
    let sizes = ExpertSizes { count: 256, chosen: 8, d_mlp: 2048, shared: 1, plain: 3, scale: 2.5 };
    let all = experts(keys, &config, &sizes)?;
    let groups = groups(keys, [Some(8), Some(4)], 2)?;
    let renormalised = keys.flag("norm_topk_prob", true)?;
    let all = all.map(|experts| Experts { renormalised, sigmoid: true, choice_bias: true, groups, ..experts });
    let neighbours = keys.flag("rope_interleave", true)?;
    latent(keys, Config { experts: all, ..config }, neighbours)
}
