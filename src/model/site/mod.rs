//! Sites: the places where activations flow, their names, and the names that TransformerLens gives them.

mod select;

use std::fmt;

use super::config::{Config, Order, Positions, QkNorm};

pub use select::{Place, one_place, places, select};

/// A site's kind. The order is that of the computation within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Embed,
    PosEmbed,
    ResidPre,
    NormScale,
    AttnIn,
    Q,
    K,
    V,
    QRot,
    KRot,
    Scores,
    Pattern,
    Z,
    HeadOut,
    AttnPostScale,
    AttnOut,
    ResidMid,
    MlpNormScale,
    MlpIn,
    MlpPre,
    MlpUp,
    MlpHidden,
    MlpPostScale,
    MlpOut,
    ResidPost,
    FinalNormScale,
    FinalNorm,
    Logits,
}

/// Where the axis of heads is in the tensor of a site, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    None,
    /// `[batch, pos, head, ..]`, a query head each.
    Queries,
    /// `[batch, pos, head, ..]`, a head of keys and values each.
    Keys,
    /// `[batch, head, query, key]`
    Square,
}

/// A kind's row: its name here, its name in TransformerLens, and what flows there.
struct Row {
    kind: Kind,
    name: &'static str,
    lens: &'static str,
    meaning: &'static str,
}

const fn row(kind: Kind, name: &'static str, lens: &'static str, meaning: &'static str) -> Row {
    Row { kind, name, lens, meaning }
}

/// `{}` in a name of TransformerLens stands for the layer.
static ROWS: [Row; 28] = [
    row(Kind::Embed, "embed", "hook_embed", "token embeddings, after any embedding scale: [batch, pos, d_model]"),
    row(Kind::PosEmbed, "pos_embed", "hook_pos_embed", "learned position embeddings: [batch, pos, d_model]"),
    row(
        Kind::ResidPre,
        "resid_pre",
        "blocks.{}.hook_resid_pre",
        "the stream entering the block: [batch, pos, d_model]",
    ),
    row(
        Kind::NormScale,
        "norm_scale",
        "blocks.{}.ln1.hook_scale",
        "the divisor of the norm before attention: [batch, pos, 1]",
    ),
    row(
        Kind::AttnIn,
        "attn_in",
        "blocks.{}.ln1.hook_normalized",
        "the normed input of attention, weights of the norm included: [batch, pos, d_model]",
    ),
    row(
        Kind::Q,
        "q",
        "blocks.{}.attn.hook_q",
        "queries, before rotary and before any norm of their own: [batch, pos, head, d_head]",
    ),
    row(
        Kind::K,
        "k",
        "blocks.{}.attn.hook_k",
        "keys, before rotary and before any norm of their own: [batch, pos, kv_head, d_head]",
    ),
    row(Kind::V, "v", "blocks.{}.attn.hook_v", "values: [batch, pos, kv_head, d_head]"),
    row(Kind::QRot, "q_rot", "blocks.{}.attn.hook_rot_q", "queries after norm and rotary: [batch, pos, head, d_head]"),
    row(Kind::KRot, "k_rot", "blocks.{}.attn.hook_rot_k", "keys after norm and rotary: [batch, pos, kv_head, d_head]"),
    row(
        Kind::Scores,
        "scores",
        "blocks.{}.attn.hook_attn_scores",
        "scaled and capped q . k, before the mask: [batch, head, query, key]",
    ),
    row(Kind::Pattern, "pattern", "blocks.{}.attn.hook_pattern", "attention after softmax: [batch, head, query, key]"),
    row(
        Kind::Z,
        "z",
        "blocks.{}.attn.hook_z",
        "values mixed by the pattern, the input of the output projection: [batch, pos, head, d_head]",
    ),
    row(
        Kind::HeadOut,
        "head_out",
        "blocks.{}.attn.hook_result",
        "what each head writes, before bias and post-norm: [batch, pos, head, d_model]",
    ),
    row(
        Kind::AttnPostScale,
        "attn_post_scale",
        "blocks.{}.ln1_post.hook_scale",
        "the divisor of the norm after attention: [batch, pos, 1]",
    ),
    row(
        Kind::AttnOut,
        "attn_out",
        "blocks.{}.hook_attn_out",
        "what attention adds to the stream, post-norm included: [batch, pos, d_model]",
    ),
    row(
        Kind::ResidMid,
        "resid_mid",
        "blocks.{}.hook_resid_mid",
        "the stream between attention and MLP: [batch, pos, d_model]",
    ),
    row(
        Kind::MlpNormScale,
        "mlp_norm_scale",
        "blocks.{}.ln2.hook_scale",
        "the divisor of the norm before the MLP: [batch, pos, 1]",
    ),
    row(
        Kind::MlpIn,
        "mlp_in",
        "blocks.{}.ln2.hook_normalized",
        "the normed input of the MLP, weights of the norm included: [batch, pos, d_model]",
    ),
    row(
        Kind::MlpPre,
        "mlp_pre",
        "blocks.{}.mlp.hook_pre",
        "before the activation; where gated, the gate: [batch, pos, d_mlp]",
    ),
    row(
        Kind::MlpUp,
        "mlp_up",
        "blocks.{}.mlp.hook_pre_linear",
        "what the gate is multiplied with: [batch, pos, d_mlp]",
    ),
    row(
        Kind::MlpHidden,
        "mlp_hidden",
        "blocks.{}.mlp.hook_post",
        "the input of the down projection, act(gate) * up where gated: [batch, pos, d_mlp]",
    ),
    row(
        Kind::MlpPostScale,
        "mlp_post_scale",
        "blocks.{}.ln2_post.hook_scale",
        "the divisor of the norm after the MLP: [batch, pos, 1]",
    ),
    row(
        Kind::MlpOut,
        "mlp_out",
        "blocks.{}.hook_mlp_out",
        "what the MLP adds to the stream, post-norm included: [batch, pos, d_model]",
    ),
    row(
        Kind::ResidPost,
        "resid_post",
        "blocks.{}.hook_resid_post",
        "the stream leaving the block: [batch, pos, d_model]",
    ),
    row(
        Kind::FinalNormScale,
        "final_norm_scale",
        "ln_final.hook_scale",
        "the divisor of the last norm: [batch, pos, 1]",
    ),
    row(
        Kind::FinalNorm,
        "final_norm",
        "ln_final.hook_normalized",
        "the normed stream that is unembedded: [batch, pos, d_model]",
    ),
    row(Kind::Logits, "logits", "logits", "the logits, after any cap: [batch, pos, vocab]"),
];

