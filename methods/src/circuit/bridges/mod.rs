//! Bridges between a dense and a sparse model (Gao et al. 2025, sections 2.3 and 3.3, appendices A.3 and A.4).
//!
//! Where the residual stream is read by attention, by an MLP, and behind the last block, an encoder maps the dense model's
//! stream to the sparse model's, and a decoder maps it back. The encoder is linear and keeps the largest numbers by size, the
//! decoder is linear: a bridge is a dictionary ([`Sae`]) of the dense model whose codes are the sparse model's stream. Both are
//! fitted together with the weights of the sparse model ([`fit`]), so that a pass that begins in one model and ends in the other
//! predicts what the dense model does ([`Bridges::judge`]). A change of one channel of the sparse model is then carried over to
//! the dense one ([`Bridges::perturbation`]).

mod fit;
mod judge;
mod loss;
mod options;
mod perturbation;
mod sites;
#[cfg(test)]
mod tests;

pub use fit::fit;
pub use judge::BridgeJudgeOptions;
pub use loss::StepLosses;
pub use options::{BridgeLoss, BridgeOptions};

use crate::common::*;
use crate::sae::{About, Activation, Parts, Sae, Scaling};

/// Names of a bridge's tensors in a checkpoint.
const TENSORS: [&str; 4] = ["encoder", "encoder_bias", "decoder", "decoder_bias"];

/// A dense model, a sparse one, and the bridges between them.
#[derive(Debug, Clone)]
pub struct Bridges {
    pub dense: Model,
    pub sparse: Model,
    /// One dictionary a site, in the order of the computation.
    pub bridges: Vec<Sae>,
    /// Losses of each step of the fit; none where it was made elsewhere.
    pub losses: Vec<StepLosses>,
    sites: Vec<Site>,
}

impl Bridges {
    /// Puts bridges between two models; refuses those of other sites or widths.
    pub fn new(dense: &Model, sparse: &Model, bridges: Vec<Sae>) -> Result<Self> {
        let sites = sites::common(dense, sparse)?;
        let expected: Vec<String> = sites.iter().map(Site::to_string).collect();
        let found: Vec<String> = bridges.iter().map(|bridge| bridge.parts().about.site()).collect();
        if expected != found {
            let found = if found.is_empty() { "none".into() } else { found.join(", ") };
            return Err(err!(Argument, "expected bridges of {}, found {found}", expected.join(", "))
                .hint("`circuit::bridges` fits one for each of these sites")
                .about("bridges"));
        }
        let [d_dense, d_sparse] = [dense, sparse].map(|model| model.decoder.config().d_model);
        for bridge in &bridges {
            let widths = [bridge.d_in(), bridge.d_out(), bridge.d_sae()];
            if widths != [d_dense, d_dense, d_sparse] {
                return Err(err!(
                    Shape,
                    "expected a bridge from a width of {d_dense} to {d_sparse} at {}, found one from {} to {}",
                    bridge.parts().about.site(),
                    widths[0],
                    widths[2]
                )
                .hint("these bridges are between other models")
                .about("bridges"));
            }
        }
        Ok(Self { dense: dense.clone(), sparse: sparse.clone(), bridges, losses: Vec::new(), sites })
    }

    pub fn sites(&self) -> &[Site] {
        &self.sites
    }
}

/// Makes the dictionary of a bridge, of its tensors in the order of [`TENSORS`].
fn dictionary(tensors: &[Tensor], active: usize, about: About) -> Result<Sae> {
    let [encoder, encoder_bias, decoder, decoder_bias] = tensors else {
        return Err(err!(Bug, "a bridge of {} tensors", tensors.len()));
    };
    Sae::new(Parts {
        encoder: encoder.clone(),
        encoder_bias: Some(encoder_bias.clone()),
        activation: Activation::Linear(Some(active)),
        decoder: decoder.clone(),
        decoder_bias: Some(decoder_bias.clone()),
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about,
    })
}
