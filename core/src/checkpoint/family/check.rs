//! Checks of configs: what the decoder cannot compute is refused, whatever the source of the config.

use crate::common::*;
use crate::model::config::{
    Alibi, ClampedGate, Config, ExpertGroups, GlobalHeads, Order, Positions, Predicts, QkNorm, Rotary, Scaling,
};

/// Largest number of layers, far more than any model has; a larger one is an error, and would cost memory before that
/// is noticed.
pub const MOST_LAYERS: usize = 10_000;
/// The product of two of these and eight bytes fits a `usize`.
const MOST: usize = 1 << 28;
/// Bound of the number of experts of all layers together.
const MOST_EXPERTS: usize = 1 << 17;

/// Refuses a size that is out of bounds.
pub fn size(name: &str, size: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&size) {
        return Ok(());
    }
    Err(err!(Argument, "expected `{name}` between {least} and {most}, found {size}"))
}

impl Config {
    /// Returns the config, if it is consistent. Every reader of configs ends with this.
    pub fn checked(self) -> Result<Self> {
        self.check_sizes()?;
        self.check_experts()?;
        self.check_delta()?;
        self.check_ssm()?;
        self.check_rwkv()?;
        self.check_latent()?;
        self.check_layers_alike()?;
        self.check_positions()?;
        self.check_windows()?;
        self.check_numbers()?;
        if self.norm.is_none() && self.qk_norm != QkNorm::None {
            bail!(Argument, "expected a kind of norm for the norms of queries and keys, found no norms");
        }
        self.check_stream()?;
        if self.norm.is_none() && self.embed_norm {
            bail!(Argument, "expected a kind of norm for the norm of embeddings, found no norms");
        }
        if self.norm.is_none() && self.value_norm {
            bail!(Argument, "expected a kind of norm for the norms of values, found no norms");
        }
        Ok(self)
    }

    /// Returns the config of a file, if it is consistent: errors are then of the format, not of the user's argument.
    pub fn checked_of_file(self) -> Result<Self> {
        self.checked().map_err(|e| Error { kind: Kind::Format, ..e })
    }

