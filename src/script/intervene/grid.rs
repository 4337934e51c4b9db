//! `intervene::grid`: patching, as a grid of effects.

use super::erase::DictionarySetting;
use super::metric::Metric;
use crate::intervene::grid::{GridOptions, grid as core};
use crate::script::model::prelude::*;

crate::options! {
    /// A call of the grid: the parts that are patched and how, and the metric.
    #[derive(Clone)]
    pub struct GridCall {
        /// Metric of each pair.
        metric: Metric = Metric::default() => usually("metric::logit_diff()");
        /// Dictionary of patching by feature, or several at different sites.
        dictionaries: Vec<DictionarySetting> = Vec::new() => usually("none");
        with grid: GridOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Patches activations: measures how far a metric moves where a part of the activations is replaced by that of the
    /// pair's other prompt, for each part of a site (Vig et al. 2020; Meng et al. 2022; Wang et al. 2022).
    ///
    /// Returns a grid with a row for each site and a column for each position, head, neuron, feature or layer; with
    /// `show` a heat map. Its numbers are means over pairs of metric(patched) - metric(run), with 95 % intervals
    /// (`low`, `high`); with a normalised metric they are divided by the mean distance of clean and corrupt prompts, so
    /// that 1 is all of it. `direction: "denoise"` patches clean activations into the corrupt run, "noise" corrupt ones
    /// into the clean run. The prompts of a pair have the same length, unless `align` says which positions stand side
    /// by side.
    ///
    /// With `ablate` no other prompt is needed: 0 or a mean is patched into the clean prompts, which may differ in length.
    ///
    /// By feature the site becomes x + (c'_j - c_j) d_j, with the codes c of the run and c' of the other; the reconstruction
    /// error stays. `method: "exact"` computes again what lies behind each patch, "attribution" estimates all parts from
    /// one backward pass, (patch - activation) . gradient, and "integrated" averages that gradient over `steps` points on the
    /// way. "atp*" (Kramar et al. 2024) estimates sizes, without sign: at `q` and `k` by (patched pattern - pattern) . gradient
    /// at the pattern, and everywhere by the mean size over passes that each hold what one layer writes constant.
    ///
    /// `gradients: "relp"` has relevance propagation in place of derivatives in "attribution" and "atp*" (RelP; Rezaei
    /// Jafari et al. 2025): divisors of norms are constants, an activation function multiplies by the constant act(x) / x,
    /// and gate and up projection of an MLP get half of the derivative of their product each. Models with experts, gates of
    /// heads or recurrent layers are refused, since the rules say nothing of these.
    ///
    /// # Options
    /// - [patching_grid]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// intervene::grid(m, pairs)  //=> grid of 2 by 3 "clean into corrupt prompts, 2 pairs"
    /// let heads = intervene::grid(m, pairs, #{ by: "head", method: "attribution", direction: "noise" });
    /// [heads.rows, heads.columns]  //=> [["z.0", "z.1"], ["0", "1"]]
    /// let normalised = metric::logit_diff(#{ normalised: true });
    /// let all = intervene::grid(m, pairs, #{ by: "layer", sites: "resid_pre", metric: normalised });
    /// round_to(all.tensor[0][0], 4)  //=> 1.0
    /// let features = intervene::grid(m, pairs, #{ by: "feature", dictionaries: sae::identity(8), sites: "resid_post.0" });
    /// features.tensor.shape  //=> [1, 8]
    /// let texts = [#{ clean: [1, 2, 3] }, #{ clean: [4, 2] }];
    /// let kl = metric::kl(#{ positions: "all" });
    /// let zeroed = intervene::grid(m, texts, #{ sites: "attn_out", by: "layer", ablate: "zero", metric: kl });
    /// [zeroed.rows, zeroed.tensor.shape]  //=> [["attn_out"], [1, 2]]
    /// let relevance = #{ sites: "mlp_out", method: "attribution", gradients: "relp" };
    /// intervene::grid(m, pairs, relevance).rows  //=> ["mlp_out.0", "mlp_out.1"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn grid(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Grid> {
        let GridCall { metric, dictionaries, grid } = taken(options)?;
        let saes: Vec<_> = dictionaries.iter().map(DictionarySetting::core).collect();
        metric.over(&ctx, &m, &pairs, |pairs, measure, task| {
            core(m.core(), pairs, measure, metric.is_normalised(), &saes, &grid, task)
        })
    }
}
