//! Rules by which gradients of a model are taken: derivatives, or what relevance propagation has in their place.

use crate::base::Cell;

crate::choices! {
    /// Rules of a backward pass through a model.
    pub enum GradientRules {
        /// Derivatives of every operation.
        Derivatives = "derivatives",
        /// Coefficients of relevance propagation (RelP; Rezaei Jafari et al. 2025, section 3): the divisor of a norm is
        /// a constant, an activation function multiplies by the constant act(x) / x, and each factor of a gated MLP gets
        /// half of the derivative. Attention, its softmax included, has derivatives, as in the authors' code.
        Relp = "relp",
    }
}

crate::options! {
    /// Rules of gradients through a model. Relevance propagation goes with single gradients alone: integrated ones sum
    /// up to the whole change along a way, since they are derivatives, and coefficients of relevance do not.
    #[derive(Debug, Clone, Copy)]
    pub struct GradientOptions {
        /// The rules of the backward pass: derivatives; or "relp", relevance propagation, in which divisors of norms are
        /// constants, activation functions multiply by act(x) / x, and gate and up projection share their product.
        gradients: GradientRules = GradientRules::Derivatives;
    }
}

impl GradientOptions {
    /// Returns what a result says of these rules beside its method; nothing of derivatives.
    pub fn stated(self) -> Option<(String, Cell)> {
        let rules = Some(self.gradients).filter(|rules| *rules != GradientRules::Derivatives);
        rules.map(|rules| ("gradients".into(), rules.word().into()))
    }
}