    fn check_sizes(&self) -> Result<()> {
        if self.d_head == 0 {
            let d = self.d_model;
            let heads = self.heads;
            return Err(err!(Argument, "expected `d_model` to be a multiple of `heads`, found {d} and {heads}")
                .hint("or state `d_head`, the size of one head"));
        }
        size("layers", self.layers, 0, MOST_LAYERS)?;
        let sizes = [
            ("d_model", self.d_model),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("d_head", self.d_head),
            ("vocab", self.vocab),
            ("vocab_out", self.outputs()),
            ("context", self.context),
            ("heads * d_head", self.heads.saturating_mul(self.d_head)),
        ];
        sizes.iter().try_for_each(|(name, found)| size(name, *found, 1, MOST))?;
        size("d_mlp", self.d_mlp, 0, MOST)?;
        if let Some(count) = self.active_neurons {
            size("active_neurons", count, 1, self.d_mlp)?;
        }
        if self.tied && self.outputs() != self.vocab {
            let vocab = self.vocab;
            let out = self.outputs();
            bail!(Argument, "expected as many logits as tokens where the embedding is tied, {vocab}, found {out}");
        }
        size("position_offset", self.position_offset, 0, MOST)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let heads = self.heads;
            let shared = self.kv_heads;
            bail!(Argument, "expected `heads` to be a multiple of `kv_heads`, found {heads} and {shared}");
        }
        Ok(())
    }

    fn check_experts(&self) -> Result<()> {
        let Some(experts) = &self.experts else { return Ok(()) };
        size("experts.count", experts.count, 1, MOST_EXPERTS / self.layers.max(1))?;
        size("experts.chosen", experts.chosen, 1, experts.count)?;
        size("experts.d_mlp", experts.d_mlp, 1, MOST)?;
        size("experts.shared", experts.shared.unwrap_or(1), 1, MOST)?;
        if let Some(layer) = experts.plain.iter().find(|layer| **layer >= self.layers) {
            bail!(Argument, "expected layers below {} as those without experts, found {layer}", self.layers);
        }
        if let Some(ExpertGroups { count, chosen, best }) = experts.groups {
            size("experts.groups.count", count, 1, experts.count)?;
            if !experts.count.is_multiple_of(count) {
                let all = experts.count;
                bail!(
                    Argument,
                    "expected `experts.count` to be a multiple of the number of groups, found {all} and {count}"
                );
            }
            let each = experts.count / count;
            size("experts.groups.chosen", chosen, 1, count)?;
            size("experts.groups.best", best, 1, each)?;
            size("experts.chosen", experts.chosen, 1, chosen * each)?;
        }
        if let Some(scale) = experts.scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            bail!(Argument, "expected a positive number as `experts.scale`, found {scale}");
        }
        if let Some(ClampedGate { limit, slope }) = experts.clamped
            && !(limit.is_finite() && limit > 0.0 && slope.is_finite() && self.gated)
        {
            bail!(Argument, "expected a positive limit and a slope of gates, found {limit} and {slope}");
        }
        if !self.has_mlp() {
            bail!(Argument, "expected a `d_mlp` beside experts, found 0");
        }
        if experts.beside && (self.norm.is_none() || !self.pre_norm) {
            bail!(Argument, "expected norms before MLPs where experts stand beside them, found none");
        }
        Ok(())
    }

    /// Checks what differs by layer, or passes from one layer to others.
    fn check_layers_alike(&self) -> Result<()> {
        size("layer_inputs", self.layer_inputs.unwrap_or(1), 1, MOST)?;
        size("layer_inputs * layers", self.layer_inputs.unwrap_or(1).saturating_mul(self.layers), 0, MOST)?;
        if let Some(GlobalHeads { kv_heads, d_head, .. }) = self.global_heads {
            size("global_heads.d_head", d_head, 1, MOST)?;
            size("heads * global_heads.d_head", self.heads.saturating_mul(d_head), 1, MOST)?;
            size("global_heads.kv_heads", kv_heads, 1, MOST)?;
            if !self.heads.is_multiple_of(kv_heads) {
                let heads = self.heads;
                bail!(
                    Argument,
                    "expected `heads` to be a multiple of `global_heads.kv_heads`, found {heads} and {kv_heads}"
                );
            }
            if self.recurrent_layers().is_some() || self.gated_heads {
                bail!(
                    Argument,
                    "expected heads of one size beside delta nets, state spaces, time mixing and gates of heads, found `global_heads`"
                );
            }
        }
        let Some(shared) = &self.shared_keys else { return Ok(()) };
        size("shared_keys.layers", shared.layers, 1, self.layers)?;
        size("shared_keys.d_mlp", shared.d_mlp, usize::from(self.has_mlp()), if self.has_mlp() { MOST } else { 0 })?;
        let own = self.layers - shared.layers;
        if let Some(layer) = (own..self.layers).find(|layer| self.keys_from(*layer).is_none()) {
            let kind = if self.window(layer).is_some() { "with" } else { "without" };
            return Err(err!(
                Argument,
                "expected a layer {kind} a window below {own}, whose keys and values layer {layer} reads, found none"
            ));
        }
        if self.recurrent_layers().is_some() || !self.causal {
            bail!(Argument, "expected causal attention in all layers where some share keys and values, found others");
        }
        Ok(())
    }

    fn check_delta(&self) -> Result<()> {
        let Some(delta) = &self.delta else { return Ok(()) };
        let sizes = [
            ("delta.key_heads", delta.key_heads),
            ("delta.value_heads", delta.value_heads),
            ("delta.d_key", delta.d_key),
            ("delta.d_value", delta.d_value),
            ("delta.kernel", delta.kernel),
            ("delta.key_heads * d_key", delta.key_heads.saturating_mul(delta.d_key)),
            ("delta.value_heads * d_value", delta.value_heads.saturating_mul(delta.d_value)),
        ];
        sizes.iter().try_for_each(|(name, found)| size(name, *found, 1, MOST))?;
        if !delta.value_heads.is_multiple_of(delta.key_heads) {
            let values = delta.value_heads;
            let keys = delta.key_heads;
            bail!(
                Argument,
                "expected `value_heads` of delta nets to be a multiple of `key_heads`, found {values} and {keys}"
            );
        }
        if let Some(layer) = delta.layers.iter().find(|layer| **layer >= self.layers) {
            bail!(Argument, "expected layers below {} as those with delta nets, found {layer}", self.layers);
        }
        if !self.causal {
            bail!(Argument, "expected a causal model with delta nets, found one that sees what comes after");
        }
        Ok(())
    }

    fn check_ssm(&self) -> Result<()> {
        let Some(ssm) = &self.ssm else { return Ok(()) };
        let sizes = [
            ("ssm.heads", ssm.heads),
            ("ssm.d_head", ssm.d_head),
            ("ssm.groups", ssm.groups),
            ("ssm.d_state", ssm.d_state),
            ("ssm.kernel", ssm.kernel),
            ("ssm.dt_rank", ssm.dt_rank.unwrap_or(1)),
            ("ssm.heads * d_head", ssm.heads.saturating_mul(ssm.d_head)),
            ("ssm.groups * d_state", ssm.groups.saturating_mul(ssm.d_state)),
            ("ssm.heads * d_head * d_state", ssm.heads.saturating_mul(ssm.d_head).saturating_mul(ssm.d_state)),
        ];
        sizes.iter().try_for_each(|(name, found)| size(name, *found, 1, MOST))?;
        if !ssm.heads.is_multiple_of(ssm.groups) {
            let heads = ssm.heads;
            let groups = ssm.groups;
            bail!(
                Argument,
                "expected `heads` of state spaces to be a multiple of `groups`, found {heads} and {groups}"
            );
        }
        if ssm.is_mamba() && (ssm.d_head, ssm.groups) != (1, 1) {
            bail!(Argument, "expected heads of one input and one group with a `dt_rank`, found others");
        }
        if ssm.inner_norm_eps.is_some() && !ssm.is_mamba() {
            bail!(Argument, "expected a `dt_rank` with an `inner_norm_eps`, found none");
        }
        let numbers = [("dt_least", ssm.dt_least), ("dt_most", ssm.dt_most), ("inner_norm_eps", ssm.inner_norm_eps)];
        for (name, found) in numbers {
            if let Some(x) = found.filter(|x| !(x.is_finite() && *x >= 0.0)) {
                bail!(Argument, "expected `{name}` of state spaces of at least 0, found {x}");
            }
        }
        if let Some((least, most)) = ssm.dt_least.zip(ssm.dt_most).filter(|(least, most)| least > most) {
            bail!(Argument, "expected `dt_most` of at least {least}, found {most}");
        }
        if let Some(layer) = ssm.layers.iter().find(|layer| **layer >= self.layers) {
            bail!(Argument, "expected layers below {} as those with state spaces, found {layer}", self.layers);
        }
        if let Some(layer) = ssm.layers.iter().find(|layer| self.delta_of(**layer).is_some()) {
            bail!(Argument, "expected a delta net or a state space in layer {layer}, found both");
        }
        if !self.causal {
            bail!(Argument, "expected a causal model with state spaces, found one that sees what comes after");
        }
        Ok(())
    }

    fn check_rwkv(&self) -> Result<()> {
        let Some(rwkv) = &self.rwkv else { return Ok(()) };
        let sizes = [
            ("rwkv.heads", rwkv.heads),
            ("rwkv.d_head", rwkv.d_head),
            ("rwkv.decay_rank", rwkv.decay_rank),
            ("rwkv.rate_rank", rwkv.rate_rank),
            ("rwkv.value_rank", rwkv.value_rank),
            ("rwkv.gate_rank", rwkv.gate_rank),
            ("rwkv.heads * d_head", rwkv.heads.saturating_mul(rwkv.d_head)),
            ("rwkv.heads * d_head * d_head", rwkv.heads.saturating_mul(rwkv.d_head).saturating_mul(rwkv.d_head)),
        ];
        sizes.iter().try_for_each(|(name, found)| size(name, *found, 1, MOST))?;
        for (name, found) in [("norm_eps", rwkv.norm_eps), ("key_eps", rwkv.key_eps)] {
            if !(found.is_finite() && found >= 0.0) {
                bail!(Argument, "expected `{name}` of time mixing of at least 0, found {found}");
            }
        }
        if let Some(layer) = rwkv.layers.iter().find(|layer| **layer >= self.layers) {
            bail!(Argument, "expected layers below {} as those with time mixing, found {layer}", self.layers);
        }
        if !rwkv.layers.is_sorted_by(|a, b| a < b) {
            bail!(Argument, "expected layers with time mixing in ascending order, found {:?}", rwkv.layers);
        }
        let other = match self {
            Config { causal: false, .. } => Some("attention that sees what comes after"),
            Config { delta: Some(_), .. } => Some("delta nets"),
            Config { ssm: Some(_), .. } => Some("state spaces"),
            Config { experts: Some(_), .. } => Some("experts"),
            Config { latent: Some(_), .. } => Some("latent attention"),
            Config { order: Order::Parallel | Order::ParallelShared, .. } => Some("attention and MLPs side by side"),
            _ => None,
        };
        match other {
            None => Ok(()),
            Some(found) => Err(err!(Argument, "expected time mixing or {found}, found both")),
        }
    }

    fn check_latent(&self) -> Result<()> {
        let Some(latent) = &self.latent else { return Ok(()) };
        let sizes = [
            ("latent.kv_rank", latent.kv_rank),
            ("latent.q_rank", latent.q_rank.unwrap_or(1)),
            ("latent.d_value", latent.d_value),
            ("heads * latent.d_value", self.heads.saturating_mul(latent.d_value)),
        ];
        sizes.iter().try_for_each(|(name, found)| size(name, *found, 1, MOST))?;
        // A head has coordinates of its own, and shares others.
        size("latent.d_shared", latent.d_shared, 1, self.d_head.saturating_sub(1))?;
        if !(latent.norm_eps.is_finite() && latent.norm_eps >= 0.0) {
            bail!(Argument, "expected `norm_eps` of latents of at least 0, found {}", latent.norm_eps);
        }
        if self.norm.is_none() {
            bail!(Argument, "expected a kind of norm for the norms of latents, found no norms");
        }
        if self.kv_heads != self.heads {
            let heads = self.heads;
            let shared = self.kv_heads;
            bail!(Argument, "expected as many `kv_heads` as `heads` with latent attention, {heads}, found {shared}");
        }
        let other = match self {
            Config { gated_heads: true, .. } => Some("gates of heads"),
            Config { global_heads: Some(_), .. } => Some("heads that differ in size by layer"),
            Config { shared_keys: Some(_), .. } => Some("layers that read the keys and values of others"),
            Config { value_norm: true, .. } => Some("norms of values"),
            Config { qk_norm: QkNorm::Head | QkNorm::Whole, .. } => Some("norms of queries and keys"),
            _ => None,
        };
        match other {
            None => Ok(()),
            Some(found) => Err(err!(Argument, "expected latent attention or {found}, found both")),
        }
    }

    fn check_positions(&self) -> Result<()> {
        let turns = self.positions == Positions::Rotary;
        if turns != self.rotary.is_some() {
            let found = if turns { "none" } else { "one" };
            bail!(Argument, "expected a rotation with rotary positions and with no others, found {found}");
        }
        let is_biased = self.positions == Positions::Alibi;
        if is_biased != self.alibi.is_some() {
            let found = if is_biased { "none" } else { "some" };
            bail!(Argument, "expected biases of scores with `alibi` positions and with no others, found {found}");
        }
        if let Some(Alibi { most, .. }) = self.alibi
            && !(most.is_finite() && most > 0.0)
        {
            bail!(Argument, "expected a positive number as `most` of biases of scores, found {most}");
        }
        if is_biased && !self.causal {
            bail!(
                Argument,
                "expected causal attention with biases of scores, found attention that sees what comes after"
            );
        }
        if is_biased && (self.delta.is_some() || self.global_heads.is_some()) {
            bail!(Argument, "expected attention of one kind in all layers with biases of scores, found others");
        }
        if self.rotary_local.is_some() && !turns {
            bail!(Argument, "expected rotary positions with `rotary_local`, found others");
        }
        if self.position_offset > 0 && self.positions != Positions::Learned {
            bail!(Argument, "expected learned positions with a `position_offset`, found others");
        }
        if let Some(layer) = self.unrotated.iter().find(|layer| !turns || **layer >= self.layers) {
            bail!(Argument, "expected layers with rotary positions as `unrotated`, found {layer}");
        }
        let global = self.global_heads.as_ref().map_or(self.d_head, |heads| heads.d_head);
        if let Some((latent, rotary)) = self.latent.as_ref().zip(self.rotary.as_ref())
            && [Some(rotary), self.rotary_local.as_ref()].iter().flatten().any(|each| each.dims != latent.d_shared)
        {
            let wanted = latent.d_shared;
            bail!(Argument, "expected the shared coordinates of keys to be rotated, {wanted}, found {}", rotary.dims);
        }
        let windowed = self.rotary_local.as_ref().or(self.rotary.as_ref().filter(|_| !self.windows.is_empty()));
        self.rotary.iter().try_for_each(|rotary| rotary.check(global))?;
        windowed.iter().try_for_each(|rotary| rotary.check(self.d_head))
    }

    /// Checks norms of the residual stream itself, and what stands before the unembedding.
    fn check_stream(&self) -> Result<()> {
        size("token_types", self.token_types.unwrap_or(1), 1, MOST)?;
        let is_plain = self.is_serial()
            && self.has_mlp()
            && self.layer_inputs.is_none()
            && !self.layer_scale
            && self.experts.as_ref().is_none_or(|experts| !experts.beside);
        if self.stream_norm && (self.norm.is_none() || !is_plain) {
            bail!(
                Argument,
                "expected a kind of norm, and blocks of attention and an MLP one after the other, with `stream_norm`, found others"
            );
        }
        if self.token_types.is_some() && !self.stream_norm {
            bail!(Argument, "expected `stream_norm` with `token_types`, found none");
        }
        if let Some(layer) = self.unnormed.iter().find(|layer| **layer >= self.layers) {
            bail!(Argument, "expected layers below {} as `unnormed`, found {layer}", self.layers);
        }
        if !self.unnormed.is_empty() && (self.norm.is_none() || !self.pre_norm || self.order == Order::ParallelShared) {
            bail!(Argument, "expected norms before attention alone with `unnormed`, found others");
        }
        if self.transform.as_ref().is_some_and(|transform| transform.norm) && self.norm.is_none() {
            bail!(Argument, "expected a kind of norm for that of `transform`, found no norms");
        }
        if self.predicts != Predicts::Next && self.causal {
            bail!(Argument, "expected attention to both sides in a model of masked tokens, found causal attention");
        }
        if self.predicts == Predicts::Nothing && !(self.tied && self.transform.is_none() && !self.unembed_bias) {
            bail!(Argument, "expected no unembedding of its own in a model that predicts nothing, found one");
        }
        Ok(())
    }

    fn check_windows(&self) -> Result<()> {
        if self.windows.is_empty() {
            return Ok(());
        }
        if self.windows.len() != self.layers {
            bail!(Argument, "expected {} `windows`, one for each layer, found {}", self.layers, self.windows.len());
        }
        if self.windows.contains(&Some(0)) {
            return Err(err!(Argument, "expected windows of at least 1, found 0").hint("a position sees itself"));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        let positive = [
            ("score_scale", Some(self.score_scale)),
            ("score_cap", self.score_cap),
            ("logit_cap", self.logit_cap),
            ("logit_scale", self.logit_scale),
            ("embed_scale", self.embed_scale),
            ("write_scale", self.write_scale),
        ];
        for (name, found) in positive {
            if let Some(x) = found.filter(|x| !(x.is_finite() && *x > 0.0)) {
                bail!(Argument, "expected a positive number as `{name}`, found {x}");
            }
        }
        if self.write_scale.is_some() && self.post_norm {
            bail!(Argument, "expected a `write_scale` or post-norms, found both");
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            bail!(Argument, "expected `norm_eps` of at least 0, found {}", self.norm_eps);
        }
        Ok(())
    }
}

