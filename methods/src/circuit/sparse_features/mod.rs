//! Sparse feature circuits (Marks et al. 2024): features of dictionaries and their errors that cause a metric, and how they
//! cause each other.
//!
//! The indirect effect of a node is what the metric changes by where its activation moves from that of the run to another:
//! that of the corrupt prompt, zero, or a mean. To first order it is (other - own) . dm/da, with the gradient on the run
//! (attribution) or averaged along the way to the other (integrated gradients), or it is computed (exact). The part of an
//! activation that a dictionary does not reconstruct, x - x_hat, is one node a site and position, and never split.

mod ablate;
mod ablations;
mod cases;
mod deltas;
mod edges;
mod effects;
mod find;
mod others;
mod placed;
mod taps;
mod units;

#[cfg(test)]
mod tests;

use super::edges::EdgeAblation;
use crate::features::TokenPattern;

pub use ablations::FeatureAblations;
pub use find::{of_pairs, of_text};

crate::choices! {
    /// How the effect of a node is found.
    pub enum EffectMethod {
        /// (other - own) . gradient: its first order.
        Attribution = "attribution",
        /// The same with the gradient averaged along the straight way to the other values, all nodes of a dictionary moved
        /// together.
        Integrated = "integrated",
        /// By running the model with each node moved.
        Exact = "exact",
    }
}

crate::choices! {
    /// What nodes are moved to.
    pub enum NodeAblation {
        /// Their values in the run of the corrupt prompt.
        Patch = "patch",
        /// Their means over all prompts, or over a text.
        Mean = "mean",
        /// Zero.
        Zero = "zero",
    }
}

crate::choices! {
    /// Whether a node is a feature at all positions, or at one.
    pub enum NodePositions {
        /// At all positions, its effects summed over them.
        Summed = "summed",
        /// At each position.
        Each = "each",
    }
}

crate::options! {
    /// How a feature circuit is searched.
    #[derive(Debug, Clone)]
    pub struct SparseFeatureOptions {
        /// How effects are found: by attribution, by "integrated" gradients, or, "exact", by a run with each node moved.
        method: EffectMethod = EffectMethod::Integrated;
        /// Nodes are kept whose effect is larger in size than this; where it is just as large, as with a threshold that is one
        /// node's own effect, rounding decides.
        node_threshold: f64 = 0.1 => at_least(0.0);
        /// Edges are kept whose effect is larger in size than this; rounding decides as for nodes.
        edge_threshold: f64 = 0.01 => at_least(0.0);
        /// Whether edges are found, too.
        edges: bool = true;
        /// For "integrated": the number of points on the way.
        steps: usize = 10 => at_least(1.0);
    }
}

crate::options! {
    /// The circuit of pairs of prompts.
    #[derive(Debug, Clone)]
    pub struct PairCircuitOptions {
        /// What nodes are moved to: their values in the run of the corrupt prompt, their means over all prompts, or zero.
        ablation: NodeAblation = NodeAblation::Patch;
        /// Whether a node is a feature at all positions, or at each.
        positions: NodePositions = NodePositions::Summed;
        with search: SparseFeatureOptions;
    }
}

crate::options! {
    /// The circuit of tokens in a text.
    #[derive(Debug, Clone)]
    pub struct TextCircuitOptions {
        /// A text that tokens begin with, or their ids: what the probability is of.
        token: Vec<TokenPattern> = Vec::new() => usually("has to be given");
        /// What nodes are moved to: their means over the text, or zero.
        ablation: NodeAblation = NodeAblation::Mean;
        /// Tokens of the text.
        tokens: usize = 50_000;
        /// Tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
        with search: SparseFeatureOptions;
    }
}

impl From<EdgeAblation> for NodeAblation {
    fn from(ablation: EdgeAblation) -> Self {
        match ablation {
            EdgeAblation::Corrupt => Self::Patch,
            EdgeAblation::Mean => Self::Mean,
            EdgeAblation::Zero => Self::Zero,
        }
    }
}

impl SparseFeatureOptions {
    /// Whether the metric has to have a gradient.
    fn needs_gradient(&self) -> bool {
        self.edges || self.method != EffectMethod::Exact
    }
}
