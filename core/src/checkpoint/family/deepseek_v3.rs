//! DeepSeek V3 and R1 (DeepSeek-AI 2024): as DeepSeek V2, with experts whose probabilities are sigmoids, chosen by way of
//! biases.

use super::deepseek_v2::{ExpertSizes, NAMES, experts, groups, latent};
use super::prelude::*;

pub(super) const FAMILY: Family = Family {
    names: &[NAMES, llama_names::NAMES],
    // Layers that predict further tokens stand behind the last one, as transformers leaves them out, too.
    ignored: &[llama_names::FREQUENCIES, "model.layers.{layers}."],
    ..Family::like_llama("deepseek_v3", read)
};

const SIZES: Sizes = Sizes { vocab: 129_280, d_model: 7168, layers: 61, heads: 128, d_mlp: 18432, context: 4096 };
const COMMON: Common =
    Common { bos: Some(0), eos: Some(1), ..Common::modern("deepseek_v3", NormKind::Rms).sized(SIZES) };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("scoring_func", "sigmoid")?;
    keys.only("topk_method", "noaux_tc")?;
    // The number of layers that predict further tokens, which are not computed.
    keys.ignore(&["num_nextn_predict_layers", "num_mtp_layers"]);
    let sizes = ExpertSizes { count: 256, chosen: 8, d_mlp: 2048, shared: 1, plain: 3, scale: 2.5 };
    let all = experts(keys, &config, &sizes)?;
    let groups = groups(keys, [Some(8), Some(4)], 2)?;
    let renormalised = keys.flag("norm_topk_prob", true)?;
    let all = all.map(|experts| Experts { renormalised, sigmoid: true, choice_bias: true, groups, ..experts });
    let neighbours = keys.flag("rope_interleave", true)?;
    latent(keys, Config { experts: all, ..config }, neighbours)
}
