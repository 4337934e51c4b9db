//! Sparse feature circuits (Marks et al. 2024): features of dictionaries and their errors that cause a metric, and how they
//! cause each other.
//!
//! The indirect effect of a node is the change of the metric when its activation moves from that of the run to another:
//! that of the corrupt prompt, zero, or a mean. To first order it is (other - own) . dm/da, with the gradient on the
//! run (attribution) or averaged along the way to the other (integrated gradients), or it is computed (exact). The part
//! of an activation that a dictionary does not reconstruct, x - x_hat, is one node a site and position, and never
//! split.

mod ablate;
mod ablated_values;
mod ablations;
mod cases;
mod deltas;
mod edges;
mod effects;
mod find;
mod gradients;
mod placed;
mod units;

#[cfg(test)]
mod tests;

use super::edges::EdgeAblation;
use crate::common::*;
use crate::features::TokenPattern;
use crate::model::gradient_rules::GradientOptions;
use crate::options::OptionGroup;

pub use ablations::FeatureAblations;
pub use find::{of_pairs, of_text};

crate::choices! {
    /// Methods to compute the effect of a node.
    pub enum EffectMethod {
        /// The first order of the effect: (other - own) . gradient.
        Attribution = "attribution",
        /// Attribution with the gradient averaged along the straight way to the other values, all nodes of a dictionary
        /// moved together.
        Integrated = "integrated",
        /// A run of the model with each node moved.
        Exact = "exact",
    }
}

crate::choices! {
    /// Values of ablated nodes.
    pub enum NodeAblation {
        /// The values in the run of the corrupt prompt.
        Patch = "patch",
        /// The means over all prompts, or over a text.
        Mean = "mean",
        /// Zero.
        Zero = "zero",
    }
}

crate::choices! {
    /// Positions of a node: all of them together, or one.
    pub enum NodePositions {
        /// All positions, with effects summed over them.
        Summed = "summed",
        /// A node for each position.
        Each = "each",
    }
}

crate::options! {
    /// Options of the search for a feature circuit.
    pub struct SparseFeatureOptions {
        /// The method of effects: attribution, "integrated" gradients, or, "exact", a run with each node moved.
        method: EffectMethod = EffectMethod::Integrated;
        /// The least effect in size of kept nodes, exclusive; where it is just as large, as with a threshold that is
        /// one node's own effect, rounding decides.
        node_threshold: f64 = 0.1 => at_least(0.0);
        /// The least effect in size of kept edges, exclusive; rounding decides as for nodes.
        edge_threshold: f64 = 0.01 => at_least(0.0);
        /// Whether edges are computed, too.
        edges: bool = true;
        /// The number of points on the way, in "integrated".
        steps: usize = 10 => at_least(1.0);
        with rules: GradientOptions => only("method", &["attribution", "exact"]);
    }

    /// The circuit of pairs of prompts.
    pub struct PairCircuitOptions {
        /// The values of ablated nodes: those in the run of the corrupt prompt, their means over all prompts, or zero.
        ablation: NodeAblation = NodeAblation::Patch;
        /// Whether a node is a feature at all positions, or at each.
        positions: NodePositions = NodePositions::Summed;
        with search: SparseFeatureOptions;
    }

    /// The circuit of tokens in a text.
    pub struct TextCircuitOptions {
        /// A text that tokens begin with, or their ids: the tokens whose probability is measured.
        token: Vec<TokenPattern> = Vec::new() => usually("has to be given");
        /// The values of ablated nodes: their means over the text, or zero.
        ablation: NodeAblation = NodeAblation::Mean;
        /// Number of tokens of the text.
        tokens: usize = 50_000;
        /// Number of tokens in a row of the text; at most the model's context.
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
    /// Returns the model with gradients by the rules of these options.
    fn ruled(&self, model: &Model) -> Result<Model> {
        self.refuse_others()?;
        model.by_rules(self.rules.gradients)
    }

    /// Returns whether the metric has to have a gradient.
    fn needs_gradient(&self) -> bool {
        self.edges || self.method != EffectMethod::Exact
    }
}