impl Kind {
    fn row(self) -> &'static Row {
        // The rows stand in the order of the kinds; a test holds them to it.
        &ROWS[self as usize]
    }

    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What TransformerLens calls it, `{}` in place of the layer.
    pub fn lens_name(self) -> &'static str {
        self.row().lens
    }

    /// What flows there, in a sentence.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    pub fn in_blocks(self) -> bool {
        self.row().lens.contains("{}")
    }

    pub fn heads(self) -> Heads {
        match self {
            Kind::Q | Kind::QRot | Kind::Z | Kind::HeadOut => Heads::Queries,
            Kind::K | Kind::V | Kind::KRot => Heads::Keys,
            Kind::Scores | Kind::Pattern => Heads::Square,
            _ => Heads::None,
        }
    }

    /// Whether models of this config have such a site.
    pub fn exists(self, config: &Config) -> bool {
        let normed = config.norm.is_some();
        let mlp = config.has_mlp();
        match self {
            Kind::PosEmbed => config.positions == Positions::Learned,
            Kind::NormScale => normed && config.pre_norm,
            Kind::MlpNormScale => normed && config.pre_norm && mlp && config.order != Order::ParallelShared,
            Kind::QRot | Kind::KRot => config.positions == Positions::Rotary || config.qk_norm != QkNorm::None,
            Kind::AttnPostScale => normed && config.post_norm,
            Kind::MlpPostScale => normed && config.post_norm && mlp,
            Kind::ResidMid => config.is_serial() && mlp,
            Kind::MlpIn | Kind::MlpPre | Kind::MlpHidden | Kind::MlpOut => mlp,
            Kind::MlpUp => mlp && config.gated,
            Kind::FinalNormScale => normed && config.final_norm,
            _ => true,
        }
    }
}

/// One site of a model. Sites compare in the order of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    pub kind: Kind,
    /// 0 for sites outside of the blocks.
    pub layer: usize,
}

impl Site {
    pub fn new(kind: Kind, layer: usize) -> Self {
        Self { kind, layer: if kind.in_blocks() { layer } else { 0 } }
    }

    /// Every site that a model of this config has, in the order of the computation.
    pub fn all(config: &Config) -> Vec<Site> {
        let kinds: Vec<Kind> = Kind::all().filter(|kind| kind.exists(config)).collect();
        let outside = |from: fn(&Kind) -> bool| kinds.iter().copied().filter(from).map(|kind| Site::new(kind, 0));
        let inside = (0..config.layers)
            .flat_map(|layer| kinds.iter().filter(|kind| kind.in_blocks()).map(move |kind| Site::new(*kind, layer)));
        outside(|kind| *kind < Kind::ResidPre).chain(inside).chain(outside(|kind| *kind > Kind::ResidPost)).collect()
    }

    /// The name that TransformerLens gives it.
    pub fn lens_name(self) -> String {
        self.kind.row().lens.replace("{}", &self.layer.to_string())
    }

    /// Where it stands in the computation.
    fn rank(self) -> (usize, usize, Kind) {
        let part = match self.kind {
            kind if kind < Kind::ResidPre => 0,
            kind if kind > Kind::ResidPost => 2,
            _ => 1,
        };
        (part, self.layer, self.kind)
    }
}

impl PartialOrd for Site {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Site {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.in_blocks() {
            true => write!(f, "{}.{}", self.kind.name(), self.layer),
            false => f.write_str(self.kind.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, i, "{}", row.name);
        }
    }
}