impl Rotary {
    fn check(&self, d_head: usize) -> Result<()> {
        if self.dims == 0 || !self.dims.is_multiple_of(2) || self.dims > d_head {
            return Err(err!(Argument, "expected rotary `dims` between 2 and {d_head}, found {}", self.dims)
                .hint("coordinates of a head turn in pairs, so the number is even"));
        }
        let positive = |name: &str, x: f64| {
            if x.is_finite() && x > 0.0 { Ok(()) } else { Err(err!(Argument, "expected a positive {name}, found {x}")) }
        };
        positive("rotary `theta`", self.theta)?;
        match self.scaling {
            Scaling::None => Ok(()),
            Scaling::Linear { factor } => positive("scaling factor of positions", factor),
            Scaling::Proportional { factor, pairs } => {
                size("pairs", pairs, 0, self.dims / 2)?;
                positive("scaling factor of positions", factor)
            }
            Scaling::Llama3 { factor, low, high, original } => {
                positive("scaling factor of positions", factor)?;
                positive("`low` of the scaling of positions", low)?;
                size("original", original, 1, MOST)?;
                if !(high.is_finite() && high > low) {
                    bail!(Argument, "expected `high` of the scaling of positions above {low}, found {high}");
                }
                Ok(())
            }
            Scaling::Yarn { factor, slow, fast, original, amplitude, .. } => {
                positive("scaling factor of positions", factor)?;
                positive("`slow` of the scaling of positions", slow)?;
                positive("`amplitude` of the scaling of positions", amplitude)?;
                size("original", original, 1, MOST)?;
                if self.theta == 1.0 {
                    bail!(Argument, "expected a rotary `theta` other than 1 where positions are scaled, found 1");
                }
                if !(fast.is_finite() && fast >= slow) {
                    bail!(Argument, "expected `fast` of the scaling of positions of at least {slow}, found {fast}");
                }
                Ok(())
            }
        }
    }
}
