//! `gated`: gate and magnitude of a feature are separate, with the same directions (Rajamanoharan et al. 2024a).

use serde::Serialize;

use super::choice::CodeChoice;
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, ParamName, initial_coefficient, penalised};
use crate::base::Result;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::select::greater;
use crate::tensor::{Tensor, elementwise};

pub const NAME: &str = "gated";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct Gated {
        /// Weight of the L1 penalty on the gates.
        l1: Option<f64> = None => at_least(0.0);
        /// The L0 to reach: the coefficient is adapted during training, beginning at `l1` where that is given.
        target: Option<f64> = None => above(0.0);
    }
}

impl Gated {
    /// Computes the gate pre-activations. The encoder bias, which is part of `pre`, is that of the magnitudes.
    fn gates(&self, pass: &KindPass) -> Result<Tensor> {
        let magnitude = pass.params.get(ParamName::EncoderBias)?;
        let gate = pass.params.get(ParamName::Gate)?;
        Ok(pass.pre.broadcast_sub(magnitude)?.broadcast_add(gate)?)
    }
}

impl DictionaryKind for Gated {
    fn properties(&self) -> KindProperties {
        KindProperties {
            more: vec![(ParamName::Gate, 0.0), (ParamName::LogScale, 0.0)],
            gate: ParamName::Gate,
            ..KindProperties::penalised(NAME, self.l1, self.target)
        }
    }

    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        let magnitude = pass.params.get(ParamName::EncoderBias)?;
        let log_scale = pass.params.get(ParamName::LogScale)?;
        let gate = self.gates(pass)?;
        let open = greater(&gate, &gate.zeros_like()?)?;
        let inner = pass.pre.broadcast_sub(magnitude)?;
        let size = inner.broadcast_mul(&log_scale.exp()?)?.broadcast_add(magnitude)?;
        Ok(elementwise::relu(&size)?.mul(&open)?)
    }

    fn penalty(&self, pass: &KindPass, _codes: &Tensor) -> Result<Option<Tensor>> {
        let through = elementwise::relu(&self.gates(pass)?)?;
        Ok(Some((through.sum(1)?.mean(0)? * initial_coefficient(self.l1))?))
    }

    /// Returns the gates, which reconstruct, too, in an auxiliary loss from which they learn.
    fn auxiliary(&self, pass: &KindPass) -> Result<Option<Tensor>> {
        Ok(Some(elementwise::relu(&self.gates(pass)?)?))
    }

    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        Some(CodeChoice::Gated { price: initial_coefficient(self.l1) })
    }

    fn activation(&self, params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        let part = |name| Ok::<_, crate::base::Error>(params.get(name)?.as_detached_tensor());
        let gate = part(ParamName::Gate)?;
        let magnitude = part(ParamName::EncoderBias)?;
        let log_scale = part(ParamName::LogScale)?;
        Ok(Activation::Gated { gate, magnitude, log_scale })
    }
}
