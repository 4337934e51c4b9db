//! Treatment of a model's own MLPs in the graph of transcoder adapters, which write beside them: held, so that what an MLP writes
//! is an error, or passed by relevance propagation, as in the graphs of Hu et al. 2026.

use crate::common::*;
use crate::sae::Transcoders;
use crate::sae::transcoders::{Reads, Writes};

crate::choices! {
    /// Treatments of a model's own MLPs, beside which transcoder adapters write.
    pub enum MlpPaths {
        /// Outputs are held, and are errors of the graph.
        Held = "held",
        /// Edges pass them by relevance propagation (RelP; Rezaei Jafari et al. 2025, table 1): an activation function multiplies by
        /// act(x) / x of the run, and each factor of a gated MLP gets half of their product.
        Relp = "relp",
    }
}

impl MlpPaths {
    /// Returns the sites that a run has to record for it.
    pub fn sites(self, config: &Config) -> Vec<Site> {
        let wanted = [SiteKind::MlpPre, SiteKind::MlpUp, SiteKind::MlpHidden];
        match self {
            Self::Held => Vec::new(),
            Self::Relp => Site::all(config).into_iter().filter(|site| wanted.contains(&site.kind)).collect(),
        }
    }

    /// Returns an upper bound on the bytes of what it holds of a run of so many tokens.
    pub fn bytes(self, config: &Config, tokens: usize) -> u128 {
        match self {
            Self::Held => 0,
            // Coefficients of both factors, and the matrices of all MLPs.
            Self::Relp => 4 * (config.layers * config.d_mlp) as u128 * (2 * tokens + 3 * config.d_model) as u128,
        }
    }

    /// Refuses to pass MLPs that transcoders stand in for, and those that the rules do not cover.
    pub fn check(self, model: &Decoder, transcoders: &Transcoders) -> Result<()> {
        if self == Self::Held {
            return Ok(());
        }
        if model.kept().is_empty() || (transcoders.reads, transcoders.writes) != (Reads::MlpIn, Writes::MlpOut) {
            return Err(err!(
                Argument,
                "expected transcoder adapters that a model keeps beside its MLPs, found transcoders in their place"
            )
            .hint("`diff::adapted(base, tuned, adapters)` is a model with adapters")
            .about("mlps"));
        }
        match model.config().beyond_relevance() {
            None => Ok(()),
            Some(what) => {
                Err(err!(Argument, "expected MLPs that relevance propagation has rules for, found {what}")
                    .about("mlps"))
            }
        }
    }
}
